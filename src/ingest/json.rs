//! JSON by the letter, token by token, without copying and without making numbers floats.
//!
//! A reader that is made for deserializing reads nested values twice if their numbers are to stay text, and
//! tells of a member named twice only where it knows the type. This one walks once.

use std::borrow::Cow;

use crate::invoice::usage::{Malformed, Value};

/// Checks that `value` is one JSON text as strict as usage must be, and gives it as text.
pub fn check(value: &[u8]) -> Result<&str, Malformed> {
    let mut reader = Reader::open(value)?;
    let token = reader.token()?;
    reader.nested(token, 0)?;
    reader.end()?;
    Ok(reader.text)
}

/// What stands where a value is expected, and where in the text: a plain value whole, quotes included; of a
/// container its opening bracket.
///
/// It is two machine words, so that it is handed around in registers: with larger forms reading took twice as
/// long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub kind: TokenKind,
    span: Span,
}

/// Where in the text something begins and ends, in 32 bits each.
#[derive(Clone, Copy, Debug)]
struct Span(u64);

impl Span {
    #[inline]
    fn new(from: usize, to: usize) -> Span {
        Span((to as u64) << 32 | from as u64)
    }

    #[inline]
    fn from(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    #[inline]
    fn to(self) -> usize {
        (self.0 >> 32) as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Null,
    False,
    True,
    Number,
    Text,
    /// Text that has been checked, but isn't yet what it stands for.
    EscapedText,
    List,
    Object,
}

impl TokenKind {
    pub(crate) fn is_container(self) -> bool {
        matches!(self, TokenKind::List | TokenKind::Object)
    }

    pub(crate) fn is_text(self) -> bool {
        matches!(self, TokenKind::Text | TokenKind::EscapedText)
    }
}

/// A place in a JSON text.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn open(value: &'a [u8]) -> Result<Reader<'a>, Malformed> {
        let text = std::str::from_utf8(value).map_err(|_| Malformed)?;
        if u32::try_from(text.len()).is_err() {
            return Err(Malformed);
        }
        Ok(Reader { text, at: 0 })
    }

    /// Nothing may follow the value.
    pub(crate) fn end(&mut self) -> Result<(), Malformed> {
        self.skip_blanks();
        if self.at == self.text.len() { Ok(()) } else { Err(Malformed) }
    }

    /// Reads a plain value, or enters a container.
    #[inline(always)]
    pub(crate) fn token(&mut self) -> Result<Token, Malformed> {
        self.skip_blanks();
        let from = self.at;
        let kind = match self.next()? {
            b'"' => return self.rest_of_string(from),
            b'-' => self.number()?,
            b'0'..=b'9' => {
                self.at = from;
                self.number()?
            }
            b'{' => TokenKind::Object,
            b'[' => TokenKind::List,
            b't' => self.rest_of_word("rue", TokenKind::True)?,
            b'f' => self.rest_of_word("alse", TokenKind::False)?,
            b'n' => self.rest_of_word("ull", TokenKind::Null)?,
            _ => return Err(Malformed),
        };
        Ok(Token { kind, span: Span::new(from, self.at) })
    }

    /// The name of an open object's next member, with the reader before its value; or its end.
    #[inline(always)]
    pub(crate) fn next_name(&mut self, is_first: bool) -> Result<Option<Token>, Malformed> {
        if !self.next_in(b'}', is_first)? {
            return Ok(None);
        }
        let from = self.at;
        self.expect(b'"')?;
        let name = self.rest_of_string(from)?;
        self.skip_blanks();
        self.expect(b':')?;
        Ok(Some(name))
    }

