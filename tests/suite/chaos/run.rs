//! A run: servers, processors, a crowd, faults while it lasts, and the verdict.

use super::clock::{Stopwatch, await_that, now_ms, pause, pause_ms};
use super::crowd::{Crowd, Volume};
use super::dump::Dump;
use super::faults::{self, Fault, Menu};
use super::instance::{Instance, Orders};
use super::pen::Pen;
use super::random::Random;
use super::servers::{Server, Servers};
use super::{replay, story, verdict};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
}

const PREFIX: &str = "chaos.";

/// The least that brokers allow by default.
const SESSION: Duration = Duration::from_secs(6);

/// Longer than the session, with the time that a rebalance takes.
const FROZEN: Duration = Duration::from_secs(10);

pub(super) struct Run {
    plan: Plan,
    servers: Servers,
    instances: Vec<Instance>,
    report: Vec<String>,
}

impl Run {
    /// Does all of it, and fails if anything differs from what `simulate` says.
    pub(super) fn prove(plan: Plan) {
        println!("chaos {}: SEED={} {plan:?}", plan.name, plan.seed);
        let mut run = Run::prepare(plan);
        let pen = Pen::new(&run.servers.brokers, PREFIX);
        let mut crowd = Crowd::new(plan.seed, plan.customers);
        crowd.move_in(&pen);
        let (sent, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                crowd.carry_on(&pen, plan.volume, &sent);
                is_over.store(true, Ordering::Relaxed);
            });
            run.go_wrong(&is_over);
        });
        run.say(format!("{} records of usage sent", sent.load(Ordering::Relaxed)));
        run.conclude();
    }

    fn prepare(plan: Plan) -> Run {
        let servers = Servers::start(plan.name);
        let mut more = story::settings_in_environment();
        more.push(("GRACELINE__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", SESSION.as_millis().to_string()));
        more.push(("GRACELINE__KAFKA__PROPERTIES__HEARTBEAT_INTERVAL_MS", "1000".to_owned()));
        let orders = Orders {
            brokers: servers.brokers.clone(),
            redis: servers.redis.clone(),
            prefix: PREFIX.to_owned(),
            shards: plan.shards,
            dir: servers.dir().to_owned(),
            more,
        };
        let instances: Vec<Instance> = (0..plan.instances)
            .map(|number| {
                let name = format!("processor-{number}");
                let _ = fs::remove_file(orders.dir.join(format!("{name}.log")));
                Instance::start(&orders, &name)
            })
            .collect();
        let run = Run { plan, servers, instances, report: Vec::new() };
        await_that("all shards run", Duration::from_secs(90), || {
            run.running_shards() == plan.shards as usize
        });
        run
    }

    fn say(&mut self, line: String) {
        println!("  {line}");
        self.report.push(line);
    }

    fn running_shards(&self) -> usize {
        let mut shards: Vec<u32> = self.instances.iter().flat_map(Instance::running_shards).collect();
        shards.sort_unstable();
        shards.dedup();
        shards.len()
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

    /// One fault after the other, at odd intervals, until all have been or the crowd has gone home.
    fn go_wrong(&mut self, is_over: &AtomicBool) {
        let mut random = Random::new(self.plan.seed ^ 0xfa);
        let faults = faults::choose(self.plan.menu, self.plan.instances, &mut random);
        for fault in faults {
            pause_ms(300 + random.below(2500));
            assert!(
                !is_over.load(Ordering::Relaxed),
                "there are records for all faults: send more, or break less"
            );
            self.commit_fault(fault);
            // Every other time the next one comes before all is well again.
            if random.below(2) == 0 {
                self.recover(&format!("{fault:?}"));
            }
        }
        self.recover("the last fault");
        while !is_over.load(Ordering::Relaxed) {
            pause_ms(100);
        }
    }

    fn commit_fault(&mut self, fault: Fault) {
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
                self.say(format!("the store lost {cut} bytes"));
            }
            Fault::StoreAwayInDrain { instance } => {
                self.instances[instance].signal("TERM");
                self.servers.kill(Server::Redis);
                pause_ms(3000);
                self.servers.start_again(Server::Redis);
                let took = self.instances[instance].finish();
                self.say(format!("drained in {took:?} after the store was back"));
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
    fn recover(&mut self, after: &str) {
        let mark_ms = now_ms();
        let watch = Stopwatch::start();
        while !self.have_passed(mark_ms) {
            if watch.passed() > Duration::from_secs(90) {
                panic!("not recovered after {after}: {:?}, now {}", self.shard_times_ms(), now_ms());
            }
            pause_ms(50);
        }
        self.say(format!("{:5.1} s until all shards went on after {after}", watch.passed().as_secs_f32()));
    }

    // --- The end ------------------------------------------------------------------------------------------------------

    /// Lets everything come to rest, and judges.
    fn conclude(&mut self) {
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
        let run = verdict::published(&dump, &records, until_ms, &mut faults);
        let input = replay::input(&dump, &story::settings());
        fs::write(self.servers.dir().join("merged.jsonl"), &input).expect("the merged dump can be kept");
        let simulated = replay::simulated(&input, until_ms);
        verdict::check_accounts(&dump, &records, &run, &mut faults);
        verdict::compare(&run, &simulated, &mut faults);
        self.say(format!(
            "{} invoices, {} webhooks, {} refused, {} sent on, fates {:?}",
            verdict::last_documents(&run).len(),
            run.webhooks.len(),
            run.refusals.values().sum::<usize>(),
            dump.of("graceline.forwarded").count(),
            run.fates,
        ));
        let mut types: BTreeMap<&str, usize> = BTreeMap::new();
        run.webhooks.values().for_each(|webhook| *types.entry(&webhook.topic).or_default() += 1);
        self.say(format!("{types:?}"));
        for instance in self.instances.iter() {
            for word in [" ERROR ", "panicked", "stands still"] {
                if instance.said(word) > 0 {
                    faults.push(format!("{} says {word:?}: see {}", instance.name, instance.log().display()));
                }
            }
        }
        assert!(faults.is_empty(), "SEED={}: {} faults\n{}", self.plan.seed, faults.len(), faults.join("\n"));
    }

    /// What each shard keeps of itself.
    fn shard_records(&self) -> Vec<Value> {
        let client = redis::Client::open(self.servers.redis.as_str()).expect("the address is sound");
        let mut connection = client.get_connection().expect("the store answers");
        (0..self.plan.shards)
            .map(|shard| {
                let key = format!("{}:{{{shard}}}:shard", PREFIX.trim_end_matches('.'));
                let bytes: Vec<u8> =
                    redis::cmd("GET").arg(key).query(&mut connection).expect("the shard has a record");
                serde_json::from_slice(&bytes).expect("a shard's record is JSON")
            })
            .collect()
    }
}
