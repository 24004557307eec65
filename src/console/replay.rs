//! `graceline replay-rejected`: sends rejected usage back to where it came from, once.
//!
//! What was there when it began is read, and nothing behind: usage that is rejected again isn't read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::message::BorrowedMessage;

use super::incoming::Incoming;
use super::outgoing::{Outbound, Outgoing, Undelivered};
use super::say;
use crate::config::Config;
use crate::ingest::kafka::record;
use crate::ingest::log::{Arena, LogName, Record, Run};
use crate::invoice::instant::Instant;
use crate::publish::REASON_HEADER;

/// Which of the rejected events are meant.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Those with one of these reasons; all, if there is none.
    pub reasons: Vec<String>,
    /// Those that were rejected then or later.
    pub since: Option<Instant>,
    /// None is sent, they are only counted.
    pub dry_run: bool,
}

/// Sends them, and says how many there were of each reason.
pub fn replay(config: &Config, choice: &Choice) -> Result<(), String> {
    let names = config.topic_names(config.settings().dialect);
    let mut letters = Incoming::open(&config.kafka, &names.usage_rejected, choice.since)?;
    let mut outgoing = match choice.dry_run {
        true => None,
        false => Some(Outgoing::to(&config.kafka, &names.usage)?),
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen = 0;
    let in_letter = |undelivered: Undelivered| {
        let Undelivered { number, taken, why } = undelivered;
        format!("rejected event {number}: {why}. {taken} others were sent; to replay them again does no harm")
    };
    while let Some((reason, letter)) = letters.next(original)? {
        seen += 1;
        if !choice.reasons.is_empty() && !choice.reasons.contains(&reason) {
            continue;
        }
        *counts.entry(reason).or_default() += 1;
        if let Some(outgoing) = &mut outgoing {
            outgoing.give(seen, &letter).map_err(in_letter)?;
        }
    }
    if let Some(outgoing) = outgoing {
        outgoing.finish().map_err(in_letter)?;
    }
    for (reason, count) in &counts {
        say(&format!("{count:>9}  {reason}"));
    }
    let (chosen, usage) = (counts.values().sum::<usize>(), &names.usage);
    say(&match choice.dry_run {
        true => format!("Of {seen} rejected events {chosen} would be sent to {usage}."),
        false => format!("Of {seen} rejected events {chosen} were sent to {usage}."),
    });
    Ok(())
}

/// The event without what was written on it when it was rejected.
fn original(message: &BorrowedMessage<'_>) -> (String, Outbound) {
    let mut arena = Arena::default();
    record::push(&mut arena, message, record::stamp(message));
    let run = Run::whole(LogName::Usage, Arc::new(arena));
    run.first().map(without_marks).expect("an arena holds what was pushed")
}

fn without_marks(record: Record<'_>) -> (String, Outbound) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let reason = record.headers.get(REASON_HEADER).map_or("unknown".to_owned(), text);
    let headers = record.headers.into_iter().filter(|(name, _)| !name.starts_with(b"graceline-"));
    let outbound = Outbound {
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: headers.map(|(name, value)| (text(name), value.unwrap_or_default().to_vec())).collect(),
    };
    (reason, outbound)
}
