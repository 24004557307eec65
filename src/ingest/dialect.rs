//! The dialects of usage, and how one is told from another.

use crate::catalog::settings;
use crate::invoice::usage::{Malformed, UsageEvent};

use super::envelope::{Envelope, Member};
use super::json::Reader;
use super::{cloudevents, lago, stripe};

/// How usage is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    Lago,
    Stripe,
    CloudEvents,
    /// Each record says by its members which one it is.
    #[default]
    Auto,
}

impl From<settings::Format> for Format {
    fn from(format: settings::Format) -> Format {
        match format {
            settings::Format::Lago => Format::Lago,
            settings::Format::Stripe => Format::Stripe,
            settings::Format::CloudEvents => Format::CloudEvents,
            settings::Format::Auto => Format::Auto,
        }
    }
}

/// The headers of a record, in its order.
pub type Headers<'a> = &'a [(&'a str, &'a [u8])];

/// Reads a record as a usage event (R50, `malformed`).
pub fn read_usage<'a>(
    format: Format,
    value: &'a [u8],
    headers: Headers<'a>,
) -> Result<UsageEvent<'a>, Malformed> {
    if matches!(format, Format::CloudEvents | Format::Auto) && cloudevents::is_binary(headers) {
        return cloudevents::read_binary(value, headers);
    }
    let mut envelope = Envelope::new(Reader::open(value)?);
    envelope.fill()?;
    match format {
        Format::Lago => lago::read(&mut envelope),
        Format::Stripe => stripe::read(&mut envelope),
        Format::CloudEvents => cloudevents::read_structured(&mut envelope),
        Format::Auto => read_by_shape(&mut envelope),
    }
}

