//! What a port promises, checked on every adapter behind it.

mod ledger;
mod ledger_in_memory;
mod ledger_in_redis;
mod redis_crashes;
mod redis_health;
mod redis_refusals;
pub(crate) mod redis_server;
mod redis_topologies;
