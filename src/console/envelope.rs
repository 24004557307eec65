//! The lines that `simulate` reads: a record and when it arrived, or nothing but a time.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::catalog::json::Json;
use crate::ingest::json::{Reader, TokenKind};
use crate::invoice::instant::Instant;

/// What a line says.
pub enum Line<'a> {
    Config(Json),
    Time(Instant),
    Record(Record<'a>),
}

pub struct Record<'a> {
    pub at: Instant,
    pub topic: Cow<'a, str>,
    pub key: Option<Cow<'a, [u8]>>,
    pub value: Option<Cow<'a, [u8]>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    at: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    topic: Option<Cow<'a, str>>,
    #[serde(default)]
    key: Option<Bytes>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(default)]
    text: Option<Bytes>,
    #[serde(default)]
    headers: Option<Headers>,
    #[serde(borrow, default, deserialize_with = "present")]
    config: Option<&'a RawValue>,
}

/// A member that is there, be it null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads one line that isn't blank.
pub fn read_line(bytes: &[u8]) -> Result<Line<'_>, String> {
    if let Some(record) = read_usual(bytes) {
        return Ok(Line::Record(record));
    }
    let (text, is_marked) = match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), false),
        Err(_) => (Cow::Owned(mark_stray_bytes(bytes)), true),
    };
    if !text.trim_start().starts_with('{') {
        return Err("not a JSON object".to_owned());
    }
    // A string that is asked for as bytes is read with control characters in it, which JSON doesn't have. To look at all
    // bytes, whatever is found, is quicker than to stop: many are compared at once.
    if text.bytes().fold(false, |found, byte| found | (byte < b' ')) {
        serde_json::from_str::<IgnoredAny>(&text).map_err(|error| without_place(&error))?;
    }
    let envelope: Envelope<'_> = serde_json::from_str(&text).map_err(|error| without_place(&error))?;
    envelope.into_line(is_marked)
}

/// Reads a record that is written as most are: at, topic, key and value, and no escapes but in the value. All others, and
/// what is wrong, are left to the other reader.
fn read_usual(bytes: &[u8]) -> Option<Record<'_>> {
    let mut reader = Reader::open(bytes).ok()?;
    let [mut at, mut topic, mut key, mut value] = [None; 4];
    if reader.token().ok()?.kind != TokenKind::Object {
        return None;
    }
    let mut is_first = true;
    while let Some(name) = reader.next_name(is_first).ok()? {
        is_first = false;
        let (member, is_value) = match reader.plain_text(name)? {
            "at" => (&mut at, false),
            "topic" => (&mut topic, false),
            "key" => (&mut key, false),
            "value" => (&mut value, true),
            _ => return None,
        };
        let token = reader.token().ok()?;
        let text = if is_value { reader.rest_of(token).ok()? } else { reader.plain_text(token)? };
        if member.replace(text).is_some() {
            return None;
        }
    }
    reader.end().ok()?;
    Some(Record {
        at: Instant::parse_rfc3339(at?)?,
        topic: Cow::Borrowed(topic?),
        key: key.map(|key| Cow::Borrowed(key.as_bytes())),
        value: value.map(|value| Cow::Borrowed(value.as_bytes())),
        headers: Vec::new(),
    })
}

/// serde_json counts lines inside the line; the caller knows better.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

