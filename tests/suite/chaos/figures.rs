//! What runs have tried and what came of it: a line each in a file that the page of figures is made from.

use super::clock::now_ms;
use super::servers::root;
use super::story::instant;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

/// Every kind of fault that a run may meet: its id, what is done, and what comes of it.
pub(super) const FAULTS: [(&str, &str, &str); 30] = [
    (
        "P1",
        "`kill -9` of an instance at random",
        "another one, or the next one, goes on where the last commit ended",
    ),
    ("P1w", "`kill -9` right after the store's write", "the write counts, once"),
    (
        "P2",
        "an instance stands still for longer than its session, and goes on",
        "what it writes then is refused",
    ),
    (
        "P3",
        "the same, and the store forgets the other owner meanwhile",
        "its token isn't good on a new connection",
    ),
    ("P4", "an instance comes or goes, every 1–2 s", "shards move, and nothing else changes"),
    ("P7", "SIGTERM, also while the store is away, and a second one", "it ends within 10 s, and at once"),
    ("K1", "`kill -9` of the broker, back within seconds", "shards go on within 5 s"),
    ("K1r", "`kill -9` of one broker of three, with three replicas", "the others go on"),
    (
        "K2",
        "the broker is away for longer than a session",
        "the same: an owner goes on until it hears otherwise",
    ),
    ("K4", "the usage topic is made anew, shorter or longer", "its shards stop and say so"),
    ("K5", "records are deleted, read or unread", "unread: their shards stop; read: nothing"),
    ("K6", "a partition is added", "it isn't read, and says so; nobody starts any more"),
    ("K8", "a backlog that nobody has read", "drains without a pause"),
    ("R1", "`kill -9` of Redis", "the outcome of a write is looked up; shards go on within 5 s"),
    ("R1c", "`kill -9` of one node of a Redis Cluster of three", "its shards wait, the others go on"),
    (
        "R2",
        "the append-only file loses its tail",
        "positions went back too: read again, told again, the same bytes",
    ),
    ("R4", "Redis is emptied", "every shard stops and says so, also for those who start anew"),
    ("R6", "Redis becomes a replica", "waited for"),
    ("R7", "Redis has too few replicas", "waited for"),
    ("R8", "Redis is full", "waited for"),
    ("R8e", "Redis may evict", "nobody starts"),
    ("R12", "the disk that Redis writes to is full", "waited for"),
    ("R13", "something else lies in the place of a shard's record", "that shard stops"),
    (
        "N1r",
        "what Redis answers gets lost, or what it is told",
        "the connection is given up, and shards go on",
    ),
    (
        "N1k",
        "what Kafka answers gets lost, or what it is told",
        "waited for: an owner goes on until it hears otherwise",
    ),
    ("N1h", "connections are left half open", "given up after a while and made anew"),
    ("N2d", "200 ms on every way", "slower"),
    ("N2r", "connections are reset, again and again", "slower"),
    ("C1", "midnight", "what is due is overdue from then on, and told once"),
    ("I1", "ids and sources that join to the same text", "they are different events"),
];

/// What one run tries.
pub(super) struct Figures {
    run: &'static str,
    seed: u64,
    tried: BTreeMap<String, u64>,
    pub(super) events: usize,
    pub(super) invoices: usize,
    pub(super) differences: usize,
}

impl Figures {
    pub(super) fn of(run: &'static str, seed: u64) -> Figures {
        Figures { run, seed, tried: BTreeMap::new(), events: 0, invoices: 0, differences: 0 }
    }

    /// A fault, or the point of a death, was tried once.
    pub(super) fn tried(&mut self, id: &str) {
        let is_point = id.len() == 3 && id.starts_with('K');
        assert!(is_point || FAULTS.iter().any(|(known, ..)| *known == id), "{id} is no fault");
        *self.tried.entry(id.to_owned()).or_default() += 1;
    }
}

impl Drop for Figures {
    fn drop(&mut self) {
        let of = |(id, times): (&String, &u64)| {
            let known = FAULTS.iter().find(|(known, ..)| known == id);
            let (fault, outcome) = known.map_or(("", ""), |(_, fault, outcome)| (fault, outcome));
            json!({"id": id, "fault": fault, "outcome": outcome, "times": times})
        };
        let line = json!({
            "run": self.run,
            "seed": self.seed,
            "at": instant(now_ms()),
            "passed": !std::thread::panicking(),
            "events": self.events,
            "invoices": self.invoices,
            "differences": self.differences,
            "tried": self.tried.iter().map(of).collect::<Vec<_>>(),
        });
        let folder = root().join("target/chaos");
        let written = fs::create_dir_all(&folder)
            .and_then(|()| fs::File::options().create(true).append(true).open(folder.join("figures.jsonl")))
            .and_then(|mut file| writeln!(file, "{line}"));
        if let Err(error) = written {
            println!("  the figures can't be kept: {error}");
        }
    }
}
