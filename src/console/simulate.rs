//! `graceline simulate`: the books over a file, with no clock but the file's.
//!
//! Nothing is written before the last line has been read: a bad line leaves no half of an answer behind. What is written
//! waits in memory, and on disk where it is large.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek, Write};
use std::path::Path;

use serde_json::value::RawValue;

use super::envelope::{Line, Record, read_line};
use crate::catalog::json::Json;
use crate::catalog::settings::Settings;
use crate::ingest::command::read_command;
use crate::ingest::dialect::read_usage;
use crate::invoice::books::{Books, CommandRecord, Fates, Input, Place, UsageRecord};
use crate::invoice::instant::Instant;
use crate::invoice::notice::Notice;
use crate::invoice::write::{Object, push_text};

/// What went wrong, and on which line.
pub struct BadLine {
    pub number: u64,
    pub problem: String,
}

pub enum SimulateError {
    BadLine(BadLine),
    Io(io::Error),
}

impl From<io::Error> for SimulateError {
    fn from(error: io::Error) -> SimulateError {
        SimulateError::Io(error)
    }
}

/// Runs the books over `input`, and writes everything they say to `output`.
pub fn simulate(
    mut input: impl BufRead,
    output: &mut impl Write,
    until: Option<Instant>,
    with_books: bool,
) -> Result<(), SimulateError> {
    let mut story = Story::new(until);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        let trimmed = line.trim_ascii();
        if !trimmed.is_empty() {
            story.tell(trimmed).map_err(|told| told.at_line(number))?;
        }
    }
    story.end(with_books)?;
    story.spool.copy_to(output)?;
    Ok(())
}

/// Opens the file, or the standard input for `-`.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::BufReader::with_capacity(1 << 20, io::stdin())));
    }
    Ok(Box::new(io::BufReader::with_capacity(1 << 20, File::open(path)?)))
}

enum Told {
    Bad(String),
    Io(io::Error),
}

impl Told {
    fn at_line(self, number: u64) -> SimulateError {
        match self {
            Told::Bad(problem) => SimulateError::BadLine(BadLine { number, problem }),
            Told::Io(error) => SimulateError::Io(error),
        }
    }
}

impl From<io::Error> for Told {
    fn from(error: io::Error) -> Told {
        Told::Io(error)
    }
}

struct Story {
    books: Option<Books>,
    until: Option<Instant>,
    last_at: Option<Instant>,
    offsets: BTreeMap<&'static str, u64>,
    sequence: u64,
    spool: Spool,
    text: Vec<u8>,
}

const TOPICS: [&str; 3] = ["usage.events", "billing.catalog", "billing.commands"];

impl Story {
    fn new(until: Option<Instant>) -> Story {
        Story {
            books: None,
            until,
            last_at: None,
            offsets: BTreeMap::new(),
            sequence: 0,
            spool: Spool::default(),
            text: Vec::new(),
        }
    }

    fn tell(&mut self, line: &[u8]) -> Result<(), Told> {
        match read_line(line).map_err(Told::Bad)? {
            Line::Config(json) => self.configure(&json),
            Line::Time(at) => {
                if self.clock_reads(at)? {
                    self.books().decide(at, &Input::Tick);
                    self.write_notices()?;
                }
                Ok(())
            }
            Line::Record(record) => self.take(&record),
        }
    }

    fn configure(&mut self, json: &Json) -> Result<(), Told> {
        if self.books.is_some() {
            return Err(Told::Bad("`config` can only stand on the first line".to_owned()));
        }
        if let Json::Object(members) = json
            && let Some((name, _)) =
                members.iter().find(|(name, _)| !Settings::MEMBERS.contains(&name.as_str()))
        {
            return Err(Told::Bad(format!("`config` has no member `{name}`")));
        }
        let settings = Settings::read(json).map_err(|fault| {
            Told::Bad(format!("`config` can't be used: {} at {}", fault.reason, fault.pointer))
        })?;
        self.books = Some(Books::new(settings));
        Ok(())
    }

    fn books(&mut self) -> &mut Books {
        self.books.get_or_insert_with(|| Books::new(Settings::default()))
    }

    /// Checks that time doesn't go back; says whether the line is to be applied.
    fn clock_reads(&mut self, at: Instant) -> Result<bool, Told> {
        if let Some(last) = self.last_at.filter(|last| at < *last) {
            return Err(Told::Bad(format!("`at` goes back from {last} to {at}")));
        }
        self.last_at = Some(at);
        self.books();
        Ok(self.until.is_none_or(|until| at <= until))
    }

    fn take(&mut self, record: &Record<'_>) -> Result<(), Told> {
        let Some(topic) = TOPICS.into_iter().find(|topic| *topic == record.topic) else {
            return Err(Told::Bad(format!("unknown topic `{}`", record.topic)));
        };
        let is_applied = self.clock_reads(record.at)?;
        let offset = self.offsets.entry(topic).or_insert(0);
        let place = Place { topic, partition: 0, offset: *offset };
        *offset += 1;
        if !is_applied {
            return Ok(());
        }
        let headers: Vec<(&str, &[u8])> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        decide(self.books(), record.at, place, record.key.as_deref(), record.value.as_deref(), &headers);
        self.write_notices()?;
        Ok(())
    }

