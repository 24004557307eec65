//! The ids of accepted usage: what tells a repeat from something new.
//!
//! Each id is held until usage with its timestamp would be too late (R51). Entries are packed into one table per shard,
//! 22 bytes each, ordered by hash so that a search ends early; those whose time is over are dropped when a part of the
//! table has to grow.

use super::instant::Instant;

/// What is known of a held id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldId {
    pub happened_at: Instant,
    /// Tells the same content from other content.
    pub content: u32,
    pub state: IdState,
    /// The usage went to another invoice than its period's, at that invoice's own prices or as an increment.
    pub late: Option<LateAs>,
    /// The invoice it is on: the low bits of its period's place among the subscription's.
    on: u16,
    /// How many times charges had been added to the plan when it was counted; not known of an increment, whose charges
    /// can't change any more.
    pub generation: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdState {
    Held,
    /// Taken back; sent again it is still a duplicate.
    Cancelled,
    /// Free again: as if it had never come.
    Freed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateAs {
    Increment,
    NextPeriod,
}

/// How many places among a subscription's periods an id tells apart. Increments need no generation, and the place of
/// their carrier can be anywhere behind their own period: they get those bits as well.
fn places(late: Option<LateAs>) -> u32 {
    match late {
        Some(LateAs::Increment) => 1 << 13,
        Some(LateAs::NextPeriod) | None => 1 << 5,
    }
}

impl HeldId {
    pub fn new(happened_at: Instant, content: u32, late: Option<LateAs>, on: u32, generation: u8) -> HeldId {
        let generation = if late == Some(LateAs::Increment) { 0 } else { generation };
        HeldId {
            happened_at,
            content,
            state: IdState::Held,
            late,
            on: (on % places(late)) as u16,
            generation,
        }
    }

    pub fn turned(self, state: IdState) -> HeldId {
        HeldId { state, ..self }
    }

    /// Whether late usage may be on the invoice of the period at that place.
    pub fn is_on(&self, place: u32, late: LateAs) -> bool {
        place % places(Some(late)) == u32::from(self.on)
    }

    /// The last place up to `last` that usage may be on which isn't late.
    pub fn last_place_up_to(&self, last: u32) -> Option<u32> {
        let places = places(self.late);
        last.checked_sub((last % places + places - u32::from(self.on)) % places)
    }
}

pub const ENTRY_BYTES: usize = 22;

/// An id as it is kept: hash, timestamp, content, and the rest in sixteen bits.
pub type Entry = [u8; ENTRY_BYTES];

pub fn pack(hash: u64, id: &HeldId) -> Entry {
    let rest = match (id.state, id.late) {
        (IdState::Held, None) => id.on << 3 | u16::from(id.generation) << 8,
        (IdState::Held, Some(LateAs::Increment)) => 1 | id.on << 3,
        (IdState::Held, Some(LateAs::NextPeriod)) => 2 | id.on << 3 | u16::from(id.generation) << 8,
        (IdState::Cancelled, _) => 3,
        (IdState::Freed, _) => 4,
    };
    let mut entry = [0; ENTRY_BYTES];
    entry[..8].copy_from_slice(&hash.to_be_bytes());
    entry[8..16].copy_from_slice(&id.happened_at.0.to_be_bytes());
    entry[16..20].copy_from_slice(&id.content.to_be_bytes());
    entry[20..].copy_from_slice(&rest.to_be_bytes());
    entry
}

pub fn unpack(entry: &Entry) -> (u64, HeldId) {
    let rest = u16::from_be_bytes([entry[20], entry[21]]);
    let (state, late) = match rest & 7 {
        0 => (IdState::Held, None),
        1 => (IdState::Held, Some(LateAs::Increment)),
        2 => (IdState::Held, Some(LateAs::NextPeriod)),
        3 => (IdState::Cancelled, None),
        _ => (IdState::Freed, None),
    };
    let (on, generation) = match late {
        Some(LateAs::Increment) => (rest >> 3, 0),
        Some(LateAs::NextPeriod) | None => (rest >> 3 & 31, (rest >> 8) as u8),
    };
    let id = HeldId {
        happened_at: Instant(i64::from_be_bytes(entry[8..16].try_into().expect("eight bytes"))),
        content: u32::from_be_bytes(entry[16..20].try_into().expect("four bytes")),
        state,
        late,
        on,
        generation,
    };
    (hash_of(entry), id)
}

fn hash_of(entry: &Entry) -> u64 {
    u64::from_be_bytes(entry[..8].try_into().expect("eight bytes"))
}

/// All ids of a shard.
pub struct Ids {
    parts: Vec<Part>,
}

const PARTS: usize = 256;

impl Default for Ids {
    fn default() -> Ids {
        Ids { parts: (0..PARTS).map(|_| Part::default()).collect() }
    }
}

impl Ids {
    /// The id, if it is held by usage that happened no earlier than `horizon`.
    pub fn get(&self, hash: u64, horizon: Instant) -> Option<HeldId> {
        let hash = hash.max(1);
        let part = &self.parts[(hash >> 56) as usize];
        let (_, id) = unpack(&part.slots[part.find(hash).ok()?]);
        (id.happened_at >= horizon && id.state != IdState::Freed).then_some(id)
    }

    /// Keeps the id, over what was kept under its hash before.
    pub fn put(&mut self, hash: u64, id: &HeldId, horizon: Instant) {
        let hash = hash.max(1);
        self.parts[(hash >> 56) as usize].put(hash, pack(hash, id), horizon);
    }

    /// Drops the ids of usage that happened before.
    pub fn forget_before(&mut self, reach: Instant) {
        for part in &mut self.parts {
            part.grow(reach);
        }
    }

    /// Makes room for so many at once, as long as there are none.
    pub(super) fn reserve(&mut self, count: usize) {
        for part in &mut self.parts {
            part.slots = vec![[0; ENTRY_BYTES]; (count / PARTS * 4 / 3).max(16)];
        }
    }

    /// What lies where an id is, or would be.
    pub(super) fn near(&self, hash: u64) -> &[Entry] {
        const SEARCHED: usize = 3;
        let part = &self.parts[(hash >> 56) as usize];
        let home = part.home(hash);
        &part.slots[home..part.slots.len().min(home + SEARCHED)]
    }

    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.used).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.slots.capacity() * ENTRY_BYTES).sum()
    }
}

