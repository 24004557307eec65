//! Usage as CloudEvents 1.0, structured or in Kafka's binary mode.

use std::borrow::Cow;

use crate::invoice::instant::Instant;
use crate::invoice::usage::{EventId, Malformed, UsageEvent, Value, Whose};

use super::content::{Object, condense_content};
use super::dialect::Headers;
use super::envelope::{Envelope, named};
use super::json::{Reader, TokenKind};

const SPECVERSION: &str = "1.0";

/// Whether the record is in binary mode: attributes in headers, the value is the data.
pub(super) fn is_binary(headers: Headers<'_>) -> bool {
    headers.iter().any(|(name, _)| *name == "ce_specversion")
}

pub(super) fn read_structured<'a>(envelope: &mut Envelope<'a>) -> Result<UsageEvent<'a>, Malformed> {
    let data = envelope.data.take()?;
    let attributes = Attributes {
        specversion: envelope.text(envelope.specversion)?,
        id: envelope.text(envelope.id)?,
        source: envelope.text(envelope.source)?,
        kind: envelope.text(envelope.kind)?,
        subject: envelope.text(envelope.subject)?,
        time: envelope.instant(envelope.time)?,
    };
    attributes.into_event(data)
}

pub(super) fn read_binary<'a>(value: &'a [u8], headers: Headers<'a>) -> Result<UsageEvent<'a>, Malformed> {
    let time = match header(headers, "ce_time")? {
        None => None,
        Some(text) => Some(Instant::parse_timestamp_text(&text).ok_or(Malformed)?),
    };
    let attributes = Attributes {
        specversion: header(headers, "ce_specversion")?,
        id: header(headers, "ce_id")?,
        source: header(headers, "ce_source")?,
        kind: header(headers, "ce_type")?,
        subject: header(headers, "ce_subject")?,
        time,
    };
    attributes.into_event(read_data(value)?)
}

struct Attributes<'a> {
    specversion: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    time: Option<Instant>,
}

impl<'a> Attributes<'a> {
    fn into_event(self, data: Object<'a>) -> Result<UsageEvent<'a>, Malformed> {
        if self.specversion.is_some_and(|version| version != SPECVERSION) {
            return Err(Malformed);
        }
        let code = self.kind.ok_or(Malformed)?;
        let source = self.source.unwrap_or_default();
        Ok(UsageEvent {
            id: self.id.map(|id| EventId::Sourced { source, id }),
            whose: Whose::Either(self.subject.ok_or(Malformed)?),
            content: condense_content(&code, self.time, &data, "null"),
            code,
            happened_at: self.time,
            properties: data.members,
            precise_amount: Value::Null,
        })
    }
}

/// A header's text. Two of one name are refused as two members are: nobody can tell which one holds.
fn header<'a>(headers: Headers<'a>, wanted: &str) -> Result<Option<Cow<'a, str>>, Malformed> {
    let mut found = headers.iter().filter(|(name, _)| *name == wanted);
    let Some((_, value)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(value).map_err(|_| Malformed)?;
    named(Cow::Borrowed(text)).map(Some)
}

