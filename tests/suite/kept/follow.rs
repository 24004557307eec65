//! Drafts that follow a record by and by: each commit is small, and wherever the books are closed in between, the end is
//! the same.

use std::env::var;

use graceline::catalog::settings::Settings;
use graceline::invoice::books::{Books, Input};
use graceline::invoice::instant::Instant;
use graceline::invoice::notice::Notice;
use serde_json::{Value, json};

use super::{Store, keep, reopened};

fn drafts() -> usize {
    var("DRAFTS").map_or(1_500, |count| count.parse().expect("DRAFTS is a number"))
}

/// How many duties are done between two commits.
fn bound() -> usize {
    drafts() / 15
}

fn entity(grace_days: u32) -> Value {
    json!({"kind": "billing_entity", "code": "north", "invoice_grace_period": grace_days})
}

fn plan(cents: u32) -> Value {
    json!({"kind": "plan", "code": "cloud", "interval": "monthly", "amount_cents": cents,
           "amount_currency": "EUR", "charges": []})
}

fn people(number: usize) -> [Value; 2] {
    let (name, subscription) = (format!("customer {number}"), format!("subscription {number}"));
    [
        json!({"kind": "customer", "external_id": name, "billing_entity_code": "north"}),
        json!({"kind": "subscription", "external_id": subscription, "external_customer_id": name,
               "plan_code": "cloud", "started_at": "2024-03-01T00:00:00Z"}),
    ]
}

fn at(text: &str) -> Instant {
    Instant::parse_rfc3339(text).expect("an instant")
}

fn with_record(record: &Value, take: impl FnOnce(&Input<'_>)) {
    let value = record.to_string();
    take(&Input::Catalog { key: None, value: Some(value.as_bytes()), headers: &[] });
}

/// March is over for many, and in its grace.
fn many_drafts() -> Store {
    let mut books = Books::kept(Settings::default());
    let everybody = (0..drafts()).flat_map(people);
    for record in [entity(5), plan(900)].into_iter().chain(everybody) {
        with_record(&record, |input| books.decide(at("2024-03-01T00:00:00Z"), input));
    }
    books.decide(at("2024-04-02T00:00:00Z"), &Input::Tick);
    assert_eq!(books.open_counts().0, drafts());
    let mut store = Store::default();
    books.take_notices();
    let contents = keep(&mut books, &mut store);
    store.insert("contents".to_owned(), serde_json::to_vec(&contents).expect("contents are plain data"));
    store
}

fn opened(store: &mut Store) -> Books {
    let contents = store.remove("contents").expect("the books were kept");
    let contents = serde_json::from_slice(&contents).expect("contents can be read");
    super::open(store, &contents, &Settings::default())
}

/// The record is decided in one go.
fn at_once(mut store: Store, record: &Value) -> (Vec<Notice>, Store) {
    let mut books = opened(&mut store);
    with_record(record, |input| books.decide(at("2024-04-02T00:00:00Z"), input));
    keep(&mut books, &mut store);
    (books.take_notices(), store)
}

/// The same in small commits; after each the books are closed and opened again.
fn by_and_by(mut store: Store, record: &Value) -> (Vec<Notice>, Store) {
    let mut books = opened(&mut store);
    let mut told = Vec::new();
    with_record(record, |input| books.begin_to_decide(at("2024-04-02T00:00:00Z"), input));
    while books.next_deadline().is_some_and(|due| due <= at("2024-04-02T00:00:00Z")) {
        books.pass_some_time(at("2024-04-02T00:00:00Z"), bound(), |_| {});
        told.extend(books.take_notices());
        let changes = books.take_changes();
        let documents = changes.writes.len();
        assert!(documents <= 2 * bound() + 5, "a commit writes {documents} documents");
        store.extend(changes.writes);
        for key in changes.forgets {
            store.remove(&key);
        }
        books = reopened(&mut books, &mut store, &Settings::default());
    }
    (told, store)
}

#[track_caller]
fn check_follow(record: &Value, notices: usize) {
    let store = many_drafts();
    let (told, kept) = at_once(store.clone(), record);
    assert_eq!(told.len(), notices);
    let (told_by_and_by, kept_by_and_by) = by_and_by(store, record);
    assert!(told == told_by_and_by, "the same is told in the same order");
    for (key, document) in &kept {
        assert!(kept_by_and_by.get(key) == Some(document), "document {key} is another");
    }
    assert_eq!(kept.len(), kept_by_and_by.len());
}

#[test]
fn drafts_are_dated_anew_in_small_commits() {
    check_follow(&entity(9), drafts());
}

#[test]
fn drafts_whose_time_is_over_are_finalized_in_small_commits() {
    check_follow(&entity(0), drafts());
}

#[test]
fn drafts_are_priced_anew_in_small_commits() {
    check_follow(&plan(700), drafts());
}

#[test]
fn what_no_draft_shows_is_told_to_nobody() {
    check_follow(&json!({"kind": "tax", "code": "vat", "rate": "19"}), 0);
}
