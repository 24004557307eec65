//! Numbers of an entity whose customers live on several shards: each is given once, and none is left out. Which invoice
//! gets which is free.

use super::dump::Dump;
use super::replay::Outcome;
use super::story::COUNTS_ALL;
use super::verdict::Faults;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Takes the free part of such numbers out of every document.
pub(super) fn hide(outcome: &mut Outcome) {
    for webhook in outcome.webhooks.values_mut() {
        let Some(mut value) = numbered(webhook.value.as_bytes()) else { continue };
        let invoice = &mut value["invoice"];
        invoice["sequential_id"] = Value::Null;
        let head = invoice["number"].as_str().and_then(|number| number.rsplit_once('-'));
        invoice["number"] = head.map_or(Value::Null, |(head, _)| head.into());
        webhook.value = value.to_string();
    }
}

/// Says how many were given.
pub(super) fn check(dump: &Dump, faults: &mut Faults) -> usize {
    let mut given: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for record in dump.of("webhooks.") {
        let Some(value) = numbered(record.value.as_deref().unwrap_or_default()) else { continue };
        let (invoice, count) = (&value["invoice"]["id"], &value["invoice"]["sequential_id"]);
        let numbers = given.entry(invoice.to_string()).or_default();
        numbers.insert(count.as_u64().expect("a number comes with its count"));
    }
    let mut all: Vec<u64> = given.values().flatten().copied().collect();
    all.sort_unstable();
    if !all.iter().copied().eq(1..=given.len() as u64) {
        let twice: Vec<u64> = all.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
        let missing: Vec<u64> = (1..=given.len() as u64).filter(|number| !all.contains(number)).collect();
        faults.push(format!(
            "{COUNTS_ALL} gave {} invoices {} numbers; given twice: {twice:?}, left out: {missing:?}",
            given.len(),
            all.len()
        ));
    }
    given.len()
}

/// A webhook about an invoice that has such a number.
fn numbered(value: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(value).ok()?;
    let invoice = &value["invoice"];
    (invoice["billing_entity_code"] == COUNTS_ALL && !invoice["number"].is_null()).then_some(value)
}
