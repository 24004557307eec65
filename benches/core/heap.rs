//! The memory that this process holds.

/// Resident bytes; what was freed may still be among them.
pub(crate) fn bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux keeps accounts");
    let pages: usize =
        status.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("the second word is a number");
    pages * 4096
}
