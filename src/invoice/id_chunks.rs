//! Documents of ids: each is twelve bytes of hash and content, and what tells it from the one before.
//!
//! Ids come in about the order of their timestamps, so a difference takes two or three bytes where a timestamp takes eight.

use super::ids::{ENTRY_BYTES, Entry, HeldId, unpack};
use super::instant::SECOND;

/// A document is full when it has so many bytes; until then it is written again with each commit. With what Redis adds it
/// fills 40 KiB, which is how its memory is dealt out.
pub(super) const CHUNK_BYTES_MAX: usize = 40_900;

/// A document of ids that is being written.
#[derive(Default)]
pub(super) struct IdChunk {
    pub(super) bytes: Vec<u8>,
    last: Last,
}

/// What the next id is told from.
#[derive(Clone, Copy, Default)]
struct Last {
    happened_at: i64,
    rest: [u8; 2],
}

/// Units of differences, the largest first.
const UNITS: [i64; 3] = [SECOND, SECOND / 1000, 1];

/// The marks of an entry: its unit, and whether the last two bytes are those of the one before.
const UNIT_MASK: u8 = 3;
const SAME_REST: u8 = 4;

impl IdChunk {
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES_MAX
    }

    pub(super) fn push(&mut self, entry: &Entry) {
        let happened_at = unpack(entry).1.happened_at.0;
        let rest = [entry[20], entry[21]];
        let difference = happened_at.wrapping_sub(self.last.happened_at);
        let unit = UNITS.iter().position(|unit| difference % unit == 0).expect("all are whole nanoseconds");
        let is_same = rest == self.last.rest;
        self.bytes.push(unit as u8 | if is_same { SAME_REST } else { 0 });
        self.bytes.extend_from_slice(&entry[..8]);
        self.bytes.extend_from_slice(&entry[16..20]);
        if !is_same {
            self.bytes.extend_from_slice(&rest);
        }
        let difference = difference / UNITS[unit];
        push_varint(&mut self.bytes, (difference << 1 ^ difference >> 63) as u64);
        self.last = Last { happened_at, rest };
    }

    /// The same document, to be gone on with.
    pub(super) fn reopen(bytes: &[u8]) -> Option<IdChunk> {
        let mut entries = Entries { rest: bytes, last: Last::default() };
        while entries.next().is_some() {}
        entries.rest.is_empty().then(|| IdChunk { bytes: bytes.to_vec(), last: entries.last })
    }
}

/// The ids of a document; `None` if it isn't made of whole ids.
pub(super) fn read_chunk(bytes: &[u8]) -> Option<Vec<(u64, HeldId)>> {
    let mut entries = Entries { rest: bytes, last: Last::default() };
    let mut ids = Vec::with_capacity(bytes.len() / 14);
    ids.extend(entries.by_ref().map(|entry| unpack(&entry)));
    entries.rest.is_empty().then_some(ids)
}

struct Entries<'a> {
    rest: &'a [u8],
    last: Last,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let (marks, rest) = self.rest.split_first()?;
        let (hash, rest) = rest.split_first_chunk::<8>()?;
        let (content, rest) = rest.split_first_chunk::<4>()?;
        let (told, rest) = match marks & SAME_REST {
            0 => rest.split_first_chunk::<2>().map(|(told, rest)| (*told, rest))?,
            _ => (self.last.rest, rest),
        };
        let (difference, rest) = read_varint(rest)?;
        let difference = (difference >> 1) as i64 ^ -((difference & 1) as i64);
        let unit = UNITS.get(usize::from(marks & UNIT_MASK))?;
        let happened_at = self.last.happened_at.wrapping_add(difference.wrapping_mul(*unit));
        self.last = Last { happened_at, rest: told };
        self.rest = rest;
        let mut entry = [0; ENTRY_BYTES];
        entry[..8].copy_from_slice(hash);
        entry[8..16].copy_from_slice(&happened_at.to_be_bytes());
        entry[16..20].copy_from_slice(content);
        entry[20..].copy_from_slice(&told);
        Some(entry)
    }
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoice::ids::{LateAs, pack};
    use crate::invoice::instant::{Instant, Span};
    use proptest::prelude::*;

    fn ids() -> impl Strategy<Value = Vec<(u64, HeldId)>> {
        let at = prop_oneof![
            any::<i64>(),
            (0..100i64).prop_map(|at| at * SECOND),
            (0..100_000i64).prop_map(|at| at * 1_000_000),
        ];
        let late = prop_oneof![Just(None), Just(Some(LateAs::Increment)), Just(Some(LateAs::NextPeriod))];
        let id = (any::<u64>(), at, any::<u32>(), late, any::<u32>(), any::<u8>());
        let id = id.prop_map(|(hash, at, content, late, on, generation)| {
            (hash, HeldId::new(Instant(at), content, late, on, generation))
        });
        proptest::collection::vec(id, 0..50)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ids in ids(), cut in 0usize..50) {
            let mut chunk = IdChunk::default();
            for (place, (hash, id)) in ids.iter().enumerate() {
                if place == cut {
                    chunk = IdChunk::reopen(&chunk.bytes).expect("it is whole");
                }
                chunk.push(&pack(*hash, id));
            }
            prop_assert_eq!(read_chunk(&chunk.bytes), Some(ids));
        }

        #[test]
        fn no_bytes_are_too_much(bytes: Vec<u8>) {
            read_chunk(&bytes);
        }
    }

    #[test]
    fn ids_of_the_same_time_take_fifteen_bytes() {
        let mut chunk = IdChunk::default();
        let at = Instant(1_767_225_600 * SECOND);
        for number in 0..100 {
            let id = HeldId::new(at.plus(Span(number as i64 * SECOND)), 7, None, 3, 0);
            chunk.push(&pack(number, &id));
        }
        assert!(chunk.bytes.len() < 100 * 15, "{} bytes", chunk.bytes.len());
    }
}
