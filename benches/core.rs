//! What the core costs without servers: time to decode and decide an event, and memory for what it keeps.
//!
//! `cargo bench --bench core`. Time is the processor's, of this one thread; memory is what is allocated and not freed.

#[path = "core/heap.rs"]
mod heap;
#[path = "core/month.rs"]
mod month;
#[path = "core/watch.rs"]
mod watch;

use graceline::catalog::settings::Settings;
use graceline::ingest::dialect::{Format, read_usage};
use graceline::invoice::books::{Books, Input, Passed, Place, UsageRecord};
use graceline::invoice::instant::Instant;
use graceline::invoice::usage::UsageEvent;
use graceline::invoice::warm::{Coming, TOGETHER};
use month::{KEPT_TOGETHER, Month};
use std::hint::black_box;
use watch::Watch;

const SUBSCRIPTIONS: usize = 100_000;
const EVENTS: usize = 1_000_000;
const ROUNDS: usize = 5;
const DUTIES: usize = 2_000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let month = Month::new(SUBSCRIPTIONS);
    weigh_people(&month);
    let mut books = books_of(&month);
    drop(books.take_changes());
    let (mut decoding, mut both, mut deciding) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let events = month.events(round * EVENTS..(round + 1) * EVENTS);
        let watch = Watch::start();
        for event in &events {
            black_box(read_usage(Format::Lago, event, &[]).expect("the event is sound").content);
        }
        let decoded = watch.nanos() / EVENTS as u64;
        let watch = Watch::start();
        for (group, events) in events.chunks(TOGETHER).enumerate() {
            take(&mut books, month.middle, (round * EVENTS + group * TOGETHER) as u64, events);
        }
        let decided = watch.nanos() / EVENTS as u64;
        decoding.push(decoded);
        both.push(decided);
        deciding.push(decided.saturating_sub(decoded));
    }
    assert_eq!(books.fates().billed as usize, EVENTS * ROUNDS, "all events are billed");
    println!("time: {} ns to decode an event of {} bytes", middle(decoding), month.event(0).len());
    println!("time: {} ns to decode and decide it, of which {} to decide", middle(both), middle(deciding));
    println!("memory: {} bytes for an id", books.id_bytes() / (EVENTS * ROUNDS));
}

fn books_of(month: &Month) -> Books {
    let mut books = Books::new(Settings::default());
    month.fill(&mut books);
    books
}

/// What people take in memory, first with a period that runs and then with a draft beside it, each with its usage.
fn weigh_people(month: &Month) {
    let empty = heap::bytes();
    let mut books = books_of(month);
    let weigh = |books: &mut Books, with: &str| {
        drop(books.take_changes());
        let bytes = heap::bytes() - empty - books.id_bytes();
        println!("memory: {} bytes for a subscription, its customer and {with}", bytes / SUBSCRIPTIONS);
    };
    let use_all = |books: &mut Books, at: Instant, seconds: u64, round: usize| {
        for first in (0..SUBSCRIPTIONS).step_by(TOGETHER) {
            let event = |place| month.event_of(place, seconds, round * SUBSCRIPTIONS + place).into_bytes();
            take(books, at, 0, &Vec::from_iter((first..SUBSCRIPTIONS.min(first + TOGETHER)).map(event)));
            if first % KEPT_TOGETHER == 0 {
                drop(books.take_changes());
            }
        }
    };
    use_all(&mut books, month.middle, 1_768_000_000, 0);
    weigh(&mut books, "its running period");
    while books.pass_some_time(month.after, DUTIES, |_| {}) != Passed::All {
        books.take_notices();
        drop(books.take_changes());
    }
    use_all(&mut books, month.after, 1_769_990_000, 1);
    assert_eq!(books.open_counts().0, SUBSCRIPTIONS, "every subscription has a draft");
    weigh(&mut books, "its draft and its running period");
}

fn take(books: &mut Books, at: Instant, first: u64, values: &[Vec<u8>]) {
    let events: Vec<_> = values.iter().map(|value| read_usage(Format::Lago, value, &[])).collect();
    let coming: Vec<Coming<'_>> = events.iter().flatten().filter_map(UsageEvent::coming).collect();
    books.warm(&coming);
    let hashes: Vec<u64> = coming.iter().map(|(_, hash)| *hash).collect();
    for (((offset, value), event), hash) in (first..).zip(values).zip(events).zip(hashes) {
        let place = Place { topic: "usage.events", partition: 0, offset };
        books.decide(
            at,
            &Input::Usage(UsageRecord {
                key: None,
                value: Some(value),
                headers: &[],
                place,
                event,
                id_hash: Some(hash),
            }),
        );
    }
}

fn middle(mut rounds: Vec<u64>) -> u64 {
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}
