//! Books that are closed and opened again go on as if nothing had happened.

mod excerpts;

use std::collections::BTreeMap;
use std::path::PathBuf;

use graceline::catalog::settings::Settings;
use graceline::console::envelope::{Line, read_line};
use graceline::console::simulate::{decide, write_notice};
use graceline::invoice::books::{Books, Input, Place};
use graceline::invoice::keep::Contents;

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
    stories
}

/// Lets books read a story; `after` each line they may be looked at, or replaced. `None` if a line can't be read.
fn read_story(input: &str, mut after: impl FnMut(usize, &mut Books, &Settings)) -> Option<Books> {
    let mut books: Option<Books> = None;
    let mut offsets: BTreeMap<String, u64> = BTreeMap::new();
    let mut settings = Settings::default();
    for (number, line) in input.lines().filter(|line| !line.trim().is_empty()).enumerate() {
        match read_line(line.as_bytes()).ok()? {
            Line::Config(json) => settings = Settings::read(&json).expect("a story's settings can be read"),
            Line::Time(at) => {
                books.get_or_insert_with(|| Books::kept(settings.clone())).decide(at, &Input::Tick);
            }
            Line::Record(record) => {
                let offset = offsets.entry(record.topic.to_string()).or_insert(0);
                let place = Place { topic: &record.topic, partition: 0, offset: *offset };
                *offset += 1;
                let headers: Vec<(&str, &[u8])> =
                    record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
                let books = books.get_or_insert_with(|| Books::kept(settings.clone()));
                decide(books, record.at, place, record.key.as_deref(), record.value.as_deref(), &headers);
            }
        }
        if let Some(books) = &mut books {
            after(number, books, &settings);
        }
    }
    books
}

/// What the books say, closed and opened again after every `batch` lines.
fn told(input: &str, batch: usize) -> String {
    let mut store: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut out = Vec::new();
    let books = read_story(input, |number, books, settings| {
        for notice in books.take_notices() {
            write_notice(&notice, None, &mut out);
        }
        if (number + 1) % batch == 0 {
            *books = reopened(books, &mut store, settings);
        }
    });
    let Some(books) = books else { return String::new() };
    out.extend_from_slice(format!("{:?}", books.fates()).as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes down what has changed, and says which documents there are.
fn keep(books: &mut Books, store: &mut BTreeMap<String, Vec<u8>>) -> Contents {
    let changes = books.take_changes();
    let contents = serde_json::to_string(&books.contents()).expect("contents are plain data");
    store.extend(changes.writes);
    for key in changes.forgets {
        store.remove(&key);
    }
    serde_json::from_str(&contents).expect("contents can be read again")
}

fn reopened(books: &mut Books, store: &mut BTreeMap<String, Vec<u8>>, settings: &Settings) -> Books {
    let contents = keep(books, store);
    let keys = Books::keys(&contents);
    let documents = keys.into_iter().map(|key| (key.clone(), store.get(&key).cloned()));
    Books::open(settings.clone(), &contents, documents).expect("what was kept can be opened")
}

#[test]
fn books_that_are_opened_again_go_on_as_before() {
    let stories = stories();
    for (name, input) in &stories {
        let once = told(input, usize::MAX);
        for batch in [1, 3] {
            let again = told(input, batch);
            assert!(once == again, "{name}, opened again after every {batch} lines:\n{once}\n---\n{again}");
        }
    }
}

#[test]
fn a_command_is_kept_no_longer_than_its_id() {
    let mut store = BTreeMap::new();
    let mut input = r#"{"config":{"lateness_limit":"P10D"}}
{"at":"2024-01-01T00:00:00Z","topic":"billing.catalog","value":{"kind":"customer","external_id":"mia"}}"#
        .to_owned();
    for month in 1..=9 {
        for id in ["again", "and again"] {
            input.push_str(&format!(
                r#"
{{"at":"2024-0{month}-06T00:00:00Z","topic":"billing.commands","key":"mia","value":{{"command":"wallet.top_up","command_id":"{id}","credits_cents":{month}}}}}"#
            ));
        }
    }
    let count =
        |store: &BTreeMap<String, Vec<u8>>| store.keys().filter(|key| key.starts_with("command:")).count();
    read_story(&input, |_, books, settings| {
        *books = reopened(books, &mut store, settings);
        assert!(count(&store) <= 2, "{} commands are kept", count(&store));
    });
    assert_eq!(count(&store), 2);
}
