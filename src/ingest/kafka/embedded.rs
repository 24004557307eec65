//! A broker inside this process, for a first try and for tests that need no other.
//!
//! It is the client library's own. With the [`front`] that clients talk to, it speaks enough of Kafka for any of them to
//! write to it and read from it, but it keeps a few megabytes per partition, no append times, and nothing when it ends.

use super::front;
use super::settings::{Arrival, KafkaSettings};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;

/// Runs until it is dropped.
pub struct Embedded {
    brokers: String,
    inside: String,
    _running: oneshot::Sender<()>,
}

impl Embedded {
    /// Starts it with topics and their partition counts. It takes milliseconds.
    pub fn start(topics: &[(String, u32)]) -> Result<Embedded, String> {
        let topics = topics.to_vec();
        let (running, stopped) = oneshot::channel::<()>();
        let (started, outcome) = mpsc::channel();
        // The broker's handle can't leave the thread that made it.
        let run = move || match House::open(&topics) {
            Ok(house) => {
                let _ = started.send(Ok((house.door.to_string(), house.inside.to_string())));
                house.serve(stopped);
            }
            Err(error) => drop(started.send(Err(format!("embedded broker: {error}")))),
        };
        thread::Builder::new().name("broker".into()).spawn(run).map_err(|error| error.to_string())?;
        let (brokers, inside) = outcome.recv().map_err(|error| error.to_string())??;
        Ok(Embedded { brokers, inside, _running: running })
    }

    /// Where any client of this machine reaches it.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The same settings, for this broker: arrival is when we read, and an empty fetch comes back soon, as nothing wakes
    /// it here. The group has a name that nobody else takes by chance.
    pub fn settings(&self, settings: &KafkaSettings) -> KafkaSettings {
        KafkaSettings {
            brokers: self.inside.clone(),
            arrival: Arrival::OnRead,
            fetch_wait_ms: 5,
            group: format!("{}.inside", settings.group),
            ..settings.clone()
        }
    }
}

/// The broker, and what stands before it.
struct House {
    _cluster: MockCluster<'static, DefaultProducerContext>,
    inside: SocketAddr,
    listener: TcpListener,
    door: SocketAddr,
    runtime: Runtime,
}

impl House {
    fn open(topics: &[(String, u32)]) -> Result<House, Box<dyn std::error::Error>> {
        let cluster = boot(topics)?;
        let inside = cluster.bootstrap_servers().parse()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(House { _cluster: cluster, inside, door: listener.local_addr()?, listener, runtime })
    }

    fn serve(self, stopped: oneshot::Receiver<()>) {
        let serving = async {
            let listener =
                tokio::net::TcpListener::from_std(self.listener).expect("a runtime takes a socket");
            tokio::select! {
                () = front::serve(listener, self.inside) => {}
                _ = stopped => {}
            }
        };
        self.runtime.block_on(serving);
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
