//! Bugs on purpose. A test that is green with one of them switched on would not notice it in earnest.
//!
//! Without the feature `planted-bugs` none of this is in the program: every question is answered with a constant no.
//! With it, a thread chooses its bug while it runs.

/// What can be broken, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A former owner's commit is taken.
    NoFence,
    /// An owner is known by a number alone, one more than its predecessor's: after a rewind it is given again.
    NumericEpochOnly,
    /// The position is committed, and then what was read up to it.
    PositionBeforeState,
    /// What was read is committed, and then the position.
    PositionApartFromState,
    /// Ids of events live in memory alone.
    IdsNotKept,
    /// An id is free again when its period is sealed.
    IdsDroppedAtFinalization,
    /// Ids are held for half the time in which their events could come again.
    IdWindowTooShort,
    /// What a former owner committed and didn't send is forgotten.
    OutboxNotResumed,
    /// Notices go out while their commit is under way.
    NoticeBeforeCommit,
    /// Deadlines fire by the clock on the wall, whatever is still unread.
    DeadlineOnWallClock,
    /// Deadlines are forgotten when a shard is opened.
    DeadlineNotDerivedOnOpen,
    /// Late usage goes on the invoice that is sealed.
    LateUsageIntoSealed,
    /// An entity's new grace dates no draft anew.
    RedatingIgnoresEntity,
    /// A customer's grace of 0 counts as none.
    GraceZeroIsUnset,
    /// A period's end belongs to it.
    PeriodEndIsClosed,
    /// A value that was seen twice counts twice.
    UniqueCountSummed,
    /// Late usage is priced without the usage that it came to.
    IncrementPricedAlone,
    /// Every currency has two digits.
    CurrencyExponentIgnored,
    /// Invoices are overdue at midnight in UTC.
    OverdueByUtc,
    /// An invoice that is paid stays overdue.
    OverdueNotCleared,
    /// What belongs to another shard is sent there twice.
    ForwardedTwice,
    /// Who has never read a log begins at its end.
    LatestOnOffsetReset,
    /// Usage between the commits of a great many duties is decided by the state that is found.
    AheadByState,
    /// Usage overtakes commands of its own customer.
    AheadOfCommands,
    /// Which usage was decided ahead of its turn is forgotten when a shard is opened.
    AheadForgotten,
    /// Drafts that are still to follow a record don't when a shard is opened.
    FollowingForgotten,
}

impl Bug {
    pub const ALL: [Bug; 26] = [
        Bug::NoFence,
        Bug::NumericEpochOnly,
        Bug::PositionBeforeState,
        Bug::PositionApartFromState,
        Bug::IdsNotKept,
        Bug::IdsDroppedAtFinalization,
        Bug::IdWindowTooShort,
        Bug::OutboxNotResumed,
        Bug::NoticeBeforeCommit,
        Bug::DeadlineOnWallClock,
        Bug::DeadlineNotDerivedOnOpen,
        Bug::LateUsageIntoSealed,
        Bug::RedatingIgnoresEntity,
        Bug::GraceZeroIsUnset,
        Bug::PeriodEndIsClosed,
        Bug::UniqueCountSummed,
        Bug::IncrementPricedAlone,
        Bug::CurrencyExponentIgnored,
        Bug::OverdueByUtc,
        Bug::OverdueNotCleared,
        Bug::ForwardedTwice,
        Bug::LatestOnOffsetReset,
        Bug::AheadByState,
        Bug::AheadOfCommands,
        Bug::AheadForgotten,
        Bug::FollowingForgotten,
    ];
}

/// Whether this bug is in the program.
#[cfg(not(feature = "planted-bugs"))]
#[inline]
pub const fn is(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
pub use switch::{is, plant};

#[cfg(feature = "planted-bugs")]
mod switch {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this bug is in what the thread runs.
    pub fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Lets the thread run with this bug from now on, or with none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }
}
