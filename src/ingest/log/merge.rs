//! One order for five logs.
//!
//! The next record is the one with the earliest append time; at a tie the log decides, in the order of [`LogName`]. A
//! log that has nothing to offer might still have something earlier under way. So a record waits until every such log
//! has been asked for its end, a moment after the record came, and has been read up to there: what is appended later is
//! later. The order is then the same whoever reads, and whenever. A busy broker shows a record later than that moment: where
//! answers take long, a record waits longer before the others are asked. Where replicas lag, a record may stay hidden for
//! longer still: one that a question should have told of, and didn't, shows it, and then the others are waited for as long as
//! that one was hidden. Only where nobody answers, or a log doesn't get to its end, the others go on after a while; what
//! comes later than that takes effect when it comes, and is counted.

use super::{Limits, LogName, Offset, PerLog, Positions, Record, Run};
use std::collections::VecDeque;
use std::time::Duration;

/// How long a broker may take from the moment that it gives a record its time until everybody can see it.
pub const SEEN_AFTER: Duration = Duration::from_millis(10);

/// A busy broker takes longer: so many times as long as it takes to answer, and no longer than that.
const ANSWERS: u32 = 3;
const SEEN_AFTER_MAX: Duration = Duration::from_millis(500);

/// A broker that was held up may be held up again: a slow answer counts for less and less as time goes by, and after so
/// long for nothing.
const SLOW_FOR_MS: u64 = 3000;

/// Further apart than this no two clocks are, of brokers or ours.
pub const CLOCKS_APART_MS: i64 = 10_000;

/// What replicas hide they show when it has been settled which of them are alive, which takes no longer.
const HIDDEN_MAX_MS: i64 = 30_000;

/// How long a log that isn't at its end is waited for after it last moved, and a log whose end nobody tells.
pub const STALLED: Duration = Duration::from_secs(20);

/// Where nothing was heard of any log for so long, brokers may have been away, and that counts against none of them.
const SILENCE: Duration = Duration::from_secs(1);

/// When a log's end was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub at: Duration,
    /// The time of day. A record that is much older came before anything that is appended from then on, whenever it was
    /// read: a backlog needs no questions.
    pub wall_ms: i64,
}

/// What has been read and not been taken yet. Times are counted from wherever the caller likes, but never go back.
#[derive(Debug)]
pub struct Merge {
    logs: PerLog<Queue>,
    /// Not before that all logs show what they hold.
    shown_at: Duration,
    /// When something was last heard of any log.
    heard_at: Duration,
    /// When something was heard after the last silence.
    heard_since: Duration,
    /// The slowest answer of late, and when it came.
    slowest: (Duration, Duration),
    /// The latest that was taken.
    taken: Option<(i64, LogName)>,
}

#[derive(Debug, Default)]
struct Queue {
    runs: VecDeque<(Run, Duration)>,
    bytes: usize,
    /// Everything below has come, or never will.
    come_to: Offset,
    /// It reaches at least so far.
    end: Offset,
    /// When that was asked for.
    asked: Asked,
    moved_at: Duration,
    /// The latest append time so far. A broker's clock may step back; its log's order doesn't.
    reached_ms: i64,
}

/// What can be taken now.
#[derive(Debug, Default)]
pub struct Taken {
    pub runs: Vec<Run>,
    /// When there may be more without anything having come, if something is held back.
    pub wait_until: Option<Duration>,
    /// From when on it would help to ask for the ends of the logs.
    pub ask_at: Option<Duration>,
    /// So many of the records belong before others that were taken already.
    pub out_of_turn: usize,
}

impl Merge {
    /// Begins at `from`; the logs reached to `ends` when they were asked.
    pub fn new(from: Positions, ends: Positions, asked: Asked) -> Merge {
        let logs = PerLog::from_fn(|log| Queue {
            come_to: from[log],
            end: ends[log],
            asked,
            moved_at: asked.at,
            reached_ms: i64::MIN,
            ..Queue::default()
        });
        Merge {
            logs,
            shown_at: Duration::ZERO,
            heard_at: asked.at,
            heard_since: asked.at,
            slowest: Default::default(),
            taken: None,
        }
    }

