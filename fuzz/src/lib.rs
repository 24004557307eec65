//! What must hold of any bytes at all. The targets hand them in.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use graceline::console::envelope::{Line, Record, read_line};
use graceline::console::simulate::{SimulateError, simulate};
use graceline::ingest::dialect::{Format, Headers, read_usage};
use graceline::ingest::json;
use graceline::invoice::instant::Instant;
use graceline::invoice::quantity::Quantity;
use graceline::invoice::usage::{UsageEvent, Value, Whose, id_hash};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Usage that is read has sound parts, and is the same with blanks between its tokens.
pub fn check_usage(format: Format, value: &[u8], headers: Headers<'_>) {
    let Ok(event) = read_usage(format, value, headers) else { return };
    check_event(&event);
    let spaced = space_out(value);
    let again = read_usage(format, &spaced, headers).expect("blanks between tokens mean nothing");
    assert_eq!(again, event);
}

/// What auto reads is read the same by the dialect that it chose.
pub fn check_shape(value: &[u8]) {
    let Ok(event) = read_usage(Format::Auto, value, &[]) else { return };
    let format = match event.whose {
        Whose::Subscription(_) => Format::Lago,
        Whose::Customer(_) => Format::Stripe,
        Whose::Either(_) => Format::CloudEvents,
    };
    assert_eq!(read_usage(format, value, &[]), Ok(event));
}

/// The strict reader takes what serde_json takes, but for members named twice; and of what it takes, serde_json
/// refuses only what it has no room for.
pub fn check_json(value: &[u8]) {
    let other = std::str::from_utf8(value).map(|text| serde_json::from_str::<NoTwins>(text));
    match (json::check(value), other) {
        (Ok(_), Ok(Ok(_))) | (Err(_), Ok(Err(_)) | Err(_)) => {}
        (Ok(_), Ok(Err(error))) => {
            let why = error.to_string();
            assert!(why.contains("recursion limit") || why.contains("number out of range"), "{why}");
        }
        (one, other) => {
            panic!("{} and {} about {:?}", one.is_ok(), other.is_ok(), String::from_utf8_lossy(value))
        }
    }
}

/// A number's quantity, its text and its spellings agree.
pub fn check_number(text: &str) {
    let text_of = |number: &str| {
        let value = Value::Number(Cow::Borrowed(number));
        value.as_text().expect("a number has a text").into_owned()
    };
    let as_text = text_of(text);
    assert_eq!(text_of(&as_text), as_text, "the text of {text} stays");
    let quantity = Quantity::parse_number(text);
    match quantity {
        Some(quantity) => assert_eq!(quantity.to_string(), as_text, "{text}"),
        None if text.len() <= 64 => assert_eq!(Quantity::parse_number(&as_text), None, "{text}"),
        None => {}
    }
    if !text.contains(['e', 'E']) {
        assert_eq!(quantity, Quantity::parse_text(text), "{text}");
        assert_eq!(text_of(&format!("{text}e0")), as_text, "{text}");
    }
}

/// A line that `simulate` reads is JSON, and its record is the same when it is written as text and read again.
pub fn check_line(line: &[u8]) {
    let Ok(read) = read_line(line) else { return };
    if let Ok(text) = std::str::from_utf8(line) {
        serde_json::from_str::<IgnoredAny>(text).expect("a line is JSON");
    }
    let Line::Record(record) = read else { return };
    let line = written(&record);
    let Ok(Line::Record(again)) = read_line(&line) else {
        panic!("what was read can be written")
    };
    let Record { at, topic, key, value, headers } = again;
    let again = (at, topic, key, value, headers);
    assert_eq!(again, (record.at, record.topic, record.key, record.value, record.headers));
}

