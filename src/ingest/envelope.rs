//! The outermost object of a usage event: the members that one of the dialects asks for, and that no other is
//! there twice.
//!
//! All dialects are read in one walk. Which one it is can show in the last member, and a member that means
//! nothing in this dialect may have any type.

use std::borrow::Cow;

use crate::invoice::instant::Instant;
use crate::invoice::quantity::Quantity;
use crate::invoice::usage::{Malformed, Value};

use super::content::{Names, Object};
use super::json::{Reader, Token, TokenKind};

/// A member that has a plain value where it means something.
#[derive(Clone, Copy, Default)]
pub(super) struct Member(Option<Token>);

/// A member that is an object where it means something.
#[derive(Default)]
pub(super) enum Part<'a> {
    #[default]
    Absent,
    Null,
    Object(Object<'a>),
    Other,
}

/// `null` is as good as absent, but for being named twice.
pub(super) struct Envelope<'a> {
    reader: Reader<'a>,

    // lago
    pub transaction_id: Member,
    pub external_subscription_id: Member,
    pub code: Member,
    pub precise_total_amount_cents: Member,
    pub properties: Part<'a>,

    // lago and stripe
    pub timestamp: Member,

    // stripe
    pub event_name: Member,
    pub identifier: Member,
    pub payload: Part<'a>,

    // cloudevents
    pub specversion: Member,
    pub id: Member,
    pub source: Member,
    pub kind: Member,
    pub subject: Member,
    pub time: Member,
    pub data: Part<'a>,
}

impl<'a> Envelope<'a> {
    pub(super) fn new(reader: Reader<'a>) -> Envelope<'a> {
        Envelope {
            reader,
            transaction_id: Member::default(),
            external_subscription_id: Member::default(),
            code: Member::default(),
            precise_total_amount_cents: Member::default(),
            properties: Part::Absent,
            timestamp: Member::default(),
            event_name: Member::default(),
            identifier: Member::default(),
            payload: Part::Absent,
            specversion: Member::default(),
            id: Member::default(),
            source: Member::default(),
            kind: Member::default(),
            subject: Member::default(),
            time: Member::default(),
            data: Part::Absent,
        }
    }

    /// Reads the whole value.
    pub(super) fn fill(&mut self) -> Result<(), Malformed> {
        if self.reader.token()?.kind != TokenKind::Object {
            return Err(Malformed);
        }
        let mut others = Names::default();
        let mut is_first = true;
        while let Some(name) = self.reader.next_name(is_first)? {
            is_first = false;
            let name = self.reader.text_of(name);
            let place = match &*name {
                "transaction_id" => Place::Member(&mut self.transaction_id),
                "external_subscription_id" => Place::Member(&mut self.external_subscription_id),
                "code" => Place::Member(&mut self.code),
                "precise_total_amount_cents" => Place::Member(&mut self.precise_total_amount_cents),
                "properties" => Place::Part(&mut self.properties),
                "timestamp" => Place::Member(&mut self.timestamp),
                "event_name" => Place::Member(&mut self.event_name),
                "identifier" => Place::Member(&mut self.identifier),
                "payload" => Place::Part(&mut self.payload),
                "specversion" => Place::Member(&mut self.specversion),
                "id" => Place::Member(&mut self.id),
                "source" => Place::Member(&mut self.source),
                "type" => Place::Member(&mut self.kind),
                "subject" => Place::Member(&mut self.subject),
                "time" => Place::Member(&mut self.time),
                "data" => Place::Part(&mut self.data),
                _ => Place::None,
            };
            match place {
                Place::Member(member) => member.read(&mut self.reader)?,
                Place::Part(part) => part.read(&mut self.reader)?,
                Place::None => {
                    others.add(&name)?;
                    let token = self.reader.token()?;
                    self.reader.nested(token, 1)?;
                }
            }
        }
        self.reader.end()
    }

    pub(super) fn text(&self, member: Member) -> Result<Option<Cow<'a, str>>, Malformed> {
        match member.meant() {
            None => Ok(None),
            Some(token) if token.kind.is_text() => named(self.reader.text_of(token)).map(Some),
            Some(_) => Err(Malformed),
        }
    }

    pub(super) fn instant(&self, member: Member) -> Result<Option<Instant>, Malformed> {
        let Some(token) = member.meant() else { return Ok(None) };
        let read = match token.kind {
            TokenKind::Number => Instant::parse_timestamp_number(self.reader.raw(token)),
            kind if kind.is_text() => Instant::parse_timestamp_text(&self.reader.text_of(token)),
            _ => None,
        };
        read.map(Some).ok_or(Malformed)
    }

    /// The amount that stands there, a number or a text, and the one text that all its spellings share: as text it is
    /// the same amount.
    pub(super) fn amount(&self, member: Member) -> Result<(Value<'a>, Cow<'a, str>), Malformed> {
        match member.meant() {
            None => Ok((Value::Null, Cow::Borrowed("null"))),
            Some(token) if token.kind == TokenKind::Number || token.kind.is_text() => {
                let value = self.reader.value_of(token);
                let amount = match &value {
                    Value::Text(text) => {
                        Quantity::parse_text(text).map(|amount| Cow::Owned(amount.to_string()))
                    }
                    _ => None,
                };
                Ok((value, amount.unwrap_or_else(|| self.reader.compact(token, 0))))
            }
            Some(_) => Err(Malformed),
        }
    }
}

/// Where a member of some name goes.
enum Place<'e, 'a> {
    Member(&'e mut Member),
    Part(&'e mut Part<'a>),
    None,
}

impl Member {
    pub(super) fn is_there(self) -> bool {
        self.meant().is_some()
    }

    fn meant(self) -> Option<Token> {
        self.0.filter(|token| token.kind != TokenKind::Null)
    }

    #[inline]
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        if self.0.is_some() {
            return Err(Malformed);
        }
        let token = reader.token()?;
        reader.nested(token, 1)?;
        self.0 = Some(token);
        Ok(())
    }
}

impl<'a> Part<'a> {
    /// The object that stands there. Absent is as good as empty.
    pub(super) fn take(&mut self) -> Result<Object<'a>, Malformed> {
        match std::mem::take(self) {
            Part::Absent | Part::Null => Ok(Object::empty()),
            Part::Object(object) => Ok(object),
            Part::Other => Err(Malformed),
        }
    }

    #[inline]
    fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        if !matches!(self, Part::Absent) {
            return Err(Malformed);
        }
        let token = reader.token()?;
        *self = match token.kind {
            TokenKind::Null => Part::Null,
            TokenKind::Object => Part::Object(reader.keep_object(2)?),
            _ => {
                reader.nested(token, 1)?;
                Part::Other
            }
        };
        Ok(())
    }
}

/// An id or a code. An empty one names nothing: as an id it would make one event of many.
pub(super) fn named(text: Cow<'_, str>) -> Result<Cow<'_, str>, Malformed> {
    if text.is_empty() { Err(Malformed) } else { Ok(text) }
}
