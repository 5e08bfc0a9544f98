// SPDX-License-Identifier: Apache-2.0
//! Elements of a tensor as text: numbers as they are written in JSON, but for NaN and infinities,
//! and `BYTES` as JSON strings, all separated by commas.

use std::fmt::{Display, Write};

use tritongw_types::{BytesElements, DataType};

/// Returns the elements of `data` as text; what is left of an element that is cut short is left
/// out.
pub(super) fn tensor_text(data_type: DataType, data: &[u8]) -> String {
    match data_type {
        DataType::Bool => fixed(data, |[byte]: [u8; 1]| u8::from(byte != 0)),
        DataType::Uint8 => fixed(data, u8::from_le_bytes),
        DataType::Uint16 => fixed(data, u16::from_le_bytes),
        DataType::Uint32 => fixed(data, u32::from_le_bytes),
        DataType::Uint64 => fixed(data, u64::from_le_bytes),
        DataType::Int8 => fixed(data, i8::from_le_bytes),
        DataType::Int16 => fixed(data, i16::from_le_bytes),
        DataType::Int32 => fixed(data, i32::from_le_bytes),
        DataType::Int64 => fixed(data, i64::from_le_bytes),
        DataType::Fp16 => fixed(data, |bytes| Float(half(u16::from_le_bytes(bytes)))),
        DataType::Bf16 => fixed(data, |[low, high]: [u8; 2]| {
            Float(f32::from_le_bytes([0, 0, low, high]))
        }),
        DataType::Fp32 => fixed(data, |bytes| Float(f32::from_le_bytes(bytes))),
        DataType::Fp64 => fixed(data, |bytes| Float(f64::from_le_bytes(bytes))),
        DataType::Bytes => strings(data),
    }
}

fn fixed<const N: usize, T: Display>(data: &[u8], read: impl Fn([u8; N]) -> T) -> String {
    let mut text = String::new();
    for (index, element) in data.as_chunks::<N>().0.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{}", read(*element));
    }
    text
}

fn strings(data: &[u8]) -> String {
    let elements = BytesElements::new(data).map_while(Result::ok);
    let quoted = elements
        .map(|element| serde_json::Value::from(String::from_utf8_lossy(element)).to_string());
    quoted.collect::<Vec<_>>().join(",")
}

/// A floating-point number, written with as many digits as it needs and an exponent where that is
/// shorter.
struct Float<T>(T);

impl<T: Display + std::fmt::LowerExp + Copy + Into<f64>> Display for Float<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value: f64 = self.0.into();
        let magnitude = value.abs();
        if value.is_nan() {
            f.write_str("nan")
        } else if magnitude == 0.0 || magnitude.is_infinite() || (1e-4..1e16).contains(&magnitude) {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:e}", self.0)
        }
    }
}

/// Returns the value of a half-precision number.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => return f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    };
    sign * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(tensor_text(DataType::Bool, &[1, 0, 2]), "1,0,1");
        assert_eq!(tensor_text(DataType::Int8, &[0xff, 2, 0x80]), "-1,2,-128");
        assert_eq!(tensor_text(DataType::Uint8, &[65, 255]), "65,255");
        let big = 4_611_686_018_427_387_904_i64.to_le_bytes();
        assert_eq!(tensor_text(DataType::Int64, &big), "4611686018427387904");
        assert_eq!(tensor_text(DataType::Int32, &[]), "");
        assert_eq!(tensor_text(DataType::Int32, &[1, 0, 0, 0, 9]), "1");
    }

    #[test]
    fn floating_point_numbers() {
        let values = [
            1.5,
            1e-8,
            f32::NAN,
            f32::INFINITY,
            -0.0,
            0.1,
            123_456_790.0,
            1e20,
            4.0,
        ];
        let data: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(
            tensor_text(DataType::Fp32, &data),
            "1.5,1e-8,nan,inf,-0,0.1,123456790,1e20,4"
        );
        assert_eq!(
            tensor_text(DataType::Fp64, &(-1e300_f64).to_le_bytes()),
            "-1e300"
        );
        // 1.5, -2, the least above zero, the greatest, an infinity.
        let halves = [0x3e00_u16, 0xc000, 0x0001, 0x7bff, 0xfc00];
        let data: Vec<u8> = halves.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        assert_eq!(
            tensor_text(DataType::Fp16, &data),
            "1.5,-2,5.9604645e-8,65504,-inf"
        );
        assert_eq!(tensor_text(DataType::Bf16, &[0xc0, 0x3f]), "1.5");
    }

    #[test]
    fn strings_are_quoted() {
        let data = b"\x04\0\0\0ab\"c\x01\0\0\0\n\x02\0\0\0\xffx\0\0\0\0\x09\0\0\0cut";
        assert_eq!(
            tensor_text(DataType::Bytes, data),
            "\"ab\\\"c\",\"\\n\",\"\u{fffd}x\",\"\""
        );
    }
}