/// Open addressing with the entries of each run in the order of their hashes. An empty slot has hash 0.
#[derive(Default)]
struct Part {
    slots: Vec<Entry>,
    used: usize,
}

impl Part {
    /// The slot a hash would like best: its place on the scale of all hashes, so that slots are in their order.
    fn home(&self, hash: u64) -> usize {
        let low = hash << 8;
        ((u128::from(low) * self.slots.len() as u128) >> 64) as usize
    }

    /// The slot of that hash, or the one where it would go.
    fn find(&self, hash: u64) -> Result<usize, usize> {
        if self.slots.is_empty() {
            return Err(0);
        }
        let home = self.home(hash);
        let mut slot = home;
        loop {
            let found = hash_of(&self.slots[slot]);
            if found == hash {
                return Ok(slot);
            }
            if found == 0 || self.comes_after(found, slot, hash, home) {
                return Err(slot);
            }
            slot = self.behind(slot);
        }
    }

    /// The slot behind another; the first comes behind the last.
    fn behind(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }

    /// Whether an entry that sits in `slot` has to make room for `hash`: it is less far from its own home.
    fn comes_after(&self, found: u64, slot: usize, hash: u64, home: usize) -> bool {
        let distance = |home: usize| if slot >= home { slot - home } else { slot + self.slots.len() - home };
        let (theirs, ours) = (distance(self.home(found)), distance(home));
        theirs < ours || (theirs == ours && found > hash)
    }

    fn put(&mut self, hash: u64, entry: Entry, horizon: Instant) {
        if (self.used + 1) * 5 > self.slots.len() * 4 {
            self.grow(horizon);
        }
        match self.find(hash) {
            Ok(slot) => self.slots[slot] = entry,
            Err(slot) => self.shift_in(slot, entry),
        }
    }

    /// Puts an entry in its slot; those in the way move on, up to the next empty slot.
    fn shift_in(&mut self, slot: usize, entry: Entry) {
        self.used += 1;
        let (front, rest) = self.slots.split_at_mut(slot);
        let room = rest.iter().position(|entry| hash_of(entry) == 0);
        let moved = room.unwrap_or(rest.len() - 1);
        let last = rest[moved];
        rest.copy_within(..moved, 1);
        rest[0] = entry;
        if room.is_none() {
            let room =
                front.iter().position(|entry| hash_of(entry) == 0).expect("there is room for every id");
            front.copy_within(..room, 1);
            front[0] = last;
        }
    }

