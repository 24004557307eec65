//! Commands: what people do to one customer's invoices.

use super::aggregate::{Group, LineKey};
use super::books::{BillKind, Books, CommandRecord, Coupon, CouponValue, Edit, Used, exponent};
use super::digest::{invoice_id, last_invoice_of, ordered_invoice_id};
use super::document::{Fee, FeeType, InvoiceId, Payment, Status, WrittenFees};
use super::exact::Exact;
use super::filing::InvoiceKey;
use super::instant::Instant;
use super::notice::{Event, Notice, Topic};
use super::quantity::Quantity;
use super::usage::{Malformed, UsageEvent, Whose};
use crate::catalog::json::Json;
use crate::catalog::plan::{Charge, Filter, Price};
use crate::planted::{self, Bug};

/// A command record as it was read. The event of an `event.cancel` is usage, and read as such.
pub struct Read<'a> {
    /// `None`: the record is no JSON.
    pub json: Option<Json>,
    pub event: Option<Result<UsageEvent<'a>, Malformed>>,
}

/// Why a command is refused (R93).
pub(super) type Reason = &'static str;

pub(super) const MALFORMED: Reason = "malformed";
const UNKNOWN_COMMAND: Reason = "unknown_command";
const UNKNOWN_CUSTOMER: Reason = "unknown_customer";
const UNKNOWN_INVOICE: Reason = "unknown_invoice";
const UNKNOWN_CHARGE: Reason = "unknown_charge";
pub(super) const UNKNOWN_EVENT: Reason = "unknown_event";
pub(super) const CONTENT_MISMATCH: Reason = "content_mismatch";
pub(super) const INVOICE_NOT_DRAFT: Reason = "invoice_not_draft";
const INVOICE_NOT_FINALIZED: Reason = "invoice_not_finalized";
const ALREADY_PAID: Reason = "already_paid";
const ALREADY_DISPUTED: Reason = "already_disputed";
const NOT_EDITED: Reason = "not_edited";
pub(super) const NOT_SUPPORTED: Reason = "not_supported";

/// A command whose sender and id are known.
struct Order<'a> {
    json: &'a Json,
    id: &'a str,
    /// The customer's external id; nobody may have it.
    customer: String,
    /// It was the command itself that named the customer.
    names_customer: bool,
    event: Option<&'a Result<UsageEvent<'a>, Malformed>>,
}

impl Books {
    pub(super) fn take_command(&mut self, record: &CommandRecord<'_>) {
        let Some(json) = record.command.json.as_ref().filter(|json| matches!(json, Json::Object(_))) else {
            return self.refuse_command(record, MALFORMED, None);
        };
        let Some(id) = json.get("command_id").and_then(Json::as_text).filter(|id| !id.is_empty()) else {
            return self.refuse_command(record, MALFORMED, None);
        };
        let (customer, names_customer) = self.customer_of(json, record);
        if !self.hold_command(&customer, id) {
            return;
        }
        let order = Order { json, id, customer, names_customer, event: record.command.event.as_ref() };
        if let Err(reason) = self.obey(&order) {
            self.refuse_command(record, reason, Some(id));
        }
    }

    /// The first record with an id decides; later ones do nothing (R92).
    fn hold_command(&mut self, customer: &str, id: &str) -> bool {
        let horizon = self.horizon();
        let key = (customer.to_owned(), id.to_owned());
        if self.commands.get(&key).is_some_and(|at| *at >= horizon) {
            return false;
        }
        self.note_command(key);
        true
    }

    fn refuse_command(&mut self, record: &CommandRecord<'_>, reason: Reason, id: Option<&str>) {
        let mut headers = vec![("graceline-reason".to_owned(), reason.as_bytes().to_vec())];
        headers.extend(id.map(|id| ("graceline-command-id".to_owned(), id.as_bytes().to_vec())));
        self.notices.push(Notice {
            at: self.now,
            topic: Topic::BillingRejected,
            key: record.key.map(<[u8]>::to_vec),
            headers,
            value: record.value.map(<[u8]>::to_vec),
        });
    }

