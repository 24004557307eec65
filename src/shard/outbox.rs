//! Notices that were decided but may not have left yet.
//!
//! A notice gets its number in the commit that decided it, and stays in the ledger until the topics have it. After a
//! crash the topics say what they hold, and the rest is sent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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

/// A notice as it is kept, but for its value, which comes last.
#[derive(Serialize)]
struct Head<'a> {
    topic: &'a str,
    partition: u32,
    key: Option<Content<'a>>,
    headers: Vec<(&'a str, Content<'a>)>,
}

/// The same as it is read, with its value.
#[derive(Deserialize)]
struct Letter<'a> {
    topic: String,
    partition: u32,
    #[serde(borrow)]
    key: Option<Content<'a>>,
    headers: Vec<(String, Content<'a>)>,
    value: Option<Content<'a>>,
}

/// Bytes as what they are: JSON, some other text, or neither.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Content<'a> {
    #[serde(borrow)]
    Json(&'a RawValue),
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
}

impl<'a> Content<'a> {
    fn of(bytes: &'a [u8]) -> Content<'a> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Content::Text(text.into()),
            Err(_) => Content::Bytes(bytes.to_vec()),
        }
    }

    fn read(self) -> Vec<u8> {
        match self {
            Content::Json(json) => json.get().as_bytes().to_vec(),
            Content::Text(text) => text.into_owned().into_bytes(),
            Content::Bytes(bytes) => bytes,
        }
    }
}

/// The notices of one commit, as they are kept.
pub fn to_document(notices: &[publish::Notice]) -> Vec<u8> {
    const HEAD_BYTES: usize = 250;
    let bytes = notices.iter().map(|notice| HEAD_BYTES + notice.value.as_ref().map_or(0, Vec::len)).sum();
    let mut document = Vec::with_capacity(bytes);
    for notice in notices {
        document.push(if document.is_empty() { b'[' } else { b',' });
        let head = Head {
            topic: &notice.topic,
            partition: notice.partition,
            key: notice.key.as_deref().map(Content::of),
            headers: notice.headers.iter().map(|(name, value)| (name.as_str(), Content::of(value))).collect(),
        };
        serde_json::to_writer(&mut document, &head).expect("a notice is plain data");
        document.pop();
        document.extend_from_slice(b",\"value\":");
        write_value(notice, &mut document);
        document.push(b'}');
    }
    document.push(b']');
    document
}

fn write_value(notice: &publish::Notice, document: &mut Vec<u8>) {
    // A webhook is JSON that was written here: it goes in as it is.
    if let Some(value) = notice.value.as_ref().filter(|_| notice.header(SEQ_HEADER).is_some()) {
        document.extend_from_slice(b"{\"json\":");
        document.extend_from_slice(value);
        return document.push(b'}');
    }
    let text = notice.value.as_deref().map(Content::of);
    serde_json::to_writer(document, &text).expect("a notice is plain data");
}

pub fn from_document(bytes: &[u8]) -> Result<Vec<publish::Notice>, serde_json::Error> {
    let letters: Vec<Letter<'_>> = serde_json::from_slice(bytes)?;
    Ok(letters
        .into_iter()
        .map(|letter| publish::Notice {
            topic: Arc::from(letter.topic),
            partition: letter.partition,
            key: letter.key.map(Content::read),
            value: letter.value.map(Content::read),
            headers: letter.headers.into_iter().map(|(name, value)| (name, value.read())).collect(),
        })
        .collect())
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
    fn a_notice_is_read_as_it_was_kept() {
        let notice = |header: &str, value: Option<&[u8]>| publish::Notice {
            topic: Arc::from("webhooks"),
            partition: 3,
            key: Some(vec![0xff, 0]),
            value: value.map(<[u8]>::to_vec),
            headers: vec![(header.to_owned(), b"7".to_vec()), ("other".to_owned(), vec![0xff])],
        };
        let notices = [
            notice(SEQ_HEADER, Some(br#"{"a":[1.50,"\u00e9 \"x\" {}"]}"#)),
            notice(OUTBOX_HEADER, Some(b"{\"a\":  1 }\n")),
            notice(OUTBOX_HEADER, Some(b"no JSON \"")),
            notice(OUTBOX_HEADER, Some(&[0xff])),
            notice(OUTBOX_HEADER, Some(b"")),
            notice(OUTBOX_HEADER, None),
        ];
        assert_eq!(from_document(&to_document(&notices)).unwrap(), notices);
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
