//! The broker is killed and started again, by the commands in `KAFKA_KILL` and `KAFKA_START`.

use super::notices::{append, notices, published, webhooks};
use super::*;
use graceline::ingest::kafka::membership::{Change, Membership};
use graceline::publish::NoticeLog;
use std::process::{Command, Stdio};

fn run(variable: &str, default: &str) {
    let command = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::null());
    let status = shell.status().expect("a shell runs");
    assert!(status.success(), "{variable} does what it is for: {command}");
}

fn kill() {
    run("KAFKA_KILL", "dev/services kill kafka");
}

fn start() {
    run("KAFKA_START", "dev/services start kafka");
}

/// Topics on a broker that is ours alone.
async fn own_desk(partitions: u32) -> (Desk, tokio::sync::RwLockWriteGuard<'static, ()>) {
    let mut desk = desk(partitions).await;
    desk.broker = None;
    (desk, BROKER.write().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_and_sending_go_on_where_they_were_when_the_broker_comes_back() {
    let (desk, _alone) = own_desk(2).await;
    let writer = desk.writer();
    writer.numbers(&desk.names.usage, 0, 0..1000).await;
    let log = desk.log();
    let mut feed = open(&log, 0, &[]).await;
    assert_eq!(read(&mut feed, 1000).await.len(), 1000);
    let out = Arc::new(notices(&desk));
    append(&out, webhooks(&desk, 0, 0..100)).await;

    kill();
    assert!(matches!(feed.ends().await, Err(LogError::Unavailable(_))), "no end is known");
    assert!(log.open(ShardId(1), from(&[])).await.is_err(), "no shard can be opened");
    let batch = feed.next(LIMITS).await.expect("silence is no error");
    assert_eq!((batch.records_count(), batch.read_to[LogName::Usage]), (0, Offset(1000)));
    let sending = {
        let (out, more) = (out.clone(), webhooks(&desk, 0, 100..20_000));
        tokio::spawn(async move { out.append(more.into()).await })
    };
    let later = feed.next(Limits { wait_max: Duration::from_secs(3), ..LIMITS }).await;
    let is_over = match later {
        Ok(batch) => {
            assert!(batch.is_empty(), "nothing comes from a broker that is away");
            false
        }
        // A client that is away from all brokers for long forgets what topics there are.
        Err(error) => matches!(error, LogError::Gone { .. } | LogError::Unavailable(_)),
    };
    assert!(!sending.is_finished(), "what can't be sent waits");
    start();

    in_time("the notices", sending).await.expect("it lives").expect("the broker takes them");
    writer.numbers(&desk.names.usage, 0, 1000..2000).await;
    if is_over {
        feed = open(&log, 0, &[(LogName::Usage, 1000)]).await;
    }
    let seen = read(&mut feed, 1000).await;
    assert!(seen.iter().enumerate().all(|(n, (_, offset, _))| *offset == 1000 + n as u64));
    assert_eq!(published(&desk, 0).await, (0..20_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_under_way_when_the_broker_is_killed_arrive_once_and_in_order() {
    let (desk, _alone) = own_desk(1).await;
    let out = Arc::new(notices(&desk));
    let sending = {
        let (out, batches) = (out.clone(), (0..200).map(|n| webhooks(&desk, 0, n * 100..(n + 1) * 100)));
        let batches: Vec<_> = batches.collect();
        tokio::spawn(async move {
            for batch in batches {
                append(&out, batch).await;
            }
        })
    };
    let some = async { while published(&desk, 0).await.len() < 500 {} };
    in_time("some notices", some).await;
    kill();
    start();
    in_time("the notices", sending).await.expect("it lives");
    assert_eq!(published(&desk, 0).await, (0..20_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_gets_its_shards_back_after_an_outage() {
    let (mut desk, _alone) = own_desk(2).await;
    desk.settings.properties.insert("session.timeout.ms".into(), "6000".into());
    let (member, mut changes) = Membership::join(&desk.settings, &desk.names.usage).expect("sound settings");
    let first = in_time("the shards", changes.recv()).await;
    assert!(matches!(first, Some(Change::Assigned(_))), "{first:?}");
    kill();
    // Longer than a session lasts.
    let told = tokio::time::timeout(Duration::from_secs(9), changes.recv()).await;
    start();
    let lost = match told {
        Ok(change) => change,
        Err(_) => in_time("a change", changes.recv()).await,
    };
    assert!(matches!(&lost, Some(Change::Lost(shards)) if shards.len() == 2), "{lost:?}");
    let mut owned = 0;
    while owned < 2 {
        if let Some(Change::Assigned(shards)) = in_time("the shards", changes.recv()).await {
            owned += shards.len();
        }
    }
    drop(member);
}
