//! The notices of one commit as a document.
//!
//! A webhook says what the document of its invoice holds where both are written by one commit. There it is kept, and only
//! mentioned here; before the invoice's document changes, what mentions it is written out.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::invoice::document::InvoiceId;
use crate::invoice::filing::{invoice_with_key, text_in};
use crate::persist::Write;
use crate::publish::{self, SEQ_HEADER};

/// The key of what a commit tells, by its number among those that tell something.
pub fn key(number: u64) -> String {
    format!("out:{number}")
}

/// A notice as it is kept, but for its value, which comes last.
#[derive(Serialize)]
struct Head<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<(&'a str, u32)>,
    key: Option<Content<'a>>,
    headers: Vec<(&'a str, Content<'a>)>,
}

/// The same as it is read, with its value. It goes where the one before it goes if it doesn't say where.
#[derive(Deserialize)]
struct Letter<'a> {
    to: Option<(String, u32)>,
    #[serde(borrow)]
    key: Option<Content<'a>>,
    headers: Vec<(String, Content<'a>)>,
    value: Option<Content<'a>>,
}

/// Bytes as what they are: JSON, some other text, or neither. Of a webhook that says what its invoice's document holds,
/// the type.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Content<'a> {
    #[serde(borrow)]
    Json(&'a RawValue),
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
    Invoice(Cow<'a, str>),
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
            Content::Text(text) | Content::Invoice(text) => text.into_owned().into_bytes(),
            Content::Bytes(bytes) => bytes,
        }
    }
}

/// A notice that was read. If it mentions an invoice, its value is still the webhook's type alone.
pub struct Kept {
    pub notice: publish::Notice,
    mentions: bool,
}

impl Kept {
    /// The invoice whose document has the rest of it.
    pub fn mentions(&self) -> Option<InvoiceId> {
        if self.mentions { invoice_of(&self.notice) } else { None }
    }

    /// Takes the rest from the document of the invoice that it mentions.
    pub fn write_out(&mut self, document: &[u8]) -> Option<()> {
        let webhook = String::from_utf8(self.notice.value.take()?).ok()?;
        self.notice.value = Some(webhook_of(&webhook, text_in(document)?));
        self.mentions = false;
        Some(())
    }
}

/// The notices of one commit as they are kept, and the invoices that they mention: those that it writes, too.
pub fn of_commit(notices: &[publish::Notice], writes: &[Write]) -> (Vec<u8>, Vec<InvoiceId>) {
    let written: HashMap<InvoiceId, &[u8]> = writes
        .iter()
        .filter_map(|write| Some((invoice_with_key(&write.key)?, write.bytes.as_slice())))
        .collect();
    let mut mentioned = Vec::new();
    let letters = notices.iter().map(|notice| {
        let invoice = invoice_of(notice);
        let document = invoice.and_then(|invoice| written.get(&invoice));
        let webhook = document.and_then(|document| said_in(notice, document));
        mentioned.extend(invoice.filter(|_| webhook.is_some()));
        (notice, webhook)
    });
    let bytes = write(letters);
    (bytes, mentioned)
}

/// Notices that were read, as they are kept.
pub fn of_kept(letters: &[Kept]) -> Vec<u8> {
    write(letters.iter().map(|kept| {
        let webhook = kept.notice.value.as_deref().filter(|_| kept.mentions);
        (&kept.notice, webhook.and_then(|webhook| std::str::from_utf8(webhook).ok()))
    }))
}

pub fn read(bytes: &[u8]) -> Result<Vec<Kept>, serde_json::Error> {
    let letters: Vec<Letter<'_>> = serde_json::from_slice(bytes)?;
    let mut to: (Arc<str>, u32) = (Arc::from(""), 0);
    Ok(letters
        .into_iter()
        .map(|letter| {
            if let Some((topic, partition)) = letter.to {
                to = (Arc::from(topic), partition);
            }
            let mentions = matches!(letter.value, Some(Content::Invoice(_)));
            let notice = publish::Notice {
                topic: to.0.clone(),
                partition: to.1,
                key: letter.key.map(Content::read),
                value: letter.value.map(Content::read),
                headers: letter.headers.into_iter().map(|(name, value)| (name, value.read())).collect(),
            };
            Kept { notice, mentions }
        })
        .collect())
}

fn write<'a>(letters: impl ExactSizeIterator<Item = (&'a publish::Notice, Option<&'a str>)>) -> Vec<u8> {
    const LETTER_BYTES: usize = 300;
    let mut document = Vec::with_capacity(LETTER_BYTES * letters.len());
    let mut before = None;
    for (notice, webhook) in letters {
        document.push(if document.is_empty() { b'[' } else { b',' });
        let to = (&*notice.topic, notice.partition);
        let head = Head {
            to: Some(to).filter(|to| before.replace(*to) != Some(*to)),
            key: notice.key.as_deref().map(Content::of),
            headers: notice.headers.iter().map(|(name, value)| (name.as_str(), Content::of(value))).collect(),
        };
        serde_json::to_writer(&mut document, &head).expect("a notice is plain data");
        document.pop();
        document.extend_from_slice(b",\"value\":");
        write_value(notice, webhook, &mut document);
        document.push(b'}');
    }
    document.push(b']');
    document
}

