//! The crew: one wheel for each shard that the group gives to this process, and what happens when one stops.
//!
//! Where the group is out of reach for so long that it counts us out, the wheels go on turning until it says who owns
//! what: an owner's token holds until another owner has put its own in its place. So nobody waits for a group that
//! finds together again. But no shard is opened that isn't assigned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::health::{Health, State};
use super::territory::Territory;
use super::wheel::Wheel;
use super::world::{Stop, World};
use crate::fail_points::point;
use crate::ingest::kafka::membership::Change;
use crate::ingest::log::UsageLog;
use crate::persist::{ShardId, Store, Token};
use crate::publish::NoticeLog;

/// The wheels of this process.
pub struct Crew<S, U, N> {
    world: Arc<World<S, U, N>>,
    shards: u32,
    wheels: BTreeMap<ShardId, Working>,
}

struct Working {
    stop: watch::Sender<bool>,
    /// Whether the group says that the shard is ours.
    is_assigned: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// How long a shard waits before it tries again: soon at first, then every other second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Working {
    fn is_lost(&self) -> bool {
        !*self.is_assigned.borrow()
    }
}

impl<S, U, N> Crew<S, U, N>
where
    S: Store,
    U: UsageLog + 'static,
    U::Feed: 'static,
    N: NoticeLog + 'static,
{
    pub fn new(world: Arc<World<S, U, N>>, shards: u32) -> Crew<S, U, N> {
        Crew { world, shards, wheels: BTreeMap::new() }
    }

    /// Follows what the group decides until it is asked to stop; then every shard finishes what it has begun.
    pub async fn work(
        &mut self,
        changes: &mut mpsc::UnboundedReceiver<Change>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some(Change::Assigned(shards)) => {
                        self.world.health.is_member();
                        self.follow(&shards);
                    }
                    Some(Change::Revoked(handover)) => {
                        point("K11");
                        self.give_up(&handover.shards, handover.limit).await;
                        point("K12");
                        drop(handover);
                    }
                    Some(Change::Lost(shards)) => self.lose(&shards),
                    Some(Change::Failing(why)) => {
                        warn!(why, "The group can't be joined at the moment.");
                        if self.wheels.is_empty() {
                            self.world.health.wait_for(format!("the group: {why}"));
                        }
                    }
                    None => return,
                },
                _ = stop.changed() => return,
            }
        }
    }

    /// Lets every shard finish.
    pub async fn finish(&mut self, limit: Duration) {
        point("K24");
        let shards: Vec<ShardId> = self.wheels.keys().copied().collect();
        self.give_up(&shards, limit).await;
    }

    /// Takes up what is assigned, and lets go of what was lost and isn't.
    fn follow(&mut self, assigned: &[ShardId]) {
        let lost: Vec<ShardId> =
            self.wheels.iter().filter(|(_, one)| one.is_lost()).map(|(shard, _)| *shard).collect();
        let (ours, others): (Vec<ShardId>, Vec<ShardId>) =
            lost.into_iter().partition(|shard| assigned.contains(shard));
        self.abandon(&others);
        for shard in assigned {
            if !ours.contains(shard) {
                self.start(*shard);
            } else if let Some(working) = self.wheels.get(shard) {
                working.is_assigned.send_replace(true);
            }
        }
    }

    fn lose(&mut self, shards: &[ShardId]) {
        for shard in shards {
            match self.wheels.get(shard) {
                Some(working) => drop(working.is_assigned.send_replace(false)),
                None => self.world.health.remove(*shard),
            }
        }
    }

    pub fn start(&mut self, shard: ShardId) {
        self.abandon(&[shard]);
        if shard.0 >= self.shards {
            return self.refuse(shard);
        }
        let (stop, asked) = watch::channel(false);
        let (is_assigned, assigned) = watch::channel(true);
        let territory = Territory { shard, shards: self.shards };
        let task = tokio::spawn(keep_turning(self.world.clone(), territory, asked, assigned));
        self.wheels.insert(shard, Working { stop, is_assigned, task });
    }

    /// The topic was given more partitions while we were reading it.
    fn refuse(&self, shard: ShardId) {
        let why = format!(
            "the usage topic had {0} partitions and has more: the number can't change; create a topic with {0} again, or start anew under another prefix",
            self.shards
        );
        error!(shard = shard.0, why, "The shard stands still until someone has looked.");
        self.world.health.set(shard, State::Stopped(why));
    }

    async fn give_up(&mut self, shards: &[ShardId], limit: Duration) {
        let mut leaving = Vec::new();
        for shard in shards {
            if let Some(working) = self.wheels.remove(shard) {
                let _ = working.stop.send(true);
                leaving.push((*shard, working.task));
            } else {
                self.world.health.remove(*shard);
            }
        }
        let deadline = tokio::time::Instant::now() + limit;
        for (shard, mut task) in leaving {
            // What doesn't finish in time is abandoned: the next owner reads it again.
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                warn!(shard = shard.0, "Abandoned the shard: it did not finish in time.");
            } else {
                info!(shard = shard.0, "Handed the shard over.");
            }
            self.world.health.remove(shard);
        }
    }

    fn abandon(&mut self, shards: &[ShardId]) {
        for shard in shards {
            if let Some(working) = self.wheels.remove(shard) {
                working.task.abort();
            }
            self.world.health.remove(*shard);
        }
    }
}

