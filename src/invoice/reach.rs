//! How far back the books remember.
//!
//! Ids, and sealed periods that late usage may still reach, are kept for the longest lateness limit that was ever in
//! force, for one that was shortened may come back. A limit that is longer than all before finds older ids gone, all of
//! them at that moment: otherwise an id would be gone or not by how full a table is, and by who keeps it.

use super::books::Books;
use super::instant::{Instant, Span};

impl Books {
    /// The first instant whose usage isn't too late now.
    pub(super) fn horizon(&self) -> Instant {
        self.now.minus(self.settings.lateness_limit.exact())
    }

    /// The first instant that may still be asked for, whichever limit comes.
    pub(super) fn reach(&self) -> Instant {
        self.now.minus(self.longest_limit)
    }

    /// A lateness limit comes into force.
    pub(super) fn reach_back(&mut self, limit: Span) {
        if limit > self.longest_limit {
            let reach = self.reach();
            self.ids.forget_before(reach);
            self.keeping.forget_ids_before(reach);
            self.forget_commands_before(reach);
            self.longest_limit = limit;
        }
    }
}
