//! What `show` and `explain` say of a processor's books, on a real Kafka and a real Redis; and what its start says.

use super::desk::{Desk, Working, prefix};
use crate::contract::redis_server::Server;

const CATALOG: &str = r#"{"kind":"billing_entity","code":"acme","name":"Acme","timezone":"Europe/Paris","currency":"EUR","document_prefix":"ACM","tax_codes":["vat"],"invoice_grace_period":5,"net_payment_term":10}
{"kind":"tax","code":"vat","name":"VAT","rate":"20"}
{"kind":"billable_metric","code":"calls","name":"Calls","aggregation_type":"sum_agg","field_name":"n"}
{"kind":"plan","code":"pro","name":"Pro","interval":"yearly","amount_cents":0,"amount_currency":"EUR","charges":[{"code":"api","billable_metric_code":"calls","charge_model":"graduated","properties":{"graduated_ranges":[{"from_value":0,"to_value":10,"per_unit_amount":"10","flat_amount":"2"},{"from_value":11,"to_value":null,"per_unit_amount":"5.005","flat_amount":"3"}]}}]}
{"kind":"customer","external_id":"ann","name":"Ann's Bakery","billing_entity_code":"acme"}
{"kind":"subscription","external_id":"ann-pro","external_customer_id":"ann","plan_code":"pro"}
{"kind":"subscription","external_id":"ann-old","external_customer_id":"ann","plan_code":"pro"}
"#;

const USAGE: &str = r#"{"transaction_id":"e1","external_subscription_id":"ann-pro","code":"calls","properties":{"n":"7"}}
{"transaction_id":"e2","external_subscription_id":"ann-pro","code":"calls","properties":{"n":"5.5"}}
{"transaction_id":"e1","external_subscription_id":"ann-pro","code":"calls","properties":{"n":"7"}}
{"transaction_id":"e3","external_subscription_id":"ann-pro","code":"calls","properties":{"n":"many"}}
{"transaction_id":"e4","external_subscription_id":"nobodys","code":"calls","properties":{"n":"1"}}
{"transaction_id":"e5","external_subscription_id":"ann-old","code":"calls","properties":{"n":"1"}}
"#;

const COMMANDS: &str = r#"{"command":"invoice.create_one_off","command_id":"c1","external_customer_id":"ann","fees":[{"invoice_display_name":"Setup","amount_cents":1000}]}
"#;

/// A desk with a real broker and a real Redis; `None` where there are none.
pub(super) fn desk() -> Option<Desk> {
    let (Ok(brokers), Ok(redis)) = (std::env::var("KAFKA_BROKERS"), std::env::var("REDIS_URL")) else {
        return None;
    };
    let prefix = prefix();
    let desk = Desk::at(&brokers, &prefix)
        .with("GRACELINE__TOPICS__PARTITIONS", "3")
        .with("GRACELINE__KAFKA__GROUP", &format!("{prefix}group"))
        .with("GRACELINE__REDIS__URL", &redis)
        .with("GRACELINE__REDIS__PREFIX", prefix.trim_end_matches('.'))
        .with("GRACELINE__HTTP__LISTEN", "");
    Some(desk)
}

