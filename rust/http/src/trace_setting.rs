// SPDX-License-Identifier: Apache-2.0
//! Trace settings over HTTP (P012, P013, P097-P099).

use std::borrow::Cow;

use tritongw_engine::trace::{TraceManager, TraceUpdate};
use tritongw_types::{Error, Result};

use crate::json::{Reader, SyntaxError, ValueKind, Writer};

/// Renders the settings of `model`, or the global ones. All values are strings, and those that
/// can be several are arrays (G7.03).
pub(crate) fn render(traces: &TraceManager, model: Option<&str>) -> Vec<u8> {
    let mut writer = Writer::with_capacity(256);
    writer.begin_object();
    for (name, values) in traces.settings(model) {
        writer.key(name);
        match values.as_slice() {
            [value] if name != "trace_level" => writer.string(value),
            values => {
                writer.begin_array();
                values.iter().for_each(|value| writer.string(value));
                writer.end_array();
            }
        }
    }
    writer.end_object();
    writer.into_bytes()
}

/// Reads what a client wants changed.
///
/// # Errors
/// `Internal` if the body is no JSON or a value is of the wrong type, as Triton says it; else
/// those of [`TraceUpdate::set`].
pub(crate) fn parse(body: &[u8]) -> Result<TraceUpdate> {
    let mut update = TraceUpdate::default();
    let mut reader = Reader::new(body);
    let read = reader.read_document(|reader| {
        if reader.kind() != ValueKind::Object {
            return Ok::<_, Problem>(reader.skip_value()?);
        }
        reader.read_object(|reader, name| read_member(reader, name, &mut update))
    });
    match read {
        Ok(()) => Ok(update),
        Err(Problem::Syntax(error)) => Err(no_json(error)),
        Err(Problem::Invalid(error)) => {
            // Triton: reads the whole text first.
            let mut whole = Reader::new(body);
            whole.read_document(Reader::skip_value).map_err(no_json)?;
            Err(error)
        }
    }
}

fn no_json(error: SyntaxError) -> Error {
    Error::internal(format!("failed to parse the request JSON buffer: {error}"))
}

enum Problem {
    Syntax(SyntaxError),
    Invalid(Error),
}

impl From<SyntaxError> for Problem {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

fn read_member(
    reader: &mut Reader<'_>,
    name: &str,
    update: &mut TraceUpdate,
) -> Result<(), Problem> {
    let values = match (name, reader.kind()) {
        ("trace_rate" | "trace_count" | "log_frequency" | "trace_level", ValueKind::Null) => {
            reader.skip_value()?;
            None
        }
        ("trace_rate" | "trace_count" | "log_frequency", _) => Some(vec![read_string(reader)?]),
        ("trace_level", ValueKind::Array) => {
            let mut values = Vec::new();
            reader.read_array(|reader| {
                values.push(read_string(reader)?);
                Ok::<_, Problem>(())
            })?;
            Some(values)
        }
        ("trace_level", _) => {
            let message = "attempt to access JSON non-array as array";
            return Err(Problem::Invalid(Error::internal(message)));
        }
        // Refused by its name, or ignored.
        _ => {
            reader.skip_value()?;
            None
        }
    };
    let values = values.as_deref().map(as_strs);
    update
        .set(name, values.as_deref())
        .map_err(Problem::Invalid)
}

fn as_strs<'a>(values: &'a [Cow<'_, str>]) -> Vec<&'a str> {
    values.iter().map(|value| &**value).collect()
}

fn read_string<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, str>, Problem> {
    if reader.kind() != ValueKind::String {
        let message = "attempt to access JSON non-string as string";
        return Err(Problem::Invalid(Error::internal(message)));
    }
    Ok(match reader.read_string()? {
        Cow::Borrowed(text) => String::from_utf8_lossy(text),
        Cow::Owned(text) => Cow::Owned(String::from_utf8_lossy(&text).into_owned()),
    })
}
