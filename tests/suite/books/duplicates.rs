//! What comes twice counts once: usage with the same id and content, commands with the same id.

use proptest::prelude::*;
use serde_json::json;

use super::{command, entity, metric, minute, plan, quick, storage, tick, told, usage, world};

proptest! {
    #![proptest_config(quick(40))]

    #[test]
    fn duplicates_change_nothing(
        events in prop::collection::vec((0..90_000_i64, 0..20_000_i64, -20..50_i64, any::<bool>()), 1..20),
        again in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..10),
    ) {
        let mut events = events;
        events.sort();
        let mut log = Vec::new();
        for (number, (at, back, amount, tops_up)) in events.into_iter().enumerate() {
            log.push((at, if tops_up {
                command(&minute(at), &json!({"command": "wallet.top_up", "command_id": format!("c{number}"),
                    "credits_cents": 1000}))
            } else {
                usage(&minute(at), &json!({"transaction_id": format!("e{number}"), "code": "gb",
                    "external_subscription_id": "mia-cloud", "timestamp": minute((at - back).max(0)),
                    "properties": {"amount": amount}}))
            }));
        }
        // Each repeat comes right behind a record that came after the first.
        let mut repeated: Vec<Vec<String>> = log.iter().map(|(_, record)| vec![record.clone()]).collect();
        let mut repeats = 0;
        for (of, behind) in again {
            let of = of.index(log.len());
            let behind = of + behind.index(log.len() - of);
            let (was_at, at) = (minute(log[of].0), minute(log[behind].0));
            repeats += i64::from(log[of].1.contains("transaction_id"));
            repeated[behind].push(log[of].1.replacen(&format!(r#""at":"{was_at}""#), &format!(r#""at":"{at}""#), 1));
        }
        let run = |log: Vec<String>| {
            let mut lines = vec![json!({"config": {"lateness_limit": "P90D"}}).to_string()];
            lines.extend(world(entity(), metric("sum_agg"), plan(&storage())));
            lines.extend(log);
            lines.push(tick(&minute(150_000)));
            let mut records = told(&lines);
            let fates = records.pop().expect("the books come last")["books"]["fates"].clone();
            (records, fates)
        };
        let (once, once_fates) = run(log.into_iter().map(|(_, record)| record).collect());
        let (twice, mut twice_fates) = run(repeated.into_iter().flatten().collect());
        prop_assert_eq!(once, twice);
        prop_assert_eq!(&twice_fates["duplicate"], &json!(repeats));
        twice_fates["duplicate"] = json!(0);
        prop_assert_eq!(once_fates, twice_fates);
    }
}
