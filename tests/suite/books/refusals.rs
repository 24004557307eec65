//! Every reason to refuse, with what is refused for it and a neighbour that isn't.

mod catalog;
mod commands;
mod events;

use std::collections::BTreeSet;

use serde_json::Value;

use super::{of_topic, told};

/// Two logs that differ in little: one record of the first is refused, nothing of the second.
struct Row {
    reason: &'static str,
    /// Where in a record of the catalog it is wrong.
    pointer: Option<&'static str>,
    refused: Vec<String>,
    accepted: Vec<String>,
}

fn row(reason: &'static str, refused: Vec<String>, accepted: Vec<String>) -> Row {
    Row { reason, pointer: None, refused, accepted }
}

/// Runs all rows behind the world they share; each reason has to have one.
fn check(world: &[String], rows: &[Row], topic: &str, reasons: &[&str]) {
    let whole = |lines: &[String]| told(&[world, lines].concat());
    for row in rows {
        let records = whole(&row.refused);
        let refusals = of_topic(&records, ".rejected");
        let said: Vec<(&Value, &Value, &Value)> = refusals
            .iter()
            .map(|refusal| {
                let headers = &refusal["headers"];
                (&refusal["topic"], &headers["graceline-reason"], &headers["graceline-pointer"])
            })
            .collect();
        let pointer = row.pointer.map_or(Value::Null, Value::from);
        assert_eq!(
            said,
            [(&Value::from(topic), &Value::from(row.reason), &pointer)],
            "\n{}",
            row.refused.join("\n")
        );
        let records = whole(&row.accepted);
        assert!(of_topic(&records, ".rejected").is_empty(), "{}\n{}", row.reason, row.accepted.join("\n"));
    }
    let told: BTreeSet<&str> = rows.iter().map(|row| row.reason).collect();
    assert_eq!(told, reasons.iter().copied().collect());
}
