use super::*;
use LogName::{Catalog, Commands, Forwarded, Numbers, Usage};
use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::producer::Producer;
use rdkafka::{Offset as At, TopicPartitionList};

fn raw_admin(desk: &Desk) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &desk.settings.brokers).create().expect("settings are sound")
}

#[tokio::test]
async fn a_shard_is_read_from_exactly_where_it_says() {
    let desk = desk(2).await;
    let writer = desk.writer();
    writer.numbers(&desk.names.usage, 1, 0..10).await;
    writer.numbers(&desk.names.commands, 1, 0..5).await;
    writer.numbers(&desk.names.usage, 0, 100..110).await;
    let log = desk.log();
    let mut feed = open(&log, 1, &[(Usage, 3), (Commands, 2)]).await;
    let expected: Vec<Seen> = (3..10)
        .map(|n| (Usage, n, n.to_string()))
        .chain((2..5).map(|n| (Commands, n, n.to_string())))
        .collect();
    assert_eq!(read_to_end(&mut feed).await, expected);
}

#[tokio::test]
async fn opening_again_and_again_neither_skips_nor_repeats() {
    let desk = desk(1).await;
    desk.writer().numbers(&desk.names.usage, 0, 0..20_000).await;
    let log = desk.log();
    let mut at = 0;
    while at < 20_000 {
        let mut feed = open(&log, 0, &[(Usage, at)]).await;
        let limits = Limits { records_max: 777, ..LIMITS };
        for _ in 0..2 {
            let batch = in_time("a batch", feed.next(limits)).await.expect("the log can be read");
            for (_, offset, value) in seen(&batch) {
                assert_eq!((offset, value), (at, at.to_string()));
                at += 1;
            }
        }
    }
}

/// The client remembers that a log was paused, even when it isn't reading it any more.
#[tokio::test]
async fn a_log_that_was_paused_is_read_on_when_its_shard_is_opened_again() {
    let mut desk = desk(1).await;
    desk.settings.read_ahead_bytes_max = 1;
    desk.writer().numbers(&desk.names.usage, 0, 0..100_000).await;
    let log = desk.log();
    let mut feed = open(&log, 0, &[(Usage, 0)]).await;
    in_time("a batch", feed.next(LIMITS)).await.expect("the log can be read");
    // More than may be read ahead comes meanwhile.
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(feed);
    let mut feed = open(&log, 0, &[(Usage, 50_000)]).await;
    let (mut at, begun) = (50_000, tokio::time::Instant::now());
    while at < 100_000 {
        assert!(begun.elapsed() < PATIENCE, "nothing comes behind {at}");
        let batch = in_time("a batch", feed.next(LIMITS)).await.expect("the log can be read");
        for (_, offset, value) in seen(&batch) {
            assert_eq!((offset, value), (at, at.to_string()));
            at += 1;
        }
    }
}