    /// Adds what was read of a log, behind what was read of it before.
    pub fn add(&mut self, run: Run, now: Duration) {
        let Some(last) = run.last().map(|record| record.offset) else { return };
        self.hear(now);
        let queue = &mut self.logs[run.log];
        assert!(run.first().is_some_and(|first| first.offset >= queue.come_to), "a log is read in its order");
        self.shown_at = self.shown_at.max(now + queue.hidden(&run));
        queue.come_to = last.next();
        queue.moved_at = now;
        queue.bytes += run.weight_bytes();
        queue.runs.push_back((run, now));
    }

    /// Notes that a log reaches at least so far, which is what was said to a question.
    pub fn reaches(&mut self, log: LogName, end: Offset, asked: Asked, now: Duration) {
        self.hear(now);
        let queue = &mut self.logs[log];
        if queue.come_to >= queue.end {
            queue.moved_at = now;
        }
        queue.end = queue.end.max(end);
        if asked.at > queue.asked.at {
            queue.asked = asked;
        }
    }

    /// Notes how long an answer took: who is slow to answer is slow to show records.
    pub fn answered(&mut self, took: Duration, now: Duration) {
        if took >= self.answers_take(now) {
            self.slowest = (took, now);
        }
    }

    fn answers_take(&self, now: Duration) -> Duration {
        let (took, at) = self.slowest;
        let left_ms = SLOW_FOR_MS.saturating_sub(now.saturating_sub(at).as_millis() as u64);
        took * left_ms as u32 / SLOW_FOR_MS as u32
    }

    /// Notes that nothing more will come below an offset.
    pub fn nothing_below(&mut self, log: LogName, offset: Offset, now: Duration) {
        self.hear(now);
        let queue = &mut self.logs[log];
        if offset > queue.come_to {
            queue.come_to = offset;
            queue.moved_at = now;
        }
    }

    fn hear(&mut self, now: Duration) {
        if now.saturating_sub(self.heard_at) > SILENCE {
            self.heard_since = now;
        }
        self.heard_at = now;
    }

    /// Where a log that isn't at its end has stopped, and since when.
    pub fn stopped(&self, log: LogName) -> Option<(Offset, Duration)> {
        let queue = &self.logs[log];
        (queue.come_to < queue.end).then_some((queue.come_to, queue.moved_at))
    }

    /// What of a log is kept here, as [`Run::weight_bytes`] counts it.
    pub fn bytes(&self, log: LogName) -> usize {
        self.logs[log].bytes
    }

    /// Where the next record of a log to be added will be, or behind it.
    pub fn come_to(&self, log: LogName) -> Offset {
        self.logs[log].come_to
    }

    /// Everything below has been taken, or never will be there.
    pub fn read_to(&self) -> Positions {
        PerLog::from_fn(|log| {
            let queue = &self.logs[log];
            queue.runs.front().and_then(|(run, _)| run.first()).map_or(queue.come_to, |record| record.offset)
        })
    }

    /// Takes the next records, as far as their order is settled.
    pub fn take(&mut self, limits: &Limits, now: Duration) -> Taken {
        let mut taken = Taken::default();
        let (mut records, mut bytes) = (limits.records_max, limits.bytes_max);
        while let Some((key, log)) = self.earliest(None) {
            let until = self.held_until(log);
            if now < until {
                (taken.wait_until, taken.ask_at) = (Some(until), self.ask_at(log));
                break;
            }
            let bound = self.earliest(Some(log));
            let run =
                self.logs[log].take_below(key, bound.map(|(key, other)| (key, log < other)), records, bytes);
            // The first record comes however large it is.
            let run = if run.is_empty() && taken.runs.is_empty() { self.logs[log].take_one() } else { run };
            if run.is_empty() {
                break;
            }
            taken.out_of_turn += self.note_turn(key, &run);
            records -= run.len().min(records);
            bytes -= run.bytes().min(bytes);
            taken.runs.push(run);
        }
        taken
    }

