//! What lists and objects hold: kept member by member, or only condensed.
//!
//! A member named twice is refused at any depth, since readers disagree on which of the two holds. Nesting
//! has an end, and is walked without recursion, so no input overflows the stack. What is equal by R52 has an
//! equal digest: members in any order, a number in any spelling, a character escaped or not.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::invoice::instant::Instant;
use crate::invoice::text::one_text;
use crate::invoice::usage::{Condensed, Digest, Malformed, Value};

use super::json::{Reader, Token, TokenKind};

/// How many containers may stand one inside the other.
const DEPTH_MAX: usize = 128;

/// Up to so many names are compared one by one; more go into a set.
const FEW_NAMES: usize = 16;

const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

/// An object that is kept: its members in the order written, and the digest of them in any order.
pub(crate) struct Object<'a> {
    pub members: Vec<(Cow<'a, str>, Value<'a>)>,
    pub digest: u64,
}

impl Object<'_> {
    pub(crate) fn empty() -> Self {
        Object { members: Vec::new(), digest: Unordered::default().finish() }
    }
}

/// The content of an event condensed (R52). The amount comes compact, `null` for none.
pub(super) fn condense_content(
    code: &str,
    happened_at: Option<Instant>,
    properties: &Object<'_>,
    amount: &str,
) -> u64 {
    let mut content = Digest::new(Condensed::Content, code.len());
    content.text(code);
    content.word(u64::from(happened_at.is_some()));
    content.word(happened_at.map_or(0, |at| at.0 as u64));
    content.word(properties.digest);
    content.text(amount);
    content.finish()
}

impl<'a> Reader<'a> {
    /// Keeps the rest of an open object that is the `depth`th container.
    pub(crate) fn keep_object(&mut self, depth: usize) -> Result<Object<'a>, Malformed> {
        let mut members: Vec<(Cow<'a, str>, Value<'a>)> = Vec::with_capacity(8);
        let mut names = Names::default();
        let mut digest = Unordered::default();
        while let Some(name_token) = self.next_name(members.is_empty())? {
            let name = self.text_of(name_token);
            names.add_after(members.iter().map(|(name, _)| name), &name)?;
            let token = self.token()?;
            let nested = self.nested(token, depth)?;
            digest.add(self.condense_member(name_token, &name, token, nested));
            // Room is made before the member is put together, for otherwise it is put together on the stack and
            // copied from there: 5 % of the reading of an event.
            if members.len() == members.capacity() {
                members.reserve(1);
            }
            members.push((name, self.value_of(token)));
        }
        Ok(Object { members, digest: digest.finish() })
    }

    /// The value in the one way that all its spellings share. Where it is `nested`, that is the digest of
    /// what it holds.
    #[inline]
    pub(crate) fn compact(&self, token: Token, nested: u64) -> Cow<'a, str> {
        match token.kind {
            TokenKind::Number => one_text(self.raw(token)).expect("a number is checked when it is read"),
            TokenKind::EscapedText => Cow::Owned(format!("\"{}\"", self.text_of(token))),
            TokenKind::List => Cow::Owned(bracketed('[', nested)),
            TokenKind::Object => Cow::Owned(bracketed('{', nested)),
            TokenKind::Null | TokenKind::False | TokenKind::True | TokenKind::Text => {
                Cow::Borrowed(self.raw(token))
            }
        }
    }

    // The name and the compact value, a colon between them: mostly that is how the member stands in the text.
    #[inline]
    fn condense_member(&self, name_token: Token, name: &str, token: Token, nested: u64) -> u64 {
        let mut digest = Digest::new(Condensed::Member, name.len());
        let compact = self.compact(token, nested);
        if let (Cow::Borrowed(_), Some(written)) = (&compact, self.member_as_written(name_token, token)) {
            return digest.finish_with(written);
        }
        for part in ["\"", name, "\":", &*compact] {
            digest.text(part);
        }
        digest.finish()
    }

    /// Reads what a value inside the `depth`th container holds, and condenses it. A plain value holds
    /// nothing.
    #[inline]
    pub(crate) fn nested(&mut self, token: Token, depth: usize) -> Result<u64, Malformed> {
        if token.kind.is_container() { self.condense(Frame::new(token), depth + 1) } else { Ok(0) }
    }

    /// Condenses the rest of an open container that is the `depth`th.
    fn condense(&mut self, mut frame: Frame<'a>, depth: usize) -> Result<u64, Malformed> {
        let mut outer: Vec<Frame<'a>> = Vec::new();
        loop {
            if depth + outer.len() > DEPTH_MAX {
                return Err(Malformed);
            }
            if !frame.advance(self)? {
                let nested = frame.finish();
                let Some(parent) = outer.pop() else { return Ok(nested) };
                let inner = std::mem::replace(&mut frame, parent);
                frame.take(self, inner.opened, nested);
                continue;
            }
            let token = self.token()?;
            if token.kind.is_container() {
                outer.push(std::mem::replace(&mut frame, Frame::new(token)));
            } else {
                frame.take(self, token, 0);
            }
        }
    }
}

