//! What decides invoices beside the catalog itself; one record of it stands in the log.

use super::duration::Duration;
use super::fault::{Fault, Place};
use super::json::Json;
use crate::invoice::write::{Object, push_number};

/// The members of `[billing]`, the format of usage and the dialect of webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub default_grace: Duration,
    pub default_net_payment_term: u32,
    pub lateness_limit: Duration,
    pub future_limit: Duration,
    pub parking_limit: Duration,
    pub refresh: Refresh,
    pub refresh_interval: Duration,
    pub will_be_due_days: Option<u32>,
    pub clock_skew_limit: Duration,
    pub format: Format,
    pub dialect: Dialect,
    pub max_event_bytes: usize,
}

/// When a draft shows the usage that lands on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    Continuous,
    AtFinalization,
}

/// In which form usage comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Lago,
    Stripe,
    CloudEvents,
    Auto,
}

/// Whose names webhooks bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Graceline,
    Lago,
    Stripe,
    Hyperline,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            default_grace: Duration::of_days(3),
            default_net_payment_term: 30,
            lateness_limit: Duration::of_days(35),
            future_limit: Duration::of_minutes(5),
            parking_limit: Duration::of_days(7),
            refresh: Refresh::Continuous,
            refresh_interval: Duration::of_minutes(1),
            will_be_due_days: None,
            clock_skew_limit: Duration::parse("PT1S").expect("a second is a duration"),
            format: Format::Auto,
            dialect: Dialect::Graceline,
            max_event_bytes: 1 << 20,
        }
    }
}

impl Settings {
    /// Reads a settings record, or the members of a `{"config": …}` line: what isn't named has its default.
    pub fn read(json: &Json) -> Result<Settings, Fault> {
        let place = Place::root(json);
        let mut settings = Settings::default();
        let duration = |name: &str| place.optional(name, Duration::from_json);
        replace(&mut settings.default_grace, duration("default_grace")?);
        replace(
            &mut settings.default_net_payment_term,
            place.optional("default_net_payment_term", read_term)?,
        );
        replace(&mut settings.lateness_limit, duration("lateness_limit")?);
        replace(&mut settings.future_limit, duration("future_limit")?);
        replace(&mut settings.parking_limit, duration("parking_limit")?);
        replace(&mut settings.refresh, place.optional("refresh", |value| Refresh::named(value.as_text()?))?);
        replace(&mut settings.refresh_interval, duration("refresh_interval")?);
        settings.will_be_due_days = place.optional("will_be_due_days", read_days)?;
        replace(&mut settings.clock_skew_limit, duration("clock_skew_limit")?);
        replace(&mut settings.format, place.optional("format", |value| Format::named(value.as_text()?))?);
        replace(&mut settings.dialect, place.optional("dialect", |value| Dialect::named(value.as_text()?))?);
        let size = |value: &Json| usize::try_from(value.as_integer()?).ok().filter(|bytes| *bytes > 0);
        replace(&mut settings.max_event_bytes, place.optional("max_event_bytes", size)?);
        Ok(settings)
    }

    /// The record that puts these settings in force; how large an event may be isn't among them.
    pub fn to_record(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.text("kind", "settings");
        object.text("default_grace", &self.default_grace.to_string());
        object.number("default_net_payment_term", self.default_net_payment_term);
        object.text("lateness_limit", &self.lateness_limit.to_string());
        object.text("future_limit", &self.future_limit.to_string());
        object.text("parking_limit", &self.parking_limit.to_string());
        object.text("refresh", self.refresh.name());
        object.text("refresh_interval", &self.refresh_interval.to_string());
        object.optional("will_be_due_days", self.will_be_due_days, push_number);
        object.text("clock_skew_limit", &self.clock_skew_limit.to_string());
        object.text("format", self.format.name());
        object.text("dialect", self.dialect.name());
        object.close();
        out
    }

    /// The members that a settings record may have.
    pub const MEMBERS: [&'static str; 12] = [
        "default_grace",
        "default_net_payment_term",
        "lateness_limit",
        "future_limit",
        "parking_limit",
        "refresh",
        "refresh_interval",
        "will_be_due_days",
        "clock_skew_limit",
        "format",
        "dialect",
        "max_event_bytes",
    ];
}

fn replace<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}

fn read_days(json: &Json) -> Option<u32> {
    u32::try_from(json.as_integer()?).ok().filter(|days| *days <= 36_600)
}

/// A term of payment: whole days, as a number or as a duration that is nothing else (R6).
pub fn read_term(json: &Json) -> Option<u32> {
    Duration::from_json(json)?.as_whole_days()
}

impl Refresh {
    pub fn named(name: &str) -> Option<Refresh> {
        match name {
            "continuous" => Some(Refresh::Continuous),
            "at_finalization" => Some(Refresh::AtFinalization),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Refresh::Continuous => "continuous",
            Refresh::AtFinalization => "at_finalization",
        }
    }
}

impl Format {
    pub fn named(name: &str) -> Option<Format> {
        match name {
            "lago" => Some(Format::Lago),
            "stripe" => Some(Format::Stripe),
            "cloudevents" => Some(Format::CloudEvents),
            "auto" => Some(Format::Auto),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Format::Lago => "lago",
            Format::Stripe => "stripe",
            Format::CloudEvents => "cloudevents",
            Format::Auto => "auto",
        }
    }
}

impl Dialect {
    pub const ALL: [Dialect; 4] = [Dialect::Graceline, Dialect::Lago, Dialect::Stripe, Dialect::Hyperline];

    pub fn named(name: &str) -> Option<Dialect> {
        match name {
            "graceline" => Some(Dialect::Graceline),
            "lago" => Some(Dialect::Lago),
            "stripe" => Some(Dialect::Stripe),
            "hyperline" => Some(Dialect::Hyperline),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Dialect::Graceline => "graceline",
            Dialect::Lago => "lago",
            Dialect::Stripe => "stripe",
            Dialect::Hyperline => "hyperline",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_were_written() {
        let settings = Settings {
            default_grace: Duration::parse("PT2H").expect("a duration"),
            will_be_due_days: Some(3),
            refresh: Refresh::AtFinalization,
            dialect: Dialect::Lago,
            format: Format::Stripe,
            ..Settings::default()
        };
        let json = Json::read(&settings.to_record()).expect("a record is JSON");
        assert_eq!(Settings::read(&json), Ok(settings));
    }
}
