#![no_main]

use graceline::ingest::dialect::Format;
use graceline_fuzz::{check_json, check_usage};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 6] = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time"];

// Lines before the last are headers in binary mode, the last one is the value.
fuzz_target!(|record: &[u8]| {
    let mut lines: Vec<&[u8]> = record.split(|&byte| byte == b'\n').collect();
    let value = lines.pop().expect("a split has one part at least");
    let headers: Vec<(&str, &[u8])> = NAMES.into_iter().cycle().zip(lines).collect();
    check_json(value);
    check_usage(Format::CloudEvents, value, &headers);
});