#[tokio::test]
async fn five_logs_come_in_the_order_of_their_append_times() {
    let desk = desk(1).await;
    let writer = desk.writer();
    let names = desk.names.logs();
    let mut expected = Vec::new();
    for (round, log) in
        [Usage, Numbers, Usage, Commands, Forwarded, Catalog, Usage, Commands].into_iter().enumerate()
    {
        let offset = expected.iter().filter(|(other, ..): &&Seen| *other == log).count() as u64;
        writer.numbers(&names[log], 0, round as u64..round as u64 + 1).await;
        expected.push((log, offset, round.to_string()));
        // The next one has a later time.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let log = desk.log();
    let mut feed = open(&log, 0, &[]).await;
    assert_eq!(read_to_end(&mut feed).await, expected);
    writer.numbers(&desk.names.commands, 0, 50..51).await;
    assert_eq!(read(&mut feed, 1).await, [(Commands, 2, "50".into())]);
}

#[tokio::test]
async fn keys_values_and_headers_come_as_they_were_written() {
    let desk = desk(1).await;
    let writer = desk.writer();
    let topic = &desk.names.usage;
    writer.one(topic, 0, Some(b"key"), Some(b"value"), Some(("name", Some(b"\xff")))).await;
    writer.one(topic, 0, Some(b""), Some(b""), Some(("empty", Some(b"")))).await;
    writer.one(topic, 0, None, None, Some(("none", None))).await;
    let batch = wire::batch(&[
        wire::Record { header: b"\xffname", value: b"odd" },
        wire::Record { header: b"n", value: b"even" },
    ]);
    wire::produce(&desk.settings.brokers, topic, 0, &batch);
    let log = desk.log();
    let mut feed = open(&log, 0, &[]).await;
    let mut batch = Batch::default();
    while batch.records_count() < 5 {
        batch
            .runs
            .extend(in_time("five records", feed.next(LIMITS)).await.expect("the log can be read").runs);
    }
    let records: Vec<_> = batch.records().collect();
    assert_eq!((records[0].key, records[0].value), (Some(&b"key"[..]), Some(&b"value"[..])));
    assert_eq!(records[0].headers.get("name"), Some(&b"\xff"[..]));
    assert_eq!((records[1].key, records[1].value), (Some(&b""[..]), Some(&b""[..])));
    assert_eq!(records[1].headers.get("empty"), Some(&b""[..]));
    assert_eq!((records[2].key, records[2].value), (None, None));
    assert_eq!(records[2].headers.into_iter().collect::<Vec<_>>(), [(&b"none"[..], None)]);
    assert_eq!((records[3].value, records[3].headers.is_empty()), (Some(&b"odd"[..]), true));
    assert_eq!((records[4].value, records[4].headers.get("n")), (Some(&b"even"[..]), Some(&b"v"[..])));
    assert!(batch.runs.iter().all(|run| !run.has_producer_time()));
    let of_usage = |offset| PerLog::from_fn(|log| (log == Usage).then_some(Offset(offset)));
    let prints = in_time("a look", feed.fingerprints(of_usage(0))).await.expect("the broker answers");
    assert_eq!(prints[Usage], Some(records[0].fingerprint()));
    assert_eq!(prints[Commands], None);
    let beyond = in_time("a look", feed.fingerprints(of_usage(5))).await.expect("the broker answers");
    assert_eq!(beyond[Usage], None);
}

#[tokio::test]
async fn an_offset_that_the_log_does_not_reach_is_refused_with_its_bounds() {
    let desk = desk(1).await;
    desk.writer().numbers(&desk.names.usage, 0, 0..10).await;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&desk.names.usage, 0, At::Offset(4)).expect("an offset");
    raw_admin(&desk).delete_records(&list, &AdminOptions::new()).await.expect("the broker deletes");
    let log = desk.log();
    for wanted in [3, 11] {
        let error = log.open(ShardId(0), from(&[(Usage, wanted)])).await.err();
        let (begin, end) = (Offset(4), Offset(10));
        assert_eq!(error, Some(LogError::OutOfRange { log: Usage, wanted: Offset(wanted), begin, end }));
    }
    let mut feed = open(&log, 0, &[(Usage, 4)]).await;
    assert_eq!(read(&mut feed, 6).await.len(), 6);
    let mut feed = open(&log, 0, &[]).await;
    assert_eq!(read(&mut feed, 6).await[0].1, 4, "without an offset it begins where the log does");
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_named() {
    let desk = desk(1).await;
    let mut names = desk.names.logs();
    names[Commands] = format!("{}nowhere", desk.settings.prefix);
    let log = KafkaLog::start(&desk.settings, &names, wall_clock()).expect("settings are sound");
    let error = in_time("an answer", log.open(ShardId(0), from(&[]))).await.err();
    assert!(matches!(error, Some(LogError::Gone { log: Commands, .. })), "{error:?}");
    let log = desk.log();
    let error = in_time("an answer", log.open(ShardId(1), from(&[]))).await.err();
    assert!(matches!(error, Some(LogError::Gone { .. })), "a partition too many: {error:?}");
}

#[tokio::test]
async fn a_topic_made_anew_under_the_reader_ends_its_shard_alone() {
    let desk = desk(2).await;
    let writer = desk.writer();
    writer.numbers(&desk.names.usage, 0, 0..10).await;
    writer.numbers(&desk.names.usage, 1, 0..10).await;
    writer.numbers(&desk.names.commands, 0, 0..10).await;
    let log = desk.log();
    let (mut one, mut two) = (open(&log, 0, &[]).await, open(&log, 1, &[]).await);
    assert_eq!(read_to_end(&mut one).await.len(), 20);
    assert_eq!(read_to_end(&mut two).await.len(), 10);
    let admin = raw_admin(&desk);
    let topic = desk.names.commands.as_str();
    admin.delete_topics(&[topic], &AdminOptions::new()).await.expect("the broker deletes");
    let new = NewTopic::new(topic, 2, TopicReplication::Fixed(1));
    let create = async {
        while admin.create_topics([&new], &AdminOptions::new()).await.expect("the broker answers")[0].is_err()
        {
        }
    };
    in_time("the topic to be made anew", create).await;
    let error = read_to_error(&mut one).await;
    assert!(
        matches!(
            error,
            LogError::OutOfRange { log: Commands, .. }
                | LogError::Gone { log: Commands, .. }
                | LogError::Unavailable(_)
        ),
        "{error:?}"
    );
    let error = in_time("an answer", log.open(ShardId(0), from(&[(Commands, 10)]))).await.err();
    assert!(matches!(error, Some(LogError::OutOfRange { log: Commands, .. })), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_hold_no_record_are_read_over() {
    let desk = desk(1).await;
    let sender = Writer::new(&desk.settings.brokers, &[("transactional.id", &desk.settings.group)]);
    let transact = |values: std::ops::Range<u64>, keep: bool| {
        let (sender, topic) = (&sender, &desk.names.usage);
        async move {
            sender.0.begin_transaction().expect("a transaction begins");
            sender.numbers(topic, 0, values).await;
            tokio::task::block_in_place(|| {
                if keep {
                    sender.0.commit_transaction(PATIENCE)
                } else {
                    sender.0.abort_transaction(PATIENCE)
                }
            })
            .expect("a transaction ends");
        }
    };
    tokio::task::block_in_place(|| sender.0.init_transactions(PATIENCE)).expect("transactions");
    let log = desk.log();
    let mut feed = open(&log, 0, &[]).await;
    transact(0..3, true).await;
    assert_eq!(read_to_end(&mut feed).await.len(), 3, "a marker at the end is read over");
    transact(3..6, false).await;
    assert_eq!(read_to_end(&mut feed).await, [], "so is a transaction that was taken back");
    transact(6..8, true).await;
    let values: Vec<String> = read_to_end(&mut feed).await.into_iter().map(|(.., value)| value).collect();
    assert_eq!(values, ["6", "7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_stands_still_before_an_open_transaction() {
    let desk = desk(1).await;
    let sender = Writer::new(&desk.settings.brokers, &[("transactional.id", &desk.settings.group)]);
    tokio::task::block_in_place(|| sender.0.init_transactions(PATIENCE)).expect("transactions");
    sender.0.begin_transaction().expect("a transaction begins");
    sender.numbers(&desk.names.usage, 0, 0..3).await;
    let log = desk.log();
    let mut feed = open(&log, 0, &[]).await;
    let ends = in_time("the ends", feed.ends()).await.expect("the broker answers");
    assert_eq!(ends[Usage], Offset(3));
    for _ in 0..5 {
        let batch = feed.next(LIMITS).await.expect("the log can be read");
        assert_eq!((batch.records_count(), batch.read_to[Usage]), (0, Offset(0)));
    }
    tokio::task::block_in_place(|| sender.0.commit_transaction(PATIENCE)).expect("a transaction ends");
    assert_eq!(read_to_end(&mut feed).await.len(), 3);
}

#[tokio::test]
async fn a_shard_that_takes_nothing_holds_up_no_other_and_loses_nothing() {
    let mut desk = desk(2).await;
    desk.settings.read_ahead_bytes_max = 1 << 20;
    let writer = desk.writer();
    for n in 0..20u64 {
        writer.numbers(&desk.names.usage, 0, n * 10_000..(n + 1) * 10_000).await;
        writer.numbers(&desk.names.usage, 1, n * 10_000..(n + 1) * 10_000).await;
    }
    let log = desk.log();
    let (mut idle, mut busy) = (open(&log, 0, &[]).await, open(&log, 1, &[]).await);
    let whole = |seen: Vec<Seen>| {
        seen.iter().enumerate().for_each(|(n, (_, offset, value))| {
            assert_eq!((*offset, value), (n as u64, &n.to_string()));
        });
        seen.len()
    };
    assert_eq!(whole(read(&mut busy, 200_000).await), 200_000);
    assert_eq!(whole(read(&mut idle, 200_000).await), 200_000);
}

#[tokio::test]
async fn every_shard_sees_the_whole_catalog_from_its_own_position() {
    let mut desk = desk(3).await;
    desk.settings.catalog_window_bytes_max = 32 << 10;
    let writer = desk.writer();
    for n in 0..10u64 {
        writer.numbers(&desk.names.catalog, 0, n * 1000..(n + 1) * 1000).await;
    }
    let log = desk.log();
    let mut late = open(&log, 0, &[(Catalog, 9_990)]).await;
    assert_eq!(read_to_end(&mut late).await.len(), 10);
    let mut early = open(&log, 1, &[]).await;
    let mut middle = open(&log, 2, &[(Catalog, 5_000)]).await;
    let whole = |seen: Vec<Seen>, first: u64| {
        seen.iter().enumerate().for_each(|(n, (_, offset, _))| assert_eq!(*offset, first + n as u64));
        seen.len()
    };
    let (early_seen, middle_seen) = tokio::join!(read_to_end(&mut early), read_to_end(&mut middle));
    assert_eq!((whole(early_seen, 0), whole(middle_seen, 5_000)), (10_000, 5_000));
    writer.numbers(&desk.names.catalog, 0, 10_000..10_001).await;
    for feed in [&mut late, &mut early, &mut middle] {
        assert_eq!(read(feed, 1).await, [(Catalog, 10_000, "10000".into())]);
    }
}
