#![no_main]

use graceline::ingest::dialect::Format;
use graceline_fuzz::{check_json, check_usage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    check_json(value);
    check_usage(Format::Stripe, value, &[]);
});
