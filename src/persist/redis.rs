//! The ledger in Redis: a commit is one `MSET`, guarded by a watch on the shard's record.
//!
//! An owner's connection rests inside an empty transaction: the shard's key is watched, its header was seen to be the
//! owner's after the watch began, and `MULTI` was answered. A commit sends `MSET` and `EXEC`, and in the same round trip
//! all that makes the connection rest again. `EXEC` does nothing if anybody wrote the shard's key since the watch
//! began, and since `MULTI` was answered before the `MSET` is sent, the `MSET` can't run outside of the transaction,
//! not even where the server refuses commands.
//!
//! It is one `MSET`, since Redis writes that to its append-only file as one command, which a crash keeps or loses whole.
//! A transaction of several writes, or a script, it can bring back by half.

use super::connect::{Connection, Nodes};
use super::fence::{Standing, not_a_record, refusal, unexpected};
use super::schema::{self, HEADER_BYTES_MAX, Header, Keyspace, ShardRecord, TOKEN_AT};
use super::settings::{RedisSettings, SettingsError};
use super::{COMMIT_DOCUMENTS_MAX, Claim, CommitNo, Ledger, LedgerError, ShardId, Store, Token, Write};
use redis::{Arg, Cmd, Pipeline, Value};
use std::sync::Arc;

/// The ledgers of all shards in one Redis: a single node, behind Sentinel, or a cluster.
#[derive(Clone)]
pub struct RedisStore {
    nodes: Arc<Nodes>,
    prefix: String,
}

impl RedisStore {
    /// Reads the settings; nothing is asked of Redis yet.
    pub fn new(settings: &RedisSettings) -> Result<RedisStore, SettingsError> {
        settings.check_prefix()?;
        Ok(RedisStore { nodes: Arc::new(Nodes::new(settings)?), prefix: settings.prefix.clone() })
    }
}

impl Store for RedisStore {
    type Ledger = RedisLedger;

    fn ledger(&self, shard: ShardId) -> RedisLedger {
        self.ledger_of(Keyspace::new(&self.prefix, shard))
    }
}

impl RedisStore {
    /// A ledger on keys that no shard and no other probe has.
    pub(super) fn probe(&self, token: Token) -> RedisLedger {
        self.ledger_of(Keyspace::tagged(&self.prefix, &format!("probe-{token}")))
    }

    /// Where a shard's keys are, and how to get there.
    pub(super) fn place_of(&self, shard: ShardId) -> (Arc<Nodes>, Keyspace) {
        (Arc::clone(&self.nodes), Keyspace::new(&self.prefix, shard))
    }

    fn ledger_of(&self, keys: Keyspace) -> RedisLedger {
        let shard_key = keys.shard_key();
        RedisLedger { nodes: Arc::clone(&self.nodes), keys, shard_key, standing: Standing::unclaimed() }
    }
}

/// One owner's view of one shard in Redis.
pub struct RedisLedger {
    nodes: Arc<Nodes>,
    keys: Keyspace,
    shard_key: String,
    standing: Standing<Held>,
}

/// A connection at rest, and the header that it watches.
struct Held {
    connection: Connection,
    header: Header,
}

/// How many commands bring a connection to rest.
const REST_COMMANDS: usize = 3;

/// How much one request for documents should bring.
const REQUEST_BYTES: usize = 8 << 20;

/// What became of one write.
enum Written {
    /// It happened; the connection rests again, or here is why it doesn't.
    Yes(Result<(), LedgerError>),
    /// It didn't: somebody wrote the shard's key after we last saw it, and now it begins like this.
    Overtaken(Vec<u8>),
}

impl Ledger for RedisLedger {
    async fn claim(&mut self, token: Token) -> Result<Claim, LedgerError> {
        // Only where there is no record yet can another claim overtake this one; then there is one.
        const TRIES_MAX: usize = 3;
        self.standing = Standing::unclaimed();
        for _ in 0..TRIES_MAX {
            let claimed = self.try_claim(token).await;
            if let Some(claim) = self.standing.after(claimed)? {
                return Ok(claim);
            }
        }
        Err(LedgerError::Unavailable(format!("{} comes and goes", self.shard_key)))
    }

    async fn read(&mut self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        let mut held = self.standing.take()?;
        let read = self.read_all(&mut held, keys).await;
        let documents = self.standing.after(read)?;
        self.standing = Standing::Held(held);
        Ok(documents)
    }

