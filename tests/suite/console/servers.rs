//! The operator's commands against a real broker and a real Redis, whose addresses are in `KAFKA_BROKERS` and
//! `REDIS_URL`. Without them there is nothing to ask, and the tests end at once.

use super::desk::{Desk, prefix};

fn desk() -> Option<Desk> {
    let brokers = std::env::var("KAFKA_BROKERS").ok()?;
    Some(Desk::at(&brokers, &prefix()).with("GRACELINE__TOPICS__PARTITIONS", "3"))
}

#[test]
fn topics_are_made_once() {
    let Some(desk) = desk() else { return };
    let said = desk.does(&["topics", "create"], "");
    assert_eq!(said.lines().count(), 18, "{said}");
    assert!(said.contains(&format!("created: {} with 3 partitions\n", desk.topic("usage.events"))), "{said}");
    assert!(
        said.contains(&format!("created: {} with 1 partitions\n", desk.topic("billing.catalog"))),
        "{said}"
    );
    let again = desk.does(&["topics", "create"], "");
    assert_eq!(again, said.replace("created: ", "there: "));
}

#[test]
fn topics_that_cant_serve_are_named() {
    let Some(desk) = desk() else { return };
    desk.does(&["topics", "create"], "");
    let other =
        desk.with("GRACELINE__TOPICS__USAGE", "other.events").with("GRACELINE__TOPICS__PARTITIONS", "2");
    let said = other.run(&["topics", "create"], "");
    assert_eq!(said.code, Some(1), "{said:?}");
    let (commands, usage) = (desk.topic("billing.commands"), desk.topic("other.events"));
    let line = format!("error: {commands} has 3 partitions, {usage} has 2: create it anew with 2\n");
    assert!(said.out.contains(&line), "{said:?}");
    let checked = other.run(&["check"], "");
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.out.contains(&line), "{checked:?}");
}

#[test]
fn what_can_serve_is_said_to() {
    let Some(desk) = desk() else { return };
    let Ok(redis) = std::env::var("REDIS_URL") else { return };
    let desk = desk.with("GRACELINE__REDIS__URL", &redis);
    let fresh = desk.does(&["check"], "");
    assert!(fresh.starts_with("ok: the configuration can be used\nnote: "), "{fresh}");
    assert!(
        fresh.contains(
            "usage.events is not there: it is made at the start, or by `graceline topics create`\n"
        ),
        "{fresh}"
    );
    desk.does(&["topics", "create"], "");
    let made = desk.does(&["check"], "");
    assert!(made.contains("\nok: 18 topics can serve\n"), "{made}");
    assert!(!made.contains("error: "), "{made}");
}

#[test]
fn servers_that_are_away_are_no_fault_of_the_configuration() {
    let desk = Desk::at("127.0.0.1:1", "").with("GRACELINE__REDIS__URL", "redis://ann:canary@127.0.0.1:1");
    let said = desk.does(&["check"], "");
    assert!(said.contains("note: the brokers at 127.0.0.1:1 can't be reached"), "{said}");
    assert!(said.contains("note: redis can't be reached, so nobody checked it: 127.0.0.1:1: "), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn a_topic_that_is_missing_is_not_made_by_the_way() {
    let Some(desk) = desk() else { return };
    let topic = desk.topic("usage.events");
    let said = desk.fails(&["send", "usage"], "{}");
    assert_eq!(said, format!("graceline: {topic} is not there: make it with `graceline topics create`\n"));
    let said = desk.fails(&["replay-rejected"], "");
    assert!(said.contains("usage.rejected is not there"), "{said}");
    assert_eq!(desk.partitions(&topic), 0);
}

#[test]
fn rejected_usage_is_chosen_by_its_time() {
    let Some(desk) = desk() else { return };
    desk.does(&["topics", "create"], "");
    desk.write(&desk.topic("usage.rejected"), 1, Some("ann"), "{}", &[("graceline-reason", "too_late")]);
    let (usage, past, future) = (desk.topic("usage.events"), "2020-01-01T00:00:00Z", "2200-01-01T00:00:00Z");
    let said = desk.does(&["replay-rejected", "--since", future], "");
    assert_eq!(said, format!("Of 0 rejected events 0 were sent to {usage}.\n"));
    let said = desk.does(&["replay-rejected", "--since", past], "");
    assert_eq!(said, format!("        1  too_late\nOf 1 rejected events 1 were sent to {usage}.\n"));
    assert_eq!(desk.records(&usage).len(), 1);
}

#[test]
fn settings_bring_the_topics_of_their_dialect() {
    let Some(desk) = desk() else { return };
    let created = desk.topic("webhooks.invoice.created");
    let desk = desk.with("GRACELINE__WEBHOOKS__DIALECT", "lago");
    let said = desk.does(&["settings", "apply"], "");
    assert!(said.contains("\"dialect\":\"lago\""), "{said}");
    assert_eq!(desk.partitions(&created), 3);
    let records = desk.records(&desk.topic("billing.catalog"));
    assert_eq!(
        records.iter().map(|found| found.key.as_deref()).collect::<Vec<_>>(),
        [Some("settings/settings")]
    );
}
