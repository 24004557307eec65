//! One running processor, and what can be done to it.

use super::clock::{self, pause_ms};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What all instances of a run are told.
#[derive(Clone)]
pub(super) struct Orders {
    pub(super) brokers: String,
    pub(super) redis: String,
    pub(super) prefix: String,
    pub(super) shards: u32,
    /// Their logs are written here.
    pub(super) dir: PathBuf,
    /// Variables beside those that follow from the above.
    pub(super) more: Vec<(&'static str, String)>,
}

pub(super) struct Instance {
    orders: Orders,
    pub(super) name: String,
    address: SocketAddr,
    child: Option<Child>,
}

impl Instance {
    pub(super) fn start(orders: &Orders, name: &str) -> Instance {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let mut instance = Instance { orders: orders.clone(), name: name.to_owned(), address, child: None };
        drop(listener);
        instance.start_again();
        instance
    }

    pub(super) fn start_again(&mut self) {
        self.spawn(None);
    }

    /// Starts it with a point at which it ends or stands still: `K05 3 die 200`.
    #[cfg(feature = "fail-points")]
    pub(super) fn start_to_fail(&mut self, at: &str) {
        self.spawn(Some(at));
    }

    fn spawn(&mut self, fail_at: Option<&str>) {
        let orders = &self.orders;
        let log = File::options().create(true).append(true).open(self.log()).expect("a log can be written");
        let mut command = Command::new(program());
        command
            .arg("run")
            .env("GRACELINE__KAFKA__BROKERS", &orders.brokers)
            .env("GRACELINE__KAFKA__GROUP", format!("{}processors", orders.prefix))
            .env("GRACELINE__TOPICS__PREFIX", &orders.prefix)
            .env("GRACELINE__TOPICS__PARTITIONS", orders.shards.to_string())
            .env("GRACELINE__REDIS__URL", &orders.redis)
            .env("GRACELINE__REDIS__PREFIX", orders.prefix.trim_end_matches('.'))
            .env("GRACELINE__HTTP__LISTEN", self.address.to_string());
        for (name, value) in &orders.more {
            command.env(name, value);
        }
        command.envs(clock::environment());
        command.env_remove("GRACELINE_FAIL_AT");
        command.envs(fail_at.map(|at| ("GRACELINE_FAIL_AT", at)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("the processor can be started"));
    }

    pub(super) fn log(&self) -> PathBuf {
        self.orders.dir.join(format!("{}.log", self.name))
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("a child can be asked").is_none())
    }

    /// kill -9
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
        }
    }

    /// `STOP`, `CONT`, `TERM`
    pub(super) fn signal(&self, signal: &str) {
        let Some(child) = &self.child else { return };
        let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(sent.expect("kill can be run").success(), "{} takes signals", self.name);
    }

    /// Ends it politely and waits until it is gone; says how long that took.
    pub(super) fn finish(&mut self) -> Duration {
        self.signal("TERM");
        self.await_end()
    }

    /// Waits until it is gone; says how long that took.
    pub(super) fn await_end(&mut self) -> Duration {
        let watch = clock::Stopwatch::start();
        while self.is_running() {
            assert!(watch.passed() < Duration::from_secs(30), "{} doesn't end", self.name);
            pause_ms(20);
        }
        self.child = None;
        watch.passed()
    }

    /// Whether it stands still, as `STOP` makes it.
    #[cfg(feature = "fail-points")]
    pub(super) fn is_stopped(&self) -> bool {
        let id = self.child.as_ref().expect("it has been started").id();
        let about = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        about.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    }

    /// What it answers to a question over HTTP; `None` if it doesn't.
    pub(super) fn ask(&self, path: &str) -> Option<String> {
        let patience = Duration::from_millis(500);
        let mut stream = TcpStream::connect_timeout(&self.address, patience).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// One of its figures, by shard.
    pub(super) fn figures(&self, name: &str) -> BTreeMap<u32, f64> {
        let Some(text) = self.ask("/metrics") else { return BTreeMap::new() };
        let head = format!("graceline_{name}{{shard=\"");
        let figure = |line: &str| {
            let (shard, value) = line.strip_prefix(&head)?.split_once("\"} ")?;
            Some((shard.parse().ok()?, value.parse().ok()?))
        };
        text.lines().filter_map(figure).collect()
    }

    /// The sum of a count over all its labels but one.
    pub(super) fn sum(&self, name: &str, label: &str) -> u64 {
        let text = self.ask("/metrics").unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with(&format!("graceline_{name}")));
        let counts = lines.filter(|line| line.contains(label)).filter_map(|line| line.rsplit(' ').next());
        counts.filter_map(|count| count.parse::<u64>().ok()).sum()
    }

    /// The shards that it turns at the moment.
    pub(super) fn running_shards(&self) -> Vec<u32> {
        let shards = self.shards();
        let running = shards.iter().filter(|shard| shard["state"] == "running");
        running.filter_map(|shard| Some(shard["shard"].as_u64()? as u32)).collect()
    }

    /// Why shards stand still.
    pub(super) fn reasons(&self) -> Vec<String> {
        self.shards().iter().filter_map(|shard| Some(shard["why"].as_str()?.to_owned())).collect()
    }

    fn shards(&self) -> Vec<Value> {
        self.readiness()["shards"].as_array().cloned().unwrap_or_default()
    }

    fn readiness(&self) -> Value {
        let text = self.ask("/readyz").unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// How often its log says something.
    pub(super) fn said(&self, what: &str) -> usize {
        said(&self.log(), what)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program that was built with the tests, or the one that the environment names.
fn program() -> OsString {
    std::env::var_os("GRACELINE_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_graceline").into())
}

pub(super) fn said(log: &Path, what: &str) -> usize {
    std::fs::read_to_string(log).map_or(0, |text| text.matches(what).count())
}
