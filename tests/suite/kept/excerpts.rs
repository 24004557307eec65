//! An excerpt of kept books says of its customer what the books themselves have announced.

use std::cell::RefCell;
use std::collections::BTreeMap;

use graceline::catalog::json::Json;
use graceline::catalog::settings::Settings;
use graceline::invoice::books::Books;
use graceline::invoice::excerpt::{Picked, Standing, register_in, subscriptions_in};
use graceline::invoice::keep::Contents;

use super::{Store, keep, read_story, stories};

/// One excerpt for each customer.
fn excerpts(store: &Store, contents: &Contents, settings: &Settings) -> Vec<Books> {
    let documents = |kind: &str, count: u32| -> Vec<String> {
        (0..count).map(|place| format!("{kind}:{place}")).collect()
    };
    let subscriptions: Vec<u32> = documents("subscriptions", contents.subscription_documents())
        .iter()
        .flat_map(|key| subscriptions_in(key, &store[key]).expect("subscriptions can be read"))
        .map(|label| label.customer)
        .collect();
    let register: Vec<_> = documents("sealed", contents.register_documents())
        .iter()
        .flat_map(|key| register_in(key, &store[key]).expect("the register can be read"))
        .collect();
    let excerpt = |customer: u32| {
        let numbers = (0..).zip(&subscriptions).filter(|(_, owner)| **owner == customer);
        let entries = register.iter().filter(|entry| entry.customer() == customer);
        let picked = Picked {
            customer,
            subscriptions: numbers.map(|(number, _)| number).collect(),
            invoices: entries.filter_map(|entry| entry.id()).collect(),
        };
        let keys = picked.keys(contents);
        let documents = keys.into_iter().map(|key| (key.clone(), store.get(&key).cloned()));
        Books::excerpt(settings.clone(), contents, &picked, documents).expect("an excerpt can be opened")
    };
    (0..contents.people().0).map(excerpt).collect()
}

fn json_of(standing: &Standing) -> Json {
    let mut text = Vec::new();
    standing.document.write_to(Some(standing.version), &mut text);
    Json::read(&text).expect("a document is JSON")
}

#[test]
fn excerpts_say_what_was_announced_and_explain_it() {
    let mut explained = String::new();
    let mut sealed = 0;
    for (name, input) in stories() {
        let store = RefCell::<Store>::default();
        // The last that webhooks have said of each invoice.
        let mut announced: BTreeMap<String, Json> = BTreeMap::new();
        read_story(&input, &store, |_, books, settings| {
            for notice in books.take_notices() {
                let json = notice.value.as_deref().and_then(Json::read);
                let invoice = json.as_ref().and_then(|json| json.get("invoice"));
                if let (true, Some(invoice)) = (notice.is_webhook(), invoice) {
                    let id = invoice.get("id").and_then(Json::as_text).expect("an invoice has an id");
                    announced.insert(id.to_owned(), invoice.clone());
                }
            }
            let mut store = store.borrow_mut();
            let contents = keep(books, &mut store);
            let mut found: BTreeMap<String, Standing> = BTreeMap::new();
            for excerpt in excerpts(&store, &contents, settings) {
                for standing in excerpt.standings() {
                    let id = standing.document.id.to_string();
                    let lines = excerpt.explain(&id, None).expect("what is there can be explained");
                    assert!(lines.iter().any(|line| line.starts_with("total: ")), "{name}: {lines:?}");
                    explained.push_str(&lines.join("\n"));
                    explained.push('\n');
                    found.insert(id, standing);
                }
            }
            for (id, announced) in &announced {
                let standing = found.get(id).unwrap_or_else(|| panic!("{name}: {id} isn't there"));
                // A draft may bear usage that nobody was told of yet.
                if standing.status != "draft" {
                    assert_eq!(&json_of(standing), announced, "{name}");
                    sealed += 1;
                }
            }
        });
    }
    assert!(sealed > 0, "no invoice was compared");
    for part in [
        "; it is accruing: its period still runs; nobody was told of it yet",
        "; it is a draft; it was announced once",
        "'s: the customer has none, and no rule holds and fits",
        " to the change of plan at ",
        "base fee: 7.26 EUR, 15.00 × 15 of 31 days",
        "late usage: storage, 4 units of gb in 1 event: 1.00 EUR",
        "  what the usage of ",
        "late: it takes 1 event of the period from ",
        "  somebody edited it",
        "  4 × 0.25",
        "taxes: 1.50, on each fee the entity's gst 10 %",
        "coupons: 5.00, taken off before tax, the oldest first",
        "so it was to be finalized at ",
    ] {
        assert!(explained.contains(part), "no story is explained with {part:?}");
    }
}