    /// What a text, or a name, stands for.
    #[inline]
    pub(crate) fn text_of(&self, token: Token) -> Cow<'a, str> {
        let inside = &self.text[token.span.from() + 1..token.span.to() - 1];
        if token.kind == TokenKind::EscapedText {
            return Cow::Owned(unescape(inside).expect("a text is checked when it is read"));
        }
        Cow::Borrowed(inside)
    }

    /// A text that stands for itself.
    pub(crate) fn plain_text(&self, token: Token) -> Option<&'a str> {
        (token.kind == TokenKind::Text).then(|| &self.text[token.span.from() + 1..token.span.to() - 1])
    }

    /// Passes what is left of a value, and gives the whole as it is written. Nothing is made of it, so members named twice
    /// pass too; and it is refused where more than 64 containers stand one inside the other.
    pub(crate) fn rest_of(&mut self, token: Token) -> Result<&'a str, Malformed> {
        const DEPTH_MAX: u32 = 64;
        let is_object = |token: Token| u64::from(token.kind == TokenKind::Object);
        let (mut objects, mut depth) = (is_object(token), u32::from(token.kind.is_container()));
        let mut is_first = true;
        while depth > 0 {
            let has_more = match objects & 1 {
                0 => self.next_in(b']', is_first)?,
                _ => self.next_name(is_first)?.is_some(),
            };
            is_first = false;
            if !has_more {
                objects >>= 1;
                depth -= 1;
                continue;
            }
            let inner = self.token()?;
            if inner.kind.is_container() {
                if depth == DEPTH_MAX {
                    return Err(Malformed);
                }
                objects = objects << 1 | is_object(inner);
                depth += 1;
                is_first = true;
            }
        }
        Ok(&self.text[token.span.from()..self.at])
    }

    #[inline]
    pub(crate) fn value_of(&self, token: Token) -> Value<'a> {
        match token.kind {
            TokenKind::Null => Value::Null,
            TokenKind::False => Value::Bool(false),
            TokenKind::True => Value::Bool(true),
            TokenKind::Number => Value::Number(self.raw(token).into()),
            TokenKind::Text | TokenKind::EscapedText => Value::Text(self.text_of(token)),
            TokenKind::List | TokenKind::Object => Value::Nested,
        }
    }

    /// The value as it is written.
    #[inline]
    pub(crate) fn raw(&self, token: Token) -> &'a str {
        &self.text[token.span.from()..token.span.to()]
    }

    /// A member from its name to the end of its plain value, if it is written without escapes in the name and
    /// with nothing but the colon in between.
    #[inline]
    pub(crate) fn member_as_written(&self, name: Token, value: Token) -> Option<&'a str> {
        let is_close = name.kind == TokenKind::Text && name.span.to() + 1 == value.span.from();
        is_close.then(|| &self.text[name.span.from()..value.span.to()])
    }

    /// Whether an open container has another element: passes the comma before it, or the bracket that closes.
    #[inline(always)]
    pub(crate) fn next_in(&mut self, closing: u8, is_first: bool) -> Result<bool, Malformed> {
        self.skip_blanks();
        if !is_first && self.pass(b',') {
            self.skip_blanks();
            return Ok(true);
        }
        if self.pass(closing) {
            return Ok(false);
        }
        if is_first { Ok(true) } else { Err(Malformed) }
    }

    fn rest_of_word(&mut self, rest: &str, kind: TokenKind) -> Result<TokenKind, Malformed> {
        if !self.text.as_bytes()[self.at..].starts_with(rest.as_bytes()) {
            return Err(Malformed);
        }
        self.at += rest.len();
        Ok(kind)
    }

    /// A number without its sign.
    fn number(&mut self) -> Result<TokenKind, Malformed> {
        if !self.pass(b'0') {
            self.digits()?;
        }
        if self.pass(b'.') {
            self.digits()?;
        }
        if self.pass(b'e') || self.pass(b'E') {
            let _ = self.pass(b'-') || self.pass(b'+');
            self.digits()?;
        }
        Ok(TokenKind::Number)
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from { Err(Malformed) } else { Ok(()) }
    }

    /// The string whose opening quote, at `from`, was passed.
    #[inline(always)]
    fn rest_of_string(&mut self, from: usize) -> Result<Token, Malformed> {
        self.at = end_of_plain(self.text.as_bytes(), self.at);
        let kind = match self.peek() {
            Some(b'"') => TokenKind::Text,
            Some(b'\\') => self.rest_of_escaped_string(from)?,
            _ => return Err(Malformed),
        };
        self.at += 1;
        Ok(Token { kind, span: Span::new(from, self.at) })
    }

    /// Goes to the closing quote of a string whose opening one is at `from`.
    #[cold]
    fn rest_of_escaped_string(&mut self, from: usize) -> Result<TokenKind, Malformed> {
        loop {
            self.at = end_of_plain(self.text.as_bytes(), self.at);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                _ => return Err(Malformed),
            }
        }
        unescape(self.text.get(from + 1..self.at).ok_or(Malformed)?)?;
        Ok(TokenKind::EscapedText)
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn next(&mut self) -> Result<u8, Malformed> {
        let byte = self.peek().ok_or(Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn pass(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.pass(byte) { Ok(()) } else { Err(Malformed) }
    }

    #[inline(always)]
    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }
}