    /// The log whose next record is the earliest, leaving one out.
    fn earliest(&self, but: Option<LogName>) -> Option<(i64, LogName)> {
        self.logs
            .iter()
            .filter(|(log, _)| Some(*log) != but)
            .filter_map(|(log, q)| Some((q.next_ms()?, log)))
            .min()
    }

    /// How long the next record of a log has to wait for logs that have nothing to offer.
    fn held_until(&self, log: LogName) -> Duration {
        let came = self.logs[log].runs.front().map_or(Duration::ZERO, |(_, came)| *came);
        // After a silence a record waits as if the others had moved at its end; one from before it, as if when it came itself.
        let back_at = self.heard_since.min(came);
        let others = self.without_offer(log).map(|queue| {
            if queue.come_to < queue.end {
                queue.moved_at.max(back_at) + STALLED
            } else if self.comes_before(log, queue.asked) {
                Duration::ZERO
            } else {
                queue.asked.at.max(back_at) + STALLED
            }
        });
        others.max().unwrap_or(Duration::ZERO)
    }

    /// From when on an answer would tell that the next record of a log comes before everything that hasn't come yet.
    fn ask_at(&self, log: LogName) -> Option<Duration> {
        let (_, came) = self.logs[log].runs.front()?;
        let is_open = self.without_offer(log).any(|queue| !self.comes_before(log, queue.asked));
        is_open.then_some(self.seen_at(*came))
    }

    /// Whether all of a log's first run is earlier than what is appended to other logs after that question.
    fn comes_before(&self, log: LogName, asked: Asked) -> bool {
        let queue = &self.logs[log];
        let Some((run, came)) = queue.runs.front() else { return false };
        let newest_ms = run.last().map_or(i64::MAX, |last| last.appended_ms.max(queue.reached_ms));
        let is_old = newest_ms.saturating_add(CLOCKS_APART_MS) <= asked.wall_ms;
        self.seen_at(*came) <= asked.at || is_old && self.shown_at <= asked.at
    }

    /// From when on everything can be seen that is earlier than what has come by then.
    fn seen_at(&self, came: Duration) -> Duration {
        let seen_after = (self.answers_take(came) * ANSWERS).clamp(SEEN_AFTER, SEEN_AFTER_MAX);
        self.shown_at.max(came + seen_after)
    }

    /// Says how many of these records others were taken before that belong behind them.
    fn note_turn(&mut self, key: i64, run: &Run) -> usize {
        let latest = self.taken;
        self.taken = latest.max(Some((self.logs[run.log].reached_ms.max(key), run.log)));
        if latest <= Some((key, run.log)) {
            return 0;
        }
        let is_late = |record: &Record<'_>| latest > Some((record.appended_ms.max(key), run.log));
        run.records().take_while(is_late).count()
    }

    fn without_offer(&self, but: LogName) -> impl Iterator<Item = &Queue> {
        self.logs
            .iter()
            .filter(move |(other, queue)| *other != but && queue.runs.is_empty())
            .map(|(_, queue)| queue)
    }
}

impl Queue {
    fn next_ms(&self) -> Option<i64> {
        let record = self.runs.front()?.0.first()?;
        Some(record.appended_ms.max(self.reached_ms))
    }

    /// For how long at least these records could not be seen: their log has been asked since, and didn't tell of them.
    fn hidden(&self, run: &Run) -> Duration {
        let is_new = |record: &Record<'_>| record.offset >= self.end;
        if run.has_producer_time() || !run.last().is_some_and(|last| is_new(&last)) {
            return Duration::ZERO;
        }
        let hidden_ms = run
            .records()
            .find(is_new)
            .map_or(0, |first| self.asked.wall_ms.saturating_sub(first.appended_ms));
        Duration::from_millis(hidden_ms.clamp(0, HIDDEN_MAX_MS) as u64)
    }

