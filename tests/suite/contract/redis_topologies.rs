//! The same ledger on every kind of Redis: a cluster, behind Sentinel, over TLS, as a user with few rights.

use super::ledger::{World, check_state, check_unavailable, owner};
use super::ledger_in_redis::{Redis, check_every_fact, to};
use super::redis_server::{Dir, Server, answers_with, ask, ask_text, eventually, free_port};
use graceline::persist::health::{self, Severity};
use graceline::persist::settings::RedisSettings;
use graceline::persist::{CommitNo, Ledger, ShardId, Store, Token};
use redis::Value;
use std::path::PathBuf;
use std::process::Command;

/// Three nodes that share the slots.
async fn cluster() -> Vec<Server> {
    let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--appendonly", "yes"];
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Server::start(&arguments).await);
    }
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(nodes.iter().map(Server::address)).arg("--cluster-yes");
    let created = create.output().expect("redis-cli comes with redis-server");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
    for node in &nodes {
        eventually("the cluster is whole", async || {
            let info = ask_text(&node.url(), &["CLUSTER", "INFO"]).await;
            (info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")).then_some(())
        })
        .await;
    }
    nodes
}

fn in_cluster(nodes: &[Server]) -> Redis {
    // The first node is enough; the others are asked if it is away.
    let hosts: Vec<String> = nodes.iter().map(Server::address).collect();
    let settings = RedisSettings { url: format!("redis://{}", hosts.join(",")), ..RedisSettings::default() };
    Redis::new(settings, nodes.iter().map(Server::url).collect())
}

#[tokio::test]
async fn every_fact_holds_in_a_cluster() {
    let nodes = cluster().await;
    check_every_fact(&in_cluster(&nodes)).await;
}

#[tokio::test]
async fn the_check_looks_at_every_node_of_a_cluster() {
    let mut nodes = cluster().await;
    ask(&nodes[1].url(), &["CONFIG", "SET", "timeout", "60"]).await;
    ask(&nodes[2].url(), &["CONFIG", "SET", "timeout", "70"]).await;
    let settings = RedisSettings { url: nodes[0].url(), ..RedisSettings::default() };
    let findings = health::check(&settings, Token(7)).await;
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    for (node, timeout) in [(1, 60), (2, 70)] {
        let line = format!("warning: redis {} has timeout {timeout}: ", nodes[node].address());
        assert!(lines.iter().any(|found| found.starts_with(&line)), "{lines:#?}");
    }
    assert!(findings.iter().all(|finding| finding.severity < Severity::Error), "{lines:#?}");

    nodes[2].kill();
    eventually("the cluster is broken", async || {
        answers_with(&nodes[0].url(), &["CLUSTER", "INFO"], "cluster_state:fail").await
    })
    .await;
    let findings = health::check(&settings, Token(7)).await;
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let (gone, broken) = (nodes[2].address(), "is in a cluster that is fail with");
    assert!(
        lines.iter().any(|line| line.starts_with(&format!("error: redis can't be reached: {gone}"))),
        "{lines:#?}"
    );
    assert!(lines.iter().any(|line| line.contains(broken)), "{lines:#?}");
}

#[tokio::test]
async fn all_keys_of_a_shard_lie_on_one_node_and_shards_on_all() {
    let nodes = cluster().await;
    let redis = in_cluster(&nodes);
    for shard in 0..24 {
        owner(&redis, ShardId(shard)).await.commit("{}", &[("a", "1"), ("b}{", "2")]).await.unwrap();
    }
    for node in &nodes {
        let Value::Array(keys) = ask(&node.url(), &["KEYS", "*"]).await else {
            panic!("KEYS answers a list")
        };
        assert!(!keys.is_empty() && keys.len() % 3 == 0, "{keys:?}");
    }
}

