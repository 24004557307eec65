//! Looks at Redis before any shard is taken over: is it there, does it let us in, will it keep what it is given.
//!
//! Each finding is one line that says what is wrong and what to do about it.

use super::connect::{Connection, Nodes, text_of};
use super::redis::RedisStore;
use super::settings::RedisSettings;
use super::{Ledger, LedgerError, Token, Write};
use redis::{Pipeline, Value};
use std::collections::BTreeMap;
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// It works, and loses more than it has to when something goes wrong.
    Warning,
    /// No shard may be opened on this.
    Error,
}

/// One thing that was found, at one node where it is about one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub line: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: redis {}", self.line)
    }
}

impl Finding {
    /// Whether waiting may help: the server is away, frozen, or busy with its start.
    pub fn may_pass(&self) -> bool {
        let says = |words: &[&str]| words.iter().any(|word| self.line.contains(word));
        says(&["can't be reached", "no answer within", "LOADING", "is still loading"])
            && !says(&["WRONGPASS", "NOAUTH", "NOPERM"])
    }
}

/// Checks every node that may hold shards, and with `probe`, a token nobody has drawn before, the rights we have there.
pub async fn check(settings: &RedisSettings, probe: Token) -> Vec<Finding> {
    let (store, nodes) = match (RedisStore::new(settings), Nodes::new(settings)) {
        (Ok(store), Ok(nodes)) => (store, nodes),
        (Err(why), _) | (_, Err(why)) => return vec![error(format!("can't be reached: {why}"))],
    };
    let first = match nodes.connect().await {
        Ok(connection) => connection,
        Err(why) => return vec![unreached(why)],
    };
    let mut findings = Vec::new();
    for mut connection in masters(&nodes, first, &mut findings).await {
        match Told::by(&mut connection).await {
            Ok(told) => findings.extend(judge(&connection.node(), &told)),
            Err(why) => findings.push(error(format!("does not tell about itself: {}", reason(why)))),
        }
    }
    if let Err(why) = rehearse(&store, probe).await {
        let line = format!(
            "does not let us commit: {}; docs/REDIS.md lists the rights that are needed",
            reason(why)
        );
        findings.push(error(line));
    }
    findings
}

fn error(line: String) -> Finding {
    Finding { severity: Severity::Error, line }
}

fn unreached(why: LedgerError) -> Finding {
    error(format!(
        "can't be reached: {}: see that it runs, and that redis.url names the right place and user",
        reason(why)
    ))
}

fn reason(error: LedgerError) -> String {
    match error {
        LedgerError::Unavailable(why) | LedgerError::Corrupt(why) => why,
        LedgerError::Fenced => "somebody else wrote the key of the probe".to_owned(),
    }
}

/// All nodes that hold slots; where there is no cluster, the one we are connected to.
async fn masters(nodes: &Nodes, mut first: Connection, findings: &mut Vec<Finding>) -> Vec<Connection> {
    let mut places: Vec<String> = match ask(&mut first, &["CLUSTER", "SLOTS"]).await {
        Ok(Value::Array(ranges)) => ranges.iter().filter_map(master_of).collect(),
        // A server on its own has no slots; whether we may ask is seen from what it tells about itself.
        _ => Vec::new(),
    };
    places.sort();
    places.dedup();
    if places.is_empty() {
        return vec![first];
    }
    let mut masters = Vec::new();
    for place in places {
        match nodes.connect_instead(&first, &place).await {
            Ok(master) => masters.push(master),
            Err(why) => findings.push(unreached(why)),
        }
    }
    masters
}

/// A range of slots is its first and last, its master, its replicas.
fn master_of(range: &Value) -> Option<String> {
    let Value::Array(range) = range else { return None };
    let Value::Array(master) = range.get(2)? else { return None };
    let Value::Int(port) = master.get(1)? else { return None };
    Some(format!("{}:{port}", master.first().and_then(text_of).unwrap_or_default()))
}

