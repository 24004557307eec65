//! The key schema: where the things of a shard are, and what its record looks like.
//!
//! Every key is `<prefix>:{<shard>}:<document>`. The braces are the hash tag: all of a shard lies in one slot of a
//! cluster, so one command can write it. `redis-cli GET graceline:{3}:shard` shows
//! `{"token":"0f…","commit":17,"record":{…}}`: who owns the shard, how many commits it has had, and the record that
//! the last one wrote.

use super::{CommitNo, ShardId, Token};
use std::fmt;

/// The document that is the ledger's own.
pub const SHARD_DOCUMENT: &str = "shard";

/// The keys of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyspace {
    head: String,
}

impl Keyspace {
    pub fn new(prefix: &str, shard: ShardId) -> Keyspace {
        Keyspace::tagged(prefix, &shard.to_string())
    }

    /// Keys that no shard has, under a tag that is no number.
    pub fn tagged(prefix: &str, tag: &str) -> Keyspace {
        Keyspace { head: format!("{prefix}:{{{tag}}}:") }
    }

    /// The key of the shard's record.
    pub fn shard_key(&self) -> String {
        format!("{}{SHARD_DOCUMENT}", self.head)
    }

    /// The key of a document that the caller named.
    pub fn document_key(&self, document: &str) -> String {
        assert!(document != SHARD_DOCUMENT, "the key `shard` is the ledger's own");
        format!("{}{document}", self.head)
    }
}

/// What a shard's key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRecord {
    pub token: Token,
    pub commit: CommitNo,
    /// The caller's bytes, JSON as a rule; `None` before the first commit.
    pub record: Option<Vec<u8>>,
}

impl ShardRecord {
    pub fn to_bytes(&self) -> Vec<u8> {
        shard_bytes(self.token, self.commit, self.record.as_deref().unwrap_or(b"null"))
    }

    /// Reads exactly what `to_bytes` writes, and nothing else.
    pub fn parse(bytes: &[u8]) -> Result<ShardRecord, NotAShardRecord> {
        let (Header { token, commit }, rest) = Header::split(bytes).ok_or(NotAShardRecord)?;
        let record = match (commit, rest.strip_suffix(b"}").ok_or(NotAShardRecord)?) {
            (CommitNo(0), b"null") => None,
            (CommitNo(0), _) => return Err(NotAShardRecord),
            (_, record) => Some(record.to_vec()),
        };
        Ok(ShardRecord { token, commit, record })
    }
}

/// The record as text, with the caller's part copied once.
pub fn shard_bytes(token: Token, commit: CommitNo, record: &[u8]) -> Vec<u8> {
    let mut bytes = Header { token, commit }.to_string().into_bytes();
    bytes.reserve_exact(record.len() + 1);
    bytes.extend_from_slice(record);
    bytes.push(b'}');
    bytes
}

/// The beginning of a shard's record, which says whose it is and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub token: Token,
    pub commit: CommitNo,
}

/// The first bytes of a record that always hold its header: three literals, 32 and up to 20 digits.
pub const HEADER_BYTES_MAX: usize = 83;

/// Where in a record the token begins: at the same place in all of them, so it can be replaced alone.
pub const TOKEN_AT: usize = 10;

impl Header {
    /// Reads the header from the first bytes of a record.
    pub fn of(start: &[u8]) -> Result<Header, NotAShardRecord> {
        Header::split(start).map(|(header, _)| header).ok_or(NotAShardRecord)
    }

