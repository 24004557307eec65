//! Every command that the pages show works, in the order in which they show it.

use super::desk::{Desk, prefix};
use super::showing;
use std::path::Path;

/// The lines of a page's blocks of commands.
fn commands(page: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    let mut is_inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line {
            "```sh" => is_inside = true,
            "```" => is_inside = false,
            line if is_inside && !line.is_empty() => found.push(line.to_owned()),
            _ => {}
        }
    }
    found
}

/// The arguments of those that are the program's; of the others it is made sure that somebody knows them.
fn of_the_program(page: &str) -> Vec<Vec<String>> {
    let makefile = include_str!("../../../Makefile");
    let mut found = Vec::new();
    for command in commands(page) {
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        match words[0].as_str() {
            "graceline" => found.push(words[1..].to_vec()),
            "make" => {
                let target = &words[1];
                assert!(makefile.contains(&format!("\n{target}: ## ")), "{page}: make has no {target}");
            }
            // These set variables, or are other people's programs.
            "export" | "kcat" => {}
            other => panic!("{page}: nobody has said what becomes of {other}: {command}"),
        }
    }
    found
}

#[test]
fn the_readme_works_on_dev() {
    let prefix = prefix();
    let dev = Desk::at("127.0.0.1:1", &prefix).with("GRACELINE__HTTP__LISTEN", "").start(&["dev"]);
    dev.says("Opened the shard.");
    let said = dev.said();
    let brokers = said.lines().find_map(|line| line.strip_prefix("Kafka clients connect to "));
    let desk = Desk::at(brokers.expect("it says where it is"), &prefix);
    let mut count = 0;
    for arguments in of_the_program("README.md") {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if matches!(arguments[0], "send" | "replay-rejected" | "settings" | "simulate") {
            assert!(!desk.does(&arguments, "").is_empty(), "{arguments:?}");
            count += 1;
        }
    }
    assert_eq!(count, 7, "the page has other commands now");
    assert_eq!(dev.ends().0, Some(0));
}

#[test]
fn the_readme_works_on_servers() {
    let Some(desk) = showing::desk() else { return };
    let mut processors = Vec::new();
    let pages = ["README.md", "docs/REDIS.md"];
    for arguments in pages.into_iter().flat_map(of_the_program) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments[0] {
            "dev" => {}
            "run" => {
                let processor = desk.start(&arguments);
                processor.says("Opened the shard.");
                processors.push(processor);
            }
            // What was sent has to be read first.
            "show" | "explain" => {
                desk.asks_until(&arguments, |said| !said.is_empty());
            }
            _ => {
                desk.does(&arguments, "");
            }
        }
    }
    let invoice = desk.does(&["show", "invoice", "ACM-cust_1-001"], "");
    assert!(invoice.contains("99.00 EUR"), "{invoice}");
    let usage = desk.asks_until(&["show", "usage", "sub_1"], |said| said.contains("1450"));
    assert!(usage.contains("accruing"), "{usage}");
    assert_eq!(processors.len(), 1);
    assert!(processors.into_iter().all(|processor| processor.ends().0 == Some(0)));
}
