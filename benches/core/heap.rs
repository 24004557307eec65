//! The memory that this process holds.

use std::hint::black_box;
use std::time::Duration;

/// How long the allocator keeps what was freed, and somewhat longer.
const UNTIL_GIVEN_BACK: Duration = Duration::from_millis(1500);

/// Resident bytes, after the allocator has had time to give back what was freed; not all of it goes.
#[expect(clippy::disallowed_methods, reason = "the allocator tells nobody when it gives back")]
pub(crate) fn bytes() -> usize {
    std::thread::sleep(UNTIL_GIVEN_BACK);
    // It looks after what is to be given back when something large goes.
    drop(black_box(vec![1_u8; 8 << 20]));
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux keeps accounts");
    let pages: usize =
        status.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("the second word is a number");
    pages * 4096
}
