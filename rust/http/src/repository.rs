// SPDX-License-Identifier: Apache-2.0
//! The model repository extension: index, load, unload (P015-P017, P096).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Response, StatusCode};
use tokio::sync::oneshot;
use tritongw_engine::{ModelLoad, ModelVersionIndex, OperationDone};
use tritongw_types::{Error, Result};

use crate::body::RequestBody;
use crate::door::Door;
use crate::json::{Reader, SyntaxError, ValueKind, Writer};
use crate::refusal::Refusal;
use crate::response::{self, ResponseBody};
use crate::route::Route;

/// Triton's words for a value of the wrong type; they name no field here.
const NOT_A_STRING: &str = "attempt to access JSON non-string as string";
const NOT_A_BOOL: &str = "attempt to access JSON non-boolean as boolean";
const NOT_AN_OBJECT: &str = "attempt to get members for non-object";

/// Answers with the state of every model (R049).
pub(crate) async fn index(
    door: &Door,
    body: &mut RequestBody<'_>,
) -> Result<Response<ResponseBody>, Refusal> {
    let bytes = body.receive(door.max_input_size, None).await?;
    let only_ready = read_only_ready(&bytes)?;
    let mut index = door.server.index();
    index.retain(|entry| entry.is_ready() || !only_ready);
    Ok(response::json(render(&index)))
}

/// Loads a model and answers when it serves.
pub(crate) async fn load(
    door: &Door,
    route: &Route<'_>,
    body: &mut RequestBody<'_>,
) -> Result<Response<ResponseBody>, Refusal> {
    let bytes = body.receive(door.max_input_size, None).await?;
    // A load takes as long as it takes; the connection is not idle meanwhile.
    let _working = body.activity().work();
    let load = read_load(&route.model(), &bytes)?;
    drop(bytes);
    outcome(|done| door.server.load_model(load, done)).await
}

/// Takes a model out of service.
pub(crate) async fn unload(
    door: &Door,
    route: &Route<'_>,
    body: &mut RequestBody<'_>,
) -> Result<Response<ResponseBody>, Refusal> {
    let bytes = body.receive(door.max_input_size, None).await?;
    let _working = body.activity().work();
    check_unload(&bytes)?;
    outcome(|done| door.server.unload_model(&route.model(), done)).await
}

/// Waits for the end of an operation; success has no body.
async fn outcome(begin: impl FnOnce(OperationDone)) -> Result<Response<ResponseBody>, Refusal> {
    let (done, outcome) = oneshot::channel();
    // A client that has gone does not want to know.
    begin(Box::new(move |result| drop(done.send(result))));
    let lost = |_| Err(Error::internal("the outcome was lost"));
    outcome.await.unwrap_or_else(lost)?;
    Ok(response::empty(StatusCode::OK))
}

fn read_only_ready(body: &[u8]) -> Result<bool> {
    let mut only_ready = false;
    read_body(body, |reader, name| match name {
        "ready" => {
            only_ready = read_bool(reader)?;
            Ok(())
        }
        _ => Ok(reader.skip_value()?),
    })?;
    Ok(only_ready)
}

fn read_load(model: &str, body: &[u8]) -> Result<ModelLoad> {
    let mut load = ModelLoad {
        name: model.to_owned(),
        ..ModelLoad::default()
    };
    read_parameters(body, |reader, name| {
        match name.strip_prefix("file:") {
            Some(path) => load
                .files
                .push((path.to_owned(), decode(name, &read_string(reader)?)?)),
            None if name == "config" => load.config = Some(read_string(reader)?.into_owned()),
            None => {
                read_string(reader)?;
                return Err(internal("unexpected error on creating Triton parameter"));
            }
        }
        Ok(())
    })?;
    Ok(load)
}

/// Reads the parameters of an unload request. There are no ensembles yet, so that no model has
/// others to take with it, whatever `unload_dependents` says.
fn check_unload(body: &[u8]) -> Result<()> {
    read_parameters(body, |reader, name| match name {
        "unload_dependents" => read_bool(reader).map(drop),
        _ => Ok(reader.skip_value()?),
    })
}

fn decode(parameter: &str, text: &str) -> Result<Bytes, ReadError> {
    match STANDARD.decode(text) {
        Ok(content) => Ok(content.into()),
        Err(source) => {
            let message = format!("load parameter '{parameter}' is not valid base64: {source}");
            Err(Error::invalid_arg(message).with_source(source).into())
        }
    }
}

fn render(index: &[ModelVersionIndex]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64 * index.len() + 8);
    writer.begin_array();
    for entry in index {
        writer.begin_object();
        writer.key("name");
        writer.string(&entry.name);
        if let Some(version) = entry.version {
            writer.key("version");
            writer.quoted_integer(version);
        }
        if let Some(state) = entry.state {
            writer.key("state");
            writer.string(state.as_str());
            if !entry.reason.is_empty() {
                writer.key("reason");
                writer.string(&entry.reason);
            }
        }
        writer.end_object();
    }
    writer.end_array();
    writer.into_bytes()
}

/// What is wrong with a body. Triton: here, unlike with inference, bad JSON is an internal error.
pub(crate) struct ReadError(Error);

impl From<SyntaxError> for ReadError {
    fn from(error: SyntaxError) -> Self {
        internal(&format!("failed to parse the request JSON buffer: {error}"))
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        error.0
    }
}

fn internal(message: &str) -> ReadError {
    ReadError(Error::internal(message))
}

/// Reads the members of `parameters`.
fn read_parameters(
    body: &[u8],
    mut parameter: impl FnMut(&mut Reader<'_>, &str) -> Result<(), ReadError>,
) -> Result<()> {
    read_body(body, |reader, name| {
        if name != "parameters" {
            return Ok(reader.skip_value()?);
        }
        if reader.kind() != ValueKind::Object {
            return Err(internal(NOT_AN_OBJECT));
        }
        reader.read_object(&mut parameter)
    })
}

/// Reads the members of a body, which may be empty; one that is no object has none.
pub(crate) fn read_body(
    body: &[u8],
    member: impl FnMut(&mut Reader<'_>, &str) -> Result<(), ReadError>,
) -> Result<()> {
    if body.is_empty() {
        return Ok(());
    }
    let read = Reader::new(body).read_document(|reader| match reader.kind() {
        ValueKind::Object => reader.read_object(member),
        _ => Ok(reader.skip_value()?),
    });
    read.map_err(Error::from)
}

/// Reads a text.
pub(crate) fn read_string<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, str>, ReadError> {
    if reader.kind() != ValueKind::String {
        return Err(internal(NOT_A_STRING));
    }
    Ok(match reader.read_string()? {
        Cow::Borrowed(text) => String::from_utf8_lossy(text),
        Cow::Owned(text) => Cow::Owned(String::from_utf8_lossy(&text).into_owned()),
    })
}

fn read_bool(reader: &mut Reader<'_>) -> Result<bool, ReadError> {
    if reader.kind() != ValueKind::Bool {
        return Err(internal(NOT_A_BOOL));
    }
    Ok(reader.read_bool()?)
}