    /// Cuts off what is earlier than `bound`, or as early where a tie is ours, of the first run.
    fn take_below(
        &mut self,
        key: i64,
        bound: Option<(i64, bool)>,
        records_max: usize,
        bytes_max: usize,
    ) -> Run {
        let (run, _) = self.runs.front().expect("the earliest record has its run");
        let ours = |ms: i64| {
            bound.is_none_or(|(other_ms, tie_is_ours)| ms < other_ms || ms == other_ms && tie_is_ours)
        };
        let (mut reached_ms, mut bytes, mut count) = (key, 0, 0);
        for record in run.records().take(records_max) {
            bytes += record.bytes();
            let ms = record.appended_ms.max(reached_ms);
            if bytes > bytes_max || !ours(ms) {
                break;
            }
            (reached_ms, count) = (ms, count + 1);
        }
        self.reached_ms = reached_ms;
        self.cut(count)
    }

    fn take_one(&mut self) -> Run {
        self.cut(1)
    }

    fn cut(&mut self, count: usize) -> Run {
        let (run, _) = self.runs.front_mut().expect("the earliest record has its run");
        let front = run.split_front(count);
        if run.is_empty() {
            self.runs.pop_front();
        }
        self.bytes -= front.weight_bytes();
        front
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Arena, Stamp};
    use super::*;
    use std::sync::Arc;

    const NOW: Duration = Duration::from_secs(100);
    const ALL: Limits = Limits { records_max: 1000, bytes_max: 1 << 20, wait_max: Duration::ZERO };

    fn run(log: LogName, first: u64, times_ms: &[i64]) -> Run {
        let mut arena = Arena::default();
        for (n, ms) in times_ms.iter().enumerate() {
            arena.push(Offset(first + n as u64), Stamp::Appended { ms: *ms }, None, Some(b"0123456789"), []);
        }
        Run::whole(log, Arc::new(arena))
    }

    /// A question that was asked now.
    fn asked(now: Duration) -> Asked {
        Asked { at: now, wall_ms: 0 }
    }

    /// What has come, and all logs' ends were asked for afterwards.
    fn merge(runs: &[Run]) -> Merge {
        let mut merge = Merge::new(Positions::default(), Positions::default(), asked(NOW));
        runs.iter().for_each(|run| merge.add(run.clone(), NOW - SEEN_AFTER));
        merge
    }

    /// Nothing more is there.
    fn answer(merge: &mut Merge, at: Duration) {
        LogName::ALL.into_iter().for_each(|log| merge.reaches(log, Offset(0), asked(at), at));
    }

    fn order(taken: &Taken) -> Vec<(LogName, u64)> {
        taken.runs.iter().flat_map(Run::records).map(|record| (record.log, record.offset.0)).collect()
    }

    use LogName::{Catalog, Commands, Usage};

    #[test]
    fn the_earliest_comes_first_and_a_tie_goes_by_log() {
        let mut merge =
            merge(&[run(Usage, 0, &[10, 20, 30]), run(Commands, 7, &[20, 25]), run(Catalog, 3, &[30])]);
        let taken = merge.take(&ALL, NOW);
        assert_eq!(
            order(&taken),
            [(Usage, 0), (Commands, 7), (Usage, 1), (Commands, 8), (Catalog, 3), (Usage, 2)]
        );
        assert_eq!(merge.read_to()[Usage], Offset(3));
        assert_eq!(merge.bytes(Usage), 0);
    }

    #[test]
    fn a_clock_that_steps_back_changes_no_order_within_a_log() {
        let mut merge = merge(&[run(Usage, 0, &[10, 5, 6]), run(Commands, 0, &[7, 11])]);
        assert_eq!(
            order(&merge.take(&ALL, NOW)),
            [(Commands, 0), (Usage, 0), (Usage, 1), (Usage, 2), (Commands, 1)]
        );
    }

