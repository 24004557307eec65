//! The port `NoticeLog` over topics in memory, and what a producer may do with what it is given.

use super::broker::Broker;
use super::life::Life;
use graceline::persist::ShardId;
use graceline::publish::{Notice, NoticeError, NoticeLog, OUTBOX_HEADER, Published, SEQ_HEADER};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The topics as one process writes them.
pub(super) struct Producer {
    pub(super) broker: Arc<Broker>,
    pub(super) life: Arc<Life>,
    mishaps: Mutex<VecDeque<Mishap>>,
    /// Looks at what is about to be written.
    pub(super) witness: Witness,
}

pub(super) type Witness = Box<dyn Fn(&Notice) + Send + Sync>;

/// What happens to the notices of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// None of them gets through, and nobody says so.
    Lost,
    /// The first of them get through, and nobody says which.
    CutShort,
    /// All get through, and nobody says so.
    AnswerLost,
    /// All get through, twice.
    Doubled,
    /// The first one's topic takes nothing.
    Refused,
}

impl Producer {
    pub(super) fn new(broker: Arc<Broker>, life: Arc<Life>, witness: Witness) -> Producer {
        Producer { broker, life, mishaps: Mutex::default(), witness }
    }

    pub(super) fn befall(&self, mishap: Mishap) {
        self.mishaps.lock().expect("no one panics here").push_back(mishap);
    }

    pub(super) fn spare(&self) {
        self.mishaps.lock().expect("no one panics here").clear();
    }

    async fn write(&self, notices: &[Notice]) {
        for notice in notices {
            self.life.pass().await;
            (self.witness)(notice);
            self.broker.announce(notice);
        }
    }
}

impl NoticeLog for Producer {
    async fn last(&self, shard: ShardId) -> Result<Vec<Published>, NoticeError> {
        self.life.pass().await;
        if self.broker.is_away() {
            return Err(NoticeError::Unavailable("no broker answers".to_owned()));
        }
        let topics = self.broker.outputs(shard);
        let published = topics.iter().map(|topic| {
            self.broker.read_topic(topic, shard.0, |records| {
                let highest = |header| {
                    let number = |record: &super::dump::Record| record.header(header)?.parse::<u64>().ok();
                    records.iter().filter_map(number).max()
                };
                Published {
                    topic: Arc::from(topic.as_str()),
                    seq: highest(SEQ_HEADER),
                    outbox: highest(OUTBOX_HEADER),
                }
            })
        });
        let published = published.collect();
        self.life.pass().await;
        Ok(published)
    }

    async fn append(&self, notices: Arc<[Notice]>) -> Result<(), NoticeError> {
        self.life.pass().await;
        while self.broker.is_away() || self.broker.is_deaf() {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.life.pass().await;
        }
        let mishap = self.mishaps.lock().expect("no one panics here").pop_front();
        match mishap {
            None => self.write(&notices).await,
            Some(Mishap::Lost) => return unknown(),
            Some(Mishap::CutShort) => {
                self.write(&notices[..notices.len() / 2]).await;
                return unknown();
            }
            Some(Mishap::AnswerLost) => {
                self.write(&notices).await;
                return unknown();
            }
            Some(Mishap::Doubled) => {
                self.write(&notices).await;
                self.write(&notices).await;
            }
            Some(Mishap::Refused) => return self.refuse(&notices).await,
        }
        self.life.pass().await;
        Ok(())
    }
}

impl Producer {
    /// Nothing more goes to the first one's topic; webhooks of other topics that come behind it stay back too, so that a
    /// shard's webhooks are told in their order.
    async fn refuse(&self, notices: &[Notice]) -> Result<(), NoticeError> {
        let Some(first) = notices.first() else { return Ok(()) };
        let why = "the test refuses it".to_owned();
        self.life.pass().await;
        Err(NoticeError::Refused { topic: first.topic.to_string(), partition: first.partition, why })
    }
}

fn unknown() -> Result<(), NoticeError> {
    Err(NoticeError::Unavailable("no answer, as the test asked".to_owned()))
}
