// SPDX-License-Identifier: Apache-2.0
//! The table of options, printed and as documentation: both made from the definitions.

use std::fmt::Write;

use clap::Arg;

use super::getopt::OptionName;
use super::{serve_command, unavailable};

/// Width of a description in the printed table.
const WIDTH: usize = 72;

/// An option as the tables show it.
struct OptionEntry {
    heading: String,
    name: String,
    value_name: Option<String>,
    default: Option<String>,
    help: String,
}

impl OptionEntry {
    fn new(arg: &Arg) -> Option<Self> {
        let takes_value = arg.get_action().takes_values();
        let value_names = arg.get_value_names().filter(|_| takes_value);
        let mut defaults = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy());
        Some(Self {
            heading: arg.get_help_heading().unwrap_or_default().to_owned(),
            name: arg.get_long()?.to_owned(),
            value_name: value_names
                .and_then(|names| names.first())
                .map(ToString::to_string),
            default: defaults.next_back().filter(|_| takes_value).map(Into::into),
            help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        })
    }
}

/// Returns every option in the order of the table.
fn entries() -> Vec<OptionEntry> {
    let command = serve_command();
    let entries: Vec<_> = command
        .get_arguments()
        .filter_map(OptionEntry::new)
        .collect();
    let mut headings: Vec<String> = Vec::new();
    for entry in &entries {
        if !headings.contains(&entry.heading) {
            headings.push(entry.heading.clone());
        }
    }
    let place = |entry: &OptionEntry| headings.iter().position(|each| *each == entry.heading);
    let mut sorted = entries;
    sorted.sort_by_key(place);
    sorted
}

/// Returns what [`super::getopt`] needs to know of each option.
pub(super) fn option_names() -> Vec<OptionName> {
    let help = OptionName {
        name: "help".to_owned(),
        takes_value: false,
    };
    let options = entries().into_iter().map(|entry| OptionName {
        name: entry.name,
        takes_value: entry.value_name.is_some(),
    });
    std::iter::once(help).chain(options).collect()
}

/// Returns the table that `--help` prints, in the layout of Triton's.
pub(super) fn table() -> String {
    let mut text = "  --help\n\tPrint usage\n".to_owned();
    let mut heading = String::new();
    for entry in entries() {
        if entry.heading != heading {
            heading.clone_from(&entry.heading);
            // INVARIANT: writing to a String cannot fail, here and below.
            let _ = write!(text, "\n{heading}:\n");
        }
        let value = entry
            .value_name
            .map(|name| format!(" <{name}>"))
            .unwrap_or_default();
        let default = entry
            .default
            .map(|default| format!(" Default is {default}."));
        let remark = unavailable::remark(&entry.name).map(|remark| format!(" {remark}"));
        let description = format!(
            "{}{}{}",
            sentence(&entry.help),
            default.unwrap_or_default(),
            remark.unwrap_or_default()
        );
        let _ = write!(text, "  --{}{value}\n{}", entry.name, wrap(&description));
    }
    text
}

/// Returns the reference of all options in Markdown, the content of `docs/reference/flags.md`.
pub fn reference() -> String {
    let mut text = "# Options of `tritongw serve`\n\n\
        Names, types and defaults are Triton's; [compatibility.md](../compatibility.md) says\n\
        where we differ.\n\
        An option may be written `--name=value` or `--name value`, and shortened as long as it\n\
        stays unambiguous.\n\
        Given several times, the last one counts unless the description says otherwise.\n\
        Booleans are `true`, `on` or `1` and `false`, `off` or `0`, in any case.\n"
        .to_owned();
    let mut heading = String::new();
    for entry in entries() {
        if entry.heading != heading {
            heading.clone_from(&entry.heading);
            let _ = write!(
                text,
                "\n## {heading}\n\n| option | value | default | meaning |\n| --- | --- | --- | --- |\n"
            );
        }
        let code = |value: Option<String>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("`{value}`"))
        };
        let remark = unavailable::remark(&entry.name).map(|remark| format!(" **{remark}**"));
        let meaning = sentence(&entry.help)
            .replace('|', "\\|")
            .replace('<', "\\<");
        let _ = writeln!(
            text,
            "| `--{}` | {} | {} | {meaning}{} |",
            entry.name,
            code(entry.value_name),
            code(entry.default),
            remark.unwrap_or_default()
        );
    }
    text
}

/// Ends a description with the full stop that clap cuts off.
fn sentence(help: &str) -> String {
    let stop = if help.ends_with('.') { "" } else { "." };
    format!("{help}{stop}")
}

fn wrap(description: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in description.split_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(lines, "\t{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(lines, "\t{line}");
    lines
}