/// Moves the slot of a shard from one node to another, and says in between whether an owner may write.
#[tokio::test]
async fn a_slot_that_moves_takes_its_shard_along() {
    let nodes = cluster().await;
    let redis = in_cluster(&nodes);
    let shard = ShardId(5);
    let mut stays = owner(&redis, shard).await;
    stays.commit("1", &[("a", "1"), ("b", "1")]).await.unwrap();

    let Value::Int(slot) = ask(&nodes[0].url(), &["CLUSTER", "KEYSLOT", "graceline:{5}:shard"]).await else {
        panic!("a slot is a number")
    };
    let slot = slot.to_string();
    let mut holds = None;
    for (at, node) in nodes.iter().enumerate() {
        if ask(&node.url(), &["CLUSTER", "COUNTKEYSINSLOT", &slot]).await == Value::Int(3) {
            holds = Some(at);
        }
    }
    let from = &nodes[holds.expect("a node holds the shard")];
    let into = &nodes[(holds.unwrap() + 1) % 3];
    let (from_id, into_id) = (
        ask_text(&from.url(), &["CLUSTER", "MYID"]).await,
        ask_text(&into.url(), &["CLUSTER", "MYID"]).await,
    );
    ask(&into.url(), &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
    ask(&from.url(), &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &into_id]).await;

    // What the node still holds can be written; what it would have to make anew can't.
    stays.commit("2", &[("a", "2"), ("b", "2")]).await.unwrap();
    check_unavailable(stays.commit("3", &[("a", "3"), ("new", "3")]).await);
    check_state(&redis, shard, 2, "2", &[("a", "2"), ("b", "2")]).await;

    let mut zombie = owner(&redis, shard).await;
    let port = into.port().to_string();
    let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    migrate.extend(["graceline:{5}:shard", "graceline:{5}:a", "graceline:{5}:b"]);
    ask(&from.url(), &migrate).await;
    check_unavailable(zombie.commit("3", &[("a", "3")]).await);
    check_unavailable(redis.store().ledger(shard).claim(Token(1)).await);

    for node in [into, from] {
        ask(&node.url(), &["CLUSTER", "SETSLOT", &slot, "NODE", &into_id]).await;
    }
    let mut owner = owner(&redis, shard).await;
    owner.commit("3", &[("b", "3")]).await.unwrap();
    check_state(&redis, shard, 3, "3", &[("a", "2"), ("b", "3")]).await;
}

/// A master, its replica, and a Sentinel that watches them.
struct Watched {
    master: Server,
    replica: Server,
    sentinel: Server,
    /// Holds the Sentinel's file.
    _dir: Dir,
}

async fn watched() -> Watched {
    let master = Server::start(&["--appendonly", "yes"]).await;
    let port = master.port().to_string();
    let replica = Server::start(&["--appendonly", "yes", "--replicaof", "127.0.0.1", &port]).await;
    eventually("the replica follows", async || follows(&replica).await).await;
    let dir = Dir::new();
    let file = dir.path().join("sentinel.conf");
    let lines = format!(
        "sentinel monitor books 127.0.0.1 {port} 1\nsentinel down-after-milliseconds books 300\n\
         sentinel failover-timeout books 3000\n"
    );
    std::fs::write(&file, lines).unwrap();
    let sentinel = Server::start(&[file.to_str().unwrap(), "--sentinel"]).await;
    Watched { master, replica, sentinel, _dir: dir }
}

async fn follows(replica: &Server) -> Option<()> {
    answers_with(&replica.url(), &["INFO", "replication"], "master_link_status:up").await
}

#[tokio::test]
async fn behind_sentinel_an_owner_follows_the_master() {
    let Watched { master, replica: mut heir, sentinel, _dir } = watched().await;
    let url = format!("redis://127.0.0.1:1,{}", sentinel.address());
    let settings =
        RedisSettings { url, sentinel_master: Some("books".to_owned()), ..RedisSettings::default() };
    let redis = Redis::new(settings, vec![master.url(), heir.url()]);
    let shard = ShardId(3);
    let mut zombie = owner(&redis, shard).await;
    zombie.commit("1", &[("a", "1")]).await.unwrap();

    // Asked to, the Sentinel hands over, and the former master goes on as a replica.
    eventually("the commit is with the heir", async || {
        answers_with(&heir.url(), &["GET", "graceline:{3}:shard"], "\"commit\":1").await
    })
    .await;
    eventually("the sentinel finds the heir fit", async || {
        answers_with(&sentinel.url(), &["SENTINEL", "FAILOVER", "books"], "OK").await
    })
    .await;
    eventually("the heir is master", async || {
        answers_with(&master.url(), &["ROLE"], "slave").await?;
        let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "books"];
        answers_with(&sentinel.url(), &asked, &format!("{}", heir.port())).await
    })
    .await;
    check_unavailable(zombie.commit("2", &[("a", "zombie 2")]).await);
    let mut owner = claim_in_time(&redis, shard).await;
    owner.commit(CommitNo(1), b"2", &[]).await.unwrap();
    check_state(&redis, shard, 2, "2", &[("a", "1")]).await;

    // Without being asked, when the master is gone.
    eventually("the former master has followed", async || {
        follows(&master).await?;
        answers_with(&master.url(), &["GET", "graceline:{3}:shard"], "\"commit\":2").await
    })
    .await;
    heir.kill();
    check_unavailable(owner.commit(CommitNo(2), b"3", &[]).await);
    let mut owner = claim_in_time(&redis, shard).await;
    owner.commit(CommitNo(2), b"3", &[]).await.unwrap();
    check_state(&redis, shard, 3, "3", &[("a", "1")]).await;
}

