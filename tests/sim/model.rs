//! Token, position, rewind and publishing with two owners, on paper: every state that a small world can come to is looked
//! at, whoever moves next.
//!
//! The world: a log of three records, each of which changes the state and says one thing; a store that may go back to
//! anything it ever held; a topic; and two owners, each of which may claim the shard, read on, commit, send and die at any
//! moment. What an owner does between two of its steps takes as long as you like, so a frozen one is in here too.

use std::collections::{BTreeSet, HashSet, VecDeque};

const RECORDS: u8 = 3;
const CLAIMS_MAX: u8 = 3;
const REWINDS_MAX: u8 = 1;

/// What keeps a former owner out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// The record is as its own last write left it, on the connection that wrote it.
    OwnWrite,
    /// It has the number of its last commit.
    Number,
}

/// How the world is built. The first is how it is; the others have a fault that has to show.
#[derive(Clone, Copy, Debug)]
struct Design {
    guard: Guard,
    position_with_state: bool,
    sends_after_commit: bool,
    resumes_outbox: bool,
}

const AS_BUILT: Design = Design {
    guard: Guard::OwnWrite,
    position_with_state: true,
    sends_after_commit: true,
    resumes_outbox: true,
};

/// What the store holds of the shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Kept {
    token: u8,
    commit: u8,
    position: u8,
    /// The records that the state is made of.
    applied: Vec<u8>,
    /// What was said is known to be out up to here.
    sent: u8,
}

/// What an owner has in hand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Hand {
    token: u8,
    /// Nobody else has written the record since, and nothing has gone back.
    is_untouched: bool,
    /// Its memory: the store as it believes it to be, and what it has decided beyond that.
    kept: Kept,
    decided: Vec<u8>,
    /// The position is committed and the state isn't, in a world that tears them apart.
    half: bool,
    has_looked: bool,
    /// Durable and not sent yet: number and content.
    outbox: VecDeque<(u8, u32)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct World {
    store: Kept,
    /// What the store held before.
    past: BTreeSet<Kept>,
    /// Which is which makes no difference.
    owners: [Option<Hand>; 2],
    claims: u8,
    rewinds: u8,
    /// What the topic holds, by number, and the number of its last record.
    said: Vec<u32>,
    last: Option<u8>,
    /// So many records have ever been committed.
    durable: u8,
}

/// What is said when a record is decided on top of others: it shows everything that came before.
fn content(applied: &[u8]) -> u32 {
    applied.iter().fold(1, |content, record| content * 5 + u32::from(*record))
}

fn expected(count: u8) -> Vec<u8> {
    (0..count).collect()
}

type Breach = String;

impl World {
    /// All worlds that may come next.
    fn next(&self, design: Design) -> Result<Vec<World>, Breach> {
        let mut next = Vec::new();
        for owner in 0..2 {
            next.extend(self.claim(owner));
            next.extend(self.look(owner, design));
            next.extend(self.decide(owner, design));
            next.extend(self.commit(owner, design)?);
            next.extend(self.send(owner)?);
            next.extend(self.die(owner));
        }
        next.extend(self.rewinds());
        Ok(next)
    }

    fn with(&self, owner: usize, change: impl FnOnce(&mut World, &mut Hand)) -> World {
        let mut world = self.clone();
        let mut hand = world.owners[owner].take().expect("an owner has something in hand");
        change(&mut world, &mut hand);
        world.owners[owner] = Some(hand);
        world
    }

    fn write(&mut self, kept: Kept, by: usize) {
        self.past.insert(std::mem::replace(&mut self.store, kept));
        for (number, owner) in self.owners.iter_mut().enumerate() {
            if let Some(hand) = owner.as_mut().filter(|_| number != by) {
                hand.is_untouched = false;
            }
        }
    }

