//! What a customer has in hand, and what a finalized invoice takes of it.
//!
//! Coupons come off before tax, credit notes and then the wallet off what is to be paid (R80–R82).

use super::books::{Books, Coupon, CouponValue, Money, Used};
use super::document::{Figures, InvoiceType, WrittenFees};
use super::exact::{Exact, percent};

impl Books {
    /// The figures of an invoice that is being finalized, and what it used up.
    pub(super) fn settle(&mut self, number: u32, fees: WrittenFees) -> (Figures, Used) {
        let bill = &self.bills[number];
        let customer = bill.customer;
        let mut used = Used::default();
        if bill.invoice_type() != InvoiceType::Subscription {
            return (self.figures(bill, fees, 0), used);
        }
        let sum = fees.sum();
        if let Some(money) = self.customers.get_mut(customer).money_mut() {
            used.coupons = money.use_coupons(sum);
        }
        let coupons = used.coupons.iter().map(|(_, cents)| cents).sum();
        let mut figures = self.figures(&self.bills[number], fees, coupons);
        let amounts = &mut figures.amounts;
        if let Some(money) = self.customers.get_mut(customer).money_mut() {
            used.credit_notes = money.use_credit_notes(amounts.including_taxes().max(0));
            amounts.credit_notes = used.credit_notes.iter().map(|(_, cents)| cents).sum();
            used.wallet = money.wallet.clamp(0, amounts.total());
            money.wallet -= used.wallet;
            amounts.prepaid_credit = used.wallet;
        }
        (figures, used)
    }
}

impl Money {
    /// Takes coupons off `sum`, oldest first, each off what those before it left.
    fn use_coupons(&mut self, sum: i128) -> Vec<(usize, i128)> {
        let mut left = sum;
        let mut used = Vec::new();
        for (place, coupon) in self.coupons.iter_mut().enumerate() {
            if left <= 0 {
                break;
            }
            let cents = coupon.worth(left).min(left);
            if cents > 0 {
                coupon.take(cents);
                used.push((place, cents));
                left -= cents;
            }
        }
        used
    }

    fn use_credit_notes(&mut self, payable: i128) -> Vec<(usize, i128)> {
        let mut left = payable;
        let mut used = Vec::new();
        for (place, note) in self.credit_notes.iter_mut().enumerate() {
            let cents = left.min(*note);
            if cents > 0 {
                *note -= cents;
                left -= cents;
                used.push((place, cents));
            }
        }
        used
    }

    pub fn top_up(&mut self, cents: i128) {
        self.wallet = self.wallet.saturating_add(cents);
    }

    /// Gives back what a voided invoice had used.
    pub fn give_back(&mut self, used: &Used) {
        for (place, cents) in &used.coupons {
            self.coupons[*place].give_back(*cents);
        }
        for (place, cents) in &used.credit_notes {
            let note = &mut self.credit_notes[*place];
            *note = note.saturating_add(*cents);
        }
        self.top_up(used.wallet);
    }
}

impl Coupon {
    /// What the coupon takes off `left` cents.
    fn worth(&self, left: i128) -> i128 {
        if self.invoices_left == Some(0) {
            return 0;
        }
        match &self.value {
            CouponValue::Balance(cents) | CouponValue::AmountEach(cents) => *cents,
            CouponValue::Percent(rate) => Exact::whole(left).times(&percent(&(*rate).into())).rounded(),
        }
    }

    fn take(&mut self, cents: i128) {
        if let CouponValue::Balance(balance) = &mut self.value {
            *balance -= cents;
        }
        if let Some(invoices) = &mut self.invoices_left {
            *invoices -= 1;
        }
    }

    fn give_back(&mut self, cents: i128) {
        if let CouponValue::Balance(balance) = &mut self.value {
            *balance += cents;
        }
        if let Some(invoices) = &mut self.invoices_left {
            *invoices += 1;
        }
    }
}
