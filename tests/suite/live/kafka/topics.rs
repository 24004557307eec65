use super::*;
use rdkafka::admin::{AlterConfig, NewPartitions, ResourceSpecifier};

#[tokio::test]
async fn a_topic_that_cannot_serve_is_named_with_what_to_do() {
    let desk = desk(2).await;
    let mut config = ClientConfig::new();
    let raw: AdminClient<DefaultClientContext> =
        config.set("bootstrap.servers", &desk.settings.brokers).create().expect("settings are sound");
    let names = &desk.names;
    let options = AdminOptions::new();
    // What isn't named falls back to the broker's own settings, append times among them.
    let change = AlterConfig::new(ResourceSpecifier::Topic(&names.usage));
    let change = change.set("max.message.bytes", "2000000").set("retention.ms", "1000");
    raw.alter_configs([&change], &options).await.expect("the broker answers")[0].as_ref().expect("a change");
    let more = NewPartitions::new(&names.commands, 3);
    raw.create_partitions([&more], &options).await.expect("the broker answers")[0]
        .as_ref()
        .expect("more partitions");
    raw.delete_topics(&[&names.numbers], &options).await.expect("the broker answers")[0]
        .as_ref()
        .expect("it is gone");

    let admin = TopicAdmin::new(&desk.settings).expect("settings are sound");
    let look = async {
        loop {
            let found = admin.check(&names.all(), &rules(2)).await.expect("the broker answers");
            if found.len() == 4 {
                return found;
            }
        }
    };
    let lines: Vec<String> = in_time("four findings", look).await.into_iter().map(|one| one.line).collect();
    let retention = rules(2).retention_ms;
    let (usage, commands, numbers) = (&names.usage, &names.commands, &names.numbers);
    assert_eq!(
        lines,
        [
            format!(
                "{usage} stamps records with their producers' clocks: set message.timestamp.type=LogAppendTime"
            ),
            format!(
                "{usage} is kept for a shorter time than it may have to be read again: set retention.ms={retention}"
            ),
            format!("{commands} has 3 partitions, {usage} has 2: create it anew with 2"),
            format!("{numbers} is not there, and could not be created: create it, or allow us to"),
        ]
    );
    let repaired = async {
        while admin.prepare(&names.all(), &rules(2)).await.expect("the broker answers").len() != 3 {}
    };
    in_time("the missing topic to be made", repaired).await;
}

#[tokio::test]
async fn records_with_their_producers_time_are_marked() {
    let desk = desk(1).await;
    let mut names = desk.names.logs();
    names[LogName::Usage] = desk.names.webhooks[0].clone();
    desk.writer().numbers(&names[LogName::Usage], 0, 0..1).await;
    let log = KafkaLog::start(&desk.settings, &names, wall_clock()).expect("settings are sound");
    let mut feed = open(&log, 0, &[]).await;
    let marked = async {
        loop {
            let batch = feed.next(LIMITS).await.expect("the log can be read");
            if let Some(run) = batch.runs.first() {
                return run.has_producer_time();
            }
        }
    };
    assert!(in_time("a record", marked).await);
}

#[tokio::test]
async fn brokers_that_do_not_answer_are_no_missing_topics() {
    let settings = KafkaSettings { brokers: "127.0.0.1:1".into(), ..settings() };
    let admin = TopicAdmin::new(&settings).expect("settings are sound");
    let names = TopicNames::new(&settings.prefix, [WEBHOOK]);
    assert!(in_time("an answer", admin.check(&names.all(), &rules(1))).await.is_err());
}
