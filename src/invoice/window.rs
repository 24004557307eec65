//! One period of a subscription: its usage, and the invoice that bills it.

use std::ops::Deref;
use std::sync::Arc;

use super::aggregate::Buckets;
use super::books::{Carried, Held, Sealing};
use super::instant::Instant;
use super::period::{End, Period};
use super::rare::{Blank, Rare};
use crate::planted::{self, Bug};

/// What many windows have alike: when their period runs, and by which plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    pub period: Period,
    /// The boundary, or the cut that comes before it.
    pub to: Instant,
    pub end: End,
    pub plan: u32,
    /// How the period was planned when it started, where it came otherwise (R73).
    pub planned: Option<(Instant, End)>,
}

impl Deref for Window {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.frame
    }
}

/// One period's usage and its invoice: accruing while the period runs, then a draft, then sealed.
pub struct Window {
    pub ordinal: u32,
    /// One more than the number of its invoice, if it has one; and [`NOT_ON_DRAFT`].
    billing: u32,
    pub(super) frame: Arc<Frame>,
    pub usage: Buckets,
    pub rare: Rare<WindowRare>,
}

/// What is paid of the base fee isn't as the draft says it.
const NOT_ON_DRAFT: u32 = 1 << 31;

/// What few windows have that aren't sealed.
#[derive(Default)]
pub struct WindowRare {
    prepaid_cents: Option<i128>,
    /// Late usage that this window's invoice carries, period by period.
    pub carries: Vec<Carried>,
    pub sealed: Option<Sealing>,
    /// Usage at the period's first instant, as long as the clock stands there: a plan may still change under it.
    pub fresh: Vec<Held>,
}

impl Blank for WindowRare {
    const BLANK: &'static WindowRare =
        &WindowRare { prepaid_cents: None, carries: Vec::new(), sealed: None, fresh: Vec::new() };
}

impl Window {
    pub(super) fn new(ordinal: u32, frame: Arc<Frame>) -> Window {
        Window { ordinal, billing: 0, frame, usage: Buckets::default(), rare: Rare::default() }
    }

    /// The number of its invoice.
    pub fn bill(&self) -> Option<u32> {
        (self.billing & !NOT_ON_DRAFT).checked_sub(1)
    }

    pub fn bill_by(&mut self, number: u32) {
        assert!(number + 1 < NOT_ON_DRAFT, "a shard has fewer than two billion invoices");
        self.billing = self.billing & NOT_ON_DRAFT | (number + 1);
    }

    pub fn is_sealed(&self) -> bool {
        self.rare.sealed.is_some()
    }

    /// Its invoice is still to be made.
    pub fn is_to_be_billed(&self) -> bool {
        self.bill().is_none() && !self.is_sealed()
    }

    pub fn prepaid(&self) -> Prepaid {
        match (self.billing & NOT_ON_DRAFT, self.rare.prepaid_cents) {
            (0, _) => Prepaid::OnDraft,
            (_, None) => Prepaid::Nothing,
            (_, Some(cents)) => Prepaid::Cents(cents),
        }
    }

    pub fn prepay(&mut self, prepaid: Prepaid) {
        self.billing &= !NOT_ON_DRAFT;
        if prepaid != Prepaid::OnDraft {
            self.billing |= NOT_ON_DRAFT;
        }
        if let Prepaid::Cents(cents) = prepaid {
            self.rare.prepaid_cents = Some(cents);
        } else if self.rare.prepaid_cents.is_some() {
            self.rare.prepaid_cents = None;
        }
    }

    /// How the period was planned when it started: where it was to end, and why there.
    pub fn planned(&self) -> (Instant, End) {
        self.planned.unwrap_or((self.to, self.end))
    }

    /// Whether the period ends otherwise than was planned. To end at its boundary after all is no cut (R73).
    pub fn is_cut(&self) -> bool {
        self.planned.is_some_and(|(to, _)| to != self.to || to != self.period.boundary)
    }

    /// Lets the period end elsewhere than was planned.
    pub fn end_at(&mut self, to: Instant, end: End) {
        let planned = self.planned();
        let planned = (planned != (to, end)).then_some(planned);
        self.frame = Arc::new(Frame { to, end, planned, ..Frame::clone(self) });
    }

    pub fn contains(&self, at: Instant) -> bool {
        self.period.from <= at && (at < self.to || at == self.to && planted::is(Bug::PeriodEndIsClosed))
    }

    /// A period of no length and without usage has no invoice, and takes no late usage (R36). What lies on it is fresh:
    /// the clock hasn't moved since it began.
    pub fn is_void(&self) -> bool {
        let is_carrier = self.rare.carries.iter().any(|carried| carried.events() > 0);
        self.period.from == self.to && self.rare.fresh.is_empty() && !is_carrier
    }
}

/// What is paid of a period's base fee before its own invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepaid {
    /// Nothing: the plan wasn't paid in advance when it could have been.
    Nothing,
    /// As the draft that was made when the period started says, if the plan is paid in advance.
    OnDraft,
    /// These cents, on an invoice that is sealed, or that somebody else made.
    Cents(i128),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_little_room() {
        assert_eq!(size_of::<Window>(), 40);
    }
}
