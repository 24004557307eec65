//! The texts of usage that is kept whole.

use serde::{Deserialize, Serialize};

use super::books::Held;
use super::instant::Instant;
use super::usage::UsageEvent;

#[derive(Serialize, Deserialize)]
pub(super) struct HeldText {
    event: UsageEvent<'static>,
    arrived_at: Instant,
    happened_at: Instant,
    id: u64,
    key: Option<BytesText>,
    value: Option<BytesText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, BytesText)>,
    place: (String, u32, u64),
}

/// Bytes as text, or in hexadecimal digits where they are none.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BytesText {
    Text(String),
    Hex(String),
}

impl BytesText {
    fn of(bytes: &[u8]) -> BytesText {
        match std::str::from_utf8(bytes) {
            Ok(text) => BytesText::Text(text.to_owned()),
            Err(_) => BytesText::Hex(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }

    fn read(self) -> Vec<u8> {
        match self {
            BytesText::Text(text) => text.into_bytes(),
            BytesText::Hex(digits) => digits
                .as_bytes()
                .chunks(2)
                .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect(),
        }
    }
}

impl HeldText {
    pub(super) fn of(held: &Held) -> HeldText {
        HeldText {
            event: held.event.clone(),
            arrived_at: held.arrived_at,
            happened_at: held.happened_at,
            id: held.id_hash,
            key: held.key.as_deref().map(BytesText::of),
            value: held.value.as_deref().map(BytesText::of),
            headers: held.headers.iter().map(|(name, value)| (name.clone(), BytesText::of(value))).collect(),
            place: held.place.clone(),
        }
    }

    pub(super) fn read(self) -> Held {
        Held {
            event: self.event,
            arrived_at: self.arrived_at,
            happened_at: self.happened_at,
            id_hash: self.id,
            key: self.key.map(BytesText::read),
            value: self.value.map(BytesText::read),
            headers: self.headers.into_iter().map(|(name, value)| (name, value.read())).collect(),
            place: self.place,
        }
    }
}

impl Held {
    /// The name it is parked under.
    pub fn name(&self) -> &str {
        self.event.whose_name()
    }
}