    async fn commit(
        &mut self,
        expected: CommitNo,
        record: &[u8],
        writes: &[Write],
    ) -> Result<(), LedgerError> {
        assert!(
            writes.len() <= COMMIT_DOCUMENTS_MAX,
            "a commit holds at most {COMMIT_DOCUMENTS_MAX} documents"
        );
        let held = self.standing.take()?;
        if expected != held.header.commit {
            return self.standing.after(Err(unexpected(expected, held.header)));
        }
        let next = Header { commit: expected.next(), ..held.header };
        let record = schema::shard_bytes(next.token, next.commit, record);
        let command = self.mset(&record, writes);
        self.write(held, next, command).await
    }

    async fn forget(&mut self, keys: &[String]) -> Result<(), LedgerError> {
        const UNLINK_KEYS_MAX: usize = 10_000;
        for keys in keys.chunks(UNLINK_KEYS_MAX) {
            let held = self.standing.take()?;
            let mut command = redis::cmd("UNLINK");
            for key in keys {
                command.arg(self.keys.document_key(key));
            }
            let same = held.header;
            self.write(held, same, command).await?;
        }
        Ok(())
    }
}

impl RedisLedger {
    /// Removes the record, and so gives up the shard: only for what never was one.
    pub(super) async fn remove_record(&mut self) -> Result<(), LedgerError> {
        let held = self.standing.take()?;
        let mut command = redis::cmd("UNLINK");
        command.arg(&self.shard_key);
        let same = held.header;
        self.write(held, same, command).await
    }

    /// `None` if the shard got its first record while we looked.
    async fn try_claim(&mut self, token: Token) -> Result<Option<Claim>, LedgerError> {
        let (mut connection, found) = self.look().await?;
        let claim = match found {
            None => self.put_first_record(&mut connection, token).await?,
            Some(_) => Some(self.put_token(&mut connection, token).await?),
        };
        if let Some(claim) = &claim {
            let header = Header { token, commit: claim.commit };
            self.standing = Standing::Held(Held { connection, header });
        }
        Ok(claim)
    }

    async fn put_first_record(
        &self,
        connection: &mut Connection,
        token: Token,
    ) -> Result<Option<Claim>, LedgerError> {
        let commit = CommitNo(0);
        let record = ShardRecord { token, commit, record: None };
        let command = self.mset(&record.to_bytes(), &[]);
        match self.execute(connection, Header { token, commit }, command).await? {
            Written::Overtaken(_) => Ok(None),
            Written::Yes(rests) => rests.map(|()| Some(Claim { previous: None, commit, record: None })),
        }
    }

    /// Puts the token where the last owner's is, whatever else the record says by then.
    ///
    /// A claim that compared the whole record first would lose against an owner that commits without a pause.
    async fn put_token(&self, connection: &mut Connection, token: Token) -> Result<Claim, LedgerError> {
        let mut commands = redis::pipe();
        commands.cmd("EXEC").cmd("MULTI");
        commands.cmd("GETRANGE").arg(&self.shard_key).arg(0).arg(HEADER_BYTES_MAX - 1);
        commands.cmd("SETRANGE").arg(&self.shard_key).arg(TOKEN_AT).arg(token.to_string());
        commands.cmd("EXEC").cmd("WATCH").arg(&self.shard_key);
        commands.cmd("GET").arg(&self.shard_key).cmd("MULTI");
        let answers = connection.ask(&commands, 0).await?;
        let [_, _, _, queued, executed, watch, get, multi] = answers.as_slice() else {
            return Err(connection.unavailable("answers are missing"));
        };
        let before = match executed {
            Value::Array(done) if matches!(done.as_slice(), [_, Value::Int(_)]) => &done[0],
            Value::ServerError(_) => return Err(unlike(connection, "SETRANGE", queued)),
            answer => return Err(unlike(connection, "EXEC", answer)),
        };
        let before =
            Header::of(&self.header_bytes(connection, before)?).map_err(|_| not_a_record(&self.shard_key))?;
        expect_ok(connection, "WATCH", watch)?;
        let Value::BulkString(now) = get else { return Err(self.unreadable(connection, get)) };
        let now = ShardRecord::parse(now).map_err(|_| not_a_record(&self.shard_key))?;
        if now.token != token {
            return Err(LedgerError::Fenced);
        }
        expect_ok(connection, "MULTI", multi)?;
        Ok(Claim { previous: Some(before.token), commit: now.commit, record: now.record })
    }