    /// R91: the one named, else the invoice's or the subscription's, else the record's key.
    pub(super) fn customer_of(&self, json: &Json, record: &CommandRecord<'_>) -> (String, bool) {
        if let Some(named) = json.get("external_customer_id").and_then(Json::as_text) {
            return (named.to_owned(), true);
        }
        let by_invoice = || {
            let id = InvoiceId::parse(json.get("invoice_id")?.as_text()?)?;
            Some(self.bills[self.bills.find(id)?].customer)
        };
        let by_subscription = || {
            let in_event = match &record.command.event {
                Some(Ok(UsageEvent { whose: Whose::Subscription(name), .. })) => Some(name.as_ref()),
                _ => None,
            };
            let name = json.get("external_subscription_id").and_then(Json::as_text).or(in_event)?;
            Some(self.subscriptions.get(self.subscriptions.find(name)?).customer)
        };
        if let Some(customer) = by_invoice().or_else(by_subscription) {
            return (self.customers.get(customer).external_id.to_string(), false);
        }
        let key = record.key.and_then(|key| std::str::from_utf8(key).ok());
        (key.unwrap_or_default().to_owned(), false)
    }

    fn obey(&mut self, order: &Order<'_>) -> Result<(), Reason> {
        match order.json.get("command").and_then(Json::as_text).ok_or(MALFORMED)? {
            "invoice.finalize" => {
                let number = self.named_draft(order)?;
                self.finalize(number);
            }
            "invoice.refresh" => {
                let number = self.named_draft(order)?;
                self.show_changes(number);
            }
            "invoice.void" => self.void(order)?,
            "fee.edit" => self.edit_fee(order)?,
            "fee.reset" => self.reset_fee(order)?,
            "coupon.apply" => self.apply_coupon(order)?,
            "wallet.top_up" => {
                let credits = order.positive_cents("credits_cents")?;
                let customer = self.known_customer(order)?;
                self.money_mut(customer).top_up(credits);
            }
            "credit_note.create" => {
                let cents = order.positive_cents("amount_cents")?;
                let customer = self.known_customer(order)?;
                self.money_mut(customer).credit_notes.push(cents);
            }
            "payment.record" => self.record_payment(order)?,
            "payment.dispute_lost" => self.lose_dispute(order)?,
            "invoice.create_one_off" => self.create_one_off(order)?,
            "wallet.purchase" => self.purchase_credits(order)?,
            "event.cancel" => self.cancel_event(order)?,
            _ => return Err(UNKNOWN_COMMAND),
        }
        Ok(())
    }

    // --- Naming -------------------------------------------------------------------------------------------------------

    fn known_customer(&self, order: &Order<'_>) -> Result<u32, Reason> {
        let number = self.customers.find(&order.customer).ok_or(UNKNOWN_CUSTOMER)?;
        if self.customers.get(number).is_removed { Err(UNKNOWN_CUSTOMER) } else { Ok(number) }
    }

    /// The invoice that a command names (R90). A period that still runs has none yet (R94).
    fn named_invoice(&self, order: &Order<'_>) -> Result<u32, Reason> {
        let name = invoice_name(order.json)?;
        let customer = self.customers.find(&order.customer);
        let found = self.invoice_of(&name, &order.customer);
        if let Some(number) = found.filter(|number| Some(self.bills[*number].customer) == customer) {
            return Ok(number);
        }
        if customer.is_some_and(|customer| self.is_accruing(&name, customer)) {
            return Err(INVOICE_NOT_DRAFT);
        }
        self.known_customer(order)?;
        Err(UNKNOWN_INVOICE)
    }

    fn invoice_of(&self, name: &InvoiceName<'_>, customer: &str) -> Option<u32> {
        self.bills.find(name.id(customer)?)
    }

