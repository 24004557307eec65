//! Who owns which shard.
//!
//! A member of the consumer group that is subscribed to the usage topic alone and reads nothing: what it is assigned it
//! pauses at once. Its thread does nothing but poll, so that no slow store and no full queue costs it its membership. A
//! shard that has to go is kept until its owner has finished, or for so long as a hand-over may take; only then do the
//! others learn that it is free.

use super::client::{Journal, is_transient};
use super::settings::{GroupProtocol, KafkaSettings};
use super::timer::{Duration, Instant, now, since};
use crate::fail_points::point;
use crate::ingest::log::Offset;
use crate::persist::ShardId;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};
use rdkafka::{ClientContext, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

/// What the group has decided. Nobody else owns an assigned shard from `Assigned` until its [`Handover`] is dropped,
/// unless the member has been slow or cut off: that is what an owner's token is for.
#[derive(Debug)]
pub enum Change {
    /// These shards are ours now, and none of those that were lost before, unless it is among them.
    Assigned(Vec<ShardId>),
    /// These have to go. They stay ours until the hand-over is dropped, but no longer than it says.
    Revoked(Handover),
    /// Nobody says any longer whose these are: the group was out of reach for too long, or has given them to others.
    Lost(Vec<ShardId>),
    /// The group can't be joined at the moment, for a reason that someone should know. It goes on trying.
    Failing(String),
}

/// Shards that are to be given up. Dropping it says that they have been.
#[derive(Debug)]
pub struct Handover {
    pub shards: Vec<ShardId>,
    pub limit: Duration,
    _kept: oneshot::Sender<()>,
}

/// This process, as a member of the group. Dropping it leaves the group like [`Membership::leave`], without waiting.
pub struct Membership {
    orders: mpsc::Sender<Order>,
}

enum Order {
    Report { topic: String, shard: ShardId, next: Offset },
    Leave { left: oneshot::Sender<()> },
}

impl Membership {
    /// Joins the group, for as long as it takes. An error is about the settings.
    pub fn join(
        settings: &KafkaSettings,
        topic: &str,
    ) -> Result<(Membership, UnboundedReceiver<Change>), String> {
        let (changes, receiver) = unbounded_channel();
        let (orders, inbound) = mpsc::channel();
        let protocol = match settings.group_protocol {
            GroupProtocol::Auto => GroupProtocol::Consumer,
            chosen => chosen,
        };
        let office = Office { settings: settings.clone(), topic: topic.to_owned(), changes };
        let consumer = office.enter(protocol).map_err(|error| format!("kafka: {error}"))?;
        let thread = thread::Builder::new().name("member".into());
        thread.spawn(move || office.run(consumer, protocol, &inbound)).expect("a process can start a thread");
        Ok((Membership { orders }, receiver))
    }

    /// Tells the group how far a shard has read a topic. Only lag monitors look at it, so it may be lost, and late.
    pub fn report(&self, topic: &str, shard: ShardId, next: Offset) {
        let _ = self.orders.send(Order::Report { topic: topic.to_owned(), shard, next });
    }

    /// Hands over everything, leaves the group and waits until that is done.
    pub async fn leave(self) {
        let (left, done) = oneshot::channel();
        let _ = self.orders.send(Order::Leave { left });
        let _ = done.await;
    }
}

/// What the polling thread and the client's call-backs share.
struct Member {
    journal: Journal,
    changes: UnboundedSender<Change>,
    handover_max: Duration,
    leaving: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    owned: BTreeSet<ShardId>,
    /// Shards to be given up, and who still holds them.
    pending: Option<Pending>,
}

struct Pending {
    list: TopicPartitionList,
    shards: Vec<ShardId>,
    released: oneshot::Receiver<()>,
    deadline: Instant,
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.journal.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.journal.error(&error, reason);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assigned(consumer, list),
            _ => self.revoked(consumer, list),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            debug!(%error, "Could not tell the group how far shards have read.");
        }
    }
}

