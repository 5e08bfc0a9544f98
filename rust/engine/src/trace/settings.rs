// SPDX-License-Identifier: Apache-2.0
//! What can be set of tracing, in layers: a model's value, else the global one, else the value the
//! server was started with (T014-T019, T023).

use std::num::IntErrorKind;

use tritongw_types::{Error, Result};

/// What is recorded of a traced request (T014); nothing means that tracing is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceLevels {
    /// When things happened.
    pub timestamps: bool,
    /// Inputs and outputs.
    pub tensors: bool,
}

impl TraceLevels {
    /// Nothing is traced.
    pub const OFF: Self = Self {
        timestamps: false,
        tensors: false,
    };

    /// Returns whether nothing is recorded.
    pub fn is_off(self) -> bool {
        self == Self::OFF
    }

    /// Returns the names that stand for the levels.
    pub fn names(self) -> Vec<&'static str> {
        let named = [(self.timestamps, "TIMESTAMPS"), (self.tensors, "TENSORS")];
        let mut names: Vec<_> = named.iter().filter(|(is_set, _)| *is_set).collect();
        if names.is_empty() {
            names.push(&(true, "OFF"));
        }
        names.into_iter().map(|(_, name)| *name).collect()
    }

    /// Reads the names a client sent.
    fn parse(names: &[&str]) -> Result<Self> {
        let mut levels = Self::OFF;
        for name in names {
            match *name {
                "TIMESTAMPS" => levels.timestamps = true,
                "TENSORS" => levels.tensors = true,
                "OFF" if names.len() == 1 => {}
                "OFF" => {
                    let message = "Expect only one trace level 'OFF' is specified";
                    return Err(Error::invalid_arg(message));
                }
                // Triton: ignored, so that a slip of the pen turns tracing off.
                other => return Err(unparsable("trace_level", other)),
            }
        }
        Ok(levels)
    }
}

/// Every setting with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// What is recorded.
    pub levels: TraceLevels,
    /// One of how many requests is traced; 0 traces only those that bring a context (T015).
    pub rate: u32,
    /// How many more requests are traced; `None` means no limit (T016).
    pub count: Option<u32>,
    /// How many traces fill one file; 0 puts all into one (T019).
    pub log_frequency: u32,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            levels: TraceLevels::OFF,
            rate: 1000,
            count: None,
            log_frequency: 0,
        }
    }
}

/// What a client asks for one setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Change<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T: Copy> Change<T> {
    fn apply(self, value: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *value = None,
            Self::Set(new) => *value = Some(new),
        }
    }
}

/// What a client asks to be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceUpdate {
    levels: Change<TraceLevels>,
    rate: Change<u32>,
    count: Change<Option<u32>>,
    log_frequency: Change<u32>,
}

impl TraceUpdate {
    /// What can be asked for, in the order in which Triton looks at it: of several values that are
    /// wrong, the first in this order is told.
    pub const NAMES: [&str; 5] = [
        "trace_file",
        "trace_level",
        "trace_rate",
        "trace_count",
        "log_frequency",
    ];

    /// Adds a change of the setting of this name to `values`; `None` clears it (P098). Names that
    /// are no settings, or only reported, are ignored as Triton does.
    ///
    /// # Errors
    /// `Unsupported` for the trace file, which no client may choose; `InvalidArg` if a value
    /// cannot be read.
    pub fn set(&mut self, name: &str, values: Option<&[&str]>) -> Result<()> {
        match name {
            "trace_file" => {
                return Err(Error::unsupported(
                    "trace file location can not be updated through network protocol",
                ));
            }
            "trace_level" => self.levels = change(values, TraceLevels::parse)?,
            "trace_rate" => self.rate = change(values, |values| unsigned(name, values))?,
            "trace_count" => self.count = change(values, count)?,
            "log_frequency" => {
                self.log_frequency = change(values, |values| unsigned(name, values))?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn change<T>(
    values: Option<&[&str]>,
    parse: impl FnOnce(&[&str]) -> Result<T>,
) -> Result<Change<T>> {
    match values {
        None => Ok(Change::Clear),
        Some(values) => parse(values).map(Change::Set),
    }
}

fn unsigned(name: &str, values: &[&str]) -> Result<u32> {
    let text = single(name, values)?;
    let range = "[ 0, 4294967295 ]";
    text.parse().map_err(|_| wrong_number(name, text, range))
}

fn count(values: &[&str]) -> Result<Option<u32>> {
    let name = "trace_count";
    let text = single(name, values)?;
    match text.parse::<i32>() {
        Ok(-1) => Ok(None),
        Ok(number) => u32::try_from(number).map(Some).map_err(|_| {
            Error::invalid_arg(format!(
                "Unable to parse '{name}'. Expecting value >= -1, got: {number}"
            ))
        }),
        Err(_) => Err(wrong_number(name, text, "[ -1, 2147483647 ]")),
    }
}

fn single<'a>(name: &str, values: &[&'a str]) -> Result<&'a str> {
    match values {
        [value] => Ok(value),
        _ => Err(Error::invalid_arg(format!(
            "expect only 1 value for '{name}'"
        ))),
    }
}

/// Returns the error of a text that is no number of the range.
fn wrong_number(name: &str, text: &str, range: &str) -> Error {
    let is_number = !matches!(
        text.parse::<i128>().map_err(|error| *error.kind()),
        Err(IntErrorKind::InvalidDigit | IntErrorKind::Empty)
    );
    if !is_number {
        return unparsable(name, text);
    }
    Error::invalid_arg(format!(
        "Unable to parse '{name}', value is out of range {range}, got: {text}"
    ))
}

fn unparsable(name: &str, text: &str) -> Error {
    Error::invalid_arg(format!("Unable to parse '{name}', got: {text}"))
}

/// The settings that one scope (all models, or one) has of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layer {
    levels: Option<TraceLevels>,
    rate: Option<u32>,
    count: Option<Option<u32>>,
    log_frequency: Option<u32>,
}

