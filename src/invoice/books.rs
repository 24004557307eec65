//! The books of one shard: its catalog, customers, subscriptions, invoices and ids, and the one door to them.
//!
//! Nothing here waits, looks at a clock or fails: what changes the books comes in through [`Books::decide`], time
//! included, and what the world is to be told leaves as [`Notice`]s.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono_tz::Tz;
use ecow::EcoString;
use hashbrown::HashMap;

use super::aggregate::{Buckets, LineKey};
use super::bills::{Bills, Marks};
pub use super::customer::Customer;
use super::deadlines::Deadlines;
use super::document::{Document, Figures, InvoiceId, Reason};
use super::filing::Filed;
use super::follow::Following;
use super::ids::Ids;
use super::instant::{Instant, Span};
use super::keep::Keeping;
pub use super::lifecycle::Passed;
use super::notice::{Event, Notice};
use super::number_set::NumberSet;
use super::period::{Anchor, Period, Share};
use super::quantity::Quantity;
use super::rare::{Blank, Rare};
use super::shared::Shared;
pub use super::shelf::{Kept, Named, Roster, Shelf};
use super::turns::Turns;
use super::usage::{Malformed, UsageEvent};
use super::waiting::Waiting;
pub use super::window::{Frame, Prepaid, Window};
use crate::catalog::currency::Currency;
use crate::catalog::customer::{BillingTime, CustomerTerms};
use crate::catalog::entity::{Entity, Tax};
use crate::catalog::metric::Metric;
use crate::catalog::plan::Plan;
use crate::catalog::settings::Settings;
use crate::planted::{self, Bug};

/// What comes in. Everything that changes the books is one of these.
pub enum Input<'a> {
    Usage(UsageRecord<'a>),
    Catalog {
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        headers: Headers<'a>,
    },
    Command(CommandRecord<'a>),
    /// Nothing but the time.
    Tick,
}

pub type Headers<'a> = &'a [(&'a str, &'a [u8])];

/// A record of a usage topic, and what it was understood to be.
pub struct UsageRecord<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
    /// Where it stands, as `topic/partition/offset`: the id of an event that has none.
    pub place: Place<'a>,
    pub event: Result<UsageEvent<'a>, Malformed>,
    /// The event's id within the subscription it names, condensed, where that was done already.
    pub id_hash: Option<u64>,
}

/// A record's place in its log.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub topic: &'a str,
    pub partition: u32,
    pub offset: u64,
}

/// A record of a command topic, and what it was understood to be.
pub struct CommandRecord<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
    pub command: super::command::Read<'a>,
}

/// How many events have met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    pub billed: u64,
    pub late: u64,
    pub duplicate: u64,
    pub parked: u64,
    pub rejected: u64,
    pub cancelled: u64,
}

pub struct Books {
    pub(super) now: Instant,
    pub(super) settings: Settings,
    /// The longest lateness limit that was ever in force.
    pub(super) longest_limit: Span,
    pub(super) entities: Shelf<Arc<Entity>>,
    pub(super) taxes: Shelf<Tax>,
    pub(super) metrics: Shelf<Arc<Metric>>,
    pub(super) plans: Shelf<PlanState>,
    /// Whether a plan ever asked events for their own price.
    pub(super) has_dynamic_charge: bool,
    /// How many numbers each entity has given, by its code.
    pub(super) entity_numbers: BTreeMap<String, u64>,
    /// Whether these books count the numbers of an entity, or ask for them.
    pub(super) counts_for: Box<dyn Fn(&str) -> bool + Send>,
    pub(super) number_requests: Vec<NumberRequest>,
    pub(super) waiting: Waiting,
    /// The drafts that are still to follow what the catalog says by now.
    pub(super) following: Option<Following>,
    pub(super) terms: Shared<CustomerTerms>,
    pub(super) frames: Shared<Frame>,
    pub(super) customers: Roster<Customer>,
    pub(super) subscriptions: Roster<Subscription>,
    pub(super) bills: Bills,
    /// What time still needs of sealed invoices, wherever they are.
    pub(super) unpaid: HashMap<u32, Filed>,
    /// The bills that are drafts: what a change of the catalog may touch.
    pub(super) drafts: NumberSet,
    pub(super) ids: Ids,
    /// When commands were decided, by customer and id.
    pub(super) commands: BTreeMap<(String, String), Instant>,
    /// The same one by one as they came: an id that is free may come again.
    pub(super) command_order: VecDeque<(Instant, (String, String))>,
    pub(super) parked: BTreeMap<u64, Held>,
    pub(super) parked_for: BTreeMap<String, Vec<u64>>,
    pub(super) next_parked: u64,
    pub(super) unbillable: BTreeMap<UnbillableKey, Unbillable>,
    pub(super) deadlines: Deadlines,
    /// What is due now, in its order.
    pub(super) turns: Turns,
    pub(super) notices: Vec<Notice>,
    pub(super) keeping: Keeping,
    pub(super) fates: Fates,
}

