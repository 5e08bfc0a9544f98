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
/// `InvalidArg` if the body is no JSON, `Internal` if a value is of the wrong type, as Triton says
/// it; else those of [`TraceUpdate::set`].
pub(crate) fn parse(body: &[u8]) -> Result<TraceUpdate> {
    let mut members = Vec::new();
    Reader::new(body).read_document(|reader| {
        if reader.kind() != ValueKind::Object {
            return reader.skip_value();
        }
        reader.read_object(|reader, name| {
            let known = TraceUpdate::NAMES.into_iter().find(|known| *known == name);
            match known {
                Some(name) => members.push((name, read_values(reader, name)?)),
                None => reader.skip_value()?,
            }
            Ok(())
        })
    })?;
    let mut update = TraceUpdate::default();
    for name in TraceUpdate::NAMES {
        for (_, values) in members.extract_if(.., |(of, _)| *of == name) {
            let values = values?;
            let values: Option<Vec<&str>> = values
                .as_ref()
                .map(|values| values.iter().map(|value| &**value).collect());
            update.set(name, values.as_deref())?;
        }
    }
    Ok(update)
}

/// What stands for a setting: its values, `None` to clear it; or what is wrong with their type.
type Values<'a> = Result<Option<Vec<Cow<'a, str>>>>;

/// Reads the value of a setting, whatever it is.
fn read_values<'a>(reader: &mut Reader<'a>, name: &str) -> Result<Values<'a>, SyntaxError> {
    let wrong_type = |message| Ok(Err(Error::internal(message)));
    match (name, reader.kind()) {
        // Refused by its name.
        ("trace_file", _) | (_, ValueKind::Null) => {
            reader.skip_value()?;
            Ok(Ok(None))
        }
        ("trace_level", ValueKind::Array) => {
            let mut values = Vec::new();
            reader.read_array(|reader| {
                values.push(read_string(reader)?);
                Ok::<_, SyntaxError>(())
            })?;
            let values = values.into_iter().collect::<Result<Vec<_>>>();
            Ok(values.map(Some))
        }
        ("trace_level", _) => {
            reader.skip_value()?;
            wrong_type("attempt to access JSON non-array as array")
        }
        _ => Ok(read_string(reader)?.map(|value| Some(vec![value]))),
    }
}

/// Reads a string, or past what is none.
fn read_string<'a>(reader: &mut Reader<'a>) -> Result<Result<Cow<'a, str>>, SyntaxError> {
    if reader.kind() != ValueKind::String {
        reader.skip_value()?;
        let message = "attempt to access JSON non-string as string";
        return Ok(Err(Error::internal(message)));
    }
    Ok(Ok(match reader.read_string()? {
        Cow::Borrowed(text) => String::from_utf8_lossy(text),
        Cow::Owned(text) => Cow::Owned(String::from_utf8_lossy(&text).into_owned()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> (u16, String) {
        let error = parse(body.as_bytes()).expect_err(body);
        (error.code().http_status(), error.message().to_owned())
    }

    #[test]
    fn of_several_errors_the_one_that_triton_looks_at_first_is_told() {
        let (status, text) = refusal(r#"{"log_frequency":7,"trace_rate":"x","trace_level":["y"]}"#);
        assert_eq!(status, 400);
        assert_eq!(text, "Unable to parse 'trace_level', got: y");
        let (status, text) = refusal(r#"{"trace_count":"x","trace_rate":7}"#);
        assert_eq!(status, 500);
        assert_eq!(text, "attempt to access JSON non-string as string");
        assert_eq!(refusal(r#"{"trace_rate":7,"trace_file":null}"#).0, 501);
    }

    #[test]
    fn what_is_no_json_is_refused_as_a_whole() {
        let (status, text) = refusal(r#"{"trace_file":1"#);
        assert_eq!(status, 400);
        assert!(text.starts_with("failed to parse the request JSON buffer: "));
    }
}