/// What the inside of a string stands for.
fn unescape(raw: &str) -> Result<String, Malformed> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let (character, after) = split_escape(escape).ok_or(Malformed)?;
        out.push(character);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The character that stands behind a backslash, and what follows it.
fn split_escape(escape: &str) -> Option<(char, &str)> {
    let (letter, rest) = escape.split_at_checked(1)?;
    let character = match letter {
        "\"" | "\\" | "/" => char::from(letter.as_bytes()[0]),
        "b" => '\u{8}',
        "f" => '\u{c}',
        "n" => '\n',
        "r" => '\r',
        "t" => '\t',
        "u" => return split_units(rest),
        _ => return None,
    };
    Some((character, rest))
}

/// A character from one or two UTF-16 units. Half of a pair is no character.
fn split_units(text: &str) -> Option<(char, &str)> {
    let (unit, rest) = split_hex(text)?;
    if !(0xd800..0xdc00).contains(&unit) {
        return Some((char::from_u32(unit)?, rest));
    }
    let (low, rest) = split_hex(rest.strip_prefix("\\u")?)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    Some((char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?, rest))
}

fn split_hex(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let unit = digits.chars().try_fold(0, |unit, digit| Some(unit << 4 | digit.to_digit(16)?))?;
    Some((unit, rest))
}

