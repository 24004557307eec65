//! Takes keys out of what was given, one after another. What is left in the end is nobody's.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::problem::{Origin, Problem};
use super::sources::{Given, OPEN_TABLES, Sources, Value};
use crate::catalog::json::Json;

pub(super) struct Reader {
    given: BTreeMap<String, Given>,
    /// Where what was taken came from, for problems that show up later.
    origins: BTreeMap<String, Origin>,
    /// All keys that were asked for.
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(sources: Sources) -> Reader {
        Reader {
            given: sources.given,
            origins: BTreeMap::new(),
            known: Vec::new(),
            problems: sources.problems,
        }
    }

    /// A text that `is_good`, or as it was.
    pub(super) fn text(
        &mut self,
        key: &'static str,
        value: &mut String,
        wanted: &str,
        is_good: impl FnOnce(&str) -> bool,
    ) {
        self.one(key, value, wanted, |given| match given {
            Value::Text(text) if is_good(text) => Some(text.clone()),
            _ => None,
        });
    }

    /// A text that may be absent; an empty one is.
    pub(super) fn optional_text(&mut self, key: &'static str, value: &mut Option<String>, wanted: &str) {
        self.one(key, value, wanted, |given| match given {
            Value::Text(text) => Some(Some(text.clone()).filter(|text| !text.is_empty())),
            _ => None,
        });
    }

    /// One of several words.
    pub(super) fn word<T>(
        &mut self,
        key: &'static str,
        value: &mut T,
        wanted: &str,
        named: impl FnOnce(&str) -> Option<T>,
    ) {
        self.one(key, value, wanted, |given| match given {
            Value::Text(text) => named(text),
            _ => None,
        });
    }

    pub(super) fn whole<T: TryFrom<i128>>(
        &mut self,
        key: &'static str,
        value: &mut T,
        range: RangeInclusive<i128>,
    ) {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let is_ours = self.is_from_environment(key);
        self.one(key, value, &wanted, |given| {
            T::try_from(whole_number(given, is_ours).filter(|number| range.contains(number))?).ok()
        });
    }

    /// A whole number that may be absent; an empty variable means that it is.
    pub(super) fn optional_whole<T: TryFrom<i128>>(
        &mut self,
        key: &'static str,
        value: &mut Option<T>,
        range: RangeInclusive<i128>,
    ) {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let is_ours = self.is_from_environment(key);
        self.one(key, value, &wanted, |given| match given {
            Value::Text(text) if is_ours && text.is_empty() => Some(None),
            _ => {
                Some(T::try_from(whole_number(given, is_ours).filter(|number| range.contains(number))?).ok())
            }
        });
    }

    /// A value as a catalog record would have it; nothing where it is absent, or an empty variable.
    pub(super) fn json(&mut self, key: &'static str) -> Option<Json> {
        let is_ours = self.is_from_environment(key);
        match self.take(key)? {
            Value::Text(text) if is_ours && text.is_empty() => None,
            Value::Text(text) if is_ours && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Json::Number(text))
            }
            Value::Text(text) => Some(Json::Text(text)),
            Value::Whole(number) => Some(Json::Number(number.to_string())),
            Value::Flag(flag) => Some(Json::Bool(flag)),
            Value::Section | Value::Other(_) => Some(Json::List(Vec::new())),
        }
    }

    /// All keys of a table that isn't ours, each with a value that is a text, a number or a flag, as text.
    pub(super) fn open_table(&mut self, table: &'static str) -> BTreeMap<String, String> {
        self.known.push(table);
        let inside = format!("{table}.");
        let keys: Vec<String> = self.given.keys().filter(|key| key.starts_with(&inside)).cloned().collect();
        let mut entries = BTreeMap::new();
        for key in keys {
            let text = match self.remove(&key) {
                Some(Value::Text(text)) => text,
                Some(Value::Whole(number)) => number.to_string(),
                Some(Value::Flag(flag)) => flag.to_string(),
                Some(Value::Section) | None => continue,
                Some(Value::Other(what)) => {
                    self.refuse(
                        &key,
                        format!("wanted is a text, a whole number, true or false; it is {what}"),
                    );
                    continue;
                }
            };
            entries.insert(key[inside.len()..].to_owned(), text);
        }
        entries
    }

    /// Says what is wrong with a key that was taken.
    pub(super) fn refuse(&mut self, key: &str, wanted: impl Into<String>) {
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        self.problems.push(Problem { key: key.to_owned(), origin, wanted: wanted.into() });
    }

    pub(super) fn is_from_environment(&self, key: &str) -> bool {
        let origin = self.given.get(key).map(|given| &given.origin).or_else(|| self.origins.get(key));
        matches!(origin, Some(Origin::Environment(_)))
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> &[&'static str] {
        &self.known
    }

    /// Every problem there is, in the order of their keys; what nobody has asked for is one.
    pub(super) fn end(mut self) -> Vec<Problem> {
        let left = std::mem::take(&mut self.given);
        for (key, Given { value, origin }) in &left {
            let inside = format!("{key}.");
            let is_section = *value == Value::Section;
            let leads_on = self.known.iter().any(|known| known.starts_with(&inside))
                || left.keys().any(|other| other.starts_with(&inside))
                || OPEN_TABLES.iter().any(|table| key == table);
            if is_section && leads_on {
                continue;
            }
            let wanted = self.what_there_is(key, leads_on);
            self.problems.push(Problem { key: key.clone(), origin: origin.clone(), wanted });
        }
        self.problems.sort_by(|a, b| (&a.key, &a.origin).cmp(&(&b.key, &b.origin)));
        self.problems
    }

    fn what_there_is(&self, key: &str, is_section: bool) -> String {
        if is_section {
            return "is a section, not a key".to_owned();
        }
        let section = key.split('.').next().unwrap_or_default();
        let inside = format!("{section}.");
        let keys: Vec<&str> = self.known.iter().filter_map(|known| known.strip_prefix(&inside)).collect();
        if !keys.is_empty() {
            return format!("no such key; [{section}] has {}", keys.join(", "));
        }
        let mut sections: Vec<&str> =
            self.known.iter().filter_map(|known| Some(known.split_once('.')?.0)).collect();
        sections.sort_unstable();
        sections.dedup();
        format!("no such key; there are [{}]", sections.join("], ["))
    }

    fn one<T>(
        &mut self,
        key: &'static str,
        value: &mut T,
        wanted: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) {
        let Some(given) = self.take(key) else { return };
        match read(&given) {
            Some(read) => *value = read,
            None => self.refuse(key, format!("wanted is {wanted}{}", found(key, &given))),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.remove(key)
    }

    fn remove(&mut self, key: &str) -> Option<Value> {
        let Given { value, origin } = self.given.remove(key)?;
        self.origins.insert(key.to_owned(), origin);
        Some(value)
    }
}

fn whole_number(given: &Value, is_text_taken: bool) -> Option<i128> {
    match given {
        Value::Whole(number) => Some(*number),
        Value::Text(text) if is_text_taken => text.parse().ok(),
        _ => None,
    }
}

/// What was found, where nobody is harmed by its being shown.
fn found(key: &str, given: &Value) -> String {
    const CHARS_MAX: usize = 60;
    if key == "redis.url" || key.starts_with("redis.sentinel") {
        return String::new();
    }
    match given {
        Value::Text(text) => format!(", not {:?}", text.chars().take(CHARS_MAX).collect::<String>()),
        Value::Whole(number) => format!(", not {number}"),
        Value::Flag(flag) => format!(", not {flag}"),
        Value::Section => ", not a section".to_owned(),
        Value::Other(what) => format!(", not {what}"),
    }
}
