//! A history: what is written, what goes wrong, and when. It is all there before it is lived, so that it can be lived again
//! in part.

use super::crowd::{Crowd, Traits, settings};
use super::notices::Mishap;
use super::random::Random;
use graceline::persist::memory::{Fault, Step};
use graceline::shard::world::Pace;
use serde_json::Value;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) seed: u64,
    pub(super) shards: u32,
    pub(super) processes: usize,
    pub(super) pace: Pace,
    pub(super) dawdles_ms: u64,
    pub(super) settings: Value,
    pub(super) traits: Traits,
    pub(super) weather: Weather,
    /// In the order of their instants.
    pub(super) events: Vec<Event>,
    /// It is lived up to this instant at least.
    pub(super) until_ms: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at_ms: i64,
    pub(super) deed: Deed,
}

#[derive(Clone, Debug)]
pub(super) enum Deed {
    Write {
        topic: &'static str,
        partition: u32,
        key: Option<String>,
        value: Option<String>,
    },
    /// The process dies between two of its steps, after so many more.
    Crash {
        process: usize,
        calls: u64,
    },
    /// It is started again, and gets its shards back.
    Revive {
        process: usize,
    },
    Freeze {
        process: usize,
        calls: u64,
    },
    Thaw {
        process: usize,
    },
    /// The group moves a shard in good order.
    Move {
        shard: u32,
        to: usize,
    },
    /// The group gives a shard away, and its owner doesn't know.
    Steal {
        shard: u32,
        to: usize,
    },
    /// Former owners learn that a shard isn't theirs.
    Tell {
        shard: u32,
    },
    /// The owner's turn is cut off where it stands, and begins anew.
    Drop {
        shard: u32,
    },
    FailStep {
        shard: u32,
        step: Step,
        fault: Fault,
    },
    /// Late writes arrive, and stalled ones go on.
    Release,
    RestartStore,
    LoseWrites {
        writes: usize,
        breaks: bool,
    },
    BackUp,
    PutBack,
    Produce {
        process: usize,
        mishap: Mishap,
    },
    BrokerLeaves,
    BrokerReturns,
    FailReading {
        process: usize,
        calls: u64,
    },
    SkewClock {
        process: usize,
        ms: i64,
    },
    StopClock {
        process: usize,
    },
}

/// Which kinds of faults there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) crashes: bool,
    pub(super) freezes: bool,
    pub(super) moves: bool,
    pub(super) thefts: bool,
    pub(super) drops: bool,
    pub(super) steps: bool,
    pub(super) store_restarts: bool,
    pub(super) losses: bool,
    pub(super) backups: bool,
    pub(super) mishaps: bool,
    pub(super) refusals: bool,
    pub(super) broker_absences: bool,
    pub(super) reading: bool,
    pub(super) clocks: bool,
}

impl Weather {
    fn choose(random: &mut Random) -> Weather {
        // One history in eight is quiet.
        let is_calm = random.below(8) == 0;
        let mut is_on = |chances| !is_calm && random.below(100) < chances;
        Weather {
            crashes: is_on(50),
            freezes: is_on(40),
            moves: is_on(40),
            thefts: is_on(40),
            drops: is_on(40),
            steps: is_on(50),
            store_restarts: is_on(40),
            losses: is_on(50),
            backups: is_on(25),
            mishaps: is_on(50),
            refusals: is_on(25),
            broker_absences: is_on(30),
            reading: is_on(40),
            clocks: is_on(40),
        }
    }
}

impl History {
    pub(super) fn of(seed: u64) -> History {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(1));
        let traits = Traits::choose(&mut random);
        let settings = settings(&mut random);
        let weather = Weather::choose(&mut random);
        let shards = 1 + random.below(4) as u32;
        let processes = 1 + random.below(3) as usize;
        let (records_max, bytes_max) =
            (*random.one_of(&[1, 3, 7, 50, 1000]), *random.one_of(&[1000, 1 << 20]));
        let wait_max = Duration::from_millis(200 + random.below(1300));
        let is_aimed = seed % 7 == 3;
        let duties_max = *random.one_of(&[1, 2, 5, 2000]);
        let pace = Pace {
            records_max,
            bytes_max,
            wait_max,
            rest_max: wait_max * (1 + (seed % 3) as u32),
            duties_max: if is_aimed { 1 } else { duties_max },
        };
        let dawdles_ms = *random.one_of(&[0, 0, 20, 300]);
        let mut events = Crowd::new(seed, &traits, shards, &settings).live();
        let last_ms = events.last().map_or(traits.begins_ms, |event| event.at_ms);
        let mut fate = Fate { random, shards, processes, from_ms: traits.begins_ms, to_ms: last_ms + 8000 };
        events.extend(fate.choose(weather));
        if is_aimed {
            events.extend(deaths_behind_the_catalog(seed, processes, &events));
        }
        events.sort_by_key(|event| event.at_ms);
        // What is parked is decided by then.
        let until_ms = last_ms + 20_000;
        History { seed, shards, processes, pace, dawdles_ms, settings, traits, weather, events, until_ms }
    }

    pub(super) fn skew_limit_ms(&self) -> i64 {
        let text = self.settings["clock_skew_limit"].as_str().expect("the settings say it");
        let seconds: i64 =
            text.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().expect("seconds");
        seconds * 1000
    }
}

