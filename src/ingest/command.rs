//! Commands come in: JSON, and the usage event that an `event.cancel` carries.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::dialect::{Format, read_usage};
use crate::catalog::json::Json;
use crate::invoice::command::Read;

#[derive(Deserialize)]
struct WithEvent<'a> {
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
}

/// Reads a command record. What it asks for is checked when it is decided.
pub fn read_command(value: &[u8]) -> Read<'_> {
    let json = Json::read(value);
    let is_cancel = json.as_ref().and_then(|json| json.get("event")).is_some();
    let event = if is_cancel { event_of(value) } else { None };
    Read { json, event: event.map(|text| read_usage(Format::Lago, text.as_bytes(), &[])) }
}

fn event_of(value: &[u8]) -> Option<&str> {
    let found: WithEvent<'_> = serde_json::from_str(std::str::from_utf8(value).ok()?).ok()?;
    found.event.map(RawValue::get)
}
