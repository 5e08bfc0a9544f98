// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;
use serde_json::Value;

use super::{Number, Reader, SyntaxError, Writer, float};

fn check(text: &[u8]) -> Result<(), SyntaxError> {
    Reader::new(text).read_document(Reader::skip_value)
}

fn read_number(text: &str) -> Number {
    Reader::new(text.as_bytes())
        .read_number()
        .expect("a number")
}

fn print_double(value: f64) -> String {
    let mut out = Vec::new();
    float::write(&mut out, value);
    String::from_utf8(out).expect("ASCII")
}

/// Texts and offsets recorded from Triton 2.51.
#[test]
fn errors_are_those_of_rapidjson() {
    let cases: [(&[u8], &str); 24] = [
        (b"", "The document is empty. at 0"),
        (b" \n", "The document is empty. at 2"),
        (b"{", "Missing a name for object member. at 1"),
        (b"xyz", "Invalid value. at 0"),
        (b"\xff\xfe{}", "Invalid value. at 0"),
        (b"{\"inputs\":[1,}", "Invalid value. at 13"),
        (
            b"{} trailing",
            "The document root must not be followed by other values. at 3",
        ),
        (
            b"{\"inputs\":[],}",
            "Missing a name for object member. at 13",
        ),
        (b"{'inputs':[]}", "Missing a name for object member. at 1"),
        (
            b"{\"inputs\":[] /* c */}",
            "Missing a comma or '}' after an object member. at 13",
        ),
        (
            b"{\"inputs\":[{\"name\":\"\\ud800\"}]}",
            "The surrogate pair in string is invalid. at 20",
        ),
        (
            b"{\"x\":\"\\q\"}",
            "Invalid escape character in string. at 6",
        ),
        (
            b"{\"x\":01}",
            "Missing a comma or '}' after an object member. at 6",
        ),
        (
            b"{\"x\":1e999}",
            "Number too big to be stored in double. at 5",
        ),
        (b"{\"x\":-}", "Invalid value. at 6"),
        (b"{\"x\":1.}", "Miss fraction part in number. at 7"),
        (b"{\"x\":1e}", "Miss exponent in number. at 7"),
        (
            b"{\"x\" 1}",
            "Missing a colon after a name of object member. at 5",
        ),
        (
            b"{\"x\":\"abc",
            "Missing a closing quotation mark in string. at 9",
        ),
        (b"{\"x\":tru}", "Invalid value. at 8"),
        (b"{1:2}", "Missing a name for object member. at 1"),
        (
            b"{\"x\":\"a\tb\"}",
            "Invalid escape character in string. at 7",
        ),
        (
            b"[1 2]",
            "Missing a comma or ']' after an array element. at 3",
        ),
        (
            b"[\"\\u12g4\"]",
            "Incorrect hex digit after \\u escape in string. at 2",
        ),
    ];
    for (text, expected) in cases {
        let error = check(text).expect_err("broken");
        assert_eq!(
            error.to_string(),
            expected,
            "{}",
            String::from_utf8_lossy(text)
        );
    }
}

#[test]
fn a_hundred_levels_are_read_and_no_more() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert_eq!(check(nested(100).as_bytes()), Ok(()));
    let error = check(nested(101).as_bytes()).expect_err("too deep");
    assert_eq!(
        error.to_string(),
        "Values are nested deeper than 100 levels. at 100"
    );
    check(nested(1_000_000).as_bytes()).expect_err("too deep");
    check("[".repeat(1_000_000).as_bytes()).expect_err("too deep");
    let flattened = |text: String| {
        let mut reader = Reader::new(text.as_bytes());
        reader.read_flattened(Reader::skip_value)
    };
    assert_eq!(flattened(nested(100)), Ok(()));
    flattened(nested(101)).expect_err("too deep");
}

#[test]
fn integers_stay_integers() {
    assert_eq!(read_number("9223372036854775807"), Number::Int(i64::MAX));
    assert_eq!(read_number("-9223372036854775808"), Number::Int(i64::MIN));
    assert_eq!(read_number("9223372036854775808"), Number::UInt(1 << 63));
    assert_eq!(read_number("18446744073709551615"), Number::UInt(u64::MAX));
    assert_eq!(
        read_number("18446744073709551616"),
        Number::Double(18_446_744_073_709_551_616.0)
    );
    assert_eq!(
        read_number("-9223372036854775809"),
        Number::Double(-9_223_372_036_854_775_809.0)
    );
    assert_eq!(read_number("-0"), Number::Int(0));
    assert_eq!(read_number("1.0"), Number::Double(1.0));
}

#[test]
fn nan_and_infinities_are_numbers() {
    for text in ["NaN", "-NaN"] {
        assert!(read_number(text).as_f64().is_nan(), "{text}");
    }
    for text in ["Infinity", "Inf"] {
        assert_eq!(read_number(text), Number::Double(f64::INFINITY), "{text}");
    }
    assert_eq!(read_number("-Infinity"), Number::Double(f64::NEG_INFINITY));
    check(b"[Infin]").expect_err("neither Inf nor Infinity");
    check(b"[nan]").expect_err("lower case");
}