    fn split(bytes: &[u8]) -> Option<(Header, &[u8])> {
        let rest = bytes.strip_prefix(br#"{"token":""#)?;
        let (token, rest) = rest.split_at_checked(32)?;
        let rest = rest.strip_prefix(br#"","commit":"#)?;
        let (commit, rest) = rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
        let rest = rest.strip_prefix(br#","record":"#)?;
        let header = Header {
            token: Token(u128::from_str_radix(std::str::from_utf8(token).ok()?, 16).ok()?),
            commit: CommitNo(std::str::from_utf8(commit).ok()?.parse().ok()?),
        };
        // What reads the same but is written otherwise (`007`, upper case) was not written by a ledger.
        bytes.starts_with(header.to_string().as_bytes()).then_some((header, rest))
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"{{"token":"{}","commit":{},"record":"#, self.token, self.commit)
    }
}

/// Somebody else wrote there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAShardRecord;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: Token = Token(0x0f);

    #[test]
    fn all_keys_of_a_shard_have_its_hash_tag() {
        let keys = Keyspace::new("graceline", ShardId(3));
        assert_eq!(keys.shard_key(), "graceline:{3}:shard");
        assert_eq!(keys.document_key("draft:a}{7}"), "graceline:{3}:draft:a}{7}");
    }

    #[test]
    #[should_panic(expected = "the key `shard` is the ledger's own")]
    fn no_document_takes_the_place_of_the_record() {
        Keyspace::new("graceline", ShardId(3)).document_key("shard");
    }

    #[test]
    fn a_record_is_readable() {
        let bytes = shard_bytes(TOKEN, CommitNo(17), br#"{"at":5}"#);
        let expected = r#"{"token":"0000000000000000000000000000000f","commit":17,"record":{"at":5}}"#;
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn the_token_is_at_its_place() {
        let bytes = shard_bytes(TOKEN, CommitNo(17), b"{}");
        assert_eq!(bytes[TOKEN_AT..TOKEN_AT + 32], *TOKEN.to_string().as_bytes());
    }

    #[test]
    fn the_longest_header_fits() {
        let longest = Header { token: Token(u128::MAX), commit: CommitNo(u64::MAX) };
        assert_eq!(longest.to_string().len(), HEADER_BYTES_MAX);
    }

    #[track_caller]
    fn check_garbage(text: &str) {
        assert_eq!(ShardRecord::parse(text.as_bytes()), Err(NotAShardRecord), "{text}");
    }

    #[test]
    fn anything_else_is_no_record() {
        check_garbage("");
        check_garbage("{}");
        check_garbage(r#"{"token":"0f","commit":1,"record":{}}"#);
        check_garbage(r#"{"token":"0000000000000000000000000000000F","commit":1,"record":{}}"#);
        check_garbage(r#"{"token":"+000000000000000000000000000000f","commit":1,"record":{}}"#);
        check_garbage(r#"{"token":"0000000000000000000000000000000f","commit":01,"record":{}}"#);
        check_garbage(r#"{"token":"0000000000000000000000000000000f","commit":,"record":{}}"#);
        check_garbage(r#"{"token":"0000000000000000000000000000000f","commit":-1,"record":{}}"#);
        check_garbage(
            r#"{"token":"0000000000000000000000000000000f","commit":18446744073709551616,"record":{}}"#,
        );
        check_garbage(r#"{"token":"0000000000000000000000000000000f","commit":0,"record":{}}"#);
        check_garbage(
            r#"{"token":"0000000000000000000000000000000f","commit":1,"record":{}"#.trim_end_matches('}'),
        );
        check_garbage(r#" {"token":"0000000000000000000000000000000f","commit":1,"record":{}}"#);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(token: u128, commit in 1u64.., record: Vec<u8>) {
            let written = ShardRecord { token: Token(token), commit: CommitNo(commit), record: Some(record) };
            prop_assert_eq!(ShardRecord::parse(&written.to_bytes()), Ok(written));
        }

        #[test]
        fn before_the_first_commit_there_is_no_record(token: u128) {
            let written = ShardRecord { token: Token(token), commit: CommitNo(0), record: None };
            prop_assert_eq!(ShardRecord::parse(&written.to_bytes()), Ok(written));
        }

        #[test]
        fn no_bytes_are_read_as_what_they_are_not(bytes: Vec<u8>) {
            if let Ok(read) = ShardRecord::parse(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }
    }
}
