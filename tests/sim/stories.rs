//! The stories that a billing person can read, told to the real shard: whatever the batches, and whoever takes over in
//! the middle, it says what `simulate` says.

use super::broker::{Broker, LOGS};
use super::clock::Time;
use super::process::{Common, Habits, Process};
use graceline::catalog::settings::Settings;
use graceline::console::envelope::{Line, Record, read_line};
use graceline::console::simulate::simulate;
use graceline::ingest::log::{LogName, Offset};
use graceline::persist::ShardId;
use graceline::persist::memory::MemoryStore;
use graceline::shard::world::Pace;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const SHARD: ShardId = ShardId(0);

/// The stories leave it as it is by default.
const SKEW_MS: i64 = 1000;

/// Every story's input, by its name.
fn stories() -> Vec<(String, String)> {
    let folder = std::env::var("STORIES").map_or_else(
        |_| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios")),
        PathBuf::from,
    );
    let entries = std::fs::read_dir(&folder).expect("there are stories");
    let mut stories: Vec<(String, String)> = entries
        .filter_map(|entry| {
            let entry = entry.expect("the folder can be read");
            let input = std::fs::read_to_string(entry.path().join("input.jsonl")).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), input))
        })
        .collect();
    stories.sort();
    stories.retain(|(_, input)| input.lines().all(is_in_milliseconds));
    assert!(!stories.is_empty(), "most stories go by milliseconds, as Kafka does");
    stories
}

/// A record's time in Kafka is a whole millisecond; `simulate` reads finer ones.
fn is_in_milliseconds(line: &str) -> bool {
    let at = line.split_once(r#""at":""#).and_then(|(_, rest)| rest.split_once('"')).map_or("", |(at, _)| at);
    let fraction = at.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('Z'));
    fraction.len() <= 3
}

/// A webhook as it reaches the world: id, topic, key and value.
type Told = [String; 4];

#[derive(Deserialize)]
struct Output<'a> {
    topic: String,
    key: Option<String>,
    headers: BTreeMap<String, String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

fn simulated(input: &str) -> Vec<Told> {
    let mut output = Vec::new();
    assert!(simulate(input.as_bytes(), &mut output, None, false).is_ok(), "a story can be simulated");
    let text = String::from_utf8(output).expect("output is text");
    let webhooks = text.lines().filter_map(|line| {
        let output: Output<'_> = serde_json::from_str(line).expect("a line of output is JSON");
        let id = output.headers.get("webhook-id")?.clone();
        let value = output.value.map(|value| value.get().to_owned()).unwrap_or_default();
        Some([id, output.topic, output.key.unwrap_or_default(), value])
    });
    webhooks.collect()
}

struct Telling {
    common: Common,
    process: Process,
    habits: Habits,
}

impl Telling {
    fn begin(settings: Settings, begins_ms: i64, batch: usize) -> Telling {
        let time = Arc::new(Time::from(begins_ms));
        time.stop_at(begins_ms);
        let common = Common {
            broker: Arc::new(Broker::new(time)),
            store: MemoryStore::with_history(),
            shards: 1,
            settings,
            tokens: Arc::default(),
            broken: Arc::default(),
        };
        let pace = Pace {
            records_max: batch,
            bytes_max: 1 << 20,
            wait_max: Duration::from_millis(15),
            rest_max: Duration::from_millis(15),
            duties_max: batch,
        };
        let habits = Habits { seed: 0, dawdles_ms: 0, pace };
        let mut process = Process::start(&common, habits, Box::new(|_| {}));
        process.give(SHARD);
        Telling { common, process, habits }
    }

    fn write(&self, record: &Record) {
        let headers = &record.headers;
        self.common.broker.write(&record.topic, 0, record.key.as_deref(), record.value.as_deref(), headers);
    }

    /// Waits until everything written has been read, and everything that is due by an instant has happened.
    async fn catch_up(&self, at_ms: i64) {
        self.common.broker.time.stop_at(at_ms + SKEW_MS);
        self.rest().await;
        self.common.broker.time.stop_at(at_ms);
    }

    /// Nothing was committed for some turns, and everything is read.
    async fn rest(&self) {
        let mut quiet = 0;
        let mut last = None;
        while quiet < 4 {
            tokio::time::sleep(Duration::from_millis(40)).await;
            let record = self.common.store.record(SHARD).and_then(|record| record.record);
            let positions = record.as_deref().map(super::positions).unwrap_or_default();
            let is_read = LogName::ALL
                .iter()
                .all(|log| Offset(positions[*log as usize]) == self.common.broker.end(*log, SHARD));
            quiet = if is_read && record == last { quiet + 1 } else { 0 };
            last = record;
            let broken = self.common.broken.lock().expect("no one panics here");
            assert!(broken.is_empty(), "the shard stands still: {broken:?}");
        }
    }

