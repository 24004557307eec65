//! Usage as Lago's users send it.

use crate::invoice::usage::{EventId, Malformed, UsageEvent, Whose};

use super::content::condense_content;
use super::envelope::Envelope;

pub(super) fn read<'a>(envelope: &mut Envelope<'a>) -> Result<UsageEvent<'a>, Malformed> {
    let code = envelope.text(envelope.code)?.ok_or(Malformed)?;
    let happened_at = envelope.instant(envelope.timestamp)?;
    let properties = envelope.properties.take()?;
    let (precise_amount, amount) = envelope.amount(envelope.precise_total_amount_cents)?;
    Ok(UsageEvent {
        id: envelope.text(envelope.transaction_id)?.map(EventId::One),
        whose: Whose::Subscription(envelope.text(envelope.external_subscription_id)?.ok_or(Malformed)?),
        content: condense_content(&code, happened_at, &properties, &amount),
        code,
        happened_at,
        properties: properties.members,
        precise_amount,
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use crate::ingest::dialect::{Format, read_usage};
    use crate::invoice::instant::{Instant, SECOND};
    use crate::invoice::usage::{EventId, Malformed, UsageEvent, Value, Whose};

    fn read(text: &str) -> Result<UsageEvent<'_>, Malformed> {
        read_usage(Format::Lago, text.as_bytes(), &[])
    }

    fn check_refused(text: &str) {
        assert_eq!(read(text), Err(Malformed), "{text}");
    }

    #[test]
    fn every_member_finds_its_place() {
        let event = read(
            r#"{"transaction_id": "t1", "external_subscription_id": "sub_1", "code": "api_calls",
                "timestamp": 1673457300.25,
                "properties": {"calls": "5", "region": "eu", "n": 1e3, "ok": true, "none": null, "more": [1]},
                "precise_total_amount_cents": "12.5", "external_customer_id": {"any": "thing"}}"#,
        )
        .unwrap();
        assert_eq!(event.id, Some(EventId::One("t1".into())));
        assert_eq!(event.whose, Whose::Subscription("sub_1".into()));
        assert_eq!(event.code, "api_calls");
        assert_eq!(event.happened_at, Some(Instant(1_673_457_300 * SECOND + SECOND / 4)));
        assert_eq!(event.precise_amount, Value::Text("12.5".into()));
        let properties = [
            ("calls", Value::Text("5".into())),
            ("region", Value::Text("eu".into())),
            ("n", Value::Number("1e3".into())),
            ("ok", Value::Bool(true)),
            ("none", Value::Null),
            ("more", Value::Nested),
        ];
        assert_eq!(event.properties, properties.map(|(name, value)| (Cow::Borrowed(name), value)));
    }

    #[test]
    fn what_is_absent_may_also_be_null() {
        let short = read(r#"{"external_subscription_id":"s","code":"c"}"#).unwrap();
        assert_eq!((&short.id, short.happened_at, &short.precise_amount), (&None, None, &Value::Null));
        assert!(short.properties.is_empty());
        let nulls = r#"{"external_subscription_id":"s","code":"c","transaction_id":null,"timestamp":null,
            "properties":null,"precise_total_amount_cents":null}"#;
        assert_eq!(read(nulls), Ok(short));
    }

    #[test]
    fn names_and_values_may_be_escaped() {
        let event = read(
            r#"{"external_\u0073ubscription_id":"s\u00fcb","c\u006fde":"c\\d","properties":{"\u0061":"\n"}}"#,
        );
        let event = event.unwrap();
        assert_eq!((&event.whose, &*event.code), (&Whose::Subscription("süb".into()), "c\\d"));
        assert_eq!(event.properties, [("a".into(), Value::Text("\n".into()))]);
    }

    #[test]
    fn without_code_or_subscription_it_is_malformed() {
        check_refused(r#"{"external_subscription_id":"s"}"#);
        check_refused(r#"{"code":"c"}"#);
        check_refused(r#"{"external_subscription_id":null,"code":"c"}"#);
        check_refused(r#"{"external_subscription_id":"s","code":null}"#);
        check_refused("{}");
    }

    #[test]
    fn a_member_of_the_wrong_type_is_malformed() {
        for wrong in [
            r#""transaction_id":1"#,
            r#""transaction_id":["t"]"#,
            r#""timestamp":true"#,
            r#""timestamp":[]"#,
            r#""timestamp":{}"#,
            r#""timestamp":"yesterday""#,
            r#""timestamp":"""#,
            r#""timestamp":1e-10"#,
            r#""timestamp":"1e9""#,
            r#""properties":[1]"#,
            r#""properties":"{}""#,
            r#""properties":0"#,
        ] {
            check_refused(&format!(r#"{{"external_subscription_id":"s","code":"c",{wrong}}}"#));
        }
        check_refused(r#"{"external_subscription_id":1,"code":"c"}"#);
        check_refused(r#"{"external_subscription_id":"s","code":{"c":1}}"#);
    }

    #[test]
    fn an_amount_is_carried_as_it_is_written() {
        let amount = |text: &str| {
            let event = format!(
                r#"{{"external_subscription_id":"s","code":"c","precise_total_amount_cents":{text}}}"#
            );
            format!("{:?}", read(&event).unwrap().precise_amount)
        };
        assert_eq!(amount("12.50"), r#"Number("12.50")"#);
        assert_eq!(amount("null"), "Null");
        for wrong in ["false", "[1]", "{}"] {
            check_refused(&format!(
                r#"{{"external_subscription_id":"s","code":"c","precise_total_amount_cents":{wrong}}}"#
            ));
        }
    }

    #[test]
    fn unknown_members_are_checked_all_the_same() {
        check_refused(r#"{"external_subscription_id":"s","code":"c","x":1,"x":2}"#);
        check_refused(r#"{"external_subscription_id":"s","code":"c","x":{"y":1,"y":2}}"#);
        check_refused(r#"{"external_subscription_id":"s","code":"c","code":"c"}"#);
        check_refused(r#"{"external_subscription_id":"s","code":"c","x":null,"x":null}"#);
        check_refused(r#"{"external_subscription_id":"s","code":"c","timestamp":null,"timestamp":1}"#);
        check_refused(r#"{"external_subscription_id":"s","code":"c","properties":null,"properties":{}}"#);
        check_refused(r#"{"external_subscription_id":"s","code":"c","properties":{"a":1,"a":1}}"#);
        check_refused(r#"{"external_subscription_id":"s","code":"c","properties":{"a":{"b":1,"b":1}}}"#);
        check_refused(r#"{"external_subscription_id":"s","code":"c","code":"\ud800"}"#);
        check_refused(r#"{"external_subscription_id":"s","code":"c","x":"\ud800"}"#);
        check_refused(r#"{"external_subscription_id":"s","code":"c"} {}"#);
    }

    #[test]
    fn nesting_is_counted_from_the_outermost_object() {
        let nest = |member: &str, lists: usize| {
            let (open, close) = ("[".repeat(lists), "]".repeat(lists));
            format!(r#"{{"external_subscription_id":"s","code":"c",{member}{open}{close}"#)
        };
        for (member, end, own) in [(r#""x":"#, "}", 1), (r#""properties":{"a":"#, "}}", 2)] {
            let fits = nest(member, 128 - own) + end;
            assert!(read(&fits).is_ok(), "{member}");
            check_refused(&(nest(member, 129 - own) + end));
        }
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        for text in ["", "null", "42", "hello", r#""{}""#, "[]", r#"["t1","s","c"]"#, "\u{feff}{}"] {
            check_refused(text);
        }
    }
}
