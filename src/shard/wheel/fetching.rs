//! Sealed invoices that are lacked: they are brought before a command or a duty is decided.

use super::Wheel;
use crate::ingest::command::read_command;
use crate::ingest::log::{LogName, Record, UsageLog};
use crate::invoice::books::CommandRecord;
use crate::persist::{Ledger, Store};
use crate::publish::NoticeLog;
use crate::shard::letters::{ORIGIN_HEADER, Origin};
use crate::shard::world::Stop;

impl<S: Store, U: UsageLog + 'static, N: NoticeLog + 'static> Wheel<S, U, N> {
    /// Brings what these records name, all of it with one question.
    pub(super) async fn fetch_for<'a>(
        &mut self,
        records: impl Iterator<Item = Record<'a>> + Clone,
    ) -> Result<(), Stop> {
        if self.lacked_by(records.clone()).is_empty() {
            return Ok(());
        }
        // What a commit has made durable leaves memory with it: none may be under way when it is asked what is lacked.
        self.await_commit().await?;
        let keys = self.lacked_by(records);
        self.fetch(keys).await.map(drop)
    }

    fn lacked_by<'a>(&self, records: impl Iterator<Item = Record<'a>>) -> Vec<String> {
        let lacked = |record: Record<'a>| {
            let command = read_command(record.value.unwrap_or_default());
            let (key, value) = (record.key, record.value);
            self.books.lacked_by(&CommandRecord { key, value, headers: &[], command })
        };
        records.filter(is_command).flat_map(lacked).collect()
    }

    /// Brings what the next duties touch.
    pub(super) async fn fetch_for_duties(&mut self) -> Result<(), Stop> {
        let keys = self.books.lacked_by_duties(self.world.pace.duties_max);
        match self.fetch(keys).await?.first() {
            Some(key) => Err(Stop::Broken(format!("document {key} is missing"))),
            None => Ok(()),
        }
    }

    /// Brings documents, and those they point to; says which there aren't.
    async fn fetch(&mut self, mut keys: Vec<String>) -> Result<Vec<String>, Stop> {
        let mut missing = Vec::new();
        while !keys.is_empty() {
            keys.sort();
            keys.dedup();
            self.await_commit().await?;
            let ledger = self.ledger.as_mut().expect("no commit is under way");
            let documents = ledger.read(&keys).await?;
            let mut more = Vec::new();
            for (key, bytes) in keys.iter().zip(documents) {
                missing.extend(bytes.is_none().then(|| key.clone()));
                let next = self.books.bring(key, bytes.as_deref());
                more.extend(next.map_err(|unreadable| Stop::Broken(unreadable.0))?);
            }
            keys = more;
        }
        Ok(missing)
    }
}

fn is_command(record: &Record<'_>) -> bool {
    let is_forwarded = || {
        let origin = record.headers.get(ORIGIN_HEADER)?;
        let (log, _, _) = Origin::read(std::str::from_utf8(origin).ok()?)?;
        Some(log == LogName::Commands)
    };
    match record.log {
        LogName::Commands => true,
        LogName::Forwarded => is_forwarded() == Some(true),
        _ => false,
    }
}
