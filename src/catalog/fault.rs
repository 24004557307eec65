//! Why a catalog record is refused: a reason, and where in the record it lies.

use super::json::Json;

/// The first thing that keeps a record from being accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub reason: &'static str,
    /// A JSON pointer into the record; empty for the whole of it.
    pub pointer: String,
}

impl Fault {
    pub fn new(reason: &'static str, pointer: impl Into<String>) -> Fault {
        Fault { reason, pointer: pointer.into() }
    }

    pub fn invalid(pointer: impl Into<String>) -> Fault {
        Fault::new("invalid_value", pointer)
    }
}

/// An object inside a record, and the way to it: what it lacks is named by a pointer.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub json: &'a Json,
    path: &'a str,
}

impl<'a> Place<'a> {
    pub fn root(json: &'a Json) -> Place<'a> {
        Place { json, path: "" }
    }

    pub fn at(json: &'a Json, path: &'a str) -> Place<'a> {
        Place { json, path }
    }

    pub fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.path, name.replace('~', "~0").replace('/', "~1"))
    }

    fn fault(&self, name: &str) -> Fault {
        Fault::invalid(self.pointer(name))
    }

    /// The member read by `read`; `None` if it is absent or null.
    pub fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        match self.json.get(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.fault(name)),
        }
    }

    pub fn required<T>(&self, name: &str, read: impl FnOnce(&'a Json) -> Option<T>) -> Result<T, Fault> {
        self.optional(name, read)?.ok_or_else(|| self.fault(name))
    }

    pub fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        self.optional(name, |value| value.as_text().map(str::to_owned))
    }

    /// A code or an external id: text that isn't empty.
    pub fn code(&self, name: &str) -> Result<String, Fault> {
        self.required(name, as_code)
    }

    pub fn optional_code(&self, name: &str) -> Result<Option<String>, Fault> {
        self.optional(name, as_code)
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        self.optional(name, Json::as_bool)
    }

    /// Cents that aren't negative; absent counts as 0.
    pub fn cents(&self, name: &str) -> Result<i128, Fault> {
        Ok(self
            .optional(name, |value| value.as_integer().filter(|cents| (0..=CENTS_MAX).contains(cents)))?
            .unwrap_or(0))
    }

    /// A list of codes, in its order.
    pub fn codes(&self, name: &str) -> Result<Option<Vec<String>>, Fault> {
        let Some(items) = self.optional(name, Json::as_list)? else { return Ok(None) };
        let mut codes = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            codes.push(
                as_code(item).ok_or_else(|| Fault::invalid(format!("{}/{index}", self.pointer(name))))?,
            );
        }
        Ok(Some(codes))
    }
}

/// Prices in cents leave room for a period's worth of them in 128 bits.
pub const CENTS_MAX: i128 = 1_000_000_000_000_000_000_000;

fn as_code(value: &Json) -> Option<String> {
    value.as_text().filter(|text| !text.is_empty()).map(str::to_owned)
}