impl Envelope<'_> {
    fn into_line(self, is_marked: bool) -> Result<Line<'static>, String> {
        let restore = |bytes: Vec<u8>| if is_marked { restore_stray_bytes(&bytes) } else { bytes };
        let name = |text: String| {
            String::from_utf8(restore(text.into_bytes())).map_err(|_| "a name is no text".to_owned())
        };
        if let Some(config) = self.config {
            let is_alone =
                self.at.is_none() && self.topic.is_none() && self.value.is_none() && self.text.is_none();
            let json = Json::read(config.get().as_bytes()).filter(|json| matches!(json, Json::Object(_)));
            return match json {
                Some(json) if is_alone && self.key.is_none() && self.headers.is_none() => {
                    Ok(Line::Config(json))
                }
                _ => Err("a config line has an object as `config`, and no other member".to_owned()),
            };
        }
        let at = self.at.ok_or("`at` is missing")?;
        let at = Instant::parse_rfc3339(&at).ok_or_else(|| format!("`at` is no RFC 3339 instant: {at}"))?;
        if self.value.is_some() && self.text.is_some() {
            return Err("a record has `value` or `text`, not both".to_owned());
        }
        let has_content =
            self.value.is_some() || self.text.is_some() || self.key.is_some() || self.headers.is_some();
        let Some(topic) = self.topic else {
            return if has_content { Err("`topic` is missing".to_owned()) } else { Ok(Line::Time(at)) };
        };
        let value = self.value.map(|raw| raw.get().as_bytes().to_vec()).or(self.text.map(|text| text.0));
        let headers = self.headers.map(|headers| headers.0).unwrap_or_default();
        let headers = headers.into_iter().map(|(known, value)| Ok((name(known)?, restore(value))));
        Ok(Line::Record(Record {
            at,
            topic: name(topic.into_owned())?.into(),
            key: self.key.map(|key| restore(key.0).into()),
            value: value.map(|value| restore(value).into()),
            headers: headers.collect::<Result<_, String>>()?,
        }))
    }
}

// --- Bytes that are no text ---------------------------------------------------------------------------------------------

/// The first of 256 private characters that stand for single bytes while a line is read.
const MARK: u32 = 0x10_FE00;

/// A record may hold any bytes. JSON is text, so bytes that are none go through the reader in disguise; and so do those of
/// letters that would pass for the disguise.
fn mark_stray_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    let mark = |byte: &u8| char::from_u32(MARK + u32::from(*byte)).expect("the marks are letters");
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match marked_byte(letter) {
                Some(_) => text.extend(letter.encode_utf8(&mut [0; 4]).as_bytes().iter().map(mark)),
                None => text.push(letter),
            }
        }
        text.extend(chunk.invalid().iter().map(mark));
    }
    text
}

fn marked_byte(letter: char) -> Option<u8> {
    u32::from(letter).checked_sub(MARK).and_then(|byte| u8::try_from(byte).ok())
}

fn restore_stray_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut restored = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match marked_byte(letter) {
                Some(byte) => restored.push(byte),
                None => restored.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        restored.extend_from_slice(chunk.invalid());
    }
    restored
}

/// A JSON string as bytes: escaped halves of surrogate pairs are taken too, as their own bytes.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                Ok(Bytes(text.as_bytes().to_vec()))
            }
        }
        deserializer.deserialize_bytes(Read)
    }
}

