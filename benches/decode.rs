//! How long one thread takes to read one event, with its content and its id condensed.
//!
//! `cargo bench --bench decode` prints the median of many rounds. Other work on the machine shows as a wide
//! spread between the fastest round and the median.

use std::hint::black_box;
use std::time::Instant;

use graceline::ingest::dialect::{Format, read_usage};
use graceline::invoice::usage::{Whose, id_hash};

const EVENTS_PER_ROUND: usize = 2_000;
const ROUNDS: usize = 501;

const LAGO: &str = r#"{"transaction_id":"6f1c2f0e-8a55-4b3e-9d1c-0123456789ab","external_subscription_id":"sub_0012345","code":"api_calls","timestamp":"1794300000.123","properties":{"units":"12.34","region":"eu-west-1","tier":"standard","endpoint":"/v2/projects/00042/documents/search","source":"public-gateway-042"}}"#;

fn main() {
    for (name, format) in [("lago", Format::Lago), ("auto", Format::Auto)] {
        let mut rounds: Vec<u128> = (0..ROUNDS).map(|_| round(format)).collect();
        rounds.sort_unstable();
        let per_event = |round: u128| round as usize / EVENTS_PER_ROUND;
        println!(
            "{name}: {} bytes, {} ns an event in the median of {ROUNDS} rounds, {} ns in the fastest",
            LAGO.len(),
            per_event(rounds[ROUNDS / 2]),
            per_event(rounds[0]),
        );
    }
}

#[allow(clippy::disallowed_methods, reason = "a measurement looks at the clock")]
fn round(format: Format) -> u128 {
    let start = Instant::now();
    for _ in 0..EVENTS_PER_ROUND {
        black_box(read(format, black_box(LAGO.as_bytes())));
    }
    start.elapsed().as_nanos()
}

fn read(format: Format, value: &[u8]) -> (u64, u64) {
    let event = read_usage(format, value, &[]).expect("the event is well-formed");
    let (Whose::Subscription(whose), Some(id)) = (&event.whose, &event.id) else {
        panic!("the event names a subscription and has an id");
    };
    (event.content, id_hash(whose, id))
}
