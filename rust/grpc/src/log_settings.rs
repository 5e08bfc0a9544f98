// SPDX-License-Identifier: Apache-2.0
use tritongw_engine::{LogFormat, LogSettings, LogUpdate, Server};
use tritongw_protocol::pb;
use tritongw_protocol::pb::log_settings_request::setting_value::ParameterChoice as Asked;
use tritongw_protocol::pb::log_settings_response::SettingValue;
use tritongw_protocol::pb::log_settings_response::setting_value::ParameterChoice as Told;
use tritongw_types::{Error, Result};

/// Changes the log settings if asked to, and tells them (P130).
pub(crate) fn log_settings(
    server: &Server,
    request: &pb::LogSettingsRequest,
) -> Result<pb::LogSettingsResponse> {
    let log = server.log();
    if !request.settings.is_empty() {
        log.update(&parse(request)?);
    }
    Ok(render(&log.settings()))
}

/// What a client may name, in the order in which Triton looks.
const NAMES: [&str; 6] = [
    "log_file",
    "log_info",
    "log_warning",
    "log_error",
    "log_verbose_level",
    "log_format",
];

/// Reads what a client wants changed; other names change nothing.
fn parse(request: &pb::LogSettingsRequest) -> Result<LogUpdate> {
    let mut update = LogUpdate::default();
    for name in NAMES {
        let Some(value) = request.settings.get(name) else {
            continue;
        };
        let value = value.parameter_choice.as_ref();
        match name {
            "log_file" => {
                return Err(Error::unsupported(
                    "log file location can not be updated through network protocol",
                ));
            }
            "log_info" => update.info = Some(boolean(name, value)?),
            "log_warning" => update.warning = Some(boolean(name, value)?),
            "log_error" => update.error = Some(boolean(name, value)?),
            "log_verbose_level" => match value {
                Some(Asked::Uint32Param(level)) => update.verbose_level = Some(*level),
                _ => return Err(expected("int32", name)),
            },
            "log_format" => update.format = Some(format(name, value)?),
            _ => {}
        }
    }
    Ok(update)
}

fn boolean(name: &str, value: Option<&Asked>) -> Result<bool> {
    match value {
        Some(Asked::BoolParam(value)) => Ok(*value),
        _ => Err(expected("boolean", name)),
    }
}

fn format(name: &str, value: Option<&Asked>) -> Result<LogFormat> {
    let Some(Asked::StringParam(text)) = value else {
        return Err(expected("string", name));
    };
    LogFormat::from_name(text)
        .ok_or_else(|| Error::invalid_arg(format!("invalid argument for log_format, got: {text}")))
}

fn expected(kind: &str, name: &str) -> Error {
    Error::invalid_arg(format!("expect {kind} for '{name}'"))
}

fn render(settings: &LogSettings) -> pb::LogSettingsResponse {
    let values = [
        ("log_file", Told::StringParam(settings.file.clone())),
        ("log_info", Told::BoolParam(settings.info)),
        ("log_warning", Told::BoolParam(settings.warning)),
        ("log_error", Told::BoolParam(settings.error)),
        (
            "log_verbose_level",
            Told::Uint32Param(settings.verbose_level),
        ),
        (
            "log_format",
            Told::StringParam(settings.format.name().to_owned()),
        ),
    ];
    let settings = values
        .into_iter()
        .map(|(name, value)| {
            let value = SettingValue {
                parameter_choice: Some(value),
            };
            (name.to_owned(), value)
        })
        .collect();
    pb::LogSettingsResponse { settings }
}