    /// Finds the shard's node and reads the record there, watched, with a transaction begun.
    async fn look(&self) -> Result<(Connection, Option<ShardRecord>), LedgerError> {
        const REDIRECTIONS_MAX: usize = 5;
        let mut look = redis::pipe();
        look.cmd("WATCH").arg(&self.shard_key).cmd("GET").arg(&self.shard_key).cmd("MULTI");

        let mut connection = self.nodes.connect().await?;
        for _ in 0..REDIRECTIONS_MAX {
            let answers = connection.ask(&look, 0).await?;
            if let Some(place) = moved_to(&answers[0]) {
                connection = self.nodes.connect_instead(&connection, place).await?;
                continue;
            }
            expect_ok(&connection, "WATCH", &answers[0])?;
            let found = match &answers[1] {
                Value::Nil => None,
                Value::BulkString(bytes) => {
                    Some(ShardRecord::parse(bytes).map_err(|_| not_a_record(&self.shard_key))?)
                }
                answer => return Err(self.unreadable(&connection, answer)),
            };
            expect_ok(&connection, "MULTI", &answers[2])?;
            return Ok((connection, found));
        }
        Err(connection
            .unavailable(&format!("{} was moved more than {REDIRECTIONS_MAX} times", self.shard_key)))
    }

    fn mset(&self, record: &[u8], writes: &[Write]) -> Cmd {
        let bytes: usize =
            writes.iter().map(|write| self.shard_key.len() + write.key.len() + write.bytes.len()).sum();
        let mut command =
            Cmd::with_capacity(3 + 2 * writes.len(), self.shard_key.len() + record.len() + bytes + 4);
        command.arg("MSET").arg(&self.shard_key).arg(record);
        for write in writes {
            command.arg(self.keys.document_key(&write.key)).arg(&write.bytes);
        }
        command
    }

    /// Carries out one write as the owner, whose header is `next` afterwards.
    async fn write(&mut self, held: Held, next: Header, command: Cmd) -> Result<(), LedgerError> {
        let Held { mut connection, header } = held;
        let written = self.execute(&mut connection, next, command).await;
        match self.standing.after(written)? {
            Written::Overtaken(found) => self.standing.after(Err(refusal(&self.shard_key, header, &found))),
            Written::Yes(rests) => {
                // What is wrong with the connection now doesn't undo the write; the next call will hear of it.
                if self.standing.after(rests).is_ok() {
                    self.standing = Standing::Held(Held { connection, header: next });
                }
                Ok(())
            }
        }
    }

    /// Sends one write command into the transaction that is open, ends it, and brings the connection to rest.
    async fn execute(
        &self,
        connection: &mut Connection,
        next: Header,
        command: Cmd,
    ) -> Result<Written, LedgerError> {
        let bytes = bytes_of(&command);
        let mut commands = redis::pipe();
        commands.add_command(command).cmd("EXEC");
        self.add_rest(&mut commands);
        let answers = connection.ask(&commands, bytes).await?;
        let [queued, executed, rest @ ..] = answers.as_slice() else {
            return Err(connection.unavailable("answers are missing"));
        };
        match (executed, queued) {
            (Value::Array(done), _) if matches!(done.as_slice(), [Value::Okay | Value::Int(_)]) => {
                Ok(Written::Yes(self.expect_rest(connection, next, rest)))
            }
            (Value::Nil, _) => Ok(Written::Overtaken(self.header_bytes(connection, &rest[1])?)),
            // The server threw the transaction away whole, and here says why.
            (Value::ServerError(_), Value::ServerError(_)) => Err(unlike(connection, "a write", queued)),
            _ => Err(unlike(connection, "EXEC", executed)),
        }
    }

    /// Watches the shard's key, looks whose it is after that, and begins the next transaction: [`REST_COMMANDS`].
    fn add_rest(&self, commands: &mut Pipeline) {
        commands.cmd("WATCH").arg(&self.shard_key);
        commands.cmd("GETRANGE").arg(&self.shard_key).arg(0).arg(HEADER_BYTES_MAX - 1);
        commands.cmd("MULTI");
    }

    fn expect_rest(
        &self,
        connection: &Connection,
        held: Header,
        answers: &[Value],
    ) -> Result<(), LedgerError> {
        let [watch, range, multi] = answers else {
            return Err(connection.unavailable("answers are missing"));
        };
        expect_ok(connection, "WATCH", watch)?;
        let found = self.header_bytes(connection, range)?;
        if !found.starts_with(held.to_string().as_bytes()) {
            return Err(refusal(&self.shard_key, held, &found));
        }
        expect_ok(connection, "MULTI", multi)
    }

