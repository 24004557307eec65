//! What is as it usually is isn't written.

use graceline::catalog::settings::Settings;
use graceline::invoice::books::{Books, Input};
use graceline::invoice::instant::Instant;

use super::{Store, keep, reopened};

fn at(text: &str) -> Instant {
    Instant::parse_rfc3339(text).expect("the instant is sound")
}

const CATALOG: [(&str, &str); 3] = [
    (
        "plan/p",
        r#"{"kind":"plan","code":"p","name":"P","interval":"monthly","amount_cents":100,"amount_currency":"USD","charges":[]}"#,
    ),
    ("customer/c", r#"{"kind":"customer","external_id":"c","timezone":"Asia/Tokyo"}"#),
    (
        "subscription/s",
        r#"{"kind":"subscription","external_id":"s","external_customer_id":"c","plan_code":"p","started_at":"2026-01-10T12:00:00Z"}"#,
    ),
];

fn put(books: &mut Books, when: &str, key: &str, value: &str) {
    let input = Input::Catalog { key: Some(key.as_bytes()), value: Some(value.as_bytes()), headers: &[] };
    books.decide(at(when), &input);
}

#[track_caller]
fn check_form(store: &Store, key: &str, is_as_expected: impl Fn(&str) -> bool) {
    let text = std::str::from_utf8(&store[key]).expect("a document is text");
    assert!(is_as_expected(text), "{text}");
}

#[test]
fn a_period_that_follows_is_kept_by_its_start_alone() {
    let (mut books, mut store) = (Books::kept(Settings::default()), Store::new());
    for (key, value) in CATALOG {
        put(&mut books, "2026-01-10T12:00:00Z", key, value);
    }
    let mut books = reopened(&mut books, &mut store, &Settings::default());
    check_form(&store, "customers:0", |text| text == r#"[["c",null,0,{"terms":{"timezone":"Asia/Tokyo"}}]]"#);
    check_form(&store, "subscriptions:0", |text| {
        text == r#"[["s",0,0,1768046400,[[0,"Asia/Tokyo"]],[[0,1768046400,{"advance":"nothing"}]]]]"#
    });
    books.decide(at("2026-02-01T00:00:00Z"), &Input::Tick);
    let mut books = reopened(&mut books, &mut store, &Settings::default());
    check_form(&store, "subscriptions:0", |text| text.ends_with("[1,1769871600]]]]"));
    let moved = r#"{"kind":"customer","external_id":"c","timezone":"Europe/Paris"}"#;
    put(&mut books, "2026-02-10T00:00:00Z", "customer/c", moved);
    books.decide(at("2026-03-02T00:00:00Z"), &Input::Tick);
    keep(&mut books, &mut store);
    check_form(&store, "subscriptions:0", |text| {
        text.contains(r#"[[0,"Asia/Tokyo"],[0,"Europe/Paris",["#) && text.contains("[2,1772290800]")
    });
}
