//! Key text: what an id of the outside world looks like inside a key.
//!
//! Two ids never share a key, a person can still read most of them, and no id can end a key early, name another
//! shard's hash tag, or make a key of any length.

use ring::digest::{SHA256, digest};
use std::fmt::Write;

/// No id takes more room than this in a key.
pub const TEXT_BYTES_MAX: usize = 120;

/// Leaves letters, digits, `_`, `.` and `-` as they are, and writes every other byte as `%XX`.
///
/// What would be too long keeps its beginning and ends with `~` and 160 bits of its SHA-256. No short text has a `~`.
pub fn text(id: &str) -> String {
    let mut text = String::with_capacity(id.len().min(3 * TEXT_BYTES_MAX));
    for byte in id.bytes() {
        push(&mut text, byte);
        if text.len() > TEXT_BYTES_MAX {
            return shortened(text, id);
        }
    }
    text
}

fn push(text: &mut String, byte: u8) {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' => text.push(char::from(byte)),
        _ => write!(text, "%{byte:02X}").expect("a string takes what is written to it"),
    }
}

fn shortened(mut text: String, id: &str) -> String {
    const DIGEST_BYTES: usize = 20;
    text.truncate(TEXT_BYTES_MAX - 1 - 2 * DIGEST_BYTES);
    text.push('~');
    for byte in &digest(&SHA256, id.as_bytes()).as_ref()[..DIGEST_BYTES] {
        write!(text, "{byte:02x}").expect("a string takes what is written to it");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(id: &str, expected: &str) {
        assert_eq!(text(id), expected);
    }

    #[test]
    fn plain_ids_read_as_they_are() {
        check("cust_42.eu-west", "cust_42.eu-west");
        check("", "");
    }

    #[test]
    fn everything_else_is_percent_encoded() {
        check("a:b", "a%3Ab");
        check("}{7}\r\n\0*", "%7D%7B7%7D%0D%0A%00%2A");
        check("%3A~", "%253A%7E");
        check("Zoë", "Zo%C3%AB");
    }

    #[test]
    fn the_longest_text_that_fits_is_left_alone() {
        check(&"a".repeat(TEXT_BYTES_MAX), &"a".repeat(TEXT_BYTES_MAX));
    }

    #[test]
    fn one_byte_more_is_shortened_by_its_digest() {
        let expected = format!("{}~e9615320128cc7a3d6078e9af05603188e5ccbf0", "a".repeat(79));
        check(&"a".repeat(TEXT_BYTES_MAX + 1), &expected);
    }

    /// Ids as they come, near each other, and near the length where shortening begins.
    fn ids() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a:%~{}]{0,3}",
            "[aA%3~:]{0,8}",
            "[ab]{118,122}",
            "[a:]{39,42}",
            "a{70,90}~[0-9a-f]{40}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn keys_are_equal_exactly_when_ids_are(a in ids(), b in ids()) {
            prop_assert_eq!(text(&a) == text(&b), a == b);
        }

        #[test]
        fn key_text_is_safe_and_short(id in ids()) {
            let text = text(&id);
            prop_assert!(text.len() <= TEXT_BYTES_MAX);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-%~".contains(&b)), "{}", text);
        }

        /// A text that was not shortened can be read back, so no second id has it.
        #[test]
        fn short_texts_can_be_read_back(id in any::<String>()) {
            let text = text(&id);
            if !text.contains('~') {
                prop_assert_eq!(decoded(&text), id.into_bytes());
            }
        }
    }

    fn decoded(text: &str) -> Vec<u8> {
        let mut parts = text.split('%');
        let mut bytes = parts.next().expect("split gives one part at least").as_bytes().to_vec();
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).expect("two hex digits follow a percent sign"));
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        bytes
    }
}
