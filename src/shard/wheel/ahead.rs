//! Usage goes on while a great many duties are done by and by.
//!
//! Between the commits of those duties, usage that came behind them is decided where that makes no difference
//! ([`Books::decide_ahead`]). The shard's position stays in front of what waits; what was decided beyond it is kept
//! beside it, and passed over when its turn comes. A command is overtaken by usage of other customers, a catalog record
//! by none.

use std::cell::Cell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::pile::Place;
use super::{Wheel, instant};
use crate::ingest::command::read_command;
use crate::ingest::log::{Feed, LogName, Record, Run, UsageLog};
use crate::invoice::ahead::Ahead;
use crate::invoice::books::{self, Books, CommandRecord, UsageRecord};
use crate::invoice::instant::Instant;
use crate::invoice::warm::TOGETHER;
use crate::persist::{Ledger, Store, Write};
use crate::planted::{self, Bug};
use crate::publish::NoticeLog;
use crate::shard::reading::{ReadUsage, TextHeaders, text_headers};
use crate::shard::standing::Standing;
use crate::shard::world::Stop;

/// How much may have been read and not been taken; beyond that usage waits.
const PILE_BYTES_MAX: usize = 96 << 20;

/// How much usage is looked at between two commits of duties.
const RECORDS_MAX: usize = 20_000;

/// What is known of usage behind what is to be taken next.
#[derive(Default)]
pub(super) struct AheadOfTurn {
    /// The offsets of what was decided.
    decided: HashSet<u64>,
    /// Those that no commit holds yet.
    new: Vec<u64>,
    /// Everything up to here has been looked at.
    seen_to: Place,
    /// The latest arrival so far, and where time is being passed to.
    reached: Option<Instant>,
    /// What waits, by subscription.
    waiting: HashMap<u32, VecDeque<(Place, Instant)>>,
    /// Names of what waits, where nobody knows whose it is.
    unowned: HashSet<String>,
    /// Customers whom commands that wait may touch.
    touched: HashSet<u32>,
    /// The subscriptions whose duties were done since this was last looked at.
    passed: Vec<u32>,
}

impl AheadOfTurn {
    /// Notes that a duty of a subscription was done.
    pub(super) fn pass(&mut self, subscription: u32) {
        if self.waiting.contains_key(&subscription) {
            self.passed.push(subscription);
        }
    }

    /// Whether a record was decided ahead of its turn, which has come.
    pub(super) fn comes_to(&mut self, record: &Record<'_>) -> bool {
        record.log == LogName::Usage && !self.decided.is_empty() && self.decided.remove(&record.offset.0)
    }

    pub(super) fn is_decided(&self, record: &Record<'_>) -> bool {
        record.log == LogName::Usage && self.decided.contains(&record.offset.0)
    }

    /// Begins anew behind what is to be taken next, if that has come so far.
    fn begin_at(&mut self, next: Place) {
        if self.seen_to <= next {
            self.seen_to = next;
            self.waiting.clear();
            self.unowned.clear();
            self.touched.clear();
        }
        self.passed.retain(|number| self.waiting.contains_key(number));
    }

    /// What is kept of it, as far as it is new.
    pub(super) fn take_new(&mut self) -> Option<Vec<u8>> {
        if self.new.is_empty() {
            return None;
        }
        self.new.sort_unstable();
        let mut before = 0;
        let steps = self.new.drain(..).map(|offset| offset - std::mem::replace(&mut before, offset));
        Some(serde_json::to_vec(&steps.collect::<Vec<u64>>()).expect("numbers are plain data"))
    }

    /// Whether nothing is known that a document is needed for.
    pub(super) fn is_over(&self) -> bool {
        self.decided.is_empty() && self.new.is_empty()
    }
}