    fn write_notices(&mut self) -> io::Result<()> {
        let notices = self.books().take_notices();
        for notice in notices {
            self.text.clear();
            let sequence = notice.is_webhook().then(|| {
                self.sequence += 1;
                self.sequence - 1
            });
            write_notice(&notice, sequence, &mut self.text);
            self.spool.write_all(&self.text)?;
        }
        Ok(())
    }

    fn end(&mut self, with_books: bool) -> io::Result<()> {
        if let Some(until) = self.until.filter(|until| self.last_at.is_none_or(|last| last < *until)) {
            self.books().decide(until, &Input::Tick);
        } else if let (Some(until), Some(last)) = (self.until, self.last_at)
            && until <= last
        {
            self.books().decide(until, &Input::Tick);
        }
        self.write_notices()?;
        if with_books {
            let line = books_line(self.books().fates());
            self.spool.write_all(&line)?;
        }
        Ok(())
    }
}

/// Hands a record to the books as what its topic makes it.
pub fn decide(
    books: &mut Books,
    at: Instant,
    place: Place<'_>,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, &[u8])],
) {
    let bytes = value.unwrap_or_default();
    match place.topic {
        "billing.catalog" => books.decide(at, &Input::Catalog { key, value, headers }),
        "billing.commands" => {
            let command = read_command(bytes);
            books.decide(at, &Input::Command(CommandRecord { key, value, headers, command }));
        }
        _ => {
            let format = books.settings().format.into();
            let is_small = bytes.len() <= books.settings().max_event_bytes;
            let event = if is_small {
                read_usage(format, bytes, headers)
            } else {
                Err(crate::invoice::usage::Malformed)
            };
            books.decide(at, &Input::Usage(UsageRecord { key, value, headers, place, event, id_hash: None }));
        }
    }
}

/// One line of output, with its end.
pub fn write_notice(notice: &Notice, sequence: Option<u64>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.instant("at", Some(notice.at));
    object.text("topic", &notice.topic.default_name());
    object.optional("key", notice.key.as_deref(), push_bytes);
    let mut headers = Object::open(object.member("headers"));
    for (name, value) in &notice.headers {
        push_bytes(headers.named_member(name), value);
    }
    if let Some(sequence) = sequence {
        headers.text("graceline-seq", &sequence.to_string());
    }
    headers.close();
    match &notice.value {
        None => object.member("value").extend_from_slice(b"null"),
        Some(value) if notice.is_webhook() || is_json_line(value) => {
            object.member("value").extend_from_slice(value)
        }
        Some(value) => push_bytes(object.member("text"), value),
    }
    object.close();
    out.push(b'\n');
}

/// Whether bytes can stand in a line as they are.
fn is_json_line(bytes: &[u8]) -> bool {
    !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
        && std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok())
}

/// Writes bytes as a JSON string; those that are no text stay as they are. Half a surrogate pair is escaped, as it came.
fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return push_text(out, text);
    }
    out.push(b'"');
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        let mut quoted = Vec::new();
        push_text(&mut quoted, chunk.valid());
        out.extend_from_slice(&quoted[1..quoted.len() - 1]);
        rest = &rest[chunk.valid().len()..];
        match *rest {
            [0xED, high @ 0xA0..=0xBF, low @ 0x80..=0xBF, ..] => {
                let half = 0xD000 | u32::from(high & 0x3F) << 6 | u32::from(low & 0x3F);
                out.extend_from_slice(format!("\\u{half:04x}").as_bytes());
                rest = &rest[3..];
            }
            _ => {
                out.extend_from_slice(chunk.invalid());
                rest = &rest[chunk.invalid().len()..];
            }
        }
    }
    out.push(b'"');
}

fn books_line(fates: Fates) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    let mut books = Object::open(object.member("books"));
    let mut counts = Object::open(books.member("fates"));
    counts.number("billed", fates.billed);
    counts.number("late", fates.late);
    counts.number("duplicate", fates.duplicate);
    counts.number("parked", fates.parked);
    counts.number("rejected", fates.rejected);
    counts.number("cancelled", fates.cancelled);
    counts.close();
    books.close();
    object.close();
    out.push(b'\n');
    out
}

/// Output that waits: in memory, and in a file without a name once it is large.
#[derive(Default)]
struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
}

const MEMORY_BYTES_MAX: usize = 64 << 20;

impl Spool {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.memory.extend_from_slice(bytes);
        if self.memory.len() > MEMORY_BYTES_MAX {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(unnamed_file()?),
            };
            file.write_all(&self.memory)?;
            self.memory.clear();
        }
        Ok(())
    }

    fn copy_to(&mut self, output: &mut impl Write) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.rewind()?;
            io::copy(&mut file.take(u64::MAX), output)?;
        }
        output.write_all(&self.memory)?;
        output.flush()
    }
}

/// A temporary file that goes with the process: its name is removed while it is open.
fn unnamed_file() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("graceline-simulate-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that a string stands for are written as `written`.
    #[track_caller]
    fn check(bytes: &[u8], written: &[u8]) {
        let mut out = Vec::new();
        push_bytes(&mut out, bytes);
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(written));
        assert_eq!(out, written);
    }

    #[test]
    fn half_a_surrogate_pair_is_written_as_it_came() {
        check(b"a\xed\xa0\x80\"\xed\xbf\xbf", br#""a\ud800\"\udfff""#);
        check(b"\xed\x9f\xbf\xee\x80\x80", b"\"\xed\x9f\xbf\xee\x80\x80\"");
        check(b"\xff\xed\xa0", b"\"\xff\xed\xa0\"");
    }
}