/// The record's value: an object, `null`, or nothing.
fn read_data(value: &[u8]) -> Result<Object<'_>, Malformed> {
    if value.is_empty() {
        return Ok(Object::empty());
    }
    let mut reader = Reader::open(value)?;
    let data = match reader.token()?.kind {
        TokenKind::Null => Object::empty(),
        TokenKind::Object => reader.keep_object(1)?,
        _ => return Err(Malformed),
    };
    reader.end()?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::dialect::{Format, read_usage};
    use crate::invoice::instant::SECOND;

    const HEADERS: [(&str, &[u8]); 6] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"/gateway"),
        ("ce_type", b"api_calls"),
        ("ce_subject", b"sub_1"),
        ("ce_time", b"2023-01-11T17:15:00Z"),
    ];

    const STRUCTURED: &str = r#"{"specversion":"1.0","id":"1","source":"/gateway","type":"api_calls",
        "subject":"sub_1","time":"2023-01-11T17:15:00Z","datacontenttype":"application/json",
        "data":{"calls":"5"}}"#;

    fn read(text: &str) -> Result<UsageEvent<'_>, Malformed> {
        read_usage(Format::CloudEvents, text.as_bytes(), &[])
    }

    fn with(name: &'static str, value: &'static [u8]) -> Vec<(&'static str, &'static [u8])> {
        HEADERS.into_iter().filter(|header| header.0 != name).chain([(name, value)]).collect()
    }

    fn without(name: &str) -> Vec<(&'static str, &'static [u8])> {
        HEADERS.into_iter().filter(|header| header.0 != name).collect()
    }

    #[test]
    fn attributes_find_their_places() {
        let event = read(STRUCTURED).unwrap();
        assert_eq!(event.id, Some(EventId::Sourced { source: "/gateway".into(), id: "1".into() }));
        assert_eq!(event.whose, Whose::Either("sub_1".into()));
        assert_eq!(event.code, "api_calls");
        assert_eq!(event.happened_at, Some(Instant(1_673_457_300 * SECOND)));
        assert_eq!(event.properties, [("calls".into(), Value::Text("5".into()))]);
    }

    #[test]
    fn binary_mode_says_the_same() {
        let headers = [&HEADERS[..], &[("content-type", b"application/json"), ("trace", b"\xff")]].concat();
        for format in [Format::CloudEvents, Format::Auto] {
            assert_eq!(read_usage(format, br#"{"calls":"5"}"#, &headers), read(STRUCTURED));
        }
    }

    #[test]
    fn data_may_be_missing_in_both_modes() {
        let structured = read(r#"{"specversion":"1.0","type":"t","subject":"s"}"#).unwrap();
        assert!(structured.properties.is_empty());
        for value in ["", "null", " {} "] {
            let event = read_usage(Format::CloudEvents, value.as_bytes(), &HEADERS).unwrap();
            assert!(event.properties.is_empty(), "{value:?}");
        }
    }

    #[test]
    fn an_id_without_a_source_has_an_empty_one() {
        let event = read(r#"{"specversion":"1.0","id":"1","type":"t","subject":"s"}"#).unwrap();
        assert_eq!(event.id, Some(EventId::Sourced { source: "".into(), id: "1".into() }));
        let event = read(r#"{"specversion":"1.0","source":"/x","type":"t","subject":"s"}"#).unwrap();
        assert_eq!(event.id, None);
    }

    #[test]
    fn structured_events_that_lack_what_they_need_are_malformed() {
        for text in [
            r#"{"specversion":"1.0","type":"t"}"#,
            r#"{"specversion":"1.0","subject":"s"}"#,
            r#"{"specversion":"1.0","type":"t","subject":"s","data":[1]}"#,
            r#"{"specversion":"1.0","type":"t","subject":"s","data":"{}"}"#,
            r#"{"specversion":"1.0","type":"t","subject":"s","time":"noon"}"#,
            r#"{"specversion":"1.0","type":"t","subject":"s","id":1}"#,
            r#"{"specversion":"1.0","type":"t","subject":"s","source":1}"#,
            r#"{"specversion":1.0,"type":"t","subject":"s"}"#,
            r#"{"specversion":"0.3","type":"t","subject":"s"}"#,
        ] {
            assert_eq!(read(text), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn binary_events_that_lack_what_they_need_are_malformed() {
        for headers in [
            without("ce_type"),
            without("ce_subject"),
            with("ce_time", b"noon"),
            with("ce_type", b"\xff"),
            with("ce_specversion", b"2.0"),
            [&HEADERS[..], &[("ce_id", b"2")]].concat(),
        ] {
            assert_eq!(read_usage(Format::Auto, b"{}", &headers), Err(Malformed), "{headers:?}");
        }
        for value in ["[]", "5", "{}{}", "{", r#"{"a":1,"a":1}"#] {
            assert_eq!(read_usage(Format::Auto, value.as_bytes(), &HEADERS), Err(Malformed), "{value}");
        }
    }

    #[test]
    fn the_data_of_binary_mode_is_the_outermost_container() {
        let nest = |lists: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(lists), "]".repeat(lists));
        assert!(read_usage(Format::Auto, nest(127).as_bytes(), &HEADERS).is_ok());
        assert_eq!(read_usage(Format::Auto, nest(128).as_bytes(), &HEADERS), Err(Malformed));
    }

    #[test]
    fn a_thousand_other_headers_mean_nothing() {
        let many: Vec<(&str, &[u8])> = (0..1_000).map(|_| ("ce_", &b"\xff"[..])).chain(HEADERS).collect();
        assert!(read_usage(Format::Auto, b"{}", &many).is_ok());
    }
}
