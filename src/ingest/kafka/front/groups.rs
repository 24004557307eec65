//! How the members of each group share partitions among them.
//!
//! The broker takes what a member names first for what all members agree on, and ends the process where that isn't so. So
//! a group's first member decides, and of what another one offers only that is passed on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::super::timer::{Duration, Instant, now};
use super::Walk;

/// By their names.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<Vec<u8>, Group>>);

struct Group {
    strategy: Vec<u8>,
    /// The longest that a member may say nothing.
    session: Duration,
    /// Then the broker has forgotten all members that there are.
    over_at: Instant,
}

/// The broker looks once in a while only.
const SLACK: Duration = Duration::from_secs(3);

impl Groups {
    /// Leaves of a member's strategies the one that its group goes by. `false` if it hasn't that one; nothing if the
    /// request can't be read.
    pub(super) fn join(&self, frame: &mut Vec<u8>, version: i16) -> Option<bool> {
        let offer = Offer::read(frame, version)?;
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = groups.get_mut(&offer.group).filter(|group| now() < group.over_at);
        let chosen = match &known {
            Some(group) => offer.strategies.iter().find(|one| one.name == group.strategy),
            None => offer.strategies.first(),
        };
        let Some(chosen) = chosen else { return Some(false) };
        let session = known.map_or(offer.session, |group| group.session.max(offer.session));
        let group = Group { strategy: chosen.name.clone(), session, over_at: now() + session + SLACK };
        groups.insert(offer.group, group);
        frame.copy_within(chosen.from..chosen.to, offer.begin);
        frame.truncate(offer.begin + chosen.to - chosen.from);
        Walk::over(frame).skip(offer.begin - 4)?.put(&1_i32.to_be_bytes())?;
        Some(true)
    }

    /// A member lives.
    pub(super) fn hear(&self, group: &[u8]) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get_mut(group) {
            group.over_at = group.over_at.max(now() + group.session + SLACK);
        }
    }
}

/// What a member that joins has to offer.
struct Offer {
    group: Vec<u8>,
    session: Duration,
    /// Where in the frame the strategies begin, behind their count.
    begin: usize,
    strategies: Vec<Strategy>,
}

struct Strategy {
    name: Vec<u8>,
    from: usize,
    to: usize,
}

impl Offer {
    fn read(frame: &mut [u8], version: i16) -> Option<Offer> {
        let mut walk = Walk::over(frame);
        let group = walk.skip(8)?.text()?.word()?.to_vec();
        let session = Duration::from_millis(u64::try_from(walk.i32()?).ok()?);
        if version >= 1 {
            walk.skip(4)?;
        }
        walk.text()?;
        if version >= 5 {
            walk.text()?;
        }
        let count = walk.text()?.i32()?;
        let begin = walk.at();
        let mut strategies = Vec::new();
        for _ in 0..count {
            let from = walk.at();
            let name = walk.word()?.to_vec();
            walk.blob()?;
            strategies.push(Strategy { name, from, to: walk.at() });
        }
        Some(Offer { group, session, begin, strategies })
    }
}

/// What a broker says to a member that has another strategy than its group.
pub(super) fn refusal(number: i32, version: i16) -> Vec<u8> {
    const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
    let mut frame = number.to_be_bytes().to_vec();
    if version >= 2 {
        frame.extend(0_i32.to_be_bytes());
    }
    frame.extend(INCONSISTENT_GROUP_PROTOCOL.to_be_bytes());
    // No generation.
    frame.extend((-1_i32).to_be_bytes());
    // No strategy, leader, name and members.
    frame.extend([0; 10]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(strategies: &[&str]) -> Vec<u8> {
        let mut frame = vec![0, 11, 0, 5, 0, 0, 0, 1, 0, 0];
        frame.extend([0, 1, b'g', 0, 0, 0x75, 0x30, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0]);
        frame.extend((strategies.len() as i32).to_be_bytes());
        for name in strategies {
            frame.extend((name.len() as i16).to_be_bytes());
            frame.extend(name.bytes());
            frame.extend([0, 0, 0, 2, 1, 2]);
        }
        frame
    }

    #[test]
    fn a_groups_first_member_decides_how_it_shares() {
        let groups = Groups::default();
        let check = |offered: &[&str], passed_on: Option<&str>| {
            let mut frame = join(offered);
            assert_eq!(groups.join(&mut frame, 5), Some(passed_on.is_some()));
            if let Some(one) = passed_on {
                assert_eq!(frame, join(&[one]));
            }
        };
        check(&[], None);
        check(&["range", "sticky"], Some("range"));
        check(&["sticky", "range", "more"], Some("range"));
        check(&["sticky"], None);
        let mut cut_off = join(&["range"]);
        cut_off.pop();
        assert_eq!(groups.join(&mut cut_off, 5), None);
    }
}
