//! Books that are closed and opened again go on as if nothing had happened.

mod excerpts;
mod follow;
mod forms;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use graceline::catalog::settings::Settings;
use graceline::console::envelope::{Line, Record, read_line};
use graceline::console::simulate::{decide, write_notice};
use graceline::ingest::command::read_command;
use graceline::invoice::books::{Books, CommandRecord, Input, Passed, Place};
use graceline::invoice::instant::Instant;
use graceline::invoice::keep::{Contents, Opening};

/// The documents that were kept.
type Store = BTreeMap<String, Vec<u8>>;

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
fn read_story(
    input: &str,
    store: &RefCell<Store>,
    mut after: impl FnMut(usize, &mut Books, &Settings),
) -> Option<Books> {
    let mut books: Option<Books> = None;
    let mut offsets: BTreeMap<String, u64> = BTreeMap::new();
    let mut settings = Settings::default();
    for (number, line) in input.lines().filter(|line| !line.trim().is_empty()).enumerate() {
        match read_line(line.as_bytes()).ok()? {
            Line::Config(json) => settings = Settings::read(&json).expect("a story's settings can be read"),
            Line::Time(at) => {
                let books = books.get_or_insert_with(|| Books::kept(settings.clone()));
                prepare(books, &store.borrow(), at, None);
                books.decide(at, &Input::Tick);
            }
            Line::Record(record) => {
                let offset = offsets.entry(record.topic.to_string()).or_insert(0);
                let place = Place { topic: &record.topic, partition: 0, offset: *offset };
                *offset += 1;
                let headers: Vec<(&str, &[u8])> =
                    record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
                let books = books.get_or_insert_with(|| Books::kept(settings.clone()));
                prepare(books, &store.borrow(), record.at, Some(&record));
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
    let store = RefCell::default();
    let mut out = Vec::new();
    let books = read_story(input, &store, |number, books, settings| {
        for notice in books.take_notices() {
            write_notice(&notice, None, &mut out);
        }
        if (number + 1) % batch == 0 {
            *books = reopened(books, &mut store.borrow_mut(), settings);
        }
    });
    let Some(books) = books else { return String::new() };
    out.extend_from_slice(format!("{:?}", books.fates()).as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes down what has changed, and says which documents there are.
fn keep(books: &mut Books, store: &mut Store) -> Contents {
    let changes = books.take_changes();
    let contents = serde_json::to_string(&books.contents()).expect("contents are plain data");
    store.extend(changes.writes);
    books.let_go_of_sealed();
    for key in changes.forgets {
        store.remove(&key);
    }
    serde_json::from_str(&contents).expect("contents can be read again")
}

fn reopened(books: &mut Books, store: &mut Store, settings: &Settings) -> Books {
    let contents = keep(books, store);
    open(store, &contents, settings)
}

fn open(store: &Store, contents: &Contents, settings: &Settings) -> Books {
    let keys = Books::keys(contents);
    let mut opening = Opening::begin(settings.clone(), contents).expect("contents can be read");
    for key in keys {
        opening.take(&key, store.get(&key).map(Vec::as_slice)).expect("what was kept can be opened");
    }
    let mut books = opening.finish();
    let lacked = books.lacked_by_opening();
    bring(&mut books, store, lacked);
    books
}

/// Brings what the books lack, as the wheel does.
fn bring(books: &mut Books, store: &Store, mut lacked: Vec<String>) {
    while let Some(key) = lacked.pop() {
        let next = books.bring(&key, store.get(&key).map(Vec::as_slice));
        lacked.extend(next.expect("an invoice can be read"));
    }
}

/// Brings what duties by then and a command will touch.
fn prepare(books: &mut Books, store: &Store, at: Instant, record: Option<&Record>) {
    while books.pass_some_time(at, usize::MAX, |_| {}) == Passed::Lacking {
        let lacked = books.lacked_by_duties(3);
        bring(books, store, lacked);
    }
    let Some(record) = record.filter(|record| record.topic == "billing.commands") else { return };
    let command = read_command(record.value.as_deref().unwrap_or_default());
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    let lacked = books.lacked_by(&CommandRecord { key, value, headers: &[], command });
    bring(books, store, lacked);
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
    let store = RefCell::default();
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
    let count = |store: &Store| store.keys().filter(|key| key.starts_with("command:")).count();
    read_story(&input, &store, |_, books, settings| {
        *books = reopened(books, &mut store.borrow_mut(), settings);
        assert!(count(&store.borrow()) <= 2, "{} commands are kept", count(&store.borrow()));
    });
    assert_eq!(count(&store.borrow()), 2);
}

/// A customer with a month that is finalized, and an invoice that a command made.
const SEALED: &str = r#"{"at":"2024-01-01T00:00:00Z","topic":"billing.catalog","value":{"kind":"plan","code":"p","interval":"monthly","amount_cents":900,"amount_currency":"EUR","charges":[]}}
{"at":"2024-01-01T00:00:00Z","topic":"billing.catalog","value":{"kind":"customer","external_id":"mia"}}
{"at":"2024-01-01T00:00:00Z","topic":"billing.catalog","value":{"kind":"subscription","external_id":"sub","external_customer_id":"mia","plan_code":"p","started_at":"2024-01-01T00:00:00Z"}}
{"at":"2024-02-05T00:00:00Z","topic":"billing.commands","key":"mia","value":{"command":"invoice.create_one_off","command_id":"work","fees":[{"invoice_display_name":"Work","amount_cents":500}]}}
"#;

#[track_caller]
fn check_comes_back(name: &str, number: &str) {
    let store = RefCell::default();
    let pay = format!(
        r#"{{"at":"2024-02-06T00:00:00Z","topic":"billing.commands","key":"mia","value":{{"command":"payment.record","command_id":"pay","status":"succeeded",{name}}}}}"#
    );
    let mut told = Vec::new();
    let books = read_story(&format!("{SEALED}{pay}"), &store, |_, books, _| {
        told = books.take_notices();
        keep(books, &mut store.borrow_mut());
        assert_eq!(books.sealed_at_hand(), 0, "what is durable is not at hand");
    });
    let paid = String::from_utf8(told[0].value.clone().expect("a webhook has a value")).expect("it is text");
    assert!(paid.contains("payment_status_updated") && paid.contains(number), "{paid}");
    assert_eq!(store.borrow().keys().filter(|key| key.starts_with("invoice:")).count(), 2);
    let mut books = books.expect("there was something to read");
    let books = reopened(&mut books, &mut store.borrow_mut(), &Settings::default());
    assert_eq!(books.sealed_at_hand(), 0, "no sealed invoice is read to open the books");
}

#[test]
fn a_sealed_invoice_comes_back_whatever_names_it() {
    check_comes_back(r#""external_subscription_id":"sub","period_from":"2024-01-01T00:00:00Z""#, "mia-001");
    check_comes_back(r#""created_by":"work""#, "mia-002");
}