    #[test]
    fn a_record_waits_until_the_other_logs_were_asked_after_it_came() {
        let mut merge = merge(&[]);
        merge.add(run(Usage, 0, &[10]), NOW);
        let taken = merge.take(&ALL, NOW);
        assert_eq!((order(&taken), taken.ask_at), (vec![], Some(NOW + SEEN_AFTER)));
        answer(&mut merge, NOW + SEEN_AFTER - Duration::from_nanos(1));
        assert!(merge.take(&ALL, NOW + SEEN_AFTER).runs.is_empty(), "it was asked too soon");
        answer(&mut merge, NOW + SEEN_AFTER);
        assert_eq!(order(&merge.take(&ALL, NOW + SEEN_AFTER)), [(Usage, 0)]);
    }

    #[test]
    fn where_answers_take_long_a_record_waits_longer() {
        let slow = Duration::from_millis(60);
        let mut merge = merge(&[]);
        merge.answered(slow, NOW);
        merge.add(run(Usage, 0, &[10]), NOW);
        assert_eq!(merge.take(&ALL, NOW).ask_at, Some(NOW + 3 * slow));
        answer(&mut merge, NOW + slow);
        assert!(merge.take(&ALL, NOW + slow).runs.is_empty(), "it was asked too soon");
        answer(&mut merge, NOW + 3 * slow);
        assert_eq!(order(&merge.take(&ALL, NOW + 3 * slow)), [(Usage, 0)]);
        let (soon, later) =
            (NOW + Duration::from_millis(SLOW_FOR_MS / 3), NOW + Duration::from_millis(SLOW_FOR_MS));
        merge.answered(Duration::from_millis(1), soon);
        merge.add(run(Usage, 1, &[20]), soon);
        assert_eq!(merge.take(&ALL, soon).ask_at, Some(soon + 2 * slow));
        answer(&mut merge, soon + 2 * slow);
        assert_eq!(order(&merge.take(&ALL, soon + 2 * slow)), [(Usage, 1)]);
        merge.add(run(Usage, 2, &[30]), later);
        assert_eq!(merge.take(&ALL, later).ask_at, Some(later + SEEN_AFTER));
    }

    #[test]
    fn what_an_answer_tells_of_is_waited_for() {
        let mut merge = merge(&[run(Usage, 0, &[10])]);
        merge.reaches(Commands, Offset(1), asked(NOW), NOW);
        let taken = merge.take(&ALL, NOW + Duration::from_secs(1));
        assert_eq!((order(&taken), taken.ask_at), (vec![], None));
        let soon = NOW + Duration::from_secs(1);
        merge.add(run(Commands, 0, &[9]), soon);
        assert!(merge.take(&ALL, soon).runs.is_empty(), "what came later waits for another answer");
        answer(&mut merge, soon + SEEN_AFTER);
        assert_eq!(order(&merge.take(&ALL, soon + SEEN_AFTER)), [(Commands, 0), (Usage, 0)]);
    }

    #[test]
    fn who_was_hidden_for_long_waits_as_long_for_what_may_be_hidden_still() {
        let mut merge = merge(&[]);
        let told = Asked { at: NOW + Duration::from_millis(1), wall_ms: 5_000 };
        LogName::ALL.into_iter().for_each(|log| merge.reaches(log, Offset(0), told, NOW));
        let came = NOW + Duration::from_millis(100);
        merge.add(run(Usage, 0, &[3_000, 4_000]), came);
        let shown_at = came + Duration::from_secs(2);
        assert_eq!(merge.take(&ALL, came).ask_at, Some(shown_at));
        answer(&mut merge, came + SEEN_AFTER);
        assert!(merge.take(&ALL, shown_at).runs.is_empty(), "a command may be hidden as long");
        merge.add(run(Commands, 0, &[3_500]), shown_at - SEEN_AFTER);
        answer(&mut merge, shown_at);
        assert_eq!(order(&merge.take(&ALL, shown_at)), [(Usage, 0), (Commands, 0), (Usage, 1)]);
    }

