//! `graceline demo`: a month and a bit in twenty seconds, on `dev`.
//!
//! The processor is the real one; only its clock runs faster. What happens is told line by line, or in a live view where
//! there is a terminal.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tokio::sync::watch;
use tokio::time::Instant as Monotonic;

use super::dev::Dev;
use super::live_view::LiveView;
use crate::catalog::json::Json;
use crate::config::Config;
use crate::ingest::log::{LogName, PerLog};
use crate::invoice::instant::{DAY, Instant, Span};
use crate::shard::health::{Health, State};
use crate::shard::world::Clock;

/// When the story begins, and how much faster its clock runs: two days a second.
const BEGINNING: &str = "2026-01-29T12:00:00Z";
const SPEED: i64 = 2 * 86_400;

const SHARDS: u32 = 2;

const NANOS_PER_MS: i64 = 1_000_000;

/// The clock makes no longer steps than this, however long the teller was kept from telling.
const STEP_MS_MAX: i64 = 20;

/// What is sent, and when on the story's clock.
const STORY: &[(&str, &str, &str, &str)] = &[
    (
        "2026-01-29T12:00:00Z",
        "billing.catalog",
        "billing_entity/acme",
        r#"{"kind":"billing_entity","code":"acme","name":"Acme","timezone":"Europe/Paris","currency":"EUR","invoice_grace_period":3,"net_payment_term":10,"document_prefix":"ACM","tax_codes":["vat"]}"#,
    ),
    (
        "2026-01-29T12:00:00Z",
        "billing.catalog",
        "tax/vat",
        r#"{"kind":"tax","code":"vat","name":"VAT","rate":"20"}"#,
    ),
    (
        "2026-01-29T12:00:00Z",
        "billing.catalog",
        "billable_metric/api_calls",
        r#"{"kind":"billable_metric","code":"api_calls","name":"API calls","aggregation_type":"sum_agg","field_name":"calls"}"#,
    ),
    (
        "2026-01-29T12:00:00Z",
        "billing.catalog",
        "plan/pro",
        r#"{"kind":"plan","code":"pro","name":"Pro","interval":"monthly","amount_cents":2900,"amount_currency":"EUR","charges":[{"code":"api","billable_metric_code":"api_calls","charge_model":"graduated","properties":{"graduated_ranges":[{"from_value":0,"to_value":1000,"per_unit_amount":"0","flat_amount":"0"},{"from_value":1001,"to_value":null,"per_unit_amount":"0.02","flat_amount":"0"}]}}]}"#,
    ),
    (
        "2026-01-29T12:00:00Z",
        "billing.catalog",
        "customer/ann",
        r#"{"kind":"customer","external_id":"ann","name":"Ann's Bakery","billing_entity_code":"acme"}"#,
    ),
    (
        "2026-01-29T12:00:00Z",
        "billing.catalog",
        "customer/bob",
        r#"{"kind":"customer","external_id":"bob","name":"Bob & Sons","billing_entity_code":"acme","timezone":"America/New_York"}"#,
    ),
    (
        "2026-01-29T12:00:00Z",
        "billing.catalog",
        "subscription/ann-pro",
        r#"{"kind":"subscription","external_id":"ann-pro","external_customer_id":"ann","plan_code":"pro","started_at":"2026-01-01T00:00:00+01:00"}"#,
    ),
    (
        "2026-01-29T12:00:00Z",
        "billing.catalog",
        "subscription/bob-pro",
        r#"{"kind":"subscription","external_id":"bob-pro","external_customer_id":"bob","plan_code":"pro","started_at":"2026-01-15T00:00:00-05:00"}"#,
    ),
    (
        "2026-01-30T09:00:00Z",
        "usage.events",
        "ann",
        r#"{"transaction_id":"a1","external_subscription_id":"ann-pro","code":"api_calls","timestamp":"2026-01-12T09:00:00Z","properties":{"calls":"800"}}"#,
    ),
    (
        "2026-01-30T12:00:00Z",
        "usage.events",
        "ann",
        r#"{"transaction_id":"a2","external_subscription_id":"ann-pro","code":"api_calls","timestamp":"2026-01-20T09:00:00Z","properties":{"calls":"700"}}"#,
    ),
    (
        "2026-01-30T15:00:00Z",
        "usage.events",
        "ann",
        r#"{"transaction_id":"a2","external_subscription_id":"ann-pro","code":"api_calls","timestamp":"2026-01-20T09:00:00Z","properties":{"calls":"700"}}"#,
    ),
    (
        "2026-01-31T09:00:00Z",
        "usage.events",
        "bob",
        r#"{"transaction_id":"b1","external_subscription_id":"bob-pro","code":"api_calls","timestamp":"2026-01-25T09:00:00Z","properties":{"calls":"2500"}}"#,
    ),
    (
        "2026-02-02T09:00:00Z",
        "usage.events",
        "ann",
        r#"{"transaction_id":"a3","external_subscription_id":"ann-pro","code":"api_calls","timestamp":"2026-01-31T20:00:00Z","properties":{"calls":"100"}}"#,
    ),
    (
        "2026-02-06T09:00:00Z",
        "usage.events",
        "ann",
        r#"{"transaction_id":"a4","external_subscription_id":"ann-pro","code":"api_calls","timestamp":"2026-01-31T22:00:00Z","properties":{"calls":"50"}}"#,
    ),
    (
        "2026-02-08T09:00:00Z",
        "billing.commands",
        "bob",
        r#"{"command":"payment.record","command_id":"p1","external_subscription_id":"bob-pro","period_from":"2026-01-15T05:00:00Z","status":"succeeded"}"#,
    ),
    (
        "2026-02-10T09:00:00Z",
        "usage.events",
        "ann",
        r#"{"transaction_id":"a5","external_subscription_id":"ann-pro","code":"api_calls","timestamp":"2026-02-10T09:00:00Z","properties":{"calls":"1200"}}"#,
    ),
    (
        "2026-02-12T09:00:00Z",
        "usage.events",
        "bob",
        r#"{"transaction_id":"b2","external_subscription_id":"bob-pro","code":"api_calls","timestamp":"2026-02-12T09:00:00Z","properties":{"calls":"many"}}"#,
    ),
    (
        "2026-02-20T09:00:00Z",
        "billing.commands",
        "ann",
        r#"{"command":"payment.record","command_id":"p2","external_subscription_id":"ann-pro","period_from":"2025-12-31T23:00:00Z","status":"succeeded"}"#,
    ),
];

