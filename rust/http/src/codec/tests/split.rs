// SPDX-License-Identifier: Apache-2.0
use bytes::Bytes;
use tritongw_types::Result;

use super::super::{inference_header_length, parse_infer_head, split_binary_tensors};

fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.message().to_owned(),
    }
}

#[test]
fn the_header_length_is_read_as_c_reads_numbers() {
    let length = |header: &[u8]| inference_header_length(Some(header), 232).ok();
    assert_eq!(inference_header_length(None, 232).ok(), Some(232));
    assert_eq!(length(b"200"), Some(200));
    assert_eq!(length(b"232"), Some(232));
    assert_eq!(length(b" +12abc"), Some(12));
    assert_eq!(length(b"abc"), Some(0));
    assert_eq!(length(b""), Some(0));
    assert_eq!(length(b"-0"), Some(0));
    for header in ["1000", "-1", "99999999999999999999999"] {
        let expected = format!("inference header size should be in range (0, 232), got: {header}");
        assert_eq!(
            message(inference_header_length(Some(header.as_bytes()), 232)),
            expected
        );
    }
}

/// Splits `body` for inputs of these sizes.
fn split(sizes: &[u64], body: &'static [u8]) -> Result<Vec<Bytes>> {
    let inputs: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(index, size)| {
            format!(
                r#"{{"name":"IN{index}","datatype":"UINT8","shape":[1],
                "parameters":{{"binary_data_size":{size}}}}}"#
            )
        })
        .collect();
    let text = format!(r#"{{"inputs":[{}]}}"#, inputs.join(","));
    let mut head = parse_infer_head(text.as_bytes()).expect("a request");
    split_binary_tensors(&mut head.inputs, Bytes::from_static(body), "m")?;
    Ok(head
        .inputs
        .iter()
        .map(|input| input.tensor.contiguous().expect("host memory"))
        .collect())
}

#[test]
fn inputs_are_slices_of_the_body() {
    static BODY: [u8; 5] = *b"abcde";
    let tensors = split(&[2, 0, 3], &BODY).expect("fits");
    assert_eq!(tensors, [&b"ab"[..], b"", b"cde"]);
    assert_eq!(tensors[2].as_ptr(), BODY[2..].as_ptr(), "not copied");
}

#[test]
fn wrong_sizes_are_told_in_tritons_words() {
    let short = "unexpected size for input 'IN1', expecting 2 additional bytes for model 'm'";
    assert_eq!(message(split(&[2, 3], b"abc")), short);
    let huge = "unexpected size for input 'IN0', expecting 18446744073709551612 additional bytes \
                for model 'm'";
    assert_eq!(message(split(&[u64::MAX - 1], b"ab")), huge);
    assert_eq!(
        message(split(&[2], b"abc")),
        "unexpected additional input data for model 'm'"
    );
    assert_eq!(
        message(split(&[], b"a")),
        "unexpected additional input data for model 'm'"
    );
}
