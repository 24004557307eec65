//! Made durable, once: the port [`Ledger`], and what promises to be behind it.
//!
//! A ledger holds the documents of a shard under text keys. It knows nothing of billing. One owner at a time
//! writes a shard, and every write is one commit that happens whole or not at all.

use std::fmt;

/// A partition of the usage topic, and all that belongs to the customers whose keys hash there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

/// What an owner writes when it takes a shard over: unique for every claim, compared for equality only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(pub String);

/// How many commits a shard has had. Each commit expects the number that it found, and adds one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommitNo(pub u64);

/// What an owner found when it claimed a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub commit: CommitNo,
    /// The shard's record as the last commit left it; `None` if the shard has never been committed.
    pub record: Option<Vec<u8>>,
}

/// One document to write, by its key inside the shard (the ledger adds prefix and hash tag).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub key: String,
    pub bytes: Vec<u8>,
}

/// What went wrong, named for what the caller does next.
#[derive(Debug)]
pub enum LedgerError {
    /// Nothing is known of the outcome, or the store is away: claim again when it answers.
    Unavailable(String),
    /// Another owner has the shard: stop.
    Fenced,
    /// The store holds something that can't be, or is set up so that it may lose it: stop and call someone.
    Corrupt(String),
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerError::Unavailable(why) => write!(f, "the ledger does not answer: {why}"),
            LedgerError::Fenced => write!(f, "another owner has taken the shard over"),
            LedgerError::Corrupt(why) => write!(f, "the ledger can't be trusted: {why}"),
        }
    }
}

impl std::error::Error for LedgerError {}

/// The durable record of one shard, as one owner sees it.
///
/// An owner works on a connection of its own. After any `Unavailable` its token is void: it makes sure that the shard
/// is still its own, and claims again.
pub trait Ledger: Send {
    /// Takes the shard over: writes `token` into it, so that no earlier owner's commit takes effect any more.
    fn claim(&mut self, token: &Token) -> impl Future<Output = Result<Claim, LedgerError>> + Send;

    /// Reads documents, in the order asked for; `None` where there is none.
    fn read(&mut self, keys: &[String]) -> impl Future<Output = Result<Vec<Option<Vec<u8>>>, LedgerError>> + Send;

    /// Writes everything and `record`, or nothing. `expected` is the number of the commit before this one.
    ///
    /// `Ok` means durable as far as the store's settings go; `Fenced` and `Corrupt` mean that nothing was written;
    /// `Unavailable` means that nobody knows.
    fn commit(
        &mut self,
        expected: CommitNo,
        record: &[u8],
        writes: &[Write],
    ) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Removes documents that nothing refers to any more. It may happen twice, and may be lost.
    fn forget(&mut self, keys: &[String]) -> impl Future<Output = Result<(), LedgerError>> + Send;
}