    /// Drops what is over, and makes a quarter more room if too little became free.
    fn grow(&mut self, horizon: Instant) {
        let mut kept: Vec<Entry> = self
            .slots
            .iter()
            .filter(|entry| {
                let (hash, id) = unpack(entry);
                hash != 0 && id.happened_at >= horizon && id.state != IdState::Freed
            })
            .copied()
            .collect();
        let room = (kept.len() * 25 / 16 + 8).max(16);
        self.slots = vec![[0; ENTRY_BYTES]; room];
        self.used = 0;
        // They are in the order of their hashes, but for those behind the last slot, which went on in the first.
        if let Some(last) = kept.windows(2).position(|pair| hash_of(&pair[0]) > hash_of(&pair[1])) {
            kept.rotate_left(last + 1);
        }
        let mut next = 0;
        for entry in kept {
            let slot = self.home(hash_of(&entry)).max(next);
            next = slot + 1;
            match self.slots.get_mut(slot) {
                Some(room) => {
                    *room = entry;
                    self.used += 1;
                }
                None => {
                    let slot = self.find(hash_of(&entry)).expect_err("every id is kept once");
                    self.shift_in(slot, entry);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(at: i64, content: u32) -> HeldId {
        HeldId::new(Instant(at), content, None, 3, 200)
    }

    fn mix(number: u64) -> u64 {
        (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[test]
    fn every_id_that_was_put_is_found() {
        let mut ids = Ids::default();
        for number in 0..50_000u64 {
            ids.put(mix(number), &id(number as i64, number as u32), Instant(0));
        }
        for number in 0..50_000u64 {
            assert_eq!(ids.get(mix(number), Instant(0)), Some(id(number as i64, number as u32)));
            assert_eq!(ids.get(mix(number + 1_000_000), Instant(0)), None);
        }
        assert!(ids.bytes() < 50_000 * 36, "{} bytes", ids.bytes());
    }

    #[test]
    fn an_id_comes_back_as_it_was_put() {
        for late in [None, Some(LateAs::Increment), Some(LateAs::NextPeriod)] {
            for on in [0, 1, 31, 32, 8191, 8192, u32::MAX] {
                let id = HeldId::new(Instant(-5), 77, late, on, 255);
                assert_eq!(unpack(&pack(9, &id)), (9, id));
                let gone = HeldId { state: IdState::Cancelled, ..id };
                assert_eq!(unpack(&pack(9, &gone)).1.state, IdState::Cancelled);
            }
        }
    }

    #[test]
    fn the_last_place_is_found_by_its_low_bits() {
        let on = |place| HeldId::new(Instant(0), 0, None, place, 0);
        for (place, last, found) in [
            (5, 5, Some(5)),
            (5, 6, Some(5)),
            (5, 36, Some(5)),
            (5, 37, Some(37)),
            (31, 32, Some(31)),
            (33, 40, Some(33)),
            (5, 4, None),
        ] {
            assert_eq!(on(place).last_place_up_to(last), found, "{place} up to {last}");
        }
    }

    #[test]
    fn ids_that_are_over_make_room_for_others() {
        let mut ids = Ids::default();
        for number in 0..200_000u64 {
            ids.put(mix(number), &id(number as i64, 0), Instant(number as i64 - 1000));
        }
        assert_eq!(ids.get(mix(0), Instant(199_000)), None);
        assert!(ids.get(mix(199_500), Instant(199_000)).is_some());
        assert!(ids.len() < 12_000, "{}", ids.len());
    }

    #[test]
    fn an_id_is_put_over_itself() {
        let mut ids = Ids::default();
        ids.put(7, &id(1, 1), Instant(0));
        ids.put(7, &HeldId { state: IdState::Freed, ..id(1, 1) }, Instant(0));
        assert_eq!(ids.get(7, Instant(0)), None);
        ids.put(7, &id(2, 2), Instant(0));
        assert_eq!(ids.get(7, Instant(0)), Some(id(2, 2)));
        assert_eq!(ids.len(), 1);
    }
}
