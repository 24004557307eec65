//! A run: servers, processors, a crowd, faults while it lasts, and the verdict.

use super::clock::{self, Stopwatch, await_that, now_ms, pause, pause_ms};
use super::crowd::{Crowd, Volume};
use super::dump::Dump;
#[cfg(feature = "fail-points")]
use super::dump::Record;
use super::faults::{self, Fault, Menu};
use super::figures::Figures;
use super::instance::{Instance, Orders};
use super::pen::Pen;
use super::proxy::Proxy;
use super::random::Random;
use super::servers::{Fleet, Server, Servers};
use super::{numbers, replay, story, verdict};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) seed: u64,
    pub(super) instances: usize,
    pub(super) shards: u32,
    pub(super) customers: usize,
    pub(super) volume: Volume,
    pub(super) menu: Menu,
    pub(super) fleet: Fleet,
    /// How long the group waits for a member that says nothing.
    pub(super) session: Session,
    /// Everything that billing knows must have happened in it.
    pub(super) is_whole_story: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    /// As in every installation that says nothing of it.
    Default,
    /// The least that brokers allow by default, so that a run has time for more faults.
    Short,
}

const PREFIX: &str = "chaos.";

/// The least that brokers allow by default.
const SHORT_SESSION: Duration = Duration::from_secs(6);

/// Longer than the short session, with the time that a rebalance takes.
const FROZEN: Duration = Duration::from_secs(10);

pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) servers: Servers,
    pub(super) orders: Orders,
    pub(super) instances: Vec<Instance>,
    pub(super) figures: Figures,
}

/// Lets the crowd go when the work is done, and at once when it has failed.
struct SendsHome<'a> {
    wanted: &'a AtomicU64,
    events: u64,
}

impl Drop for SendsHome<'_> {
    fn drop(&mut self) {
        self.wanted.store(if std::thread::panicking() { 0 } else { self.events }, Ordering::Relaxed);
    }
}

impl Run {
    /// Does all of it, and fails if anything differs from what `simulate` says.
    pub(super) fn prove(plan: Plan) {
        let mut run = Run::prepare(plan);
        run.start();
        run.while_busy(|run| run.go_wrong());
        run.conclude();
    }

    /// Starts the servers, and nothing else.
    pub(super) fn prepare(plan: Plan) -> Run {
        clock::keep_time();
        Run::found(plan, Servers::start(plan.name, plan.fleet))
    }

    /// The same; the way to one of the servers is the proxy's.
    pub(super) fn prepare_behind_proxy(plan: Plan, server: Server) -> (Run, Proxy) {
        clock::keep_time();
        let proxy = Proxy::start();
        let address = proxy.address.to_string();
        let servers = match server {
            Server::Kafka => Servers::start_behind(plan.name, &address),
            Server::Redis => Servers::start(plan.name, plan.fleet),
        };
        let mut run = Run::found(plan, servers);
        match server {
            Server::Kafka => {
                proxy.lead_to(&run.servers.brokers);
                run.orders.brokers = address;
            }
            Server::Redis => {
                proxy.lead_to(run.servers.redis.trim_start_matches("redis://"));
                run.orders.redis = format!("redis://{address}");
            }
        }
        (run, proxy)
    }

    /// The same, in a time in which midnight comes soon; says when.
    #[cfg(feature = "fail-points")]
    pub(super) fn prepare_before_midnight(plan: Plan, soon: Duration) -> (Run, i64) {
        let midnight_ms = clock::live_before_midnight(soon);
        (Run::found(plan, Servers::start(plan.name, plan.fleet)), midnight_ms)
    }

    fn found(plan: Plan, servers: Servers) -> Run {
        println!("chaos {}: SEED={} {plan:?}", plan.name, plan.seed);
        let mut more = story::settings_in_environment();
        if plan.session == Session::Short {
            let session_ms = SHORT_SESSION.as_millis().to_string();
            more.push(("GRACELINE__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", session_ms));
            more.push(("GRACELINE__KAFKA__PROPERTIES__HEARTBEAT_INTERVAL_MS", "1000".to_owned()));
        }
        if plan.fleet == Fleet::ThreeBrokers {
            more.push(("GRACELINE__TOPICS__REPLICATION", "3".to_owned()));
        }
        let orders = Orders {
            brokers: servers.brokers.clone(),
            redis: servers.redis.clone(),
            prefix: PREFIX.to_owned(),
            shards: plan.shards,
            dir: servers.dir().to_owned(),
            more,
        };
        for number in 0..plan.instances {
            let _ = fs::remove_file(orders.dir.join(format!("processor-{number}.log")));
        }
        Run { plan, servers, orders, instances: Vec::new(), figures: Figures::of(plan.name, plan.seed) }
    }

