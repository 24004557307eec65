//! The core decides and nothing else: it never waits, never looks at a clock, never reaches outside.

use super::source::{Piece, Token, is_float, tokens, without_tests};
use super::tree::{self, File};
use super::{Breach, assert_none};

const CORE: [&str; 2] = ["src/catalog/", "src/invoice/"];

/// Where amounts and quantities pass, and so no float may.
const EXACT: [&str; 3] = ["src/catalog/", "src/ingest/", "src/invoice/"];

const CRATES: [&str; 11] = [
    "chrono",
    "chrono_tz",
    "ecow",
    "hashbrown",
    "num_bigint",
    "num_integer",
    "num_rational",
    "num_traits",
    "serde",
    "serde_json",
    "siphasher",
];

/// Parts of the standard library that only compute.
const STD: [&str; 28] = [
    "any",
    "array",
    "ascii",
    "borrow",
    "boxed",
    "cell",
    "char",
    "cmp",
    "collections",
    "convert",
    "default",
    "error",
    "fmt",
    "hash",
    "hint",
    "iter",
    "marker",
    "mem",
    "num",
    "ops",
    "option",
    "rc",
    "result",
    "slice",
    "str",
    "string",
    "sync",
    "vec",
];

/// Of `std::sync`, what is shared without ever waiting for another thread's next step.
const SYNC: [&str; 4] = ["Arc", "LazyLock", "OnceLock", "Weak"];

/// Files that may use the standard library's hash tables: those that never go through them in their order.
const HASH_TABLES: [&str; 0] = [];

#[test]
fn the_core_imports_only_what_decides() {
    let known = crates_of_the_manifest();
    let breaches = tree::rust_in("src/").into_iter().filter(is_core).flat_map(|file| imports(&file, &known));
    assert_none(
        breaches.collect(),
        "The core imports itself, what computes in std, time zones, numbers and serde. Let the caller fetch what is \
         needed and hand it in as an `Input`; let what must happen leave as an `Effect`.",
    );
}

#[test]
fn the_core_never_looks_at_a_clock_or_waits() {
    let breaches = tree::rust_in("src/").into_iter().filter(is_core).flat_map(|file| clocks_and_waits(&file));
    assert_none(
        breaches.collect(),
        "Time is an input: take the instant from the record or the tick that is being decided. What waits or prints \
         belongs to src/shard or an adapter.",
    );
}

#[test]
fn no_float_comes_near_an_amount() {
    let files = tree::rust_in("src/")
        .into_iter()
        .filter(|file| EXACT.iter().any(|folder| file.path.starts_with(folder)));
    assert_none(
        files.flat_map(|file| floats(&file)).collect(),
        "Use `invoice::quantity` for what is written in decimal, whole numbers of the minor unit for amounts, fractions \
         (num_rational) in between.",
    );
}

#[test]
fn the_core_has_one_order() {
    let breaches = tree::rust_in("src/").into_iter().filter(is_core).flat_map(|file| hash_tables(&file));
    assert_none(
        breaches.collect(),
        "What is iterated and written has a fixed order: use BTreeMap or a sorted Vec. For a table that is only looked \
         up in, use hashbrown with siphasher under a fixed key, or name the file in HASH_TABLES.",
    );
}

fn is_core(file: &File) -> bool {
    CORE.iter().any(|folder| file.path.starts_with(folder))
}

fn breach(file: &File, line: usize, what: impl Into<String>) -> Breach {
    Breach { path: file.path.clone(), line, what: what.into() }
}

/// The names that Cargo.toml gives its dependencies, as code writes them.
fn crates_of_the_manifest() -> Vec<String> {
    let manifest =
        tree::all().into_iter().find(|file| file.path == "Cargo.toml").expect("a crate has a manifest");
    let mut names = Vec::new();
    let mut is_list = false;
    for line in manifest.text.lines() {
        if line.starts_with('[') {
            is_list = line.contains("dependencies]");
        } else if is_list && let Some((name, _)) = line.split_once(['=', '.']) {
            names.push(name.trim().replace('-', "_"));
        }
    }
    names
}

