//! The text format that Prometheus reads (version 0.0.4), as its documentation has it.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;
type Sample = (String, Labels, f64);
/// The buckets in their order, and the count.
type Histogram = (Vec<(String, f64)>, Option<f64>);

/// A family of figures: its type, and each sample's name, labels and value.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) samples: Vec<Sample>,
}

/// Reads a page, or says which line is wrong and why.
pub(super) fn read(page: &str) -> Result<BTreeMap<String, Family>, String> {
    if !page.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut current = String::new();
    for line in page.lines() {
        let wrong = |why: &str| Err(format!("{why}: {line}"));
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').ok_or(format!("no help: {line}"))?;
            if !helped.insert(name.to_owned()) {
                return wrong("a second HELP");
            }
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or(format!("no type: {line}"))?;
            if !["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind) {
                return wrong("an unknown type");
            }
            if families.contains_key(name) {
                return wrong("a second TYPE");
            }
            current = name.to_owned();
            families.insert(current.clone(), Family { kind: kind.to_owned(), samples: Vec::new() });
        } else if line.starts_with('#') || line.is_empty() {
            return wrong("nobody needs it");
        } else {
            let (name, labels, value) = sample(line)?;
            let Some(family) = families.get_mut(&current) else { return wrong("no TYPE before it") };
            let ends: &[&str] =
                if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            if !ends.iter().any(|end| name == format!("{current}{end}")) {
                return wrong("it stands among another family's");
            }
            if family.samples.iter().any(|(other, known, _)| (other, known) == (&name, &labels)) {
                return wrong("a second figure with the same labels");
            }
            family.samples.push((name, labels, value));
        }
    }
    families.iter().try_for_each(|(name, family)| check_family(name, family))?;
    Ok(families)
}

fn check_family(name: &str, family: &Family) -> Result<(), String> {
    if family.kind == "counter" && !name.ends_with("_total") {
        return Err(format!("the counter {name} isn't named _total"));
    }
    if family.kind != "histogram" {
        return Ok(());
    }
    let mut all: BTreeMap<Labels, Histogram> = BTreeMap::new();
    for (sample, labels, value) in &family.samples {
        let mut labels = labels.clone();
        let bound = labels.remove("le");
        let entry = all.entry(labels).or_default();
        match bound {
            Some(bound) => entry.0.push((bound, *value)),
            None if sample.ends_with("_count") => entry.1 = Some(*value),
            None => {}
        }
    }
    for (labels, (buckets, count)) in all {
        let is_growing = buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1);
        let last = buckets.last().filter(|(bound, _)| bound == "+Inf").map(|(_, value)| *value);
        if !is_growing || last.is_none() || last != count {
            return Err(format!("{name} {labels:?} is no histogram: {buckets:?}, {count:?}"));
        }
    }
    Ok(())
}

fn sample(line: &str) -> Result<Sample, String> {
    let wrong = |why: &str| format!("{why}: {line}");
    let end = line.find(['{', ' ']).ok_or(wrong("no value"))?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, ":") {
        return Err(wrong("no metric's name"));
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").ok_or(wrong("no label"))?;
            if !is_name(label, "") {
                return Err(wrong("no label's name"));
            }
            let end = closing_quote(after).ok_or(wrong("a label's value doesn't end"))?;
            if labels.insert(label.to_owned(), after[..end].to_owned()).is_some() {
                return Err(wrong("a label named twice"));
            }
            rest = &after[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').ok_or(wrong("no value"))?;
    let value = value.parse().map_err(|_| wrong("no number"))?;
    Ok((name.to_owned(), labels, value))
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(place, letter)| {
        let closes = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        closes.then_some(place)
    })
}

fn is_name(text: &str, more: &str) -> bool {
    let mut letters = text.chars();
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_' || more.contains(letter);
    letters.next().is_some_and(is_letter)
        && letters.all(|letter| is_letter(letter) || letter.is_ascii_digit())
}

#[test]
fn pages_that_prometheus_would_refuse_are_refused() {
    let good = "# HELP a_total Help.\n# TYPE a_total counter\na_total{x=\"1\",y=\"\\\"}\"} 2\na_total 0.5\n";
    assert_eq!(read(good).expect("it is good")["a_total"].samples.len(), 2);
    for (bad, why) in [
        ("a 1\n", "no TYPE before it"),
        ("# TYPE a gauge\nb 1\n", "another family's"),
        ("# TYPE a gauge\na x\n", "no number"),
        ("# TYPE a gauge\na 1", "no end"),
        ("# TYPE a gauge\na 1\na 2\n", "same labels"),
        ("# TYPE a gauge\na{x=1} 2\n", "no label"),
        ("# TYPE a gauge\na{1x=\"1\"} 2\n", "label's name"),
        ("# TYPE a counter\na 1\n", "isn't named _total"),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_count 1\n", "no histogram"),
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 2\n", "no histogram"),
    ] {
        let found = read(bad).expect_err(bad);
        assert!(found.contains(why), "{found}");
    }
}
