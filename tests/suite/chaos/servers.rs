//! A broker and a store of the run's own, which it may kill.

use super::clock;
use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Kafka,
    Redis,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Server::Kafka => "kafka",
            Server::Redis => "redis",
        }
    }
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fleet {
    One,
    /// Three brokers; each record is on all of them, and on two before it can be read.
    ThreeBrokers,
    /// Three nodes of a Redis Cluster, which share the shards.
    ThreeStores,
}

/// Both, started by `dev/services` in a folder of their own.
pub(super) struct Servers {
    dir: PathBuf,
    fleet: Fleet,
    pub(super) brokers: String,
    /// As the processor is told it.
    pub(super) redis: String,
    environment: Vec<(&'static str, String)>,
    kills: Cell<usize>,
    killed: RefCell<Vec<(Server, String)>>,
}

impl Servers {
    /// Starts both, empty.
    pub(super) fn start(name: &str, fleet: Fleet) -> Servers {
        let mut environment = clock::environment();
        if fleet == Fleet::ThreeBrokers {
            environment.push(("SERVICES_KAFKA_HEAP", "256m".to_owned()));
        }
        Servers::start_told(name, fleet, environment)
    }

    /// The same, but the broker tells everybody to come to this address.
    pub(super) fn start_behind(name: &str, advertised: &str) -> Servers {
        let environment = vec![("SERVICES_KAFKA_ADVERTISED", advertised.to_owned())];
        Servers::start_told(name, Fleet::One, environment)
    }

    fn start_told(name: &str, fleet: Fleet, environment: Vec<(&'static str, String)>) -> Servers {
        let dir = root().join("target/services").join(format!("chaos-{name}"));
        services(&dir, &["down", "--wipe"], &[]);
        let up: &[&str] = match fleet {
            Fleet::One => &["up"],
            Fleet::ThreeBrokers => &["up", "--three"],
            Fleet::ThreeStores => &["up", "--cluster"],
        };
        let said = services(&dir, up, &environment);
        let address = |variable: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix("export ")?.strip_prefix(variable));
            let value = line.unwrap_or_else(|| panic!("dev/services says no {variable}: {said}"));
            // Commas are quoted for the shell.
            value.trim_start_matches('=').replace('\\', "")
        };
        let (brokers, redis) = (address("KAFKA_BROKERS"), address("REDIS_URL"));
        let (kills, killed) = (Cell::new(0), RefCell::default());
        Servers { brokers, redis, dir, fleet, environment, kills, killed }
    }

    /// Of several stores each.
    pub(super) fn stores(&self) -> impl Iterator<Item = String> {
        self.redis.trim_start_matches("redis://").split(',').map(|address| format!("redis://{address}"))
    }

    /// Which one is meant: of several each in its turn.
    fn next(&self, server: Server) -> String {
        let turn = self.kills.replace(self.kills.get() + 1) % 3;
        match (self.fleet, server, turn) {
            (Fleet::ThreeBrokers, Server::Kafka, 1..) | (Fleet::ThreeStores, Server::Redis, 1..) => {
                format!("{}{}", server.name(), turn + 1)
            }
            _ => server.name().to_owned(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// kill -9 of it, or of one of them.
    pub(super) fn kill(&self, server: Server) {
        let name = self.next(server);
        services(&self.dir, &["kill", &name], &[]);
        self.killed.borrow_mut().push((server, name));
    }

    /// Those of a kind that were killed.
    pub(super) fn start_again(&self, server: Server) {
        let killed = self.killed.take();
        let (back, away): (Vec<_>, Vec<_>) = killed.into_iter().partition(|(kind, _)| *kind == server);
        self.killed.replace(away);
        for (_, name) in back {
            services(&self.dir, &["start", &name], &self.environment);
        }
    }

    /// Cuts bytes off the end of the store's append-only file, as a loss of power does. The store must be down.
    pub(super) fn cut_tail(&self, bytes_max: u64) -> u64 {
        let length = self.length();
        self.cut_to(length - bytes_max.min(length / 2))
    }

    /// Takes back what was appended to the store's file since it had this length. The store must be down.
    pub(super) fn cut_to(&self, length: u64) -> u64 {
        let cut = self.length() - length;
        let file = fs::File::options().write(true).open(self.last_file()).expect("the file can be cut");
        file.set_len(length).expect("the file can be cut");
        cut
    }

    /// How much the store has appended to its file.
    pub(super) fn length(&self) -> u64 {
        fs::metadata(self.last_file()).expect("a file has a length").len()
    }

    /// From now on none of its files can become longer than this; `None` lets them.
    pub(super) fn limit_store(&self, bytes: Option<u64>) {
        let pid = fs::read_to_string(self.dir.join("redis/pid")).expect("the store runs");
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let mut command = Command::new("prlimit");
        command.args(["--pid", pid.trim(), &format!("--fsize={limit}:unlimited")]);
        assert!(command.status().expect("prlimit can be run").success(), "a limit can be set");
    }

    fn last_file(&self) -> PathBuf {
        let entries = fs::read_dir(self.dir.join("redis/appendonlydir")).expect("the store has its files");
        let paths = entries.map(|entry| entry.expect("a folder can be read").path());
        paths
            .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
            .max_by_key(|path| fs::metadata(path).and_then(|about| about.modified()).ok())
            .expect("the store appends to a file")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // What a failed run leaves behind is wanted for looking at.
        let arguments: &[&str] = if std::thread::panicking() { &["down"] } else { &["down", "--wipe"] };
        services(&self.dir, arguments, &[]);
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn services(dir: &Path, arguments: &[&str], environment: &[(&str, String)]) -> String {
    let mut command = Command::new(root().join("dev/services"));
    command.args(arguments).env("SERVICES_DIR", dir);
    // Those who run the tests may have said where their own are.
    for name in ["KAFKA_BROKERS", "REDIS_URL", "SERVICES_KAFKA_PORT", "SERVICES_REDIS_PORT"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let output = command.stdin(Stdio::null()).output().expect("dev/services can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "dev/services {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("addresses are text")
}
