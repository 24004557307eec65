//! Scripts that no test runs from end to end: they are whole, and say what they are for.

use std::process::{Command, Output};

use super::tree::{self, File};
use super::{Breach, assert_none};

#[test]
fn python_can_be_read() {
    let files = tree::all().into_iter().filter(is_python);
    assert_none(files.filter_map(|file| unreadable(&file)).collect(), "Mend what Python says.");
}

#[test]
fn the_measurement_says_what_it_measures() {
    let output = python(&["bench/run", "--help"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for row in ["A-live", "growth", "--only", "--page"] {
        assert!(told.contains(row), "{row} isn't in\n{told}");
    }
}

#[test]
fn the_measurement_refuses_a_row_that_nobody_knows() {
    let output = python(&["bench/run", "--only", "Z"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("invalid choice: 'Z'"));
}

fn is_python(file: &File) -> bool {
    file.path.ends_with(".py")
        || file.text.lines().next().is_some_and(|line| line.starts_with("#!") && line.contains("python"))
}

fn unreadable(file: &File) -> Option<Breach> {
    let output = python(&["-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", &file.path]);
    let said = String::from_utf8_lossy(&output.stderr);
    let what = said.lines().last().unwrap_or("can't be read").to_owned();
    (!output.status.success()).then(|| Breach { path: file.path.clone(), line: 0, what })
}

/// Runs it in the project's root, and lets it leave nothing there.
fn python(arguments: &[&str]) -> Output {
    let mut python = Command::new("python3");
    python.arg("-B").args(arguments).current_dir(tree::root());
    python.output().expect("python3 is installed: dev/setup installs it")
}