/// Processes die while drafts follow a record of the catalog, one in each commit.
fn deaths_behind_the_catalog(seed: u64, processes: usize, events: &[Event]) -> Vec<Event> {
    let mut random = Random::new(seed ^ 0xdead);
    let is_catalog = |deed: &Deed| matches!(deed, Deed::Write { topic: "billing.catalog", .. });
    let records: Vec<i64> =
        events.iter().filter(|event| is_catalog(&event.deed)).map(|event| event.at_ms).collect();
    let mut deaths = Vec::new();
    for _ in 0..12 {
        let at_ms = *random.one_of(&records);
        let process = random.below(processes as u64) as usize;
        deaths.push(Event { at_ms, deed: Deed::Crash { process, calls: random.below(30) } });
        deaths.push(Event { at_ms: at_ms + 300 + random.below(1500) as i64, deed: Deed::Revive { process } });
    }
    deaths
}

/// Lets something go wrong at an instant.
type Blow = fn(&mut Fate, i64, &mut Vec<Event>);

/// Chooses what goes wrong.
struct Fate {
    random: Random,
    shards: u32,
    processes: usize,
    from_ms: i64,
    to_ms: i64,
}

impl Fate {
    fn choose(&mut self, weather: Weather) -> Vec<Event> {
        let mut events = Vec::new();
        let kinds: [(bool, Blow); 14] = [
            (weather.crashes, Fate::crash),
            (weather.freezes, Fate::freeze),
            (weather.moves, |fate, at_ms, events| {
                let deed = Deed::Move { shard: fate.shard(), to: fate.process() };
                events.push(Event { at_ms, deed });
            }),
            (weather.thefts, Fate::steal),
            (weather.drops, |fate, at_ms, events| {
                events.push(Event { at_ms, deed: Deed::Drop { shard: fate.shard() } });
            }),
            (weather.steps, Fate::fail_step),
            (weather.store_restarts, |_, at_ms, events| {
                events.push(Event { at_ms, deed: Deed::RestartStore })
            }),
            (weather.losses, Fate::lose_writes),
            (weather.backups, |fate, at_ms, events| {
                events.push(Event { at_ms, deed: Deed::BackUp });
                events.push(Event { at_ms: at_ms + fate.later(30_000), deed: Deed::PutBack });
            }),
            (weather.mishaps, |fate, at_ms, events| {
                let mishaps = [Mishap::Lost, Mishap::CutShort, Mishap::AnswerLost, Mishap::Doubled];
                let mishap = *fate.random.one_of(&mishaps);
                events.push(Event { at_ms, deed: Deed::Produce { process: fate.process(), mishap } });
            }),
            (weather.refusals, |fate, at_ms, events| {
                let deed = Deed::Produce { process: fate.process(), mishap: Mishap::Refused };
                events.push(Event { at_ms, deed });
            }),
            (weather.broker_absences, |fate, at_ms, events| {
                events.push(Event { at_ms, deed: Deed::BrokerLeaves });
                events.push(Event { at_ms: at_ms + fate.later(8000), deed: Deed::BrokerReturns });
            }),
            (weather.reading, |fate, at_ms, events| {
                let calls = 1 + fate.random.below(4);
                events.push(Event { at_ms, deed: Deed::FailReading { process: fate.process(), calls } });
            }),
            (weather.clocks, Fate::wrong_clock),
        ];
        for (is_on, make) in kinds {
            let times = if is_on { 1 + self.random.below(5) } else { 0 };
            for _ in 0..times {
                let at_ms = self.from_ms + self.later((self.to_ms - self.from_ms) as u64);
                make(self, at_ms, &mut events);
            }
        }
        events
    }

