//! What is to be done when. Nearly all of it concerns one thing that has a number, and takes sixteen bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::books::Due;
use super::instant::Instant;

#[derive(Default)]
pub(super) struct Deadlines {
    usual: BinaryHeap<Reverse<(Instant, Duty)>>,
    other: BinaryHeap<Reverse<(Instant, Due)>>,
}

/// A duty that comes with time, as it is kept until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Duty {
    Begin(u32),
    /// Which period ends follows from the instant.
    PeriodEnd(u32),
    Finalize(u32),
    Tell(u32),
    Refresh(u32),
    WillBeDue(u32),
    Overdue(u32),
}

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Come {
    /// Every period of a subscription that ends at this instant.
    PeriodEnds {
        subscription: u32,
        at: Instant,
    },
    Other(Due),
}

impl Deadlines {
    pub(super) fn push(&mut self, at: Instant, due: Due) {
        let duty = match due {
            Due::ParkingOver(_) | Due::Unbillable(..) => return self.other.push(Reverse((at, due))),
            Due::Begin(number) => Duty::Begin(number),
            Due::PeriodEnd { subscription, .. } => Duty::PeriodEnd(subscription),
            Due::Finalize(number) => Duty::Finalize(number),
            Due::Tell(number) => Duty::Tell(number),
            Due::Refresh(number) => Duty::Refresh(number),
            Due::WillBeDue(number) => Duty::WillBeDue(number),
            Due::Overdue(number) => Duty::Overdue(number),
        };
        self.usual.push(Reverse((at, duty)));
    }

    /// The instant of the next duty.
    pub(super) fn next(&self) -> Option<Instant> {
        match (self.usual.peek(), self.other.peek()) {
            (Some(Reverse((usual, _))), Some(Reverse((other, _)))) => Some(*usual.min(other)),
            (Some(Reverse((at, _))), None) => Some(*at),
            (None, other) => other.map(|Reverse((at, _))| *at),
        }
    }

    /// Takes one of the duties that have come by then.
    pub(super) fn pop(&mut self, until: Instant) -> Option<Come> {
        if self.other.peek().is_some_and(|Reverse((at, _))| *at <= until) {
            return self.other.pop().map(|Reverse((_, due))| Come::Other(due));
        }
        let Reverse((at, duty)) = *self.usual.peek().filter(|Reverse((at, _))| *at <= until)?;
        self.usual.pop();
        Some(Come::Other(match duty {
            Duty::PeriodEnd(subscription) => return Some(Come::PeriodEnds { subscription, at }),
            Duty::Begin(number) => Due::Begin(number),
            Duty::Finalize(number) => Due::Finalize(number),
            Duty::Tell(number) => Due::Tell(number),
            Duty::Refresh(number) => Due::Refresh(number),
            Duty::WillBeDue(number) => Due::WillBeDue(number),
            Duty::Overdue(number) => Due::Overdue(number),
        }))
    }

    /// Makes room for so many more, and no more than that.
    pub(super) fn reserve(&mut self, count: usize) {
        self.usual.reserve_exact(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_deadline_takes_sixteen_bytes() {
        assert_eq!(size_of::<(Instant, Duty)>(), 16);
    }

    #[test]
    fn what_has_come_by_then_is_taken_whatever_it_is() {
        let mut deadlines = Deadlines::default();
        deadlines.push(Instant(3), Due::Overdue(1));
        deadlines.push(Instant(2), Due::ParkingOver(7));
        deadlines.push(Instant(1), Due::PeriodEnd { subscription: 4, ordinal: 9 });
        assert_eq!(deadlines.next(), Some(Instant(1)));
        assert_eq!(deadlines.pop(Instant(0)), None);
        let come: Vec<Come> = std::iter::from_fn(|| deadlines.pop(Instant(2))).collect();
        let ends = Come::PeriodEnds { subscription: 4, at: Instant(1) };
        assert_eq!(come, [Come::Other(Due::ParkingOver(7)), ends]);
        assert_eq!(deadlines.next(), Some(Instant(3)));
    }
}
