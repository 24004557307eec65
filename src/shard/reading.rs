//! Usage as it is read before its turn comes, so that the next events' memory can be reached for together.

use crate::catalog::settings::Settings;
use crate::ingest::dialect::read_usage;
use crate::ingest::log;
use crate::invoice::usage::{Malformed, UsageEvent};
use crate::invoice::warm::Coming;

/// Headers whose names are text.
pub(super) type TextHeaders<'a> = Vec<(&'a str, &'a [u8])>;

pub(super) fn text_headers<'a>(record: &log::Record<'a>) -> TextHeaders<'a> {
    if record.headers.is_empty() {
        return Vec::new();
    }
    record
        .headers
        .into_iter()
        .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value.unwrap_or_default())))
        .collect()
}

/// A record of usage, read before its turn.
pub(super) struct ReadUsage<'a> {
    pub(super) event: Result<UsageEvent<'a>, Malformed>,
    pub(super) id_hash: Option<u64>,
}

impl<'a> ReadUsage<'a> {
    pub(super) fn of(
        value: &'a [u8],
        headers: &'a [(&'a str, &'a [u8])],
        settings: &Settings,
    ) -> ReadUsage<'a> {
        let event = match value.len() <= settings.max_event_bytes {
            true => read_usage(settings.format.into(), value, headers),
            false => Err(Malformed),
        };
        let id_hash = event.as_ref().ok().and_then(UsageEvent::coming).map(|(_, id_hash)| id_hash);
        ReadUsage { event, id_hash }
    }

    pub(super) fn coming(&self) -> Option<Coming<'_>> {
        Some((self.event.as_ref().ok()?.whose_name(), self.id_hash?))
    }
}