    fn header_bytes(&self, connection: &Connection, answer: &Value) -> Result<Vec<u8>, LedgerError> {
        match answer {
            Value::BulkString(bytes) => Ok(bytes.clone()),
            answer => Err(self.unreadable(connection, answer)),
        }
    }

    /// The shard's key can't be read. If it is no string, that's not the server's fault.
    fn unreadable(&self, connection: &Connection, answer: &Value) -> LedgerError {
        match answer {
            Value::ServerError(error) if error.code() == "WRONGTYPE" => not_a_record(&self.shard_key),
            answer => unlike(connection, "GET", answer),
        }
    }

    /// Reads in requests that are small enough for server and client, learning from each how large documents are.
    async fn read_all(&self, held: &mut Held, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        const REQUEST_KEYS_MAX: usize = 20_000;
        let mut documents = Vec::with_capacity(keys.len());
        let (mut rest, mut bytes, mut size) = (keys, 0, 1_000);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(size.min(rest.len()));
            bytes += self.read_some(held, now, &mut documents).await?;
            size = (REQUEST_BYTES / (bytes / documents.len()).max(1)).clamp(1, REQUEST_KEYS_MAX);
            rest = later;
        }
        Ok(documents)
    }

    /// One round trip; answers how many bytes came.
    async fn read_some(
        &self,
        held: &mut Held,
        keys: &[String],
        documents: &mut Vec<Option<Vec<u8>>>,
    ) -> Result<usize, LedgerError> {
        // Short commands let the server serve other shards in between.
        const MGET_KEYS_MAX: usize = 1_000;
        let mut commands = redis::pipe();
        // Ending the empty transaction tells whether anybody wrote the shard's key since the watch began.
        commands.cmd("EXEC").cmd("WATCH").arg(&self.shard_key);
        for keys in keys.chunks(MGET_KEYS_MAX) {
            let mut command = redis::cmd("MGET");
            for key in keys {
                command.arg(self.keys.document_key(key));
            }
            commands.add_command(command);
        }
        self.add_rest(&mut commands);
        let connection = &mut held.connection;
        let mut answers = connection.ask(&commands, REQUEST_BYTES).await?;

        let rest = answers.split_off(answers.len() - REST_COMMANDS);
        match &answers[0] {
            Value::Array(done) if done.is_empty() => self.expect_rest(connection, held.header, &rest)?,
            Value::Nil => {
                let found = self.header_bytes(connection, &rest[1])?;
                return Err(refusal(&self.shard_key, held.header, &found));
            }
            answer => return Err(unlike(connection, "EXEC", answer)),
        }
        let mut bytes = 0;
        for answer in answers.drain(2..) {
            let Value::Array(values) = answer else {
                return Err(unlike(connection, "MGET", &answer));
            };
            for value in values {
                let document = match value {
                    Value::BulkString(document) => Some(document),
                    Value::Nil => None,
                    value => return Err(unlike(connection, "MGET", &value)),
                };
                bytes += document.as_ref().map_or(0, Vec::len);
                documents.push(document);
            }
        }
        Ok(bytes)
    }
}

fn bytes_of(command: &Cmd) -> usize {
    let bytes = |argument| match argument {
        Arg::Simple(bytes) => <[u8]>::len(bytes),
        _ => 0,
    };
    command.args_iter().map(bytes).sum()
}

/// Where a node of a cluster says that the key is, as `host:port`.
pub(super) fn moved_to(answer: &Value) -> Option<&str> {
    match answer {
        Value::ServerError(error) if error.code() == "MOVED" => error.details()?.split(' ').nth(1),
        _ => None,
    }
}

fn expect_ok(connection: &Connection, command: &str, answer: &Value) -> Result<(), LedgerError> {
    match answer {
        Value::Okay => Ok(()),
        answer => Err(unlike(connection, command, answer)),
    }
}

/// The server refused, or answered in a way that no server does.
pub(super) fn unlike(connection: &Connection, command: &str, answer: &Value) -> LedgerError {
    match answer {
        Value::ServerError(error) => LedgerError::Unavailable(connection.refused(command, error)),
        Value::Array(answers) if let [answer @ Value::ServerError(_)] = answers.as_slice() => {
            unlike(connection, command, answer)
        }
        _ => connection.unavailable(&format!("answered {command} with something else")),
    }
}
