//! Usage that comes while a great many drafts are being finalized: what was done by then makes no difference.

use graceline::ingest::dialect::{Format, read_usage};
use graceline::invoice::ahead::Ahead;
use graceline::invoice::books::{Books, Input, Passed, Place, UsageRecord};
use graceline::invoice::instant::Instant;
use serde_json::{Value, json};

use super::{customer, entity, metric, minute, plan, storage, subscription, with};

const APRIL: i64 = 31 * 1440;

/// March is over for Ann and Bob, with no grace; of the two invoices due at midnight Ann's is finalized.
fn between_two_invoices() -> Books {
    let mut books = Books::new(Default::default());
    let entity = with(entity(), json!({"invoice_grace_period": 0}));
    let [ann, bob] = ["ann", "bob"].map(|name| [customer(name), subscription(name)]);
    for record in [entity, metric("sum_agg"), plan(&storage())].iter().chain(&ann).chain(&bob) {
        let value = record.to_string();
        let input = Input::Catalog { key: None, value: Some(value.as_bytes()), headers: &[] };
        books.decide(at(0), &input);
    }
    assert_eq!(books.pass_some_time(at(APRIL), 1, |_| {}), Passed::Some, "Bob's is still to be done");
    assert_eq!(books.take_notices().len(), 1);
    books
}

fn at(minutes: i64) -> Instant {
    Instant::parse_rfc3339(&minute(minutes)).expect("an instant")
}

fn event(name: &str, id: &str, happened: i64) -> Value {
    json!({"transaction_id": id, "external_subscription_id": format!("{name}-cloud"), "code": "gb",
           "timestamp": minute(happened), "properties": {"amount": "2"}})
}

fn with_record<T>(event: &Value, take: impl FnOnce(&UsageRecord<'_>) -> T) -> T {
    let value = event.to_string();
    take(&UsageRecord {
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
        place: Place { topic: "usage.events", partition: 0, offset: 0 },
        event: read_usage(Format::Lago, value.as_bytes(), &[]),
        id_hash: None,
    })
}

fn ahead(books: &mut Books, event: &Value, is_held_up: bool) -> Ahead {
    with_record(event, |record| books.decide_ahead(at(APRIL + 1), record, |_, _| is_held_up))
}

#[test]
fn usage_is_decided_where_nothing_of_its_subscription_is_to_be_done() {
    let mut books = between_two_invoices();
    assert_eq!(ahead(&mut books, &event("ann", "1", APRIL - 5), false), Ahead::Taken);
    assert_eq!((books.fates().late, books.now()), (1, at(APRIL)), "her March is finalized");
    assert!(matches!(ahead(&mut books, &event("bob", "1", APRIL - 5), false), Ahead::Waits(_)));
    assert_eq!(books.pass_some_time(at(APRIL), 1, |_| {}), Passed::Some);
    assert_eq!(ahead(&mut books, &event("bob", "1", APRIL - 5), false), Ahead::Taken);
    assert_eq!((books.fates().late, books.fates().billed), (2, 0));
}

#[test]
fn usage_waits_behind_what_waits_and_where_it_would_be_refused() {
    let mut books = between_two_invoices();
    assert!(matches!(ahead(&mut books, &event("ann", "1", APRIL), true), Ahead::Waits(_)));
    assert_eq!(ahead(&mut books, &event("cid", "1", APRIL), false), Ahead::Unowned);
    assert_eq!(ahead(&mut books, &event("ann", "1", APRIL + 60), false), Ahead::Refused);
    assert_eq!(ahead(&mut books, &event("ann", "1", APRIL), false), Ahead::Taken);
    let other = with(event("ann", "1", APRIL), json!({"properties": {"amount": "3"}}));
    assert!(matches!(ahead(&mut books, &other, false), Ahead::Waits(_)), "the id is another's");
    assert!(matches!(ahead(&mut books, &event("ann", "2", -1), false), Ahead::Waits(_)), "before its start");
    assert_eq!((books.fates().billed, books.take_notices().len()), (1, 0));
}
