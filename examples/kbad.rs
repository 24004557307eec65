use graceline::ingest::kafka::admin::TopicAdmin;
use graceline::ingest::kafka::{KafkaLog, KafkaSettings};
use graceline::ingest::log::*;
use graceline::persist::ShardId;
use graceline::shard::topics::{Rules, TopicNames};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::sync::Arc;
use std::time::{Duration, Instant};
fn sh(c: &str) { println!("== {c}: {:?}", std::process::Command::new("sh").args(["-c", c]).output().map(|o| (o.status.code(), String::from_utf8_lossy(&o.stdout).trim().to_string()))); }
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let p = format!("bad{}.", std::process::id());
    let settings = KafkaSettings { brokers: "127.0.0.1:29640".into(), prefix: p.clone(), ..KafkaSettings::default() };
    let names = TopicNames::new(&p, ["w"]);
    let rules = Rules { partitions: 2, event_bytes_max: 1 << 20, retention_ms: 1 << 40 };
    println!("{:?}", TopicAdmin::new(&settings).unwrap().prepare(&names.all(), &rules).await);
    let w: FutureProducer = ClientConfig::new().set("bootstrap.servers", &settings.brokers).set("linger.ms", "0").create().unwrap();
    for part in 0..2 { for i in 0..30 { let v = if i == 20 { "POISONPOISON".to_string() } else { format!("v{i}") }; w.send(FutureRecord::<str, str>::to(&names.usage).partition(part).payload(&v), Duration::from_secs(5)).await.unwrap(); } }
    sh("/tmp/kt/broker/down /tmp/kt/b3");
    let f = format!("/tmp/kt/b3/log/{}usage.events-1/00000000000000000000.log", p);
    let mut b = std::fs::read(&f).unwrap();
    let at = b.windows(6).position(|w| w == b"POISON").unwrap(); b[at] = b'X'; std::fs::write(&f, b).unwrap();
    sh("KAFKA_LIBS=/tmp/kafka-libs KAFKA_HEAP='-Xms128m -Xmx256m' /tmp/kt/broker/up 29640 /tmp/kt/b3 /tmp/kt/acl.properties");
    let log = KafkaLog::start(&settings, &names.logs(), Arc::new(|| 0)).unwrap();
    let lim = Limits { records_max: 1000, bytes_max: 1 << 20, wait_max: Duration::from_millis(200) };
    for round in 0..2 {
        let mut fs = Vec::new();
        for s in 0..2 { fs.push(loop { match log.open(ShardId(s), PerLog::default()).await { Ok(f) => break f, Err(e) => { println!("{e}"); tokio::time::sleep(Duration::from_millis(300)).await } } }); }
        for (s, f) in fs.iter_mut().enumerate() {
            let t = Instant::now(); let mut offs = Vec::new();
            let e = loop { match f.next(lim).await { Ok(b) => offs.extend(b.records().map(|r| r.offset.0)), Err(e) => break e.to_string() } if t.elapsed() > Duration::from_secs(4) { break "none".into() } };
            println!("round {round} shard {s}: {offs:?} then {e}");
        }
    }
}
