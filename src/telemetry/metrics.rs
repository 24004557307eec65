//! Figures: plain atomic numbers, and their text form for Prometheus.
//!
//! Labels are shards, logs, fates and reasons, a fixed handful each. Nothing here ever bears a customer's name.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a family's figures do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

/// How long something took, counted by upper bounds.
#[derive(Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

/// Half a millisecond to ten seconds.
const BOUNDS_MICROS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

impl Histogram {
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS_MICROS.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// A counter for each of a fixed set of labels, and one for all that is none of them.
pub struct Labelled<const N: usize> {
    names: &'static [&'static str; N],
    counts: [AtomicU64; N],
    other: AtomicU64,
}

impl<const N: usize> Labelled<N> {
    pub fn new(names: &'static [&'static str; N]) -> Labelled<N> {
        Labelled { names, counts: std::array::from_fn(|_| AtomicU64::new(0)), other: AtomicU64::new(0) }
    }

    pub fn add(&self, name: &str, count: u64) {
        let place = self.names.iter().position(|known| *known == name);
        place.map_or(&self.other, |place| &self.counts[place]).fetch_add(count, Ordering::Relaxed);
    }

    /// Every label that has been counted.
    pub fn counted(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let known = self.names.iter().copied().zip(&self.counts);
        let all =
            known.chain([("other", &self.other)]).map(|(name, count)| (name, count.load(Ordering::Relaxed)));
        all.filter(|(_, count)| *count > 0)
    }
}

/// A page of figures that is being written. Every family is named `graceline_…`.
#[derive(Default)]
pub struct Page {
    text: String,
}

impl Page {
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head(name, kind, help);
    }

    /// One figure of the family that was named last.
    pub fn figure(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.line(name, labels, None, value);
    }

    /// A family of histograms of seconds, one for each of some labels.
    pub fn histograms<'a>(
        &mut self,
        name: &str,
        help: &str,
        all: impl Iterator<Item = (Vec<(&'a str, &'a dyn Display)>, &'a Histogram)>,
    ) {
        self.head(name, "histogram", help);
        for (labels, histogram) in all {
            let mut count = 0;
            for (place, found) in histogram.counts.iter().enumerate() {
                count += found.load(Ordering::Relaxed);
                let bound = BOUNDS_MICROS.get(place).map_or("+Inf".to_owned(), |micros| seconds(*micros));
                self.line(&format!("{name}_bucket"), &labels, Some(("le", &bound)), count);
            }
            let sum = seconds(histogram.sum_micros.load(Ordering::Relaxed));
            self.line(&format!("{name}_sum"), &labels, None, sum);
            self.line(&format!("{name}_count"), &labels, None, count);
        }
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.push(format_args!("# HELP graceline_{name} {help}\n# TYPE graceline_{name} {kind}\n"));
    }

    fn line(
        &mut self,
        name: &str,
        labels: &[(&str, &dyn Display)],
        more: Option<(&str, &str)>,
        value: impl Display,
    ) {
        self.push(format_args!("graceline_{name}"));
        let more = more.as_ref().map(|(name, value)| (*name, value as &dyn Display));
        for (place, (label, value)) in labels.iter().copied().chain(more).enumerate() {
            let separator = if place == 0 { '{' } else { ',' };
            self.push(format_args!("{separator}{label}=\"{value}\""));
        }
        let end = if labels.is_empty() && more.is_none() { "" } else { "}" };
        self.push(format_args!("{end} {value}\n"));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a text takes everything");
    }
}

/// Microseconds as seconds, in decimal.
pub fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_count_up_to_their_bounds() {
        let histogram = Histogram::default();
        for micros in [500, 501, 20_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut page = Page::default();
        page.histograms(
            "commit_seconds",
            "Help.",
            std::iter::once((vec![("shard", &3 as &dyn Display)], &histogram)),
        );
        let text = page.into_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + 15 + 2);
        assert_eq!(lines[1], "# TYPE graceline_commit_seconds histogram");
        assert_eq!(lines[2], "graceline_commit_seconds_bucket{shard=\"3\",le=\"0.0005\"} 1");
        assert_eq!(lines[3], "graceline_commit_seconds_bucket{shard=\"3\",le=\"0.001\"} 2");
        assert_eq!(lines[15], "graceline_commit_seconds_bucket{shard=\"3\",le=\"10\"} 2");
        assert_eq!(lines[16], "graceline_commit_seconds_bucket{shard=\"3\",le=\"+Inf\"} 3");
        assert_eq!(lines[17], "graceline_commit_seconds_sum{shard=\"3\"} 20.001001");
        assert_eq!(lines[18], "graceline_commit_seconds_count{shard=\"3\"} 3");
    }

    #[test]
    fn a_label_that_nobody_knows_is_other() {
        let counts = Labelled::new(&["malformed", "too_late"]);
        counts.add("too_late", 2);
        counts.add("customer 4711", 1);
        assert_eq!(counts.counted().collect::<Vec<_>>(), [("too_late", 2), ("other", 1)]);
    }

    #[test]
    fn a_figure_without_labels_has_no_braces() {
        let mut page = Page::default();
        page.family("up", Kind::Gauge, "Help.");
        page.figure("up", &[], 1);
        assert_eq!(
            page.into_text(),
            "# HELP graceline_up Help.\n# TYPE graceline_up gauge\ngraceline_up 1\n"
        );
    }
}