async fn ask(connection: &mut Connection, command: &[&str]) -> Result<Value, LedgerError> {
    let mut commands = Pipeline::new();
    commands.cmd(command[0]);
    for word in &command[1..] {
        commands.arg(*word);
    }
    Ok(connection.ask(&commands, 0).await?.swap_remove(0))
}

/// Does on keys of its own all that a shard's owner does, and removes them.
async fn rehearse(store: &RedisStore, probe: Token) -> Result<(), LedgerError> {
    let mut ledger = store.probe(probe);
    let key = "document".to_owned();
    // The first claim makes a record, the second one takes it over.
    ledger.claim(probe).await?;
    let claim = ledger.claim(probe).await?;
    ledger.commit(claim.commit, b"{}", &[Write { key: key.clone(), bytes: b"{}".to_vec() }]).await?;
    ledger.read(std::slice::from_ref(&key)).await?;
    ledger.forget(std::slice::from_ref(&key)).await?;
    ledger.remove_record().await
}

/// What a node tells about itself.
#[derive(Debug, Default)]
struct Told {
    /// `INFO`, by name.
    info: BTreeMap<String, String>,
    /// `CONFIG GET`, as far as we may ask.
    config: BTreeMap<String, String>,
    /// `CLUSTER INFO`, in a cluster.
    cluster: BTreeMap<String, String>,
}

const CONFIG: [&str; 3] = ["appendfsync", "min-replicas-to-write", "timeout"];

impl Told {
    async fn by(connection: &mut Connection) -> Result<Told, LedgerError> {
        let mut told = Told::default();
        match ask(connection, &["INFO"]).await? {
            Value::ServerError(refused) => {
                return Err(LedgerError::Unavailable(connection.refused("INFO", &refused)));
            }
            answer => told.info = fields(text_of(&answer).unwrap_or_default()),
        }
        for name in CONFIG {
            let answer = ask(connection, &["CONFIG", "GET", name]).await?;
            if let Value::Array(pair) = answer
                && let Some(value) = pair.get(1).and_then(text_of)
            {
                told.config.insert(name.to_owned(), value.to_owned());
            }
        }
        if told.info("cluster_enabled") == "1" {
            let answer = ask(connection, &["CLUSTER", "INFO"]).await?;
            told.cluster = fields(text_of(&answer).unwrap_or_default());
        }
        Ok(told)
    }

    fn info(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.info(name).parse().unwrap_or(0)
    }

    fn config(&self, name: &str) -> Option<&str> {
        self.config.get(name).map(String::as_str)
    }

    fn cluster(&self, name: &str) -> &str {
        self.cluster.get(name).map_or("", String::as_str)
    }
}