fn written(record: &Record) -> Vec<u8> {
    let mut line = format!("{{\"at\":\"{}\",\"topic\":", record.at).into_bytes();
    push_quoted(&mut line, record.topic.as_bytes());
    for (name, bytes) in [("key", &record.key), ("text", &record.value)] {
        if let Some(bytes) = bytes {
            line.extend_from_slice(format!(",\"{name}\":").as_bytes());
            push_quoted(&mut line, bytes);
        }
    }
    line.extend_from_slice(b",\"headers\":{");
    for (place, (name, value)) in record.headers.iter().enumerate() {
        line.extend_from_slice(if place > 0 { b"," } else { b"" });
        push_quoted(&mut line, name.as_bytes());
        line.push(b':');
        push_quoted(&mut line, value);
    }
    line.extend_from_slice(b"}}");
    line
}

fn push_quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// A file gives an answer, the same each time, in which each record of usage has met its fate; or it names the first
/// line that is bad, and says nothing else.
pub fn check_file(lines: &[u8]) {
    let mut told = Vec::new();
    let until = Instant::parse_rfc3339("2024-01-01T00:00:00Z");
    match simulate(lines, &mut told, until, true) {
        Ok(()) => {
            let last = told.split(|&byte| byte == b'\n').rev().nth(1).expect("the last line are the books");
            let Ends { books } = serde_json::from_slice(last).expect("the books are JSON");
            let usage =
                lines.split(|&byte| byte == b'\n').filter(|line| is_usage(line, until)).count() as u64;
            assert_eq!(books.fates.values().sum::<u64>(), usage);
            let mut again = Vec::new();
            simulate(lines, &mut again, until, true).unwrap_or_else(|_| panic!("it was read before"));
            assert_eq!(told, again);
        }
        Err(SimulateError::BadLine(bad)) => {
            assert!(told.is_empty());
            assert!(bad.number >= 1 && bad.number <= lines.split(|&byte| byte == b'\n').count() as u64);
        }
        Err(SimulateError::Io(error)) => panic!("{error}"),
    }
}

fn is_usage(line: &[u8], until: Option<Instant>) -> bool {
    let Ok(Line::Record(record)) = read_line(line.trim_ascii()) else { return false };
    record.topic == "usage.events" && Some(record.at) <= until
}

#[derive(serde::Deserialize)]
struct Ends {
    books: BooksEnd,
}

#[derive(serde::Deserialize)]
struct BooksEnd {
    fates: BTreeMap<String, u64>,
}

fn check_event(event: &UsageEvent<'_>) {
    let mut names = HashSet::new();
    for (name, value) in &event.properties {
        assert!(names.insert(name), "{name} twice");
        match value {
            Value::Number(text) => check_number(text),
            Value::Text(text) => assert_eq!(value.as_text().as_deref(), Some(&**text)),
            _ => assert_eq!(value.as_quantity(), None),
        }
    }
    if let Some(id) = &event.id {
        id_hash("s", id);
    }
}

/// The same tokens with blanks between them.
fn space_out(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * value.len());
    let mut in_text = false;
    let mut escaped = false;
    for &byte in value {
        out.push(byte);
        match byte {
            b'"' if !escaped => in_text = !in_text,
            b'{' | b'[' | b',' | b':' if !in_text => out.extend_from_slice(b" \t\r\n"),
            _ => {}
        }
        escaped = in_text && byte == b'\\' && !escaped;
    }
    out
}

/// Any JSON in which no object names a member twice.
struct NoTwins;

impl<'de> Deserialize<'de> for NoTwins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NoTwins, D::Error> {
        deserializer.deserialize_any(NoTwins)
    }
}

impl<'de> Visitor<'de> for NoTwins {
    type Value = NoTwins;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<NoTwins, E> {
        Ok(NoTwins)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<NoTwins, E> {
        Ok(NoTwins)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<NoTwins, E> {
        Ok(NoTwins)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<NoTwins, E> {
        Ok(NoTwins)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<NoTwins, E> {
        Ok(NoTwins)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<NoTwins, E> {
        Ok(NoTwins)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<NoTwins, A::Error> {
        while list.next_element::<NoTwins>()?.is_some() {}
        Ok(NoTwins)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<NoTwins, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = object.next_key::<Cow<'de, str>>()? {
            if !names.insert(name) {
                return Err(Error::custom("a member named twice"));
            }
            object.next_value::<NoTwins>()?;
        }
        Ok(NoTwins)
    }
}
