//! A month of usage: one metric, one plan with one charge, many customers with one subscription each.

use graceline::invoice::books::{Books, Input};
use graceline::invoice::instant::Instant;

/// How many records there are between two commits.
pub(crate) const KEPT_TOGETHER: usize = 2_000;

const METRIC: &str = r#"{"kind":"billable_metric","code":"api","name":"Calls","aggregation_type":"sum_agg","field_name":"units"}"#;

const PLAN: &str = r#"{"kind":"plan","code":"basic","name":"Basic","interval":"monthly","amount_cents":0,"amount_currency":"USD","charges":[{"code":"api","billable_metric_code":"api","charge_model":"standard","properties":{"amount":"0.001"}}]}"#;

pub(crate) struct Month {
    subscriptions: usize,
    beginning: Instant,
    /// When the events arrive.
    pub(crate) middle: Instant,
    /// When all periods are over and all drafts open.
    pub(crate) after: Instant,
}

impl Month {
    pub(crate) fn new(subscriptions: usize) -> Month {
        let instant = |text: &str| Instant::parse_rfc3339(text).expect("the instant is sound");
        Month {
            subscriptions,
            beginning: instant("2026-01-01T00:00:00Z"),
            middle: instant("2026-01-20T00:00:00Z"),
            after: instant("2026-02-02T00:00:00Z"),
        }
    }

    /// Brings the catalog, and all customers with their subscriptions.
    pub(crate) fn fill(&self, books: &mut Books) {
        self.put(books, "billable_metric/api", METRIC);
        self.put(books, "plan/basic", PLAN);
        for number in 0..self.subscriptions {
            let customer = format!(
                r#"{{"kind":"customer","external_id":"cus_{number:07}","name":"Customer {number}"}}"#
            );
            self.put(books, &format!("customer/cus_{number:07}"), &customer);
            let subscription = format!(
                r#"{{"kind":"subscription","external_id":"sub_{number:07}","external_customer_id":"cus_{number:07}","plan_code":"basic","started_at":"2026-01-01T00:00:00Z"}}"#
            );
            self.put(books, &format!("subscription/sub_{number:07}"), &subscription);
            if number % KEPT_TOGETHER == 0 {
                drop(books.take_changes());
            }
        }
        let refused: Vec<_> =
            books.take_notices().into_iter().filter(|notice| !notice.headers.is_empty()).collect();
        assert!(refused.is_empty(), "the catalog is sound: {:?}", refused[0].headers);
    }

    fn put(&self, books: &mut Books, key: &str, value: &str) {
        let input = Input::Catalog { key: Some(key.as_bytes()), value: Some(value.as_bytes()), headers: &[] };
        books.decide(self.beginning, &input);
    }

    /// Events of about 300 bytes, each of another subscription than the one before.
    pub(crate) fn events(&self, numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
        numbers.map(|number| self.event(number).into_bytes()).collect()
    }

    pub(crate) fn event(&self, number: usize) -> String {
        let mixed = mixed(number);
        let seconds = 1_767_225_600 + (mixed >> 40) % 1_500_000;
        self.event_of((mixed >> 20) as usize % self.subscriptions, seconds, number)
    }

    /// An event of a subscription, some seconds after 1970.
    pub(crate) fn event_of(&self, subscription: usize, seconds: u64, number: usize) -> String {
        let mixed = mixed(number);
        format!(
            r#"{{"transaction_id":"{mixed:016x}-{number:012}","external_subscription_id":"sub_{subscription:07}","code":"api","timestamp":"{seconds}.123","properties":{{"units":"{}.5","region":"eu-west-1","tier":"standard","endpoint":"/v2/projects/00042/documents/search","source":"public-gateway-042"}}}}"#,
            mixed % 100
        )
    }
}

fn mixed(number: usize) -> u64 {
    (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
