//! What the program says of itself while it runs: messages, a line each, and figures for Prometheus.

mod metrics;

pub use metrics::{Histogram, Kind, Labelled, Page, seconds};

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, LogSettings};

/// Sends messages to the standard error output from now on. `RUST_LOG` goes before the settings' filter.
pub fn init(settings: &LogSettings) -> Result<(), String> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => EnvFilter::try_new(&text).map_err(|error| {
            format!("RUST_LOG can't be read ({error}): use a filter such as info,graceline::persist=debug")
        })?,
        _ => EnvFilter::try_new(&settings.filter)
            .map_err(|error| format!("log.filter can't be read ({error}): use a filter such as info"))?,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Stderr);
    let started = match settings.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| format!("messages can't be sent anywhere: {error}"))
}

/// The text with its control characters escaped: what came from outside can't begin a line of its own, or speak to the
/// terminal.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\t' => out.push(' '),
            _ if letter.is_control() => {
                write!(out, "{}", letter.escape_default()).expect("a text takes everything")
            }
            _ => out.push(letter),
        }
    }
    Cow::Owned(out)
}

/// The standard error output, an event a line.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Lines<io::StderrLock<'static>>;

    fn make_writer(&'a self) -> Self::Writer {
        Lines(io::stderr().lock())
    }
}

/// Takes one event at a time, whole, and escapes all but its last line end.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event.strip_suffix(b"\n").unwrap_or(event));
        let mut line = escaped(&text).into_owned();
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let mut out = Vec::new();
        Lines(&mut out)
            .write_all("why=a\nINFO forged \u{1b}[2J\u{9b}1m é\t1\r\n".as_bytes())
            .expect("memory takes it");
        assert_eq!(
            String::from_utf8(out).expect("it is text"),
            "why=a\\nINFO forged \\u{1b}[2J\\u{9b}1m é 1\\r\n"
        );
    }
}