/// Lines of `name:value`.
fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// What is wrong with a node, by what it tells.
fn judge(node: &str, told: &Told) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say =
        |severity, line: String| findings.push(Finding { severity, line: format!("{node} {line}") });

    let appends = told.info("aof_enabled") == "1";
    match version(told) {
        (name, (0..=5, _) | (6, 0..=1)) => {
            say(Severity::Error, format!("is {name}, which is too old: use 7.0 or later"));
        }
        (name, (6, _)) if appends => say(
            Severity::Error,
            format!(
                "is {name}, which after a crash can bring back half a commit from its append-only file: use 7.0 or \
                 later, or set appendonly no"
            ),
        ),
        (name, _) if appends => say(
            Severity::Note,
            format!(
                "is {name}, which can bring back half of a transaction from an append-only file that a crash tore; \
                 commits are single commands, so they are safe, but other writers' may not be"
            ),
        ),
        _ => {}
    }
    if told.info("loading") == "1" {
        say(Severity::Error, "is still loading its data: wait until it is done".to_owned());
    }
    if told.info("role") == "slave" {
        say(
            Severity::Error,
            "is a replica: name its master in redis.url, or the Sentinels and redis.sentinel_master"
                .to_owned(),
        );
    }

    let policy = told.info("maxmemory_policy");
    if policy != "noeviction" && told.number("maxmemory") > 0 {
        say(
            Severity::Error,
            format!(
                "drops keys when its memory is full (maxmemory-policy {policy}): set maxmemory-policy noeviction"
            ),
        );
    } else if policy != "noeviction" {
        say(
            Severity::Warning,
            format!(
                "would drop keys if maxmemory were set (maxmemory-policy {policy}): set maxmemory-policy noeviction"
            ),
        );
    }

    match (appends, told.config("appendfsync")) {
        (false, _) => say(
            Severity::Warning,
            "has appendonly no: a crash loses all since the last snapshot, which is read again from Kafka as far \
             back as its topics reach: set appendonly yes"
                .to_owned(),
        ),
        (true, Some("no")) => say(
            Severity::Warning,
            "has appendfsync no: a crash of the machine may lose half a minute, which is read again from Kafka: \
             set appendfsync everysec or always"
                .to_owned(),
        ),
        (true, Some("everysec")) => say(
            Severity::Note,
            "has appendfsync everysec: a crash of the machine may lose two seconds, which are read again from Kafka"
                .to_owned(),
        ),
        (true, _) => {}
    }
    if told.info("aof_last_write_status") == "err" {
        say(Severity::Error, "can't write its append-only file: look at its disk and its log".to_owned());
    }

    if told.number("connected_slaves") > 0 && told.config("min-replicas-to-write") == Some("0") {
        say(
            Severity::Warning,
            "has min-replicas-to-write 0: cut off from its replicas it goes on taking commits that a fail-over throws \
             away: set min-replicas-to-write 1"
                .to_owned(),
        );
    }
    if let Some(seconds) = told.config("timeout").filter(|seconds| *seconds != "0") {
        say(
            Severity::Warning,
            format!("has timeout {seconds}: it hangs up on shards that have nothing to write: set timeout 0"),
        );
    }
    if told.config.len() < CONFIG.len() {
        let unseen: Vec<&str> = CONFIG.into_iter().filter(|name| told.config(name).is_none()).collect();
        say(
            Severity::Note,
            format!("does not answer CONFIG GET, so nobody checked {}: allow +config|get", unseen.join(", ")),
        );
    }

    if told.info("cluster_enabled") == "1" {
        match (told.cluster("cluster_state"), told.cluster("cluster_slots_ok")) {
            ("ok", "16384") => {}
            ("", _) => say(
                Severity::Note,
                "does not answer CLUSTER INFO, so nobody checked its cluster: allow +cluster|info".to_owned(),
            ),
            (state, slots) => say(
                Severity::Error,
                format!(
                    "is in a cluster that is {state} with {slots} of 16384 slots served: mend it with redis-cli \
                     --cluster fix"
                ),
            ),
        }
    }
    findings
}

