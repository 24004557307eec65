//! Real Redis servers for the suite, started from the PATH, each in a directory of its own and gone with the test.

use redis::Value;
use redis::aio::MultiplexedConnection;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// A directory that is gone with its owner.
pub(super) struct Dir(PathBuf);

impl Dir {
    pub(super) fn new() -> Dir {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("graceline-suite-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port that is free now, and whose cluster bus port is.
pub(super) fn free_port() -> u16 {
    const FIRST: u16 = 29_500;
    const PORTS: u16 = 100;
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(PORTS)) as u16;
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..10 * PORTS {
        let port = FIRST + (start + TRIED.fetch_add(1, Ordering::Relaxed)) % PORTS;
        if free(port) && free(port + 10_000) {
            return port;
        }
    }
    panic!("no port is free between {FIRST} and {}", FIRST + PORTS);
}

/// Waits for what a server is about to do. Only the world outside is waited for; the facts themselves never wait.
pub(super) async fn eventually<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = found().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    waited.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// One `redis-server`.
pub(crate) struct Server {
    child: Child,
    dir: Dir,
    port: u16,
    arguments: Vec<String>,
}

/// The files of a server's append-only log.
pub(super) type Files = Vec<(PathBuf, Vec<u8>)>;

impl Server {
    /// A server that writes every command to disk before it answers.
    pub(super) async fn durable() -> Server {
        Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    pub(crate) async fn start(arguments: &[&str]) -> Server {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        // Another process may take the port before the server does.
        for _ in 0..20 {
            let (dir, port) = (Dir::new(), free_port());
            let child = spawn(dir.path(), port, &arguments);
            let mut server = Server { child, dir, port, arguments: arguments.clone() };
            if server.answers().await {
                return server;
            }
            let log = fs::read_to_string(server.dir.path().join("log")).unwrap_or_default();
            assert!(log.contains("Address already in use"), "redis-server does not start: {log}");
        }
        panic!("no port stays free");
    }

    /// Whether it is this very server that answers on the port, with its data loaded.
    async fn answers(&mut self) -> bool {
        let url = self.url();
        let own = format!("process_id:{}\r", self.child.id());
        for _ in 0..3_000 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            // With TLS or passwords a plain question is refused, but only by a server that is up.
            match try_ask(&url, &["INFO"]).await {
                Ok(Value::BulkString(info)) => {
                    let info = String::from_utf8_lossy(&info);
                    if !info.contains("\nloading:1\r") {
                        return info.contains(&own);
                    }
                }
                Ok(_) => return true,
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) async fn start_again(&mut self) {
        self.child = spawn(self.dir.path(), self.port, &self.arguments);
        assert!(self.answers().await, "redis-server does not come back");
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The append-only log as it is on disk.
    pub(super) fn log_files(&self) -> Files {
        let mut files: Files = Vec::new();
        for place in [self.dir.path().to_owned(), self.dir.path().join("appendonlydir")] {
            let Ok(entries) = fs::read_dir(place) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_file() && path.file_name().unwrap().to_string_lossy().starts_with("appendonly.aof")
                {
                    files.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }

    /// Puts an earlier log in place; the server must be down.
    pub(super) fn put_log_files(&self, files: &Files) {
        for (path, _) in self.log_files() {
            fs::remove_file(path).unwrap();
        }
        for (path, bytes) in files {
            fs::write(path, bytes).unwrap();
        }
    }

    /// The file that the server is appending to.
    pub(super) fn log_tail(&self) -> PathBuf {
        let names_data = |path: &PathBuf| !path.to_string_lossy().ends_with(".manifest");
        let files = self.log_files().into_iter().map(|(path, _)| path).filter(names_data);
        files.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap()).expect("there is a log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path, port: u16, arguments: &[String]) -> Child {
    let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
    let mut command = Command::new(program);
    // A Sentinel keeps its state in a file that it is given first.
    let (config, options): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|text| text.ends_with(".conf"));
    command.args(&config).arg("--port").arg(port.to_string()).arg("--dir").arg(dir);
    command.arg("--logfile").arg(dir.join("log")).arg("--bind").arg("127.0.0.1");
    if config.is_empty() {
        command.args(["--save", ""]);
    }
    command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => child,
        Err(why) => panic!(
            "can't start redis-server: {why}. Install Redis (Debian: apt-get install redis-server), or name the \
             program in REDIS_SERVER"
        ),
    }
}

pub(super) async fn connect(url: &str) -> MultiplexedConnection {
    try_connect(url).await.unwrap()
}

async fn try_connect(url: &str) -> redis::RedisResult<MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

async fn try_ask(url: &str, command: &[&str]) -> redis::RedisResult<Value> {
    ask_on(&mut try_connect(url).await?, command).await
}

pub(super) async fn ask_on(
    connection: &mut MultiplexedConnection,
    command: &[&str],
) -> redis::RedisResult<Value> {
    let mut question = redis::Cmd::new();
    for word in command {
        question.arg(*word);
    }
    connection.send_packed_command(&question).await
}

/// Asks one question on a connection of its own.
pub(super) async fn ask(url: &str, command: &[&str]) -> Value {
    match try_ask(url, command).await {
        Ok(Value::ServerError(error)) => panic!("{command:?}: {error}"),
        answer => answer.unwrap(),
    }
}

pub(super) async fn ask_text(url: &str, command: &[&str]) -> String {
    text(ask(url, command).await)
}

/// Whether the answer has this text in it; one that doesn't come hasn't.
pub(super) async fn answers_with(url: &str, command: &[&str], part: &str) -> Option<()> {
    let answer = try_ask(url, command).await.ok()?;
    text(answer).contains(part).then_some(())
}

fn text(answer: Value) -> String {
    match answer {
        Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
        Value::SimpleString(text) => text,
        Value::Okay => "OK".to_owned(),
        answer => format!("{answer:?}"),
    }
}

/// What goes wrong with the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Accident {
    None,
    /// The connection breaks before the request leaves.
    RequestLost,
    /// Half of the request leaves, then the connection breaks.
    RequestTorn,
    /// The connection breaks once the answer comes.
    AnswerLost,
    /// The connection stays, and the answer never comes.
    Silence,
    /// The request leaves up to its first `EXEC`, and what follows that only at the next `resume`.
    PausedAfterExec,
}

/// A way to a server on which accidents happen.
pub(super) struct Proxy {
    port: u16,
    next: Arc<AtomicU16>,
    resumed: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn to(server_port: u16) -> Proxy {
        let (listener, port) = loop {
            let port = free_port();
            if let Ok(listener) = tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
                break (listener, port);
            }
        };
        let next = Arc::new(AtomicU16::new(Accident::None as u16));
        let resumed = Arc::new(Notify::new());
        let (accidents, resumes) = (Arc::clone(&next), Arc::clone(&resumed));
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)).await else { continue };
                tokio::spawn(carry(client, server, Arc::clone(&accidents), Arc::clone(&resumes)));
            }
        });
        Proxy { port, next, resumed, task }
    }

    pub(super) fn next(&self, accident: Accident) {
        self.next.store(accident as u16, Ordering::SeqCst);
    }

    pub(super) fn resume(&self) {
        self.resumed.notify_one();
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, server: TcpStream, accidents: Arc<AtomicU16>, resumed: Arc<Notify>) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let here = AtomicU16::new(Accident::None as u16);
    let is = |at: &AtomicU16, accident: Accident| at.load(Ordering::SeqCst) == accident as u16;
    let requests = async {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let length = from_client.read(&mut bytes).await.unwrap_or(0);
            if length == 0 {
                return;
            }
            let accident = accidents.swap(Accident::None as u16, Ordering::SeqCst);
            if accident == Accident::RequestLost as u16 {
                return;
            }
            if accident == Accident::RequestTorn as u16 {
                let _ = to_server.write_all(&bytes[..length / 2]).await;
                return;
            }
            let mut request = &bytes[..length];
            if accident == Accident::PausedAfterExec as u16 {
                const EXEC: &[u8] = b"EXEC\r\n";
                let end = request
                    .windows(EXEC.len())
                    .position(|bytes| bytes == EXEC)
                    .expect("it ends a transaction");
                let _ = to_server.write_all(&request[..end + EXEC.len()]).await;
                resumed.notified().await;
                request = &request[end + EXEC.len()..];
            } else if accident != Accident::None as u16 {
                here.store(accident, Ordering::SeqCst);
            }
            if to_server.write_all(request).await.is_err() {
                return;
            }
        }
    };
    let answers = async {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let length = from_server.read(&mut bytes).await.unwrap_or(0);
            if length == 0 || is(&here, Accident::AnswerLost) {
                return;
            }
            if !is(&here, Accident::Silence) && to_client.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
}
