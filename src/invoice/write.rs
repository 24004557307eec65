//! Writing JSON: every member goes straight into the text, in the order they are given.

use super::calendar::Date;
use super::instant::Instant;
use super::quantity::write_whole;

/// A JSON object that is being written.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub fn open(out: &'a mut Vec<u8>) -> Object<'a> {
        out.push(b'{');
        Object { out, is_empty: true }
    }

    /// How long the text is by now.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    pub fn close(self) {
        self.out.push(b'}');
    }

    /// Starts a member; its value is to be appended. The name is one of ours, and needs no escapes.
    #[inline]
    pub fn member(&mut self, name: &'static str) -> &mut Vec<u8> {
        debug_assert!(is_plain(name), "{name} is written as it is");
        self.out.extend_from_slice(if self.is_empty { b"\"" } else { b",\"" });
        self.is_empty = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// The same under any name.
    pub fn named_member(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        push_text(self.out, name);
        self.out.push(b':');
        self.out
    }

    #[inline]
    pub fn optional<T>(&mut self, name: &'static str, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
        let out = self.member(name);
        match value {
            None => out.extend_from_slice(b"null"),
            Some(value) => write(out, value),
        }
    }

    #[inline]
    pub fn text(&mut self, name: &'static str, value: &str) {
        push_text(self.member(name), value);
    }

    #[inline]
    pub fn optional_text(&mut self, name: &'static str, value: Option<&str>) {
        push_optional_text(self.member(name), value);
    }

    #[inline]
    pub fn number(&mut self, name: &'static str, value: impl Into<i128>) {
        push_number(self.member(name), value);
    }

    #[inline]
    pub fn flag(&mut self, name: &'static str, value: bool) {
        self.member(name).extend_from_slice(if value { b"true" } else { b"false" });
    }

    #[inline]
    pub fn instant(&mut self, name: &'static str, value: Option<Instant>) {
        self.optional(name, value, |out, instant| quote(out, |out| instant.write_to(out)));
    }

    #[inline]
    pub fn date(&mut self, name: &'static str, value: Option<Date>) {
        self.optional(name, value, |out, date| quote(out, |out| date.write_to(out)));
    }

    /// A member whose value needs quotes and no escapes.
    #[inline]
    pub fn quoted(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        quote(self.member(name), write);
    }
}

fn quote(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// Appends a JSON string.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.reserve(text.len() + 2);
        quote(out, |out| out.extend_from_slice(text.as_bytes()));
    } else {
        serde_json::to_writer(out, text).expect("text can always be written to memory");
    }
}

/// Appends a JSON string or null.
pub fn push_optional_text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.extend_from_slice(b"null"),
        Some(text) => push_text(out, text),
    }
}

/// Appends, in quotes, what is shown without characters that need an escape.
pub fn push_plain_text(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    quote(out, |out| push_display(out, value));
}

pub fn push_number(out: &mut Vec<u8>, number: impl Into<i128>) {
    write_whole(out, number.into());
}

pub fn push_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    out.extend_from_slice(value.to_string().as_bytes());
}

/// Whether a text stands in quotes as it is. All bytes are looked at, whatever is found: many are compared at once.
fn is_plain(text: &str) -> bool {
    !text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_are_written_as_serde_writes_them(text in "(\\PC|[\"\\\\\u{0}-\u{1f}\u{7f}]){0,40}") {
            let mut out = Vec::new();
            push_text(&mut out, &text);
            prop_assert_eq!(out, serde_json::to_vec(&text).unwrap());
        }

        #[test]
        fn numbers_are_written_as_they_are_shown(number in any::<i128>(), dropped in 0u32..128) {
            let mut out = Vec::new();
            push_number(&mut out, number >> dropped);
            prop_assert_eq!(out, (number >> dropped).to_string().into_bytes());
        }
    }
}