fn imports(file: &File, known: &[String]) -> Vec<Breach> {
    let all = tokens(&file.text);
    let tokens = without_tests(&all);
    let mut breaches = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some(head) = head_of_path(&tokens, at) else { continue };
        let behind = next_parts(tokens.get(at + 2..).unwrap_or_default());
        let outside = |parts: &[&str]| -> Vec<String> {
            let foreign = behind.iter().filter(|part| !parts.contains(part));
            foreign.map(|part| format!("{head}::{part}")).collect()
        };
        let names = match head {
            "sync" => outside(&SYNC),
            "std" | "core" | "alloc" => outside(&STD),
            // Planted bugs are constants, and none of them is there unless a build asks for it.
            "crate" => outside(&["catalog", "invoice", "planted"]),
            "super" if leaves_the_core(file, &tokens[at..]) => {
                vec!["what lies above it through super".to_owned()]
            }
            _ if known.iter().any(|name| name == head) && !CRATES.contains(&head) => vec![head.to_owned()],
            _ => Vec::new(),
        };
        breaches.extend(names.iter().map(|name| breach(file, token.line, format!("the core names {name}"))));
    }
    breaches
}

/// The word at `at` if a path begins with it, or if it is imported whole: `tokio` in `tokio::spawn` and `use tokio`.
/// `sync` counts wherever it stands in a path: what is behind it decides.
fn head_of_path<'a>(tokens: &[Token<'a>], at: usize) -> Option<&'a str> {
    let Piece::Word(word) = tokens[at].piece else { return None };
    let before = at.checked_sub(1).map(|before| tokens[before].piece);
    let is_inside = match before {
        Some(Piece::Sign('.')) => true,
        // `::std::fmt` begins with a path sign that has nothing before it.
        Some(Piece::Path) => at > 1 && matches!(tokens[at - 2].piece, Piece::Word(_) | Piece::Sign('>')),
        _ => false,
    };
    let leads_on = tokens.get(at + 1).is_some_and(|next| next.piece == Piece::Path);
    let is_imported = before == Some(Piece::Word("use"));
    ((!is_inside || word == "sync") && leads_on || !is_inside && is_imported).then_some(word)
}

/// The names right behind `std::`: one, or those at the top of a group in braces.
fn next_parts<'a>(tokens: &[Token<'a>]) -> Vec<&'a str> {
    match tokens.first().map(|token| token.piece) {
        Some(Piece::Word(word)) => vec![word],
        Some(Piece::Sign('*')) => vec!["*"],
        Some(Piece::Sign('{')) => {
            let mut parts = Vec::new();
            let mut depth = 0;
            let mut is_start = false;
            for token in tokens {
                match token.piece {
                    Piece::Sign('{') => {
                        depth += 1;
                        is_start = depth == 1;
                    }
                    Piece::Sign('}') if depth == 1 => break,
                    Piece::Sign('}') => depth -= 1,
                    Piece::Sign(',') => is_start = depth == 1,
                    Piece::Word(word) if is_start => {
                        parts.push(word);
                        is_start = false;
                    }
                    _ => is_start = false,
                }
            }
            parts
        }
        _ => Vec::new(),
    }
}

