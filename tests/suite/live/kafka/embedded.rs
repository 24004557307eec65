//! On the embedded broker, which needs no other program.

use super::notices::notice;
use super::*;
use graceline::ingest::kafka::GroupProtocol;
use graceline::ingest::kafka::embedded::Embedded;
use graceline::ingest::kafka::membership::{Change, Membership};
use graceline::publish::kafka::KafkaNotices;
use graceline::publish::{NoticeLog, SEQ_HEADER};
use std::sync::atomic::{AtomicI64, Ordering};

struct Shop {
    _broker: Embedded,
    settings: KafkaSettings,
    names: TopicNames,
}

fn shop(partitions: u32) -> Shop {
    let names = TopicNames::new("", [WEBHOOK]);
    let topics: Vec<(String, u32)> = names
        .all()
        .into_iter()
        .map(|topic| (topic.name.clone(), if topic.name == names.catalog { 1 } else { partitions }))
        .collect();
    let broker = Embedded::start(&topics).expect("it starts");
    let settings = broker.settings(&KafkaSettings::default());
    Shop { settings, names, _broker: broker }
}

/// A clock that is asked for each record and now and then besides, and is wrong once.
fn clock() -> Clock {
    let asked = AtomicI64::new(0);
    Arc::new(move || match asked.fetch_add(1, Ordering::Relaxed) {
        20 => 1,
        n => 1_000_000 + n,
    })
}

#[tokio::test]
async fn arrival_is_when_a_record_is_read_and_never_goes_back() {
    let shop = shop(2);
    let writer = Writer::new(&shop.settings.brokers, &[]);
    writer.numbers(&shop.names.usage, 1, 0..100).await;
    let log = KafkaLog::start(&shop.settings, &shop.names.logs(), clock()).expect("settings are sound");
    let mut feed = open(&log, 1, &[(LogName::Usage, 40)]).await;
    let mut times = Vec::new();
    let reading = async {
        while times.len() < 60 {
            let batch = feed.next(LIMITS).await.expect("the log can be read");
            assert!(batch.runs.iter().all(|run| !run.has_producer_time()));
            times.extend(batch.records().map(|record| (record.offset.0, record.appended_ms)));
        }
    };
    in_time("sixty records", reading).await;
    assert_eq!((times[0].0, times[59].0), (40, 99));
    assert!(times.is_sorted_by_key(|(_, ms)| *ms) && times[0].1 >= 1_000_000, "{times:?}");
    assert_eq!(in_time("the ends", feed.ends()).await.expect("it answers")[LogName::Usage], Offset(100));
}

#[tokio::test]
async fn members_share_and_notices_are_numbered_as_on_any_broker() {
    let shop = shop(2);
    let (member, mut changes) = Membership::join(&shop.settings, &shop.names.usage).expect("sound settings");
    let first = in_time("the shards", changes.recv()).await;
    assert!(matches!(&first, Some(Change::Assigned(shards)) if shards.len() == 2), "{first:?}");
    let out = KafkaNotices::start(&shop.settings, &shop.names.outputs()).expect("settings are sound");
    let some = (0..50).map(|n| notice(&shop.names.webhooks[0], 1, SEQ_HEADER, n)).collect();
    in_time("notices", out.append(some)).await.expect("it takes them");
    let last = in_time("the tails", out.last(ShardId(1))).await.expect("it answers");
    assert_eq!(last[0].seq, Some(49));
    drop(member);
}

#[tokio::test]
async fn a_member_that_takes_whatever_protocol_there_is_gets_its_shard() {
    let shop = shop(1);
    let settings = KafkaSettings { group_protocol: GroupProtocol::Auto, ..shop.settings.clone() };
    let (_member, mut changes) = Membership::join(&settings, &shop.names.usage).expect("sound settings");
    let assigned = async {
        loop {
            if let Some(Change::Assigned(shards)) = changes.recv().await {
                return shards;
            }
        }
    };
    assert_eq!(in_time("the shard", assigned).await, [ShardId(0)]);
}

#[tokio::test]
async fn an_offset_out_of_range_is_named_here_too() {
    let shop = shop(1);
    let log = KafkaLog::start(&shop.settings, &shop.names.logs(), clock()).expect("settings are sound");
    let error = in_time("an answer", log.open(ShardId(0), from(&[(LogName::Usage, 5)]))).await.err();
    assert!(matches!(error, Some(LogError::OutOfRange { end: Offset(0), .. })), "{error:?}");
}
