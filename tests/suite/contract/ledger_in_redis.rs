//! The ledger in Redis keeps the contract, on one node. `REDIS_URL` names a server to use; without it each test starts
//! its own. What breaks a server is always done to one of our own.

use super::ledger::{self, BreakableWorld, World, facts, facts_of_breaking};
use super::redis_server::{Accident, Files, Proxy, Server, ask_on, connect};
use graceline::persist::ShardId;
use graceline::persist::redis::RedisStore;
use graceline::persist::schema::Keyspace;
use graceline::persist::settings::RedisSettings;
use redis::Value;
use redis::aio::MultiplexedConnection;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Mutex;

/// A Redis that somebody runs: one node or several, behind whatever settings.
pub(super) struct Redis {
    settings: RedisSettings,
    store: RedisStore,
    /// Where a shard may be, for what is done past the ledger.
    nodes: Vec<String>,
    /// It cleans up when it goes.
    _guest: Option<Guest>,
}

impl Redis {
    pub(super) fn new(settings: RedisSettings, nodes: Vec<String>) -> Redis {
        let store = RedisStore::new(&settings).unwrap();
        Redis { settings, store, nodes, _guest: None }
    }

    /// The server that `REDIS_URL` names, if any.
    fn outside() -> Option<Redis> {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let url = std::env::var("REDIS_URL").ok()?;
        let world = WORLDS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("graceline-suite-{}-{world}", std::process::id());
        let mut redis = Redis::new(RedisSettings { prefix: prefix.clone(), ..to(&url) }, vec![url.clone()]);
        redis._guest = Some(Guest { url, prefix });
        Some(redis)
    }

    /// A connection to the node that holds the shard.
    async fn node_of(&self, shard: ShardId) -> MultiplexedConnection {
        let key = self.keys(shard).shard_key();
        for url in &self.nodes {
            let mut connection = connect(url).await;
            if !matches!(ask_on(&mut connection, &["TYPE", &key]).await.unwrap(), Value::ServerError(_)) {
                return connection;
            }
        }
        panic!("no node holds {key}");
    }

    fn keys(&self, shard: ShardId) -> Keyspace {
        Keyspace::new(&self.settings.prefix, shard)
    }
}

/// Settings for a server at `url`, and the defaults.
pub(super) fn to(url: &str) -> RedisSettings {
    RedisSettings { url: url.to_owned(), ..RedisSettings::default() }
}

impl World for Redis {
    type Store = RedisStore;
    type Mark = BTreeMap<Vec<u8>, Vec<u8>>;

    fn store(&self) -> RedisStore {
        self.store.clone()
    }

    fn fresh_shard(&self) -> ShardId {
        static USED: AtomicU32 = AtomicU32::new(0);
        ShardId(USED.fetch_add(1, Ordering::Relaxed))
    }

    async fn plant(&self, shard: ShardId, document: &str, bytes: &[u8]) {
        let key = match document {
            "shard" => self.keys(shard).shard_key(),
            document => self.keys(shard).document_key(document),
        };
        let mut set = redis::cmd("SET");
        set.arg(key).arg(bytes);
        assert_eq!(self.node_of(shard).await.send_packed_command(&set).await.unwrap(), Value::Okay);
    }

    async fn mark(&self, shard: ShardId) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut connection = self.node_of(shard).await;
        let pattern = self.keys(shard).document_key("*");
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
        let mut found = BTreeMap::new();
        for key in keys {
            let bytes = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
            found.insert(key, bytes);
        }
        found
    }

    async fn put_back(&self, shard: ShardId, mark: &BTreeMap<Vec<u8>, Vec<u8>>) {
        let now = self.mark(shard).await;
        let mut connection = self.node_of(shard).await;
        let mut commands = redis::pipe();
        commands.atomic();
        for key in now.keys() {
            commands.cmd("DEL").arg(key).ignore();
        }
        for (key, bytes) in mark {
            commands.cmd("SET").arg(key).arg(bytes).ignore();
        }
        commands.query_async::<()>(&mut connection).await.unwrap();
    }
}

/// Somebody else's server, in which we leave nothing behind.
struct Guest {
    url: String,
    prefix: String,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut connection = redis::Client::open(self.url.as_str()).unwrap().get_connection().unwrap();
        let pattern = format!("{}:*", self.prefix);
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg(pattern).query(&mut connection).unwrap();
        for keys in keys.chunks(1_000) {
            redis::cmd("UNLINK").arg(keys).exec(&mut connection).unwrap();
        }
    }
}

macro_rules! as_tests {
    ($($fact:ident,)*) => {$(
        #[tokio::test]
        async fn $fact() {
            match Redis::outside() {
                Some(redis) => ledger::$fact(&redis).await,
                None => ledger::$fact(&OwnRedis::new().await).await,
            }
        }
    )*};
}
facts!(as_tests);

macro_rules! as_tests_that_break {
    ($($fact:ident,)*) => {$(
        #[tokio::test]
        async fn $fact() {
            ledger::$fact(&OwnRedis::new().await).await;
        }
    )*};
}
facts_of_breaking!(as_tests_that_break);

/// Every fact, one after the other, for worlds that take long to make.
pub(super) async fn check_every_fact<W: World>(world: &W) {
    macro_rules! in_turn {
        ($($fact:ident,)*) => {$(
            eprintln!("{}", stringify!($fact));
            ledger::$fact(world).await;
        )*};
    }
    facts!(in_turn);
}

/// A server of our own, which can be killed, behind a way on which accidents happen.
pub(super) struct OwnRedis {
    redis: Redis,
    pub(super) server: Mutex<Server>,
    pub(super) proxy: Proxy,
}

impl OwnRedis {
    pub(super) async fn new() -> OwnRedis {
        let server = Server::durable().await;
        let proxy = Proxy::to(server.port()).await;
        let redis = Redis::new(to(&proxy.url()), vec![server.url()]);
        OwnRedis { redis, server: Mutex::new(server), proxy }
    }
}

impl World for OwnRedis {
    type Store = RedisStore;
    type Mark = BTreeMap<Vec<u8>, Vec<u8>>;

    fn store(&self) -> RedisStore {
        self.redis.store()
    }

    fn fresh_shard(&self) -> ShardId {
        self.redis.fresh_shard()
    }

    async fn plant(&self, shard: ShardId, document: &str, bytes: &[u8]) {
        self.redis.plant(shard, document, bytes).await;
    }

    async fn mark(&self, shard: ShardId) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.redis.mark(shard).await
    }

    async fn put_back(&self, shard: ShardId, mark: &BTreeMap<Vec<u8>, Vec<u8>>) {
        self.redis.put_back(shard, mark).await;
    }
}

impl BreakableWorld for OwnRedis {
    type Backup = Files;

    async fn restart(&self) {
        let mut server = self.server.lock().await;
        server.kill();
        server.start_again().await;
    }

    async fn backup(&self) -> Files {
        self.server.lock().await.log_files()
    }

    async fn restart_from(&self, backup: &Files) {
        let mut server = self.server.lock().await;
        server.kill();
        server.put_log_files(backup);
        server.start_again().await;
    }

    async fn lose_next_commit(&self, _: ShardId) {
        self.proxy.next(Accident::RequestLost);
    }

    async fn lose_next_answer(&self, _: ShardId) {
        self.proxy.next(Accident::AnswerLost);
    }
}
