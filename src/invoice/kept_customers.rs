//! The texts of customers. Several share a document; what is as it usually is isn't written.

use ecow::EcoString;
use serde::{Deserialize, Serialize};

use super::books::{Coupon, CouponValue, Customer, Money};
use super::keep::{Opened, Unreadable};
use super::kept::is_false;
use super::kept_terms::{KnownTerms, TermsText};
use super::shared::Shared;
use crate::catalog::customer::{CustomerTerms, NO_TERMS};

/// External id, name, entity, and what only some have.
#[derive(Serialize, Deserialize)]
pub(super) struct CustomerText<'a>(
    EcoString,
    Option<EcoString>,
    u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")] Option<CustomerRestText<'a>>,
);

#[derive(Default, Serialize, Deserialize)]
struct CustomerRestText<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    terms: Option<TermsText<'a>>,
    #[serde(default, skip_serializing_if = "is_false")]
    removed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    money: Option<MoneyText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    numbers: Vec<(u32, u32)>,
}

#[derive(Serialize, Deserialize)]
struct MoneyText {
    coupons: Vec<CouponText>,
    credit_notes: Vec<i128>,
    wallet: i128,
}

#[derive(Serialize, Deserialize)]
struct CouponText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    balance: Option<i128>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<i128>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<super::quantity::Quantity>,
    invoices_left: Option<u32>,
}

impl CustomerText<'_> {
    pub(super) fn of(customer: &Customer) -> CustomerText<'_> {
        let rest = CustomerRestText {
            terms: (*customer.terms != NO_TERMS).then(|| TermsText::ToWrite(&customer.terms)),
            removed: customer.is_removed,
            money: customer.rare.money.as_ref().map(MoneyText::of),
            numbers: customer.counts(),
        };
        let is_plain =
            rest.terms.is_none() && !rest.removed && rest.money.is_none() && rest.numbers.is_empty();
        let rest = (!is_plain).then_some(rest);
        CustomerText(customer.external_id.clone(), customer.name().cloned(), customer.entity(), rest)
    }

    pub(super) fn external_id(&self) -> &str {
        &self.0
    }

    pub(super) fn read(
        self,
        key: &str,
        known: &mut KnownTerms,
        terms: &mut Shared<CustomerTerms>,
    ) -> Opened<Customer> {
        let CustomerText(external_id, name, entity, rest) = self;
        let rest = rest.unwrap_or_default();
        let terms = known.read(rest.terms.as_ref(), terms);
        let terms = terms.ok_or_else(|| Unreadable(format!("document {key} holds no customer")))?;
        let mut customer = Customer::new(external_id, terms, entity);
        customer.call(name);
        customer.is_removed = rest.removed;
        customer.put_counts(rest.numbers);
        if let Some(money) = rest.money {
            customer.rare.money = Some(money.read());
        }
        Ok(customer)
    }
}

impl MoneyText {
    fn of(money: &Money) -> MoneyText {
        let coupon = |coupon: &Coupon| {
            let mut text = CouponText {
                balance: None,
                amount: None,
                percent: None,
                invoices_left: coupon.invoices_left,
            };
            match coupon.value {
                CouponValue::Balance(cents) => text.balance = Some(cents),
                CouponValue::AmountEach(cents) => text.amount = Some(cents),
                CouponValue::Percent(rate) => text.percent = Some(rate),
            }
            text
        };
        MoneyText {
            coupons: money.coupons.iter().map(coupon).collect(),
            credit_notes: money.credit_notes.clone(),
            wallet: money.wallet,
        }
    }

    fn read(self) -> Money {
        let coupon = |text: CouponText| Coupon {
            value: match (text.balance, text.amount, text.percent) {
                (Some(cents), _, _) => CouponValue::Balance(cents),
                (_, Some(cents), _) => CouponValue::AmountEach(cents),
                (_, _, rate) => CouponValue::Percent(rate.unwrap_or_default()),
            },
            invoices_left: text.invoices_left,
        };
        Money {
            coupons: self.coupons.into_iter().map(coupon).collect(),
            credit_notes: self.credit_notes,
            wallet: self.wallet,
        }
    }
}
