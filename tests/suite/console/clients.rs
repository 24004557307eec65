//! Other people's clients on `graceline dev`.

use super::desk::{Desk, Working};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The processor, and where clients find it.
fn dev() -> (Working, String) {
    let dev = Desk::at("127.0.0.1:1", "").with("GRACELINE__HTTP__LISTEN", "").start(&["dev"]);
    dev.says("Opened the shard.");
    let said = dev.said();
    let address = said.lines().find_map(|line| line.strip_prefix("Kafka clients connect to "));
    let address = address.expect("it says where it is").to_owned();
    (dev, address)
}

/// Kafka's own programs, as they come with the broker of the other tests.
struct Java {
    jars: String,
    address: String,
}

impl Java {
    /// `None` where no Kafka is.
    fn at(address: &str) -> Option<Java> {
        std::env::var_os("KAFKA_BROKERS")?;
        let root = env!("CARGO_MANIFEST_DIR");
        let told = Command::new(format!("{root}/dev/services")).arg("jars").output();
        let told = succeeded(told.expect("dev/services can be run"));
        Some(Java { jars: format!("{}/*", told.trim()), address: address.to_owned() })
    }

    fn run(&self, program: &str, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new("java");
        command.args(["-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp", &self.jars]);
        command.arg(format!("org.apache.kafka.tools.{program}"));
        command.args(["--bootstrap-server", &self.address]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("java can be started");
        child.stdin.take().expect("its input is ours").write_all(input.as_bytes()).expect("it listens");
        succeeded(child.wait_with_output().expect("it ends"))
    }

    /// Each line under the key that it gets.
    fn produce(&self, topic: &str, lines: &str, key: impl Fn(&Value) -> String) {
        let keyed = |line: &str| {
            let value = serde_json::from_str(line).expect("a line is JSON");
            format!("{}\t{line}\n", key(&value))
        };
        let lines: String = lines.lines().map(keyed).collect();
        self.run("ConsoleProducer", &["--topic", topic, "--property", "parse.key=true"], &lines);
    }

    /// The first record of a topic.
    fn consume(&self, topic: &str, more: &[&str]) -> String {
        let mut arguments = vec!["--topic", topic, "--from-beginning", "--max-messages", "1"];
        arguments.extend(["--timeout-ms", "60000", "--property", "print.key=true"]);
        arguments.extend(more);
        self.run("consumer.ConsoleConsumer", &arguments, "")
    }
}

fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it says text")
}

#[test]
fn javas_producer_sends_usage_and_its_consumer_gets_webhooks() {
    let (dev, address) = dev();
    let Some(java) = Java::at(&address) else { return };
    java.produce("billing.catalog", include_str!("../../../docs/catalog.jsonl"), |record| {
        let code = if record["code"].is_null() { &record["external_id"] } else { &record["code"] };
        format!("{}/{}", record["kind"].as_str().unwrap_or_default(), code.as_str().unwrap_or_default())
    });
    // What can't be billed comes back at once.
    let usage = r#"{"external_subscription_id":"sub_1","code":"nobodys"}"#;
    java.produce("usage.events", usage, |_| "cust_1".to_owned());
    java.produce("billing.commands", include_str!("../../../docs/commands.jsonl"), |_| "cust_1".to_owned());
    let rejected = java.consume("usage.rejected", &[]);
    assert!(rejected.contains(&format!("cust_1\t{usage}")), "{rejected}");
    let finalized = java.consume("webhooks.invoice.finalized", &["--group", "readers"]);
    assert!(finalized.contains("\"number\":\"ACM-cust_1-001\""), "{finalized}");
    assert_eq!(dev.ends().0, Some(0));
}

#[test]
fn members_with_different_strategies_share_what_all_of_them_know() {
    let (dev, address) = dev();
    let member = |strategies: &str| -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &address).set("group.id", "readers");
        let member: BaseConsumer =
            config.set("partition.assignment.strategy", strategies).create().expect("settings are sound");
        member.subscribe(&["webhooks.invoice.finalized"]).expect("a topic can be subscribed to");
        member
    };
    let has = |member: &BaseConsumer, share: usize| {
        let heard = member.poll(Duration::from_millis(100));
        assert!(heard.is_none_or(|heard| heard.is_ok()), "the group agrees");
        member.assignment().expect("a member knows its share").count() == share
    };
    let first = member("roundrobin");
    assert!((0..300).any(|_| has(&first, 8)), "{}", dev.said());
    let second = member("range,roundrobin");
    assert!((0..300).any(|_| has(&first, 4) & has(&second, 4)), "{}", dev.said());
    assert_eq!(dev.ends().0, Some(0));
}

#[test]
fn whoever_asks_for_too_much_is_hung_up_on_and_nobody_else() {
    let (dev, address) = dev();
    let answered = |request: &[u8]| {
        let mut client = TcpStream::connect(&address).expect("it listens");
        client.write_all(request).expect("it takes some bytes");
        client.shutdown(std::net::Shutdown::Write).expect("nothing more is said");
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        answer
    };
    // More than there is room for; less than nothing; a request that isn't known; one that isn't served in this version.
    for request in [
        &[0x7f, 0xff, 0xff, 0xff, 0, 0][..],
        &[0xff; 20],
        &[0, 0, 0, 10, 0, 99, 0, 0, 0, 0, 0, 1, 0, 0],
        &[0, 0, 0, 10, 0, 11, 0, 9, 0, 0, 0, 1, 0, 0],
    ] {
        assert!(answered(request).is_empty(), "{request:?}");
    }
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &address).create().expect("settings are sound");
    let metadata = client.fetch_metadata(None, Duration::from_secs(30)).expect("it answers others");
    assert_eq!(metadata.brokers().len(), 1);
    assert_eq!(format!("127.0.0.1:{}", metadata.brokers()[0].port()), address);
    assert_eq!(dev.ends().0, Some(0));
}
