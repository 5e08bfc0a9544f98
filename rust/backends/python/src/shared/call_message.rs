// SPDX-License-Identifier: Apache-2.0
//! The payloads of `Call` and `Control` frames: what a worker's model asks of other models.

use tritongw_types::{CorrelationId, Parameter};

use super::wire::{Reader, Writer};
use crate::host::{HostCall, ModelControl, TraceParent};

/// What a `Call` frame says, besides its inputs.
#[derive(Debug)]
pub(crate) struct CallHead<'a> {
    pub(crate) model_name: &'a str,
    pub(crate) model_version: i64,
    pub(crate) is_decoupled: bool,
    pub(crate) batch: u64,
    pub(crate) is_blocking: bool,
    pub(crate) trace: Option<TraceParent>,
    pub(crate) id: &'a str,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) flags: u32,
    pub(crate) timeout_us: u64,
    pub(crate) priority: u64,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) requested_outputs: Vec<&'a str>,
    pub(crate) input_count: usize,
}

/// Writes everything of a call that comes before its inputs.
pub(crate) fn write_call(writer: &mut Writer<'_>, call: &HostCall<'_>) {
    writer.text(call.model_name);
    writer.u64(call.model_version.cast_unsigned());
    writer.u8(u8::from(call.is_decoupled));
    writer.u64(call.batch);
    writer.u8(u8::from(call.is_blocking));
    match call.trace {
        None => writer.u8(0),
        Some(parent) => {
            writer.u8(1);
            writer.u64(parent.batch);
            writer.u32(parent.index);
        }
    }
    writer.text(call.id);
    writer.correlation_id(call.correlation_id);
    writer.u32(call.flags);
    writer.u64(call.timeout_us);
    writer.u64(call.priority);
    writer.count(call.parameters.len());
    for parameter in call.parameters {
        writer.parameter(parameter);
    }
    writer.count(call.requested_outputs.len());
    for name in call.requested_outputs {
        writer.text(name);
    }
    writer.count(call.inputs.len());
}

/// Reads what [`write_call`] wrote.
pub(crate) fn read_call<'a>(reader: &mut Reader<'a>) -> Option<CallHead<'a>> {
    let model_name = reader.text()?;
    let model_version = reader.u64()?.cast_signed();
    let is_decoupled = reader.u8()? != 0;
    let batch = reader.u64()?;
    let is_blocking = reader.u8()? != 0;
    let trace = match reader.u8()? {
        0 => None,
        _ => Some(TraceParent {
            batch: reader.u64()?,
            index: reader.u32()?,
        }),
    };
    let id = reader.text()?;
    let correlation_id = reader.correlation_id()?;
    let (flags, timeout_us, priority) = (reader.u32()?, reader.u64()?, reader.u64()?);
    let parameter_count = reader.count()?;
    let parameters = (0..parameter_count)
        .map(|_| reader.parameter())
        .collect::<Option<_>>()?;
    let output_count = reader.count()?;
    let requested_outputs = (0..output_count)
        .map(|_| reader.text())
        .collect::<Option<_>>()?;
    Some(CallHead {
        model_name,
        model_version,
        is_decoupled,
        batch,
        is_blocking,
        trace,
        id,
        correlation_id,
        flags,
        timeout_us,
        priority,
        parameters,
        requested_outputs,
        input_count: reader.count()?,
    })
}

/// What a `Control` frame asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ControlOrder<'a> {
    Load {
        name: &'a str,
        config: Option<&'a str>,
        files: Vec<(&'a str, &'a [u8])>,
    },
    Unload {
        name: &'a str,
    },
    IsReady {
        name: &'a str,
        version: &'a str,
    },
}

/// Writes the payload of a `Control` frame.
pub(crate) fn write_control(writer: &mut Writer<'_>, order: &ModelControl<'_>) {
    match order {
        ModelControl::Load {
            name,
            config,
            files,
        } => {
            writer.u8(0);
            writer.text(name);
            writer.u8(u8::from(config.is_some()));
            writer.text(config.unwrap_or_default());
            writer.count(files.len());
            for (path, data) in *files {
                writer.text(path);
                writer.aligned_data(data, 1);
            }
        }
        ModelControl::Unload { name } => {
            writer.u8(1);
            writer.text(name);
        }
        ModelControl::IsReady { name, version } => {
            writer.u8(2);
            writer.text(name);
            writer.text(version);
        }
    }
}

/// Reads what [`write_control`] wrote.
pub(crate) fn read_control<'a>(reader: &mut Reader<'a>) -> Option<ControlOrder<'a>> {
    match reader.u8()? {
        0 => {
            let name = reader.text()?;
            let has_config = reader.u8()? != 0;
            let config = Some(reader.text()?).filter(|_| has_config);
            let count = reader.count()?;
            let mut files = Vec::with_capacity(count);
            for _ in 0..count {
                files.push((reader.text()?, reader.aligned_data(1)?.1));
            }
            Some(ControlOrder::Load {
                name,
                config,
                files,
            })
        }
        1 => Some(ControlOrder::Unload {
            name: reader.text()?,
        }),
        2 => Some(ControlOrder::IsReady {
            name: reader.text()?,
            version: reader.text()?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::SmallVec;
    use tritongw_types::ParameterValue;

    #[test]
    fn a_call_comes_back() {
        let parameters = [Parameter {
            name: "p".into(),
            value: ParameterValue::Int(-1),
        }];
        let call = HostCall {
            model_name: "m",
            model_version: -1,
            id: "7",
            correlation_id: &CorrelationId::UInt(5),
            flags: 3,
            timeout_us: 9,
            priority: 2,
            parameters: &parameters,
            requested_outputs: &["O".to_owned()],
            inputs: SmallVec::new(),
            is_decoupled: true,
            batch: 4,
            is_blocking: true,
            trace: Some(TraceParent { batch: 4, index: 2 }),
        };
        let mut payload = Vec::new();
        write_call(&mut Writer::new(&mut payload), &call);
        let head = read_call(&mut Reader::new(&payload)).expect("a call");
        assert_eq!(
            (head.model_name, head.model_version, head.id),
            ("m", -1, "7")
        );
        assert_eq!((head.flags, head.timeout_us, head.batch), (3, 9, 4));
        assert_eq!(head.priority, 2);
        assert_eq!(head.trace, call.trace);
        assert_eq!(head.parameters, parameters);
        assert_eq!((head.requested_outputs, head.input_count), (vec!["O"], 0));
        assert!(head.is_decoupled && head.is_blocking);
        for end in 0..payload.len() {
            assert!(read_call(&mut Reader::new(&payload[..end])).is_none());
        }
    }

    #[test]
    fn control_comes_back() {
        let files = [("file:1/model.py".to_owned(), &b"code"[..])];
        let orders = [
            ModelControl::Load {
                name: "m",
                config: Some("{}"),
                files: &files,
            },
            ModelControl::Unload { name: "m" },
            ModelControl::IsReady {
                name: "m",
                version: "1",
            },
        ];
        let expected = [
            ControlOrder::Load {
                name: "m",
                config: Some("{}"),
                files: vec![("file:1/model.py", &b"code"[..])],
            },
            ControlOrder::Unload { name: "m" },
            ControlOrder::IsReady {
                name: "m",
                version: "1",
            },
        ];
        for (order, expected) in orders.iter().zip(expected) {
            let mut payload = Vec::new();
            write_control(&mut Writer::new(&mut payload), order);
            let read = read_control(&mut Reader::new(&payload));
            assert_eq!(read, Some(expected));
        }
    }
}
