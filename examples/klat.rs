use graceline::ingest::kafka::admin::TopicAdmin;
use graceline::ingest::kafka::{KafkaLog, KafkaSettings};
use graceline::ingest::log::{Feed, Limits, LogName, PerLog, UsageLog};
use graceline::persist::ShardId;
use graceline::publish::kafka::KafkaNotices;
use graceline::publish::{Notice, NoticeLog};
use graceline::shard::topics::{Rules, TopicNames};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn pct(mut v: Vec<f64>, what: &str) {
    v.sort_by(f64::total_cmp);
    let at = |q: f64| v[((v.len() as f64 * q) as usize).min(v.len() - 1)];
    println!("{what}: n={} p50={:.1} p90={:.1} p99={:.1} max={:.1} ms", v.len(), at(0.5), at(0.9), at(0.99), at(1.0));
}
#[tokio::main]
async fn main() {
    let brokers = std::env::args().nth(1).unwrap();
    let n = 64u32;
    let settings = KafkaSettings { brokers: brokers.clone(), prefix: "lat.".into(), ..KafkaSettings::default() };
    let hooks: Vec<String> = (0..11).map(|i| format!("webhooks.w{i}")).collect();
    let names = TopicNames::new("lat.", hooks.iter().map(|s| s.as_str()));
    let t = Instant::now();
    let f = TopicAdmin::new(&settings).unwrap().prepare(&names.all(), &Rules { partitions: n, event_bytes_max: 1 << 20, retention_ms: 1 << 40 }).await.unwrap();
    println!("prepare {:?} {f:?}", t.elapsed());
    let t = Instant::now();
    let f = TopicAdmin::new(&settings).unwrap().check(&names.all(), &Rules { partitions: n, event_bytes_max: 1 << 20, retention_ms: 1 << 40 }).await.unwrap();
    println!("check {:?} {}", t.elapsed(), f.len());
    let out = Arc::new(KafkaNotices::start(&settings, &names.outputs()).unwrap());
    let notices = |s: u32, from: u64, k: u64| -> Vec<Notice> { (from..from + k).map(|i| Notice { topic: names.webhooks[(i % 11) as usize].as_str().into(), partition: s, key: Some(b"k".to_vec()), value: Some(vec![b'x'; 1500]), headers: vec![("graceline-seq".into(), i.to_string().into_bytes())] }).collect() };
    for s in 0..n { out.append(notices(s, 0, 220)).await.unwrap(); }
    let mut v = Vec::new();
    for i in 0..200 { let t = Instant::now(); out.append(notices(i % n, 1000 + i as u64 * 10, 10)).await.unwrap(); v.push(t.elapsed().as_secs_f64() * 1e3); }
    pct(v, "append of 10");
    let t = Instant::now();
    let mut hs = Vec::new();
    for s in 0..n { let (o, ns) = (out.clone(), notices(s, 9000, 3000)); hs.push(tokio::spawn(async move { o.append(ns).await.unwrap() })); }
    for h in hs { h.await.unwrap(); }
    println!("append {} notices of 1500 B: {:.0}/s", n * 3000, n as f64 * 3000.0 / t.elapsed().as_secs_f64());
    for _ in 0..3 { let mut v = Vec::new(); for s in 0..20 { let t = Instant::now(); let l = out.last(ShardId(s)).await.unwrap(); assert!(l[0].seq.is_some()); v.push(t.elapsed().as_secs_f64() * 1e3); } pct(v, "last, one shard, 13 topics"); }
    let t = Instant::now();
    let hs: Vec<_> = (0..n).map(|s| { let o = out.clone(); tokio::spawn(async move { o.last(ShardId(s)).await.unwrap() }) }).collect();
    for h in hs { h.await.unwrap(); }
    println!("last, {n} shards at once: {:?}", t.elapsed());
    let log = Arc::new(KafkaLog::start(&settings, &names.logs(), Arc::new(|| 0)).unwrap());
    let t = Instant::now();
    let mut feeds = vec![log.open(ShardId(0), PerLog::default()).await.unwrap()];
    println!("first open {:?}", t.elapsed());
    let t = Instant::now();
    let hs: Vec<_> = (1..n).map(|s| { let o = log.clone(); tokio::spawn(async move { o.open(ShardId(s), PerLog::default()).await.unwrap() }) }).collect();
    for h in hs { feeds.push(h.await.unwrap()); }
    println!("open 63 more {:?}", t.elapsed());
    let lim = Limits { records_max: 1000, bytes_max: 1 << 20, wait_max: Duration::from_millis(500) };
    let mut v = Vec::new();
    for i in 0..50 { let t = Instant::now(); feeds[i].ends().await.unwrap(); v.push(t.elapsed().as_secs_f64() * 1e3); }
    pct(v, "ends, one shard");
    let t = Instant::now();
    let hs: Vec<_> = feeds.into_iter().map(|mut f| tokio::spawn(async move { f.ends().await.unwrap(); f })).collect();
    let mut feeds = Vec::new();
    for h in hs { feeds.push(h.await.unwrap()); }
    println!("ends, 64 shards at once: {:?}", t.elapsed());
    let p: FutureProducer = ClientConfig::new().set("bootstrap.servers", &brokers).set("linger.ms", "0").create().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut v = Vec::new(); let mut w = Vec::new();
    for i in 0..200u32 {
        let f = &mut feeds[(i % n) as usize];
        let t = Instant::now();
        let sent = p.send_result(FutureRecord::<str, str>::to(&names.usage).partition((i % n) as i32).payload("x").key("k")).unwrap();
        let b = loop { let b = f.next(lim).await.unwrap(); if !b.is_empty() { break b } };
        v.push(t.elapsed().as_secs_f64() * 1e3);
        assert_eq!(b.records_count(), 1);
        sent.await.unwrap().unwrap();
        let t = Instant::now();
        let e = f.ends().await.unwrap();
        while !LogName::ALL.iter().all(|l| b.read_to[*l] >= e[*l]) { f.next(lim).await.unwrap(); }
        w.push(t.elapsed().as_secs_f64() * 1e3);
    }
    pct(v, "produce to next()"); pct(w, "ends then reached");
    let stat = || { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<String> = s.rsplit(')').next().unwrap().split_whitespace().map(String::from).collect(); (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0 };
    let c = stat(); tokio::time::sleep(Duration::from_secs(10)).await;
    println!("idle, 64 shards open: {:.1} % of a core; threads {}", (stat() - c) * 10.0, std::fs::read_dir("/proc/self/task").unwrap().count());
}