/// A duty that comes with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    ParkingOver(u64),
    Begin(u32),
    PeriodEnd {
        subscription: u32,
        ordinal: u32,
    },
    Finalize(u32),
    /// A draft was changed by a record; unless that finalizes it, it is told now.
    Tell(u32),
    Refresh(u32),
    WillBeDue(u32),
    Overdue(u32),
    Unbillable(u32, Instant),
}

/// A plan as it stands, and how its charges are counted: one that is taken out and comes again is a new one.
#[derive(Clone)]
pub struct PlanState {
    pub next_charge: u32,
    /// How many times charges have been added since the plan was new.
    pub generation: u8,
    pub prices: Arc<PriceList>,
}

/// A plan with its metrics: all that is needed to price usage. It never changes; a newer one replaces it.
#[derive(Clone, Debug)]
pub struct PriceList {
    /// Tells price lists apart in what is kept; all of a shard's are counted.
    pub version: u32,
    /// The records that the plan and its metrics came in.
    pub sources: Sources,
    pub plan: Arc<Plan>,
    pub lines: Vec<PricedCharge>,
}

/// Records as they came, to be read again.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub plan: Arc<[u8]>,
    pub metrics: Vec<Arc<[u8]>>,
}

/// The charge at the same place of the plan.
#[derive(Clone, Debug)]
pub struct PricedCharge {
    pub number: u32,
    pub metric: Arc<Metric>,
    pub metric_number: u32,
    /// The plan's generation that brought the charge.
    pub generation: u8,
}

/// What a customer has in hand.
#[derive(Clone, Debug, Default)]
pub struct Money {
    pub coupons: Vec<Coupon>,
    /// What is left of each credit note, oldest first.
    pub credit_notes: Vec<i128>,
    pub wallet: i128,
}

#[derive(Clone, Debug)]
pub struct Coupon {
    pub value: CouponValue,
    /// Invoices it may still be used on; `None`: any number.
    pub invoices_left: Option<u32>,
}

#[derive(Clone, Debug)]
pub enum CouponValue {
    /// Used up over as many invoices as it takes.
    Balance(i128),
    AmountEach(i128),
    Percent(Quantity),
}

pub struct Subscription {
    pub external_id: EcoString,
    pub customer: u32,
    pub asked: Asked,
    pub anchor: Anchor,
    pub life: Life,
    /// A tombstone ended it: its record isn't in force any more.
    pub is_removed: bool,
    /// The plan of the last window, or before the beginning the plan to begin with.
    pub plan: u32,
    /// The invoice that opens it is still to be made.
    pub wants_opening: bool,
    pub windows: Box<[Window]>,
    pub next_ordinal: u32,
    /// The plan and the zone that its first period follows from.
    pub first_rule: Option<(u32, Tz)>,
    pub rare: Rare<SubscriptionRare>,
}