    /// Starts the instances, and waits until all shards are turned.
    pub(super) fn start(&mut self) {
        for number in 0..self.plan.instances {
            self.instances.push(Instance::start(&self.orders, &format!("processor-{number}")));
        }
        self.await_all_shards(Duration::from_secs(90));
    }

    /// Waits until an instance turns so many shards.
    #[cfg(feature = "fail-points")]
    pub(super) fn await_shards_of(&self, instance: usize, count: usize) {
        let instance = &self.instances[instance];
        await_that("an instance has its shards", Duration::from_secs(40), || {
            instance.running_shards().len() >= count
        });
    }

    /// Writes the settings that are in force once more.
    #[cfg(feature = "fail-points")]
    pub(super) fn write_settings(&self) {
        let dump = Dump::take(&self.orders.brokers, PREFIX);
        let is_settings = |record: &&Record| record.key.as_deref() == Some(b"settings/settings");
        let found =
            dump.of("billing.catalog").find(is_settings).expect("the first start writes the settings");
        let value = found.value.as_deref().map(String::from_utf8_lossy);
        let pen = self.pen();
        pen.write("billing.catalog", Some("settings/settings"), value.as_deref());
        pen.flush();
    }

    /// How many commits each shard has had.
    #[cfg(feature = "fail-points")]
    pub(super) fn commits(&self) -> Vec<u64> {
        let number = |record: &Value| record["commit"].as_u64().expect("a record says its commit");
        self.shard_records().iter().map(number).collect()
    }

    pub(super) fn await_all_shards(&self, longest: Duration) -> Duration {
        await_that("all shards run", longest, || self.running_shards() == self.plan.shards as usize)
    }

    /// Lets a crowd come and use what it has ordered, while something is done to the run; when that is done, and enough
    /// is used, it goes home.
    pub(super) fn while_busy(&mut self, work: impl FnOnce(&mut Run)) {
        let volume = self.plan.volume;
        let pen = self.pen();
        let mut crowd = Crowd::new(self.plan.seed, self.plan.customers);
        crowd.move_in(&pen);
        let wanted = AtomicU64::new(u64::MAX);
        std::thread::scope(|scope| {
            let using = scope.spawn(|| crowd.carry_on(&pen, volume.events_a_second, &wanted));
            let sends_home = SendsHome { wanted: &wanted, events: volume.events };
            work(self);
            drop(sends_home);
            println!("  {} records of usage sent", using.join().expect("the crowd can write"));
        });
    }

    pub(super) fn pen(&self) -> Pen {
        Pen::new(&self.orders.brokers, PREFIX)
    }

    fn running_shards(&self) -> usize {
        let mut shards: Vec<u32> = self.instances.iter().flat_map(Instance::running_shards).collect();
        shards.sort_unstable();
        shards.dedup();
        shards.len()
    }

    /// How many records the instances that run have read.
    pub(super) fn read_count(&self) -> u64 {
        let read = |instance: &Instance| instance.sum("records_total{", "log=\"usage\"");
        self.instances.iter().map(read).sum()
    }

    pub(super) fn await_read(&self, count: u64) {
        await_that("usage is read", Duration::from_secs(60), || self.read_count() >= count);
    }

    /// Waits until so many shards of an instance stand still and give this reason.
    pub(super) fn await_reason(&self, instance: &Instance, shards: usize, reason: &str, longest: Duration) {
        let watch = Stopwatch::start();
        loop {
            let reasons = instance.reasons();
            if reasons.iter().filter(|why| why.contains(reason)).count() == shards {
                println!("  {:?} until {shards} shards said: {}", watch.passed(), reasons[0]);
                return;
            }
            assert!(watch.passed() < longest, "{shards} shards were to say {reason:?}, they say {reasons:?}");
            pause_ms(50);
        }
    }

