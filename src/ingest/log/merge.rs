//! One order for five logs.
//!
//! The next record is the one with the earliest append time; at a tie the log decides, in the order of [`LogName`]. A
//! log that has nothing to offer might still have something earlier under way, so the others wait for it: a moment if
//! it is believed to be at its end, until it gets there if it is known not to be, but not if it has stopped moving.
//! What comes later than that takes effect when it comes.

use super::{Limits, LogName, Offset, PerLog, Positions, Run};
use std::collections::VecDeque;
use std::time::Duration;

/// How long a record waits for other logs that seem to be at their ends.
pub const TOGETHER: Duration = Duration::from_millis(5);

/// The same for a log from which something came lately: where records go back and forth, more will come, and on a busy
/// machine a fetch takes longer than a moment.
pub const TOGETHER_IF_LIVELY: Duration = Duration::from_millis(30);

/// How long a log is lively after something came.
pub const LIVELY: Duration = Duration::from_secs(10);

/// How long a log that isn't at its end is waited for after it last moved.
pub const STALLED: Duration = Duration::from_secs(20);

/// What has been read and not been taken yet. Times are counted from wherever the caller likes, but never go back.
#[derive(Debug)]
pub struct Merge {
    logs: PerLog<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    runs: VecDeque<(Run, Duration)>,
    bytes: usize,
    /// Everything below has come, or never will.
    come_to: Offset,
    /// It reaches at least so far.
    end: Offset,
    moved_at: Duration,
    /// When something last came from it.
    came_at: Option<Duration>,
    /// The latest append time so far. A broker's clock may step back; its log's order doesn't.
    reached_ms: i64,
}

/// What can be taken now.
#[derive(Debug, Default)]
pub struct Taken {
    pub runs: Vec<Run>,
    /// When there may be more without anything having come, if something is held back.
    pub wait_until: Option<Duration>,
}

impl Merge {
    pub fn new(from: Positions, ends: Positions, now: Duration) -> Merge {
        let logs = PerLog::from_fn(|log| Queue {
            come_to: from[log],
            end: ends[log],
            moved_at: now,
            reached_ms: i64::MIN,
            ..Queue::default()
        });
        Merge { logs }
    }

    /// Adds what was read of a log, behind what was read of it before.
    pub fn add(&mut self, run: Run, now: Duration) {
        let Some(last) = run.last().map(|record| record.offset) else { return };
        let queue = &mut self.logs[run.log];
        assert!(run.first().is_some_and(|first| first.offset >= queue.come_to), "a log is read in its order");
        queue.come_to = last.next();
        queue.moved_at = now;
        queue.came_at = Some(now);
        queue.bytes += run.weight_bytes();
        queue.runs.push_back((run, now));
    }

    /// Notes that a log reaches at least so far.
    pub fn reaches(&mut self, log: LogName, end: Offset, now: Duration) {
        let queue = &mut self.logs[log];
        if queue.come_to >= queue.end {
            queue.moved_at = now;
        }
        queue.end = queue.end.max(end);
    }

    /// Notes that nothing more will come below an offset.
    pub fn nothing_below(&mut self, log: LogName, offset: Offset, now: Duration) {
        let queue = &mut self.logs[log];
        if offset > queue.come_to {
            queue.come_to = offset;
            queue.moved_at = now;
        }
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
                taken.wait_until = Some(until);
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
        let others = self.logs.iter().filter(|(other, queue)| *other != log && queue.runs.is_empty());
        let until = others.map(|(_, queue)| {
            if queue.come_to < queue.end {
                return queue.moved_at + STALLED;
            }
            let is_lively = queue.came_at.is_some_and(|at| came < at + LIVELY);
            came + if is_lively { TOGETHER_IF_LIVELY } else { TOGETHER }
        });
        until.max().unwrap_or(Duration::ZERO)
    }
}

impl Queue {
    fn next_ms(&self) -> Option<i64> {
        let record = self.runs.front()?.0.first()?;
        Some(record.appended_ms.max(self.reached_ms))
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

    fn merge(runs: &[Run]) -> Merge {
        let mut merge = Merge::new(Positions::default(), Positions::default(), Duration::ZERO);
        runs.iter().for_each(|run| merge.add(run.clone(), NOW - TOGETHER_IF_LIVELY));
        merge
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
    fn a_record_waits_a_moment_for_logs_at_their_ends() {
        let mut merge = merge(&[]);
        merge.add(run(Usage, 0, &[10]), NOW);
        let taken = merge.take(&ALL, NOW);
        assert_eq!((order(&taken), taken.wait_until), (vec![], Some(NOW + TOGETHER)));
        merge.add(run(Commands, 0, &[9]), NOW);
        assert_eq!(order(&merge.take(&ALL, NOW + TOGETHER_IF_LIVELY)), [(Commands, 0), (Usage, 0)]);
    }

    #[test]
    fn a_log_from_which_something_came_lately_is_waited_for_longer() {
        let mut merge = merge(&[run(Commands, 0, &[1])]);
        assert_eq!(order(&merge.take(&ALL, NOW)), [(Commands, 0)]);
        merge.add(run(Usage, 0, &[10]), NOW);
        assert_eq!(merge.take(&ALL, NOW + TOGETHER).wait_until, Some(NOW + TOGETHER_IF_LIVELY));
        let later = NOW + LIVELY;
        assert_eq!(order(&merge.take(&ALL, later)), [(Usage, 0)]);
        merge.add(run(Usage, 1, &[11]), later);
        assert_eq!(order(&merge.take(&ALL, later + TOGETHER)), [(Usage, 1)]);
    }

    #[test]
    fn a_log_that_is_not_at_its_end_is_waited_for_while_it_moves() {
        let mut merge = merge(&[run(Usage, 0, &[10])]);
        merge.reaches(Catalog, Offset(5), NOW);
        assert_eq!(merge.take(&ALL, NOW + TOGETHER).wait_until, Some(NOW + STALLED));
        merge.add(run(Catalog, 0, &[1, 2]), NOW + TOGETHER);
        let taken = merge.take(&ALL, NOW + STALLED);
        assert_eq!(order(&taken), [(Catalog, 0), (Catalog, 1)], "usage still waits");
        merge.nothing_below(Catalog, Offset(5), NOW + STALLED);
        assert_eq!(merge.read_to()[Catalog], Offset(5));
        assert_eq!(order(&merge.take(&ALL, NOW + STALLED)), [(Usage, 0)]);
    }

    #[test]
    fn a_log_that_stopped_short_of_its_end_is_not_waited_for_for_ever() {
        let mut merge = merge(&[run(Usage, 0, &[10])]);
        merge.reaches(Commands, Offset(5), NOW);
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