/// A container's bracket and its digest: no plain value looks like that.
fn bracketed(bracket: char, digest: u64) -> String {
    let mut text = String::with_capacity(17);
    text.push(bracket);
    text.extend((0..16).map(|place| HEX[(digest >> (4 * place)) as usize % 16]));
    text
}

/// The names that an object has had. The set's hashes have random keys, so that no object can be made to take
/// a square of time.
#[derive(Default)]
pub(crate) struct Names<'a> {
    few: Vec<Cow<'a, str>>,
    many: Option<HashSet<Cow<'a, str>>>,
}

#[expect(clippy::ptr_arg, reason = "a name is kept as it is, borrowed or owned")]
impl<'a> Names<'a> {
    /// Takes a name, unless it was there before.
    pub(crate) fn add(&mut self, name: &Cow<'a, str>) -> Result<(), Malformed> {
        let Names { few, many } = self;
        if few.len() == FEW_NAMES {
            return Names::add_to(many, name, few.iter());
        }
        if few.contains(name) {
            return Err(Malformed);
        }
        few.push(name.clone());
        Ok(())
    }

    /// The same where the caller keeps the names that came `earlier`.
    pub(crate) fn add_after<'n>(
        &mut self,
        mut earlier: impl ExactSizeIterator<Item = &'n Cow<'a, str>>,
        name: &Cow<'a, str>,
    ) -> Result<(), Malformed>
    where
        'a: 'n,
    {
        if earlier.len() >= FEW_NAMES {
            return Names::add_to(&mut self.many, name, earlier);
        }
        if earlier.any(|other| other == name) { Err(Malformed) } else { Ok(()) }
    }

    fn add_to<'n>(
        many: &mut Option<HashSet<Cow<'a, str>>>,
        name: &Cow<'a, str>,
        earlier: impl Iterator<Item = &'n Cow<'a, str>>,
    ) -> Result<(), Malformed>
    where
        'a: 'n,
    {
        let many = many.get_or_insert_with(|| earlier.cloned().collect());
        if many.insert(name.clone()) { Ok(()) } else { Err(Malformed) }
    }
}

/// The digest of an object: the sum of its members', so that their order doesn't matter.
#[derive(Default)]
struct Unordered {
    sum: u64,
    count: usize,
}

impl Unordered {
    #[inline]
    fn add(&mut self, member: u64) {
        self.sum = self.sum.wrapping_add(member);
        self.count += 1;
    }

    fn finish(&self) -> u64 {
        let mut digest = Digest::new(Condensed::Object, self.count);
        digest.word(self.sum);
        digest.finish()
    }
}

/// A container that is being condensed.
struct Frame<'a> {
    opened: Token,
    inside: Inside<'a>,
}

enum Inside<'a> {
    List { digest: Digest, is_empty: bool },
    Object { digest: Unordered, names: Names<'a>, last: Option<(Token, Cow<'a, str>)> },
}

impl<'a> Frame<'a> {
    fn new(opened: Token) -> Frame<'a> {
        let inside = match opened.kind {
            TokenKind::Object => {
                Inside::Object { digest: Unordered::default(), names: Names::default(), last: None }
            }
            _ => Inside::List { digest: Digest::new(Condensed::List, 0), is_empty: true },
        };
        Frame { opened, inside }
    }

    /// Goes to the next element's value, or past the end.
    fn advance(&mut self, reader: &mut Reader<'a>) -> Result<bool, Malformed> {
        match &mut self.inside {
            Inside::List { is_empty, .. } => reader.next_in(b']', *is_empty),
            Inside::Object { names, last, .. } => {
                let Some(token) = reader.next_name(last.is_none())? else { return Ok(false) };
                let name = reader.text_of(token);
                names.add(&name)?;
                *last = Some((token, name));
                Ok(true)
            }
        }
    }

    /// Puts in the value of the element that was gone to.
    fn take(&mut self, reader: &Reader<'a>, token: Token, nested: u64) {
        match &mut self.inside {
            Inside::List { digest, is_empty } => {
                let compact = reader.compact(token, nested);
                digest.count(compact.len());
                digest.text(&compact);
                *is_empty = false;
            }
            Inside::Object { digest, last, .. } => {
                let (name_token, name) = last.as_ref().expect("a value in an object comes after its name");
                digest.add(reader.condense_member(*name_token, name, token, nested));
            }
        }
    }

    fn finish(&self) -> u64 {
        match &self.inside {
            Inside::List { digest, .. } => digest.finish(),
            Inside::Object { digest, .. } => digest.finish(),
        }
    }
}
