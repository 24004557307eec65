//! The texts of usage: what is added up, line by line, and what drafts have told of it.

use std::collections::BTreeMap;
use std::fmt;

use num_bigint::BigInt;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::aggregate::{Bucket, Buckets, Extra, FreeUse, Group, LineKey, LineName, Total, Weighed};
use super::bills::Bills;
use super::books::{Bill, Books, Carried, Draft, Stage, Subscription, Window};
use super::instant::Instant;
use super::kept::{CarriedText, QuantityText};
use super::quantity::Quantity;
use super::write::Object;

/// What usage changes of a subscription, as it is read: the buckets of its windows that aren't sealed, what their drafts
/// have told, and what came late.
#[derive(Deserialize)]
pub(super) struct UsageText<'a>(Vec<WindowUseText<'a>>);

/// Which window, and its buckets; where it has a draft, what that has told; where usage came late, what of that concerns
/// it. The invoice that opens the subscription names no window.
#[derive(Deserialize)]
struct WindowUseText<'a>(
    Option<u32>,
    Vec<BucketText>,
    #[serde(default)] Option<ToldText>,
    #[serde(default)] Option<LateText<'a>>,
);

/// Late usage that the window's invoice carries; of a sealed window, what it would have been with late usage that isn't
/// billed yet, and who carries that.
#[derive(Deserialize)]
struct LateText<'a> {
    #[serde(default)]
    carries: Vec<CarriedText<'a>>,
    with_late: Option<Vec<BucketText>>,
    carrier: Option<u32>,
}

/// How many times a draft was announced, the document last announced, condensed; and where it is to be announced again,
/// when, and whether a record asks for that.
#[derive(Serialize, Deserialize)]
struct ToldText(
    u32,
    u64,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<(Option<Instant>, bool)>,
);

/// The same as it is written: straight from where it is, as it is written often.
pub(super) fn usage_text(subscription: &Subscription, opening: Option<u32>, bills: &Bills) -> Vec<u8> {
    const USUAL_BYTES: usize = 128;
    let told = |number: u32| bills.get(number).and_then(ToldText::of);
    let mut text = Vec::with_capacity(USUAL_BYTES);
    text.push(b'[');
    if let Some(told) = opening.and_then(told) {
        open_window(&mut text, None, &Buckets::default());
        close_window(&mut text, Some(told), None);
    }
    for window in subscription.windows.iter() {
        let (told, late) = (window.bill().and_then(told), Late::of(window));
        if !window.usage.is_empty() || told.is_some() || late.is_some() {
            open_window(&mut text, Some(window.ordinal), &window.usage);
            close_window(&mut text, told, late);
        }
    }
    text.push(b']');
    text
}

fn open_window(text: &mut Vec<u8>, ordinal: Option<u32>, usage: &Buckets) {
    text.extend_from_slice(if text.len() == 1 { b"[" } else { b",[" });
    push(text, &ordinal);
    text.push(b',');
    push_all(text, usage.iter().map(BucketText::of));
}

/// What isn't there isn't written, but where something follows it.
fn close_window(text: &mut Vec<u8>, told: Option<ToldText>, late: Option<Late<'_>>) {
    if told.is_some() || late.is_some() {
        text.push(b',');
        push(text, &told);
    }
    if let Some(late) = late {
        text.push(b',');
        late.write_to(text);
    }
    text.push(b']');
}

fn push(text: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(text, value).expect("a document is plain data");
}

fn push_all(text: &mut Vec<u8>, values: impl Iterator<Item = impl Serialize>) {
    text.push(b'[');
    for (place, value) in values.enumerate() {
        if place > 0 {
            text.push(b',');
        }
        push(text, &value);
    }
    text.push(b']');
}

/// A window of which there is late usage.
struct Late<'a> {
    carries: &'a [Carried],
    with_late: Option<&'a Buckets>,
    carrier: Option<u32>,
}

impl Late<'_> {
    fn of(window: &Window) -> Option<Late<'_>> {
        let sealing = window.rare.sealed.as_ref();
        let late = Late {
            carries: &window.rare.carries,
            with_late: sealing.and_then(|sealing| sealing.with_late.as_ref()),
            carrier: sealing.and_then(|sealing| sealing.carrier),
        };
        let says_something = !late.carries.is_empty() || late.with_late.is_some() || late.carrier.is_some();
        says_something.then_some(late)
    }

    fn write_to(&self, text: &mut Vec<u8>) {
        let mut object = Object::open(text);
        if !self.carries.is_empty() {
            push_all(object.member("carries"), self.carries.iter().map(CarriedText::of));
        }
        if let Some(buckets) = self.with_late {
            push_all(object.member("with_late"), buckets.iter().map(BucketText::of));
        }
        if let Some(carrier) = self.carrier {
            object.number("carrier", carrier);
        }
        object.close();
    }
}

impl LateText<'_> {
    fn put_into(self, window: &mut Window) {
        window.rare.carries = self.carries.into_iter().map(CarriedText::read).collect();
        if let Some(sealing) = window.rare.sealed.as_mut() {
            sealing.with_late = self.with_late.map(read_buckets);
            sealing.carrier = self.carrier;
        }
    }
}

impl ToldText {
    fn of(bill: &Bill) -> Option<ToldText> {
        let Stage::Draft(draft) = &bill.stage else { return None };
        let again = (draft.refresh_at(), draft.is_to_be_told);
        Some(ToldText(bill.version, draft.announced, (again != (None, false)).then_some(again)))
    }

