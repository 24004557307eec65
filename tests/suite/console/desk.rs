//! An operator's desk: the program itself, a broker, and what has come to its topics.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The program with a broker, and topics under a prefix that nobody else has.
pub(super) struct Desk {
    pub(super) brokers: String,
    pub(super) prefix: String,
    env: Vec<(String, String)>,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

/// A record, as tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) partition: i32,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    pub(super) headers: Vec<(String, String)>,
}

/// The program at work.
pub(super) struct Working {
    child: Child,
    said: Arc<Mutex<String>>,
    listeners: Vec<JoinHandle<()>>,
}

impl Working {
    /// What it has said so far, on both its outputs.
    pub(super) fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has said that.
    #[track_caller]
    pub(super) fn says(&self, part: &str) {
        const PAUSE: Duration = Duration::from_millis(20);
        let mut pauses_left = PATIENCE.as_millis() / PAUSE.as_millis();
        while !self.said().contains(part) {
            assert!(pauses_left > 0, "it never said {part:?}: {}", self.said());
            std::thread::park_timeout(PAUSE);
            pauses_left -= 1;
        }
    }

    /// Asks it to end; returns its exit code and all it has said.
    pub(super) fn ends(mut self) -> (Option<i32>, String) {
        let told = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(told.expect("there is a kill").success(), "{}", self.said());
        self.has_ended()
    }

    /// Waits until it has ended by itself.
    pub(super) fn has_ended(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("a child can be waited for");
        for listener in self.listeners.drain(..) {
            listener.join().expect("a listener hears everything");
        }
        (status.code(), self.said())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn prefix() -> String {
    format!("t{:x}.", RandomState::new().hash_one(0))
}

impl Desk {
    pub(super) fn at(brokers: &str, prefix: &str) -> Desk {
        Desk { brokers: brokers.to_owned(), prefix: prefix.to_owned(), env: Vec::new() }
    }

    /// The same with one more variable.
    pub(super) fn with(&self, name: &str, value: &str) -> Desk {
        let mut env = self.env.clone();
        env.push((name.to_owned(), value.to_owned()));
        Desk { brokers: self.brokers.clone(), prefix: self.prefix.clone(), env }
    }

    pub(super) fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The program, which sees no variables but ours.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_graceline"));
        command
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .env("GRACELINE__KAFKA__BROKERS", &self.brokers)
            .env("GRACELINE__TOPICS__PREFIX", &self.prefix);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the program, which goes on until it is told to end.
    pub(super) fn start(&self, arguments: &[&str]) -> Working {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::null()).spawn().expect("the program can be started");
        let said = Arc::new(Mutex::new(String::new()));
        let mut listeners = Vec::new();
        let out = child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>);
        let err = child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>);
        for stream in [out, err].into_iter().flatten() {
            let said = said.clone();
            listeners.push(std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    said.push_str(&line);
                    said.push('\n');
                }
            }));
        }
        Working { child, said, listeners }
    }

    /// Runs the program again and again until what it says is good, and returns that.
    #[track_caller]
    pub(super) fn asks_until(&self, arguments: &[&str], is_good: impl Fn(&str) -> bool) -> String {
        const TRIES_MAX: usize = 300;
        let mut last = None;
        for _ in 0..TRIES_MAX {
            let said = self.run(arguments, "");
            if is_good(&said.out) {
                return said.out;
            }
            last = Some(said);
            std::thread::park_timeout(PATIENCE / TRIES_MAX as u32);
        }
        panic!("{arguments:?} never said it: {last:?}")
    }

    /// Runs the program to its end.
    pub(super) fn run(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = self.command(arguments);
        let mut child = command.spawn().expect("the program can be started");
        let mut stdin = child.stdin.take().expect("its input is ours");
        // A program that reads nothing hangs up, which is fine.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("the program ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it says text");
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// What succeeds says nothing but on its standard output.
    #[track_caller]
    pub(super) fn does(&self, arguments: &[&str], input: &str) -> String {
        let said = self.run(arguments, input);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
        said.out
    }

    #[track_caller]
    pub(super) fn fails(&self, arguments: &[&str], input: &str) -> String {
        let said = self.run(arguments, input);
        assert_eq!(said.code, Some(1), "{said:?}");
        said.err
    }

    /// Every record of a topic, partition by partition.
    pub(super) fn records(&self, topic: &str) -> Vec<Found> {
        (0..self.partitions(topic) as i32).flat_map(|partition| self.records_of(topic, partition)).collect()
    }

    fn records_of(&self, topic: &str, partition: i32) -> Vec<Found> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("group.id", "reader");
        let consumer: BaseConsumer = config.create().expect("settings are sound");
        let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).expect("the broker answers");
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(low)).expect("an offset is one");
        consumer.assign(&list).expect("a partition can be assigned");
        let next = || consumer.poll(PATIENCE).expect("a record comes in time").expect("it can be read");
        (low..high).map(|_| found(&next())).collect()
    }

    /// How many partitions a topic has; 0 if it isn't there.
    pub(super) fn partitions(&self, topic: &str) -> usize {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("allow.auto.create.topics", "false");
        let consumer: BaseConsumer = config.create().expect("settings are sound");
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("the broker answers");
        metadata.topics().iter().find(|one| one.name() == topic).map_or(0, |found| found.partitions().len())
    }

    /// Writes a record as somebody else would.
    pub(super) fn write(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&str>,
        value: &str,
        headers: &[(&str, &str)],
    ) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("settings are sound");
        let mut record = BaseRecord::<str, str>::to(topic).partition(partition).payload(value);
        record.key = key;
        record.headers =
            Some(headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header { key, value: Some(*value) })
            }));
        producer.send(record).expect("there is room");
        producer.flush(PATIENCE).expect("the broker takes it");
    }
}

fn found(message: &impl Message) -> Found {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default()))).collect()
    });
    Found {
        partition: message.partition(),
        key: message.key().map(text),
        value: message.payload().map(text),
        headers: headers.unwrap_or_default(),
    }
}
