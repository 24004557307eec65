//! The wheel: reads a batch, decides it, commits it, announces it, and reads the next one meanwhile.
//!
//! Nothing is announced before it is durable. While one batch is being committed the next one is read and decided in
//! memory; if the commit fails, all of it is thrown away and the books are opened again from the ledger.

mod ahead;
mod fetching;
mod pile;
mod taking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant as Monotonic;
use tracing::{debug, info, warn};

use self::ahead::AheadOfTurn;
use self::pile::{Layer, Pile};
use super::health::{Gauges, State};
use super::outbox::document;
use super::outbox::{Mentions, Numbers};
use super::post::{Sent, send_letters};
use super::standing::{
    SCHEMA, Standing, open_books, open_feed, pending_letters, read_letters, read_standing, write_out,
};
use super::territory::{Directory, Territory};
use super::world::{Stop, World};
use crate::fail_points::point;
use crate::ingest::log::{Batch, Feed, Limits, LogError, LogName, Offset, Positions, UsageLog};
use crate::invoice::books::{Books, Passed};
use crate::invoice::document::InvoiceId;
use crate::invoice::filing::invoice_with_key;
use crate::invoice::instant::Instant;
use crate::invoice::notice::Topic;
use crate::persist::{CommitNo, Ledger, LedgerError, Store, Token, Write};
use crate::planted::{self, Bug};
use crate::publish::{self, NoticeLog};

/// A shard at work.
pub struct Wheel<S: Store, U: UsageLog, N> {
    world: Arc<World<S, U, N>>,
    territory: Territory,
    gauges: Arc<Gauges>,
    ledger: Option<S::Ledger>,
    commit: CommitNo,
    books: Books,
    directory: Directory,
    feed: U::Feed,
    pile: Pile,
    ahead: AheadOfTurn,
    standing: Standing,
    /// The commit under way.
    committing: Option<(Decided, Committing<S>)>,
    /// What the next commit will announce.
    decided: Option<Decided>,
    letters: mpsc::UnboundedSender<(u64, Vec<publish::Notice>)>,
    mentions: Mentions,
    sent: watch::Receiver<Sent>,
    tick: Option<(Instant, Positions)>,
    has_changed: bool,
}

type Committing<S> = JoinHandle<(<S as Store>::Ledger, Result<(), LedgerError>)>;

/// Notices that go out when their commit is durable.
struct Decided {
    outbox: u64,
    notices: Vec<publish::Notice>,
    forgets: Vec<String>,
    begun: Monotonic,
    usage_position: u64,
}

