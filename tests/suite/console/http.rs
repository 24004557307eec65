//! The HTTP side, asked by a client that knows nothing but TCP.

use super::prometheus;
use graceline::console::http::serve;
use graceline::ingest::log::{LogName, Offset, PerLog};
use graceline::persist::ShardId;
use graceline::shard::health::{Health, State};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Longer than any limit of the server's.
const PATIENCE: Duration = Duration::from_secs(90);

struct Desk {
    health: Arc<Health>,
    address: SocketAddr,
    _runtime: Runtime,
}

fn desk() -> Desk {
    let runtime = Runtime::new().expect("a process can start threads");
    let health = Arc::new(Health::default());
    let address = runtime.block_on(serve("127.0.0.1:0", health.clone())).expect("a port is free");
    Desk { health, address, _runtime: runtime }
}

impl Desk {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream
    }

    /// The status line, and all that follows.
    fn ask(&self, request: &str) -> (String, String) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("the server reads");
        let answer = to_the_end(&mut stream);
        let (status, rest) = answer.split_once("\r\n").expect("an answer has a status");
        (status.to_owned(), rest.to_owned())
    }

    fn get(&self, path: &str) -> (String, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"))
    }
}

/// Until the server hangs up.
fn to_the_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server neither answers nor hangs up: {error}"),
    }
    String::from_utf8(answer).expect("answers are text")
}

#[test]
fn a_process_that_answers_lives() {
    let desk = desk();
    let (status, rest) = desk.get("/livez");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(rest.ends_with("\r\n\r\nok\n"), "{rest}");
    assert_eq!(desk.get("/elsewhere").0, "HTTP/1.1 404 Not Found");
    let post = "POST /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(desk.ask(post).0, "HTTP/1.1 405 Method Not Allowed");
}

#[track_caller]
fn check_ready(desk: &Desk, status: &str, body: &str) {
    let (found, rest) = desk.get("/readyz");
    let (head, found_body) = rest.split_once("\r\n\r\n").expect("a head ends");
    assert_eq!((found.as_str(), found_body), (status, body));
    assert!(head.contains("content-type: application/json"), "{head}");
}

#[test]
fn it_is_ready_when_every_shard_runs() {
    const OK: &str = "HTTP/1.1 200 OK";
    const UNREADY: &str = "HTTP/1.1 503 Service Unavailable";
    let desk = desk();
    check_ready(&desk, UNREADY, "{\"ready\":false,\"waits_for\":\"the start\",\"shards\":[]}\n");
    desk.health.is_member();
    check_ready(&desk, OK, "{\"ready\":true,\"waits_for\":null,\"shards\":[]}\n");
    desk.health.set(ShardId(3), State::Running);
    desk.health.set(ShardId(1), State::Opening);
    check_ready(
        &desk,
        UNREADY,
        "{\"ready\":false,\"waits_for\":null,\"shards\":[{\"shard\":1,\"state\":\"opening\"},{\"shard\":3,\"state\":\"running\"}]}\n",
    );
    desk.health.set(ShardId(1), State::Stopped("the \"log\"\nis gone".to_owned()));
    check_ready(
        &desk,
        UNREADY,
        "{\"ready\":false,\"waits_for\":null,\"shards\":[{\"shard\":1,\"state\":\"stopped\",\"why\":\"the \\\"log\\\"\\nis \
         gone\"},{\"shard\":3,\"state\":\"running\"}]}\n",
    );
    desk.health.remove(ShardId(1));
    check_ready(
        &desk,
        OK,
        "{\"ready\":true,\"waits_for\":null,\"shards\":[{\"shard\":3,\"state\":\"running\"}]}\n",
    );
}

#[test]
fn figures_are_what_prometheus_reads() {
    let desk = desk();
    let gauges = desk.health.gauges(ShardId(0));
    gauges.took(LogName::Usage, 0);
    gauges.rejected(b"too_late");
    gauges.committed(Duration::from_millis(7));
    gauges.read(&PerLog::from_fn(|_| Offset(7)));
    desk.health.note_end(ShardId(0), LogName::Usage, Offset(10));
    let (status, rest) = desk.get("/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(rest.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{rest}");
    let (_, body) = rest.split_once("\r\n\r\n").expect("a head ends");
    let families = prometheus::read(body).unwrap_or_else(|why| panic!("{why}"));
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let family = families.get(name).unwrap_or_else(|| panic!("{name} isn't there"));
        family.samples.iter().find(|(_, found, _)| *found == labels).map(|(_, _, value)| *value)
    };
    assert_eq!(value("graceline_records_total", &[("shard", "0"), ("log", "usage")]), Some(1.0));
    assert_eq!(value("graceline_rejected_total", &[("shard", "0"), ("reason", "too_late")]), Some(1.0));
    assert_eq!(value("graceline_lag", &[("shard", "0"), ("log", "usage")]), Some(3.0));
    for (name, kind) in [
        ("fates_total", "counter"),
        ("shard_time_seconds", "gauge"),
        ("commit_seconds", "histogram"),
        ("drafts", "gauge"),
        ("deadlines_overdue_seconds", "gauge"),
        ("outbox_depth", "gauge"),
        ("parked", "gauge"),
    ] {
        let family = &families[&format!("graceline_{name}")];
        assert_eq!((family.kind.as_str(), family.samples.is_empty()), (kind, false), "{name}");
    }
    let labels =
        families.values().flat_map(|family| &family.samples).flat_map(|(_, labels, _)| labels.keys());
    let known = ["shard", "state", "log", "fate", "reason", "le"];
    assert!(labels.into_iter().all(|label| known.contains(&label.as_str())), "{body}");
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let desk = desk();
    let long = format!("GET /livez HTTP/1.1\r\nHost: here\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let mut stream = desk.connect();
    // The server may hang up while we are still writing.
    let _ = stream.write_all(long.as_bytes());
    let answer = to_the_end(&mut stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
    assert_eq!(desk.ask(&many).0, "HTTP/1.1 431 Request Header Fields Too Large");
}

/// More clients than there are seats open connections and say next to nothing: the server hangs up on them, and then
/// answers somebody who asks.
#[test]
fn whoever_is_slow_loses_his_seat() {
    let desk = desk();
    let slow: Vec<TcpStream> = (0..140)
        .map(|_| {
            let mut stream = desk.connect();
            stream.write_all(b"GET /livez HT").expect("the server reads, or will");
            stream
        })
        .collect();
    assert_eq!(desk.get("/livez").0, "HTTP/1.1 200 OK");
    let mut first = slow.into_iter().next().expect("there are some");
    assert_eq!(to_the_end(&mut first), "");
}
