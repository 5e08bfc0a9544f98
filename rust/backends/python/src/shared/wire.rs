// SPDX-License-Identifier: Apache-2.0
//! Numbers and texts in the payload of a frame: little-endian, texts with their length first.

use tritongw_types::{CorrelationId, DataType, Error, ErrorCode, Parameter, ParameterValue, Shape};

/// Dimensions that a tensor may have; more is no tensor of good faith.
const MAX_RANK: usize = 64;

/// Appends values to a payload.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    payload: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Begins a payload in place of what `payload` holds.
    pub(crate) fn new(payload: &'a mut Vec<u8>) -> Self {
        payload.clear();
        Self { payload }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.payload.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.payload.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.payload.extend_from_slice(&value.to_le_bytes());
    }

    /// Writes a number of things.
    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("INVARIANT: no request holds four billion things"));
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.payload.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn shape(&mut self, shape: &Shape) {
        self.count(shape.len());
        for &dim in shape.iter() {
            self.payload.extend_from_slice(&dim.to_le_bytes());
        }
    }

    pub(crate) fn correlation_id(&mut self, id: &CorrelationId) {
        match id {
            CorrelationId::UInt(id) => {
                self.u8(0);
                self.u64(*id);
            }
            CorrelationId::String(id) => {
                self.u8(1);
                self.text(id);
            }
        }
    }

    pub(crate) fn error(&mut self, error: &Error) {
        self.u32(error.code() as u32);
        self.text(error.message());
    }

    pub(crate) fn parameter(&mut self, parameter: &Parameter) {
        self.text(&parameter.name);
        match &parameter.value {
            ParameterValue::String(value) => {
                self.u8(0);
                self.text(value);
            }
            ParameterValue::Int(value) => {
                self.u8(1);
                self.payload.extend_from_slice(&value.to_le_bytes());
            }
            ParameterValue::Bool(value) => {
                self.u8(2);
                self.u8(u8::from(*value));
            }
            ParameterValue::Double(value) => {
                self.u8(3);
                self.payload.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// Writes data at an offset that is a multiple of `alignment`, its length first.
    pub(crate) fn aligned_data(&mut self, data: &[u8], alignment: usize) {
        self.u64(data.len() as u64);
        let padded = self.payload.len().next_multiple_of(alignment);
        self.payload.resize(padded, 0);
        self.payload.extend_from_slice(data);
    }
}

/// Reads values from a payload that the other side wrote: every step is checked.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    payload: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Self {
            payload,
            position: 0,
        }
    }

    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(size)?;
        let taken = self.payload.get(self.position..end)?;
        self.position = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a number of things that take up at least one byte each: it is not above what is left,
    /// so that room may be made for them all at once.
    pub(crate) fn count(&mut self) -> Option<usize> {
        let count = self.u32()? as usize;
        (count <= self.payload.len() - self.position).then_some(count)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let size = self.count()?;
        std::str::from_utf8(self.take(size)?).ok()
    }

    pub(crate) fn data_type(&mut self) -> Option<DataType> {
        let number = self.u8()?;
        DataType::ALL
            .into_iter()
            .find(|data_type| *data_type as u8 == number)
    }

    pub(crate) fn shape(&mut self) -> Option<Shape> {
        let rank = self.count()?;
        if rank > MAX_RANK {
            return None;
        }
        (0..rank)
            .map(|_| self.array().map(i64::from_le_bytes))
            .collect()
    }

    pub(crate) fn correlation_id(&mut self) -> Option<CorrelationId> {
        match self.u8()? {
            0 => self.u64().map(CorrelationId::UInt),
            1 => self.text().map(|id| CorrelationId::String(id.into())),
            _ => None,
        }
    }

    pub(crate) fn error(&mut self) -> Option<Error> {
        let code = ErrorCode::from_number(self.u32()?)?;
        Some(Error::new(code, self.text()?))
    }

    pub(crate) fn parameter(&mut self) -> Option<Parameter> {
        let name = self.text()?.into();
        let value = match self.u8()? {
            0 => ParameterValue::String(self.text()?.into()),
            1 => ParameterValue::Int(i64::from_le_bytes(self.array()?)),
            2 => ParameterValue::Bool(self.u8()? != 0),
            3 => ParameterValue::Double(f64::from_le_bytes(self.array()?)),
            _ => return None,
        };
        Some(Parameter { name, value })
    }

    /// Reads what [`Writer::aligned_data`] wrote: its offset in the payload, and the data.
    pub(crate) fn aligned_data(&mut self, alignment: usize) -> Option<(usize, &'a [u8])> {
        let size = usize::try_from(self.u64()?).ok()?;
        self.position = self.position.checked_next_multiple_of(alignment)?;
        let offset = self.position;
        Some((offset, self.take(size)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let parameters = [
            Parameter {
                name: "s".into(),
                value: ParameterValue::String("é".into()),
            },
            Parameter {
                name: "i".into(),
                value: ParameterValue::Int(-3),
            },
            Parameter {
                name: "b".into(),
                value: ParameterValue::Bool(true),
            },
            Parameter {
                name: "d".into(),
                value: ParameterValue::Double(1.5),
            },
        ];
        let ids = [CorrelationId::UInt(7), CorrelationId::String("7".into())];
        let mut payload = vec![1, 2, 3];
        let mut writer = Writer::new(&mut payload);
        writer.shape(&Shape::from([2, -1]));
        writer.error(&Error::not_found("nothing here"));
        parameters
            .iter()
            .for_each(|parameter| writer.parameter(parameter));
        ids.iter().for_each(|id| writer.correlation_id(id));
        writer.aligned_data(b"xyz", 16);
        writer.u8(DataType::Bf16 as u8);

        let mut reader = Reader::new(&payload);
        assert_eq!(reader.shape(), Some(Shape::from([2, -1])));
        let error = reader.error().expect("an error");
        assert_eq!(
            (error.code(), error.message()),
            (ErrorCode::NotFound, "nothing here")
        );
        for parameter in parameters {
            assert_eq!(reader.parameter(), Some(parameter));
        }
        for id in ids {
            assert_eq!(reader.correlation_id(), Some(id));
        }
        let (offset, data) = reader.aligned_data(16).expect("data");
        assert_eq!((offset % 16, data), (0, &b"xyz"[..]));
        assert_eq!(reader.data_type(), Some(DataType::Bf16));
        assert_eq!(reader.u8(), None);
    }

    #[test]
    fn sizes_beyond_the_payload_are_refused() {
        assert_eq!(Reader::new(&[255, 255, 255, 255, b'a']).text(), None);
        assert_eq!(Reader::new(&[2, 0, 0, 0, 1, 0, 0, 0]).shape(), None);
        let mut huge = u64::MAX.to_le_bytes().to_vec();
        huge.extend([0; 64]);
        assert_eq!(Reader::new(&huge).aligned_data(16), None);
        assert_eq!(Reader::new(&[1, 0, 0, 0, 0xff]).text(), None, "not UTF-8");
        let mut ranks = 65_u32.to_le_bytes().to_vec();
        ranks.extend([0; 65 * 8]);
        assert_eq!(Reader::new(&ranks).shape(), None, "too many dimensions");
    }
}
