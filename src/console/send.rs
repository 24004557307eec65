//! `graceline send`: lines of JSON to a topic, each with the key that belongs to it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::outgoing::{Outbound, Outgoing, Undelivered};
use super::{say, simulate};
use crate::catalog::Record;
use crate::catalog::json::Json;
use crate::config::Config;

/// What the lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// Usage events.
    Usage,
    /// Actions on invoices.
    Command,
    /// Entities, metrics, plans, taxes, customers, subscriptions, settings.
    Catalog,
}

/// Sends every line of the file, or of the standard input for `-`, and waits until the topic has them.
pub fn send(config: &Config, what: What, file: &Path, key: Option<&str>) -> Result<(), String> {
    if what == What::Catalog && key.is_some() {
        return Err("catalog records have keys of their own, <kind>/<code>: leave --key out".to_owned());
    }
    let name = file.display();
    let names = config.topic_names(config.settings().dialect);
    let topic = match what {
        What::Usage => names.usage,
        What::Command => names.commands,
        What::Catalog => names.catalog,
    };
    let input = simulate::open(file).map_err(|error| format!("{name} can't be read: {error}"))?;
    let mut outgoing = Outgoing::to(&config.kafka, &topic)?;
    let mut keyless = 0;
    for (place, line) in input.split(b'\n').enumerate() {
        let number = place + 1;
        let line = line.map_err(|error| format!("{name} can't be read: {error}"))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match read_line(what, line.trim_ascii(), key) {
            Ok(record) => {
                keyless += usize::from(record.key.is_none());
                outgoing.give(number, &record).map_err(|undelivered| in_line(file, undelivered))?;
            }
            Err(problem) => {
                let before = outgoing.finish().map_err(|undelivered| in_line(file, undelivered))?;
                return Err(format!(
                    "{name}, line {number}: {problem}. The {before} before it were sent to {topic}, none behind it"
                ));
            }
        }
    }
    let sent = outgoing.finish().map_err(|undelivered| in_line(file, undelivered))?;
    say(&format!("Sent {sent} to {topic}."));
    if keyless > 0 {
        say(&format!(
            "{keyless} of them had no key. They arrive when they have been forwarded to their customers' partitions; --key \
             names the customer."
        ));
    }
    Ok(())
}

fn in_line(file: &Path, undelivered: Undelivered) -> String {
    let Undelivered { number, taken, why } = undelivered;
    format!(
        "{}, line {number}: {why}. {taken} others were sent; to send them again does no harm",
        file.display()
    )
}

/// A line that is more than a value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "present")]
    value: &'a RawValue,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// A member that is there, be it null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'de RawValue, D::Error> {
    <&RawValue>::deserialize(deserializer)
}

/// What a line says: a record's value alone, or `{"key":…,"value":…,"headers":{…}}`.
pub fn read_line(what: What, line: &[u8], key: Option<&str>) -> Result<Outbound, String> {
    const NO_OBJECT: &str = "no JSON object, or one with a member named twice";
    let json = Json::read(line).ok_or(NO_OBJECT)?;
    let Json::Object(members) = &json else { return Err(NO_OBJECT.to_owned()) };
    let is_envelope = json.member("value").is_some()
        && members.iter().all(|(name, _)| ["key", "value", "headers"].contains(&name.as_str()));
    if !is_envelope {
        let key = key_of(what, key.map(str::to_owned), Some((line, &json)))?;
        return Ok(Outbound { key, value: Some(line.to_vec()), headers: Vec::new() });
    }
    let envelope: Envelope<'_> = serde_json::from_slice(line)
        .map_err(|_| "`key` is a text, `headers` an object of texts".to_owned())?;
    let value = envelope.value.get().as_bytes();
    let json = json.get("value");
    let own_key = envelope.key.map(Cow::into_owned).or(key.map(str::to_owned));
    let key = key_of(what, own_key, json.map(|json| (value, json)))?;
    let headers = envelope.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
    Ok(Outbound { key, value: json.map(|_| value.to_vec()), headers })
}

/// The key of a record: the one that was given, else the one that its value names.
fn key_of(
    what: What,
    given: Option<String>,
    value: Option<(&[u8], &Json)>,
) -> Result<Option<Vec<u8>>, String> {
    let text = |path: &[&str]| {
        let (_, json) = value?;
        path.iter().try_fold(json, |json, name| json.get(name))?.as_text().map(str::to_owned)
    };
    let key = match what {
        What::Usage => given.or_else(|| text(&["payload", "stripe_customer_id"])),
        What::Command => Some(
            given
                .or_else(|| text(&["external_customer_id"]))
                .ok_or("it names no external_customer_id: say whose it is with --key")?,
        ),
        What::Catalog => Some(catalog_key(given, value.map(|(bytes, _)| bytes))?),
    };
    Ok(key.map(String::into_bytes))
}

