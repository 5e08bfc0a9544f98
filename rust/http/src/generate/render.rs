// SPDX-License-Identifier: Apache-2.0
//! A response as one flat JSON object (P114).

use bytes::Bytes;
use hyper::StatusCode;
use tritongw_engine::{InferenceResponse, OutputTensor};
use tritongw_types::{Error, ParameterValue, Result};

use crate::codec;
use crate::json::Writer;
use crate::response;

/// A response or an error, as JSON.
#[derive(Debug)]
pub(super) struct Rendered {
    json: Vec<u8>,
    status: StatusCode,
}

impl Rendered {
    /// Returns the status of an answer that begins with it.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn into_json(self) -> Bytes {
        self.json.into()
    }

    /// Returns a server-sent event. JSON holds no line break, so one line does.
    pub(super) fn into_event(self) -> Bytes {
        let mut event = Vec::with_capacity(self.json.len() + 8);
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(&self.json);
        event.extend_from_slice(b"\n\n");
        event.into()
    }
}

impl From<Error> for Rendered {
    fn from(error: Error) -> Self {
        Self {
            json: response::error_json(error.message()),
            status: response::status_of(&error),
        }
    }
}

/// Renders a response, or the error it carries.
pub(super) fn render(response: &mut InferenceResponse) -> Rendered {
    if let Some(error) = response.error() {
        return error.clone().into();
    }
    match render_members(response) {
        Ok(json) => Rendered {
            json,
            status: StatusCode::OK,
        },
        Err(error) => error.into(),
    }
}

/// A member's value before it is written.
enum Member<'a> {
    Output(&'a OutputTensor),
    Parameter(&'a ParameterValue),
    Text(&'a str),
    Version(i64),
}

fn render_members(response: &InferenceResponse) -> Result<Vec<u8>> {
    let mut members: Vec<(&str, Member<'_>)> = vec![
        ("model_name", Member::Text(response.model().name())),
        ("model_version", Member::Version(response.model().version())),
    ];
    if !response.request_id().is_empty() {
        members.push(("id", Member::Text(response.request_id())));
    }
    let outputs = response.outputs();
    members.extend(outputs.map(|output| (&*output.name, Member::Output(output))));
    let parameters = response.parameters().iter();
    members.extend(parameters.map(|each| (&*each.name, Member::Parameter(&each.value))));
    // Stable, so that of equal names the server's own stays.
    members.sort_by_key(|(name, _)| *name);
    members.dedup_by_key(|(name, _)| *name);

    let mut writer = Writer::with_capacity(128);
    writer.begin_object();
    for (name, member) in members {
        writer.key(name);
        match member {
            Member::Output(output) => codec::write_generated(&mut writer, output)?,
            Member::Parameter(value) => codec::write_parameter(&mut writer, value),
            Member::Text(text) => writer.string(text),
            Member::Version(version) => writer.quoted_integer(version),
        }
    }
    writer.end_object();
    Ok(writer.into_bytes())
}
