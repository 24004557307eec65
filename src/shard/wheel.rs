//! The wheel: reads a batch, decides it, commits it, announces it, and reads the next one meanwhile.
//!
//! Nothing is announced before it is durable. While one batch is being committed the next one is read and decided in
//! memory; if the commit fails, all of it is thrown away and the books are opened again from the ledger.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant as Monotonic;
use tracing::{debug, info};

use super::health::{Gauges, State};
use super::letters::{LetterKind, NumberLetter, ORIGIN_HEADER, Origin};
use super::outbox::{self, Numbers};
use super::post::{Sent, send_letters};
use super::reading::{ReadUsage, TextHeaders, text_headers};
use super::standing::{SCHEMA, Standing, check_fingerprints, open_books, pending_letters, read_standing};
use super::territory::{Directory, Part, Territory};
use super::world::{Stop, World};
use crate::catalog::Record;
use crate::fail_points::point;
use crate::ingest::command::read_command;
use crate::ingest::log::{self, Feed, Limits, LogError, LogName, Offset, PerLog, Positions, UsageLog};
use crate::invoice::books::{Books, CommandRecord, Input, Place, UsageRecord};
use crate::invoice::document::InvoiceId;
use crate::invoice::instant::Instant;
use crate::invoice::notice::Topic;
use crate::invoice::warm::{Coming, TOGETHER};
use crate::persist::{CommitNo, Ledger, LedgerError, ShardId, Store, Token, Write};
use crate::planted::{self, Bug};
use crate::publish::{self, NoticeLog};