impl<S: Store, U: UsageLog + 'static, N: NoticeLog + 'static> Wheel<S, U, N> {
    /// Takes a shard over: claims it, opens its books, and goes on where the last commit ended.
    pub async fn open(
        world: Arc<World<S, U, N>>,
        territory: Territory,
        token: Token,
    ) -> Result<Wheel<S, U, N>, Stop> {
        let shard = territory.shard;
        world.health.set(shard, State::Opening);
        point("K13");
        let mut ledger = world.store.ledger(shard);
        let claim = ledger.claim(token).await?;
        point("K14");
        let standing = read_standing(claim.record.as_deref(), &territory)?;
        let last_reported = match &standing {
            Some(_) => None,
            None => world.group.last_reported(shard).map_err(Stop::Unavailable)?,
        };
        if let Some(read) = last_reported.filter(|read| read.0 > 0) {
            return Err(Stop::Broken(format!(
                "the ledger knows nothing of this shard, but the group has read its usage up to {read}: Redis has lost its data, or is another one. Bring back its append-only file; or, to read everything again from the logs, use another kafka.group and topics for webhooks that are empty"
            )));
        }
        let books = async {
            let (books, directory) = open_books(&mut ledger, &world.settings, standing.as_ref()).await?;
            let ahead = ahead::open(&mut ledger, standing.as_ref()).await?;
            point("K26");
            Ok((books, directory, ahead))
        };
        // The brokers' answers take as long as the books of a small shard.
        let ((mut books, directory, ahead), feed) =
            tokio::try_join!(books, open_feed(&*world.usage, shard, standing.as_ref()))?;
        books.count_for(move |entity| territory.is_home_of(entity.as_bytes()));
        let standing = standing.unwrap_or_else(|| Standing {
            schema: SCHEMA,
            shards: territory.shards,
            positions: [0; 5],
            fingerprints: [None; 5],
            numbers: Numbers::default(),
            outbox: (0, 0),
            directory: 0,
            ahead: (0, 0),
            received: Vec::new(),
            books: books.contents(),
        });
        let (pending, mentions) =
            pending_letters(&mut ledger, &standing, world.notices.as_ref(), &territory).await?;
        let (letters, queue) = mpsc::unbounded_channel();
        let (report, sent) = watch::channel(Sent::UpTo(standing.outbox.0));
        tokio::spawn(send_letters(world.notices.clone(), queue, report));
        for letter in pending {
            let _ = letters.send(letter);
        }
        let gauges = world.health.gauges(shard);
        gauges.opened();
        info!(shard = shard.0, commit = claim.commit.0, "Opened the shard.");
        world.health.set(shard, State::Running);
        Ok(Wheel {
            world,
            territory,
            gauges,
            ledger: Some(ledger),
            commit: claim.commit,
            books,
            directory,
            feed,
            pile: Pile::default(),
            ahead,
            standing,
            committing: None,
            decided: None,
            letters,
            mentions,
            sent,
            tick: None,
            has_changed: false,
        })
    }

