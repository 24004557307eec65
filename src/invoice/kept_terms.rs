//! The text of a customer's terms. Many customers have the same: a text that was read once isn't read again.

use std::sync::Arc;

use hashbrown::HashMap;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::shared::Shared;
use crate::catalog::customer::CustomerTerms;
use crate::catalog::json::Json;

/// What a customer's record says beside his name, as it says it.
pub(super) enum TermsText<'a> {
    ToWrite(&'a CustomerTerms),
    Written(&'a RawValue),
}

impl Serialize for TermsText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let terms = match self {
            TermsText::ToWrite(terms) => terms,
            TermsText::Written(text) => return text.serialize(serializer),
        };
        let mut map = serializer.serialize_map(None)?;
        let mut text = |name: &str, value: Option<&str>| match value {
            Some(value) => map.serialize_entry(name, value),
            None => Ok(()),
        };
        text("billing_entity_code", terms.entity.as_deref())?;
        text("timezone", terms.zone.map(|zone| zone.name()))?;
        text("currency", terms.currency.map(|currency| currency.to_string()).as_deref())?;
        text("invoice_grace_period", terms.grace.map(|grace| grace.to_string()).as_deref())?;
        text("net_payment_term", terms.net_payment_term.map(|term| format!("P{term}D")).as_deref())?;
        text("collection_method", terms.charged_automatically.then_some("charge_automatically"))?;
        if let Some(codes) = &terms.tax_codes {
            map.serialize_entry("tax_codes", codes)?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TermsText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TermsText<'a>, D::Error> {
        Deserialize::deserialize(deserializer).map(TermsText::Written)
    }
}

/// The terms that were read so far, by their texts.
#[derive(Default)]
pub(super) struct KnownTerms(HashMap<Box<str>, Arc<CustomerTerms>>);

impl KnownTerms {
    /// `None`: the text says no terms.
    pub(super) fn read(
        &mut self,
        text: Option<&TermsText<'_>>,
        terms: &mut Shared<CustomerTerms>,
    ) -> Option<Arc<CustomerTerms>> {
        let text = match text {
            Some(TermsText::Written(text)) => text.get(),
            Some(TermsText::ToWrite(_)) | None => "{}",
        };
        if let Some(known) = self.0.get(text) {
            return Some(known.clone());
        }
        let read = terms.share(CustomerTerms::read(&Json::read(text.as_bytes())?).ok()?);
        self.0.insert(text.into(), read.clone());
        Some(read)
    }
}
