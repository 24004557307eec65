//! A broker inside this process, for a first try and for tests that need no other.
//!
//! It is the client library's own. It speaks enough of Kafka for any client to write to it and read from it, but keeps a
//! few megabytes per partition, no append times, and nothing when it ends.

use super::settings::{Arrival, KafkaSettings};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use std::net::TcpStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Runs until it is dropped.
pub struct Embedded {
    brokers: String,
    _running: mpsc::Sender<()>,
}

impl Embedded {
    /// Starts it with topics and their partition counts. It takes milliseconds.
    pub fn start(topics: &[(String, u32)]) -> Result<Embedded, String> {
        let topics = topics.to_vec();
        let (running, stopped) = mpsc::channel::<()>();
        let (started, outcome) = mpsc::channel();
        // The broker's handle can't leave the thread that made it.
        let run = move || match boot(&topics) {
            Ok(cluster) => {
                let _ = started.send(Ok(cluster.bootstrap_servers()));
                let _ = stopped.recv();
            }
            Err(error) => drop(started.send(Err(format!("embedded broker: {error}")))),
        };
        thread::Builder::new().name("broker".into()).spawn(run).map_err(|error| error.to_string())?;
        let brokers = outcome.recv().map_err(|error| error.to_string())??;
        Ok(Embedded { brokers, _running: running })
    }

    /// Where any client of this machine reaches it.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The same settings, for this broker: arrival is when we read, and an empty fetch comes back soon, as nothing wakes
    /// it here.
    pub fn settings(&self, settings: &KafkaSettings) -> KafkaSettings {
        KafkaSettings {
            brokers: self.brokers.clone(),
            arrival: Arrival::OnRead,
            fetch_wait_ms: 5,
            ..settings.clone()
        }
    }
}

fn boot(
    topics: &[(String, u32)],
) -> rdkafka::error::KafkaResult<MockCluster<'static, DefaultProducerContext>> {
    let cluster = MockCluster::new(1)?;
    let (done, is_done) = mpsc::channel();
    let awake = keep_awake(cluster.bootstrap_servers(), is_done);
    let made =
        topics.iter().try_for_each(|(topic, partitions)| cluster.create_topic(topic, *partitions as i32, 1));
    drop(done);
    // If it has ended in a panic, nothing is lost but time.
    let _ = awake.map(JoinHandle::join);
    made.map(|()| cluster)
}

/// The broker may oversleep by a second what it is told from inside this process, time and again. Whatever happens at its
/// port wakes it.
fn keep_awake(address: String, is_done: mpsc::Receiver<()>) -> std::io::Result<JoinHandle<()>> {
    const PAUSE: Duration = Duration::from_millis(5);
    let nudge = move || {
        while is_done.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            drop(TcpStream::connect(&address));
        }
    };
    thread::Builder::new().name("nudge".into()).spawn(nudge)
}
