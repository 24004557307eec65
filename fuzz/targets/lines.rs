#![no_main]

use graceline_fuzz::{check_file, check_line};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|lines: &[u8]| {
    for line in lines.split(|&byte| byte == b'\n') {
        check_line(line);
    }
    check_file(lines);
});