    fn is_accruing(&self, name: &InvoiceName<'_>, customer: u32) -> bool {
        let InvoiceName::Period { subscription, from, is_opening: false } = name else { return false };
        self.subscriptions.find(subscription).map(|number| self.subscriptions.get(number)).is_some_and(
            |found| {
                let mut open = found.windows.iter().filter(|window| !window.is_sealed());
                found.customer == customer && open.any(|window| window.period.from == *from)
            },
        )
    }

    fn named_draft(&self, order: &Order<'_>) -> Result<u32, Reason> {
        let number = self.named_invoice(order)?;
        if self.draft(number).is_some() { Ok(number) } else { Err(INVOICE_NOT_DRAFT) }
    }

    fn named_finalized(&self, order: &Order<'_>) -> Result<u32, Reason> {
        let number = self.named_invoice(order)?;
        match self.sealed(number) {
            Some(sealed) if sealed.document.status == Status::Finalized => Ok(number),
            _ => Err(INVOICE_NOT_FINALIZED),
        }
    }

    // --- Drafts -------------------------------------------------------------------------------------------------------

    /// Announces a draft with the figures of now.
    fn show_changes(&mut self, number: u32) {
        if self.draft(number).is_some_and(|draft| draft.rare.frozen.is_some()) {
            self.freeze(number);
        }
        self.announce_draft(number, Event::Updated);
    }

    fn edit_fee(&mut self, order: &Order<'_>) -> Result<(), Reason> {
        let (name, edit) = (order.fee_name()?, order.edit()?);
        let number = self.named_draft(order)?;
        let (key, is_repriceable) = self.named_line(&name, number)?;
        if edit.units.is_some() && !is_repriceable {
            return Err(NOT_SUPPORTED);
        }
        let edits = &mut self.draft_mut(number).expect("a draft was named").rare.edits;
        let known = edits.entry(key).or_default();
        if edit.changes_amount() {
            (known.units, known.amount_cents) = (edit.units, edit.amount_cents);
        }
        if edit.display_name.is_some() {
            known.display_name = edit.display_name;
        }
        self.show_changes(number);
        Ok(())
    }

    fn reset_fee(&mut self, order: &Order<'_>) -> Result<(), Reason> {
        let name = order.fee_name()?;
        let number = self.named_draft(order)?;
        let (key, _) = self.named_line(&name, number)?;
        let edits = &mut self.draft_mut(number).expect("a draft was named").rare.edits;
        if !edits.get(&key).is_some_and(Edit::changes_amount) {
            return Err(NOT_EDITED);
        }
        edits.remove(&key);
        self.show_changes(number);
        Ok(())
    }

    /// The line of a draft that a command means, and whether its units can be priced by themselves.
    fn named_line(&self, name: &FeeName<'_>, number: u32) -> Result<(LineKey, bool), Reason> {
        let bill = &self.bills[number];
        let BillKind::Period { .. } = bill.kind else { return Err(UNKNOWN_CHARGE) };
        let (_, window) = self.window_of(bill).expect("a draft has its window");
        let prices = self.prices_of(window.plan);
        let place = prices
            .plan
            .charges
            .iter()
            .position(|charge| charge.code == name.charge_code)
            .ok_or(UNKNOWN_CHARGE)?;
        let charge = &prices.plan.charges[place];
        let filter = name.filter_of(charge)?;
        let tariff = charge.tariff_at(filter);
        let group = name.group_among(&tariff.group_keys)?;
        let is_repriceable = !matches!(tariff.price, Price::Percentage { .. } | Price::Dynamic);
        Ok((LineKey { charge: prices.lines[place].number, filter: filter as u32, group }, is_repriceable))
    }