/// How many duties one commit holds at most: some megabytes of drafts and webhooks.
const DUTIES_PER_COMMIT: usize = 2000;

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
    standing: Standing,
    /// The commit under way.
    committing: Option<(Decided, Committing<S>)>,
    /// What the next commit will announce.
    decided: Option<Decided>,
    letters: mpsc::UnboundedSender<(u64, Vec<publish::Notice>)>,
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
        let (books, directory) = open_books(&mut ledger, &world.settings, standing.as_ref()).await?;
        let from =
            PerLog::from_fn(|log| standing.as_ref().map(|standing| Offset(standing.positions[log as usize])));
        point("K16");
        let mut feed = world.usage.open(shard, from).await?;
        if let Some(standing) = &standing {
            check_fingerprints(&mut feed, standing).await?;
        }
        let mut books = books;
        books.count_for(move |entity| territory.is_home_of(entity.as_bytes()));
        let standing = standing.unwrap_or_else(|| Standing {
            schema: SCHEMA,
            shards: territory.shards,
            positions: [0; 5],
            fingerprints: [None; 5],
            numbers: Numbers::default(),
            outbox: (0, 0),
            directory: 0,
            received: Vec::new(),
            books: books.contents(),
        });
        let pending = pending_letters(&mut ledger, &standing, world.notices.as_ref(), &territory).await?;
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
            standing,
            committing: None,
            decided: None,
            letters,
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
            if let Err(stop) = self.turn().await {
                return stop;
            }
        }
    }

    /// One batch: read and decided while the one before it is being committed.
    async fn turn(&mut self) -> Result<(), Stop> {
        if let Sent::Refused(why) = &*self.sent.borrow() {
            return Err(Stop::Broken(why.clone()));
        }
        let pace = self.world.pace;
        let limits =
            Limits { records_max: pace.records_max, bytes_max: pace.bytes_max, wait_max: pace.wait_max };
        let batch = self.feed.next(limits).await?;
        let is_idle = batch.is_empty();
        if !is_idle {
            point("K01");
        }
        for run in &batch.runs {
            self.take_run(run).await?;
        }
        self.pass_time(self.books.now()).await?;
        for log in LogName::ALL {
            self.standing.positions[log as usize] = batch.read_to[log].0;
        }
        self.keep_time(&batch.read_to).await?;
        self.await_commit().await?;
        self.begin_commit().await?;
        if is_idle {
            self.await_commit().await?;
        }
        self.gauges.read(&batch.read_to);
        self.gauges.note(&self.books, self.standing.outbox.1 - self.sent_up_to());
        self.world.health.note_settings(self.books.settings());
        Ok(())
    }

    /// Hands what was decided to the ledger and waits for it.
    async fn finish(&mut self) -> Result<(), Stop> {
        self.await_commit().await?;
        self.begin_commit().await?;
        self.await_commit().await
    }

    // --- Records ------------------------------------------------------------------------------------------------------

    /// Takes the records of one log, some at a time, so that usage can be reached for together.
    async fn take_run(&mut self, run: &log::Run) -> Result<(), Stop> {
        let mut taken: Option<log::Record<'_>> = None;
        let mut records = run.records().peekable();
        while records.peek().is_some() {
            let some: Vec<log::Record<'_>> = records.by_ref().take(TOGETHER).collect();
            let headers: Vec<TextHeaders<'_>> = some.iter().map(text_headers).collect();
            let usage = match run.log {
                LogName::Usage => self.read_ahead(&some, &headers),
                _ => Vec::new(),
            };
            let mut usage = usage.into_iter();
            for (record, headers) in some.iter().zip(&headers) {
                let at = instant(record.appended_ms);
                if self.books.next_deadline().is_some_and(|due| due <= at) {
                    self.note_place(taken);
                    self.pass_time(at).await?;
                }
                match record.log {
                    LogName::Catalog => self.take_catalog(at, record),
                    LogName::Commands => self.take_command(at, record, headers, None),
                    LogName::Usage => {
                        let usage = usage.next().expect("usage was read ahead");
                        self.take_usage(at, record, headers, usage, None);
                    }
                    LogName::Forwarded => self.take_forwarded(at, record, headers)?,
                    LogName::Numbers => self.take_number(record)?,
                }
                self.gauges.took(record.log, record.appended_ms);
                taken = Some(*record);
            }
        }
        self.note_place(taken);
        Ok(())
    }

    /// Reads usage, and reaches for what it will need.
    fn read_ahead<'a>(
        &self,
        records: &[log::Record<'a>],
        headers: &'a [TextHeaders<'a>],
    ) -> Vec<ReadUsage<'a>> {
        let settings = self.books.settings();
        let read: Vec<ReadUsage<'a>> = records
            .iter()
            .zip(headers)
            .map(|(record, headers)| ReadUsage::of(record.value.unwrap_or_default(), headers, settings))
            .collect();
        let coming: Vec<Coming<'_>> = read.iter().filter_map(ReadUsage::coming).collect();
        self.books.warm(&coming);
        read
    }

    /// Everything up to this record is decided.
    fn note_place(&mut self, taken: Option<log::Record<'_>>) {
        let Some(record) = taken else { return };
        self.standing.positions[record.log as usize] = record.offset.0 + 1;
        self.standing.fingerprints[record.log as usize] = Some(record.fingerprint());
        self.has_changed = true;
    }

    fn take_catalog(&mut self, at: Instant, record: &log::Record<'_>) {
        let read = Record::read(record.key, record.value);
        let part = self.territory.part_in(record.key, &read);
        match (part, &read) {
            (Part::Ignores, _) => {}
            (Part::Notes, Ok(Record::Subscription(subscription))) => {
                let home = self.territory.home_of(subscription.customer.as_bytes());
                if self.directory.note(&subscription.external_id, home) {
                    self.send_parked_on(&subscription.external_id, home);
                }
            }
            (Part::Notes, _) => {}
            (Part::Follows | Part::Answers, _) => self.decide_catalog(at, record),
        }
    }

    /// Decides a catalog record; of refusals only those stay that this shard answers for.
    fn decide_catalog(&mut self, at: Instant, record: &log::Record<'_>) {
        let known = self.books.notices_mut().len();
        let input = Input::Catalog { key: record.key, value: record.value, headers: &[] };
        self.books.begin_to_decide(at.max(self.books.now()), &input);
        if record.key == Some(b"settings/settings") {
            point("K25");
        }
        self.name_source(record, known);
        let territory = self.territory;
        let mut place = 0;
        self.books.notices_mut().retain(|notice| {
            place += 1;
            let key = notice.key.as_deref().unwrap_or_default();
            let is_own_business = key.starts_with(b"customer/") || key.starts_with(b"subscription/");
            place <= known
                || notice.topic != Topic::BillingRejected
                || is_own_business
                || territory.is_home_of(key)
        });
    }

    fn take_usage(
        &mut self,
        at: Instant,
        record: &log::Record<'_>,
        headers: &[(&str, &[u8])],
        usage: ReadUsage<'_>,
        origin: Option<&Origin>,
    ) {
        let value = record.value.unwrap_or_default();
        let ReadUsage { mut event, id_hash } = usage;
        point("K02");
        let here = Place {
            topic: &self.world.topics[record.log],
            partition: self.territory.shard.0,
            offset: record.offset.0,
        };
        let place = origin.map_or(here, Origin::place);
        if let (Ok(event), Some(origin)) = (&mut event, origin) {
            event.happened_at.get_or_insert(origin.at);
        }
        if let (Ok(event), None) = (&event, origin)
            && let Some(home) = self.territory.home_of_usage(event, &self.books, &self.directory)
            && home != self.territory.shard
        {
            let origin = Origin {
                topic: place.topic.to_owned(),
                partition: place.partition,
                offset: place.offset,
                at,
            };
            self.forward(home, LogName::Usage, record.key, record.value, headers, &origin);
            return;
        }
        let known = self.books.notices_mut().len();
        let input = Input::Usage(UsageRecord { key: record.key, value, headers, place, event, id_hash });
        self.books.decide(at.max(self.books.now()), &input);
        point("K03");
        self.name_source(record, known);
    }

    fn take_command(
        &mut self,
        at: Instant,
        record: &log::Record<'_>,
        headers: &[(&str, &[u8])],
        origin: Option<&Origin>,
    ) {
        let value = record.value.unwrap_or_default();
        let command = read_command(value);
        if origin.is_none()
            && let Some(home) = self.territory.home_of_command(&command, &self.books, &self.directory)
            && home != self.territory.shard
        {
            let topic = self.world.topics[record.log].to_string();
            let origin = Origin { topic, partition: self.territory.shard.0, offset: record.offset.0, at };
            self.forward(home, LogName::Commands, record.key, record.value, headers, &origin);
            return;
        }
        let known = self.books.notices_mut().len();
        let input = Input::Command(CommandRecord { key: record.key, value, headers, command });
        self.books.decide(at.max(self.books.now()), &input);
        self.name_source(record, known);
    }

    /// Says of new refusals which record they are about (R20).
    fn name_source(&mut self, record: &log::Record<'_>, known: usize) {
        let topic = &self.world.topics[record.log];
        let partition = if record.log == LogName::Catalog { 0 } else { self.territory.shard.0 };
        for notice in self.books.notices_mut().iter_mut().skip(known) {
            let is_refusal = matches!(notice.topic, Topic::UsageRejected | Topic::BillingRejected);
            if is_refusal && notice.value.as_deref() == record.value && notice.key.as_deref() == record.key {
                let source = format!("{topic}/{partition}/{}", record.offset);
                notice.headers.push(("graceline-source".to_owned(), source.into_bytes()));
            }
        }
    }

    // --- Sending on ---------------------------------------------------------------------------------------------------

    /// Sends a record to the shard it belongs to, with the place it stood in.
    fn forward(
        &mut self,
        home: ShardId,
        log: LogName,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
        origin: &Origin,
    ) {
        let mut sent: Vec<(String, Vec<u8>)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        sent.push((ORIGIN_HEADER.to_owned(), origin.to_text(log, self.territory.shard).into_bytes()));
        sent.push(outbox::next(&mut self.standing.numbers.forward));
        let mut notice = publish::Notice {
            topic: self.world.topics[LogName::Forwarded].clone(),
            partition: home.0,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: sent,
        };
        if planted::is(Bug::ForwardedTwice) {
            self.decided_notices().push(notice.clone());
            *notice.headers.last_mut().expect("it has just been numbered") =
                outbox::next(&mut self.standing.numbers.forward);
        }
        self.decided_notices().push(notice);
        self.gauges.forwarded();
    }

    /// Usage that was parked here turns out to belong to another shard.
    fn send_parked_on(&mut self, subscription: &str, home: ShardId) {
        for held in self.books.release_parked(subscription) {
            let headers: Vec<(&str, &[u8])> =
                held.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            let (topic, partition, offset) = held.place.clone();
            let origin = Origin { topic, partition, offset, at: held.arrived_at };
            self.forward(home, LogName::Usage, held.key.as_deref(), Some(&held.value), &headers, &origin);
        }
    }

    fn take_forwarded(
        &mut self,
        at: Instant,
        record: &log::Record<'_>,
        headers: &[(&str, &[u8])],
    ) -> Result<(), Stop> {
        let origin =
            record.headers.get(ORIGIN_HEADER).and_then(|text| Origin::read(std::str::from_utf8(text).ok()?));
        let number = record.headers.get(publish::OUTBOX_HEADER);
        let number = number.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        let (Some((log, from, origin)), Some(number)) = (origin, number) else {
            return Err(Stop::Broken(format!(
                "record {} of {} was not written by a shard",
                record.offset,
                self.world.topics[LogName::Forwarded]
            )));
        };
        // A repeat, from a shard that was stopped in the middle of sending.
        if !self.is_new_from(LetterKind::Forward, from, number) {
            return Ok(());
        }
        match log {
            LogName::Commands => self.take_command(at, record, headers, Some(&origin)),
            _ => {
                let value = record.value.unwrap_or_default();
                let usage = ReadUsage::of(value, headers, self.books.settings());
                self.take_usage(at, record, headers, usage, Some(&origin));
            }
        }
        Ok(())
    }

    /// Whether a shard's letter hasn't come before, by the number that its outbox gave it.
    fn is_new_from(&mut self, kind: LetterKind, from: u32, number: u64) -> bool {
        let kind = kind as u8;
        match self.standing.received.iter_mut().find(|(of, shard, _)| (*of, *shard) == (kind, from)) {
            Some((_, _, last)) if number <= *last => false,
            Some((_, _, last)) => {
                *last = number;
                true
            }
            None => {
                self.standing.received.push((kind, from, number));
                true
            }
        }
    }

    // --- Numbers ------------------------------------------------------------------------------------------------------

    /// A number is asked for here, or one that was asked for has come.
    fn take_number(&mut self, record: &log::Record<'_>) -> Result<(), Stop> {
        let text: Option<NumberLetter> = record.value.and_then(|value| serde_json::from_slice(value).ok());
        let number = record.headers.get(publish::OUTBOX_HEADER);
        let number = number.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        let (Some(letter), Some(number)) = (text, number) else {
            return Err(Stop::Broken(format!(
                "record {} of {} was not written by a shard",
                record.offset,
                self.world.topics[LogName::Numbers]
            )));
        };
        let kind = if letter.count.is_some() { LetterKind::Number } else { LetterKind::NumberRequest };
        if !self.is_new_from(kind, letter.from, number) {
            return Ok(());
        }
        // What was due by then asks first, however it falls into batches: read again, it must ask in the same order.
        self.ask_for_numbers();
        match letter.count {
            Some(count) => {
                if let Some(invoice) = InvoiceId::parse(&letter.invoice) {
                    self.books.take_number(invoice, count);
                }
            }
            None => {
                let count = self.books.next_number(&letter.entity);
                self.send_number(ShardId(letter.from), &letter.invoice, &letter.entity, Some(count));
            }
        }
        Ok(())
    }

    fn ask_for_numbers(&mut self) {
        for request in self.books.take_number_requests() {
            let home = self.territory.home_of(request.entity.as_bytes());
            self.send_number(home, &request.invoice.to_string(), &request.entity, None);
        }
    }

    fn send_number(&mut self, to: ShardId, invoice: &str, entity: &str, count: Option<u64>) {
        let from = self.territory.shard.0;
        let numbers = &mut self.standing.numbers;
        let counter = if count.is_some() { &mut numbers.number } else { &mut numbers.number_request };
        let letter = NumberLetter { from, invoice: invoice.to_owned(), entity: entity.to_owned(), count };
        let notice = publish::Notice {
            topic: self.world.topics[LogName::Numbers].clone(),
            partition: to.0,
            key: Some(entity.as_bytes().to_vec()),
            value: Some(serde_json::to_vec(&letter).expect("a letter is plain data")),
            headers: vec![outbox::next(counter)],
        };
        self.decided_notices().push(notice);
    }

    fn decided_notices(&mut self) -> &mut Vec<publish::Notice> {
        let outbox = self.standing.outbox.1;
        let decided = self.decided.get_or_insert_with(|| Decided {
            outbox,
            notices: Vec::new(),
            forgets: Vec::new(),
            begun: Monotonic::now(),
            usage_position: 0,
        });
        &mut decided.notices
    }

    // --- Time ---------------------------------------------------------------------------------------------------------

    /// Lets the shard's clock pass what is due, once everything written before that instant has been read.
    async fn keep_time(&mut self, read_to: &Positions) -> Result<(), Stop> {
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
            if !self.books.pass_some_time(until, DUTIES_PER_COMMIT) {
                self.await_commit().await?;
                self.begin_commit().await?;
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
        if !decided.notices.is_empty() {
            writes.push(Write {
                key: format!("out:{}", decided.outbox),
                bytes: outbox::to_document(&decided.notices),
            });
            self.standing.outbox.1 += 1;
        }
        let sent = self.sent_up_to();
        decided.forgets.extend((self.standing.outbox.0..sent).map(|number| format!("out:{number}")));
        self.standing.outbox.0 = sent;
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

    /// Waits for the commit under way; then its notices may go out, and what it made needless may go.
    async fn await_commit(&mut self) -> Result<(), Stop> {
        let Some((decided, committing)) = self.committing.take() else { return Ok(()) };
        let (mut ledger, outcome) =
            committing.await.map_err(|error| Stop::Broken(format!("a commit ended in a panic: {error}")))?;
        outcome?;
        self.commit = self.commit.next();
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
