// SPDX-License-Identifier: Apache-2.0
//! Runs the cases in `testdata/`: commands above the rule, effects below; `UPDATE=1` rewrites them.
//!
//! Cases are separated by blank lines. Times are microseconds, and time passes only as commands
//! say: before each command, the batcher is polled at every deadline that comes before it. `push`
//! polls at once, as a driver with one arrival does; with `gather` it leaves that to a later
//! command. Effects that a case does not show did not happen.

mod scenario;

use std::fs;
use std::path::{Path, PathBuf};

const RULE: &str = "----";

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        const LISTED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                check(&testdata().join(concat!(stringify!($name), ".txt")));
            }
        )*
    };
}

scenarios! {
    cancel,
    compatibility,
    full_batch,
    immediate,
    instances,
    no_batching,
    preferred_sizes,
    priorities,
    queue_delay,
    queue_size,
    response_order,
    sequence_backlog,
    sequence_cancel,
    sequence_direct,
    sequence_idle,
    sequence_instances,
    sequence_iterative,
    sequence_oldest,
    sequence_rules,
    stop,
    timeout_delay,
    timeout_override,
    timeout_reject,
    unavailable_instance,
}

#[test]
fn every_file_is_listed() {
    let entries = fs::read_dir(testdata()).expect("testdata is there");
    let mut found: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .map(|path| {
            path.file_stem()
                .expect("a file")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    found.sort();
    assert_eq!(found, LISTED);
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn check(path: &Path) {
    let expected = fs::read_to_string(path).expect("readable");
    let cases: Vec<_> = expected.trim_end().split("\n\n").map(run).collect();
    let actual = cases.join("\n\n") + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, actual).expect("writable");
        return;
    }
    for (expected, actual) in expected.trim_end().split("\n\n").zip(&cases) {
        assert_eq!(actual, expected, "in {}", path.display());
    }
    assert_eq!(actual, expected, "in {}", path.display());
}

/// Returns the case as it should be written: its commands, the rule, the effects.
fn run(case: &str) -> String {
    let commands: Vec<&str> = case.lines().take_while(|line| *line != RULE).collect();
    let lines: Vec<_> = commands
        .iter()
        .copied()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let mut output: Vec<&str> = commands;
    let effects = scenario::run(&lines);
    output.push(RULE);
    output.extend(effects.iter().map(String::as_str));
    output.join("\n")
}