    /// Turns until it is asked to stop, or can't go on.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Stop {
        loop {
            if *stop.borrow_and_update() {
                return match self.finish().await {
                    Ok(()) => Stop::Asked,
                    Err(stop) => stop,
                };
            }
            if let Err(stop) = self.turn(&mut stop).await {
                return stop;
            }
        }
    }

    /// One batch: read and decided while the one before it is being committed.
    async fn turn(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), Stop> {
        if let Sent::Refused(why) = &*self.sent.borrow() {
            return Err(Stop::Broken(why.clone()));
        }
        if self.pile.is_empty() {
            let limits = self.limits(self.wait_max());
            tokio::select! {
                biased;
                batch = self.feed.next(limits) => self.put(batch?),
                Ok(()) = self.sent.changed() => {
                    self.note();
                    return Ok(());
                }
                Ok(()) = stop.changed() => return Ok(()),
            }
        }
        let is_idle = matches!(self.pile.top(), Some(Layer::ReadTo(_)));
        let read_to = self.take_batch().await?;
        self.keep_time(&read_to).await?;
        self.await_commit().await?;
        self.begin_commit().await?;
        if is_idle {
            self.await_commit().await?;
        }
        self.gauges.read(&read_to);
        self.note();
        Ok(())
    }

    fn note(&self) {
        self.gauges.note(&self.books, self.standing.outbox.1 - self.sent_up_to());
        self.world.health.note_settings(self.books.settings());
    }

    /// How long to wait for something to read: not beyond the next duty, and not for long while something is under way.
    fn wait_max(&self) -> Duration {
        let pace = self.world.pace;
        if self.committing.is_some() || self.tick.is_some() {
            return pace.wait_max;
        }
        let reached = instant((self.world.clock)()).minus(self.books.settings().clock_skew_limit.exact());
        let due_in = |due: Instant| Duration::from_nanos(due.0.saturating_sub(reached.0).max(0) as u64);
        let rest = self.books.next_deadline().map_or(pace.rest_max, |due| due_in(due).min(pace.rest_max));
        rest.max(pace.wait_max)
    }

    fn limits(&self, wait_max: Duration) -> Limits {
        let pace = self.world.pace;
        Limits { records_max: pace.records_max, bytes_max: pace.bytes_max, wait_max }
    }

    /// Puts what was read on the pile.
    fn put(&mut self, batch: Batch) {
        if !batch.is_empty() {
            point("K01");
        }
        if batch.out_of_turn > 0 {
            let records = batch.out_of_turn;
            warn!(
                shard = self.territory.shard.0,
                records, "Records came too late to be taken in their turn."
            );
            self.gauges.out_of_turn(records);
        }
        self.pile.put(batch);
    }

    /// Hands what was decided to the ledger and waits for it.
    async fn finish(&mut self) -> Result<(), Stop> {
        self.await_commit().await?;
        self.begin_commit().await?;
        self.await_commit().await
    }

    // --- Time ---------------------------------------------------------------------------------------------------------

    /// Lets the shard's clock pass what is due, once everything written before that instant has been read.
    async fn keep_time(&mut self, read_to: &Positions) -> Result<(), Stop> {
        // What has been read already comes before any tick.
        if !self.pile.is_empty() {
            return Ok(());
        }
        if let Some((until, ends)) = &self.tick {
            if LogName::ALL.into_iter().all(|log| read_to[log] >= ends[log]) {
                let until = *until;
                self.tick = None;
                self.pass_time(until).await?;
                point("K17");
                self.gauges.passed(until);
            }
            return Ok(());
        }
        let skew = self.books.settings().clock_skew_limit.exact();
        let now_ms = (self.world.clock)();
        let until = instant(now_ms).minus(skew);
        if planted::is(Bug::DeadlineOnWallClock) {
            return self.pass_time(instant(now_ms)).await;
        }
        if self.books.next_deadline().is_some_and(|due| due <= until) {
            match self.feed.ends().await {
                Ok(ends) => self.tick = Some((until, ends)),
                // Nobody says where the logs end: time doesn't pass.
                Err(LogError::Unavailable(why)) => debug!(shard = self.territory.shard.0, why, "No tick."),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Does what is due by then. Many duties at one instant are many commits, none of which is large.
    async fn pass_time(&mut self, until: Instant) -> Result<(), Stop> {
        while self.books.next_deadline().is_some_and(|due| due <= until) {
            self.has_changed = true;
            let (ahead, duties_max) = (&mut self.ahead, self.world.pace.duties_max);
            match self.books.pass_some_time(until, duties_max, |of| ahead.pass(of)) {
                Passed::All => {}
                Passed::Some => {
                    self.await_commit().await?;
                    self.begin_commit().await?;
                    self.go_ahead(until).await?;
                }
                Passed::Lacking => self.fetch_for_duties().await?,
            }
        }
        Ok(())
    }

    // --- Commits ------------------------------------------------------------------------------------------------------

    /// Starts to commit everything decided since the last commit was begun.
    async fn begin_commit(&mut self) -> Result<(), Stop> {
        self.address_notices();
        if !self.has_changed && self.decided.is_none() {
            return Ok(());
        }
        self.has_changed = false;
        let changes = self.books.take_changes();
        point("K04");
        let mut writes: Vec<Write> =
            changes.writes.into_iter().map(|(key, bytes)| Write { key, bytes }).collect();
        let new_homes = self.directory.take_new();
        if !new_homes.is_empty() {
            writes.push(Write { key: format!("homes:{}", self.standing.directory), bytes: new_homes });
            self.standing.directory += 1;
        }
        let outbox = self.standing.outbox.1;
        let mut decided = self.decided.take().unwrap_or_else(|| Decided {
            outbox,
            notices: Vec::new(),
            forgets: Vec::new(),
            begun: Monotonic::now(),
            usage_position: 0,
        });
        decided.usage_position = self.standing.positions[LogName::Usage as usize];
        decided.forgets = changes.forgets;
        self.keep_ahead(&mut writes, &mut decided.forgets);
        let sent = self.sent_up_to();
        self.mentions.are_out(sent);
        decided.forgets.extend((self.standing.outbox.0..sent).map(document::key));
        self.standing.outbox.0 = sent;
        self.write_out_what_changes(&mut writes).await?;
        if !decided.notices.is_empty() {
            let (bytes, mentioned) = document::of_commit(&decided.notices, &writes);
            self.mentions.note(decided.outbox, mentioned);
            writes.push(Write { key: document::key(decided.outbox), bytes });
            self.standing.outbox.1 += 1;
        }
        self.standing.books = self.books.contents();
        let record = serde_json::to_vec(&self.standing).expect("a shard's standing is plain data");
        let mut ledger = self.ledger.take().expect("one commit is under way at a time");
        let expected = self.commit;
        decided.begun = Monotonic::now();
        if planted::is(Bug::NoticeBeforeCommit) && !decided.notices.is_empty() {
            let _ = self.letters.send((decided.outbox, std::mem::take(&mut decided.notices)));
        }
        let committing = tokio::spawn(async move {
            point("K05");
            let outcome = ledger.commit(expected, &record, &writes).await;
            point("K08");
            (ledger, outcome)
        });
        self.committing = Some((decided, committing));
        Ok(())
    }

    /// Writes out the webhooks that may not be out yet and mention an invoice that is to change.
    async fn write_out_what_changes(&mut self, writes: &mut Vec<Write>) -> Result<(), Stop> {
        let mut changing: BTreeMap<u64, BTreeSet<InvoiceId>> = BTreeMap::new();
        for invoice in writes.iter().filter_map(|write| invoice_with_key(&write.key)) {
            if let Some(number) = self.mentions.take(invoice) {
                changing.entry(number).or_default().insert(invoice);
            }
        }
        let ledger = self.ledger.as_mut().expect("one commit is under way at a time");
        for (number, invoices) in changing {
            let mut letters = read_letters(ledger, number).await?;
            write_out(ledger, &mut letters, |invoice| invoices.contains(&invoice)).await?;
            writes.push(Write { key: document::key(number), bytes: document::of_kept(&letters) });
        }
        Ok(())
    }

    /// Waits for the commit under way; then its notices may go out, and what it made needless may go.
    async fn await_commit(&mut self) -> Result<(), Stop> {
        let Some((decided, committing)) = self.committing.take() else { return Ok(()) };
        let (mut ledger, outcome) =
            committing.await.map_err(|error| Stop::Broken(format!("a commit ended in a panic: {error}")))?;
        outcome?;
        self.commit = self.commit.next();
        self.books.let_go_of_sealed();
        point("K09");
        self.world.group.report(self.territory.shard, Offset(decided.usage_position));
        self.gauges.committed(decided.begun.elapsed());
        if !decided.notices.is_empty() {
            point("K18");
            let _ = self.letters.send((decided.outbox, decided.notices));
        }
        if !decided.forgets.is_empty() {
            point("K21");
            ledger.forget(&decided.forgets).await?;
        }
        self.ledger = Some(ledger);
        Ok(())
    }

    fn address_notices(&mut self) {
        self.ask_for_numbers();
        let notices = self.books.take_notices();
        if notices.is_empty() {
            return;
        }
        let (world, shard) = (self.world.clone(), self.territory.shard);
        let mut numbers = self.standing.numbers;
        for notice in notices {
            if let Some((_, reason)) = notice.headers.iter().find(|(name, _)| name == publish::REASON_HEADER)
            {
                self.gauges.rejected(reason);
            }
            match notice.topic {
                Topic::Webhook("invoice.drafted") => point("K22"),
                Topic::Webhook("invoice.payment_overdue") => point("K23"),
                _ => {}
            }
            let addressed = numbers.address(notice, shard, &world.to);
            self.decided_notices().push(addressed);
        }
        self.standing.numbers = numbers;
    }

    fn sent_up_to(&self) -> u64 {
        match &*self.sent.borrow() {
            Sent::UpTo(number) => *number,
            Sent::Refused(_) => self.standing.outbox.0,
        }
    }
}

fn instant(ms: i64) -> Instant {
    Instant::from_parts(i128::from(ms.div_euclid(1000)), (ms.rem_euclid(1000) * 1_000_000) as u32)
}