fn read_by_shape<'a>(envelope: &mut Envelope<'a>) -> Result<UsageEvent<'a>, Malformed> {
    if envelope.specversion.is_there() {
        return cloudevents::read_structured(envelope);
    }
    if envelope.event_name.is_there() {
        return stripe::read(envelope);
    }
    let of_lago = [envelope.transaction_id, envelope.external_subscription_id, envelope.code];
    if of_lago.into_iter().any(Member::is_there) { lago::read(envelope) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::invoice::usage::Whose;

    const LAGO: &str = r#"{"transaction_id":"1","external_subscription_id":"s","code":"c",
        "timestamp":"5","properties":{"a":1}}"#;
    const STRIPE: &str =
        r#"{"event_name":"c","identifier":"1","timestamp":5,"payload":{"stripe_customer_id":"s"}}"#;
    const CLOUDEVENTS: &str =
        r#"{"specversion":"1.0","id":"1","source":"x","type":"c","subject":"s","data":{"a":1}}"#;

    fn read(format: Format, text: &str) -> Result<UsageEvent<'_>, Malformed> {
        read_usage(format, text.as_bytes(), &[])
    }

    /// The content of an event with these members beside the ones it must have.
    fn content(members: &str) -> u64 {
        let event = format!(r#"{{"external_subscription_id":"s","code":"c"{members}}}"#);
        read(Format::Lago, &event).unwrap_or_else(|_| panic!("{event} is usage")).content
    }

    fn content_of(properties: &str) -> u64 {
        content(&format!(r#","properties":{properties}"#))
    }

    #[test]
    fn auto_tells_dialects_by_their_members() {
        for (format, text) in
            [(Format::Lago, LAGO), (Format::Stripe, STRIPE), (Format::CloudEvents, CLOUDEVENTS)]
        {
            assert!(read(format, text).is_ok());
            assert_eq!(read(Format::Auto, text), read(format, text));
        }
    }

    #[test]
    fn the_telling_member_may_come_last_and_others_may_be_anything() {
        let stripe = r#"{"code":5,"properties":[],"payload":{"stripe_customer_id":"s"},"event_name":"c"}"#;
        assert_eq!(read(Format::Auto, stripe).map(|event| event.whose), Ok(Whose::Customer("s".into())));
        let cloudevents = r#"{"event_name":5,"code":{},"subject":"s","type":"c","specversion":"1.0"}"#;
        assert_eq!(read(Format::Auto, cloudevents).map(|event| event.whose), Ok(Whose::Either("s".into())));
        let lago =
            r#"{"specversion":null,"event_name":null,"payload":1,"external_subscription_id":"s","code":"c"}"#;
        assert_eq!(read(Format::Auto, lago).map(|event| event.whose), Ok(Whose::Subscription("s".into())));
    }

    #[test]
    fn a_shape_of_no_dialect_is_malformed() {
        for text in
            ["{}", r#"{"timestamp":5,"properties":{}}"#, r#"{"id":"1","type":"c","subject":"s"}"#, "[]", "5"]
        {
            assert_eq!(read(Format::Auto, text), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn headers_mean_nothing_to_other_dialects() {
        let headers: Headers = &[("ce_specversion", b"1.0"), ("ce_type", b"t"), ("ce_subject", b"s")];
        assert_eq!(read_usage(Format::Lago, LAGO.as_bytes(), headers), read(Format::Lago, LAGO));
        assert_eq!(read_usage(Format::Stripe, STRIPE.as_bytes(), headers), read(Format::Stripe, STRIPE));
    }

    #[test]
    fn content_is_the_same_in_every_spelling() {
        for (one, other) in [
            (r#"{"a":1000}"#, r#"{"a":1e3}"#),
            (r#"{"a":1000}"#, r#" { "a" : 1000.0 } "#),
            (r#"{"a":0}"#, r#"{"a":-0}"#),
            (r#"{"a":0}"#, r#"{"a":0.0e99999999999999999999}"#),
            (r#"{"a":12.34}"#, r#"{"a":1234e-2}"#),
            (r#"{"a":-12.34}"#, r#"{"a":-0.12340E2}"#),
            (r#"{"a":1e400}"#, r#"{"a":10e399}"#),
            (r#"{"a":1e99999999999999999999}"#, r#"{"a":10e99999999999999999998}"#),
            (r#"{"a":"b","c":true}"#, r#"{"a": "b","c" :true}"#),
            (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#),
            (
                r#"{"a":{"x":1,"y":[1.0,{"z":null,"w":true}]}}"#,
                r#"{"a":{"y":[1,{"w":true,"z":null}],"x":1e0}}"#,
            ),
            (r#"{"a":"é\n"}"#, r#"{"\u0061":"\u00e9\u000a"}"#),
            (r#"{"a\"b":"c\\d"}"#, r#"{"\u0061\u0022b":"c\u005cd"}"#),
            (r#"{"a":[]}"#, r#"{"a":[ ]}"#),
            ("{}", "null"),
        ] {
            assert_eq!(content_of(one), content_of(other), "{one} is {other}");
        }
        assert_eq!(content(""), content_of("{}"));
        let amount = |written: &str| content(&format!(r#","precise_total_amount_cents":{written}"#));
        for other in ["12.50", "125e-1", r#""12.5""#, r#""012.50""#] {
            assert_eq!(amount("12.5"), amount(other), "12.5 is {other}");
        }
    }

    #[test]
    fn other_content_has_another_digest() {
        let all = [
            "{}",
            r#"{"a":5}"#,
            r#"{"a":"5"}"#,
            r#"{"a":-5}"#,
            r#"{"a":5.1}"#,
            r#"{"a":50}"#,
            r#"{"a":null}"#,
            r#"{"a":"null"}"#,
            r#"{"a":true}"#,
            r#"{"a":false}"#,
            r#"{"a":"true"}"#,
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            r#"{"a":[[]]}"#,
            r#"{"a":[{}]}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":[12]}"#,
            r#"{"a":["1","2"]}"#,
            r#"{"a":["1,2"]}"#,
            r#"{"a":["1\",\"2"]}"#,
            r#"{"a":[null]}"#,
            r#"{"a":[null,null]}"#,
            r#"{"a":{"b":5}}"#,
            r#"{"a":{"b":"5"}}"#,
            r#"{"a":"{\"b\":5}"}"#,
            r#"{"a":"b","c":"d"}"#,
            r#"{"a":"d","c":"b"}"#,
            r#"{"a":"b\",\"c\":\"d"}"#,
            r#"{"a\":\"b":"c"}"#,
            r#"{"a":"b\":\"c"}"#,
            r#"{"":"a"}"#,
            r#"{"a":""}"#,
            r#"{"a":"\u0000"}"#,
            r#"{"a":" "}"#,
            r#"{"A":5}"#,
            r#"{"aa":5}"#,
            r#"{"a":1e400}"#,
            r#"{"a":1e401}"#,
            r#"{"a":1e-400}"#,
            r#"{"a":"1e400"}"#,
            r#"{"a":{"a":{"a":5}}}"#,
            r#"{"a":{"a":5}}"#,
        ];
        let mut digests: Vec<u64> = all.iter().map(|properties| content_of(properties)).collect();
        for amount in ["0", "1", r#""""#, r#""null""#, r#""1e0""#] {
            digests.push(content(&format!(r#","precise_total_amount_cents":{amount}"#)));
        }
        for timestamp in ["0", "1", "0.000000001"] {
            digests.push(content(&format!(r#","timestamp":{timestamp}"#)));
        }
        digests.push(content(r#","timestamp":0,"precise_total_amount_cents":"0""#));
        let distinct: BTreeSet<&u64> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
    }

    #[test]
    fn content_is_what_r52_says_and_nothing_else() {
        let digest = |text: &str| read(Format::Auto, text).unwrap().content;
        let lago = digest(LAGO);
        let other_id = LAGO.replace(r#""1""#, r#""2""#).replace(r#""s""#, r#""t""#).replace(r#""5""#, "5.0");
        let cloudevents = r#"{"specversion":"1.0","type":"c","subject":"s",
            "time":"1970-01-01T01:00:05+01:00","data":{"a":1.0}}"#;
        assert_eq!(lago, digest(&other_id));
        assert_eq!(lago, digest(cloudevents));
        assert_ne!(lago, digest(&cloudevents.replace(r#""c""#, r#""d""#)));
        assert_ne!(lago, digest(&cloudevents.replace("05+01", "06+01")));
    }

    #[test]
    fn stored_digests_stay_what_they_are() {
        assert_eq!(read(Format::Lago, LAGO).unwrap().content, 7_291_711_837_054_132_029);
        let nested = r#"{"a":[1,{"b":1.50,"c":null}],"d":"é","e":1e400}"#;
        assert_eq!(content_of(nested), 8_099_454_856_681_923_791);
    }

    proptest! {
        #[test]
        fn any_bytes_are_usage_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let binary: Headers = &[("ce_specversion", b"1.0"), ("ce_type", b"t"), ("ce_subject", b"s")];
            for format in [Format::Lago, Format::Stripe, Format::CloudEvents, Format::Auto] {
                let _ = read_usage(format, &bytes, &[]);
                let _ = read_usage(format, &bytes, binary);
            }
        }

        #[test]
        fn a_broken_event_is_usage_or_malformed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            for text in [LAGO, STRIPE, CLOUDEVENTS] {
                let mut bytes = text.as_bytes().to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                let _ = read_usage(Format::Auto, &bytes, &[]);
                let _ = read_usage(Format::Auto, &bytes[..at], &[]);
            }
        }

        #[test]
        fn the_order_of_members_is_no_content(
            members in prop::collection::btree_map("[a-c\"\\\\é]{0,10}", "[a-c\"\\\\é]{0,20}", 0..24),
            seed in any::<u64>(),
        ) {
            let quoted = |text: &String| serde_json::to_string(text).unwrap();
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
            let mut shuffled = members.clone();
            shuffled.sort_by_key(|member| member.len() as u64 ^ seed);
            let object = |members: &[String]| format!("{{{}}}", members.join(","));
            prop_assert_eq!(content_of(&object(&members)), content_of(&object(&shuffled)));
            let nested = |members: &[String]| format!("{{\"in\":[{}]}}", object(members));
            prop_assert_eq!(content_of(&nested(&members)), content_of(&nested(&shuffled)));
            if !members.is_empty() {
                prop_assert_ne!(content_of(&object(&members)), content_of(&object(&members[1..])));
            }
        }

        #[test]
        fn texts_that_differ_have_other_digests(
            one in "[ab\":{}\\\\]{0,12}",
            other in "[ab\":{}\\\\]{0,12}",
        ) {
            let quoted = |text: &str| serde_json::to_string(text).unwrap();
            let as_value = |text: &str| content_of(&format!("{{\"a\":{}}}", quoted(text)));
            let as_name = |text: &str| content_of(&format!("{{{}:\"a\"}}", quoted(text)));
            prop_assert_eq!(as_value(&one) == as_value(&other), one == other);
            prop_assert_eq!(as_name(&one) == as_name(&other), one == other);
        }
    }
}