    #[test]
    fn what_was_hidden_for_longer_than_clocks_are_apart_is_no_backlog() {
        let mut merge = merge(&[]);
        let told = Asked { at: NOW + Duration::from_millis(1), wall_ms: 14_000 };
        LogName::ALL.into_iter().for_each(|log| merge.reaches(log, Offset(0), told, NOW));
        let came = NOW + Duration::from_millis(100);
        merge.add(run(Usage, 0, &[2_000]), came);
        let shown_at = came + Duration::from_secs(12);
        let again = Asked { at: came + SEEN_AFTER, wall_ms: 14_110 };
        LogName::ALL.into_iter().for_each(|log| merge.reaches(log, Offset(0), again, again.at));
        assert!(merge.take(&ALL, shown_at).runs.is_empty(), "a command may be hidden as long");
        answer(&mut merge, shown_at);
        assert_eq!(order(&merge.take(&ALL, shown_at)), [(Usage, 0)]);
    }

    #[test]
    fn who_is_seen_late_but_was_told_of_waits_no_longer() {
        let mut merge = merge(&[]);
        let told = Asked { at: NOW, wall_ms: 5_000 };
        merge.reaches(Usage, Offset(1), told, NOW);
        merge.add(run(Usage, 0, &[3_000, 5_000]), NOW);
        assert_eq!(merge.take(&ALL, NOW).ask_at, Some(NOW + SEEN_AFTER));
    }

    #[test]
    fn a_backlog_waits_for_nobody() {
        let mut merge = merge(&[]);
        let (wall_ms, late) = (1_000_000, NOW * 2);
        let told = Asked { at: late, wall_ms };
        LogName::ALL.into_iter().for_each(|log| merge.reaches(log, Offset(0), told, late));
        merge.reaches(Usage, Offset(2), told, late);
        merge.add(run(Usage, 0, &[wall_ms - CLOCKS_APART_MS]), late);
        assert_eq!(order(&merge.take(&ALL, late)), [(Usage, 0)]);
        merge.add(run(Usage, 1, &[wall_ms - CLOCKS_APART_MS + 1]), late);
        assert!(merge.take(&ALL, late).runs.is_empty());
    }

    #[test]
    fn where_nobody_answers_records_go_on_after_a_while_and_what_comes_late_is_counted() {
        let mut merge = merge(&[]);
        merge.add(run(Usage, 0, &[10, 11]), NOW);
        assert_eq!(merge.take(&ALL, NOW).wait_until, Some(NOW + STALLED));
        let later = NOW + STALLED;
        assert_eq!(merge.take(&ALL, later).out_of_turn, 0);
        merge.add(run(Commands, 0, &[9, 12]), later);
        let later = later + STALLED;
        let taken = merge.take(&ALL, later);
        assert_eq!((order(&taken), taken.out_of_turn), (vec![(Commands, 0), (Commands, 1)], 1));
        merge.add(run(Commands, 2, &[13]), later);
        assert_eq!(merge.take(&ALL, later + STALLED).out_of_turn, 0);
    }

    #[test]
    fn after_a_silence_of_all_logs_each_is_waited_for_anew() {
        let mut merge = merge(&[]);
        merge.reaches(Commands, Offset(1), asked(NOW), NOW);
        let back = NOW + 2 * STALLED;
        merge.add(run(Usage, 0, &[10]), back);
        assert_eq!(merge.take(&ALL, back).wait_until, Some(back + STALLED));
        merge.add(run(Commands, 0, &[9]), back + SEEN_AFTER);
        answer(&mut merge, back + 2 * SEEN_AFTER);
        assert_eq!(order(&merge.take(&ALL, back + 2 * SEEN_AFTER)), [(Commands, 0), (Usage, 0)]);
    }