/// `super::super` in src/invoice/price.rs is the crate's root; in src/invoice/price/tier.rs it is src/invoice.
fn leaves_the_core(file: &File, tokens: &[Token<'_>]) -> bool {
    let supers = tokens.iter().step_by(2).take_while(|token| token.piece == Piece::Word("super")).count();
    let folders = file.path.matches('/').count() - 1;
    let levels = if file.path.ends_with("/mod.rs") { folders - 1 } else { folders };
    supers > levels
}

fn clocks_and_waits(file: &File) -> Vec<Breach> {
    let tokens = tokens(&file.text);
    let mut breaches = Vec::new();
    for at in 0..tokens.len() {
        let Piece::Word(word) = tokens[at].piece else { continue };
        let calls = |name: &str| {
            let next = tokens.get(at + 1..at + 3).unwrap_or_default();
            matches!(next, [path, call] if path.piece == Piece::Path && call.piece == Piece::Word(name))
        };
        let is_macro = tokens.get(at + 1).is_some_and(|next| next.piece == Piece::Sign('!'));
        let what = match word {
            "SystemTime" => "looks at the clock",
            "Utc" | "Local" | "Instant" if calls("now") => "looks at the clock",
            "async" | "await" => "waits",
            "print" | "println" | "eprint" | "eprintln" if is_macro => "prints",
            _ => continue,
        };
        breaches.push(breach(file, tokens[at].line, format!("the core {what}")));
    }
    breaches
}

fn floats(file: &File) -> Vec<Breach> {
    let found = tokens(&file.text).into_iter().filter_map(|token| match token.piece {
        Piece::Word(word @ ("f32" | "f64")) => Some(breach(file, token.line, word)),
        Piece::Number(number) if is_float(number) => Some(breach(file, token.line, number)),
        _ => None,
    });
    found.collect()
}

fn hash_tables(file: &File) -> Vec<Breach> {
    if HASH_TABLES.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let all = tokens(&file.text);
    let tokens = without_tests(&all);
    let mut breaches = Vec::new();
    for at in 0..tokens.len() {
        if tokens[at].piece != Piece::Word("collections") {
            continue;
        }
        // Up to the end of the path or the group.
        let rest = tokens[at..]
            .iter()
            .take_while(|token| !matches!(token.piece, Piece::Sign(';' | '(' | '<' | '=')));
        for token in rest {
            if let Piece::Word(word @ ("HashMap" | "HashSet" | "hash_map" | "hash_set")) = token.piece {
                breaches.push(breach(file, token.line, format!("std's {word}")));
            } else if token.piece == Piece::Sign('*') {
                breaches.push(breach(file, token.line, "all of std::collections"));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: impl Fn(&File) -> Vec<Breach>, path: &str, text: &str, expected: &[&str]) {
        let found = rule(&File { path: path.to_owned(), text: text.to_owned() });
        let found: Vec<String> =
            found.into_iter().map(|breach| format!("{}: {}", breach.line, breach.what)).collect();
        assert_eq!(found, expected, "{text}");
    }

    fn check_imports(text: &str, expected: &[&str]) {
        let known: Vec<String> =
            ["tokio", "serde", "redis", "proptest", "num_bigint"].map(str::to_owned).into();
        check(|file| imports(file, &known), "src/invoice/decide.rs", text, expected);
    }

    #[test]
    fn imports_of_the_core_pass() {
        check_imports("use std::{sync::Arc, fmt};\nlet sync = std::sync::OnceLock::new(); run(sync);", &[]);
        check_imports(
            "use std::collections::BTreeMap;\nuse std::{fmt, mem::{self, take}};\nuse core::cmp::Ordering;",
            &[],
        );
        check_imports(
            "use crate::catalog::plan::Plan;\nuse crate::{catalog, invoice::fee::Fee};\nuse super::fee;",
            &[],
        );
        check_imports(
            "use serde::Serialize;\nlet big = num_bigint::BigInt::from(1); Self::tokio(); a::redis::b();",
            &[],
        );
        check_imports("#[cfg(test)]\nmod tests {\n    use proptest::prelude::*;\n}", &[]);
        check_imports("// use tokio::spawn\nlet text = \"std::net\";", &[]);
    }

    #[test]
    fn imports_from_outside_do_not() {
        check_imports("use std::net::TcpStream;", &["1: the core names std::net"]);
        check_imports(
            "use std::{fmt, fs::{self, File}, io};",
            &["1: the core names std::fs", "1: the core names std::io"],
        );
        check_imports("use std::sync::{Arc, Mutex};", &["1: the core names sync::Mutex"]);
        check_imports("use std::{fmt, sync::mpsc};", &["1: the core names sync::mpsc"]);
        check_imports("use std::*;", &["1: the core names std::*"]);
        check_imports("\nlet now = ::std::time::SystemTime::now();", &["2: the core names std::time"]);
        check_imports("use crate::persist::Ledger;", &["1: the core names crate::persist"]);
        check_imports("use crate::{invoice::fee, shard};", &["1: the core names crate::shard"]);
        check_imports("use super::super::persist;", &["1: the core names what lies above it through super"]);
        check_imports(
            "use tokio;\ntokio::spawn(x);",
            &["1: the core names tokio", "2: the core names tokio"],
        );
        check_imports("pub use {redis::Client, serde::Serialize};", &["1: the core names redis"]);
    }

    #[test]
    fn clocks_and_waiting_are_seen() {
        let check = |text, expected| check(clocks_and_waits, "src/invoice/decide.rs", text, expected);
        check("let at: Instant = Instant::parse_rfc3339(text)?;", &[]);
        check(
            "Instant::now();\nUtc::now()",
            &["1: the core looks at the clock", "2: the core looks at the clock"],
        );
        check("async fn decide() { next.await }", &["1: the core waits", "1: the core waits"]);
        check("println!(\"x\"); print(1)", &["1: the core prints"]);
    }

    #[test]
    fn floats_are_seen() {
        check(floats, "src/ingest/lago.rs", "let rate: f64 = 0.2; let n = 0..2; x.0", &["1: f64", "1: 0.2"]);
    }

    #[test]
    fn hash_tables_are_seen() {
        let check = |text, expected| check(hash_tables, "src/invoice/decide.rs", text, expected);
        check("use std::collections::{BTreeMap, btree_map::Entry};\nuse hashbrown::HashMap;", &[]);
        check("use std::collections::{BTreeMap, HashMap};", &["1: std's HashMap"]);
        check("use std::{collections::HashSet, fmt};", &["1: std's HashSet"]);
        check("let seen = std::collections::HashMap::new();", &["1: std's HashMap"]);
        check("use std::collections::*;", &["1: all of std::collections"]);
    }
}
