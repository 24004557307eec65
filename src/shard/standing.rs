//! What a shard keeps of itself, and how it is opened from it.

use serde::{Deserialize, Serialize};

use super::opening;
use super::outbox::document::{self, Kept};
use super::outbox::{self, Mentions, Numbers};
use super::territory::{Directory, Territory};
use super::world::Stop;
use crate::catalog::settings::Settings;
use crate::fail_points::point;
use crate::ingest::log::{Feed, LogName, Offset, PerLog, UsageLog};
use crate::invoice::books::Books;
use crate::invoice::document::InvoiceId;
use crate::invoice::filing::invoice_key;
use crate::invoice::keep::Contents;
use crate::persist::{Ledger, ShardId};
use crate::planted::{self, Bug};
use crate::publish::{self, NoticeLog};

/// What a shard keeps of itself beside its books.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) schema: u32,
    pub(super) shards: u32,
    pub(super) positions: [u64; 5],
    /// The fingerprint of the last record applied from each log: it tells the log from one that was made anew.
    pub(super) fingerprints: [Option<u64>; 5],
    pub(super) numbers: Numbers,
    /// The commits whose notices may not be out yet.
    pub(super) outbox: (u64, u64),
    pub(super) directory: u64,
    /// The documents that say which usage beyond the position has been decided.
    pub(super) ahead: (u64, u64),
    /// The last number of each kind of letter that each shard has sent to this one.
    pub(super) received: Vec<(u8, u32, u64)>,
    pub(super) books: Contents,
}

pub(super) const SCHEMA: u32 = 4;

pub(super) fn read_standing(record: Option<&[u8]>, territory: &Territory) -> Result<Option<Standing>, Stop> {
    let Some(record) = record else { return Ok(None) };
    let standing: Standing = serde_json::from_slice(record).map_err(|error| {
        Stop::Broken(format!(
            "the shard's record can't be read ({error}): was it written by another version?"
        ))
    })?;
    if standing.schema != SCHEMA {
        return Err(Stop::Broken(format!(
            "the shard's record has schema {}, this program knows {SCHEMA}",
            standing.schema
        )));
    }
    if standing.shards != territory.shards {
        return Err(Stop::Broken(format!(
            "the usage topic had {} partitions and has {}: the number can't change; create a topic with {} again, or start anew under another prefix",
            standing.shards, territory.shards, standing.shards
        )));
    }
    Ok(Some(standing))
}

pub(super) async fn open_books<L: Ledger>(
    ledger: &mut L,
    settings: &Settings,
    standing: Option<&Standing>,
) -> Result<(Books, Directory), Stop> {
    let mut directory = Directory::default();
    let Some(standing) = standing else { return Ok((Books::kept(settings.clone()), directory)) };
    let books = opening::open(ledger, settings, &standing.books).await?;
    let homes: Vec<String> = (0..standing.directory).map(|number| format!("homes:{number}")).collect();
    for bytes in ledger.read(&homes).await? {
        directory.put_back(
            &bytes.ok_or_else(|| Stop::Broken("a document of the directory is missing".to_owned()))?,
        );
    }
    Ok((books, directory))
}

/// Begins to read where the last commit ended, in the logs that were read then.
pub(super) async fn open_feed<U: UsageLog>(
    usage: &U,
    shard: ShardId,
    standing: Option<&Standing>,
) -> Result<U::Feed, Stop> {
    let from = PerLog::from_fn(|log| standing.map(|standing| Offset(standing.positions[log as usize])));
    point("K16");
    let mut feed = usage.open(shard, from).await?;
    if let Some(standing) = standing {
        check_fingerprints(&mut feed, standing).await?;
    }
    Ok(feed)
}

async fn check_fingerprints<F: Feed>(feed: &mut F, standing: &Standing) -> Result<(), Stop> {
    let last = |log: LogName| {
        standing.fingerprints[log as usize]?;
        standing.positions[log as usize].checked_sub(1).map(Offset)
    };
    let found = feed.fingerprints(PerLog::from_fn(last)).await?;
    for log in LogName::ALL {
        let position = standing.positions[log as usize];
        if found[log].is_some_and(|found| standing.fingerprints[log as usize] != Some(found)) {
            return Err(Stop::Broken(format!(
                "the {log} log isn't the one that was read: the record before {position} is another; was the topic created anew?"
            )));
        }
    }
    Ok(())
}

/// The notices that were committed and may not be out, without those that the topics hold; and the invoices that they
/// mention.
pub(super) async fn pending_letters<L: Ledger, N: NoticeLog>(
    ledger: &mut L,
    standing: &Standing,
    notices: &N,
    territory: &Territory,
) -> Result<(Vec<(u64, Vec<publish::Notice>)>, Mentions), Stop> {
    let (first, next) = standing.outbox;
    let (mut pending, mut mentions) = (Vec::new(), Mentions::default());
    if first == next || planted::is(Bug::OutboxNotResumed) {
        return Ok((pending, mentions));
    }
    let published = notices.last(territory.shard).await?;
    for number in first..next {
        let mut letters = read_letters(ledger, number).await?;
        mentions.note(number, letters.iter().filter_map(Kept::mentions).collect());
        let is_out = |notice: &publish::Notice| {
            notice.partition == territory.shard.0 && outbox::is_out(notice, &published)
        };
        letters.retain(|kept| !is_out(&kept.notice));
        write_out(ledger, &mut letters, |_| true).await?;
        pending.push((number, letters.into_iter().map(|kept| kept.notice).collect()));
    }
    Ok((pending, mentions))
}

/// What a commit told, as it is kept.
pub(super) async fn read_letters<L: Ledger>(ledger: &mut L, number: u64) -> Result<Vec<Kept>, Stop> {
    let key = document::key(number);
    let bytes = ledger.read(std::slice::from_ref(&key)).await?.pop().flatten();
    let bytes = bytes.ok_or_else(|| Stop::Broken(format!("document {key} is missing")))?;
    document::read(&bytes).map_err(|error| Stop::Broken(format!("document {key} can't be read: {error}")))
}

/// Takes what letters leave to the documents of these invoices from there.
pub(super) async fn write_out<L: Ledger>(
    ledger: &mut L,
    letters: &mut [Kept],
    these: impl Fn(InvoiceId) -> bool,
) -> Result<(), Stop> {
    let mentioning = letters.iter_mut().filter_map(|kept| {
        let invoice = kept.mentions().filter(|invoice| these(*invoice))?;
        Some((invoice_key(invoice), kept))
    });
    let (keys, mentioning): (Vec<String>, Vec<&mut Kept>) = mentioning.unzip();
    for ((key, bytes), kept) in keys.iter().zip(ledger.read(&keys).await?).zip(mentioning) {
        bytes
            .and_then(|bytes| kept.write_out(&bytes))
            .ok_or_else(|| Stop::Broken(format!("document {key} is missing or can't be read")))?;
    }
    Ok(())
}