    fn later(&mut self, most_ms: u64) -> i64 {
        self.random.below(most_ms) as i64
    }

    fn shard(&mut self) -> u32 {
        self.random.below(u64::from(self.shards)) as u32
    }

    fn process(&mut self) -> usize {
        self.random.below(self.processes as u64) as usize
    }

    fn crash(&mut self, at_ms: i64, events: &mut Vec<Event>) {
        let process = self.process();
        let calls = self.random.below(40);
        events.push(Event { at_ms, deed: Deed::Crash { process, calls } });
        let back_ms = at_ms + 200 + self.later(6000);
        if self.random.below(2) == 0 {
            // Others take over before it is back.
            let away_ms = at_ms + 100 + self.later((back_ms - at_ms) as u64);
            let deed = Deed::Steal { shard: self.shard(), to: self.process() };
            events.push(Event { at_ms: away_ms, deed });
        }
        events.push(Event { at_ms: back_ms, deed: Deed::Revive { process } });
    }

    fn freeze(&mut self, at_ms: i64, events: &mut Vec<Event>) {
        let process = self.process();
        let calls = self.random.below(40);
        events.push(Event { at_ms, deed: Deed::Freeze { process, calls } });
        let shard = self.shard();
        let thaw_ms = at_ms + 500 + self.later(12_000);
        if self.random.below(3) > 0 {
            let away_ms = at_ms + self.later((thaw_ms - at_ms) as u64);
            events.push(Event { at_ms: away_ms, deed: Deed::Steal { shard, to: self.process() } });
        }
        events.push(Event { at_ms: thaw_ms, deed: Deed::Thaw { process } });
        events.push(Event { at_ms: thaw_ms + self.later(3000), deed: Deed::Tell { shard } });
    }

    /// Often all connections break with it. If they don't, a new owner's claim may be lost, the next owner claims in its
    /// stead, and the first one, which stood still meanwhile, finds a store that has gone on by another way.
    fn lose_writes(&mut self, at_ms: i64, events: &mut Vec<Event>) {
        let breaks = self.random.below(2) == 0;
        let writes = 1 + self.random.below(if breaks { 12 } else { 8 }) as usize;
        let mut later_ms = at_ms;
        if !breaks {
            let (shard, process) = (self.shard(), self.process());
            events.push(Event { at_ms, deed: Deed::Steal { shard, to: process } });
            later_ms += 50 + self.later(800);
            events
                .push(Event { at_ms: later_ms, deed: Deed::Freeze { process, calls: self.random.below(4) } });
            later_ms += self.later(300);
            let next_ms = later_ms + self.later(100);
            events.push(Event { at_ms: next_ms, deed: Deed::Steal { shard, to: self.process() } });
            let thaw_ms = next_ms + 200 + self.later(2500);
            events.push(Event { at_ms: thaw_ms, deed: Deed::Thaw { process } });
            events.push(Event { at_ms: thaw_ms + self.later(2000), deed: Deed::Tell { shard } });
        }
        events.push(Event { at_ms: later_ms, deed: Deed::LoseWrites { writes, breaks } });
    }

    fn steal(&mut self, at_ms: i64, events: &mut Vec<Event>) {
        let shard = self.shard();
        events.push(Event { at_ms, deed: Deed::Steal { shard, to: self.process() } });
        events.push(Event { at_ms: at_ms + self.later(4000), deed: Deed::Tell { shard } });
    }

    fn fail_step(&mut self, at_ms: i64, events: &mut Vec<Event>) {
        let step = *self.random.one_of(&[Step::Claim, Step::Read, Step::Commit, Step::Commit, Step::Forget]);
        let fault = *self.random.one_of(&[Fault::Lost, Fault::AnswerLost, Fault::Late, Fault::Stalled]);
        let shard = self.shard();
        for _ in 0..1 + self.random.below(2) {
            events.push(Event { at_ms, deed: Deed::FailStep { shard, step, fault } });
        }
        events.push(Event { at_ms: at_ms + 100 + self.later(6000), deed: Deed::Release });
    }

    fn wrong_clock(&mut self, at_ms: i64, events: &mut Vec<Event>) {
        let process = self.process();
        let deed = match self.random.below(4) {
            0 => Deed::StopClock { process },
            // Behind it may be as far as it likes; ahead no farther than the limit.
            1 => Deed::SkewClock { process, ms: -self.later(20_000) },
            2 => Deed::SkewClock { process, ms: i64::MAX },
            _ => Deed::SkewClock { process, ms: 0 },
        };
        events.push(Event { at_ms, deed });
    }
}