/// When the story is over.
const END: &str = "2026-03-05T12:00:00Z";

/// How long its last webhooks are waited for then.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is said about some of it, as it is sent.
fn remark(key: &str, value: &str) -> String {
    let json = Json::read(value.as_bytes()).expect("the story is JSON");
    let text = |name: &str| json.get(name).and_then(Json::as_text).unwrap_or_default().to_owned();
    if let Some(kind) = json.get("kind").and_then(Json::as_text) {
        return format!("catalog   {kind} {}", key.split_once('/').map_or(key, |(_, code)| code));
    }
    if json.get("command").is_some() {
        return format!("command   {} for {key}", text("command"));
    }
    let calls = json
        .get("properties")
        .and_then(|found| found.get("calls"))
        .and_then(Json::as_text)
        .unwrap_or_default();
    format!("usage     {key} {calls} calls of {} ({})", &text("timestamp")[..10], text("transaction_id"))
}

/// What an invoice looks like from outside.
#[derive(Clone)]
pub struct Shown {
    pub customer: String,
    pub period: String,
    pub status: String,
    pub total: String,
    pub next: String,
}

/// Tells the story. `Err` says why it could not be told to its end.
pub async fn demo(mut config: Config) -> Result<(), String> {
    config.kafka.partitions = SHARDS;
    let dev = Dev::start(config)?;
    let beginning = Instant::parse_rfc3339(BEGINNING).expect("the story has a beginning");
    let story_ms = Arc::new(AtomicI64::new(beginning.0 / NANOS_PER_MS));
    let clock: Clock = {
        let story_ms = story_ms.clone();
        Arc::new(move || story_ms.load(Ordering::Relaxed))
    };
    let (stop, stopped) = watch::channel(false);
    let brokers = dev.brokers().to_owned();
    let teller = {
        let health = dev.health.clone();
        tokio::task::spawn_blocking(move || {
            wait_until_ready(&health)?;
            tell(&brokers, &story_ms, &health)
        })
    };
    let work = dev.run(clock, stopped);
    tokio::pin!(work);
    let told = tokio::select! {
        ended = &mut work => return ended.and(Err("the processor ended before the story did".to_owned())),
        told = teller => told.map_err(|error| error.to_string())?,
    };
    let _ = stop.send(true);
    work.await?;
    told
}

