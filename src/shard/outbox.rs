//! Notices that were decided but may not have left yet.
//!
//! A notice gets its number in the commit that decided it, and stays in the ledger until the topics have it. After a
//! crash the topics say what they hold, and the rest is sent.

pub mod document;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::invoice::document::InvoiceId;
use crate::invoice::notice::{Notice, Topic};
use crate::persist::ShardId;
use crate::publish::{self, OUTBOX_HEADER, Published, SEQ_HEADER};

/// Where notices go: a topic for each type of webhook, and those for what is refused or sent on.
#[derive(Clone, Debug)]
pub struct Destinations {
    pub webhooks: BTreeMap<String, Arc<str>>,
    pub usage_rejected: Arc<str>,
    pub billing_rejected: Arc<str>,
}

impl Destinations {
    fn topic(&self, topic: Topic) -> Arc<str> {
        match topic {
            Topic::Webhook(name) => {
                self.webhooks.get(name).expect("every type of webhook has a topic").clone()
            }
            Topic::UsageRejected => self.usage_rejected.clone(),
            Topic::BillingRejected => self.billing_rejected.clone(),
        }
    }
}

/// The numbers that the next notices get, from 0.
///
/// A batch that is decided again may be cut otherwise, and then what was said at its end comes before what was said in
/// its middle. Each kind is counted by itself, so that a notice gets the same number whatever the batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    pub webhook: u64,
    pub refusal: u64,
    pub forward: u64,
    pub number_request: u64,
    pub number: u64,
}

impl Numbers {
    /// Makes a notice ready to be sent.
    pub fn address(&mut self, notice: Notice, shard: ShardId, to: &Destinations) -> publish::Notice {
        let mut headers = notice.headers;
        headers.push(if matches!(notice.topic, Topic::Webhook(_)) {
            self.webhook += 1;
            (SEQ_HEADER.to_owned(), (self.webhook - 1).to_string().into_bytes())
        } else {
            next(&mut self.refusal)
        });
        publish::Notice {
            topic: to.topic(notice.topic),
            partition: shard.0,
            key: notice.key,
            value: notice.value,
            headers,
        }
    }
}

/// The header that numbers what is no webhook.
pub fn next(number: &mut u64) -> (String, Vec<u8>) {
    *number += 1;
    (OUTBOX_HEADER.to_owned(), (*number - 1).to_string().into_bytes())
}

/// The invoices whose documents have the rest of webhooks that may not be out.
#[derive(Default)]
pub struct Mentions {
    by_invoice: HashMap<InvoiceId, u64>,
    by_commit: VecDeque<(u64, Vec<InvoiceId>)>,
}

impl Mentions {
    /// What the notices of a commit mention. Commits come in their order.
    pub fn note(&mut self, number: u64, invoices: Vec<InvoiceId>) {
        self.by_invoice.extend(invoices.iter().map(|invoice| (*invoice, number)));
        self.by_commit.push_back((number, invoices));
    }

    /// The notices of commits before that one are out.
    pub fn are_out(&mut self, next: u64) {
        while let Some((number, invoices)) = self.by_commit.pop_front_if(|(number, _)| *number < next) {
            for invoice in invoices {
                if self.by_invoice.get(&invoice) == Some(&number) {
                    self.by_invoice.remove(&invoice);
                }
            }
        }
    }

    /// Forgets an invoice that is mentioned; says by which commit.
    pub fn take(&mut self, invoice: InvoiceId) -> Option<u64> {
        self.by_invoice.remove(&invoice)
    }
}

/// Whether a topic already holds the notice.
pub fn is_out(notice: &publish::Notice, published: &[Published]) -> bool {
    let number = |wanted: &str| std::str::from_utf8(notice.header(wanted)?).ok()?.parse::<u64>().ok();
    let Some(held) = published.iter().find(|held| held.topic == notice.topic) else { return false };
    match (number(SEQ_HEADER), number(OUTBOX_HEADER)) {
        (Some(seq), _) => held.seq.is_some_and(|last| seq <= last),
        (_, Some(other)) => held.outbox.is_some_and(|last| other <= last),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Notice {
        let at = crate::invoice::instant::Instant(0);
        Notice { at, topic: Topic::UsageRejected, key: None, headers: Vec::new(), value: None }
    }

    fn number_of(notice: &publish::Notice) -> &[u8] {
        &notice.headers.iter().find(|(name, _)| name == OUTBOX_HEADER).expect("it is numbered").1
    }

    #[test]
    fn a_refusal_has_the_same_number_whether_a_letter_was_written_before_it_or_after() {
        let to = Destinations {
            webhooks: BTreeMap::new(),
            usage_rejected: Arc::from("usage.rejected"),
            billing_rejected: Arc::from("billing.rejected"),
        };
        let (mut before, mut after) = (Numbers::default(), Numbers::default());
        let letter = next(&mut before.forward);
        let refused = before.address(refusal(), ShardId(0), &to);
        assert_eq!(number_of(&refused), number_of(&after.address(refusal(), ShardId(0), &to)));
        assert_eq!(letter, next(&mut after.forward));
        assert_eq!(before, after);
    }
}