/// What few subscriptions have.
#[derive(Default)]
pub struct SubscriptionRare {
    pub ends_at: Option<Instant>,
    pub change: Option<PlanChange>,
    /// How often it was told that usage can't be billed.
    pub unbillable_reports: u32,
    /// Usage from beyond the last window: it goes to the window that will hold it.
    pub ahead: Vec<Held>,
    /// When its record asks it to end, and its plan to take effect.
    pub asked_dates: (Option<Instant>, Option<Instant>),
    /// Where stretches of periods begin that follow another rule, or whose first period doesn't follow from it.
    pub eras: Vec<Era>,
}

impl Blank for SubscriptionRare {
    const BLANK: &'static SubscriptionRare = &SubscriptionRare {
        ends_at: None,
        change: None,
        unbillable_reports: 0,
        ahead: Vec::new(),
        asked_dates: (None, None),
        eras: Vec::new(),
    };
}

/// What a subscription's record asks for, as far as nothing else says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub plan: u32,
    pub billing_time: Option<BillingTime>,
    /// It says when the subscription starts, not its arrival.
    pub says_start: bool,
}

impl Named for Subscription {
    fn external_id(&self) -> &str {
        &self.external_id
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    NotBegun,
    Running,
    Ended,
}

/// A change of plan that hasn't taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanChange {
    pub at: Instant,
    pub plan: u32,
}

/// A first period, and the plan and zone by which its successors follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Era {
    pub first: Period,
    pub plan: u32,
    pub zone: Tz,
}

/// What is kept of a finalized period as long as late usage of it could come.
pub struct Sealing {
    pub prices: Arc<PriceList>,
    /// The digits of the currency's minor unit.
    pub exponent: u32,
    pub share: Share,
    pub base_fee_cents: i128,
    /// All usage that is on sealed invoices.
    pub billed: Buckets,
    /// The same with the late usage that its carrier doesn't bill before it is sealed.
    pub with_late: Option<Buckets>,
    pub carrier: Option<u32>,
}

/// Late usage of one original period on one invoice, as `usage.late` reports it.
#[derive(Clone, Debug)]
pub struct Carried {
    pub from: Instant,
    pub to: Instant,
    pub metrics: MetricUses,
}

/// By the metric's code, in the order of codes.
#[derive(Clone, Debug, Default)]
pub struct MetricUses(pub Vec<(EcoString, MetricUse)>);

#[derive(Clone, Copy, Debug, Default)]
pub struct MetricUse {
    pub events: u64,
    pub units: Option<Quantity>,
}

