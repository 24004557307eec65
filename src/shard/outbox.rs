//! Notices that were decided but may not have left yet.
//!
//! A notice gets its number in the commit that decided it, and stays in the ledger until the topics have it. After a
//! crash the topics say what they hold, and the rest is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
/// What is decided again after the store has lost its tail must get the same numbers again, however it falls into
/// batches then. So everything that is numbered at a moment of its own has a sequence of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    pub webhook: u64,
    pub refusal: u64,
    /// Of records that were sent on.
    pub forwarded: u64,
    /// Of letters about invoice numbers.
    pub letter: u64,
}

impl Numbers {
    /// Makes a notice ready to be sent.
    pub fn address(&mut self, notice: Notice, shard: ShardId, to: &Destinations) -> publish::Notice {
        let mut headers = notice.headers;
        headers.push(match notice.topic {
            Topic::Webhook(_) => header(SEQ_HEADER, &mut self.webhook),
            Topic::UsageRejected | Topic::BillingRejected => header(OUTBOX_HEADER, &mut self.refusal),
        });
        publish::Notice {
            topic: to.topic(notice.topic),
            partition: shard.0,
            key: notice.key,
            value: notice.value,
            headers,
        }
    }

    /// The header that numbers a record that is sent on.
    pub fn next_forwarded(&mut self) -> (String, Vec<u8>) {
        header(OUTBOX_HEADER, &mut self.forwarded)
    }

    /// The header that numbers a letter about an invoice number.
    pub fn next_letter(&mut self) -> (String, Vec<u8>) {
        header(OUTBOX_HEADER, &mut self.letter)
    }
}

fn header(name: &str, next: &mut u64) -> (String, Vec<u8>) {
    *next += 1;
    (name.to_owned(), (*next - 1).to_string().into_bytes())
}

/// The notices of one commit, as they are kept.
#[derive(Serialize, Deserialize)]
struct Letter {
    topic: String,
    partition: u32,
    key: Option<Text>,
    value: Option<Text>,
    headers: Vec<(String, Text)>,
}

/// Bytes as text where they are text.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Text {
    Text(String),
    Bytes(Vec<u8>),
}

impl Text {
    fn of(bytes: &[u8]) -> Text {
        match std::str::from_utf8(bytes) {
            Ok(text) => Text::Text(text.to_owned()),
            Err(_) => Text::Bytes(bytes.to_vec()),
        }
    }

    fn read(self) -> Vec<u8> {
        match self {
            Text::Text(text) => text.into_bytes(),
            Text::Bytes(bytes) => bytes,
        }
    }
}

pub fn to_document(notices: &[publish::Notice]) -> Vec<u8> {
    let letters: Vec<Letter> = notices
        .iter()
        .map(|notice| Letter {
            topic: notice.topic.to_string(),
            partition: notice.partition,
            key: notice.key.as_deref().map(Text::of),
            value: notice.value.as_deref().map(Text::of),
            headers: notice.headers.iter().map(|(name, value)| (name.clone(), Text::of(value))).collect(),
        })
        .collect();
    serde_json::to_vec(&letters).expect("notices are plain data")
}

pub fn from_document(bytes: &[u8]) -> Result<Vec<publish::Notice>, serde_json::Error> {
    let letters: Vec<Letter> = serde_json::from_slice(bytes)?;
    Ok(letters
        .into_iter()
        .map(|letter| publish::Notice {
            topic: Arc::from(letter.topic),
            partition: letter.partition,
            key: letter.key.map(Text::read),
            value: letter.value.map(Text::read),
            headers: letter.headers.into_iter().map(|(name, value)| (name, value.read())).collect(),
        })
        .collect())
}

/// Whether a topic already holds the notice.
pub fn is_out(notice: &publish::Notice, published: &[Published]) -> bool {
    let number = |wanted: &str| {
        let (_, value) = notice.headers.iter().find(|(name, _)| name == wanted)?;
        std::str::from_utf8(value).ok()?.parse::<u64>().ok()
    };
    let Some(held) = published.iter().find(|held| held.topic == notice.topic) else { return false };
    match (number(SEQ_HEADER), number(OUTBOX_HEADER)) {
        (Some(seq), _) => held.seq.is_some_and(|last| seq <= last),
        (_, Some(other)) => held.outbox.is_some_and(|last| other <= last),
        _ => false,
    }
}
