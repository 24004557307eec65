#![no_main]

use graceline::invoice::quantity::{Quantity, write_decimal};
use graceline::invoice::usage::Value;
use graceline_fuzz::check_number;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(scaled) = bytes.first_chunk() {
        check_written(i128::from_le_bytes(*scaled));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert_eq!(Quantity::parse_text(text), slowly(text), "{text}");
    if let Some(read) = Quantity::parse_text(text) {
        assert_eq!(Value::Text(read.to_string().into()).as_quantity(), Some(read));
    }
    if text.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok_and(|raw| raw.get() == text)
    {
        check_number(text);
    } else {
        assert_eq!(Quantity::parse_number(text), None, "{text}");
    }
});

/// R54 read word by word.
fn slowly(text: &str) -> Option<Quantity> {
    if text.len() > 64 {
        return None;
    }
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    if whole.is_empty()
        || fraction.is_empty()
        || !(whole.to_owned() + fraction).bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.len() > 15 || fraction.len() > 12 {
        return None;
    }
    format!("0{whole}{fraction:0<12}").parse::<i128>().ok().map(|scaled| Quantity(sign * scaled))
}

fn check_written(scaled: i128) {
    let mut out = Vec::new();
    write_decimal(&mut out, scaled);
    let text = String::from_utf8(out).expect("decimals are ASCII");
    assert_eq!(text, Quantity(scaled).to_string());
    let (sign, digits) = text.strip_prefix('-').map_or(("", &*text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    assert!(!fraction.ends_with('0') && (whole == "0" || !whole.starts_with('0')), "{text}");
    assert_eq!(format!("{sign}{whole}{fraction:0<12}").parse(), Ok(scaled), "{text}");
    assert_eq!(sign == "-", scaled < 0, "{text}");
}
