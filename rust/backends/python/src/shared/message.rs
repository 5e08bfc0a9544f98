// SPDX-License-Identifier: Apache-2.0
//! The payloads of `Execute` and `Response` frames.
//!
//! A tensor's data lies in the payload, or in a slab that the payload names by offset and size.
//! Either is read back as a [`TensorPlace`]; whether it lies inside is checked by whoever owns the
//! slab.

use tritongw_types::{DataType, Error, Parameter, Shape};

use super::wire::{Reader, Writer};
use crate::host::HostRequest;

/// Data in a payload begins at a multiple of this, which suits every element type.
pub(crate) const DATA_ALIGNMENT: usize = 16;

/// Where the data of a tensor lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TensorPlace {
    /// In the payload itself.
    Inline {
        /// Offset in the payload.
        offset: usize,
        /// Size in bytes.
        byte_size: usize,
    },
    /// In the slab of the side that wrote the frame.
    Slab(SlabRange),
    /// In the slab of the side that reads the frame: an input of the batch that the frame is about,
    /// or an output of a called model. No slot.
    Passed(SlabRange),
}

/// A range of a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlabRange {
    /// Offset in the slab.
    pub(crate) offset: u64,
    /// Size in bytes.
    pub(crate) byte_size: u64,
    /// Release flag of the range; 0 in a slab that has none.
    pub(crate) slot: u32,
}

/// What is written for a tensor's data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TensorSource<'a> {
    /// Data to copy into the payload.
    Inline(&'a [u8]),
    /// Data that lies in the slab already.
    Slab(SlabRange),
    /// Data that the frame's reader has sent, handed on as it lies in its slab.
    Passed(SlabRange),
}

/// A tensor as read from a payload.
#[derive(Debug)]
pub(crate) struct TensorHead<'a> {
    pub(crate) name: &'a str,
    pub(crate) data_type: DataType,
    pub(crate) shape: Shape,
    pub(crate) place: TensorPlace,
}

/// Writes a tensor.
pub(crate) fn write_tensor(
    writer: &mut Writer<'_>,
    name: &str,
    data_type: DataType,
    shape: &Shape,
    source: TensorSource<'_>,
) {
    writer.text(name);
    writer.u8(data_type as u8);
    writer.shape(shape);
    match source {
        TensorSource::Inline(data) => {
            writer.u8(0);
            writer.aligned_data(data, DATA_ALIGNMENT);
        }
        TensorSource::Slab(range) => {
            writer.u8(1);
            write_range(writer, range);
        }
        TensorSource::Passed(range) => {
            writer.u8(2);
            write_range(writer, range);
        }
    }
}

fn write_range(writer: &mut Writer<'_>, range: SlabRange) {
    writer.u64(range.offset);
    writer.u64(range.byte_size);
    writer.u32(range.slot);
}

fn read_range(reader: &mut Reader<'_>) -> Option<SlabRange> {
    Some(SlabRange {
        offset: reader.u64()?,
        byte_size: reader.u64()?,
        slot: reader.u32()?,
    })
}

/// Reads a tensor.
pub(crate) fn read_tensor<'a>(reader: &mut Reader<'a>) -> Option<TensorHead<'a>> {
    let name = reader.text()?;
    let data_type = reader.data_type()?;
    let shape = reader.shape()?;
    let place = match reader.u8()? {
        0 => {
            let (offset, data) = reader.aligned_data(DATA_ALIGNMENT)?;
            TensorPlace::Inline {
                offset,
                byte_size: data.len(),
            }
        }
        1 => TensorPlace::Slab(read_range(reader)?),
        2 => TensorPlace::Passed(read_range(reader)?),
        _ => return None,
    };
    Some(TensorHead {
        name,
        data_type,
        shape,
        place,
    })
}

/// What an `Execute` frame says of a request, besides its inputs.
#[derive(Debug)]
pub(crate) struct RequestHead<'a> {
    pub(crate) id: &'a str,
    pub(crate) correlation_id: &'a tritongw_types::CorrelationId,
    pub(crate) flags: u32,
    pub(crate) timeout_us: u64,
    pub(crate) priority: u64,
    pub(crate) parameters: &'a str,
    /// Context of the trace as JSON, empty if there is none.
    pub(crate) trace_context: &'a str,
}

/// Writes everything of a request that comes before its inputs.
pub(crate) fn write_request<'n>(
    writer: &mut Writer<'_>,
    head: &RequestHead<'_>,
    requested_outputs: impl ExactSizeIterator<Item = &'n str>,
    input_count: usize,
) {
    writer.text(head.id);
    writer.correlation_id(head.correlation_id);
    writer.u32(head.flags);
    writer.u64(head.timeout_us);
    writer.u64(head.priority);
    writer.text(head.parameters);
    writer.text(head.trace_context);
    writer.count(requested_outputs.len());
    for name in requested_outputs {
        writer.text(name);
    }
    writer.count(input_count);
}