    fn cancel_event(&mut self, order: &Order<'_>) -> Result<(), Reason> {
        let Some(Ok(event)) = order.event else { return Err(MALFORMED) };
        let (Some(_), Whose::Subscription(name)) = (&event.id, &event.whose) else { return Err(MALFORMED) };
        if order.names_customer {
            let customer = self.known_customer(order)?;
            let owner = self.subscriptions.find(name).map(|number| self.subscriptions.get(number).customer);
            if owner.is_some_and(|owner| owner != customer) {
                return Err(UNKNOWN_EVENT);
            }
        }
        let before = self.digests_of_drafts_of(name);
        if let Some(bill) = self.cancel(event)?
            && self.draft(bill).is_some()
            && before.iter().any(|(number, digest)| *number == bill && *digest != self.shown_digest(bill))
        {
            self.announce_draft(bill, Event::Updated);
        }
        Ok(())
    }

    fn digests_of_drafts_of(&self, subscription: &str) -> Vec<(u32, u64)> {
        let Some(number) = self.subscriptions.find(subscription) else { return Vec::new() };
        let bills = self.subscriptions.get(number).windows.iter().filter_map(|window| window.bill());
        bills.filter(|bill| self.draft(*bill).is_some()).map(|bill| (bill, self.shown_digest(bill))).collect()
    }

    // --- Finalized invoices -------------------------------------------------------------------------------------------

    fn void(&mut self, order: &Order<'_>) -> Result<(), Reason> {
        let number = self.named_finalized(order)?;
        let now = self.now;
        let sealed = self.sealed_mut(number).expect("a finalized invoice was named");
        sealed.document.status = Status::Voided;
        sealed.document.voided_at = Some(now);
        let was_overdue = std::mem::take(&mut sealed.document.payment_overdue);
        let used = std::mem::take(&mut sealed.used);
        self.unpaid.remove(&number);
        let customer = self.bills[number].customer;
        self.money_mut(customer).give_back(&used);
        self.announce_cleared(number, Event::Voided, was_overdue);
        Ok(())
    }

    /// Sends the webhook of what happened, and after it the one that clears the flag (R46).
    fn announce_cleared(&mut self, number: u32, event: Event, was_overdue: bool) {
        self.announce_sealed(number, event);
        if was_overdue {
            self.announce_sealed(number, Event::OverdueCleared);
        }
    }

    fn record_payment(&mut self, order: &Order<'_>) -> Result<(), Reason> {
        let status = match order.json.get("status").and_then(Json::as_text) {
            Some("succeeded") => Payment::Succeeded,
            Some("failed") => Payment::Failed,
            _ => return Err(MALFORMED),
        };
        let number = self.named_finalized(order)?;
        let sealed = self.sealed_mut(number).expect("a finalized invoice was named");
        if sealed.document.payment == Payment::Succeeded {
            return Err(ALREADY_PAID);
        }
        if sealed.document.payment == status {
            return Ok(());
        }
        sealed.document.payment = status;
        let is_paid = status == Payment::Succeeded;
        let is_cleared = is_paid && !planted::is(Bug::OverdueNotCleared);
        let was_overdue = is_cleared && std::mem::take(&mut sealed.document.payment_overdue);
        let credits = if is_paid { sealed.credits.take() } else { None };
        if is_paid {
            self.unpaid.remove(&number);
        }
        let customer = self.bills[number].customer;
        if let Some(credits) = credits {
            self.money_mut(customer).top_up(credits);
        }
        self.announce_cleared(number, Event::PaymentStatusUpdated, was_overdue);
        Ok(())
    }

    fn lose_dispute(&mut self, order: &Order<'_>) -> Result<(), Reason> {
        let number = self.named_finalized(order)?;
        let now = self.now;
        let document = &mut self.sealed_mut(number).expect("a finalized invoice was named").document;
        if document.dispute_lost_at.is_some() {
            return Err(ALREADY_DISPUTED);
        }
        document.dispute_lost_at = Some(now);
        let was_overdue = std::mem::take(&mut document.payment_overdue);
        self.unpaid.remove(&number);
        self.announce_cleared(number, Event::DisputeLost, was_overdue);
        Ok(())
    }