    fn put_into(self, version: &mut u32, draft: &mut Draft) {
        let ToldText(told, announced, again) = self;
        let (refresh_at, is_to_be_told) = again.unwrap_or_default();
        draft.refresh_by(refresh_at);
        draft.is_to_be_told = is_to_be_told;
        (*version, draft.announced) = (told, announced);
    }
}

impl Books {
    /// Gives a subscription that was just opened what was used.
    pub(super) fn open_usage(&mut self, number: u32, text: UsageText<'_>) {
        for WindowUseText(ordinal, buckets, told, late) in text.0 {
            let bill = match ordinal {
                None => self.opening_of(number),
                Some(ordinal) => {
                    let subscription = self.subscriptions.get_mut(number);
                    subscription.window_mut(ordinal).and_then(|window| {
                        window.usage = read_buckets(buckets);
                        if let Some(late) = late {
                            late.put_into(window);
                        }
                        window.bill()
                    })
                }
            };
            let bill = bill.and_then(|bill| self.bills.used_mut(bill));
            if let (Some(Bill { stage: Stage::Draft(draft), version, .. }), Some(told)) = (bill, told) {
                told.put_into(version, draft);
            }
        }
    }
}

/// Charge, filter, events, total, and what only some lines have.
#[derive(Serialize, Deserialize)]
pub(super) struct BucketText(
    u32,
    u32,
    u64,
    TotalText,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<RestText>,
);

#[derive(Serialize, Deserialize)]
struct RestText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Vec<Option<String>>>,
    /// The events' own prices in cents; events and amount that the free part was used up by, and whether it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extra: Option<(Quantity, u64, Quantity, bool)>,
}

/// Nothing but the count, a sum, or something else by its name.
#[derive(Serialize)]
#[serde(untagged)]
enum TotalText {
    Count(()),
    Sum(Quantity),
    Other(OtherText),
}

impl<'de> Deserialize<'de> for TotalText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TotalText, D::Error> {
        deserializer.deserialize_any(AnyTotal)
    }
}

struct AnyTotal;

impl<'de> Visitor<'de> for AnyTotal {
    type Value = TotalText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing, a quantity, or something by its name")
    }

    fn visit_unit<E: Error>(self) -> Result<TotalText, E> {
        Ok(TotalText::Count(()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TotalText, E> {
        QuantityText.visit_str(text).map(TotalText::Sum)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TotalText, A::Error> {
        OtherText::deserialize(MapAccessDeserializer::new(map)).map(TotalText::Other)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OtherText {
    Max(Option<Quantity>),
    Unique(BTreeMap<String, u32>),
    Latest(Option<(Instant, Quantity)>),
    Weighted(Quantity, String, Vec<(Instant, Quantity)>),
}

pub(super) fn bucket_texts(buckets: &Buckets) -> Vec<BucketText> {
    buckets.iter().map(BucketText::of).collect()
}

pub(super) fn read_buckets(texts: Vec<BucketText>) -> Buckets {
    Buckets::from_kept(texts.into_iter().map(BucketText::read).collect())
}

pub(super) fn group_text(group: Option<&[Option<Box<str>>]>) -> Option<Vec<Option<String>>> {
    group.map(|values| values.iter().map(|value| value.as_deref().map(str::to_owned)).collect())
}

pub(super) fn read_group(text: Option<Vec<Option<String>>>) -> Group {
    text.map(|values| values.into_iter().map(|value| value.map(String::into_boxed_str)).collect())
}

impl BucketText {
    fn of(bucket: &Bucket) -> BucketText {
        let total = match &bucket.total {
            Total::Count => TotalText::Count(()),
            Total::Sum(sum) => TotalText::Sum(*sum),
            Total::Max(max) => TotalText::Other(OtherText::Max(*max)),
            Total::Unique(values) => TotalText::Other(OtherText::Unique(
                values.iter().map(|(value, count)| (value.to_string(), *count)).collect(),
            )),
            Total::Latest(latest) => TotalText::Other(OtherText::Latest(latest.as_deref().copied())),
            Total::Weighted(weighed) => {
                let Weighed { sum, moment, ahead } = &**weighed;
                TotalText::Other(OtherText::Weighted(*sum, moment.to_string(), ahead.clone()))
            }
        };
        let extra = bucket
            .extra()
            .map(|extra| (extra.precise_cents, extra.free.events, extra.free.amount, extra.free.is_over));
        let LineName { charge, filter, group } = bucket.line();
        let rest = (extra.is_some() || group.is_some()).then(|| RestText { group: group_text(group), extra });
        BucketText(charge, filter, bucket.events, total, rest)
    }

    fn read(self) -> Bucket {
        let BucketText(charge, filter, events, total, rest) = self;
        let total = match total {
            TotalText::Count(()) => Total::Count,
            TotalText::Sum(sum) => Total::Sum(sum),
            TotalText::Other(OtherText::Max(max)) => Total::Max(max),
            TotalText::Other(OtherText::Unique(values)) => {
                let values = values.into_iter().map(|(value, count)| (value.into_boxed_str(), count));
                Total::Unique(Box::new(values.collect()))
            }
            TotalText::Other(OtherText::Latest(latest)) => Total::Latest(latest.map(Box::new)),
            TotalText::Other(OtherText::Weighted(sum, moment, ahead)) => {
                let moment = moment.parse::<BigInt>().unwrap_or_default();
                Total::Weighted(Box::new(Weighed { sum, moment, ahead }))
            }
        };
        let RestText { group, extra } = rest.unwrap_or(RestText { group: None, extra: None });
        let extra = extra.map(|(precise_cents, events, amount, is_over)| Extra {
            precise_cents,
            free: FreeUse { events, amount, is_over },
        });
        Bucket::of(LineKey { charge, filter, group: read_group(group) }, events, total, extra)
    }
}