    fn claim(&self, owner: usize) -> Option<World> {
        if self.owners[owner].is_some() || self.claims == CLAIMS_MAX {
            return None;
        }
        let mut world = self.clone();
        world.claims += 1;
        let kept = Kept { token: world.claims, ..world.store.clone() };
        world.write(kept.clone(), owner);
        world.owners[owner] = Some(Hand {
            token: kept.token,
            is_untouched: true,
            kept,
            decided: Vec::new(),
            half: false,
            has_looked: false,
            outbox: VecDeque::new(),
        });
        Some(world)
    }

    /// The topic says what it holds; the rest of what was committed is to be sent.
    fn look(&self, owner: usize, design: Design) -> Option<World> {
        let hand = self.owners[owner].as_ref().filter(|hand| !hand.has_looked)?;
        let from = hand.kept.sent.max(self.last.map_or(0, |last| last + 1));
        Some(self.with(owner, |_, hand| {
            hand.has_looked = true;
            if design.resumes_outbox {
                let said = |number: u8| (number, content(&hand.kept.applied[..=usize::from(number)]));
                hand.outbox = (from..hand.kept.applied.len() as u8).map(said).collect();
            }
        }))
    }

    /// Reads one record more into the batch, while no commit is half done.
    fn decide(&self, owner: usize, design: Design) -> Option<World> {
        let hand = self.owners[owner].as_ref().filter(|hand| hand.has_looked && !hand.half)?;
        let record = hand.kept.position + hand.decided.len() as u8;
        (record < RECORDS).then(|| {
            self.with(owner, |_, hand| {
                hand.decided.push(record);
                if !design.sends_after_commit {
                    let all: Vec<u8> = hand.kept.applied.iter().chain(&hand.decided).copied().collect();
                    hand.outbox.push_back((all.len() as u8 - 1, content(&all)));
                }
            })
        })
    }

    /// Commits what is decided. It is refused, and the owner gives up; or it happens, and the owner hears of it or not.
    fn commit(&self, owner: usize, design: Design) -> Result<Vec<World>, Breach> {
        let Some(hand) = self.owners[owner].as_ref().filter(|hand| !hand.decided.is_empty()) else {
            return Ok(Vec::new());
        };
        let is_taken = match design.guard {
            Guard::OwnWrite => hand.is_untouched,
            Guard::Number => hand.kept.commit == self.store.commit,
        };
        if !is_taken {
            return Ok(self.die(owner).into_iter().collect());
        }
        if design.guard == Guard::OwnWrite && self.store.token != hand.token {
            return Err(format!("an owner that lost the shard writes it: {self:?}"));
        }
        let goes_half = !design.position_with_state && !hand.half;
        let done = self.with(owner, |world, hand| {
            let mut kept = Kept { token: hand.token, commit: hand.kept.commit + 1, ..world.store.clone() };
            if goes_half || design.position_with_state {
                kept.position = hand.kept.position + hand.decided.len() as u8;
            }
            if !goes_half {
                kept.applied.extend(&hand.decided);
                kept.sent = hand.outbox.front().map_or(hand.kept.applied.len() as u8, |(number, _)| *number);
            }
            world.write(kept, owner);
            world.durable = world.durable.max(world.store.applied.len() as u8);
            hand.is_untouched = true;
            hand.kept.commit += 1;
            hand.half = goes_half;
            if !goes_half {
                for record in std::mem::take(&mut hand.decided) {
                    hand.kept.applied.push(record);
                    let number = hand.kept.applied.len() as u8 - 1;
                    if design.sends_after_commit {
                        hand.outbox.push_back((number, content(&hand.kept.applied)));
                    }
                }
                hand.kept.position = hand.kept.applied.len() as u8;
            }
        });
        let unheard = done.die(owner);
        Ok([Some(done), unheard].into_iter().flatten().collect())
    }

    fn send(&self, owner: usize) -> Result<Option<World>, Breach> {
        let Some(hand) = &self.owners[owner] else { return Ok(None) };
        let Some((number, content)) = hand.outbox.front().copied() else { return Ok(None) };
        match self.said.get(usize::from(number)) {
            Some(known) if *known != content => {
                return Err(format!("number {number} is {known} and {content}: {self:?}"));
            }
            None if usize::from(number) > self.said.len() => {
                return Err(format!("number {number} comes too early: {self:?}"));
            }
            _ if number >= self.durable => {
                return Err(format!("number {number} was never committed: {self:?}"));
            }
            _ => {}
        }
        Ok(Some(self.with(owner, |world, hand| {
            hand.outbox.pop_front();
            if usize::from(number) == world.said.len() {
                world.said.push(content);
            }
            world.last = Some(number);
        })))
    }

