#![no_main]

use chrono::DateTime;
use graceline::invoice::instant::Instant;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(nanos) = bytes.first_chunk() {
        let at = Instant(i64::from_le_bytes(*nanos));
        assert_eq!(Instant::parse_rfc3339(&at.to_string()), Some(at));
        assert_eq!(Instant::parse_timestamp_text(&at.to_string()), Some(at));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(read) = Instant::parse_rfc3339(text) {
        let other = DateTime::parse_from_rfc3339(text).expect("chrono reads more than this");
        assert_eq!(
            read,
            Instant::from_parts(other.timestamp().into(), other.timestamp_subsec_nanos()),
            "{text}"
        );
        assert_eq!(Instant::parse_rfc3339(&read.to_string()), Some(read), "{text}");
        assert_eq!(Instant::parse_timestamp_text(text), Some(read), "{text}");
    }
    if let (Some(number), Some(seconds)) =
        (Instant::parse_timestamp_number(text), Instant::parse_timestamp_text(text))
    {
        assert_eq!(number, seconds, "{text}");
    }
});