/// Where, from `at` on, the first byte stands that a string can't hold as it is: a quote, a backslash, a
/// control.
///
/// Eight bytes at a time: what is sought becomes, or is, smaller than what is subtracted from it, so its top
/// bit is set then and wasn't before. A false hit can only stand behind a true one.
#[inline]
fn end_of_plain(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*chunk);
        let quotes = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
        let backslashes = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
        let controls = word.wrapping_sub(ONES * 0x20);
        let hits = (quotes | backslashes | controls) & !word & (ONES << 7);
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let is_plain = |&&byte: &&u8| byte != b'"' && byte != b'\\' && byte >= 0x20;
    at + bytes.iter().skip(at).take_while(is_plain).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn check_refused(text: &str) {
        assert_eq!(check(text.as_bytes()), Err(Malformed), "{text:.80}");
    }

    fn check_taken(text: &str) {
        assert_eq!(check(text.as_bytes()), Ok(text), "{text:.80}");
    }

    fn check_text(json: &str, text: &str) {
        let mut reader = Reader::open(json.as_bytes()).unwrap();
        let token = reader.token().unwrap();
        assert_eq!(reader.end(), Ok(()));
        assert_eq!(reader.value_of(token), Value::Text(Cow::Borrowed(text)), "{json}");
    }

    #[test]
    fn what_is_json_is_taken() {
        for text in [
            "0",
            "-0",
            "-0.0e-0",
            "1E+400",
            "1e400",
            "123456789012345678901234567890.5",
            "true",
            "false",
            "null",
            "\"\"",
            "[]",
            "{}",
            " [ 1 , 2 ] ",
            "\t{\r\n\"a\" : [ { } , [ ] ] , \"b\":null}\n",
            "{\"\":{\"\":{\"\":\"\"}}}",
            "{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}",
            "\"\u{7f}\u{80}\u{202e}e\u{301}\u{10ffff}\"",
            "\"a\\u0000b\"",
        ] {
            check_taken(text);
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "hello",
            "NaN",
            "Infinity",
            "-Infinity",
            "+1",
            "01",
            "-01",
            "1.",
            ".5",
            "-",
            "1e",
            "1e+",
            "0x10",
            "1_0",
            "1 2",
            "[1,]",
            "[,1]",
            "[,]",
            "[1 2]",
            "[1",
            "[",
            "]",
            "[1}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\" 1}",
            "{a:1}",
            "{1:1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1",
            "{\"a\":1]",
            "{'a':1}",
            "{}{}",
            "{}x",
            "{} ,",
            "tru",
            "True",
            "nulll",
            "nul",
            "\u{feff}{}",
            "{}\u{feff}",
            "\u{a0}{}",
            "// a\n{}",
            "{}\0",
            "\"a",
            "\"",
            "\"a\nb\"",
            "\"\t\"",
            "\"\0\"",
            "\"\u{1f}\"",
        ] {
            check_refused(text);
        }
    }

    #[test]
    fn a_string_holds_no_control_wherever_it_stands() {
        for at in 0..24 {
            for (byte, is_plain) in [(0x00, false), (0x0a, false), (0x1f, false), (0x20, true), (0x7f, true)]
            {
                let mut json = format!("\"{}\"", "x".repeat(24)).into_bytes();
                json[1 + at] = byte;
                assert_eq!(check(&json).is_ok(), is_plain, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused() {
        for bytes in [
            &b"\"\xff\""[..],
            b"\"\xc0\x80\"",
            b"\"\xed\xa0\x80\"",
            b"\xff\xfe{}",
            b"\"\xe2\x82\"",
            b"{\"\xf5\":1}",
        ] {
            assert_eq!(check(bytes), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn escapes_stand_for_their_characters() {
        check_text(r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t");
        check_text(r#""\u0041\u00e9\u20AC\ud83d\uDE00""#, "Aé€😀");
        check_text(r#""plain \u0000 and \uffff and é""#, "plain \0 and \u{ffff} and é");
        check_text(r#""0123456\\""#, "0123456\\");
        check_text(r#""\u005c\u0022""#, "\\\"");
        check_text(r#""\ud800\udc00\udbff\udfff""#, "\u{10000}\u{10ffff}");
    }

    #[test]
    fn half_a_pair_and_what_is_no_escape_are_refused() {
        for inside in [
            r"\ud800",
            r"\udc00",
            r"\ud800x",
            r"\ud800\n",
            r"\ud800\u0041",
            r"\ud800\udbff",
            r"\ud800\ue000",
            r"\udc00\ud800",
            r"\u12",
            r"\u12g4",
            r"\u+123",
            r"\u",
            r"\x41",
            r"\U0041",
            r"\é",
            r"\",
            r"\ ",
            "\\\n",
            r"\'",
            r"\0",
        ] {
            check_refused(&format!("\"{inside}\""));
            check_refused(&format!("{{\"ignored\":[\"{inside}\"]}}"));
            check_refused(&format!("{{\"{inside}\":1}}"));
        }
    }

    #[test]
    fn a_member_named_twice_is_refused_at_any_depth() {
        check_refused(r#"{"a":1,"a":1}"#);
        check_refused(r#"{"a":1,"\u0061":1}"#);
        check_refused(r#"{"é":1,"\u00e9":1}"#);
        check_refused(r#"[{"x":[{"a":1,"b":2,"a":3}]}]"#);
        check_refused(r#"{"":1,"":2}"#);
        check_taken(r#"{"a":1,"A":1,"a ":1,"a\u0000":1}"#);
        check_taken("{\"e\u{301}\":1,\"é\":1}");
    }

    #[test]
    fn names_are_compared_past_the_first_few_too() {
        let members = |names: &[usize]| {
            let members: Vec<String> = names.iter().map(|name| format!("\"m{name}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        for count in [2, 15, 16, 17, 18, 40] {
            let mut names: Vec<usize> = (0..count).collect();
            check_taken(&members(&names));
            for twin in [0, count / 2, count - 1] {
                names.push(twin);
                check_refused(&members(&names));
                names.pop();
            }
        }
    }

    #[test]
    fn a_hundred_thousand_members_take_no_square_of_time() {
        let mut members: Vec<String> = (0..100_000).map(|name| format!("\"{name}\":0")).collect();
        check_taken(&format!("{{{}}}", members.join(",")));
        members.push("\"999\":0".to_owned());
        check_refused(&format!("{{{}}}", members.join(",")));
    }

    #[test]
    fn nesting_ends_at_128_containers() {
        check_taken(&format!("{}{}", "[".repeat(128), "]".repeat(128)));
        check_refused(&format!("{}{}", "[".repeat(129), "]".repeat(129)));
        check_taken(&format!("{}0{}", "{\"a\":".repeat(128), "}".repeat(128)));
        check_refused(&format!("{}0{}", "{\"a\":".repeat(129), "}".repeat(129)));
        check_taken(&format!("{}{}", "[{\"a\":".repeat(63) + "[]", "}]".repeat(63)));
        check_taken(&format!("{}{}", "[{\"a\":".repeat(63) + "[{}]", "}]".repeat(63)));
        check_refused(&format!("{}{}", "[{\"a\":".repeat(63) + "[[[]]]", "}]".repeat(63)));
    }

    #[test]
    fn a_million_brackets_are_refused_at_once() {
        check_refused(&"[".repeat(1_000_000));
        check_refused(&"{\"a\":".repeat(1_000_000));
        check_refused(&"[{\"a\":".repeat(1_000_000));
    }

    fn any_json() -> impl Strategy<Value = String> {
        let text = "[ -~é\u{1F600}&&[^\"\\\\]]{0,12}|(\\\\[\"\\\\/bfnrt]|\\\\u00[0-7][0-9a-f]){0,4}";
        let plain = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?",
            text.prop_map(|text| format!("\"{text}\"")),
        ];
        plain.prop_recursive(6, 60, 6, move |inner| {
            let members = prop::collection::vec((text, inner.clone()), 0..6);
            prop_oneof![
                prop::collection::vec(inner, 0..6).prop_map(|list| format!("[{}]", list.join(" ,"))),
                members.prop_map(|members| {
                    let members: Vec<String> = members
                        .iter()
                        .enumerate()
                        .map(|(at, (name, value))| format!("\"{at}{name}\": {value}"))
                        .collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_json_there_is_is_taken(text in any_json()) {
            prop_assert_eq!(check(text.as_bytes()), Ok(&*text));
        }

        #[test]
        fn what_is_taken_serde_takes_too(
            text in any_json(),
            at in any::<prop::sample::Index>(),
            byte in "[\\[\\]{}\":,0e.\\\\u -]",
        ) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte.as_bytes()[0];
            if let Ok(text) = check(&bytes) {
                prop_assert!(serde_json::from_str::<&RawValue>(text.trim()).is_ok(), "{}", text);
            }
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = check(&bytes);
        }

        #[test]
        fn a_text_is_read_as_serde_reads_it(text in "(\\PC|[\"\\\\\u{0}-\u{1f}]){0,40}") {
            let json = serde_json::to_string(&text).unwrap();
            let mut reader = Reader::open(json.as_bytes()).unwrap();
            let token = reader.token().unwrap();
            prop_assert_eq!(reader.value_of(token), Value::Text(Cow::Owned(text)));
        }
    }
}