    /// How many webhooks have been told of a shard.
    pub(super) fn webhooks_of(&self, shard: u32) -> usize {
        Dump::take(&self.orders.brokers, PREFIX)
            .of("webhooks.")
            .filter(|record| record.partition == shard)
            .count()
    }

    /// The times of the shards, as far as anybody says.
    fn shard_times_ms(&self) -> BTreeMap<u32, i64> {
        let mut times = BTreeMap::new();
        for instance in &self.instances {
            for (shard, seconds) in instance.figures("shard_time_seconds") {
                let ms = (seconds * 1000.0) as i64;
                let known = times.entry(shard).or_insert(ms);
                *known = ms.max(*known);
            }
        }
        times
    }

    fn have_passed(&self, at_ms: i64) -> bool {
        let times = self.shard_times_ms();
        times.len() == self.plan.shards as usize && times.values().all(|ms| *ms >= at_ms)
    }

    // --- Faults -------------------------------------------------------------------------------------------------------

    /// One fault after the other, at odd intervals.
    fn go_wrong(&mut self) {
        let mut random = Random::new(self.plan.seed ^ 0xfa);
        let faults = faults::choose(self.plan.menu, self.plan.instances, &mut random);
        for fault in faults {
            pause_ms(300 + random.below(2500));
            self.commit_fault(fault);
            // Every other time the next one comes before all is well again.
            if random.below(2) == 0 {
                self.recover(&format!("{fault:?}"));
            }
        }
        self.recover("the last fault");
    }

    pub(super) fn commit_fault(&mut self, fault: Fault) {
        fault.ids(self.plan.fleet).iter().for_each(|id| self.figures.tried(id));
        match fault {
            Fault::Kill { instance, back_after_ms } => {
                self.instances[instance].kill();
                pause_ms(back_after_ms);
                self.instances[instance].start_again();
            }
            Fault::Freeze { instance } => {
                self.instances[instance].signal("STOP");
                pause(FROZEN);
                self.instances[instance].signal("CONT");
            }
            Fault::StoreCrash { bytes_cut_max, away_ms } => {
                self.servers.kill(Server::Redis);
                let cut = if bytes_cut_max > 0 { self.servers.cut_tail(bytes_cut_max) } else { 0 };
                pause_ms(away_ms);
                self.servers.start_again(Server::Redis);
                println!("  the store lost {cut} bytes");
            }
            Fault::StoreAwayInDrain { instance } => {
                self.instances[instance].signal("TERM");
                self.servers.kill(Server::Redis);
                pause_ms(3000);
                self.servers.start_again(Server::Redis);
                let took = self.instances[instance].await_end();
                println!("  drained in {took:?} after the store was back");
                self.instances[instance].start_again();
            }
            Fault::BrokerCrash { away_ms } => {
                self.servers.kill(Server::Kafka);
                pause_ms(away_ms);
                self.servers.start_again(Server::Kafka);
            }
        }
    }

    /// Waits until every shard has come past now, and notes how long that took.
    pub(super) fn recover(&self, after: &str) -> Duration {
        let mark_ms = now_ms();
        let watch = Stopwatch::start();
        while !self.have_passed(mark_ms) {
            if watch.passed() > Duration::from_secs(90) {
                panic!("not recovered after {after}: {:?}, now {}", self.shard_times_ms(), now_ms());
            }
            pause_ms(50);
        }
        let took = watch.passed();
        println!("  {:5.1} s until all shards went on after {after}", took.as_secs_f32());
        took
    }

    // --- The end ------------------------------------------------------------------------------------------------------

