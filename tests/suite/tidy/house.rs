//! What holds for every file: nothing unfinished, nothing overgrown, nothing that is true on one machine only, no link
//! into the void.

use super::tree::{self, File};
use super::{Breach, assert_none};

/// Past this a file holds two ideas.
const LINES_MAX: usize = 700;

/// Sources that are longer all the same, and how long they may be. A number here only ever goes down; a file that has
/// become shorter than [`LINES_MAX`] is taken off the list.
const LONGER: [(&str, usize); 0] = [];

/// The rules' own files name what they forbid.
const RULES: &str = "tests/suite/tidy/";

#[test]
fn nothing_is_left_unfinished() {
    let files = tree::all()
        .into_iter()
        .filter(|file| !file.path.starts_with(RULES) && !file.path.ends_with("Cargo.lock"));
    assert_none(
        files.flat_map(|file| unfinished(&file)).collect(),
        "Finish it, or write down the limit and its price in the documentation. A test that can't run belongs behind a \
         condition that says why.",
    );
}

#[test]
fn files_hold_one_idea() {
    let breaches = tree::rust_in("src/").into_iter().filter_map(|file| too_long(&file, &LONGER));
    assert_none(
        breaches.collect(),
        "Find the second idea and give it a file of its own. If it really is one, add it to LONGER with its length, and \
         say why in the commit.",
    );
}

#[test]
fn the_project_stands_alone() {
    let files = tree::all()
        .into_iter()
        .filter(|file| !file.path.starts_with(RULES) && !file.path.ends_with("Cargo.lock"));
    assert_none(
        files.flat_map(|file| one_machine_only(&file)).collect(),
        "Write paths relative to the project or take them from the environment; name packages, not the hosts that serve \
         them.",
    );
}

#[test]
fn links_lead_somewhere() {
    let files = tree::all();
    let breaches =
        files.iter().filter(|file| file.path.ends_with(".md")).flat_map(|file| broken_links(file, &files));
    assert_none(breaches.collect(), "Mend the link, or take it out with what it explained.");
}

fn breaches(file: &File, find: impl Fn(&str) -> Option<String>) -> Vec<Breach> {
    let lines = file.text.lines().enumerate();
    let found = lines.filter_map(|(index, line)| {
        Some(Breach { path: file.path.clone(), line: index + 1, what: find(line)? })
    });
    found.collect()
}

fn unfinished(file: &File) -> Vec<Breach> {
    const MARKS: [&str; 6] = ["TODO", "FIXME", "XXX", "todo!", "unimplemented!", "#[ignore"];
    breaches(file, |line| {
        MARKS
            .iter()
            .find(|mark| stands_in(line, mark))
            .map(|mark| format!("says {}", mark.trim_start_matches("#[")))
    })
}

/// Whether `word` stands in `line`, and not as a part of a longer word.
fn stands_in(line: &str, word: &str) -> bool {
    let continues = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(continues) && (word.ends_with('!') || !after.is_some_and(continues))
    })
}

fn too_long(file: &File, longer: &[(&str, usize)]) -> Option<Breach> {
    let lines = file.text.lines().count();
    let what = match longer.iter().find(|(path, _)| *path == file.path) {
        None if lines <= LINES_MAX => return None,
        None => format!("{lines} lines, {LINES_MAX} are plenty"),
        Some(_) if lines <= LINES_MAX => format!("{lines} lines: take it off the list LONGER"),
        Some((_, allowed)) if lines > *allowed => format!("{lines} lines, it had {allowed}"),
        Some(_) => return None,
    };
    Some(Breach { path: file.path.clone(), line: 0, what })
}

fn one_machine_only(file: &File) -> Vec<Breach> {
    const FOLDERS: [&str; 4] = ["/root/", "/work/", "/home/", "/Users/"];
    // In parts, so that even this file doesn't name them.
    const HOSTS: [&[&str]; 12] = [
        &["crates", "io"],
        &["repo1", "maven", "org"],
        &["repo", "maven", "apache", "org"],
        &["pypi", "org"],
        &["pythonhosted", "org"],
        &["npmjs", "org"],
        &["npmjs", "com"],
        &["proxy", "golang", "org"],
        &["deb", "debian", "org"],
        &["archive", "ubuntu", "com"],
        &["docker", "io"],
        &["ghcr", "io"],
    ];
    breaches(file, |line| {
        let starts_a_path = |at: usize| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|letter| letter.is_alphanumeric() || "._-}*>".contains(letter))
        };
        let folder =
            FOLDERS.iter().find(|folder| line.match_indices(**folder).any(|(at, _)| starts_a_path(at)));
        let host = HOSTS.iter().map(|parts| parts.join(".")).find(|host| stands_in(line, host));
        match (folder, host) {
            (Some(folder), _) => Some(format!("a path of one machine: {folder}…")),
            (None, Some(host)) => Some(format!("a registry's host: {host}")),
            (None, None) => None,
        }
    })
}