/// Claims as soon as there is a master that takes it.
async fn claim_in_time(redis: &Redis, shard: ShardId) -> impl Ledger + 'static {
    eventually("a master takes the claim", async || {
        let mut ledger = redis.store().ledger(shard);
        ledger.claim(Token(9)).await.ok().map(|_| ledger)
    })
    .await
}

#[tokio::test]
async fn a_master_that_sentinel_does_not_know_is_named() {
    let watched = watched().await;
    let settings = RedisSettings { sentinel_master: Some("other".to_owned()), ..to(&watched.sentinel.url()) };
    let redis = Redis::new(settings, vec![watched.master.url()]);
    let answer = redis.store().ledger(ShardId(3)).claim(Token(1)).await;
    assert!(answer.unwrap_err().to_string().contains("knows no master `other`"));
}

/// An authority of our own, and what it signed: for the server at 127.0.0.1, and for us.
struct Certificates {
    dir: Dir,
}

impl Certificates {
    fn new() -> Certificates {
        let certificates = Certificates { dir: Dir::new() };
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let openssl = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            command.args(["req", "-x509", "-days", "2"]).args(key).args(arguments);
            let made = command.current_dir(certificates.dir.path()).output();
            let made =
                made.expect("openssl is needed to make certificates (Debian: apt-get install openssl)");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        openssl(&["-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"]);
        for (name, usage) in [("server", "serverAuth"), ("client", "clientAuth")] {
            let (subject, key, file) = (format!("/CN={name}"), format!("{name}.key"), format!("{name}.pem"));
            let usage = format!("extendedKeyUsage={usage}");
            let constraints = "basicConstraints=critical,CA:FALSE";
            let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", constraints];
            let named = ["-subj", &subject, "-addext", "subjectAltName=IP:127.0.0.1", "-addext", &usage];
            openssl(&[&signed[..], &named[..], &["-keyout", &key, "-out", &file]].concat());
        }
        certificates
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn every_fact_holds_over_tls() {
    let certificates = Certificates::new();
    let port = free_port();
    let (own, key, authority) =
        (certificates.text("server.pem"), certificates.text("server.key"), certificates.text("ca.pem"));
    let port_text = port.to_string();
    let tls = ["--tls-port", &port_text, "--tls-cert-file", &own, "--tls-key-file", &key];
    let server = Server::start(&[&tls[..], &["--tls-ca-cert-file", &authority]].concat()).await;
    let with_ca = RedisSettings {
        ca_file: Some(certificates.file("ca.pem")),
        ..to(&format!("rediss://127.0.0.1:{port}"))
    };

    // Neither a server that nobody vouches for nor a client without a certificate gets through.
    let unknown = RedisSettings { ca_file: None, ..with_ca.clone() };
    for settings in [unknown, with_ca.clone()] {
        let answer = Redis::new(settings, Vec::new()).store().ledger(ShardId(3)).claim(Token(1)).await;
        check_unavailable(answer);
    }
    let settings = RedisSettings {
        cert_file: Some(certificates.file("client.pem")),
        key_file: Some(certificates.file("client.key")),
        ..with_ca
    };
    check_every_fact(&Redis::new(settings, vec![server.url()])).await;
}

/// The user that the documentation tells to make.
fn documented_user() -> Vec<&'static str> {
    let page = include_str!("../../../docs/REDIS.md");
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER graceline "));
    line.expect("the page tells which user to make").split(' ').collect()
}

#[tokio::test]
async fn every_fact_holds_for_the_documented_user() {
    let server = Server::durable().await;
    ask(&server.url(), &documented_user()).await;
    let url = server.url().replace("://", "://graceline:secret@");
    check_every_fact(&Redis::new(to(&url), vec![server.url()])).await;
}

#[tokio::test]
async fn every_fact_of_a_cluster_holds_for_the_documented_user() {
    let nodes = cluster().await;
    for node in &nodes {
        ask(&node.url(), &documented_user()).await;
    }
    let url = nodes[0].url().replace("://", "://graceline:secret@");
    check_every_fact(&Redis::new(to(&url), nodes.iter().map(Server::url).collect())).await;
}