    // --- Customers ----------------------------------------------------------------------------------------------------

    fn apply_coupon(&mut self, order: &Order<'_>) -> Result<(), Reason> {
        order
            .json
            .get("coupon_code")
            .and_then(Json::as_text)
            .filter(|code| !code.is_empty())
            .ok_or(MALFORMED)?;
        let coupon = order.coupon()?;
        let customer = self.known_customer(order)?;
        self.money_mut(customer).coupons.push(coupon);
        Ok(())
    }

    fn create_one_off(&mut self, order: &Order<'_>) -> Result<(), Reason> {
        let items = order
            .json
            .get("fees")
            .and_then(Json::as_list)
            .filter(|items| !items.is_empty())
            .ok_or(MALFORMED)?;
        let prices = items.iter().map(one_off_price).collect::<Result<Vec<_>, Reason>>()?;
        let customer = self.known_customer(order)?;
        let exponent = exponent(self.currency_of(customer, None)) as i32;
        let fees = Vec::from_iter(prices.iter().map(|price| price.fee(exponent)));
        self.order_invoice(order, customer, BillKind::OneOff, WrittenFees::of(&fees), None);
        Ok(())
    }

    fn purchase_credits(&mut self, order: &Order<'_>) -> Result<(), Reason> {
        let credits = order.positive_cents("credits_cents")?;
        let customer = self.known_customer(order)?;
        let exponent = exponent(self.currency_of(customer, None)) as i32;
        let price = OneOffPrice {
            display_name: "Prepaid credits".to_owned(),
            units: Quantity::ONE,
            cents: Exact::whole(credits),
        };
        let fees = WrittenFees::of(&[price.fee(exponent)]);
        self.order_invoice(order, customer, BillKind::Credit, fees, Some(credits));
        Ok(())
    }

    /// Makes an invoice that a command orders: it is finalized at once.
    fn order_invoice(
        &mut self,
        order: &Order<'_>,
        customer: u32,
        kind: BillKind,
        fees: WrittenFees,
        credits: Option<i128>,
    ) {
        let id = ordered_invoice_id(&order.customer, order.id, self.now);
        let number = self.add_bill(id, customer, kind);
        self.bills.put_order(last_invoice_of(&order.customer, order.id), number);
        let figures = self.figures(&self.bills[number], fees, 0);
        self.seal(number, self.now, figures, Used::default(), credits);
        let sealed = self.sealed_mut(number).expect("it was just sealed");
        sealed.created_by = Some(order.id.into());
    }
}

/// How a command says which invoice it means.
enum InvoiceName<'a> {
    Id(&'a str),
    Period { subscription: &'a str, from: Instant, is_opening: bool },
    CreatedBy(&'a str),
}

impl InvoiceName<'_> {
    /// What it is found under.
    fn id(&self, customer: &str) -> Option<InvoiceId> {
        match self {
            InvoiceName::Id(text) => InvoiceId::parse(text),
            InvoiceName::CreatedBy(command) => Some(last_invoice_of(customer, command)),
            InvoiceName::Period { subscription, from, is_opening } => {
                Some(invoice_id(subscription, *from, *is_opening))
            }
        }
    }
}

impl Books {
    /// What the invoices are found under that a command names, whether it will be obeyed or not.
    pub(super) fn named_by(&self, record: &CommandRecord<'_>) -> Vec<InvoiceKey> {
        let Some(json) = record.command.json.as_ref() else { return Vec::new() };
        let by_id = json.get("invoice_id").and_then(Json::as_text).and_then(InvoiceId::parse);
        if let Some(id) = by_id {
            return vec![InvoiceKey::Own(id)];
        }
        let (customer, _) = self.customer_of(json, record);
        let Ok(name) = invoice_name(json) else { return Vec::new() };
        let key = name.id(&customer).map(|id| match name {
            InvoiceName::CreatedBy(_) => InvoiceKey::Order(id),
            InvoiceName::Id(_) | InvoiceName::Period { .. } => InvoiceKey::Own(id),
        });
        key.into_iter().collect()
    }
}

fn invoice_name(json: &Json) -> Result<InvoiceName<'_>, Reason> {
    let text = |name: &str| match json.get(name) {
        None => Ok(None),
        Some(value) => value.as_text().map(Some).ok_or(MALFORMED),
    };
    let is_opening = text("invoicing_reason")? == Some("subscription_starting");
    if let Some(id) = text("invoice_id")? {
        return Ok(InvoiceName::Id(id));
    }
    if let (Some(subscription), Some(from)) = (text("external_subscription_id")?, text("period_from")?) {
        let from = Instant::parse_rfc3339(from).ok_or(MALFORMED)?;
        return Ok(InvoiceName::Period { subscription, from, is_opening });
    }
    text("created_by")?.map(InvoiceName::CreatedBy).ok_or(MALFORMED)
}