/// Opens a shard and turns its wheel, again and again until it is asked to stop or something is wrong for good.
async fn keep_turning<S, U, N>(
    world: Arc<World<S, U, N>>,
    territory: Territory,
    stop: watch::Receiver<bool>,
    mut assigned: watch::Receiver<bool>,
) where
    S: Store,
    U: UsageLog + 'static,
    U::Feed: 'static,
    N: NoticeLog + 'static,
{
    let shard = territory.shard;
    let _watch = Watch { health: world.health.clone(), shard };
    let mut pause = FIRST_PAUSE;
    let mut last_reason = String::new();
    loop {
        let begun = tokio::time::Instant::now();
        let opened = tokio::select! {
            opened = Wheel::open(world.clone(), territory, new_token()) => opened,
            _ = assigned.wait_for(|is_ours| !is_ours) => Err(Stop::Unavailable("the group is out of reach".to_owned())),
        };
        let outcome = match opened {
            Ok(wheel) => wheel.run(stop.clone()).await,
            Err(stop) => stop,
        };
        if begun.elapsed() > LONGEST_PAUSE * 2 {
            pause = FIRST_PAUSE;
        }
        let reason = match outcome {
            Stop::Asked => return,
            Stop::Broken(why) => {
                error!(shard = shard.0, why, "The shard stands still until someone has looked.");
                world.health.set(shard, State::Stopped(why));
                return;
            }
            Stop::Fenced => "another owner has taken the shard over".to_owned(),
            Stop::Unavailable(why) => why,
        };
        if reason != last_reason {
            warn!(shard = shard.0, why = reason, "The shard waits and tries again.");
            last_reason = reason.clone();
        }
        world.health.set(shard, State::Stopped(reason));
        let mut stop = stop.clone();
        let is_ours = async {
            tokio::time::sleep(pause).await;
            assigned.wait_for(|is_ours| *is_ours).await.is_ok()
        };
        tokio::select! {
            is_ours = is_ours => if !is_ours { return },
            _ = stop.changed() => {}
        }
        if *stop.borrow() {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Says so where a shard's work ends in a panic: nobody else would.
struct Watch {
    health: Arc<Health>,
    shard: ShardId,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why =
                "the program has met a case that it holds to be impossible, see the lines before; report it";
            error!(shard = self.shard.0, why, "The shard stands still until someone has looked.");
            self.health.set(self.shard, State::Stopped(why.to_owned()));
        }
    }
}

/// 128 bits that nobody has drawn before.
pub(crate) fn new_token() -> Token {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    Token(u128::from_be_bytes(bytes))
}
