//! Where a configuration comes from: a file and the environment, taken apart into keys and values that know their
//! origin. What the keys mean is said elsewhere; here every key is taken.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem};

/// What the names of our variables begin with.
pub(super) const PREFIX: &str = "GRACELINE__";

/// Tables whose keys are not ours, and may have dots in them.
pub(super) const OPEN_TABLES: [&str; 2] = ["kafka.properties", "webhooks.topics"];

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// From the environment it may stand for a number too.
    Text(String),
    Whole(i128),
    Flag(bool),
    Section,
    /// Something that no key takes, by its name.
    Other(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Everything that was given, by key. The environment goes before the file.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) given: BTreeMap<String, Given>,
    pub(super) problems: Vec<Problem>,
}

impl Sources {
    pub(super) fn read(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Sources {
        let mut sources = Sources::default();
        if let Some(path) = path {
            let name = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => sources.read_file(&name, &text),
                Err(error) => sources.refuse_file(name, 0, format!("can't be read: {error}")),
            }
        }
        sources.read_environment(env);
        sources
    }

    pub(super) fn read_file(&mut self, name: &str, text: &str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            // The error's own text would quote the line, and with it perhaps a password.
            let line = error.span().map_or(0, |span| line_of(text, &span));
            self.refuse_file(name.to_owned(), line, format!("not TOML: {}", error.message()));
        }
        if errors.is_empty() {
            File { name, text, sources: self }.read_table("", table.get_ref());
        }
    }

    fn refuse_file(&mut self, name: String, line: usize, wanted: String) {
        self.problems.push(Problem { key: String::new(), origin: Origin::File { name, line }, wanted });
    }

    pub(super) fn read_environment(&mut self, env: impl Iterator<Item = (String, String)>) {
        let mut ours: Vec<(String, String)> = env.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        ours.sort();
        for (name, value) in ours {
            let key = key_of_variable(&name[PREFIX.len()..]);
            let given = Given { value: Value::Text(value), origin: Origin::Environment(name) };
            let before = self.given.insert(key.clone(), given);
            if let Some(Given { origin: Origin::Environment(other), .. }) = before {
                let origin = self.given[&key].origin.clone();
                self.problems.push(Problem {
                    key,
                    origin,
                    wanted: format!("{other} sets the same key: take one away"),
                });
            }
        }
    }
}

/// `KAFKA__PROPERTIES__SESSION_TIMEOUT_MS` is `kafka.properties.session.timeout.ms`.
fn key_of_variable(name: &str) -> String {
    let key = name.to_lowercase().replace("__", ".");
    for table in OPEN_TABLES {
        if let Some(rest) = key.strip_prefix(table).filter(|rest| rest.starts_with('.')) {
            return format!("{table}{}", rest.replace('_', "."));
        }
    }
    key
}

/// A file that is being taken apart.
struct File<'a> {
    name: &'a str,
    text: &'a str,
    sources: &'a mut Sources,
}

impl File<'_> {
    fn read_table(&mut self, path: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = if path.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{path}.{}", name.get_ref())
            };
            self.read_value(key, &name.span(), value);
        }
    }

    fn read_value(&mut self, key: String, span: &Range<usize>, value: &Spanned<DeValue<'_>>) {
        let origin = Origin::File { name: self.name.to_owned(), line: line_of(self.text, span) };
        let read = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Whole(number),
                Err(_) => Value::Other("a very large number"),
            },
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Float(_) => Value::Other("a number with a fraction"),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(_) => Value::Other("a list"),
            DeValue::Table(table) => {
                self.read_table(&key, table);
                Value::Section
            }
        };
        let given = Given { value: read, origin: origin.clone() };
        // `"kafka.brokers"` in quotes is the same key as `brokers` below `[kafka]`.
        if let Some(other) = self.sources.given.insert(key.clone(), given) {
            let wanted = format!("stands there a second time; the other is in {}", other.origin);
            self.sources.problems.push(Problem { key, origin, wanted });
        }
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    text.as_bytes()[..span.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}
