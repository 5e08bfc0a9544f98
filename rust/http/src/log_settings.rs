// SPDX-License-Identifier: Apache-2.0
//! Log settings over HTTP (P014, P101, P102).

use tritongw_engine::{LogFormat, LogSettings, LogUpdate};
use tritongw_types::{Error, Result};

use crate::json::{Reader, SyntaxError, ValueKind, Writer};

/// Renders the settings in Triton's order.
pub(crate) fn render(settings: &LogSettings) -> Vec<u8> {
    let mut writer = Writer::with_capacity(128);
    writer.begin_object();
    writer.key("log_file");
    writer.string(&settings.file);
    for (name, value) in [
        ("log_info", settings.info),
        ("log_warning", settings.warning),
        ("log_error", settings.error),
    ] {
        writer.key(name);
        writer.bool(value);
    }
    writer.key("log_verbose_level");
    writer.integer(settings.verbose_level);
    writer.key("log_format");
    writer.string(settings.format.name());
    writer.end_object();
    writer.into_bytes()
}

/// What a body asks for, each value read or refused on its own.
#[derive(Default)]
struct Asked {
    has_file: bool,
    info: Option<Result<bool>>,
    warning: Option<Result<bool>>,
    error: Option<Result<bool>>,
    verbose_level: Option<Result<u32>>,
    format: Option<Result<LogFormat>>,
}

/// Reads what a client wants changed; null changes nothing, and neither do other names. Of several
/// refusals the one is told that Triton looks at first.
///
/// # Errors
/// `InvalidArg` if the body is no JSON, `Internal` if a value is of the wrong type, `Unsupported`
/// for the file, which no client may choose, `Unavailable` for a format that is none.
pub(crate) fn parse(body: &[u8]) -> Result<LogUpdate> {
    let mut asked = Asked::default();
    Reader::new(body).read_document(|reader| {
        if reader.kind() != ValueKind::Object {
            return reader.skip_value();
        }
        reader.read_object(|reader, name| read_member(reader, name, &mut asked))
    })?;
    if asked.has_file {
        return Err(Error::unsupported(
            "log file location can not be updated through network protocol",
        ));
    }
    Ok(LogUpdate {
        info: asked.info.transpose()?,
        warning: asked.warning.transpose()?,
        error: asked.error.transpose()?,
        verbose_level: asked.verbose_level.transpose()?,
        format: asked.format.transpose()?,
    })
}

fn read_member(reader: &mut Reader<'_>, name: &str, asked: &mut Asked) -> Result<(), SyntaxError> {
    if reader.kind() == ValueKind::Null {
        return reader.skip_value();
    }
    match name {
        "log_info" => asked.info = Some(read_bool(reader)?),
        "log_warning" => asked.warning = Some(read_bool(reader)?),
        "log_error" => asked.error = Some(read_bool(reader)?),
        "log_verbose_level" => asked.verbose_level = Some(read_level(reader)?),
        "log_format" => asked.format = Some(read_format(reader)?),
        _ => {
            asked.has_file |= name == "log_file";
            reader.skip_value()?;
        }
    }
    Ok(())
}

/// Reads past a value of another type than `expected`, and refuses it in Triton's words.
fn wrong_type<T>(reader: &mut Reader<'_>, expected: &str) -> Result<Result<T>, SyntaxError> {
    reader.skip_value()?;
    let message = format!("attempt to access JSON non-{expected} as {expected}");
    Ok(Err(Error::internal(message)))
}

fn read_bool(reader: &mut Reader<'_>) -> Result<Result<bool>, SyntaxError> {
    match reader.kind() {
        ValueKind::Bool => reader.read_bool().map(Ok),
        _ => wrong_type(reader, "boolean"),
    }
}

fn read_level(reader: &mut Reader<'_>) -> Result<Result<u32>, SyntaxError> {
    const EXPECTED: &str = "unsigned-integer";
    if reader.kind() != ValueKind::Number {
        return wrong_type(reader, EXPECTED);
    }
    // Triton: cuts the level to 32 bits.
    let level = reader.read_number()?.as_u64();
    let level = level.and_then(|level| u32::try_from(level).ok());
    Ok(level.ok_or_else(|| {
        Error::internal(format!(
            "attempt to access JSON non-{EXPECTED} as {EXPECTED}"
        ))
    }))
}

fn read_format(reader: &mut Reader<'_>) -> Result<Result<LogFormat>, SyntaxError> {
    if reader.kind() != ValueKind::String {
        return wrong_type(reader, "string");
    }
    let text = reader.read_string()?;
    let name = String::from_utf8_lossy(&text);
    Ok(LogFormat::from_name(&name).ok_or_else(|| {
        Error::unavailable(format!("invalid argument for --log_format, got: {name}"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_refusals_tritons_first_is_told() {
        let refusal = |body: &str| parse(body.as_bytes()).expect_err(body).message().to_owned();
        assert_eq!(
            refusal(r#"{"log_format":"x","log_info":1}"#),
            "attempt to access JSON non-boolean as boolean"
        );
        assert_eq!(
            refusal(r#"{"log_verbose_level":-1,"log_file":"x"}"#),
            "log file location can not be updated through network protocol"
        );
        assert!(refusal(r#"{"log_file":"x""#).starts_with("failed to parse the request JSON"));
    }

    #[test]
    fn null_and_other_names_change_nothing() {
        let body = br#"{"log_info":null,"log_file":null,"x":[1],"log_verbose_level":4294967295}"#;
        let expected = LogUpdate {
            verbose_level: Some(u32::MAX),
            ..LogUpdate::default()
        };
        assert_eq!(parse(body).expect("valid"), expected);
        assert_eq!(parse(b"[]").expect("valid"), LogUpdate::default());
    }
}