/// Forms recorded from Triton 2.51. Its last digit of `f32::MAX` is a 7: RapidJSON is not always
/// shortest; both read back as the same double.
#[test]
fn doubles_print_as_rapidjson_prints_them() {
    let cases = [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (f64::from(0.1_f32), "0.10000000149011612"),
        (f64::from(1e-7_f32), "1.0000000116860974e-7"),
        (f64::from(1e20_f32), "100000002004087730000.0"),
        (f64::from(123_456_789_f32), "123456792.0"),
        (f64::from(f32::MAX), "3.4028234663852886e38"),
        (1e-7, "1e-7"),
        (1.5e-7, "1.5e-7"),
        (1e-6, "0.000001"),
        (0.000_012_34, "0.00001234"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e21"),
        (1.25e22, "1.25e22"),
        (f64::MAX, "1.7976931348623157e308"),
        (5e-324, "5e-324"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ];
    for (value, expected) in cases {
        assert_eq!(print_double(value), expected);
    }
}

#[test]
fn strings_are_escaped_as_rapidjson_escapes_them() {
    let mut writer = Writer::default();
    writer.string("a\"\\/\u{1}\u{1f}\n\r\t\u{8}\u{c}\u{7f}ü😀");
    let expected = "\"a\\\"\\\\/\\u0001\\u001F\\n\\r\\t\\b\\f\u{7f}ü😀\"";
    assert_eq!(writer.into_bytes(), expected.as_bytes());
}

#[test]
fn commas_stand_between_and_nowhere_else() {
    let mut writer = Writer::default();
    writer.begin_object();
    writer.key("a");
    writer.begin_array();
    writer.integer(1);
    writer.begin_object();
    writer.end_object();
    writer.bool(true);
    writer.end_array();
    writer.key("b");
    writer.quoted_integer(-7);
    writer.end_object();
    assert_eq!(writer.into_bytes(), br#"{"a":[1,{},true],"b":"-7"}"#);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Text that is nearly JSON.
fn json_with_an_edit() -> impl Strategy<Value = Vec<u8>> {
    let insert = prop::sample::select(b"{}[]\",:-+.eE0123456789tfnu\\ \n\t\x01".to_vec());
    let pick = (
        any_json(),
        any::<bool>(),
        any::<prop::sample::Index>(),
        0..3_u8,
        insert,
    );
    pick.prop_map(|(value, is_pretty, index, edit, byte)| {
        let text = if is_pretty {
            format!("{value:#}")
        } else {
            value.to_string()
        };
        let mut text = text.into_bytes();
        let at = index.index(text.len());
        match edit {
            0 => text.truncate(at),
            1 => text[at] = byte,
            _ => text.insert(at, byte),
        }
        text
    })
}

proptest! {
    #[test]
    fn reads_what_serde_json_writes(value in any_json()) {
        prop_assert_eq!(check(value.to_string().as_bytes()), Ok(()));
        prop_assert_eq!(check(format!("{value:#}").as_bytes()), Ok(()));
    }

    #[test]
    fn accepts_what_serde_json_accepts_and_nothing_else(text in json_with_an_edit()) {
        let accepted = serde_json::from_slice::<Value>(&text).is_ok();
        // serde_json wants UTF-8; so does every edit above unless it cuts a character in two.
        prop_assume!(std::str::from_utf8(&text).is_ok());
        prop_assert_eq!(check(&text).is_ok(), accepted, "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn strings_are_read_as_serde_json_reads_them(text in any::<String>()) {
        let json = Value::from(text.as_str()).to_string();
        let read = Reader::new(json.as_bytes()).read_string().expect("a string");
        prop_assert_eq!(&*read, text.as_bytes());
    }

    #[test]
    fn written_strings_are_read_back_by_serde_json(text in any::<String>()) {
        let mut writer = Writer::default();
        writer.string(&text);
        let read: String = serde_json::from_slice(&writer.into_bytes()).expect("JSON");
        prop_assert_eq!(read, text);
    }

    #[test]
    fn decimals_are_rounded_correctly(text in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?") {
        let expected: f64 = text.parse().expect("a number");
        let integer_zero = text == "-0";
        let read = read_number(&text).as_f64();
        prop_assert!(read.to_bits() == expected.to_bits() || integer_zero, "{text}: {read}");
    }

    #[test]
    fn printed_doubles_read_back_the_same(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let printed = print_double(value);
        prop_assert_eq!(read_number(&printed).as_f64().to_bits(), bits, "{}", printed);
        let parsed: f64 = serde_json::from_str(&printed).expect("JSON");
        prop_assert_eq!(parsed.to_bits(), bits);
    }

    /// The two ways of laying out digits agree where either could be used.
    #[test]
    fn plain_layout_is_the_same_either_way(value in 1e-4..1e15_f64) {
        prop_assert_eq!(print_double(value), float::lay_out(value));
    }
}
