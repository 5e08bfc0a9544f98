// SPDX-License-Identifier: Apache-2.0
use tritongw_engine::Server;
use tritongw_engine::trace::TraceUpdate;
use tritongw_protocol::pb;
use tritongw_protocol::pb::trace_setting_response::SettingValue;
use tritongw_types::Result;

/// Changes the trace settings of a model, or the global ones, if asked to, and tells them (P129).
pub(crate) fn trace_setting(
    server: &Server,
    request: &pb::TraceSettingRequest,
) -> Result<pb::TraceSettingResponse> {
    let model = Some(request.model_name.as_str()).filter(|name| !name.is_empty());
    if let Some(model) = model {
        server.model(model, None)?;
    }
    if !request.settings.is_empty() {
        let mut update = TraceUpdate::default();
        for name in TraceUpdate::NAMES {
            if let Some(value) = request.settings.get(name) {
                let values: Vec<&str> = value.value.iter().map(String::as_str).collect();
                update.set(name, (!values.is_empty()).then_some(&values))?;
            }
        }
        server.traces().update(model, &update)?;
    }
    let settings = server.traces().settings(model);
    let settings = settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), SettingValue { value }))
        .collect();
    Ok(pb::TraceSettingResponse { settings })
}