    #[test]
    fn nobody_waits_for_ever_where_little_comes() {
        let mut merge = merge(&[run(Usage, 0, &[10])]);
        merge.reaches(Commands, Offset(5), asked(NOW), NOW);
        for n in 1..=10 {
            merge.add(run(Usage, n, &[10]), NOW + 2 * SILENCE * n as u32);
        }
        assert_eq!(order(&merge.take(&ALL, NOW + STALLED)), [(Usage, 0)]);
        assert_eq!(order(&merge.take(&ALL, NOW + STALLED + 2 * SILENCE)), [(Usage, 1)]);
    }

    #[test]
    fn a_log_that_stands_still_while_others_are_heard_of_is_waited_for_once() {
        let mut merge = merge(&[run(Usage, 0, &[10])]);
        merge.reaches(Commands, Offset(5), asked(NOW), NOW);
        let mut now = NOW;
        while now < NOW + STALLED {
            assert!(merge.take(&ALL, now).runs.is_empty());
            now += SILENCE;
            merge.reaches(Usage, Offset(1), asked(now), now);
        }
        assert_eq!(order(&merge.take(&ALL, now)), [(Usage, 0)]);
    }

    #[test]
    fn a_log_that_is_not_at_its_end_is_waited_for_while_it_moves() {
        let mut merge = merge(&[run(Usage, 0, &[10])]);
        merge.reaches(Catalog, Offset(5), asked(NOW), NOW);
        let soon = NOW + Duration::from_millis(5);
        assert_eq!(merge.take(&ALL, soon).wait_until, Some(NOW + STALLED));
        merge.add(run(Catalog, 0, &[1, 2]), soon);
        let taken = merge.take(&ALL, NOW + STALLED);
        assert_eq!(order(&taken), [(Catalog, 0), (Catalog, 1)], "usage still waits");
        merge.nothing_below(Catalog, Offset(5), NOW + STALLED);
        assert_eq!(merge.read_to()[Catalog], Offset(5));
        answer(&mut merge, NOW + STALLED);
        assert_eq!(order(&merge.take(&ALL, NOW + STALLED)), [(Usage, 0)]);
    }

    #[test]
    fn a_log_that_stopped_short_of_its_end_is_not_waited_for_for_ever() {
        let mut merge = merge(&[run(Usage, 0, &[10])]);
        merge.reaches(Commands, Offset(5), asked(NOW), NOW);
        assert!(merge.take(&ALL, NOW).runs.is_empty());
        assert_eq!(merge.stopped(Commands), Some((Offset(0), NOW)));
        assert_eq!(order(&merge.take(&ALL, NOW + STALLED)), [(Usage, 0)]);
    }

    #[test]
    fn a_batch_keeps_to_its_limits_but_never_stands_still() {
        let mut merge = merge(&[run(Usage, 0, &[1, 2, 3]), run(Commands, 0, &[2])]);
        let two = Limits { records_max: 2, ..ALL };
        assert_eq!(order(&merge.take(&two, NOW)), [(Usage, 0), (Commands, 0)]);
        assert_eq!(merge.read_to()[Usage], Offset(1));
        let small = Limits { bytes_max: 1, ..ALL };
        assert_eq!(order(&merge.take(&small, NOW)), [(Usage, 1)]);
        assert_eq!(order(&merge.take(&ALL, NOW)), [(Usage, 2)]);
    }

    #[test]
    fn gaps_are_read_over() {
        let mut merge = merge(&[run(Usage, 4, &[1]), run(Usage, 9, &[2])]);
        assert_eq!(merge.read_to()[Usage], Offset(4));
        assert_eq!(order(&merge.take(&Limits { records_max: 1, ..ALL }, NOW)), [(Usage, 4)]);
        assert_eq!(merge.read_to()[Usage], Offset(9));
    }
}