/// What a catalog record is called. One that would be refused isn't sent.
fn catalog_key(given: Option<String>, value: Option<&[u8]>) -> Result<String, String> {
    let record = Record::read(given.as_deref().map(str::as_bytes), value).map_err(|fault| {
        match (value, fault.pointer) {
            (None, _) => "a record without a value removes what its key names, <kind>/<code>".to_owned(),
            (_, pointer) if pointer.is_empty() => format!("it would be refused: {}", fault.reason),
            (_, pointer) => format!("it would be refused: {} at {pointer}", fault.reason),
        }
    })?;
    let name = record.name();
    let own = format!("{}/{}", name.kind.name(), name.code);
    match given {
        Some(given) if given != own => Err(format!("its key is {given}, but it is about {own}")),
        _ => Ok(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        what: What,
        line: &str,
        key: Option<&str>,
        expected: Result<(Option<&str>, Option<&str>), &str>,
    ) {
        let read = read_line(what, line.as_bytes(), key);
        let text =
            |bytes: &Option<Vec<u8>>| bytes.as_deref().map(|b| String::from_utf8_lossy(b).into_owned());
        let found = read.map(|record| (text(&record.key), text(&record.value)));
        let expected = expected.map(|(key, value)| (key.map(str::to_owned), value.map(str::to_owned)));
        assert_eq!(found, expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn usage_has_the_key_that_it_is_given() {
        let lago = r#"{"transaction_id":"1","external_subscription_id":"s","code":"c","value":"7"}"#;
        check(What::Usage, lago, None, Ok((None, Some(lago))));
        check(What::Usage, lago, Some("ann"), Ok((Some("ann"), Some(lago))));
        let stripe = r#"{"event_name":"c","payload":{"stripe_customer_id":"cus_1","value":"7"}}"#;
        check(What::Usage, stripe, None, Ok((Some("cus_1"), Some(stripe))));
        let whole = format!(r#"{{"key":"bob","headers":{{"ce_id":"1"}},"value":{stripe}}}"#);
        check(What::Usage, &whole, Some("ann"), Ok((Some("bob"), Some(stripe))));
        let record = read_line(What::Usage, whole.as_bytes(), None).expect("it can be read");
        assert_eq!(record.headers, [("ce_id".to_owned(), b"1".to_vec())]);
        check(What::Usage, "[1]", None, Err("no JSON object, or one with a member named twice"));
        check(What::Usage, r#"{"a":1,"a":2}"#, None, Err("no JSON object, or one with a member named twice"));
        let wrong = r#"{"key":7,"value":{}}"#;
        check(What::Usage, wrong, None, Err("`key` is a text, `headers` an object of texts"));
    }

    #[test]
    fn commands_belong_to_a_customer() {
        let command = r#"{"command":"invoice.finalize","command_id":"1","external_customer_id":"ann"}"#;
        check(What::Command, command, None, Ok((Some("ann"), Some(command))));
        check(What::Command, command, Some("bob"), Ok((Some("bob"), Some(command))));
        let nobody = r#"{"command":"invoice.finalize","command_id":"1"}"#;
        let problem = "it names no external_customer_id: say whose it is with --key";
        check(What::Command, nobody, None, Err(problem));
    }

    #[test]
    fn catalog_records_are_called_by_kind_and_code() {
        let tax = r#"{"kind":"tax","code":"vat","name":"VAT","rate":"20"}"#;
        check(What::Catalog, tax, None, Ok((Some("tax/vat"), Some(tax))));
        let removed = r#"{"key":"tax/vat","value":null}"#;
        check(What::Catalog, removed, None, Ok((Some("tax/vat"), None)));
        let customer = r#"{"kind":"customer","external_id":"ann"}"#;
        check(What::Catalog, customer, None, Ok((Some("customer/ann"), Some(customer))));
        let bad = r#"{"kind":"tax","code":"vat","name":"VAT","rate":"much"}"#;
        check(What::Catalog, bad, None, Err("it would be refused: invalid_value at /rate"));
        let astray = format!(r#"{{"key":"tax/gst","value":{tax}}}"#);
        check(What::Catalog, &astray, None, Err("its key is tax/gst, but it is about tax/vat"));
        let nameless = r#"{"value":null}"#;
        let problem = "a record without a value removes what its key names, <kind>/<code>";
        check(What::Catalog, nameless, None, Err(problem));
    }
}
