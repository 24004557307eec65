use super::*;
use crate::invoice::notice::Event;

const DOCUMENTED: &str = include_str!("../../config/graceline.toml");

fn file(text: &str) -> Sources {
    let mut sources = Sources::default();
    sources.read_file("graceline.toml", text);
    sources
}

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let mut sources = file(text);
    sources.read_environment(env.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    let mut reader = Reader::new(sources);
    let config = Config::read(&mut reader);
    let problems: Vec<String> = reader.end().iter().map(Problem::to_string).collect();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

#[track_caller]
fn loaded(text: &str, env: &[(&str, &str)]) -> Config {
    load(text, env).unwrap_or_else(|problems| panic!("{}", problems.join("\n")))
}

#[track_caller]
fn check_problems(text: &str, env: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(load(text, env).expect_err("something is wrong"), expected);
}

#[test]
fn the_documented_file_says_every_key_with_its_default() {
    let documented = loaded(DOCUMENTED, &[]);
    assert_eq!(format!("{documented:#?}"), format!("{:#?}", Config::default()));
    let sources = file(DOCUMENTED);
    let given: Vec<String> = sources.given.keys().cloned().collect();
    let mut reader = Reader::new(sources);
    Config::read(&mut reader);
    for key in reader.known() {
        let name = key.rsplit('.').next().expect("a key has a name");
        let is_there =
            given.iter().any(|given| given == key) || DOCUMENTED.contains(&format!("\n# {name} = "));
        assert!(is_there, "{key} is not in config/graceline.toml");
    }
}

#[test]
fn no_key_of_the_documented_file_is_without_effect() {
    let default = format!("{:?}", Config::default());
    for (key, given) in &file(DOCUMENTED).given {
        let name = format!("GRACELINE__{}", key.to_uppercase().replace('.', "__"));
        let other = match (&given.value, key.as_str()) {
            (sources::Value::Section, _) => continue,
            (_, "topics.retention" | "billing.default_grace" | "billing.lateness_limit") => "P2D",
            (_, "billing.future_limit" | "billing.parking_limit" | "billing.refresh_interval") => "PT2H",
            (_, "billing.clock_skew_limit") => "PT2S",
            (_, "billing.refresh") => "at_finalization",
            (_, "kafka.group_protocol") => "auto",
            (_, "usage.format" | "webhooks.dialect") => "stripe",
            (_, "redis.url") => "redis://elsewhere:1",
            (_, "log.format") => "json",
            (_, "log.filter") => "warn",
            (sources::Value::Text(_), key) if key.ends_with("brokers") || key.ends_with("listen") => {
                "elsewhere:1"
            }
            (sources::Value::Text(_), _) => "other",
            _ if key.ends_with("bytes_max") => "7777777",
            _ => "77",
        };
        let config = loaded("", &[(&name, other)]);
        assert_ne!(format!("{config:?}"), default, "{name}={other}");
    }
}

#[test]
fn a_key_without_a_default_can_be_set_by_the_environment_too() {
    let default = format!("{:?}", Config::default());
    for (name, value) in [
        ("GRACELINE__TOPICS__REPLICATION", "3"),
        ("GRACELINE__REDIS__SENTINEL_MASTER", "master"),
        ("GRACELINE__REDIS__SENTINEL_USERNAME", "ann"),
        ("GRACELINE__BILLING__WILL_BE_DUE_DAYS", "7"),
    ] {
        assert_ne!(format!("{:?}", loaded("", &[(name, value)])), default, "{name}");
    }
    let password = loaded("", &[("GRACELINE__REDIS__SENTINEL_PASSWORD", "canary")]).redis.sentinel_password;
    assert_eq!(password.as_deref(), Some("canary"));
    for name in ["CA_FILE", "CERT_FILE", "KEY_FILE"] {
        let variable = format!("GRACELINE__REDIS__{name}");
        let problems = load("", &[(&variable, "/no/such/file")]).expect_err("there is no such file");
        assert!(!problems[0].contains("no such key"), "{problems:?}");
    }
}

/// Words of the pages that look like keys: in backticks with a section before the point, or as variables.
fn named_keys(page: &str) -> Vec<String> {
    const SECTIONS: [&str; 9] =
        ["kafka", "redis", "topics", "usage", "webhooks", "http", "billing", "shard", "log"];
    let mut keys = Vec::new();
    for word in page.split(|letter: char| !letter.is_ascii_alphanumeric() && !"_.`".contains(letter)) {
        if let Some(name) = word.trim_matches(['`', '.']).strip_prefix("GRACELINE__") {
            keys.push(name.to_lowercase().replace("__", "."));
        } else if let Some(name) = word.strip_prefix('`').and_then(|word| word.strip_suffix('`'))
            && name.split_once('.').is_some_and(|(section, _)| SECTIONS.contains(&section))
        {
            keys.push(name.to_owned());
        }
    }
    keys
}

#[test]
fn the_pages_name_no_key_that_there_is_not() {
    let mut reader = Reader::new(file(""));
    let config = Config::read(&mut reader);
    let mut topics: Vec<String> =
        config.topic_names(Dialect::Graceline).all().into_iter().map(|topic| topic.name).collect();
    topics.extend(Event::ALL.map(|event| event.name(Dialect::Graceline).to_owned()));
    let mut count = 0;
    for page in [include_str!("../../README.md"), include_str!("../../docs/REDIS.md"), DOCUMENTED] {
        for key in named_keys(page) {
            let is_key = reader.known().contains(&key.as_str()) || key.starts_with("kafka.properties.");
            assert!(is_key || topics.contains(&key), "there is no key {key}");
            count += usize::from(is_key);
        }
    }
    assert!(count > 10, "only {count} keys were found in the pages");
}

#[test]
fn the_environment_goes_before_the_file() {
    let text = "[kafka]\nbrokers = 'a:1'\ngroup = 'from the file'\n[topics]\npartitions = 3\n[billing]\nwill_be_due_days = 5";
    let env = [
        ("GRACELINE__KAFKA__BROKERS", "b:2,c:3"),
        ("GRACELINE__TOPICS__PARTITIONS", "12"),
        ("GRACELINE__BILLING__DEFAULT_GRACE", "5"),
        ("GRACELINE__BILLING__WILL_BE_DUE_DAYS", ""),
        ("GRACELINE__HTTP__LISTEN", ""),
        ("RUST_LOG", "debug"),
        ("GRACELINE_HOME", "anything"),
    ];
    let config = loaded(text, &env);
    assert_eq!(config.kafka.brokers, "b:2,c:3");
    assert_eq!(config.kafka.group, "from the file");
    assert_eq!(config.kafka.partitions, 12);
    assert_eq!(config.settings().default_grace.to_string(), "P5D");
    assert_eq!(config.settings().will_be_due_days, None);
    assert_eq!(config.http_listen, None);
}

#[test]
fn properties_have_dots_in_the_environment_too() {
    let text = "[kafka.properties]\n\"session.timeout.ms\" = 9000\nlinger.ms = 7\n\"client.rack\" = 'a_b'";
    let env = [("GRACELINE__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "12000")];
    let properties = loaded(text, &env).kafka.properties;
    let expected = [("client.rack", "a_b"), ("linger.ms", "7"), ("session.timeout.ms", "12000")];
    assert_eq!(properties, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = "
[kafka]
broker = 'a:1'
[topics]
partitions = '8'
replication = 0
[billing]
default_grace = 'P1M'
refresh = 3
[shrad]
[webhooks]
dialect = 'legacy'
topics = { 'invoice.nothing' = 'x', 'invoice.voided' = 'a b' }
";
    let env = [("GRACELINE__HTTP__LISTEN", "8080"), ("GRACELINE__SHARD", "1"), ("GRACELINE__NEWS__X", "1")];
    let problems = load(text, &env).expect_err("much is wrong");
    let sections =
        "there are [billing], [http], [kafka], [log], [redis], [shard], [topics], [usage], [webhooks]";
    let expected = [
        "billing.default_grace (graceline.toml, line 8): wanted is an ISO 8601 duration without years and months, such \
         as \"P3D\" or \"PT72H\", or a number of days",
        "billing.refresh (graceline.toml, line 9): wanted is \"continuous\" or \"at_finalization\"",
        "http.listen (GRACELINE__HTTP__LISTEN): wanted is host:port, or \"\" for none, not \"8080\"",
        "kafka.broker (graceline.toml, line 3): no such key; [kafka] has brokers, group, group_protocol, \
         fetch_wait_ms, read_ahead_bytes_max, catalog_window_bytes_max, handover_ms_max, ends_ms_max, properties",
        &format!("news.x (GRACELINE__NEWS__X): no such key; {sections}"),
        "shard (GRACELINE__SHARD): is a section, not a key",
        &format!("shrad (graceline.toml, line 10): no such key; {sections}"),
        "topics.partitions (graceline.toml, line 5): wanted is a whole number from 1 to 100000, not \"8\"",
        "topics.replication (graceline.toml, line 6): wanted is a whole number from 1 to 32767, not 0",
        "webhooks.dialect (graceline.toml, line 12): wanted is \"graceline\", \"lago\", \"stripe\" or \"hyperline\"",
        "webhooks.topics.invoice.nothing (graceline.toml, line 13): no such webhook; there are invoice.created, \
         invoice.drafted, invoice.finalized, invoice.overdue, invoice.payment_dispute_lost, invoice.payment_overdue, \
         invoice.payment_overdue_cleared, invoice.payment_status_updated, invoice.ready, invoice.updated, \
         invoice.voided, invoice.will_be_due, usage.late, usage.unbillable",
        "webhooks.topics.invoice.voided (graceline.toml, line 13): wanted is a topic's name: up to 249 letters, \
         digits, `.`, `_` or `-`",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn sections_and_keys_are_not_mixed_up() {
    check_problems("kafka = 3", &[], &["kafka (graceline.toml, line 1): is a section, not a key"]);
    check_problems(
        "[kafka.brokers]\nx = 1",
        &[],
        &[
            "kafka.brokers (graceline.toml, line 1): wanted is host:port, several with commas between them, not a section",
            "kafka.brokers.x (graceline.toml, line 2): no such key; [kafka] has brokers, group, group_protocol, \
             fetch_wait_ms, read_ahead_bytes_max, catalog_window_bytes_max, handover_ms_max, ends_ms_max, properties",
        ],
    );
    check_problems(
        "\"log.format\" = 'json'\n[log]\nformat = 'json'",
        &[],
        &[
            "log.format (graceline.toml, line 1): stands there a second time; the other is in graceline.toml, line 3",
        ],
    );
    check_problems(
        "",
        &[("GRACELINE__LOG__FORMAT", "json"), ("GRACELINE__log__format", "json")],
        &["log.format (GRACELINE__log__format): GRACELINE__LOG__FORMAT sets the same key: take one away"],
    );
}

#[test]
fn a_file_that_is_no_toml_is_named_with_its_line() {
    let problems = load("[redis]\nurl = 'redis://:canary@a\n", &[]).expect_err("a quote is missing");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("graceline.toml, line 2: not TOML: "), "{problems:?}");
    assert!(!problems[0].contains("canary"), "{problems:?}");
    let gone =
        Config::load(Some(Path::new("no/such/file.toml")), std::iter::empty()).expect_err("it isn't there");
    assert!(gone[0].to_string().starts_with("no/such/file.toml: can't be read: "), "{gone:?}");
}

#[test]
fn secrets_are_in_no_message() {
    let secrets = [
        ("GRACELINE__REDIS__URL", "redis://ann:canary@host:1"),
        ("GRACELINE__REDIS__SENTINEL_PASSWORD", "canary"),
        ("GRACELINE__KAFKA__PROPERTIES__SASL_PASSWORD", "canary"),
    ];
    let config = loaded("", &secrets);
    assert!(config.redis.url.contains("canary"));
    assert!(!format!("{config:?}").contains("canary"));
    let wrong = [
        ("GRACELINE__REDIS__URL", "htpp://ann:canary@host:1"),
        ("GRACELINE__KAFKA__PROPERTIES__SASL_PASWORD", "canary"),
        ("GRACELINE__KAFKA__PROPERTIES__LINGER_MS", "canary"),
    ];
    check_problems(
        "redis.sentinel_password = 7777",
        &wrong,
        &[
            "kafka.properties.linger.ms (GRACELINE__KAFKA__PROPERTIES__LINGER_MS): the Kafka client refuses it: Invalid \
             value for configuration property \"queue.buffering.max.ms\"",
            "kafka.properties.sasl.pasword (GRACELINE__KAFKA__PROPERTIES__SASL_PASWORD): the Kafka client refuses it: \
             No such configuration property: \"sasl.pasword\"",
            "redis.sentinel_password (graceline.toml, line 1): wanted is a text",
            "redis.url (GRACELINE__REDIS__URL): must be redis[s]://[user:password@]host[:port][,host[:port]…][/database] \
             or unix:///path",
        ],
    );
}

#[test]
fn webhooks_find_their_topics() {
    let config = loaded(
        "[topics]\nprefix = 'eu.'\n[webhooks.topics]\n'invoice.finalized' = 'bills'\n'invoice.overdue' = 'dunning'\n\
         'invoice.voided' = 'bills'",
        &[("GRACELINE__WEBHOOKS__TOPICS__INVOICE_PAYMENT_STATUS_UPDATED", "payments")],
    );
    let names = [
        ("invoice.drafted", "eu.webhooks.invoice.drafted"),
        ("invoice.finalized", "eu.bills"),
        ("invoice.created", "eu.bills"),
        ("invoice.overdue", "eu.dunning"),
        ("invoice.payment_overdue", "eu.webhooks.invoice.payment_overdue"),
        ("invoice.payment_status_updated", "eu.payments"),
    ];
    for (webhook, topic) in names {
        assert_eq!(config.webhook_topic(webhook), topic);
    }
    let names = config.topic_names(Dialect::Stripe);
    assert_eq!(names.usage, "eu.usage.events");
    assert_eq!(names.webhooks.len(), 10);
    assert!(names.webhooks.contains(&"eu.dunning".to_owned()));
}

#[test]
fn a_variable_beats_the_file_where_only_an_underscore_differs() {
    let config = loaded(
        "[webhooks.topics]\n'invoice.payment_overdue' = 'from-file'",
        &[("GRACELINE__WEBHOOKS__TOPICS__INVOICE_PAYMENT_OVERDUE", "from-env")],
    );
    assert_eq!(config.webhook_topic("invoice.payment_overdue"), "from-env");
}

#[test]
fn topics_that_would_feed_themselves_are_refused() {
    check_problems(
        "[topics]\nusage_rejected = 'usage.events'\n[webhooks.topics]\n'usage.late' = 'billing.commands'",
        &[],
        &[
            "topics.usage_rejected (graceline.toml, line 2): topics.usage is the same topic: give each its own",
            "webhooks.topics.usage.late (graceline.toml, line 4): topics.commands is the same topic: webhooks need \
             topics of their own",
        ],
    );
}

#[test]
fn settings_take_what_catalog_records_take() {
    for (given, shown) in [("'P3DT12H'", "P3DT12H"), ("4", "P4D"), ("'PT72H'", "PT72H"), ("0", "P0D")] {
        let config = loaded(&format!("[billing]\ndefault_grace = {given}"), &[]);
        assert_eq!(config.settings().default_grace.to_string(), shown);
    }
    for wrong in ["''", "'P1Y'", "-1", "1.5", "true", "[1]", "'3'"] {
        assert!(load(&format!("[billing]\ndefault_grace = {wrong}"), &[]).is_err(), "{wrong}");
    }
    let wanted = "wanted is a number of bytes from 1 to 104857600 (100 MiB)";
    for wrong in ["0", "104857601"] {
        let line = format!("usage.max_event_bytes (graceline.toml, line 1): {wanted}");
        check_problems(&format!("usage.max_event_bytes = {wrong}"), &[], &[&line]);
    }
}

#[test]
fn a_grace_that_cant_collect_usage_to_its_end_is_warned_about() {
    assert!(Config::default().warnings().is_empty());
    let config = loaded("billing.default_grace = 'P36D'\nkafka.properties.'group.id' = 'x'", &[]);
    let warnings = config.warnings();
    assert!(warnings[0].starts_with("kafka.properties.group.id is not followed"), "{warnings:?}");
    assert!(warnings[1].starts_with("billing.default_grace (P36D) is longer than"), "{warnings:?}");
    assert!(loaded("billing.default_grace = 'P35D'", &[]).warnings().is_empty());
}