impl Order<'_> {
    fn fee_name(&self) -> Result<FeeName<'_>, Reason> {
        let members = |name: &str| match self.json.get(name) {
            None => Ok(None),
            Some(Json::Object(members)) => Ok(Some(members.as_slice())),
            Some(_) => Err(MALFORMED),
        };
        let charge_code = self.json.get("charge_code").and_then(Json::as_text).ok_or(MALFORMED)?;
        Ok(FeeName {
            charge_code,
            filter: members("filter")?,
            group: members("grouped_by")?.unwrap_or_default(),
        })
    }

    fn positive_cents(&self, name: &str) -> Result<i128, Reason> {
        self.json.get(name).and_then(Json::as_integer).filter(|cents| *cents > 0).ok_or(MALFORMED)
    }

    /// R95: units, an amount, or nothing but a name.
    fn edit(&self) -> Result<Edit, Reason> {
        let read = |name: &str| self.json.get(name);
        let edit = Edit {
            units: read("units").map(|json| json.as_quantity().ok_or(MALFORMED)).transpose()?,
            amount_cents: read("amount_cents").map(|json| json.as_integer().ok_or(MALFORMED)).transpose()?,
            display_name: read("invoice_display_name")
                .map(|json| json.as_text().map(str::to_owned).ok_or(MALFORMED))
                .transpose()?,
        };
        let says_one_thing = edit.units.is_none() || edit.amount_cents.is_none();
        let says_something = edit.changes_amount() || edit.display_name.is_some();
        if says_one_thing && says_something { Ok(edit) } else { Err(MALFORMED) }
    }

    fn coupon(&self) -> Result<Coupon, Reason> {
        let amount =
            self.json.get("amount_cents").map(|_| self.positive_cents("amount_cents")).transpose()?;
        let in_range = |rate: &Quantity| rate.0 > 0 && rate.0 <= 100 * Quantity::ONE.0;
        let read_rate = |json: &Json| json.as_price().filter(in_range).ok_or(MALFORMED);
        let rate = self.json.get("percentage_rate").map(read_rate).transpose()?;
        let invoices = match self.json.get("frequency").and_then(Json::as_text) {
            Some("once") => Some(1),
            Some("forever") => None,
            Some("recurring") => {
                let count = self.json.get("frequency_duration").and_then(Json::as_integer);
                Some(
                    count
                        .and_then(|count| u32::try_from(count).ok())
                        .filter(|count| *count > 0)
                        .ok_or(MALFORMED)?,
                )
            }
            _ => return Err(MALFORMED),
        };
        let is_once = self.json.get("frequency").and_then(Json::as_text) == Some("once");
        match (amount, rate) {
            (Some(cents), None) if is_once => {
                Ok(Coupon { value: CouponValue::Balance(cents), invoices_left: None })
            }
            (Some(cents), None) => {
                Ok(Coupon { value: CouponValue::AmountEach(cents), invoices_left: invoices })
            }
            (None, Some(rate)) => Ok(Coupon { value: CouponValue::Percent(rate), invoices_left: invoices }),
            _ => Err(MALFORMED),
        }
    }
}

