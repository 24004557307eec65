//! The text of what was in force before a record that drafts are still to follow.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::books::{Books, Kept, Shelf};
use super::follow::{Before, Following};
use super::keep::{Opened, parse, unreadable};
use super::kept::{PlanText, ShelfText, raw};
use crate::catalog::entity::Entity;
use crate::catalog::json::Json;
use crate::catalog::settings::Settings;

/// The key of that document.
pub(super) const KEY: &str = "follows";

/// The settings as their record, the documents of the small kinds that have changed since, and the drafts that followed
/// at once.
#[derive(Serialize, Deserialize)]
pub(super) struct FollowingText {
    settings: Box<RawValue>,
    documents: Vec<(String, Box<RawValue>)>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    at_once: BTreeSet<u32>,
}

impl FollowingText {
    pub(super) fn of(following: &Following, books: &Books) -> FollowingText {
        let Before { settings, entities, taxes, metrics, plans } = &following.before;
        let mut documents = Vec::new();
        // Nobody may have said anything of the entity that needs no record.
        let of_entity = |kept: &Kept<_>| (!kept.source.is_empty()).then(|| ShelfText::of(kept));
        put_changed(&mut documents, "entity", entities, &books.entities, of_entity);
        put_changed(&mut documents, "tax", taxes, &books.taxes, ShelfText::of);
        put_changed(&mut documents, "metric", metrics, &books.metrics, ShelfText::of);
        for (place, kept) in plans.iter() {
            let now = books.plans.get(place);
            if has_changed(kept, now) || kept.thing.prices.version != now.thing.prices.version {
                documents.push((format!("plan:{place}"), text(&PlanText::of(kept))));
            }
        }
        FollowingText { settings: raw(settings.to_record()), documents, at_once: following.at_once.clone() }
    }
}

fn put_changed<T, X: Serialize>(
    documents: &mut Vec<(String, Box<RawValue>)>,
    kind: &str,
    before: &Shelf<T>,
    now: &Shelf<T>,
    of: impl Fn(&Kept<T>) -> X,
) {
    let changed = before.iter().filter(|(place, kept)| has_changed(kept, now.get(*place)));
    documents.extend(changed.map(|(place, kept)| (format!("{kind}:{place}"), text(&of(kept)))));
}

fn has_changed<T>(before: &Kept<T>, now: &Kept<T>) -> bool {
    before.source != now.source || before.is_removed != now.is_removed
}

fn text(document: &impl Serialize) -> Box<RawValue> {
    raw(serde_json::to_vec(document).expect("a document is plain data"))
}

impl Books {
    /// Drafts from `next` on are still to follow.
    pub(super) fn open_following(&mut self, next: u32, bytes: &[u8]) -> Opened<()> {
        let text: FollowingText = parse(KEY, bytes)?;
        let settings = Json::read(text.settings.get().as_bytes());
        let settings = settings.and_then(|json| Settings::read(&json).ok());
        let mut before = self.in_force();
        before.settings = settings.ok_or_else(|| unreadable(KEY, "its settings are none"))?;
        self.swap_catalog(&mut before);
        let opened = text.documents.iter().try_for_each(|(key, document)| self.open_before(key, document));
        self.swap_catalog(&mut before);
        opened?;
        self.following = Some(Following { before, next, at_once: text.at_once });
        Ok(())
    }

    fn open_before(&mut self, key: &str, document: &RawValue) -> Opened<()> {
        if document.get() == "null" {
            self.entities.put(Entity::DEFAULT, Arc::new(Entity::unnamed()), &Arc::default());
            return Ok(());
        }
        self.open_document(key, document.get().as_bytes())
    }
}