/// What was decided ahead of its turn by whoever had the shard before.
pub(super) async fn open<L: Ledger>(
    ledger: &mut L,
    standing: Option<&Standing>,
) -> Result<AheadOfTurn, Stop> {
    let mut ahead = AheadOfTurn::default();
    let Some(standing) = standing.filter(|_| !planted::is(Bug::AheadForgotten)) else { return Ok(ahead) };
    let (first, next) = standing.ahead;
    let keys: Vec<String> = (first..next).map(key).collect();
    for (key, bytes) in keys.iter().zip(ledger.read(&keys).await?) {
        let steps: Option<Vec<u64>> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let steps =
            steps.ok_or_else(|| Stop::Broken(format!("document {key} is missing or can't be read")))?;
        let offsets = steps.into_iter().scan(0, |offset, step| {
            *offset += step;
            Some(*offset)
        });
        ahead.decided.extend(offsets.filter(|at| *at >= standing.positions[LogName::Usage as usize]));
    }
    Ok(ahead)
}

pub(super) fn key(number: u64) -> String {
    format!("ahead:{number}")
}

impl<S: Store, U: UsageLog + 'static, N: NoticeLog + 'static> Wheel<S, U, N> {
    /// Reads on, and decides usage that can be decided while time is passed to `until`.
    pub(super) async fn go_ahead(&mut self, until: Instant) -> Result<(), Stop> {
        if self.pile.bytes() < PILE_BYTES_MAX {
            let batch = self.feed.next(self.limits(Duration::ZERO)).await?;
            self.put(batch);
        }
        self.ahead.begin_at(self.pile.next());
        self.ahead.reached = self.ahead.reached.max(Some(until));
        self.try_again();
        self.look_on().await?;
        self.gauges.note(&self.books, self.standing.outbox.1 - self.sent_up_to());
        Ok(())
    }

    /// Usage that waited for what has been done by now.
    fn try_again(&mut self) {
        for number in std::mem::take(&mut self.ahead.passed) {
            while let Some((place, at)) = self.first_waiting(number) {
                if !self.try_again_at(place, at) {
                    break;
                }
                self.ahead.waiting.get_mut(&number).expect("it was just seen").pop_front();
            }
        }
    }

    /// The first usage of a subscription that waits; what the turn has come to meanwhile doesn't.
    fn first_waiting(&mut self, number: u32) -> Option<(Place, Instant)> {
        let next = self.pile.next();
        let waiting = self.ahead.waiting.get_mut(&number)?;
        while waiting.pop_front_if(|(place, _)| *place < next).is_some() {}
        let first = waiting.front().copied();
        if first.is_none() {
            self.ahead.waiting.remove(&number);
        }
        first
    }

    fn try_again_at(&mut self, place: Place, at: Instant) -> bool {
        let (run, place) = self.pile.run_at(place).expect("what waits lies on the pile");
        let run = run.clone();
        let record = run.record(place.in_run());
        let headers = text_headers(&record);
        let usage = ReadUsage::of(record.value.unwrap_or_default(), &headers, self.books.settings());
        self.decide_ahead(at, &record, &headers, usage, |_, _| false) == Ahead::Taken
    }

    /// Looks at what was read since.
    async fn look_on(&mut self) -> Result<(), Stop> {
        let mut records = 0;
        while records < RECORDS_MAX
            && let Some((run, place)) = self.pile.run_at(self.ahead.seen_to)
        {
            let run = run.clone();
            let most = TOGETHER.min(run.len() - place.in_run());
            let some = match run.log {
                LogName::Usage => {
                    self.look_at(&run, place, most);
                    most
                }
                LogName::Commands => self.look_at_commands(&run, place, most).await?,
                // What invoices are numbered is nothing to usage.
                LogName::Numbers => most,
                LogName::Catalog | LogName::Forwarded => 0,
            };
            if some == 0 {
                return Ok(());
            }
            self.ahead.seen_to = place.plus(some);
            records += some;
        }
        Ok(())
    }

    /// Looks at commands, up to one of which nobody knows yet whose usage it may touch; says how many they are.
    async fn look_at_commands(&mut self, run: &Run, from: Place, most: usize) -> Result<usize, Stop> {
        let records: Vec<Record<'_>> = (0..most).map(|n| run.record(from.in_run() + n)).collect();
        self.fetch_for(records.iter().copied()).await?;
        Ok(records.iter().take_while(|record| self.look_at_command(record)).count())
    }

