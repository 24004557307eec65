//! The logs aren't what they were: a shard that can't read on stops and says why.

use super::clock::{await_that, pause_ms};
use super::run::{Plan, Run};
use super::{alone, short};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);
const USAGE: &str = "chaos.usage.events";

/// Whoever runs the brokers.
struct Admin {
    client: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Admin {
    fn of(run: &Run) -> Admin {
        let client = ClientConfig::new().set("bootstrap.servers", &run.orders.brokers).create();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Admin {
            client: client.expect("settings are sound"),
            runtime: runtime.expect("a runtime can be made"),
        }
    }

    fn make_anew(&self, partitions: i32) {
        let options = AdminOptions::new();
        self.runtime.block_on(self.client.delete_topics(&[USAGE], &options)).expect("the broker deletes");
        // The broker lets go of the old one when it gets to it.
        await_that("the topic is there again", SOON, || {
            let new = NewTopic::new(USAGE, partitions, TopicReplication::Fixed(1))
                .set("message.timestamp.type", "LogAppendTime");
            let made = self.runtime.block_on(self.client.create_topics([&new], &options));
            made.expect("the broker answers")[0].is_ok()
        });
    }

    fn add_partitions(&self, count: usize) {
        let more = NewPartitions::new(USAGE, count);
        let made = self.runtime.block_on(self.client.create_partitions([&more], &AdminOptions::new()));
        assert!(made.expect("the broker answers")[0].is_ok());
    }

    /// Deletes what is there now.
    fn delete_records(&self, shards: u32) {
        let mut list = TopicPartitionList::new();
        for shard in 0..shards {
            list.add_partition_offset(USAGE, shard as i32, Offset::End).expect("an end is an offset");
        }
        let deleted = self.runtime.block_on(self.client.delete_records(&list, &AdminOptions::new()));
        deleted.expect("the broker deletes");
    }
}

/// A run that has read something, and its crowd gone.
fn at_rest(name: &'static str) -> Run {
    let mut run = Run::prepare(Plan { instances: 1, ..short(name) });
    run.start();
    run.while_busy(|run| run.await_read(500));
    run.recover("the crowd");
    run
}

fn write_usage(run: &Run, count: usize) {
    let pen = run.pen();
    for number in 0..count {
        let key = format!("somebody_{number}");
        pen.write("usage.events", Some(&key), Some(&format!("{{\"number\":{number}}}")));
    }
    pen.flush();
}

#[test]
fn a_topic_that_was_made_anew_stops_its_shards() {
    let _alone = alone();
    let mut run = at_rest("anew");
    // Shorter than what was read.
    Admin::of(&run).make_anew(4);
    run.await_reason(&run.instances[0], 4, "lost its tail or was made anew", SOON);
    run.figures.tried("K4");
    // Longer: only the records themselves tell.
    run.instances[0].finish();
    write_usage(&run, 20_000);
    run.instances[0].start_again();
    run.await_reason(&run.instances[0], 4, "was the topic created anew?", SOON);
    run.figures.tried("K4");
}

#[test]
fn a_partition_more_is_not_read() {
    let _alone = alone();
    let mut run = Run::prepare(Plan { instances: 1, ..short("more") });
    let often = "GRACELINE__KAFKA__PROPERTIES__TOPIC_METADATA_REFRESH_INTERVAL_MS";
    run.orders.more.push((often, "1000".to_owned()));
    run.start();
    run.while_busy(|run| run.await_read(500));
    Admin::of(&run).add_partitions(5);
    run.await_reason(&run.instances[0], 1, "the number can't change", SOON);
    assert_eq!(run.instances[0].running_shards().len(), 4, "the others go on");
    // Whoever starts now doesn't even begin.
    run.instances[0].finish();
    run.instances[0].start_again();
    run.instances[0].await_end();
    run.figures.tried("K6");
    assert!(run.instances[0].said("has 4 partitions, chaos.usage.events has 5") > 0);
}

#[test]
fn records_deleted_unread_stop_their_shards() {
    let _alone = alone();
    let mut run = at_rest("deleted");
    run.instances[0].finish();
    write_usage(&run, 400);
    Admin::of(&run).delete_records(4);
    run.instances[0].start_again();
    run.await_reason(&run.instances[0], 4, "records were deleted unread", SOON);
    run.figures.tried("K5");
}

#[test]
fn records_deleted_after_they_were_read_are_not_missed() {
    let _alone = alone();
    let mut run = at_rest("read");
    Admin::of(&run).delete_records(4);
    pause_ms(1000);
    run.instances[0].kill();
    run.instances[0].start_again();
    run.recover("the deletion of what was read");
    run.figures.tried("K5");
}
