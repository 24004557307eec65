//! The schemas in schemas/ say what goes in and what comes out: of the stories in tests/scenarios, and of every example
//! in the documentation.

mod examples;
mod validator;

use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::value::RawValue;
use validator::Schemas;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn schemas() -> Schemas {
    Schemas::read(&root().join("schemas"))
}

/// The stories' files of that name, with the story's own.
fn stories(file: &str) -> Vec<(String, String)> {
    let Ok(folders) = std::fs::read_dir(root().join("tests/scenarios")) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = folders.filter_map(|folder| Some(folder.ok()?.path())).collect();
    paths.sort();
    let texts = paths.into_iter().filter_map(|folder| {
        let name = folder.file_name()?.to_string_lossy().into_owned();
        Some((name, std::fs::read_to_string(folder.join(file)).ok()?))
    });
    texts.collect()
}

#[test]
fn schemas_are_schemas() {
    let faults = schemas().faults();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn stories_end_as_the_schemas_say() {
    let schemas = schemas();
    let mut faults = Vec::new();
    for (story, text) in stories("output.jsonl") {
        for (index, line) in text.lines().enumerate() {
            let place = format!("{story}/output.jsonl:{}", index + 1);
            match serde_json::from_str(line) {
                Ok(record) => faults.extend(output_faults(&schemas, &record, &place)),
                Err(error) => faults.push(format!("{place}: {error}")),
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// A webhook is looked at by itself first: that names the member instead of the line.
fn output_faults(schemas: &Schemas, record: &Value, place: &str) -> Vec<String> {
    let is_webhook = record["topic"].as_str().is_some_and(|topic| topic.starts_with("webhooks."));
    let inner = if is_webhook { schemas.check("webhooks.json", &record["value"]) } else { Vec::new() };
    let found = if inner.is_empty() { schemas.check("simulate-output.json", record) } else { inner };
    found.into_iter().map(|fault| format!("{place}: {fault}")).collect()
}

/// A line as `simulate` reads it; what stands in `value` may be any JSON.
#[derive(serde::Deserialize)]
struct Line<'a> {
    topic: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    headers: Option<Value>,
}

/// Stories may tell of records that nobody should send, so a schema may refuse a record, but not one that was taken.
#[test]
fn schemas_take_what_the_program_takes() {
    let schemas = schemas();
    let outputs = stories("output.jsonl");
    let mut faults = Vec::new();
    for (story, text) in stories("input.jsonl") {
        let Some((_, output)) = outputs.iter().find(|(name, _)| *name == story) else { continue };
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = format!("{story}/input.jsonl:{}", index + 1);
            faults.extend(
                input_faults(&schemas, line, output).into_iter().map(|fault| format!("{place}: {fault}")),
            );
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn input_faults(schemas: &Schemas, line: &str, output: &str) -> Vec<String> {
    let envelope: Line<'_> = match serde_json::from_str(line) {
        Ok(envelope) => envelope,
        Err(error) => return vec![error.to_string()],
    };
    let whole = serde_json::from_str(line).map(|whole| schemas.check("simulate-input.json", &whole));
    let mut faults = whole.unwrap_or_default();
    let (Some(topic), Some(value)) = (&envelope.topic, envelope.value) else { return faults };
    let is_tombstone = topic == "billing.catalog" && value.get() == "null";
    let is_binary = envelope.headers.is_some_and(|headers| headers.get("ce_specversion").is_some());
    let was_refused = output.lines().any(|line| line.contains(".rejected\"") && line.contains(value.get()));
    if is_tombstone || is_binary || was_refused {
        return faults;
    }
    let schema = match topic.as_str() {
        "usage.events" => "usage.json",
        "billing.catalog" => "catalog.json",
        _ => "commands.json",
    };
    match serde_json::from_str(value.get()) {
        Ok(record) => faults.extend(schemas.check(schema, &record)),
        Err(error) => faults.push(format!("taken, but no JSON: {error}")),
    }
    faults
}