/// What the server calls itself, and the Redis version that it is or stands for.
fn version(told: &Told) -> (String, (u32, u32)) {
    let redis = told.info("redis_version");
    let mut parts = redis.split('.').map(|part| part.parse().unwrap_or(0));
    let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    match told.info("valkey_version") {
        "" => (format!("Redis {redis}"), number),
        valkey => (format!("Valkey {valkey}"), number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node as it should be, and what is different about this one.
    fn told(info: &str, config: &str, cluster: &str) -> Told {
        let mut told = Told {
            info: fields(
                "redis_version:7.2.4\nrole:master\nloading:0\nmaxmemory:0\nmaxmemory_policy:noeviction\n\
                 aof_enabled:1\naof_last_write_status:ok\nconnected_slaves:0\ncluster_enabled:0",
            ),
            config: fields("appendfsync:always\nmin-replicas-to-write:0\ntimeout:0"),
            cluster: fields(cluster),
        };
        told.info.extend(fields(info));
        told.config.extend(fields(config));
        told
    }

    #[track_caller]
    fn check(told: &Told, severity: Severity, part: &str) {
        let findings = judge("a:1", told);
        let found =
            findings.iter().any(|finding| finding.severity == severity && finding.line.contains(part));
        assert!(found, "{findings:#?}");
        for Finding { line, .. } in &findings {
            assert!(line.starts_with("a:1 ") && !line.contains('\n') && !line.ends_with('.'), "{line}");
        }
    }

    #[track_caller]
    fn check_info(info: &str, severity: Severity, part: &str) {
        check(&told(info, "", ""), severity, part);
    }

    #[test]
    fn what_is_away_may_come_back_and_what_is_wrong_stays_wrong() {
        let passes = |line: &str| error(line.to_owned()).may_pass();
        assert!(passes("can't be reached: 127.0.0.1:1: Connection refused: see that it runs"));
        assert!(passes("does not let us commit: LOADING Redis is loading the dataset in memory"));
        assert!(!passes("can't be reached: WRONGPASS invalid username-password pair: see that it runs"));
        assert!(!passes("evicts keys: set maxmemory-policy noeviction"));
    }

    #[test]
    fn a_node_as_it_should_be_is_fine() {
        let findings = judge("a:1", &told("", "", ""));
        assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:#?}");
    }

    #[test]
    fn versions_are_told_apart() {
        check_info("redis_version:5.0.14", Severity::Error, "Redis 5.0.14, which is too old");
        check_info("redis_version:6.0.16", Severity::Error, "too old");
        check_info("redis_version:6.2.14", Severity::Error, "half a commit");
        check_info(
            "redis_version:7.0.15",
            Severity::Note,
            "Redis 7.0.15, which can bring back half of a transaction",
        );
        check_info("redis_version:7.2.4\nvalkey_version:9.1.2", Severity::Note, "Valkey 9.1.2");
        let snapshots_only = judge("a:1", &told("redis_version:6.2.14\naof_enabled:0", "", ""));
        assert!(
            snapshots_only.iter().all(|finding| finding.severity < Severity::Error),
            "{snapshots_only:#?}"
        );
    }

    #[test]
    fn a_redis_that_drops_keys_is_refused() {
        check_info("maxmemory_policy:allkeys-lru\nmaxmemory:1000", Severity::Error, "noeviction");
        check_info("maxmemory_policy:volatile-lru\nmaxmemory:1000", Severity::Error, "noeviction");
        check_info("maxmemory_policy:allkeys-lru", Severity::Warning, "would drop keys");
    }

    #[test]
    fn what_a_crash_loses_is_said() {
        check_info("aof_enabled:0", Severity::Warning, "appendonly no");
        check(&told("", "appendfsync:no", ""), Severity::Warning, "appendfsync no");
        check(&told("", "appendfsync:everysec", ""), Severity::Note, "two seconds");
        check_info("aof_last_write_status:err", Severity::Error, "append-only file");
    }

    #[test]
    fn a_node_that_cant_take_writes_is_refused() {
        check_info("role:slave", Severity::Error, "is a replica");
        check_info("loading:1", Severity::Error, "loading");
    }

    #[test]
    fn what_may_go_wrong_later_is_said() {
        check_info("connected_slaves:2", Severity::Warning, "min-replicas-to-write");
        check(&told("", "timeout:300", ""), Severity::Warning, "timeout 300");
    }

    #[test]
    fn what_may_not_be_asked_is_said() {
        let mut silent = told("cluster_enabled:1", "", "");
        silent.config.clear();
        check(&silent, Severity::Note, "nobody checked appendfsync, min-replicas-to-write, timeout");
        check(&silent, Severity::Note, "CLUSTER INFO");
    }

    #[test]
    fn a_broken_cluster_is_refused() {
        let broken = told("cluster_enabled:1", "", "cluster_state:fail\ncluster_slots_ok:10922");
        check(&broken, Severity::Error, "fail with 10922 of 16384 slots");
        let whole = told("cluster_enabled:1", "", "cluster_state:ok\ncluster_slots_ok:16384");
        assert!(judge("a:1", &whole).iter().all(|finding| finding.severity == Severity::Note));
    }
}