impl Member {
    fn assigned(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        // At their ends there is nothing to fetch, should the client be faster than the pause.
        let mut at_ends = list.clone();
        let _ = at_ends.set_all_offsets(rdkafka::Offset::End);
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let assigned =
            if cooperative { consumer.incremental_assign(&at_ends) } else { consumer.assign(&at_ends) };
        let done = assigned.and_then(|()| if list.count() == 0 { Ok(()) } else { consumer.pause(list) });
        if let Err(error) = done {
            warn!(%error, "Could not take up assigned shards.");
        }
        let shards = shards_of(list);
        self.state().owned.extend(&shards);
        let _ = self.changes.send(Change::Assigned(shards));
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let shards = shards_of(list);
        if consumer.assignment_lost() {
            self.give_up(consumer, list, &shards);
            let _ = self.changes.send(Change::Lost(shards));
        } else if shards.is_empty() || self.leaving.load(Ordering::Relaxed) {
            self.give_up(consumer, list, &shards);
        } else {
            let (handover, released) = self.handover(shards.clone());
            let deadline = now() + self.handover_max;
            self.state().pending = Some(Pending { list: list.clone(), shards, released, deadline });
            let _ = self.changes.send(Change::Revoked(handover));
        }
    }

    fn handover(&self, shards: Vec<ShardId>) -> (Handover, oneshot::Receiver<()>) {
        let (kept, released) = oneshot::channel();
        (Handover { shards, limit: self.handover_max, _kept: kept }, released)
    }

    /// Gives shards up that their owner has finished with, or has taken too long to.
    fn settle(&self, consumer: &BaseConsumer<Self>) {
        let Some(mut pending) = self.state().pending.take() else { return };
        let lost = consumer.assignment_lost();
        let released = !matches!(pending.released.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        if !lost && !released && now() < pending.deadline {
            self.state().pending = Some(pending);
            return;
        }
        if !released {
            warn!(shards = ?pending.shards, lost, "Gave up shards that their owner had not finished with.");
        }
        self.give_up(consumer, &pending.list, &pending.shards);
        if lost {
            let _ = self.changes.send(Change::Lost(pending.shards));
        }
    }

    fn give_up(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList, shards: &[ShardId]) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = if cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() };
        if let Err(error) = done {
            warn!(%error, "Could not give up shards.");
        }
        self.state().owned.retain(|shard| !shards.contains(shard));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shards_of(list: &TopicPartitionList) -> Vec<ShardId> {
    let mut shards: Vec<ShardId> =
        list.elements().iter().map(|one| ShardId(one.partition() as u32)).collect();
    shards.sort_unstable();
    shards
}

/// The thread that polls.
struct Office {
    settings: KafkaSettings,
    topic: String,
    changes: UnboundedSender<Change>,
}

/// Why a member stopped being one.
enum End {
    Leave(Goodbye),
    /// The client is of no use any more.
    Fatal(Code),
}

/// Who waits for the member to have left, if anybody does.
struct Goodbye(Option<oneshot::Sender<()>>);

/// How long the thread looks for nothing but what the group says, while something is waited for and at rest.
const SOON: Duration = Duration::from_millis(5);
const LATER: Duration = Duration::from_millis(50);

/// How often lag monitors get new positions.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How long to wait before joining again after a fatal error.
const REJOIN_AFTER: Duration = Duration::from_secs(3);

impl Office {
    fn run(
        self,
        mut consumer: BaseConsumer<Member>,
        mut protocol: GroupProtocol,
        orders: &mpsc::Receiver<Order>,
    ) {
        loop {
            let goodbye = match self.serve(&consumer, orders) {
                End::Leave(goodbye) => {
                    self.hand_over_all(&consumer);
                    Some(goodbye)
                }
                End::Fatal(code) => {
                    self.lose_all(&consumer, code);
                    if self.falls_back(code) {
                        info!(
                            "The brokers do not know the new group protocol; joining with the classic one."
                        );
                        protocol = GroupProtocol::Classic;
                        None
                    } else {
                        pause(orders)
                    }
                }
            };
            // Closing asks for what is still assigned, and polls; this is the thread for it.
            drop(consumer);
            if let Some(Goodbye(waiting)) = goodbye {
                waiting.into_iter().for_each(|waiting| waiting.send(()).unwrap_or_default());
                return;
            }
            consumer = match self.enter(protocol) {
                Ok(consumer) => consumer,
                Err(error) => {
                    let _ = self.changes.send(Change::Failing(error.to_string()));
                    return;
                }
            };
        }
    }

    /// Whether the brokers only refused the new protocol, and the old one will do.
    fn falls_back(&self, code: Code) -> bool {
        let unsupported = matches!(code, Code::UnsupportedFeature | Code::UnsupportedVersion);
        unsupported && self.settings.group_protocol == GroupProtocol::Auto
    }

