use graceline::ingest::kafka::{KafkaLog, KafkaSettings};
use graceline::ingest::log::{Feed, Limits, LogName, PerLog, UsageLog};
use graceline::persist::ShardId;
use graceline::ingest::kafka::admin::TopicAdmin;
use graceline::shard::topics::{Rules, TopicNames};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
fn threads() {
    for t in std::fs::read_dir("/proc/self/task").unwrap() {
        let p = t.unwrap().path();
        let stat = std::fs::read_to_string(p.join("stat")).unwrap();
        let name = stat.split('(').nth(1).unwrap().split(')').next().unwrap().to_string();
        let f: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let c = (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0;
        if c > 0.02 { print!(" {name}={c:.2}"); }
    }
    println!();
}
fn bare(brokers: &str, topic: &str) {
    let mut c = ClientConfig::new();
    c.set("bootstrap.servers", brokers).set("group.id", "bare").set("enable.auto.commit", "false").set("auto.offset.reset", "error")
     .set("fetch.queue.backoff.ms", "5").set("queued.max.messages.kbytes", "262144").set("queued.min.messages", "1000000")
     .set("fetch.message.max.bytes", "4194304").set("fetch.max.bytes", "67108864").set("fetch.wait.max.ms", "50").set("socket.nagle.disable", "true");
    let consumer: BaseConsumer = c.create().unwrap();
    let mut total = 0u64;
    let mut list = TopicPartitionList::new();
    for p in 0..4 { total += consumer.fetch_watermarks(topic, p, Duration::from_secs(10)).unwrap().1 as u64; list.add_partition_offset(topic, p, Offset::Offset(0)).unwrap(); }
    consumer.assign(&list).unwrap();
    let mut n = 0u64; let mut bytes = 0; let mut first = None;
    while n < total {
        if let Some(Ok(m)) = consumer.poll(Duration::from_secs(1)) { if first.is_none() { first = Some((Instant::now(), cpu())); } n += 1; bytes += m.payload().unwrap().len(); }
    }
    let (t, c) = first.unwrap(); let s = t.elapsed().as_secs_f64();
    print!("bare {n} {bytes} {:.0}/s cpu {:.0} ns/rec", n as f64 / s, (cpu() - c) / n as f64 * 1e9); threads();
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let brokers = a[2].clone();
    if a[1] == "bare" { return bare(&brokers, "speed.usage.events"); }
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    rt.block_on(async {
        let mut settings = KafkaSettings { brokers, prefix: "speed.".into(), ..KafkaSettings::default() };
        for kv in &a[3..] { if kv == "nohdr" { settings.usage_headers = false; continue; } let (k, v) = kv.split_once('=').unwrap(); settings.properties.insert(k.into(), v.into()); }
        let names = TopicNames::new("speed.", ["w"]);
        let _ = TopicAdmin::new(&settings).unwrap().prepare(&names.all(), &Rules { partitions: 4, event_bytes_max: 1 << 20, retention_ms: 1 << 40 }).await;
        let log = KafkaLog::start(&settings, &names.logs(), Arc::new(|| 0)).unwrap();
        let mut feeds = Vec::new();
        for s in 0..4 { feeds.push(log.open(ShardId(s), PerLog::default()).await.unwrap()); }
        let mut total = 0; for f in &mut feeds { total += f.ends().await.unwrap()[LogName::Usage].0; }
        let start = (Instant::now(), cpu());
        let tasks: Vec<_> = feeds.into_iter().map(|mut f| tokio::spawn(async move {
            let ends = f.ends().await.unwrap();
            let (mut n, mut bytes, mut batches) = (0u64, 0usize, 0u64);
            loop {
                let b = f.next(Limits { records_max: 100_000, bytes_max: 64 << 20, wait_max: Duration::from_millis(100) }).await.unwrap();
                batches += 1;
                for r in b.records() { n += 1; bytes += r.value.map_or(0, |v| v.len()); }
                if b.read_to[LogName::Usage] >= ends[LogName::Usage] { return (n, bytes, batches); }
            }
        })).collect();
        let (mut n, mut bytes, mut batches) = (0, 0, 0);
        for t in tasks { let (a, b, c) = t.await.unwrap(); n += a; bytes += b; batches += c; }
        let s = start.0.elapsed().as_secs_f64();
        assert_eq!(n, total);
        print!("feed {n} {bytes} {batches} batches {:.0}/s cpu {:.0} ns/rec", n as f64 / s, (cpu() - start.1) / n as f64 * 1e9); threads();
    });
}
