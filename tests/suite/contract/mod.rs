//! What a port promises, checked on every adapter behind it.

mod ledger;
mod ledger_in_memory;
