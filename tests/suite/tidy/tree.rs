//! The files of the project: what git tracks or would track, or every file where there is no git.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) struct File {
    /// Relative to the project's root, with `/` between folders.
    pub(super) path: String,
    pub(super) text: String,
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the project, in the order of their paths.
pub(super) fn all() -> Vec<File> {
    let mut paths = tracked().unwrap_or_else(found);
    paths.sort();
    let texts = paths.into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(root().join(&path)).ok()?;
        Some(File { path, text })
    });
    texts.collect()
}

/// The Rust sources in a folder.
pub(super) fn rust_in(folder: &str) -> Vec<File> {
    all().into_iter().filter(|file| file.path.starts_with(folder) && file.path.ends_with(".rs")).collect()
}

fn tracked() -> Option<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let output = git.output().ok().filter(|output| output.status.success())?;
    let names = String::from_utf8(output.stdout).ok()?;
    Some(names.split_terminator('\0').map(str::to_owned).collect()).filter(|paths: &Vec<_>| !paths.is_empty())
}

fn found() -> Vec<String> {
    const NOT_OURS: [&str; 3] = [".git", "target", "artifacts"];
    let mut folders = vec![PathBuf::new()];
    let mut paths = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("a folder of the project can be read") {
            let entry = entry.expect("a folder of the project can be read");
            let path = folder.join(entry.file_name());
            if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if entry.path().is_dir() {
                folders.push(path);
            } else {
                paths.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    paths
}