impl Layer {
    /// Returns whether the scope has nothing of its own.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Notes how many traces are left of the layer's own count.
    pub(super) fn note_remaining(&mut self, remaining: Option<u32>) {
        if let Some(count) = &mut self.count {
            *count = remaining;
        }
    }

    pub(super) fn apply(&mut self, update: &TraceUpdate) {
        update.levels.apply(&mut self.levels);
        update.rate.apply(&mut self.rate);
        update.count.apply(&mut self.count);
        update.log_frequency.apply(&mut self.log_frequency);
    }

    /// Returns the settings with what this layer does not say taken from `below`.
    pub(super) fn over(&self, below: &TraceSettings) -> TraceSettings {
        TraceSettings {
            levels: self.levels.unwrap_or(below.levels),
            rate: self.rate.unwrap_or(below.rate),
            count: self.count.unwrap_or(below.count),
            log_frequency: self.log_frequency.unwrap_or(below.log_frequency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, values: &[&str]) -> String {
        let result = TraceUpdate::default().set(name, Some(values));
        result.expect_err("not a value").message().to_owned()
    }

    #[test]
    fn numbers_are_checked() {
        let range = "value is out of range [ 0, 4294967295 ]";
        for (text, expected) in [
            ("x", "Unable to parse 'trace_rate', got: x".to_owned()),
            ("", "Unable to parse 'trace_rate', got: ".to_owned()),
            ("5x", "Unable to parse 'trace_rate', got: 5x".to_owned()),
            (
                "-1",
                format!("Unable to parse 'trace_rate', {range}, got: -1"),
            ),
            (
                "99999999999999999999",
                format!("Unable to parse 'trace_rate', {range}, got: 99999999999999999999"),
            ),
        ] {
            assert_eq!(refusal("trace_rate", &[text]), expected);
        }
        assert_eq!(
            refusal("trace_count", &["-2"]),
            "Unable to parse 'trace_count'. Expecting value >= -1, got: -2"
        );
        assert_eq!(
            refusal("trace_count", &["2147483648"]),
            "Unable to parse 'trace_count', value is out of range [ -1, 2147483647 ], got: \
             2147483648"
        );
    }

    #[test]
    fn levels_are_checked() {
        assert_eq!(
            refusal("trace_level", &["OFF", "TENSORS"]),
            "Expect only one trace level 'OFF' is specified"
        );
        assert_eq!(
            refusal("trace_level", &["TENSOR"]),
            "Unable to parse 'trace_level', got: TENSOR"
        );
        let both = TraceLevels::parse(&["TENSORS", "TIMESTAMPS", "TENSORS"]).expect("levels");
        assert_eq!(both.names(), ["TIMESTAMPS", "TENSORS"]);
        assert_eq!(
            TraceLevels::parse(&["OFF"]).expect("a level").names(),
            ["OFF"]
        );
        assert_eq!(TraceLevels::parse(&[]).expect("none"), TraceLevels::OFF);
    }

    #[test]
    fn no_client_sets_a_path() {
        for values in [None, Some(&["/tmp/x"][..])] {
            let error = TraceUpdate::default().set("trace_file", values);
            assert_eq!(error.expect_err("never").code().http_status(), 501);
        }
    }
}