fn broken_links(file: &File, files: &[File]) -> Vec<Breach> {
    let mut is_code = false;
    let mut broken = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        for target in links(line) {
            if let Some(what) = broken_link(file, target, files) {
                broken.push(Breach { path: file.path.clone(), line: index + 1, what });
            }
        }
    }
    broken
}

/// The targets of `[text](target)` and `[name]: target` in a line.
fn links(line: &str) -> Vec<&str> {
    let mut targets: Vec<&str> = Vec::new();
    for (at, _) in line.match_indices("](") {
        let is_quoted = line[..at].matches('`').count() % 2 == 1;
        let target = &line[at + 2..];
        if let Some(end) = target.find([')', ' ']).filter(|_| !is_quoted) {
            targets.push(&target[..end]);
        }
    }
    if line.starts_with('[')
        && let Some((_, target)) = line.split_once("]: ")
    {
        targets.push(target.trim());
    }
    targets
}

fn broken_link(file: &File, target: &str, files: &[File]) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { file.path.clone() } else { resolve(&file.path, path)? };
    let there = files.iter().find(|other| other.path == path);
    let is_folder =
        || files.iter().any(|other| other.path.starts_with(&format!("{}/", path.trim_end_matches('/'))));
    match there {
        None if is_folder() || path.is_empty() || tree::root().join(&path).exists() => None,
        None => Some(format!("the link {target} leads nowhere")),
        Some(page) if heading.is_empty() || !page.path.ends_with(".md") => None,
        Some(page) if headings(&page.text).iter().any(|known| known == heading) => None,
        Some(page) => Some(format!("{} has no heading #{heading}", page.path)),
    }
}

/// The path of `target` as a page at `page` means it.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// A page's headings as links name them: small letters, dashes for blanks, no other signs.
fn headings(text: &str) -> Vec<String> {
    let titles = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let names = titles.map(|title| {
        let kept = title.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect::<String>().to_lowercase()
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn check(found: Vec<Breach>, expected: &[&str]) {
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn marks_are_seen_as_whole_words() {
        let text = "TODO: later\nTODOS and mktemp aXXXXXX\ntodo!()\n#[ignore = \"slow\"]\nitem_todo!(x)";
        check(
            unfinished(&file("a.rs", text)),
            &["a.rs:1: says TODO", "a.rs:3: says todo!", "a.rs:4: says ignore"],
        );
    }

    #[test]
    fn long_files_need_an_entry_and_entries_only_shrink() {
        let long = file("src/a.rs", &"x\n".repeat(800));
        let check = |longer: &[(&str, usize)], expected: &[&str]| {
            check(too_long(&long, longer).into_iter().collect(), expected)
        };
        check(&[], &["src/a.rs: 800 lines, 700 are plenty"]);
        check(&[("src/a.rs", 800)], &[]);
        check(&[("src/a.rs", 799)], &["src/a.rs: 800 lines, it had 799"]);
        let short = file("src/a.rs", "x");
        assert!(too_long(&short, &[]).is_none());
        assert!(too_long(&short, &[("src/a.rs", 800)]).is_some());
    }

    #[test]
    fn one_machine_is_told_from_all() {
        let host = ["crates", "io"].join(".");
        let text =
            format!("cd /work/x\ntarget/work/x\n$HOME/work/x\n\"/root/y\"\nsee {host}, the list\n{host}n");
        check(
            one_machine_only(&file("a.md", &text)),
            &[
                "a.md:1: a path of one machine: /work/…",
                "a.md:4: a path of one machine: /root/…",
                &format!("a.md:5: a registry's host: {host}"),
            ],
        );
    }

    #[test]
    fn links_are_followed() {
        let text = "# One two: three\n[a](b.md) [c](../README.md#who-s-there) [d](#one-two-three) [e](https://x.y)\n\
                    ```\n[f](gone)\n```\n`[g](gone)` [h](src/)\n[i]: gone";
        let page = file("docs/a.md", text);
        let files = [
            file("docs/a.md", text),
            file("docs/b.md", ""),
            file("README.md", "## Who's there"),
            file("docs/src/x.rs", ""),
        ];
        check(
            broken_links(&page, &files),
            &[
                "docs/a.md:2: README.md has no heading #who-s-there",
                "docs/a.md:7: the link gone leads nowhere",
            ],
        );
    }
}
