//! Usage as Stripe's meter events carry it.

use std::borrow::Cow;

use crate::invoice::usage::{EventId, Malformed, UsageEvent, Value, Whose};

use super::content::{Object, condense_content};
use super::envelope::{Envelope, named};

const CUSTOMER: &str = "stripe_customer_id";

pub(super) fn read<'a>(envelope: &mut Envelope<'a>) -> Result<UsageEvent<'a>, Malformed> {
    let code = envelope.text(envelope.event_name)?.ok_or(Malformed)?;
    let happened_at = envelope.instant(envelope.timestamp)?;
    let payload = envelope.payload.take()?;
    Ok(UsageEvent {
        id: envelope.text(envelope.identifier)?.map(EventId::One),
        whose: Whose::Customer(customer(&payload)?),
        content: condense_content(&code, happened_at, &payload, "null"),
        code,
        happened_at,
        properties: payload.members,
        precise_amount: Value::Null,
    })
}

fn customer<'a>(payload: &Object<'a>) -> Result<Cow<'a, str>, Malformed> {
    match payload.members.iter().find(|(name, _)| name == CUSTOMER) {
        Some((_, Value::Text(customer))) => named(customer.clone()),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use crate::ingest::dialect::{Format, read_usage};
    use crate::invoice::instant::{Instant, SECOND};
    use crate::invoice::usage::{EventId, Malformed, UsageEvent, Value, Whose};

    fn read(text: &str) -> Result<UsageEvent<'_>, Malformed> {
        read_usage(Format::Stripe, text.as_bytes(), &[])
    }

    #[test]
    fn the_payload_names_the_customer_and_is_the_properties() {
        let event = read(
            r#"{"event_name":"tokens","identifier":"i1","timestamp":1673457300,
                "payload":{"stripe_customer_id":"cust_1","value":"25","model":"large"}}"#,
        )
        .unwrap();
        assert_eq!(event.id, Some(EventId::One("i1".into())));
        assert_eq!(event.whose, Whose::Customer("cust_1".into()));
        assert_eq!(event.code, "tokens");
        assert_eq!(event.happened_at, Some(Instant(1_673_457_300 * SECOND)));
        let names: Vec<&str> = event.properties.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["stripe_customer_id", "value", "model"]);
        assert_eq!(event.precise_amount, Value::Null);
    }

    #[test]
    fn an_identifier_and_a_timestamp_may_be_missing() {
        let event = read(r#"{"event_name":"tokens","payload":{"stripe_customer_id":"c"},"identifier":null}"#)
            .unwrap();
        assert_eq!((event.id, event.happened_at), (None, None));
    }

    #[test]
    fn without_name_or_customer_it_is_malformed() {
        for text in [
            r#"{"payload":{"stripe_customer_id":"c"}}"#,
            r#"{"event_name":null,"payload":{"stripe_customer_id":"c"}}"#,
            r#"{"event_name":1,"payload":{"stripe_customer_id":"c"}}"#,
            r#"{"event_name":"tokens"}"#,
            r#"{"event_name":"tokens","payload":null}"#,
            r#"{"event_name":"tokens","payload":{}}"#,
            r#"{"event_name":"tokens","payload":{"stripe_customer_id":null}}"#,
            r#"{"event_name":"tokens","payload":{"stripe_customer_id":5}}"#,
            r#"{"event_name":"tokens","payload":["stripe_customer_id"]}"#,
            r#"{"event_name":"tokens","stripe_customer_id":"c","payload":{}}"#,
            r#"{"event_name":"tokens","identifier":5,"payload":{"stripe_customer_id":"c"}}"#,
            r#"{"event_name":"tokens","timestamp":"","payload":{"stripe_customer_id":"c"}}"#,
        ] {
            assert_eq!(read(text), Err(Malformed), "{text}");
        }
    }
}