    /// Lets everything come to rest, and judges; the fates of usage.
    pub(super) fn conclude(&mut self) -> BTreeMap<String, u64> {
        // Nothing is parked any more by then.
        let until_ms = now_ms() + 20_000;
        let run = &*self;
        await_that("shards come to the end", Duration::from_secs(120), || run.have_passed(until_ms + 1000));
        await_that("the outboxes are empty", Duration::from_secs(30), || {
            run.instances
                .iter()
                .all(|instance| instance.figures("outbox_depth").values().all(|depth| *depth == 0.0))
        });
        for place in 0..self.instances.len() {
            let took = self.instances[place].finish();
            assert!(took < Duration::from_secs(12), "an instance ends in time, not after {took:?}");
        }
        let dump = Dump::take(&self.servers.brokers, PREFIX);
        let records = self.shard_records();
        let mut faults = Vec::new();
        let mut run = verdict::published(&dump, &records, until_ms, &mut faults);
        let input = replay::input(&dump, &story::settings());
        fs::write(self.servers.dir().join("merged.jsonl"), &input).expect("the merged dump can be kept");
        let mut simulated = replay::simulated(&input, until_ms);
        let numbers = numbers::check(&dump, &mut faults);
        numbers::hide(&mut run);
        numbers::hide(&mut simulated);
        verdict::check_accounts(&dump, &records, &run, &mut faults);
        let late: usize =
            self.instances.iter().map(|instance| instance.said("too late to be taken in their turn")).sum();
        let invoices = verdict::last_documents(&run).len();
        // Replicas may hide a record for so long that its turn is over, and that is said. Then only its fate is promised.
        if late == 0 || self.plan.fleet != Fleet::ThreeBrokers {
            verdict::compare(&run, &simulated, &mut faults);
        }
        println!(
            "  {invoices} invoices, {numbers} of them numbered over all shards, {} webhooks, {} sent on, {late} times \
             records out of their turn, fates {:?}",
            run.webhooks.len(),
            dump.of("graceline.forwarded").count(),
            run.fates,
        );
        let mut types: BTreeMap<&str, usize> = BTreeMap::new();
        run.webhooks.values().for_each(|webhook| *types.entry(&webhook.topic).or_default() += 1);
        println!("  {types:?}");
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        run.refusals.iter().for_each(|([.., reason], count)| *reasons.entry(reason).or_default() += count);
        println!("  {reasons:?}");
        if self.plan.is_whole_story {
            let told = types.keys().chain(reasons.keys()).copied().collect();
            check_story(&told, &run.fates, numbers, &mut faults);
        }
        for instance in self.instances.iter() {
            for word in [" ERROR ", "panicked", "stands still"] {
                if instance.said(word) > 0 {
                    faults.push(format!("{} says {word:?}: see {}", instance.name, instance.log().display()));
                }
            }
        }
        self.figures.events = dump.of("usage.events").count();
        (self.figures.invoices, self.figures.differences) = (invoices, faults.len());
        assert!(faults.is_empty(), "SEED={}: {} faults\n{}", self.plan.seed, faults.len(), faults.join("\n"));
        run.fates
    }

    /// What each shard keeps of itself.
    fn shard_records(&self) -> Vec<Value> {
        let connect = |address: String| {
            let client = redis::Client::open(address).expect("the address is sound");
            client.get_connection().expect("the store answers")
        };
        let mut stores: Vec<_> = self.servers.stores().map(connect).collect();
        (0..self.plan.shards)
            .map(|shard| {
                let key = format!("{}:{{{shard}}}:shard", PREFIX.trim_end_matches('.'));
                // A node of a cluster refuses to speak of what another one has.
                let mut found = stores.iter_mut().map(|store| redis::cmd("GET").arg(&key).query(store));
                let bytes: Vec<u8> = found.find_map(Result::ok).expect("the shard has a record");
                serde_json::from_slice(&bytes).expect("a shard's record is JSON")
            })
            .collect()
    }
}

/// What must have happened, lest a run prove less than it seems to. What is rarer may be missing in a short one.
fn check_story(
    told: &BTreeSet<&str>,
    fates: &BTreeMap<String, u64>,
    numbers: usize,
    faults: &mut Vec<String>,
) {
    const WANTED: [&str; 9] = [
        "webhooks.invoice.drafted",
        "webhooks.invoice.finalized",
        "webhooks.invoice.updated",
        "webhooks.usage.late",
        "id_conflict",
        "in_future",
        "malformed",
        "too_late",
        "unknown_subscription",
    ];
    let missing = WANTED.into_iter().filter(|wanted| !told.contains(wanted));
    faults.extend(missing.map(|missing| format!("nothing came of it: {missing}")));
    let never =
        fates.iter().filter(|(fate, count)| **count == 0 && *fate != "parked" && *fate != "cancelled");
    faults.extend(never.map(|(fate, _)| format!("no usage was {fate}")));
    if numbers == 0 {
        faults.push("no invoice was numbered over all shards".to_owned());
    }
}
