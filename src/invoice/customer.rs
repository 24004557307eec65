//! What is known of a customer, in as little room as possible: there are as many as subscriptions.

use std::sync::Arc;

use ecow::EcoString;

use super::books::{Money, Named};
use super::few::Few;
use super::rare::{Blank, Rare};
use crate::catalog::customer::CustomerTerms;

pub struct Customer {
    pub external_id: EcoString,
    name: EcoString,
    has_name: bool,
    pub is_removed: bool,
    pub terms: Arc<CustomerTerms>,
    entity: u32,
    /// Finalized invoices counted for the entity.
    invoices: u32,
    pub subscriptions: Few<u32>,
    pub rare: Rare<CustomerRare>,
}

/// What few customers have.
#[derive(Default)]
pub struct CustomerRare {
    pub money: Option<Money>,
    /// Finalized invoices counted, for each other entity that the customer has belonged to.
    elsewhere: Vec<(u32, u32)>,
}

impl Blank for CustomerRare {
    const BLANK: &'static CustomerRare = &CustomerRare { money: None, elsewhere: Vec::new() };
}

impl Named for Customer {
    fn external_id(&self) -> &str {
        &self.external_id
    }
}

impl Customer {
    pub fn new(external_id: EcoString, terms: Arc<CustomerTerms>, entity: u32) -> Customer {
        Customer {
            external_id,
            name: EcoString::new(),
            has_name: false,
            is_removed: false,
            terms,
            entity,
            invoices: 0,
            subscriptions: Few::default(),
            rare: Rare::default(),
        }
    }

    pub fn name(&self) -> Option<&EcoString> {
        self.has_name.then_some(&self.name)
    }

    pub fn call(&mut self, name: Option<EcoString>) {
        self.has_name = name.is_some();
        self.name = name.unwrap_or_default();
    }

    pub fn money_mut(&mut self) -> Option<&mut Money> {
        match self.rare.money {
            Some(_) => self.rare.money.as_mut(),
            None => None,
        }
    }

    pub fn entity(&self) -> u32 {
        self.entity
    }

    /// Belongs to an entity from now on; what was counted for another isn't forgotten.
    pub fn belong_to(&mut self, entity: u32) {
        if entity != self.entity {
            let counts = self.counts();
            self.entity = entity;
            self.put_counts(counts);
        }
    }

    /// The next number among the invoices that the entity finalizes for this customer.
    pub fn count_invoice(&mut self) -> u32 {
        self.invoices += 1;
        self.invoices
    }

    /// Finalized invoices counted, by entity.
    pub fn counts(&self) -> Vec<(u32, u32)> {
        let own = (self.invoices > 0).then_some((self.entity, self.invoices));
        own.into_iter().chain(self.rare.elsewhere.iter().copied()).collect()
    }

    pub fn put_counts(&mut self, counts: Vec<(u32, u32)>) {
        let (own, elsewhere): (Vec<_>, Vec<_>) =
            counts.into_iter().partition(|(entity, _)| *entity == self.entity);
        self.invoices = own.first().map_or(0, |(_, count)| *count);
        if !elsewhere.is_empty() || !self.rare.elsewhere.is_empty() {
            self.rare.elsewhere = elsewhere;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::customer::NO_TERMS;

    #[test]
    fn a_customer_takes_little_room() {
        assert!(size_of::<Customer>() <= 80, "{}", size_of::<Customer>());
    }

    #[test]
    fn each_entity_goes_on_counting_where_it_was() {
        let mut customer = Customer::new("c".into(), Arc::new(NO_TERMS), 3);
        let mut told = Vec::new();
        for entity in [3, 3, 5, 3, 5, 7] {
            customer.belong_to(entity);
            told.push(customer.count_invoice());
        }
        assert_eq!(told, [1, 2, 1, 3, 2, 1]);
        let counts = customer.counts();
        let mut again = Customer::new("c".into(), Arc::new(NO_TERMS), 7);
        again.put_counts(counts);
        assert_eq!((again.count_invoice(), again.counts()), (2, vec![(7, 2), (5, 2), (3, 3)]));
    }
}