fn write_value(notice: &publish::Notice, webhook: Option<&str>, document: &mut Vec<u8>) {
    let text = match (webhook, notice.value.as_deref()) {
        (Some(webhook), _) => Some(Content::Invoice(webhook.into())),
        // A webhook is JSON that was written here: it goes in as it is.
        (None, Some(value)) if notice.header(SEQ_HEADER).is_some() => {
            document.extend_from_slice(b"{\"json\":");
            document.extend_from_slice(value);
            return document.push(b'}');
        }
        (None, value) => value.map(Content::of),
    };
    serde_json::to_writer(document, &text).expect("a notice is plain data");
}

// --- What a document of an invoice says -------------------------------------------------------------------------------

const TYPE: &str = "{\"webhook_type\":\"";
const MEMBER: &[u8] = b",\"invoice\":";
const INVOICE: &str = "\",\"object_type\":\"invoice\",\"invoice\":";

/// The invoice that a webhook is about.
fn invoice_of(notice: &publish::Notice) -> Option<InvoiceId> {
    notice.header(SEQ_HEADER)?;
    let id = std::str::from_utf8(notice.header("webhook-id")?).ok()?;
    InvoiceId::parse(id.rsplit_once('_')?.0)
}

/// The type of a webhook whose invoice is, byte for byte, in the document.
fn said_in<'a>(notice: &'a publish::Notice, document: &[u8]) -> Option<&'a str> {
    let value = notice.value.as_deref()?.strip_prefix(TYPE.as_bytes())?;
    let webhook = value.split(|byte| *byte == b'"').next()?;
    let text = value[webhook.len()..].strip_prefix(INVOICE.as_bytes())?.strip_suffix(b"}")?;
    // Within a text a quotation mark has an escape before it, so this is the member.
    let member = document.windows(MEMBER.len()).position(|bytes| bytes == MEMBER)?;
    let is_said = document[member + MEMBER.len()..].starts_with(text);
    std::str::from_utf8(webhook).ok().filter(|_| is_said)
}

fn webhook_of(webhook: &str, invoice: &[u8]) -> Vec<u8> {
    [TYPE.as_bytes(), webhook.as_bytes(), INVOICE.as_bytes(), invoice, b"}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoice::filing::invoice_key;
    use crate::publish::OUTBOX_HEADER;

    fn notice(header: &str, value: Option<&[u8]>) -> publish::Notice {
        publish::Notice {
            topic: Arc::from("webhooks"),
            partition: 3,
            key: Some(vec![0xff, 0]),
            value: value.map(<[u8]>::to_vec),
            headers: vec![(header.to_owned(), b"7".to_vec()), ("other".to_owned(), vec![0xff])],
        }
    }

    fn notices_in(document: &[u8]) -> Vec<publish::Notice> {
        read(document).unwrap().into_iter().map(|kept| kept.notice).collect()
    }

    #[test]
    fn a_notice_is_read_as_it_was_kept() {
        let mut elsewhere = notice(OUTBOX_HEADER, None);
        elsewhere.partition = 4;
        let notices = [
            notice(SEQ_HEADER, Some(br#"{"a":[1.50,"\u00e9 \"x\" {}"]}"#)),
            notice(OUTBOX_HEADER, Some(b"{\"a\":  1 }\n")),
            elsewhere,
            notice(OUTBOX_HEADER, Some(b"no JSON \"")),
            notice(OUTBOX_HEADER, Some(&[0xff])),
            notice(OUTBOX_HEADER, Some(b"")),
            notice(OUTBOX_HEADER, None),
        ];
        let (document, mentioned) = of_commit(&notices, &[]);
        assert_eq!((notices_in(&document), mentioned), (notices.to_vec(), Vec::new()));
    }

    const ID: InvoiceId = InvoiceId(77);

    fn finalized(invoice: &str) -> publish::Notice {
        let mut notice = notice(SEQ_HEADER, None);
        notice.headers.push(("webhook-id".to_owned(), format!("{ID}_2").into_bytes()));
        notice.value = Some(webhook_of("invoice.finalized", invoice.as_bytes()));
        notice
    }

    fn written(invoice: &str) -> Write {
        let bytes = format!(
            "{{\"place\":1,\"created_by\":\"\\\"invoice\\\":\",\"invoice\":{invoice},\"used\":null}}"
        );
        Write { key: invoice_key(ID), bytes: bytes.into_bytes() }
    }

    #[test]
    fn a_webhook_is_kept_in_the_document_of_its_invoice() {
        let notices = [finalized(r#"{"id":"a"}"#), finalized(r#"{"id":"b"}"#)];
        let document = written(r#"{"id":"b"}"#);
        let (bytes, mentioned) = of_commit(&notices, std::slice::from_ref(&document));
        assert_eq!(mentioned, [ID]);
        let mut kept = read(&bytes).unwrap();
        assert_eq!([kept[0].mentions(), kept[1].mentions()], [None, Some(ID)]);
        assert_eq!(of_kept(&kept), bytes);
        kept[1].write_out(&document.bytes).unwrap();
        assert_eq!(notices_in(&of_kept(&kept)), notices);
    }
}
