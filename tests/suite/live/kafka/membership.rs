use super::*;
use graceline::ingest::kafka::GroupProtocol;
use graceline::ingest::kafka::membership::{Change, Handover, Membership};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset as At, TopicPartitionList};
use std::collections::BTreeSet;
use tokio::sync::mpsc::UnboundedReceiver;

/// A member and what it has been told.
struct Instance {
    member: Membership,
    changes: UnboundedReceiver<Change>,
    owned: BTreeSet<u32>,
}

fn join(settings: &KafkaSettings, topic: &str) -> Instance {
    let (member, changes) = Membership::join(settings, topic).expect("settings are sound");
    Instance { member, changes, owned: BTreeSet::new() }
}

impl Instance {
    /// Waits for the next change that is one; shards that are assigned count as owned at once.
    async fn change(&mut self) -> Change {
        loop {
            let change = in_time("a change", self.changes.recv()).await.expect("the member lives");
            match &change {
                Change::Assigned(shards) => self.owned.extend(shards.iter().map(|shard| shard.0)),
                Change::Lost(shards) => self.owned.retain(|shard| !shards.contains(&ShardId(*shard))),
                Change::Revoked(handover) => {
                    self.owned.retain(|shard| !handover.shards.contains(&ShardId(*shard)));
                }
                Change::Failing(_) => continue,
            }
            return change;
        }
    }

    async fn own(&mut self, count: usize) {
        while self.owned.len() != count {
            self.change().await;
        }
    }

    async fn revoked(&mut self) -> Handover {
        loop {
            if let Change::Revoked(handover) = self.change().await {
                return handover;
            }
        }
    }

    /// Whether nothing happens for a while.
    async fn is_left_alone(&mut self) -> bool {
        let changed = async {
            while let Some(Change::Assigned(shards)) = self.changes.recv().await {
                if !shards.is_empty() {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_millis(1500), changed).await.is_err()
    }
}

/// Leaves the group, handing over what it has to.
async fn leave(one: Instance) -> BTreeSet<u32> {
    let Instance { member, mut changes, .. } = one;
    let (_, shards) = in_time("the member to leave", async {
        tokio::join!(member.leave(), async {
            let Some(Change::Revoked(handover)) = changes.recv().await else { panic!("it hands over") };
            handover.shards.iter().map(|shard| shard.0).collect()
        })
    })
    .await;
    shards
}

async fn two_members_share_and_hand_over(protocol: GroupProtocol) {
    let mut desk = desk(4).await;
    desk.settings.group_protocol = protocol;
    // Whatever one waits for happens soon, but no hand-over is cut off.
    desk.settings.handover_ms_max = 50_000;
    let mut one = join(&desk.settings, &desk.names.usage);
    one.own(4).await;
    let mut two = join(&desk.settings, &desk.names.usage);
    let handover = one.revoked().await;
    let moved: BTreeSet<u32> = handover.shards.iter().map(|shard| shard.0).collect();
    assert_eq!(moved.len(), 2);
    while !two.is_left_alone().await {
        assert_eq!(two.owned.len(), 0, "nobody gets a shard before its owner has let go of it");
    }
    drop(handover);
    two.own(2).await;
    assert_eq!(two.owned, moved);
    assert!(one.owned.is_disjoint(&two.owned));
    assert_eq!(leave(two).await, moved);
    one.own(4).await;
    assert_eq!(leave(one).await.len(), 4);
}

#[tokio::test]
async fn two_members_share_the_shards_and_hand_them_over() {
    two_members_share_and_hand_over(GroupProtocol::Classic).await;
}

#[tokio::test]
async fn two_members_share_the_shards_when_brokers_assign_them() {
    two_members_share_and_hand_over(GroupProtocol::Consumer).await;
}

#[tokio::test]
async fn what_its_owner_has_let_go_of_is_soon_another_ones() {
    let desk = desk(4).await;
    let mut one = join(&desk.settings, &desk.names.usage);
    one.own(4).await;
    let mut took = Vec::new();
    for _ in 0..3 {
        let mut two = join(&desk.settings, &desk.names.usage);
        drop(one.revoked().await);
        let begun = tokio::time::Instant::now();
        two.own(2).await;
        took.push(begun.elapsed());
        leave(two).await;
        one.own(4).await;
    }
    took.sort();
    // A quarter of a second where nothing else runs; where the client keeps its own time it is one or two.
    assert!(took[1] < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn an_owner_that_does_not_finish_is_not_waited_for_for_ever() {
    let mut desk = desk(2).await;
    desk.settings.handover_ms_max = 500;
    let mut one = join(&desk.settings, &desk.names.usage);
    one.own(2).await;
    let mut two = join(&desk.settings, &desk.names.usage);
    let _kept = one.revoked().await;
    two.own(1).await;
}

#[tokio::test]
async fn a_member_reads_nothing_and_stays_a_member() {
    let mut desk = desk(2).await;
    let session = ("session.timeout.ms".to_owned(), "6000".to_owned());
    let poll = ("max.poll.interval.ms".to_owned(), "6500".to_owned());
    desk.settings.properties.extend([session, poll]);
    desk.writer().numbers(&desk.names.usage, 0, 0..1000).await;
    let mut one = join(&desk.settings, &desk.names.usage);
    one.own(2).await;
    let told = tokio::time::timeout(Duration::from_secs(8), one.changes.recv()).await;
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test]
async fn lag_monitors_see_how_far_a_shard_has_read() {
    let desk = desk(1).await;
    let mut one = join(&desk.settings, &desk.names.usage);
    one.own(1).await;
    one.member.report(&desk.names.usage, ShardId(0), Offset(7));
    one.member.report(&desk.names.commands, ShardId(0), Offset(3));
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &desk.settings.brokers).set("group.id", &desk.settings.group);
    let monitor: BaseConsumer = config.create().expect("settings are sound");
    let committed = || {
        let mut list = TopicPartitionList::new();
        list.add_partition(&desk.names.usage, 0);
        list.add_partition(&desk.names.commands, 0);
        let found = monitor.committed_offsets(list, PATIENCE).expect("the broker answers");
        found.elements().iter().map(|one| one.offset()).collect::<Vec<_>>()
    };
    let seen = async {
        while committed() != [At::Offset(7), At::Offset(3)] {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    in_time("the positions", seen).await;
}

#[tokio::test]
async fn a_static_member_comes_back_without_anybody_noticing() {
    let mut desk = desk(4).await;
    let mut settings = desk.settings.clone();
    desk.settings.properties.insert("group.instance.id".into(), "one".into());
    settings.properties.insert("group.instance.id".into(), "two".into());
    let mut one = join(&desk.settings, &desk.names.usage);
    one.own(4).await;
    let mut two = join(&settings, &desk.names.usage);
    drop(one.revoked().await);
    two.own(2).await;
    let before = two.owned.clone();
    leave(two).await;
    let mut two = join(&settings, &desk.names.usage);
    two.own(2).await;
    assert_eq!(two.owned, before);
    assert!(one.is_left_alone().await);
}
