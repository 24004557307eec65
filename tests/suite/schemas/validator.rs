//! JSON Schema 2020-12 as far as this project uses it. A keyword that isn't known here is a fault of the schema, so that
//! no rule is ever passed over in silence.

use std::collections::BTreeMap;
use std::path::Path;

use regex_lite::Regex;
use serde_json::{Map, Value};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Keywords that say something to people only.
const WORDS: [&str; 4] = ["$schema", "$defs", "title", "description"];

/// The schemas of a folder, by file name. A `$ref` names a file beside it, a place in it, or both.
pub(super) struct Schemas {
    files: BTreeMap<String, Value>,
    patterns: BTreeMap<String, Regex>,
}

impl Schemas {
    pub(super) fn read(folder: &Path) -> Schemas {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).expect("the schemas have a folder") {
            let path = entry.expect("the folder can be read").path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path).expect("a schema is text");
                let schema = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
                files.insert(name, schema);
            }
        }
        Schemas::of(files)
    }

    fn of(files: BTreeMap<String, Value>) -> Schemas {
        let mut patterns = BTreeMap::new();
        for schema in files.values() {
            visit(schema, "", &mut |members, _| {
                if let Some(Value::String(pattern)) = members.get("pattern")
                    && let Ok(regex) = Regex::new(pattern)
                {
                    patterns.insert(pattern.clone(), regex);
                }
            });
        }
        Schemas { files, patterns }
    }

    /// What is wrong with the schemas themselves.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, schema) in &self.files {
            if schema["$schema"] != DIALECT || !schema["title"].is_string() {
                faults.push(format!("{name}: a schema says its dialect and its title"));
            }
            visit(schema, "", &mut |members, path| {
                for (keyword, argument) in members {
                    if !self.is_sound(name, keyword, argument) {
                        faults.push(format!("{name}#{path}: {keyword}: {argument}"));
                    }
                }
            });
        }
        faults
    }

    fn is_sound(&self, file: &str, keyword: &str, argument: &Value) -> bool {
        let is_type = |name: &Value| {
            matches!(
                name.as_str(),
                Some("object" | "array" | "string" | "number" | "integer" | "boolean" | "null")
            )
        };
        match keyword {
            "$schema" | "title" | "description" => argument.is_string(),
            "$ref" => argument.as_str().is_some_and(|target| self.resolve(file, target).is_some()),
            "pattern" => argument.as_str().is_some_and(|pattern| self.patterns.contains_key(pattern)),
            "type" => argument.as_array().map_or(is_type(argument), |names| names.iter().all(is_type)),
            "required" => argument.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
            "enum" => argument.as_array().is_some_and(|values| !values.is_empty()),
            "minimum" | "maximum" => argument.is_i64(),
            "minLength" | "maxLength" | "minItems" => argument.is_u64(),
            "properties" | "$defs" => argument.is_object(),
            "allOf" | "anyOf" | "oneOf" => argument.as_array().is_some_and(|schemas| !schemas.is_empty()),
            "additionalProperties" | "items" | "if" | "then" | "else" => {
                argument.is_object() || argument.is_boolean()
            }
            "const" => true,
            _ => false,
        }
    }

    /// The schema that `target` names in `file`, and the file it lies in.
    fn resolve<'a>(&'a self, file: &'a str, target: &'a str) -> Option<(&'a str, &'a Value)> {
        let (name, pointer) = target.split_once('#').unwrap_or((target, ""));
        let name = if name.is_empty() { file } else { name };
        Some((name, self.files.get(name)?.pointer(pointer)?))
    }

    /// What keeps `value` from being what the schema in `file` describes; empty if nothing does.
    pub(super) fn check(&self, file: &str, value: &Value) -> Vec<String> {
        let schema = self.files.get(file).unwrap_or_else(|| panic!("no schema is called {file}"));
        let mut faults = Vec::new();
        self.apply(file, schema, value, "", &mut faults);
        faults
    }

    fn fits(&self, file: &str, schema: &Value, value: &Value) -> bool {
        let mut faults = Vec::new();
        self.apply(file, schema, value, "", &mut faults);
        faults.is_empty()
    }

    fn apply(&self, file: &str, schema: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
        let members = match schema {
            Value::Object(members) => members,
            Value::Bool(true) => return,
            _ => return faults.push(format!("{path} must not be there")),
        };
        for (keyword, argument) in members {
            match keyword.as_str() {
                "$ref" => {
                    let target = argument.as_str().and_then(|target| self.resolve(file, target));
                    let (file, schema) = target.unwrap_or_else(|| panic!("{file} names {argument}"));
                    self.apply(file, schema, value, path, faults);
                }
                "properties" => self.apply_to_members(file, argument, value, path, faults),
                "additionalProperties" => {
                    let named = members.get("properties").and_then(Value::as_object);
                    for (name, member) in value.as_object().into_iter().flatten() {
                        if !named.is_some_and(|named| named.contains_key(name)) {
                            self.apply(file, argument, member, &format!("{path}/{name}"), faults);
                        }
                    }
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.apply(file, argument, item, &format!("{path}/{index}"), faults);
                    }
                }
                "allOf" => {
                    for schema in argument.as_array().into_iter().flatten() {
                        self.apply(file, schema, value, path, faults);
                    }
                }
                "anyOf" | "oneOf" => {
                    let alternatives = argument.as_array().expect("alternatives are a list");
                    let fitting = alternatives.iter().filter(|schema| self.fits(file, schema, value)).count();
                    if fitting == 0 {
                        faults.push(self.closest(file, alternatives, value, path));
                    } else if keyword == "oneOf" && fitting > 1 {
                        faults.push(format!("{path} is {fitting} things at once"));
                    }
                }
                "if" => {
                    let branch = if self.fits(file, argument, value) { "then" } else { "else" };
                    if let Some(schema) = members.get(branch) {
                        self.apply(file, schema, value, path, faults);
                    }
                }
                _ => faults.extend(
                    self.plain_fault(keyword, argument, value).map(|fault| format!("{path} {fault}")),
                ),
            }
        }
    }

    fn apply_to_members(
        &self,
        file: &str,
        schemas: &Value,
        value: &Value,
        path: &str,
        faults: &mut Vec<String>,
    ) {
        for (name, schema) in schemas.as_object().into_iter().flatten() {
            if let Some(member) = value.get(name) {
                self.apply(file, schema, member, &format!("{path}/{name}"), faults);
            }
        }
    }

    /// Of several alternatives that all don't fit, what keeps the value from the one it is closest to.
    fn closest(&self, file: &str, alternatives: &[Value], value: &Value, path: &str) -> String {
        let tries = alternatives.iter().map(|schema| {
            let mut faults = Vec::new();
            self.apply(file, schema, value, path, &mut faults);
            faults
        });
        let fewest = tries.min_by_key(Vec::len).expect("there is an alternative");
        fewest.join(", ")
    }

    /// Keywords that look at one value and not into it.
    fn plain_fault(&self, keyword: &str, argument: &Value, value: &Value) -> Option<String> {
        let number = argument.as_i64().unwrap_or_default();
        let length = argument.as_u64().unwrap_or_default() as usize;
        let text = value.as_str();
        let letters = || text.map(|text| text.chars().count());
        let holds = match keyword {
            "type" => match argument {
                Value::Array(names) => names.iter().any(|name| is_of_type(value, name)),
                name => is_of_type(value, name),
            },
            "const" => value == argument,
            "enum" => argument.as_array().is_some_and(|values| values.contains(value)),
            "pattern" => {
                text.is_none_or(|text| self.patterns[argument.as_str().unwrap_or_default()].is_match(text))
            }
            "minLength" => letters().is_none_or(|letters| letters >= length),
            "maxLength" => letters().is_none_or(|letters| letters <= length),
            "minItems" => value.as_array().is_none_or(|items| items.len() >= length),
            "minimum" => float(value).is_none_or(|value| value >= number as f64),
            "maximum" => float(value).is_none_or(|value| value <= number as f64),
            "required" => return missing(argument, value),
            // `then` and `else` belong to `if`; the rest speaks to people.
            _ => WORDS.contains(&keyword) || matches!(keyword, "then" | "else"),
        };
        (!holds).then(|| format!("is {value}, against {keyword} {argument}"))
    }
}

