use super::*;
use graceline::publish::kafka::KafkaNotices;
use graceline::publish::{Notice, NoticeError, NoticeLog, OUTBOX_HEADER, Published, SEQ_HEADER};

pub(super) fn notice(topic: &str, partition: u32, header: &str, number: u64) -> Notice {
    Notice {
        topic: topic.into(),
        partition,
        key: Some(b"customer".to_vec()),
        value: Some(number.to_string().into_bytes()),
        headers: vec![
            ("webhook-id".into(), b"id".to_vec()),
            (header.into(), number.to_string().into_bytes()),
        ],
    }
}

pub(super) fn webhooks(desk: &Desk, shard: u32, numbers: std::ops::Range<u64>) -> Vec<Notice> {
    numbers.map(|n| notice(&desk.names.webhooks[0], shard, SEQ_HEADER, n)).collect()
}

pub(super) fn notices(desk: &Desk) -> KafkaNotices {
    KafkaNotices::start(&desk.settings, &desk.names.outputs()).expect("settings are sound")
}

pub(super) async fn append(log: &KafkaNotices, notices: Vec<Notice>) {
    in_time("notices to be durable", log.append(notices.into())).await.expect("the broker takes them");
}

async fn last(log: &KafkaNotices, shard: u32) -> Vec<(Option<u64>, Option<u64>)> {
    let last = in_time("a look at the tails", log.last(ShardId(shard))).await.expect("the broker answers");
    last.into_iter().map(|Published { seq, outbox, .. }| (seq, outbox)).collect()
}

/// The numbers that a shard's partition of the webhook topic holds, in its order.
pub(super) async fn published(desk: &Desk, shard: u32) -> Vec<u64> {
    published_in(desk, &desk.names.webhooks[0], shard).await
}

async fn published_in(desk: &Desk, topic: &str, shard: u32) -> Vec<u64> {
    let mut names = desk.names.logs();
    names[LogName::Usage] = topic.to_owned();
    let log = KafkaLog::start(&desk.settings, &names, wall_clock()).expect("settings are sound");
    let mut feed = open(&log, shard, &[]).await;
    read_to_end(&mut feed).await.into_iter().map(|(.., value)| value.parse().expect("a number")).collect()
}

#[tokio::test]
async fn notices_are_in_order_and_gapless_across_a_restart() {
    let desk = desk(2).await;
    let log = notices(&desk);
    assert_eq!(last(&log, 1).await, [(None, None); 3]);
    append(&log, webhooks(&desk, 1, 0..1000)).await;
    // Nobody waits for these; they may be out or not.
    let lost = webhooks(&desk, 1, 1000..1500);
    let _ = tokio::time::timeout(Duration::from_millis(3), log.append(lost.into())).await;
    drop(log);
    let log = notices(&desk);
    let next = last(&log, 1).await[0].0.expect("something is out") + 1;
    assert!(next >= 1000);
    append(&log, webhooks(&desk, 1, next..2000)).await;
    let mut all = published(&desk, 1).await;
    let count = all.len();
    all.dedup();
    // What nobody waited for may have gone out after the look at the tail, and then it is there twice.
    let repeats = all.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    assert!(repeats <= 1, "at most one stretch is repeated");
    let mut kinds = all.clone();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, (0..2000).collect::<Vec<_>>(), "of {count}");
    assert!(published(&desk, 0).await.is_empty());
}

