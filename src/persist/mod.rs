//! Made durable, once: the port [`Ledger`], and what promises to be behind it.
//!
//! A ledger holds the documents of a shard under text keys. It knows nothing of billing. One owner at a time
//! writes a shard, and every write is one commit that happens whole or not at all.

mod connect;
mod fence;
pub mod health;
pub mod key;
pub mod memory;
pub mod reading;
pub mod redis;
pub mod schema;
pub mod settings;

use std::fmt;

/// A partition of the usage topic, and all that belongs to the customers whose keys hash there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an owner writes when it takes a shard over: 128 bits nobody has drawn before, compared for equality only.
///
/// Every claim gets a new one. A number that only grows would not do: after a rewind of the store it repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u128);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// How many commits a shard has had. Each commit expects the number that it found, and adds one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommitNo(pub u64);

impl CommitNo {
    pub fn next(self) -> CommitNo {
        CommitNo(self.0 + 1)
    }
}

impl fmt::Display for CommitNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an owner found when it claimed a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The token that stood there. If it is the caller's own last one and `commit` is the number the caller knows,
    /// nobody has written since, and what the caller holds in memory still holds; else everything is read again.
    pub previous: Option<Token>,
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

/// The most documents that one commit may write; a caller with more makes several commits.
pub const COMMIT_DOCUMENTS_MAX: usize = 500_000;

/// What went wrong, named for what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerError {
    /// The store is away, or refuses, or went back under us, or nobody knows whether the step happened. Make sure that
    /// the shard is still yours, claim again, and believe what the claim finds.
    Unavailable(String),
    /// Another owner has the shard: stop writing it. If the shard is yours all the same (a store that went back to an
    /// earlier owner's token looks like this), it may be claimed again.
    Fenced,
    /// The store holds something that can't be: stop and call someone.
    Corrupt(String),
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerError::Unavailable(why) => write!(f, "the ledger is unavailable: {why}"),
            LedgerError::Fenced => write!(f, "another owner has taken the shard over"),
            LedgerError::Corrupt(why) => write!(f, "the ledger can't be trusted: {why}"),
        }
    }
}

impl std::error::Error for LedgerError {}

/// The durable record of one shard, as one owner sees it.
///
/// An owner works on a connection of its own, and its token is good on that connection only. After `Unavailable` or
/// `Fenced`, or a call that was dropped before it answered, the token is void: everything but `claim` answers the same
/// again, until the owner has made sure that the shard is still its own, and claims.
pub trait Ledger: Send {
    /// Takes the shard over: writes `token` into it, so that no earlier owner's commit takes effect any more.
    fn claim(&mut self, token: Token) -> impl Future<Output = Result<Claim, LedgerError>> + Send;

    /// Reads documents, in the order asked for; `None` where there is none.
    ///
    /// `Ok` means that the shard was the caller's from the claim until after the last of them was read, so they all
    /// stem from the caller's last commit.
    fn read(
        &mut self,
        keys: &[String],
    ) -> impl Future<Output = Result<Vec<Option<Vec<u8>>>, LedgerError>> + Send;

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

    /// Removes documents that nothing refers to any more. It may happen twice, in part, or be lost, but never once
    /// another owner has the shard.
    fn forget(&mut self, keys: &[String]) -> impl Future<Output = Result<(), LedgerError>> + Send;
}

/// Where the ledgers of all shards are kept.
pub trait Store: Clone + Send + Sync + 'static {
    type Ledger: Ledger + 'static;

    /// The ledger of one shard, for one owner. Nothing is asked of the store before the first claim.
    fn ledger(&self, shard: ShardId) -> Self::Ledger;
}
