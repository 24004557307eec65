//! The fence: how an owner stands towards its shard, and what it means when something else stands in the record.

use super::schema::Header;
use super::{CommitNo, LedgerError};
use std::mem;

/// What an owner may do. `H` is what it needs for that: the connection on which its token is good.
#[derive(Debug)]
pub(super) enum Standing<H> {
    Held(H),
    /// It may do nothing but claim, and this is why.
    Lost(LedgerError),
}

impl<H> Standing<H> {
    pub(super) fn unclaimed() -> Standing<H> {
        Standing::Lost(LedgerError::Unavailable("the shard has not been claimed".to_owned()))
    }

    /// Hands out what is held, and holds nothing until it is given back: a call that is dropped half-way leaves the
    /// owner without a claim.
    pub(super) fn take(&mut self) -> Result<H, LedgerError> {
        let dropped =
            LedgerError::Unavailable("an earlier call was dropped before it was answered".to_owned());
        match mem::replace(self, Standing::Lost(dropped)) {
            Standing::Held(held) => Ok(held),
            Standing::Lost(why) => {
                *self = Standing::Lost(why.clone());
                Err(why)
            }
        }
    }

    /// Keeps in mind what went wrong, and passes the answer on.
    pub(super) fn after<T>(&mut self, answer: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if let Err(why) = &answer {
            *self = Standing::Lost(why.clone());
        }
        answer
    }
}

/// The caller has another number in mind than the ledger that it claimed.
pub(super) fn unexpected(expected: CommitNo, held: Header) -> LedgerError {
    let held = held.commit;
    LedgerError::Unavailable(format!("commit {expected} was expected, the shard is at {held}: claim again"))
}

/// Tells why the record `found` under `key` is not the one that is `held`.
pub(super) fn refusal(key: &str, held: Header, found: &[u8]) -> LedgerError {
    if found.is_empty() {
        return LedgerError::Unavailable(format!("{key} is gone, it was at commit {}", held.commit));
    }
    match Header::of(found) {
        Err(_) => not_a_record(key),
        Ok(found) if found.token != held.token => LedgerError::Fenced,
        Ok(found) if found.commit != held.commit => LedgerError::Unavailable(format!(
            "{key} was moved from commit {} to {} under its owner",
            held.commit, found.commit
        )),
        Ok(_) => LedgerError::Unavailable(format!("{key} was touched under its owner")),
    }
}

pub(super) fn not_a_record(key: &str) -> LedgerError {
    LedgerError::Corrupt(format!("{key} holds something that no owner wrote"))
}
