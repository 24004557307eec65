//! How long a draft still takes usage.

use super::books::{Bill, BillKind, Books};
use super::calendar::plus_duration;
use super::document::Reason;
use super::instant::Instant;
use crate::catalog::duration::Duration;
use crate::catalog::plan::Plan;
use crate::planted::{self, Bug};

/// Who says how long a grace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Nobody: such an invoice has none.
    None,
    /// The invoice that opens the subscription of a customer who is charged automatically.
    ChargedAtOnce,
    Customer,
    Rule,
    Entity,
    Settings,
    /// None of those that are set fits the plan.
    NothingFits,
}

/// The grace that counts for an invoice as the catalog stands now (R41–R43).
pub(super) fn of_bill(books: &Books, bill: &Bill) -> Duration {
    with_source(books, bill).0
}

pub(super) fn with_source(books: &Books, bill: &Bill) -> (Duration, Source) {
    let Some((_, window)) = books.window_of(bill) else { return (Duration::ZERO, Source::None) };
    let plan = &books.prices_of(window.plan).plan;
    effective(books, bill, plan)
}

/// When an invoice is finalized if nobody does it before: the end of its period and the grace.
pub(super) fn finalizes_at(books: &Books, bill: &Bill) -> Instant {
    let Some(from) = counted_from(books, bill) else { return books.now };
    plus_duration(from, of_bill(books, bill), books.zone_of(bill.customer))
}

/// The end of the invoice's period; for an opening invoice the start of the one it bills in advance.
fn counted_from(books: &Books, bill: &Bill) -> Option<Instant> {
    let (_, window) = books.window_of(bill)?;
    Some(match bill.kind {
        BillKind::Opening { .. } => window.period.from,
        _ => window.to,
    })
}

fn effective(books: &Books, bill: &Bill, plan: &Plan) -> (Duration, Source) {
    let customer = &books.customers.get(bill.customer).terms;
    let is_opening = matches!(bill.kind, BillKind::Opening { .. });
    if is_opening && customer.charged_automatically {
        return (Duration::ZERO, Source::ChargedAtOnce);
    }
    let entity = books.entity_of(bill.customer);
    let is_set = |grace: &Duration| !planted::is(Bug::GraceZeroIsUnset) || *grace != Duration::ZERO;
    let fits = |grace: &Duration| plan.interval.fits(*grace);
    let said = [
        (customer.grace.filter(is_set), Source::Customer),
        (longest_rule(books, bill, plan), Source::Rule),
        (entity.grace.filter(fits), Source::Entity),
        (Some(books.settings.default_grace).filter(fits), Source::Settings),
    ];
    let found = said.into_iter().find_map(|(grace, source)| Some((grace?, source)));
    found.unwrap_or((Duration::ZERO, Source::NothingFits))
}

/// The rule that holds, fits, and leads to the latest instant; of equal ones the first.
fn longest_rule(books: &Books, bill: &Bill, plan: &Plan) -> Option<Duration> {
    let is_cycle = bill.reason() == Some(Reason::Periodic);
    let is_metered = plan.is_metered() && bill.reason() != Some(Reason::Starting);
    let from = counted_from(books, bill)?;
    let zone = books.zone_of(bill.customer);
    let mut longest: Option<(Instant, Duration)> = None;
    for rule in &books.entity_of(bill.customer).grace_rules {
        let holds = (is_cycle || !rule.cycle_only) && (is_metered || !rule.metered_only);
        if holds && plan.interval.fits(rule.delay) {
            let until = plus_duration(from, rule.delay, zone);
            if longest.is_none_or(|(latest, _)| until > latest) {
                longest = Some((until, rule.delay));
            }
        }
    }
    longest.map(|(_, delay)| delay)
}
