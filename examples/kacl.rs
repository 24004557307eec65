use graceline::ingest::kafka::admin::TopicAdmin;
use graceline::ingest::kafka::membership::Membership;
use graceline::ingest::kafka::{KafkaLog, KafkaSettings};
use graceline::ingest::log::*;
use graceline::persist::ShardId;
use graceline::publish::kafka::KafkaNotices;
use graceline::publish::{Notice, NoticeLog};
use graceline::shard::topics::{Rules, TopicNames};
use std::sync::Arc;
use std::time::{Duration, Instant};
fn acl(args: &str) {
    let ok = std::process::Command::new("sh").args(["-c", &format!("java -cp '/tmp/kafka-libs/*' org.apache.kafka.tools.AclCommand --bootstrap-server 127.0.0.1:29640 {args}")]).output().unwrap();
    println!("== {args} {}", String::from_utf8_lossy(&ok.stderr));
}
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let settings = KafkaSettings { brokers: "127.0.0.1:29640".into(), prefix: "acl.".into(), ..KafkaSettings::default() };
    let names = TopicNames::new("acl.", ["w"]);
    let admin = TopicAdmin::new(&settings).unwrap();
    let rules = Rules { partitions: 2, event_bytes_max: 1 << 20, retention_ms: 1 << 40 };
    println!("{:?}", admin.prepare(&names.all(), &rules).await);
    let log = KafkaLog::start(&settings, &names.logs(), Arc::new(|| 0)).unwrap();
    let out = KafkaNotices::start(&settings, &names.outputs()).unwrap();
    let (_m, mut ch) = Membership::join(&settings, &names.usage).unwrap();
    println!("{:?}", ch.recv().await);
    let mut a = log.open(ShardId(0), PerLog::default()).await.unwrap();
    let mut b = log.open(ShardId(1), PerLog::default()).await.unwrap();
    let n = |i: u64| vec![Notice { topic: names.webhooks[0].as_str().into(), partition: 0, key: None, value: Some(b"v".to_vec()), headers: vec![("graceline-seq".into(), i.to_string().into_bytes())] }];
    println!("{:?}", out.append(n(0)).await);
    let lim = Limits { records_max: 10, bytes_max: 1 << 20, wait_max: Duration::from_millis(200) };
    a.next(lim).await.unwrap();
    acl("--add --deny-principal User:ANONYMOUS --operation Read --topic acl.billing.commands");
    let t = Instant::now();
    let e = loop { if let Err(e) = a.next(lim).await { break e } if t.elapsed() > Duration::from_secs(20) { break LogError::Unavailable("NO ERROR".into()) } };
    println!("shard 0 after {:?}: {e}", t.elapsed());
    println!("shard 1: {:?}", b.next(lim).await.map(|b| b.read_to));
    println!("ends {:?}", b.ends().await);
    drop(a);
    println!("open: {:?}", log.open(ShardId(0), PerLog::default()).await.err());
    println!("check: {:?}", admin.check(&names.all(), &rules).await);
    acl("--remove --force --deny-principal User:ANONYMOUS --operation Read --topic acl.billing.commands");
    println!("open: {:?}", log.open(ShardId(0), PerLog::default()).await.err());
    acl("--add --deny-principal User:ANONYMOUS --operation All --topic acl.billing.catalog");
    let t = Instant::now();
    let e = loop { if let Err(e) = b.next(lim).await { break e } if t.elapsed() > Duration::from_secs(20) { break LogError::Unavailable("NO ERROR".into()) } };
    println!("shard 1 after {:?}: {e}", t.elapsed());
    println!("open: {:?}", log.open(ShardId(0), PerLog::default()).await.err());
    println!("check: {:?}", admin.check(&names.all(), &rules).await);
    acl("--remove --force --deny-principal User:ANONYMOUS --operation All --topic acl.billing.catalog");
    acl("--add --deny-principal User:ANONYMOUS --operation Write --topic acl.w");
    let t = Instant::now();
    println!("append: {:?} {:?}", out.append(n(1)).await, t.elapsed());
    println!("append: {:?} {:?}", out.append(n(1)).await, t.elapsed());
    println!("last: {:?}", out.last(ShardId(0)).await);
    acl("--remove --force --deny-principal User:ANONYMOUS --operation Write --topic acl.w");
    let t = Instant::now();
    loop { let r = out.append(n(1)).await; if r.is_ok() { break } tokio::time::sleep(Duration::from_millis(100)).await; }
    println!("append ok after {:?}", t.elapsed());
    acl("--add --deny-principal User:ANONYMOUS --operation Read --group graceline");
    let t = Instant::now();
    while t.elapsed() < Duration::from_secs(12) { if let Ok(c) = tokio::time::timeout(Duration::from_secs(1), ch.recv()).await { println!("{:?} change {c:?}", t.elapsed()); } }
    println!("open with group denied: {:?}", log.open(ShardId(0), PerLog::default()).await.err());
    acl("--remove --force --deny-principal User:ANONYMOUS --operation Read --group graceline");
    let t = Instant::now();
    while t.elapsed() < Duration::from_secs(12) { if let Ok(c) = tokio::time::timeout(Duration::from_secs(1), ch.recv()).await { println!("{:?} change {c:?}", t.elapsed()); } }
}
