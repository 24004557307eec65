//! A shard that has nothing to do rests, and is there when something comes or is due.

use super::broker::Broker;
use super::clock::Time;
use super::process::{Common, Habits, Process};
use graceline::catalog::settings::Settings;
use graceline::persist::ShardId;
use graceline::persist::memory::MemoryStore;
use graceline::shard::world::Pace;
use std::sync::Arc;
use std::time::Duration;

const SHARD: ShardId = ShardId(0);

/// Two minutes before April.
const BEGINS_MS: i64 = 1_711_929_480_000;
const APRIL_MS: i64 = BEGINS_MS + 120_000;

/// As it is by default.
const SKEW_MS: i64 = 1000;

const CATALOG: [(&str, &str); 3] = [
    ("customer/mia", r#"{"kind":"customer","external_id":"mia","name":"Mia"}"#),
    (
        "plan/cloud",
        r#"{"kind":"plan","code":"cloud","name":"Cloud","interval":"monthly","amount_cents":3100,"amount_currency":"EUR"}"#,
    ),
    (
        "subscription/mia",
        r#"{"kind":"subscription","external_id":"mia","external_customer_id":"mia","plan_code":"cloud"}"#,
    ),
];

/// A shard that looks at its clock once in ten minutes, unless it has a reason.
fn sleepy() -> Pace {
    Pace { rest_max: Duration::from_secs(600), ..Pace::default() }
}

async fn until(time: &Time, at_ms: i64) {
    let ahead_ms = u64::try_from(at_ms - time.now_ms()).expect("it lies ahead");
    tokio::time::sleep(Duration::from_millis(ahead_ms)).await;
}

fn commit(common: &Common) -> u64 {
    common.store.record(SHARD).map_or(0, |record| record.commit.0)
}

#[test]
fn a_shard_that_rests_is_there_when_something_comes_or_is_due() {
    super::runtime().block_on(async {
        let common = Common {
            broker: Arc::new(Broker::new(Arc::new(Time::from(BEGINS_MS)))),
            store: MemoryStore::with_history(),
            shards: 1,
            settings: Settings::default(),
            tokens: Arc::default(),
            broken: Arc::default(),
        };
        let time = common.broker.time.clone();
        let habits = Habits { seed: 0, dawdles_ms: 0, pace: sleepy() };
        let mut process = Process::start(&common, habits, Box::new(|_| {}));
        process.give(SHARD);
        until(&time, BEGINS_MS + 1000).await;
        for (key, value) in CATALOG {
            common.broker.write("billing.catalog", 0, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
        }
        until(&time, BEGINS_MS + 2000).await;
        let looks = process.logs.looks();
        until(&time, BEGINS_MS + 60_000).await;
        assert!(process.logs.looks() <= looks + 2, "it rests");

        let before = commit(&common);
        common.broker.write("usage.events", 0, None, Some(b"{}"), &[]);
        until(&time, BEGINS_MS + 60_010).await;
        assert!(commit(&common) > before, "what comes is taken at once");

        let drafts = || common.broker.dump().of("webhooks.invoice.drafted").count();
        until(&time, APRIL_MS + SKEW_MS - 1).await;
        assert_eq!(drafts(), 0);
        // A tick takes two turns.
        until(&time, APRIL_MS + SKEW_MS + 40).await;
        assert_eq!(drafts(), 1, "what is due happens then");
    });
}
