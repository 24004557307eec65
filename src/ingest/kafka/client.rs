//! What all clients have in common: where their logs go, and what their errors mean.

use super::timer::{Duration, Instant, now, since};
use crate::ingest::log::{LogError, LogName};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{NoCustomPartitioner, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tracing::{debug, info, warn};

/// A kind of message is passed on once in this time. A broker that is down is reported by every client at every
/// attempt to reach it, several times a second.
const QUIET: Duration = Duration::from_secs(60);

/// Where a client's own messages go.
pub(crate) struct Journal {
    client: &'static str,
    said: Mutex<HashMap<String, Said>>,
}

struct Said {
    at: Instant,
    repeats: u64,
}

impl Journal {
    pub(crate) fn new(client: &'static str) -> Journal {
        Journal { client, said: Mutex::default() }
    }

    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let client = self.client;
        // CONFWARN is about a producer's setting on a consumer, or the other way round: we hand the same ones to both.
        // FAIL and ERROR come a second time, as errors.
        if matches!(facility, "CONFWARN" | "ERROR" | "FAIL") || level as i32 >= RDKafkaLogLevel::Info as i32 {
            return debug!(client, facility, message, "Kafka client says.");
        }
        let Some(repeats) = self.worth_saying(facility) else {
            return debug!(client, facility, message, "Kafka client says again.");
        };
        // Not even a fatal error wakes anybody: a client that has failed is replaced.
        if level as i32 <= RDKafkaLogLevel::Warning as i32 {
            warn!(client, facility, message, repeats, "Kafka client warns.");
        } else {
            info!(client, facility, message, repeats, "Kafka client says.");
        }
    }

    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        let client = self.client;
        // An error that belongs to one partition or message comes a second time where it can be acted on.
        match error.rdkafka_error_code() {
            Some(code) if is_transient(code) => {
                // What a client may not do, or can't resolve, isn't drowned by what it can't reach.
                let distinct = matches!(
                    code,
                    Code::Authentication | Code::Resolve | Code::SaslAuthenticationFailed | Code::SSL
                );
                let kind = if distinct { code.to_string() } else { "unreachable".to_owned() };
                if let Some(repeats) = self.worth_saying(&kind) {
                    warn!(client, reason, repeats, "Kafka can't be reached.");
                }
            }
            _ => debug!(client, %error, reason, "Kafka client has an error."),
        }
    }

    /// How often it was held back since it was said last, if it may be said now.
    fn worth_saying(&self, kind: &str) -> Option<u64> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match said.get_mut(kind) {
            Some(last) if since(last.at) < QUIET => {
                last.repeats += 1;
                None
            }
            Some(last) => {
                last.at = now();
                Some(std::mem::take(&mut last.repeats))
            }
            None => {
                said.insert(kind.to_owned(), Said { at: now(), repeats: 0 });
                Some(0)
            }
        }
    }
}

/// A client that only needs its messages to go somewhere.
pub(crate) struct Plain(pub(crate) Journal);

impl Plain {
    pub(crate) fn new(client: &'static str) -> Plain {
        Plain(Journal::new(client))
    }
}

impl ClientContext for Plain {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ConsumerContext for Plain {}

/// What happens to a sent record is told through a channel, by its number.
pub(crate) struct Reporting {
    pub(crate) journal: Journal,
    pub(crate) reports: std::sync::mpsc::Sender<(usize, Result<(), Code>)>,
}

impl ClientContext for Reporting {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.journal.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.journal.error(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Reporting {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, number: usize) {
        let outcome = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        // Nobody listens any more when the producer is being dropped.
        let _ = self.reports.send((number, outcome));
    }
}

/// Whether a client gets over it without us.
pub(crate) fn is_transient(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::Authentication
            | Code::BrokerNotAvailable
            | Code::BrokerTransportFailure
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::LeaderNotAvailable
            | Code::NetworkException
            | Code::NotCoordinator
            | Code::NotLeaderForPartition
            | Code::OperationTimedOut
            | Code::PollExceeded
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::SaslAuthenticationFailed
            | Code::SSL
            | Code::WaitingForCoordinator
    )
}

/// What is the matter with one partition, before it has been said whose log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Unavailable(String),
    Gone(String),
    Denied(String),
    Broken(String),
}

impl Trouble {
    pub(crate) fn of(error: &KafkaError) -> Trouble {
        error.rdkafka_error_code().map_or_else(|| Trouble::Unavailable(error.to_string()), Trouble::of_code)
    }

    pub(crate) fn of_code(code: Code) -> Trouble {
        let why = code.to_string();
        match code {
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicId => Trouble::Gone(why),
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed => Trouble::Denied(why),
            Code::BadMessage
            | Code::BadCompression
            | Code::NotImplemented
            | Code::InvalidMessage
            | Code::Underflow
            | Code::UnsupportedCompressionType
            | Code::MessageSizeTooLarge => Trouble::Broken(why),
            _ => Trouble::Unavailable(why),
        }
    }

    pub(crate) fn in_log(self, log: LogName) -> LogError {
        match self {
            Trouble::Unavailable(why) => LogError::Unavailable(format!("{log}: {why}")),
            Trouble::Gone(why) => LogError::Gone { log, why },
            Trouble::Denied(why) => LogError::Denied { log, why },
            Trouble::Broken(why) => LogError::Broken { why: format!("{log}: {why}") },
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Unavailable(why) | Trouble::Gone(why) | Trouble::Denied(why) | Trouble::Broken(why) => {
                f.write_str(why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_said_once() {
        let journal = Journal::new("test");
        assert_eq!(journal.worth_saying("FAIL"), Some(0));
        assert_eq!(journal.worth_saying("FAIL"), None);
        assert_eq!(journal.worth_saying("ERROR"), Some(0));
    }
}