    fn die(&self, owner: usize) -> Option<World> {
        self.owners[owner].is_some().then(|| {
            let mut world = self.clone();
            world.owners[owner] = None;
            world
        })
    }

    /// The store may be again what it ever was.
    fn rewinds(&self) -> Vec<World> {
        if self.rewinds == REWINDS_MAX {
            return Vec::new();
        }
        let back = self.past.iter().map(|kept| {
            let mut world = World { rewinds: self.rewinds + 1, store: kept.clone(), ..self.clone() };
            for hand in world.owners.iter_mut().flatten() {
                hand.is_untouched = false;
            }
            world
        });
        back.collect()
    }

    /// What must hold in every state.
    fn check(&self, design: Design) -> Result<(), Breach> {
        if self.store.applied != expected(self.store.applied.len() as u8) {
            return Err(format!("a record is applied twice, or left out: {self:?}"));
        }
        if design.position_with_state && usize::from(self.store.position) != self.store.applied.len() {
            return Err(format!("position and state are apart: {self:?}"));
        }
        let right = (0..self.said.len() as u8).map(|number| content(&expected(number + 1)));
        if !right.eq(self.said.iter().copied()) {
            return Err(format!("something wrong was said: {self:?}"));
        }
        self.heals(design)
    }

    /// Left in peace, one owner brings everything to its end.
    fn heals(&self, design: Design) -> Result<(), Breach> {
        let mut world = World { owners: [None, None], claims: 0, ..self.clone() };
        world = world.claim(0).expect("nobody has it");
        world = world.look(0, design).expect("it hasn't looked");
        loop {
            if let Some(next) = world.send(0)? {
                world = next;
            } else if let Some(next) = world.commit(0, design)?.into_iter().next() {
                world = next;
            } else if let Some(next) = world.decide(0, design) {
                world = next;
            } else {
                break;
            }
        }
        let is_whole = world.store.applied == expected(RECORDS) && world.said.len() == usize::from(RECORDS);
        if is_whole { Ok(()) } else { Err(format!("it ends in {world:?}, from {self:?}")) }
    }
}

/// Looks at every state; answers how many there are, or the first breach by the shortest way.
fn explore(design: Design) -> Result<usize, Breach> {
    let mut known = HashSet::from([World::default()]);
    let mut waiting = VecDeque::from([World::default()]);
    while let Some(world) = waiting.pop_front() {
        world.check(design)?;
        for mut next in world.next(design)? {
            next.owners.sort();
            if known.insert(next.clone()) {
                waiting.push_back(next);
            }
        }
    }
    Ok(known.len())
}

#[test]
fn no_state_of_two_owners_breaks_a_promise() {
    let states = explore(AS_BUILT).unwrap_or_else(|breach| panic!("{breach}"));
    println!("{states} states");
    assert!(states > 10_000, "{states} states are no exploration");
}

#[test]
fn a_worse_design_is_seen_through() {
    let worse = [
        ("an owner known by its number alone", Design { guard: Guard::Number, ..AS_BUILT }),
        ("a position apart from the state", Design { position_with_state: false, ..AS_BUILT }),
        ("notices before their commit", Design { sends_after_commit: false, ..AS_BUILT }),
        ("an outbox that isn't resumed", Design { resumes_outbox: false, ..AS_BUILT }),
    ];
    for (what, design) in worse {
        let seen = explore(design);
        println!(
            "{what}: {}",
            seen.as_ref().err().map_or("not seen", |breach| breach.split(':').next().unwrap_or_default())
        );
        assert!(seen.is_err(), "{what} shows nowhere");
    }
}
