//! What becomes of each record: decided here, or sent on to the shard it belongs to.

use tokio::time::Instant as Monotonic;

use super::pile::Layer;
use super::{Decided, Wheel, instant};
use crate::catalog::Record;
use crate::fail_points::point;
use crate::ingest::command::read_command;
use crate::ingest::log::{self, LogName, Positions, UsageLog};
use crate::invoice::books::{CommandRecord, Input, Place, UsageRecord};
use crate::invoice::document::InvoiceId;
use crate::invoice::instant::Instant;
use crate::invoice::notice::Topic;
use crate::invoice::warm::{Coming, TOGETHER};
use crate::persist::{ShardId, Store};
use crate::planted::{self, Bug};
use crate::publish::{self, NoticeLog};
use crate::shard::letters::{LetterKind, NumberLetter, ORIGIN_HEADER, Origin};
use crate::shard::outbox;
use crate::shard::reading::{ReadUsage, TextHeaders, text_headers};
use crate::shard::territory::Part;
use crate::shard::world::Stop;

impl<S: Store, U: UsageLog + 'static, N: NoticeLog + 'static> Wheel<S, U, N> {
    // --- Records ------------------------------------------------------------------------------------------------------

    /// Takes what is on the pile of one batch; answers how far the logs have been read with it.
    pub(super) async fn take_batch(&mut self) -> Result<Positions, Stop> {
        loop {
            match self.pile.top().expect("a batch was put on the pile") {
                Layer::Run(run) => {
                    let run = run.clone();
                    self.take_run(&run).await?;
                    self.pile.took_layer();
                }
                Layer::ReadTo(read_to) => {
                    let read_to = *read_to;
                    self.pile.took_layer();
                    self.pass_time(self.books.now()).await?;
                    for log in LogName::ALL {
                        self.standing.positions[log as usize] = read_to[log].0;
                    }
                    return Ok(read_to);
                }
            }
        }
    }

    /// Takes the records of one log, some at a time, so that usage can be reached for together.
    async fn take_run(&mut self, run: &log::Run) -> Result<(), Stop> {
        self.fetch_for(run.records()).await?;
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
            self.fetch_for(some.iter().copied()).await?;
            for (record, headers) in some.iter().zip(&headers) {
                let at = instant(record.appended_ms);
                let now = at.max(self.books.now());
                if self.books.next_deadline().is_some_and(|due| due <= now) {
                    self.note_place(taken);
                    self.pass_time(now).await?;
                    self.fetch_for(some.iter().copied()).await?;
                }
                let usage = usage.next().flatten();
                match record.log {
                    LogName::Usage if self.ahead.comes_to(record) => {
                        self.books.decide(at.max(self.books.now()), &Input::Tick);
                    }
                    LogName::Usage => {
                        let usage = usage.expect("usage was read ahead");
                        self.take_usage(at, record, headers, usage, None);
                    }
                    LogName::Catalog => self.take_catalog(at, record),
                    LogName::Commands => self.take_command(at, record, headers, None),
                    LogName::Forwarded => self.take_forwarded(at, record, headers)?,
                    LogName::Numbers => self.take_number(record)?,
                }
                self.pile.took_one();
                self.gauges.took(record.log, record.appended_ms);
                taken = Some(*record);
            }
        }
        self.note_place(taken);
        Ok(())
    }

    /// Reads usage, but for what is decided already, and reaches for what it will need.
    pub(super) fn read_ahead<'a>(
        &self,
        records: &[log::Record<'a>],
        headers: &'a [TextHeaders<'a>],
    ) -> Vec<Option<ReadUsage<'a>>> {
        let settings = self.books.settings();
        let read: Vec<Option<ReadUsage<'a>>> = records
            .iter()
            .zip(headers)
            .map(|(record, headers)| {
                let value = record.value.unwrap_or_default();
                (!self.ahead.is_decided(record)).then(|| ReadUsage::of(value, headers, settings))
            })
            .collect();
        let coming: Vec<Coming<'_>> = read.iter().flatten().filter_map(ReadUsage::coming).collect();
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
        let (key, value) = (record.key, record.value);
        let input = Input::Usage(UsageRecord { key, value, headers, place, event, id_hash });
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
        let command = read_command(record.value.unwrap_or_default());
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
        let (key, value) = (record.key, record.value);
        let input = Input::Command(CommandRecord { key, value, headers, command });
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
            let (key, value) = (held.key.as_deref(), held.value.as_deref());
            self.forward(home, LogName::Usage, key, value, &headers, &origin);
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

    pub(super) fn ask_for_numbers(&mut self) {
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

    pub(super) fn decided_notices(&mut self) -> &mut Vec<publish::Notice> {
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
}