/// Reads what [`write_request`] wrote; returns it without inputs, and their number.
pub(crate) fn read_request(reader: &mut Reader<'_>) -> Option<(HostRequest, usize)> {
    let id = reader.text()?.to_owned();
    let correlation_id = reader.correlation_id()?;
    let flags = reader.u32()?;
    let timeout_us = reader.u64()?;
    let priority = reader.u64()?;
    let parameters = reader.text()?.to_owned();
    let trace_context = Some(reader.text()?).filter(|context| !context.is_empty());
    let output_count = reader.count()?;
    let requested_outputs = (0..output_count)
        .map(|_| reader.text().map(str::to_owned))
        .collect::<Option<_>>()?;
    let input_count = reader.count()?;
    let inputs = Vec::with_capacity(input_count);
    let request = HostRequest {
        id,
        correlation_id,
        flags,
        timeout_us,
        priority,
        parameters,
        trace_context: trace_context.map(str::to_owned),
        requested_outputs,
        inputs,
    };
    Some((request, input_count))
}

/// Writes everything of a response that comes before its outputs.
pub(crate) fn write_response(
    writer: &mut Writer<'_>,
    error: Option<&Error>,
    parameters: &[Parameter],
    output_count: usize,
) {
    match error {
        None => writer.u8(0),
        Some(error) => {
            writer.u8(1);
            writer.error(error);
        }
    }
    writer.count(parameters.len());
    for parameter in parameters {
        writer.parameter(parameter);
    }
    writer.count(output_count);
}

/// What [`write_response`] wrote.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) error: Option<Error>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) output_count: usize,
}

/// Reads what [`write_response`] wrote.
pub(crate) fn read_response(reader: &mut Reader<'_>) -> Option<ResponseHead> {
    let error = match reader.u8()? {
        0 => None,
        1 => Some(reader.error()?),
        _ => return None,
    };
    let parameter_count = reader.count()?;
    let parameters = (0..parameter_count)
        .map(|_| reader.parameter())
        .collect::<Option<_>>()?;
    Some(ResponseHead {
        error,
        parameters,
        output_count: reader.count()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tritongw_types::CorrelationId;

    #[test]
    fn a_request_comes_back() {
        let correlation_id = CorrelationId::UInt(5);
        let head = RequestHead {
            id: "7",
            correlation_id: &correlation_id,
            flags: 3,
            timeout_us: 9,
            priority: 2,
            parameters: "{}",
            trace_context: "[]",
        };
        let range = SlabRange {
            offset: 4096,
            byte_size: 12,
            slot: 0,
        };
        let mut payload = Vec::new();
        let mut writer = Writer::new(&mut payload);
        write_request(&mut writer, &head, ["O"].into_iter(), 2);
        let (fp32, shape) = (DataType::Fp32, Shape::from([1]));
        write_tensor(
            &mut writer,
            "A",
            fp32,
            &shape,
            TensorSource::Inline(&[1, 2, 3, 4]),
        );
        write_tensor(
            &mut writer,
            "B",
            fp32,
            &Shape::from([3]),
            TensorSource::Slab(range),
        );

        let mut reader = Reader::new(&payload);
        let (request, input_count) = read_request(&mut reader).expect("a request");
        assert_eq!(
            (request.id.as_str(), request.flags, input_count),
            ("7", 3, 2)
        );
        assert_eq!(request.requested_outputs, ["O"]);
        assert_eq!(request.trace_context.as_deref(), Some("[]"));
        let first = read_tensor(&mut reader).expect("a tensor");
        let TensorPlace::Inline { offset, byte_size } = first.place else {
            panic!("expected inline data, found {:?}", first.place);
        };
        assert_eq!(offset % DATA_ALIGNMENT, 0);
        assert_eq!(payload[offset..offset + byte_size], [1, 2, 3, 4]);
        let second = read_tensor(&mut reader).expect("a tensor");
        assert_eq!((second.name, second.place), ("B", TensorPlace::Slab(range)));
    }

    proptest! {
        #[test]
        fn random_payloads_are_refused_or_read_but_never_panic(
            payload in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let _ = read_request(&mut Reader::new(&payload));
            let _ = read_response(&mut Reader::new(&payload));
            if let Some(tensor) = read_tensor(&mut Reader::new(&payload))
                && let TensorPlace::Inline { offset, byte_size } = tensor.place
            {
                prop_assert!(offset + byte_size <= payload.len());
            }
        }
    }
}