fn missing(names: &Value, value: &Value) -> Option<String> {
    let members = value.as_object()?;
    let mut names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
    names.find(|name| !members.contains_key(*name)).map(|name| format!("lacks {name}"))
}

#[expect(clippy::disallowed_methods, reason = "a bound in a schema is a small whole number, and no amount")]
fn float(value: &Value) -> Option<f64> {
    value.as_f64()
}

fn is_of_type(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("number") => value.is_number(),
        Some("integer") => {
            value.is_i64() || value.is_u64() || float(value).is_some_and(|value| value.fract() == 0.0)
        }
        _ => false,
    }
}

/// Calls `look` for every schema in a schema, with the way to it.
fn visit(schema: &Value, path: &str, look: &mut impl FnMut(&Map<String, Value>, &str)) {
    let Value::Object(members) = schema else { return };
    look(members, path);
    for (keyword, argument) in members {
        let path = format!("{path}/{keyword}");
        match (keyword.as_str(), argument) {
            ("properties" | "$defs", Value::Object(schemas)) => {
                schemas.iter().for_each(|(name, schema)| visit(schema, &format!("{path}/{name}"), look));
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas
                    .iter()
                    .enumerate()
                    .for_each(|(index, schema)| visit(schema, &format!("{path}/{index}"), look));
            }
            ("additionalProperties" | "items" | "if" | "then" | "else", schema) => visit(schema, &path, look),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: Value, taken: &[Value], refused: &[(Value, &str)]) {
        let mut schema = schema;
        schema["$schema"] = DIALECT.into();
        schema["title"] = "a test".into();
        let schemas = Schemas::of([("a.json".to_owned(), schema)].into());
        assert_eq!(schemas.faults(), Vec::<String>::new());
        for value in taken {
            assert_eq!(schemas.check("a.json", value), Vec::<String>::new(), "{value}");
        }
        for (value, fault) in refused {
            assert_eq!(schemas.check("a.json", value), [*fault], "{value}");
        }
    }

    #[test]
    fn members_are_followed_by_their_names() {
        check(
            json!({"type": "object", "required": ["a"], "additionalProperties": false,
                   "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"items": {"enum": ["x", null]}}}}),
            &[json!({"a": 1}), json!({"a": 2.0, "b": ["x", null]})],
            &[
                (json!([]), " is [], against type \"object\""),
                (json!({}), " lacks a"),
                (json!({"a": 0}), "/a is 0, against minimum 1"),
                (json!({"a": 1.5}), "/a is 1.5, against type \"integer\""),
                (json!({"a": 1, "b": ["x", "y"]}), "/b/1 is \"y\", against enum [\"x\",null]"),
                (json!({"a": 1, "c": 1}), "/c must not be there"),
            ],
        );
    }

    #[test]
    fn conditions_and_alternatives_are_weighed() {
        check(
            json!({"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}, "else": {"$ref": "#/$defs/c"},
                   "anyOf": [{"required": ["a"]}, {"required": ["z"]}], "$defs": {"c": {"required": ["c"]}}}),
            &[json!({"a": 1, "b": 1}), json!({"a": 2, "c": 1})],
            &[(json!({"a": 1}), " lacks b"), (json!({"a": 2}), " lacks c"), (json!({"b": 1}), " lacks a")],
        );
        check(
            json!({"oneOf": [{"type": "integer"}, {"minimum": 5}]}),
            &[json!(4), json!(5.5)],
            &[(json!(6), " is 2 things at once")],
        );
        check(
            json!({"pattern": "^[a-z]+$", "maxLength": 3}),
            &[json!("abc"), json!(1)],
            &[
                (json!("A"), " is \"A\", against pattern \"^[a-z]+$\""),
                (json!("abcd"), " is \"abcd\", against maxLength 3"),
            ],
        );
    }

    #[test]
    fn unknown_keywords_and_lost_references_are_faults() {
        let faults = |schema: Value| Schemas::of([("a.json".to_owned(), schema)].into()).faults();
        let with =
            |keyword: &str, argument: Value| json!({"$schema": DIALECT, "title": "a", keyword: argument});
        assert_eq!(faults(with("minimun", json!(1))), ["a.json#: minimun: 1"]);
        assert_eq!(faults(with("$ref", json!("b.json"))), ["a.json#: $ref: \"b.json\""]);
        assert_eq!(faults(with("items", json!({"pattern": "("}))), ["a.json#/items: pattern: \"(\""]);
        assert_eq!(faults(json!({})), ["a.json: a schema says its dialect and its title"]);
    }
}