/// Which fee a command means.
struct FeeName<'a> {
    charge_code: &'a str,
    filter: Option<&'a [(String, Json)]>,
    group: &'a [(String, Json)],
}

impl FeeName<'_> {
    /// The place of the filter whose values are those named, counted from 1; 0 if none is named.
    fn filter_of(&self, charge: &Charge) -> Result<usize, Reason> {
        let Some(named) = self.filter else { return Ok(0) };
        let is_it = |filter: &Filter| {
            let says = |key: &str| {
                named.iter().find(|(name, _)| name == key).and_then(|(_, values)| values.as_list())
            };
            let is_said = |(key, values): &(String, Vec<String>)| {
                says(key).is_some_and(|said| {
                    said.iter().map(Json::as_text).eq(values.iter().map(|text| Some(text.as_str())))
                })
            };
            filter.values.len() == named.len() && filter.values.iter().all(is_said)
        };
        charge.filters.iter().position(is_it).map(|place| place + 1).ok_or(UNKNOWN_CHARGE)
    }

    /// The group with those values. All keys have to be named, be it with null.
    fn group_among(&self, keys: &[String]) -> Result<Group, Reason> {
        if self.group.len() != keys.len() {
            return Err(UNKNOWN_CHARGE);
        }
        if keys.is_empty() {
            return Ok(None);
        }
        let value_of = |key: &String| match self.group.iter().find(|(name, _)| name == key) {
            Some((_, Json::Null)) => Ok(None),
            Some((_, Json::Text(text))) => Ok(Some(Box::from(text.as_str()))),
            _ => Err(UNKNOWN_CHARGE),
        };
        keys.iter().map(value_of).collect::<Result<_, _>>().map(Some)
    }
}

/// One fee of an invoice made by hand.
struct OneOffPrice {
    display_name: String,
    units: Quantity,
    cents: Exact,
}

/// R83: an amount, or units and what one of them costs.
fn one_off_price(json: &Json) -> Result<OneOffPrice, Reason> {
    let display_name = json.get("invoice_display_name").and_then(Json::as_text);
    let display_name = display_name.filter(|name| !name.is_empty()).ok_or(MALFORMED)?.to_owned();
    let units = json.get("units").map(|units| units.as_price().ok_or(MALFORMED)).transpose()?;
    let amount = match json.get("amount_cents") {
        None => None,
        Some(cents) => Some(cents.as_integer().filter(|cents| *cents >= 0).ok_or(MALFORMED)?),
    };
    let unit_price =
        json.get("unit_amount_cents").map(|price| price.as_price().ok_or(MALFORMED)).transpose()?;
    match (amount, units, unit_price) {
        (Some(cents), units, None) => Ok(OneOffPrice {
            display_name,
            units: units.unwrap_or(Quantity::ONE),
            cents: Exact::whole(cents),
        }),
        (None, Some(units), Some(price)) => {
            let cents = Exact::from(units).times(&price.into());
            Ok(OneOffPrice { display_name, units, cents })
        }
        _ => Err(MALFORMED),
    }
}

impl OneOffPrice {
    fn fee(&self, exponent: i32) -> Fee<'_> {
        Fee {
            fee_type: FeeType::OneOff,
            charge_code: None,
            metric_code: None,
            display_name: Some(&self.display_name),
            filter: None,
            grouped_by: None,
            period: None,
            units: self.units,
            events: 0,
            amount_cents: self.cents.rounded(),
            precise: self.cents.shifted(-exponent),
            edited: false,
        }
    }
}
