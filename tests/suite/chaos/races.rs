//! Usage that was sent on may come to its shard in the same moment as other usage; nobody promises which is read first.
//! Where a draft was just to be told anew, it is told once more or less then. Nothing else may come of it.

use super::replay::Outcome;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Takes the invoices out that differ in nothing but how often their drafts were told; says how many.
pub(super) fn set_aside(run: &mut Outcome, simulated: &mut Outcome) -> usize {
    let (ours, theirs) = (stories(run), stories(simulated));
    let differs = |id: &&String| run.webhooks.get(*id) != simulated.webhooks.get(*id);
    let ids = run.webhooks.keys().chain(simulated.webhooks.keys());
    let invoices: BTreeSet<String> = ids.filter(differs).filter_map(|id| invoice_of(id)).collect();
    let raced: BTreeSet<String> =
        invoices.into_iter().filter(|invoice| ours.get(invoice) == theirs.get(invoice)).collect();
    for outcome in [run, simulated] {
        outcome.webhooks.retain(|id, _| invoice_of(id).is_none_or(|invoice| !raced.contains(&invoice)));
    }
    raced.len()
}

/// A webhook's id is its invoice's and its version.
fn invoice_of(webhook: &str) -> Option<String> {
    Some(webhook.strip_prefix("in_")?.rsplit_once('_')?.0.to_owned())
}

type Step = (String, String, Value);

/// What happened to each invoice but for how its draft changed, in order.
fn stories(outcome: &Outcome) -> BTreeMap<String, Vec<Step>> {
    let mut stories: BTreeMap<String, Vec<(u64, Step)>> = BTreeMap::new();
    for (id, webhook) in &outcome.webhooks {
        let Some(invoice) = invoice_of(id) else { continue };
        let steps = stories.entry(invoice).or_default();
        if webhook.topic.ends_with(".updated") {
            continue;
        }
        let mut value: Value = serde_json::from_str(&webhook.value).expect("a webhook is JSON");
        let version = value["invoice"]["version"].take().as_u64().unwrap_or_default();
        steps.push((version, (webhook.at.clone(), webhook.topic.clone(), value)));
    }
    let in_order = |mut steps: Vec<(u64, Step)>| {
        steps.sort_by_key(|(version, _)| *version);
        steps.into_iter().map(|(_, step)| step).collect()
    };
    stories.into_iter().map(|(invoice, steps)| (invoice, in_order(steps))).collect()
}
