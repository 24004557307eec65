//! What keeping the books costs: bytes of Redis for a million open drafts and for a million ids, and the time to open them.
//!
//! `DRAFTS=1000000 IDS=10000000 cargo bench --bench kept`. It starts a Redis of its own, without a file, and needs
//! `redis-server` in the PATH.

#[path = "core/heap.rs"]
mod heap;
#[path = "core/month.rs"]
mod month;
#[path = "kept/server.rs"]
mod server;

use graceline::catalog::settings::Settings;
use graceline::ingest::dialect::{Format, read_usage};
use graceline::invoice::books::{Books, Input, Passed, Place, UsageRecord};
use graceline::invoice::usage::UsageEvent;
use graceline::invoice::warm::{Coming, TOGETHER};
use graceline::persist::redis::{RedisLedger, RedisStore};
use graceline::persist::settings::RedisSettings;
use graceline::persist::{CommitNo, Ledger, ShardId, Store, Token, Write};
use graceline::shard::opening::open;
use month::Month;
use server::Server;
use tokio::time::Instant;

/// How many records are decided between two commits.
const BATCH: usize = 100_000;
const DUTIES: usize = 2_000;

fn main() {
    let count = |name: &str, usual: usize| {
        std::env::var(name)
            .map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let (drafts, ids) = (count("DRAFTS", 100_000), count("IDS", 1_000_000));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(measure(drafts, ids));
}

async fn measure(drafts: usize, ids: usize) {
    let server = Server::start();
    let month = Month::new(drafts);
    let empty = server.used().await;
    let mut keeper = Keeper::new(&server).await;
    month.fill(&mut keeper.books);
    keeper.commit().await;
    keeper.take(&month, 0..drafts).await;
    while keeper.books.pass_some_time(month.after, DUTIES, |_| {}) != Passed::All {
        keeper.commit().await;
    }
    keeper.commit().await;
    let with_drafts = server.used().await;
    println!("{} drafts are open", keeper.books.open_counts().0);
    keeper.take(&month, drafts..drafts + ids).await;
    let with_ids = server.used().await;
    println!("redis: {} MB for a million drafts, their ids with them", (with_drafts - empty) / drafts as u64);
    println!("redis: {:.2} MB for a million ids", (with_ids - with_drafts) as f64 / ids as f64);
    for (kind, keys, bytes) in server.kinds().await {
        println!("redis: {kind}: {keys} keys, {bytes} bytes");
    }
    let told = keeper.books.fates();
    let contents = serde_json::to_string(&keeper.books.contents()).expect("contents are plain data");
    drop(keeper);

    let before = heap::bytes();
    let (watch, spent) = (Instant::now(), used());
    let mut ledger = store(&server).ledger(ShardId(0));
    ledger.claim(Token(2)).await.expect("the shard can be claimed");
    let contents = serde_json::from_str(&contents).expect("contents can be read");
    let books =
        open(&mut ledger, &Settings::default(), &contents).await.expect("what was kept can be opened");
    println!("open: {:.2} s, {:.2} s of this process", watch.elapsed().as_secs_f64(), used() - spent);
    println!("memory: {} MB more than before", (heap::bytes().saturating_sub(before)) >> 20);
    assert_eq!(books.fates(), told, "the same books are open again");
    assert_eq!(books.open_counts().0, drafts, "all drafts are open again");
}

/// Seconds that the processors have worked for this process.
fn used() -> f64 {
    let account = std::fs::read_to_string("/proc/self/stat").expect("Linux keeps accounts");
    let words: Vec<&str> = account.rsplit(')').next().expect("there is a rest").split_whitespace().collect();
    let ticks = |place: usize| words[place].parse::<f64>().expect("ticks are numbers");
    (ticks(11) + ticks(12)) / 100.0
}

fn store(server: &Server) -> RedisStore {
    let settings =
        RedisSettings { url: server.url(), response_timeout_ms: 60_000, ..RedisSettings::default() };
    RedisStore::new(&settings).expect("the settings are sound")
}

/// Keeps books as the wheel does: what has changed, in one commit.
struct Keeper {
    books: Books,
    ledger: RedisLedger,
    commit: CommitNo,
    offset: u64,
}

impl Keeper {
    async fn new(server: &Server) -> Keeper {
        let mut ledger = store(server).ledger(ShardId(0));
        let claim = ledger.claim(Token(1)).await.expect("the shard can be claimed");
        Keeper { books: Books::kept(Settings::default()), ledger, commit: claim.commit, offset: 0 }
    }

    async fn take(&mut self, month: &Month, numbers: std::ops::Range<usize>) {
        let mut first = numbers.start;
        while first < numbers.end {
            let last = numbers.end.min(first + BATCH);
            for events in month.events(first..last).chunks(TOGETHER) {
                self.decide(month, events);
            }
            self.commit().await;
            first = last;
        }
    }

    fn decide(&mut self, month: &Month, values: &[Vec<u8>]) {
        let events: Vec<_> = values.iter().map(|value| read_usage(Format::Lago, value, &[])).collect();
        let coming: Vec<Coming<'_>> = events.iter().flatten().filter_map(UsageEvent::coming).collect();
        self.books.warm(&coming);
        let at = self.books.now().max(month.middle);
        for (event, value) in events.into_iter().zip(values) {
            self.offset += 1;
            let place = Place { topic: "usage.events", partition: 0, offset: self.offset };
            let (key, value) = (None, Some(value.as_slice()));
            let record = UsageRecord { key, value, headers: &[], place, event, id_hash: None };
            self.books.decide(at, &Input::Usage(record));
        }
        self.books.take_notices();
    }

    async fn commit(&mut self) {
        self.books.take_notices();
        let changes = self.books.take_changes();
        let writes: Vec<Write> =
            changes.writes.into_iter().map(|(key, bytes)| Write { key, bytes }).collect();
        let record = serde_json::to_vec(&self.books.contents()).expect("contents are plain data");
        // All that is forgotten here are stretches of ids, which this month doesn't have.
        for writes in writes.chunks(100_000) {
            self.ledger.commit(self.commit, &record, writes).await.expect("a commit can be made");
            self.commit = self.commit.next();
        }
    }
}