/// A processor that has read all of the above.
fn busy_desk() -> Option<(Desk, Working)> {
    let desk = desk()?;
    desk.does(&["topics", "create"], "");
    let processor = desk.start(&["run"]);
    desk.does(&["send", "catalog"], CATALOG);
    desk.asks_until(&["show", "invoice", "--customer", "ann"], |said| said.matches("accruing").count() == 2);
    desk.does(&["send", "usage", "-", "--key", "ann"], USAGE);
    desk.does(&["send", "command"], COMMANDS);
    desk.asks_until(&["show", "usage", "ann-old"], |said| said.contains("  1       1\n"));
    desk.does(&["send", "catalog"], r#"{"key":"subscription/ann-old","value":null}"#);
    desk.asks_until(&["show", "invoice", "--customer", "ann"], |said| {
        said.contains("finalized") && said.contains("  draft  ")
    });
    Some((desk, processor))
}

/// The line of `said` with that in it, with single blanks between its words.
#[track_caller]
fn line(said: &str, part: &str) -> String {
    let found = said.lines().find(|line| line.contains(part));
    let found = found.unwrap_or_else(|| panic!("{part} isn't in\n{said}"));
    found.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn books_are_shown_and_explained() {
    let Some((desk, processor)) = busy_desk() else { return };

    let list = desk.does(&["show", "invoice", "--customer", "ann"], "");
    assert!(line(&list, "accruing").contains(" ann-pro "), "{list}");
    assert!(line(&list, "accruing").contains(" 141.01 EUR draft "), "{list}");
    assert!(line(&list, "  draft  ").contains(" ann-old "), "{list}");
    assert!(line(&list, "ACM-ann-001").contains(" finalized - "), "{list}");
    assert!(line(&list, "ACM-ann-001").contains(" 12.00 EUR overdue "), "{list}");

    let invoice = desk.does(&["show", "invoice", "ACM-ann-001"], "");
    assert!(line(&invoice, "customer ").ends_with("ann (Ann's Bakery), Europe/Paris"), "{invoice}");
    assert!(line(&invoice, "Setup").starts_with("one_off "), "{invoice}");
    assert!(line(&invoice, "total ").ends_with("12.00 EUR"), "{invoice}");
    let json = desk.does(&["show", "invoice", "ACM-ann-001", "--json"], "");
    assert!(json.contains("\"number\":\"ACM-ann-001\"") && json.lines().count() == 1, "{json}");

    let id_of = |part: &str| line(&list, part).split(' ').next().unwrap_or_default().to_owned();
    let accruing = &id_of("accruing");
    let why = desk.does(&["explain", accruing], "");
    for part in [
        " is ann's invoice for ann-pro, plan pro; it is accruing: its period still runs; nobody was told of it yet",
        " to its yearly boundary, midnights in Europe/Paris",
        "grace: P5D, acme's: the customer has none, and no rule holds and fits; it will be a draft",
        "after a term of 10 days, acme's; overdue from ",
        "charge: api, 12.5 units of calls in 2 events: 117.51 EUR",
        "  the units are the sum of the events' values",
        "  tier up to 10: 10 × 10 + 2",
        "  tier without end: 2.5 × 5.005 + 3",
        "  together 117.5125",
        "  exactly 117.5125, rounded half up to 117.51",
        "taxes: 23.50, on each fee the entity's vat 20 %",
        "total: 141.01 EUR",
    ] {
        assert!(why.contains(part), "{part} isn't in\n{why}");
    }
    let fee = desk.does(&["explain", accruing, "--fee", "api"], "");
    assert!(fee.starts_with("charge: api, ") && !fee.contains("total"), "{fee}");
    let said = desk.fails(&["explain", accruing, "--fee", "sms"], "");
    assert!(said.contains("has no fee sms: `graceline show invoice"), "{said}");

    let why = desk.does(&["explain", &id_of("  draft  ")], "");
    assert!(why.contains(" to the subscription's end at "), "{why}");
    assert!(why.contains("; it is a draft and is finalized at "), "{why}");

    let (code, said) = processor.ends();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_fate_of_an_event_can_be_looked_up() {
    let Some((desk, _processor)) = busy_desk() else { return };
    let usage = desk.does(&["show", "usage", "ann-pro"], "");
    assert!(line(&usage, "api ").ends_with(" 2 12.5"), "{usage}");
    for (subscription, id, fate) in [
        ("ann-pro", "e1", "billed: e1 of ann-pro, stamped "),
        ("ann-pro", "e3", "rejected: e3, refused at "),
        ("nobodys", "e4", "parked: e4 of nobodys, stamped "),
    ] {
        let said = desk.asks_until(&["show", "usage", subscription, "--event", id], |said| !said.is_empty());
        assert!(said.starts_with(fate), "{said}");
    }
    let said = desk.fails(&["show", "usage", "ann-pro", "--event", "e9"], "");
    assert!(said.contains("no shard holds the id e9 of ann-pro"), "{said}");
    let said = desk.fails(&["show", "usage", "nobodys"], "");
    assert!(said.contains("no shard knows the subscription nobodys"), "{said}");
    let shards = desk.does(&["show", "shards"], "");
    assert_eq!(shards.lines().count(), 4, "{shards}");
}

#[test]
fn what_is_not_there_is_said_so() {
    let Some(desk) = desk() else { return };
    let said = desk.fails(&["show", "invoice", "in_0"], "");
    assert!(said.starts_with("graceline: no shard has kept anything yet: "), "{said}");
    let said = desk.fails(&["show", "invoice"], "");
    assert!(said.starts_with("graceline: say which: "), "{said}");
    assert!(desk.does(&["show", "shards"], "").contains("no commit yet"));
    let away = desk.with("GRACELINE__REDIS__URL", "redis://ann:canary@127.0.0.1:1");
    let said = away.fails(&["show", "shards"], "");
    assert!(said.starts_with("graceline: redis can't be read: 127.0.0.1:1: Connection refused"), "{said}");
    assert!(
        said.contains(": see that it runs, and that redis.url names") && !said.contains("canary"),
        "{said}"
    );
}

#[test]
fn settings_that_are_not_in_force_are_named_at_the_start() {
    let Some(desk) = desk() else { return };
    desk.does(&["topics", "create"], "");
    // Somebody has filled the catalog before the first start.
    desk.does(&["send", "catalog"], CATALOG);
    let first = desk.start(&["run"]);
    first.says("Wrote the settings to the catalog.");
    desk.asks_until(&["show", "invoice", "--customer", "ann"], |said| said.contains("accruing"));
    assert_eq!(first.ends().0, Some(0));
    let second = desk.with("GRACELINE__BILLING__DEFAULT_GRACE", "P6D").start(&["run"]);
    second.says("The catalog's settings are in force, not the configuration's;");
    let (code, said) = second.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("default_grace is P3D, the configuration says P6D"), "{said}");
    assert!(!said.contains("Wrote the settings"), "{said}");
}

#[tokio::test]
async fn a_redis_that_drops_keys_stops_the_start() {
    let redis = Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let desk = Desk::at("127.0.0.1:1", "")
        .with("GRACELINE__REDIS__URL", &redis.url())
        .with("GRACELINE__HTTP__LISTEN", "");
    let (code, said) = desk.start(&["run"]).has_ended();
    assert_eq!(code, Some(1), "{said}");
    let named = line(&said, "drops keys when its memory is full");
    assert!(named.contains("ERROR") && named.contains("set maxmemory-policy noeviction"), "{said}");
    assert!(line(&said, "appendonly no").contains("WARN"), "{said}");
    assert!(
        said.ends_with("graceline: redis can't keep what it is given; see above, and docs/REDIS.md\n"),
        "{said}"
    );
}