    /// Notes whose usage mustn't overtake a command; says whether that is known.
    fn look_at_command(&mut self, record: &Record<'_>) -> bool {
        self.ahead.reached = self.ahead.reached.max(Some(instant(record.appended_ms)));
        let (key, value) = (record.key, record.value);
        let command = read_command(value.unwrap_or_default());
        let touched = self.books.touched_by(&CommandRecord { key, value, headers: &[], command });
        let is_known = touched.is_some();
        self.ahead.touched.extend(touched.unwrap_or_default());
        is_known
    }

    fn look_at(&mut self, run: &Run, from: Place, count: usize) {
        let records: Vec<Record<'_>> = (0..count).map(|n| run.record(from.in_run() + n)).collect();
        let headers: Vec<TextHeaders<'_>> = records.iter().map(text_headers).collect();
        let usage = self.read_ahead(&records, &headers);
        for (n, (usage, (record, headers))) in usage.into_iter().zip(records.iter().zip(&headers)).enumerate()
        {
            let at = instant(record.appended_ms).max(self.ahead.reached.unwrap_or(Instant::MIN));
            self.ahead.reached = Some(at);
            if let Some(usage) = usage {
                self.look_at_one(from.plus(n), at, record, headers, usage);
            }
        }
    }

    fn look_at_one(
        &mut self,
        place: Place,
        at: Instant,
        record: &Record<'_>,
        headers: &[(&str, &[u8])],
        usage: ReadUsage<'_>,
    ) {
        let unowned = &self.ahead.unowned;
        if usage.event.as_ref().is_ok_and(|event| unowned.contains(event.whose_name())) {
            return;
        }
        let (next, waiting) = (self.pile.next(), std::mem::take(&mut self.ahead.waiting));
        let touched = std::mem::take(&mut self.ahead.touched);
        let is_behind_command = Cell::new(false);
        let is_held_up = |number, customer| {
            is_behind_command.set(touched.contains(&customer) && !planted::is(Bug::AheadOfCommands));
            let last = waiting.get(&number).and_then(VecDeque::back);
            is_behind_command.get() || last.is_some_and(|(place, _)| *place >= next)
        };
        let outcome = self.decide_ahead(at, record, headers, usage, is_held_up);
        (self.ahead.waiting, self.ahead.touched) = (waiting, touched);
        if let Ahead::Waits(number) = outcome
            && !is_behind_command.get()
        {
            self.ahead.waiting.entry(number).or_default().push_back((place, at));
        }
    }

    fn decide_ahead(
        &mut self,
        at: Instant,
        record: &Record<'_>,
        headers: &[(&str, &[u8])],
        usage: ReadUsage<'_>,
        is_held_up: impl Fn(u32, u32) -> bool,
    ) -> Ahead {
        let ReadUsage { event, id_hash } = usage;
        if let Ok(event) = &event
            && let Some(home) = self.territory.home_of_usage(event, &self.books, &self.directory)
            && home != self.territory.shard
        {
            return Ahead::Refused;
        }
        let place = books::Place {
            topic: &self.world.topics[record.log],
            partition: self.territory.shard.0,
            offset: record.offset.0,
        };
        let (key, value) = (record.key, record.value);
        let usage = UsageRecord { key, value, headers, place, event, id_hash };
        let outcome = Books::decide_ahead(&mut self.books, at, &usage, is_held_up);
        match (outcome, &usage.event) {
            (Ahead::Taken, _) => {
                self.ahead.decided.insert(record.offset.0);
                self.ahead.new.push(record.offset.0);
                self.has_changed = true;
            }
            (Ahead::Unowned, Ok(event)) => {
                self.ahead.unowned.insert(event.whose_name().to_owned());
            }
            _ => {}
        }
        outcome
    }

    /// What a commit keeps of it; what it makes needless goes into `forgets`.
    pub(super) fn keep_ahead(&mut self, writes: &mut Vec<Write>, forgets: &mut Vec<String>) {
        if let Some(bytes) = self.ahead.take_new() {
            writes.push(Write { key: key(self.standing.ahead.1), bytes });
            self.standing.ahead.1 += 1;
        } else if self.ahead.is_over() {
            let (first, next) = self.standing.ahead;
            forgets.extend((first..next).map(key));
            self.standing.ahead.0 = next;
        }
    }
}