/// Waits for every shard to run.
fn wait_until_ready(health: &Health) -> Result<(), String> {
    let begun = Monotonic::now();
    while health.shards().len() < SHARDS as usize
        || health.shards().iter().any(|(_, state)| *state != State::Running)
    {
        if begun.elapsed() > Duration::from_secs(30) {
            return Err(format!("the shards aren't ready after 30 s: {:?}", health.shards()));
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

fn tell(brokers: &str, story_ms: &AtomicI64, health: &Health) -> Result<(), String> {
    let failed = |error: rdkafka::error::KafkaError| format!("the embedded broker: {error}");
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("partitioner", "murmur2_random").set("group.id", "demo");
    let producer: ThreadedProducer<_> = client.create().map_err(failed)?;
    let consumer: BaseConsumer =
        client.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "5").create().map_err(failed)?;
    watch_everything(&consumer).map_err(failed)?;
    let mut scene = Scene::open(std::io::stdout().is_terminal());
    let end = Instant::parse_rfc3339(END).expect("the story has an end");
    let mut next = 0;
    let mut sent = PerLog::<u64>::default();
    let mut looked = Monotonic::now();
    let mut went_on_at = looked;
    loop {
        // The story rushes on when everything that was sent is read: whatever the machine's pace, nothing comes late.
        let passed = std::mem::replace(&mut looked, Monotonic::now());
        let passed_ms = (looked.duration_since(passed).as_millis() as i64).min(STEP_MS_MAX);
        let has_read = LogName::ALL.into_iter().all(|log| health.taken(log) >= sent[log]);
        let mut now = Instant(story_ms.load(Ordering::Relaxed) * NANOS_PER_MS);
        if now < end {
            let step_ms = if has_read { passed_ms * SPEED } else { passed_ms };
            now = Instant((story_ms.fetch_add(step_ms, Ordering::Relaxed) + step_ms) * NANOS_PER_MS);
            went_on_at = looked;
        }
        while let Some((at, topic, key, value)) =
            STORY.get(next).filter(|(at, ..)| Instant::parse_rfc3339(at).is_some_and(|at| at <= now))
        {
            producer
                .send(BaseRecord::to(topic).key(*key).payload(*value))
                .map_err(|(error, _)| failed(error))?;
            let at = Instant::parse_rfc3339(at).expect("the story's instants are instants");
            match *topic {
                "billing.catalog" => sent[LogName::Catalog] += u64::from(SHARDS),
                "billing.commands" => sent[LogName::Commands] += 1,
                _ => sent[LogName::Usage] += 1,
            }
            scene.say((at, 0, next as u64), &remark(key, value));
            next += 1;
        }
        while let Some(message) = consumer.poll(Duration::from_millis(5)) {
            let message = message.map_err(failed)?;
            scene.hear(place_of(&message), message.topic(), message.payload().unwrap_or_default());
        }
        scene.show(now);
        if now >= end && (scene.is_whole() || went_on_at.elapsed() > PATIENCE) {
            producer.flush(Duration::from_secs(1)).map_err(failed)?;
            return scene.close();
        }
    }
}

/// Where a record belongs in the story: at the instant it is about, behind what was sent then.
fn place_of(message: &BorrowedMessage<'_>) -> Place {
    let told = Json::read(message.payload().unwrap_or_default());
    let rejected = told.as_ref().and_then(|json| json.get("timestamp")).and_then(Json::as_text);
    let at = header(message, "webhook-timestamp").or(rejected.map(str::to_owned));
    let at = at.and_then(|text| Instant::parse_rfc3339(&text)).unwrap_or(Instant::MIN);
    let seq = header(message, "graceline-seq").and_then(|seq| seq.parse().ok()).unwrap_or_default();
    (at, 1 + message.partition(), seq)
}

fn header(message: &BorrowedMessage<'_>, name: &str) -> Option<String> {
    let found = message.headers()?.iter().find(|header| header.key == name)?;
    Some(String::from_utf8_lossy(found.value?).into_owned())
}

fn watch_everything(consumer: &BaseConsumer) -> rdkafka::error::KafkaResult<()> {
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(5))?;
    let mut list = rdkafka::TopicPartitionList::new();
    for topic in metadata.topics() {
        if topic.name().starts_with("webhooks.") || topic.name().ends_with(".rejected") {
            for partition in topic.partitions() {
                list.add_partition_offset(topic.name(), partition.id(), rdkafka::Offset::Beginning)?;
            }
        }
    }
    consumer.assign(&list)
}

fn text_of(json: Option<&Json>, name: &str) -> String {
    json.and_then(|json| json.get(name)).and_then(Json::as_text).unwrap_or_default().to_owned()
}

/// When something happens in the story, and its order among what happens then: what is sent comes first, then each shard
/// in its own order.
type Place = (Instant, i32, u64);

/// How far the telling is behind: what belongs between two other things is there by then.
const BEHIND: Span = Span(DAY / 2);

/// Where the story is told: lines, or a view that is drawn again and again.
struct Scene {
    view: Option<LiveView>,
    invoices: BTreeMap<String, Shown>,
    /// What is still to be told.
    coming: BTreeMap<Place, String>,
    finalized: u32,
    overdue: u32,
}

impl Scene {
    fn open(is_terminal: bool) -> Scene {
        let view = if is_terminal { LiveView::open().ok() } else { None };
        Scene { view, invoices: BTreeMap::new(), coming: BTreeMap::new(), finalized: 0, overdue: 0 }
    }

    fn say(&mut self, place: Place, line: &str) {
        self.coming.insert(place, format!("{}  {line}", &place.0.to_string()[..10]));
    }

    /// Tells what happened up to then.
    fn tell(&mut self, until: Instant) {
        while let Some(entry) = self.coming.first_entry().filter(|entry| entry.key().0 <= until) {
            let line = entry.remove();
            match &mut self.view {
                Some(view) => view.say(line),
                None => {
                    let _ = writeln!(std::io::stdout(), "{line}");
                }
            }
        }
    }

    /// A webhook or a dead letter has come.
    fn hear(&mut self, at: Place, topic: &str, value: &[u8]) {
        let json = Json::read(value);
        let Some(invoice) = json.as_ref().and_then(|json| json.get("invoice")) else {
            let what = topic.trim_start_matches("webhooks.");
            let about = json.as_ref().and_then(|json| json.get("usage")).map_or_else(
                || format!("{} can't be billed", text_of(json.as_ref(), "transaction_id")),
                |usage| {
                    format!("usage of {} came after its invoice", &text_of(Some(usage), "period_from")[..10])
                },
            );
            return self.say(
                at,
                &format!(
                    "{:<9} {what}: {about}",
                    if what.ends_with("rejected") { "refused" } else { "webhook" }
                ),
            );
        };
        let text = |name: &str| invoice.get(name).and_then(Json::as_text).unwrap_or_default().to_owned();
        let cents = invoice.get("total_amount_cents").and_then(Json::as_integer).unwrap_or_default();
        let total = format!("{}.{:02} {}", cents / 100, cents % 100, text("currency"));
        let customer =
            invoice.get("customer").and_then(|found| found.get("external_id")).and_then(Json::as_text);
        let customer = customer.unwrap_or_default().to_owned();
        let what = topic.trim_start_matches("webhooks.invoice.");
        self.finalized += u32::from(what == "finalized");
        self.overdue += u32::from(what == "payment_overdue");
        let status = if what == "payment_overdue" { "overdue".to_owned() } else { text("status") };
        let next = match status.as_str() {
            "draft" => format!("finalized {}", &text("expected_finalization_at")[..10]),
            _ if text("payment_status") == "succeeded" => "paid".to_owned(),
            _ => format!("due {}", text("payment_due_date")),
        };
        let period = text("period_from").chars().take(10).collect::<String>();
        let number = invoice
            .get("number")
            .and_then(Json::as_text)
            .map(|number| format!(" {number}"))
            .unwrap_or_default();
        let line = format!("webhook   {what} {customer}{number}: {total}, {next}");
        self.invoices.insert(text("id"), Shown { customer, period, status, total, next });
        self.say(at, &line);
    }

    fn show(&mut self, now: Instant) {
        self.tell(now.minus(BEHIND));
        if let Some(view) = &mut self.view {
            view.draw(now, self.invoices.values());
        }
    }

    fn is_whole(&self) -> bool {
        self.finalized >= 4 && self.overdue > 0
    }

    fn close(mut self) -> Result<(), String> {
        self.tell(Instant::MAX);
        drop(self.view.take());
        if !self.is_whole() {
            return Err(format!(
                "the story lacks something: {} finalized, {} overdue",
                self.finalized, self.overdue
            ));
        }
        let _ = writeln!(
            std::io::stdout(),
            "\nThat was a month and a bit: {} invoices finalized, {} overdue and paid after all. `graceline dev` goes on for as long as you like.",
            self.finalized,
            self.overdue
        );
        Ok(())
    }
}