/// Usage that is kept whole until it is decided.
#[derive(Clone, Debug)]
pub struct Held {
    pub event: UsageEvent<'static>,
    pub arrived_at: Instant,
    pub happened_at: Instant,
    pub id_hash: u64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Where it stood first: topic, partition, offset.
    pub place: (String, u32, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnbillableKey {
    pub subscription: u32,
    pub from: Instant,
}

/// Refused usage of a period that nobody was told of yet.
#[derive(Clone, Debug)]
pub struct Unbillable {
    pub since: Instant,
    pub carried: Carried,
}

/// An invoice: a draft that follows everything, or sealed as it is.
pub struct Bill {
    pub id: InvoiceId,
    pub customer: u32,
    pub kind: BillKind,
    pub version: u32,
    pub stage: Stage,
    pub(super) marks: Marks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillKind {
    Period { subscription: u32, ordinal: u32, reason: Reason },
    Opening { subscription: u32, ordinal: u32 },
    OneOff,
    Credit,
}

pub enum Stage {
    Draft(Draft),
    Sealed(Box<Sealed>),
}

pub struct Draft {
    pub finalizes_at: Instant,
    /// When usage that nobody was told of yet is to be announced; the end of time if there is none.
    refresh_at: Instant,
    /// A record has changed it, and it is to be told at once.
    pub is_to_be_told: bool,
    /// The document last announced, condensed.
    pub announced: u64,
    pub rare: Rare<DraftRare>,
}

impl Draft {
    /// A draft that was never announced.
    pub(super) fn until(finalizes_at: Instant) -> Draft {
        Draft {
            finalizes_at,
            refresh_at: Instant::MAX,
            is_to_be_told: false,
            announced: 0,
            rare: Rare::default(),
        }
    }

    pub(super) fn refresh_at(&self) -> Option<Instant> {
        (self.refresh_at < Instant::MAX).then_some(self.refresh_at)
    }

    pub(super) fn refresh_by(&mut self, at: Option<Instant>) {
        self.refresh_at = at.unwrap_or(Instant::MAX);
    }
}

/// What few drafts have.
#[derive(Default)]
pub struct DraftRare {
    pub edits: BTreeMap<LineKey, Edit>,
    /// The figures that stay as they are until somebody asks for new ones.
    pub frozen: Option<Figures>,
}

impl Blank for DraftRare {
    const BLANK: &'static DraftRare = &DraftRare { edits: BTreeMap::new(), frozen: None };
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    pub units: Option<Quantity>,
    pub amount_cents: Option<i128>,
    pub display_name: Option<String>,
}

impl Edit {
    /// A new name alone leaves the fee as it is (R95).
    pub fn changes_amount(&self) -> bool {
        self.units.is_some() || self.amount_cents.is_some()
    }
}

/// An invoice that is sealed and waits for the number that its entity gives it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberRequest {
    pub invoice: InvoiceId,
    pub entity: String,
}

/// What is told of an invoice as soon as it has its number.
#[derive(Clone, Debug)]
pub struct AwaitsNumber {
    /// The number but for its last part.
    pub head: String,
    pub news: Vec<News>,
}

#[derive(Clone, Debug)]
pub enum News {
    Invoice { at: Instant, event: Event, version: u32, document: Box<Document> },
    Usage(Notice),
}

pub struct Sealed {
    pub document: Document,
    /// The command that made it.
    pub created_by: Option<Box<str>>,
    /// When it is to be told that the invoice will be due; the setting of its finalization counts (R48).
    pub will_be_due_at: Option<Instant>,
    pub awaits: Option<Box<AwaitsNumber>>,
    pub used: Used,
    /// Credits that were bought, to be added to the wallet when the invoice is paid.
    pub credits: Option<i128>,
}

/// What a finalized invoice took of what its customer has in hand.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// By the coupon's place: what it took off.
    pub coupons: Vec<(usize, i128)>,
    pub credit_notes: Vec<(usize, i128)>,
    pub wallet: i128,
}

impl Books {
    /// Empty books, before anything has been read.
    pub fn new(settings: Settings) -> Books {
        let mut entities = Shelf::default();
        entities.put(Entity::DEFAULT, Arc::new(Entity::unnamed()), &Arc::default());
        Books {
            now: Instant::MIN,
            longest_limit: settings.lateness_limit.exact(),
            settings,
            entities,
            taxes: Shelf::default(),
            metrics: Shelf::default(),
            plans: Shelf::default(),
            has_dynamic_charge: false,
            entity_numbers: BTreeMap::new(),
            counts_for: Box::new(|_| true),
            number_requests: Vec::new(),
            waiting: Waiting::default(),
            following: None,
            terms: Shared::default(),
            frames: Shared::default(),
            customers: Roster::default(),
            subscriptions: Roster::default(),
            bills: Bills::default(),
            unpaid: HashMap::new(),
            drafts: NumberSet::default(),
            ids: Ids::default(),
            commands: BTreeMap::new(),
            command_order: VecDeque::new(),
            parked: BTreeMap::new(),
            parked_for: BTreeMap::new(),
            next_parked: 0,
            unbillable: BTreeMap::new(),
            deadlines: Deadlines::default(),
            turns: Turns::default(),
            notices: Vec::new(),
            keeping: Keeping::default(),
            fates: Fates::default(),
        }
    }