    /// Somebody else takes the shard over while its owner still turns; then the owner goes. Whatever wasn't taken of what
    /// there was to tell is taken from then on.
    async fn take_over(&mut self, at_ms: i64) {
        self.common.broker.time.stop_at(at_ms + SKEW_MS);
        let mut next = Process::start(&self.common, self.habits, Box::new(|_| {}));
        next.give(SHARD);
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.process.snatch(SHARD);
        self.process = next;
        self.common.broker.set_deaf(false);
    }

    fn told(&self) -> Vec<Told> {
        assert_eq!(self.common.broker.breaches(), Vec::<String>::new());
        let dump = self.common.broker.dump();
        let mut numbered: BTreeMap<u64, Told> = BTreeMap::new();
        for record in dump.of("webhooks.") {
            let text = |bytes: &Option<Vec<u8>>| {
                String::from_utf8(bytes.clone().unwrap_or_default()).expect("webhooks are text")
            };
            let number = record.header("graceline-seq").expect("a webhook has its number");
            let id = record.header("webhook-id").expect("a webhook has its id").to_owned();
            let told = [id, record.topic.clone(), text(&record.key), text(&record.value)];
            numbered.insert(number.parse().expect("a number"), told);
        }
        numbered.into_values().collect()
    }
}

/// The lines of a story, cut where a batch is full, or where its order would differ from that of the logs.
fn batches<'a, 'b>(lines: &'a [Line<'b>], batch: usize) -> Vec<&'a [Line<'b>]> {
    let place = |line: &Line| match line {
        Line::Record(record) => {
            LOGS.iter().position(|log| *log == record.topic).map(|rank| (record.at, rank))
        }
        Line::Time(_) | Line::Config(_) => None,
    };
    let mut batches = Vec::new();
    let mut from = 0;
    for end in 1..=lines.len() {
        let goes_on = lines.get(end).is_some_and(|next| {
            let (before, next) = (place(&lines[end - 1]), place(next));
            before.is_some() && next.is_some() && before <= next
        });
        if end - from == batch || !goes_on {
            batches.push(&lines[from..end]);
            from = end;
        }
    }
    batches
}

fn instant_ms(line: &Line) -> i64 {
    let at = match line {
        Line::Time(at) => at,
        Line::Record(record) => &record.at,
        Line::Config(_) => panic!("the settings come first"),
    };
    at.0 / 1_000_000
}

/// When somebody else takes the shard over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TakeOver {
    Never,
    Halfway,
    /// Up to there nothing is taken of what there is to tell.
    AtTheEnd,
}

/// What the shard says of a story.
async fn told(input: &str, batch: usize, take_over: TakeOver) -> Vec<Told> {
    let lines = input.lines().filter(|line| !line.trim().is_empty());
    let mut lines: Vec<Line<'_>> =
        lines.map(|line| read_line(line.as_bytes()).expect("a story's lines can be read")).collect();
    let mut settings = Settings::default();
    if let Some(Line::Config(json)) = lines.first() {
        settings = Settings::read(json).expect("a story's settings can be read");
        lines.remove(0);
    }
    let mut telling = Telling::begin(settings, instant_ms(&lines[0]), batch);
    telling.common.broker.set_deaf(take_over == TakeOver::AtTheEnd);
    let half = lines.len() / 2;
    let mut told = 0;
    for batch in batches(&lines, batch) {
        for line in batch {
            telling.common.broker.time.stop_at(instant_ms(line));
            if let Line::Record(record) = line {
                telling.write(record);
            }
        }
        let is_half = told < half && told + batch.len() >= half;
        told += batch.len();
        let last_ms = instant_ms(batch.last().expect("a batch has lines"));
        if is_half && take_over == TakeOver::Halfway {
            telling.take_over(last_ms).await;
        }
        telling.catch_up(last_ms).await;
    }
    if take_over == TakeOver::AtTheEnd {
        let last_ms = instant_ms(lines.last().expect("a story has lines"));
        telling.take_over(last_ms).await;
        telling.catch_up(last_ms).await;
    }
    telling.told()
}

#[test]
fn every_story_is_told_as_simulate_tells_it_whatever_the_batches() {
    for (name, input) in stories() {
        let expected = simulated(&input);
        for (batch, take_over) in [
            (1, TakeOver::Never),
            (7, TakeOver::Never),
            (1000, TakeOver::Never),
            (1, TakeOver::Halfway),
            (7, TakeOver::Halfway),
            (7, TakeOver::AtTheEnd),
        ] {
            let runtime = super::runtime();
            let told = runtime.block_on(told(&input, batch, take_over));
            let way = format!("{name} in batches of {batch}, taken over: {take_over:?}");
            assert_eq!(told.len(), expected.len(), "{way}");
            for (told, expected) in told.iter().zip(&expected) {
                assert_eq!(told, expected, "{way}");
            }
        }
    }
}
