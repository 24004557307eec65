//! From the client's message into the arena.

use crate::ingest::log::{Arena, Offset, Stamp};
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Copies a message into an arena, without its headers.
pub(crate) fn push_bare(arena: &mut Arena, message: &BorrowedMessage<'_>, stamp: Stamp) {
    arena.push(Offset(message.offset() as u64), stamp, message.key(), message.payload(), []);
}

/// Copies a message into an arena.
///
/// A header whose name is no UTF-8 is left out: the client's crate panics on it, and whoever writes to a topic can put
/// one there.
pub(crate) fn push(arena: &mut Arena, message: &BorrowedMessage<'_>, stamp: Stamp) {
    let offset = Offset(message.offset() as u64);
    match message.headers() {
        None => arena.push(offset, stamp, message.key(), message.payload(), []),
        Some(headers) => {
            let headers: Vec<_> = (0..headers.count()).filter_map(|n| header(headers, n)).collect();
            arena.push(offset, stamp, message.key(), message.payload(), headers);
        }
    }
}

/// The time the broker gave it, or its producer.
pub(crate) fn stamp(message: &BorrowedMessage<'_>) -> Stamp {
    match message.timestamp() {
        Timestamp::LogAppendTime(ms) => Stamp::Appended { ms },
        Timestamp::CreateTime(ms) => Stamp::Produced { ms: Some(ms) },
        Timestamp::NotAvailable => Stamp::Produced { ms: None },
    }
}

fn header<H: Headers>(headers: &H, n: usize) -> Option<(&[u8], Option<&[u8]>)> {
    hush();
    HUSHED.set(true);
    let found = catch_unwind(AssertUnwindSafe(|| headers.try_get(n)));
    HUSHED.set(false);
    found.ok()?.map(|header| (header.key.as_bytes(), header.value))
}

thread_local! {
    static HUSHED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps a panic that is expected, and that a producer can cause as often as he likes, out of the log.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !HUSHED.get() {
                before(panic);
            }
        }));
    });
}