    /// The one door: what is due by then comes first, then the input, then what it made due (R11).
    pub fn decide(&mut self, at: Instant, input: &Input<'_>) {
        self.begin_to_decide(at, input);
        self.pass_time(at);
    }

    /// The same, but what the input made due at once is left for [`Books::pass_some_time`].
    pub fn begin_to_decide(&mut self, at: Instant, input: &Input<'_>) {
        self.pass_time(at);
        match input {
            Input::Usage(record) => self.take_usage(record),
            Input::Catalog { key, value, headers } => self.take_catalog_record(*key, *value, headers),
            Input::Command(record) => self.take_command(record),
            Input::Tick => {}
        }
    }

    /// What is to be told since it was last asked for, in order.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Numbers of these entities are counted here; others are asked for.
    pub fn count_for(&mut self, counts_for: impl Fn(&str) -> bool + Send + 'static) {
        self.counts_for = Box::new(counts_for);
    }

    /// The numbers to be asked for since this was last called.
    pub fn take_number_requests(&mut self) -> Vec<NumberRequest> {
        std::mem::take(&mut self.number_requests)
    }

    /// The next number of an entity's sequence.
    pub fn next_number(&mut self, entity: &str) -> u64 {
        let count = self.entity_numbers.entry(entity.to_owned()).or_insert(0);
        *count += 1;
        *count
    }

    /// What is to be told and hasn't been asked for.
    pub fn notices_mut(&mut self) -> &mut Vec<Notice> {
        &mut self.notices
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn knows_subscription(&self, external_id: &str) -> bool {
        self.subscriptions.find(external_id).is_some()
    }

    /// How many drafts there are, and how many records of usage are parked.
    pub fn open_counts(&self) -> (usize, usize) {
        (self.drafts.len(), self.parked.len())
    }

    /// The memory that ids take.
    pub fn id_bytes(&self) -> usize {
        self.ids.bytes()
    }

    pub fn fates(&self) -> Fates {
        self.fates
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The instant of the next duty.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.turns.is_empty() && self.following.is_none() {
            true => self.deadlines.next(),
            false => Some(self.now),
        }
    }

    pub(super) fn schedule(&mut self, at: Instant, due: Due) {
        self.deadlines.push(at, due);
    }

    /// Behind the end of time no period ends, for none could follow.
    pub(super) fn schedule_end(&mut self, subscription: u32, ordinal: u32, at: Instant) {
        if at < Instant::MAX {
            self.schedule(at, Due::PeriodEnd { subscription, ordinal });
        }
    }

    pub(super) fn zone_of(&self, customer: u32) -> Tz {
        let customer = self.customers.get(customer);
        let entity = &self.entities.get(customer.entity()).thing;
        customer.terms.zone.or(entity.zone).unwrap_or(Tz::UTC)
    }

    pub(super) fn entity_of(&self, customer: u32) -> &Arc<Entity> {
        &self.entities.get(self.customers.get(customer).entity()).thing
    }

    pub(super) fn prices_of(&self, plan: u32) -> &Arc<PriceList> {
        &self.plans.get(plan).thing.prices
    }

    /// R85: the plan's, else the customer's, else the entity's.
    pub(super) fn currency_of(&self, customer: u32, plan: Option<&Plan>) -> Option<Currency> {
        let own = plan.and_then(|plan| plan.currency).or(self.customers.get(customer).terms.currency);
        own.or(self.entity_of(customer).currency)
    }

    /// The digits of the minor unit that a plan's fees are rounded to.
    pub(super) fn exponent_of(&self, customer: u32, plan: &Plan) -> u32 {
        exponent(self.currency_of(customer, Some(plan)))
    }
}

/// The digits behind the point; two where nobody says which currency it is.
pub(super) fn exponent(currency: Option<Currency>) -> u32 {
    currency.filter(|_| !planted::is(Bug::CurrencyExponentIgnored)).map_or(2, Currency::exponent)
}