#[tokio::test]
async fn the_tails_say_what_is_out_for_each_topic() {
    let desk = desk(2).await;
    let log = notices(&desk);
    let rejected = notice(&desk.names.usage_rejected, 0, OUTBOX_HEADER, 41);
    let other_shard = notice(&desk.names.webhooks[0], 1, SEQ_HEADER, 99);
    append(&log, [webhooks(&desk, 0, 0..7), vec![rejected, other_shard]].concat()).await;
    assert_eq!(last(&log, 0).await, [(Some(6), None), (None, Some(41)), (None, None)]);
    append(&log, webhooks(&desk, 0, 2..4)).await;
    assert_eq!(last(&log, 0).await[0], (Some(6), None), "a late repeat hides nothing near it");
    let writer = desk.writer();
    writer.numbers(&desk.names.webhooks[0], 0, 0..700).await;
    assert_eq!(last(&log, 0).await[0], (Some(6), None), "nor do records of somebody else");
    assert_eq!(last(&log, 1).await[0], (Some(99), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tails_are_found_behind_transactions() {
    let desk = desk(1).await;
    let log = notices(&desk);
    append(&log, webhooks(&desk, 0, 0..5)).await;
    let sender = Writer::new(&desk.settings.brokers, &[("transactional.id", &desk.settings.group)]);
    tokio::task::block_in_place(|| {
        use rdkafka::producer::Producer;
        sender.0.init_transactions(PATIENCE).expect("transactions");
        for _ in 0..20 {
            sender.0.begin_transaction().expect("a transaction begins");
            let record = FutureRecord::<str, str>::to(&desk.names.webhooks[0]).partition(0).payload("x");
            drop(sender.0.send_result(record).expect("there is room"));
            sender.0.abort_transaction(PATIENCE).expect("a transaction ends");
        }
    });
    assert_eq!(last(&log, 0).await[0], (Some(4), None));
}

#[tokio::test]
async fn many_shards_look_at_their_tails_at_once() {
    let desk = desk(16).await;
    let log = Arc::new(notices(&desk));
    for shard in 0..16 {
        append(&log, webhooks(&desk, shard, 0..20 + u64::from(shard))).await;
    }
    let looks: Vec<_> = (0..16)
        .map(|shard| {
            let log = log.clone();
            tokio::spawn(async move { last(&log, shard).await[0].0 })
        })
        .collect();
    for (shard, look) in looks.into_iter().enumerate() {
        assert_eq!(look.await.expect("a look"), Some(19 + shard as u64));
    }
}

#[tokio::test]
async fn a_notice_that_is_refused_stops_what_is_behind_it_and_nobody_else() {
    let desk = desk(2).await;
    let log = Arc::new(notices(&desk));
    let topic = desk.names.usage_rejected.clone();
    let mut poisoned: Vec<Notice> = (0..100).map(|n| notice(&topic, 0, OUTBOX_HEADER, n)).collect();
    // More than a batch of that topic may have, and nothing that could be compressed.
    let next = |n: &u32| Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let noise = std::iter::successors(Some(1), next).map(|n| (n >> 24) as u8).take(2 << 20).collect();
    poisoned[50].value = Some(noise);
    let sound = {
        let (log, topic) = (log.clone(), topic.clone());
        tokio::spawn(async move {
            for n in 0..200u64 {
                append(&log, vec![notice(&topic, 1, OUTBOX_HEADER, n)]).await;
            }
        })
    };
    let refused = in_time("an answer", log.append(poisoned.clone().into())).await;
    assert!(matches!(refused, Err(NoticeError::Refused { partition: 0, .. })), "{refused:?}");
    let again = in_time("an answer", log.append(poisoned[50..51].into())).await;
    assert!(matches!(again, Err(NoticeError::Refused { partition: 0, .. })), "{again:?}");
    in_time("the others' notices", sound).await.expect("they are durable");
    let mut others = published_in(&desk, &topic, 1).await;
    others.dedup();
    assert_eq!(others, (0..200).collect::<Vec<_>>());
    let mut ours = published_in(&desk, &topic, 0).await;
    ours.dedup();
    assert_eq!(ours, (0..ours.len() as u64).collect::<Vec<_>>(), "nothing behind it is out");
    assert!(ours.len() <= 50);
}

#[tokio::test]
async fn a_topic_that_is_not_there_refuses() {
    let desk = desk(1).await;
    let log = notices(&desk);
    let nowhere = format!("{}nowhere", desk.settings.prefix);
    let refused = in_time("an answer", log.append([notice(&nowhere, 0, SEQ_HEADER, 0)].into())).await;
    assert!(matches!(&refused, Err(NoticeError::Refused { topic, .. }) if *topic == nowhere), "{refused:?}");
    append(&log, webhooks(&desk, 0, 0..1)).await;
    let log = KafkaNotices::start(&desk.settings, &[nowhere]).expect("settings are sound");
    let last = in_time("an answer", log.last(ShardId(0))).await;
    assert!(matches!(last, Err(NoticeError::Refused { .. })), "{last:?}");
}