    fn enter(&self, protocol: GroupProtocol) -> KafkaResult<BaseConsumer<Member>> {
        let member = Member {
            journal: Journal::new("member"),
            changes: self.changes.clone(),
            handover_max: Duration::from_millis(self.settings.handover_ms_max),
            leaving: AtomicBool::new(false),
            state: Mutex::default(),
        };
        let consumer: BaseConsumer<Member> = self.settings.member(protocol).create_with_context(member)?;
        consumer.subscribe(&[&self.topic])?;
        Ok(consumer)
    }

    fn serve(&self, consumer: &BaseConsumer<Member>, orders: &mpsc::Receiver<Order>) -> End {
        let mut positions = BTreeMap::new();
        let mut reported_at = now();
        loop {
            loop {
                match orders.try_recv() {
                    Ok(Order::Report { topic, shard, next }) => drop(positions.insert((topic, shard), next)),
                    Ok(Order::Leave { left }) => return End::Leave(Goodbye(Some(left))),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return End::Leave(Goodbye(None)),
                }
            }
            let is_pending = consumer.context().state().pending.is_some();
            if let Some(code) = self.poll(consumer, if is_pending { SOON } else { LATER }) {
                return End::Fatal(code);
            }
            if since(reported_at) >= REPORT_EVERY {
                report(consumer, std::mem::take(&mut positions));
                reported_at = now();
            }
        }
    }

    /// Polls once, and sees to what is to be given up.
    fn poll(&self, consumer: &BaseConsumer<Member>, wait: Duration) -> Option<Code> {
        match consumer.poll(wait) {
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => return Some(code),
            Some(Err(error)) if error.rdkafka_error_code().is_some_and(is_transient) => {}
            Some(Err(error)) => {
                let _ = self.changes.send(Change::Failing(error.to_string()));
            }
            Some(Ok(_)) => warn!("The member of the group was given a record; it reads nothing."),
            None => {}
        }
        consumer.context().settle(consumer);
        None
    }

    fn hand_over_all(&self, consumer: &BaseConsumer<Member>) {
        let member = consumer.context();
        let shards: Vec<ShardId> = member.state().owned.iter().copied().collect();
        if !shards.is_empty() {
            let (handover, mut released) = member.handover(shards);
            let deadline = now() + handover.limit;
            let _ = self.changes.send(Change::Revoked(handover));
            while now() < deadline && matches!(released.try_recv(), Err(oneshot::error::TryRecvError::Empty))
            {
                let _ = self.poll(consumer, SOON);
            }
        }
        member.leaving.store(true, Ordering::Relaxed);
    }

    fn lose_all(&self, consumer: &BaseConsumer<Member>, code: Code) {
        let member = consumer.context();
        member.leaving.store(true, Ordering::Relaxed);
        let shards: Vec<ShardId> = std::mem::take(&mut member.state().owned).into_iter().collect();
        if !shards.is_empty() {
            let _ = self.changes.send(Change::Lost(shards));
        }
        let _ = self.changes.send(Change::Failing(code.to_string()));
    }
}

/// Waits before joining again, unless it is to leave.
fn pause(orders: &mpsc::Receiver<Order>) -> Option<Goodbye> {
    let until = now() + REJOIN_AFTER;
    loop {
        match orders.recv_timeout(until.saturating_duration_since(now())) {
            Ok(Order::Report { .. }) => {}
            Ok(Order::Leave { left }) => return Some(Goodbye(Some(left))),
            Err(mpsc::RecvTimeoutError::Timeout) => return None,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Some(Goodbye(None)),
        }
    }
}

fn report(consumer: &BaseConsumer<Member>, positions: BTreeMap<(String, ShardId), Offset>) {
    let mut list = TopicPartitionList::new();
    let owned = consumer.context().state().owned.clone();
    for ((topic, shard), next) in positions.into_iter().filter(|((_, shard), _)| owned.contains(shard)) {
        let _ = list.add_partition_offset(&topic, shard.0 as i32, rdkafka::Offset::Offset(next.0 as i64));
    }
    if list.count() > 0 {
        if let Err(error) = consumer.commit(&list, CommitMode::Async) {
            debug!(%error, "Could not tell the group how far shards have read.");
        }
        point("K10");
    }
}