struct Headers(Vec<(String, Vec<u8>)>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Headers, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Headers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
                let mut names = HashSet::new();
                while let Some((name, value)) = map.next_entry::<String, Bytes>()? {
                    if !names.insert(name.clone()) {
                        return Err(de::Error::custom(format!("duplicate field `{name}`")));
                    }
                    headers.push((name, value.0));
                }
                Ok(Headers(headers))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_stand_between_tokens_only() {
        let line = |member: &str| {
            let line = format!("{{\"at\":\t\"2023-01-01T00:00:00Z\",\"topic\":\"usage.events\",{member}}}");
            read_line(line.as_bytes()).map(|_| ())
        };
        assert_eq!(line("\"key\":\t\"a\\tb\",\r\"headers\":{}"), Ok(()));
        for member in
            ["\"key\":\"a\tb\"", "\"text\":\"\u{1}\"", "\"headers\":{\"a\":\"\r\"}", "\"value\":\"\0\""]
        {
            assert!(line(member).is_err(), "{member:?}");
        }
    }

    #[test]
    fn usual_lines_say_what_the_other_reader_says() {
        let at = r#""at":"2023-01-01T00:00:00Z""#;
        for (members, is_usual) in [
            (r#""topic":"t","key":"k","value":{"a":[1,{"b":"\u0041\""}],"c":null}"#, true),
            (r#" "value" : [ ] , "topic" : "t" "#, true),
            (r#""topic":"t","value":null"#, true),
            (r#""topic":"t""#, true),
            (r#""topic":"t","key":null"#, false),
            (r#""topic":"t","key":"\u0041""#, false),
            (r#""topic":"t","text":"x""#, false),
            (r#""topic":"t","headers":{}"#, false),
            (r#""topic":"t","topic":"t""#, false),
            (r#""topic":"t","value":{"a":"\ud800"}"#, false),
            (r#""topic":"t","value":{"a":1]"#, false),
            (r#""topic":"t","value":01"#, false),
            (r#""value":1"#, false),
        ] {
            let line = format!("{{{at},{members}}}");
            let Some(record) = read_usual(line.as_bytes()) else {
                assert!(!is_usual, "{line}");
                continue;
            };
            assert!(is_usual, "{line}");
            let envelope: Envelope<'_> = serde_json::from_str(&line).unwrap();
            let Ok(Line::Record(other)) = envelope.into_line(false) else { panic!("{line} is a record") };
            assert_eq!((record.at, record.topic, record.key), (other.at, other.topic, other.key), "{line}");
            assert_eq!((record.value, record.headers), (other.value, other.headers), "{line}");
        }
        let nested = |depth: usize| {
            format!("{{{at},\"topic\":\"t\",\"value\":{}{}}}", "[".repeat(depth), "]".repeat(depth))
        };
        assert!(read_usual(nested(64).as_bytes()).is_some());
        assert!(read_usual(nested(65).as_bytes()).is_none());
    }

    #[test]
    fn any_bytes_come_through_as_they_are() {
        let text = b"a\xff\xf0\xf4\x8f\xb8\x80\xf4\x8f\xbb\xbf\xf4\x8f\xbc\x80\xc3\xa9";
        for member in [&b"text"[..], b"value"] {
            let quote: &[u8] = if member == b"value" { b"\"" } else { b"" };
            let line = [
                &b"{\"at\":\"2023-01-01T00:00:00Z\",\"topic\":\"usage.events\",\"key\":\""[..],
                text,
                b"\",\"",
                member,
                b"\":\"",
                text,
                b"\"}",
            ]
            .concat();
            let Ok(Line::Record(record)) = read_line(&line) else { panic!("it is a record") };
            assert_eq!(record.key.as_deref(), Some(&text[..]));
            assert_eq!(record.value.as_deref(), Some(&[quote, text, quote].concat()[..]));
        }
    }

    #[test]
    fn a_hundred_thousand_headers_take_no_square_of_time() {
        let line = |last: &str| {
            let headers: Vec<String> = (0..100_000).map(|name| format!("\"{name}\":\"\"")).collect();
            format!(
                "{{\"at\":\"2023-01-01T00:00:00Z\",\"topic\":\"t\",\"headers\":{{{},\"{last}\":\"\"}}}}",
                headers.join(",")
            )
        };
        assert!(read_line(line("last").as_bytes()).is_ok());
        assert!(read_line(line("999").as_bytes()).is_err());
    }

    #[test]
    fn a_name_is_text() {
        let line = |member: &[u8]| {
            let head = b"{\"at\":\"2023-01-01T00:00:00Z\",\"text\":\"\xff\",";
            read_line(&[&head[..], member, b"}"].concat()).map(|_| ())
        };
        assert_eq!(line("\"topic\":\"\u{10FE41}\",\"headers\":{\"\u{10FE41}\":\"\"}".as_bytes()), Ok(()));
        assert!(line(b"\"topic\":\"usage\xff\"").is_err());
        assert!(line(b"\"topic\":\"usage\",\"headers\":{\"\xff\":\"\"}").is_err());
    }
}
