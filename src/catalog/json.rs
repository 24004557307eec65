//! Records as JSON trees: strict, exact, and small enough to be looked at twice.
//!
//! Numbers keep their text, so no quantity passes through a float. A member named twice makes the record unreadable,
//! and so does nesting deeper than [`DEEPEST`].

use std::fmt;

use serde::Deserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::invoice::quantity::Quantity;

/// How deep lists and objects may nest.
pub const DEEPEST: usize = 128;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// The number's text, as written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a whole record; `None` if it isn't the JSON that is taken here.
    pub fn read(bytes: &[u8]) -> Option<Json> {
        let raw: &RawValue = serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()?;
        if depth(raw.get()) > DEEPEST { None } else { read_raw(raw) }
    }

    /// The member of that name; `None` if this is no object, the member is absent, or null.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self.member(name) {
            None | Some(Json::Null) => None,
            found => found,
        }
    }

    /// The member of that name, null included.
    pub fn member(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Json::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Json]> {
        match self {
            Json::List(items) => Some(items),
            _ => None,
        }
    }

    /// A whole number, however it is written (`3`, `3.0`, `3e0`), if it fits.
    pub fn as_integer(&self) -> Option<i128> {
        match self {
            Json::Number(text) => whole(text),
            _ => None,
        }
    }

    /// A decimal as R54 reads it: text without an exponent, or a number.
    pub fn as_quantity(&self) -> Option<Quantity> {
        match self {
            Json::Text(text) => Quantity::parse_text(text),
            Json::Number(text) => Quantity::parse_number(text),
            _ => None,
        }
    }

    /// A price or a rate as R106 reads it.
    pub fn as_price(&self) -> Option<Quantity> {
        match self {
            Json::Text(text) => Quantity::parse_price(text, false),
            Json::Number(text) => Quantity::parse_price(text, true),
            _ => None,
        }
    }
}

/// Plain integers of any length up to 128 bits; other notations as far as quantities reach.
fn whole(text: &str) -> Option<i128> {
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return text.parse().ok();
    }
    let quantity = Quantity::parse_number(text)?;
    (quantity.0 % Quantity::ONE.0 == 0).then_some(quantity.0 / Quantity::ONE.0)
}

/// How deep a JSON text nests. Each level is read anew for its own sake, so that one of millions has to be known before.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => pass_text(&mut bytes),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Goes behind the quote that ends a text.
fn pass_text(bytes: &mut impl Iterator<Item = u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

fn read_raw(raw: &RawValue) -> Option<Json> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'{' => {
            let mut members = Vec::new();
            for (name, value) in serde_json::Deserializer::from_str(text).deserialize_map(Members).ok()? {
                members.push((name, read_raw(value)?));
            }
            named_once(&members).then_some(Json::Object(members))
        }
        b'[' => {
            let items = serde_json::Deserializer::from_str(text).deserialize_seq(Items).ok()?;
            items.into_iter().map(read_raw).collect::<Option<_>>().map(Json::List)
        }
        b'"' => serde_json::from_str(text).ok().map(Json::Text),
        b't' => Some(Json::Bool(true)),
        b'f' => Some(Json::Bool(false)),
        b'n' => Some(Json::Null),
        _ => Some(Json::Number(text.to_owned())),
    }
}

fn named_once(members: &[(String, Json)]) -> bool {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
            members.push(member);
        }
        Ok(members)
    }
}

struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<&'de RawValue>()? {
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_named_twice_makes_the_record_unreadable() {
        assert!(Json::read(br#"{"a":1,"b":{"c":1}}"#).is_some());
        assert!(Json::read(br#"{"a":1,"\u0061":1}"#).is_none());
        assert!(Json::read(br#"{"b":{"c":1,"c":1}}"#).is_none());
    }

    #[test]
    fn nesting_ends_at_its_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::read(nested(DEEPEST).as_bytes()).is_some());
        assert!(Json::read(nested(DEEPEST + 1).as_bytes()).is_none());
        let brackets = format!("[\"\\\"{}\",\"\\\\\"]", "[".repeat(DEEPEST));
        assert!(Json::read(brackets.as_bytes()).is_some());
        assert!(Json::read(format!("[{0},{0}]", nested(DEEPEST - 1)).as_bytes()).is_some());
    }

    #[test]
    fn integers_keep_every_digit() {
        let integer = |text: &str| Json::read(text.as_bytes()).unwrap().as_integer();
        assert_eq!(integer("9007199254740993"), Some(9_007_199_254_740_993));
        assert_eq!(integer("1e3"), Some(1000));
        assert_eq!(integer("1.5"), None);
        assert_eq!(integer("\"1\""), None);
    }
}
