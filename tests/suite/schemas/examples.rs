//! Every JSON example in the documentation is what it looks like.
//!
//! A block between ```` ```json ```` and ```` ``` ```` holds one document, or one on each line. What a document is, its
//! members tell; where they don't, or where an example isn't whole, a comment above the block does:
//! `<!-- schema: webhook-usage.json -->` or `<!-- schema: none -->`.

use std::path::Path;

use serde_json::Value;

use super::validator::Schemas;
use super::{root, schemas};

#[test]
fn examples_are_as_the_schemas_say() {
    let schemas = schemas();
    let mut pages = vec![root().join("README.md")];
    pages_below(&root().join("docs"), &mut pages);
    pages_below(&root().join("schemas"), &mut pages);
    let mut faults = Vec::new();
    for page in pages {
        let Ok(text) = std::fs::read_to_string(&page) else { continue };
        let name = page.strip_prefix(root()).expect("a page is in the project").display();
        faults.extend(page_faults(&schemas, &text).into_iter().map(|fault| format!("{name}:{fault}")));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn pages_below(folder: &Path, pages: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            pages_below(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
}

/// A block of JSON, and the line that opens it.
struct Block {
    line: usize,
    schema: Option<String>,
    text: String,
}

fn page_faults(schemas: &Schemas, page: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for block in blocks(page) {
        if block.schema.as_deref() == Some("none") {
            continue;
        }
        let documents = match documents(&block.text) {
            Ok(documents) => documents,
            Err(error) => {
                faults.push(format!("{}: no JSON: {error}", block.line));
                continue;
            }
        };
        for document in documents {
            let Some(schema) = block.schema.as_deref().or_else(|| schema_of(&document)) else {
                faults.push(format!("{}: say above the block which schema it follows, or none", block.line));
                continue;
            };
            faults.extend(
                schemas.check(schema, &document).iter().map(|fault| format!("{}: {fault}", block.line)),
            );
        }
    }
    faults
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut schema = None;
    let mut lines = page.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("<!-- schema:") {
            schema = Some(comment.trim_end_matches("-->").trim().to_owned());
        } else if let Some(language) = line.strip_prefix("```") {
            let inner: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```").collect();
            if matches!(language, "json" | "jsonl") {
                blocks.push(Block { line: index + 1, schema: schema.take(), text: inner.join("\n") });
            }
        } else if !line.is_empty() {
            schema = None;
        }
    }
    blocks
}

fn documents(text: &str) -> serde_json::Result<Vec<Value>> {
    serde_json::Deserializer::from_str(text).into_iter().collect()
}

/// What a document is, by its members.
fn schema_of(document: &Value) -> Option<&'static str> {
    let has = |name: &str| document.get(name).is_some();
    let topic = document.get("topic").and_then(Value::as_str);
    let schema = match topic {
        Some("usage.events" | "billing.catalog" | "billing.commands") => "simulate-input.json",
        Some(_) => "simulate-output.json",
        None if has("books") => "simulate-output.json",
        None if has("at") || has("config") => "simulate-input.json",
        None if has("webhook_type") => "webhooks.json",
        None if has("command") => "commands.json",
        None if has("kind") => "catalog.json",
        None if has("specversion") => "usage-cloudevents.json",
        None if has("event_name") => "usage-stripe.json",
        None if has("external_subscription_id") => "usage-lago.json",
        None => return None,
    };
    Some(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str, expected: &[&str]) {
        assert_eq!(page_faults(&schemas(), page), expected);
    }

    #[test]
    fn examples_are_told_by_their_members() {
        check("```json\n{\"kind\": \"tax\", \"code\": \"vat\", \"rate\": \"20\"}\n```", &[]);
        check(
            "\n```jsonl\n{\"kind\": \"tax\", \"code\": \"vat\"}\n{\"at\": \"now\"}\n```",
            &[
                "2:  lacks rate",
                "2: /at is \"now\", against pattern \"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\\\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$\"",
            ],
        );
    }

    #[test]
    fn other_examples_say_what_they_are() {
        check("```json\n{\"a\": 1}\n```", &["1: say above the block which schema it follows, or none"]);
        check(
            "<!-- schema: none -->\n\n```json\n{\"a\": …}\n```\n```json\n{\n```",
            &["6: no JSON: EOF while parsing an object at line 1 column 1"],
        );
        check("<!-- schema: webhook-headers.json -->\n```json\n{}\n```", &["2:  lacks webhook-id"]);
        check("```sh\necho '{'\n```", &[]);
    }
}
