// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;
use tritongw_types::{BytesElements, ErrorCode};

use super::*;

fn scores<'a>(data_type: DataType, shape: &'a Shape, data: &'a [u8]) -> Scores<'a> {
    Scores {
        data_type,
        shape,
        data,
        is_batched: false,
    }
}

fn count(count: u64) -> NonZeroU64 {
    NonZeroU64::new(count).expect("a test asks for some")
}

fn strings(classes: &Classes) -> Vec<String> {
    BytesElements::new(&classes.data)
        .map(|element| String::from_utf8(element.expect("whole").to_vec()).expect("text"))
        .collect()
}

fn classify_fp32(values: &[f32], class_count: u64) -> Vec<String> {
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let shape = Shape::from_slice(&[i64::try_from(values.len()).expect("few")]);
    let classes = classify(
        &scores(DataType::Fp32, &shape, &data),
        count(class_count),
        |_| None,
    )
    .expect("ranked");
    assert_eq!(
        classes.shape[0],
        i64::try_from(strings(&classes).len()).expect("few")
    );
    strings(&classes)
}

/// Texts recorded from Triton 2.51.
#[test]
fn values_are_printed_as_triton_prints_them() {
    assert_eq!(
        classify_fp32(&[1.0, 3.0, 2.0, -1.5], 9),
        ["3.000000:1", "2.000000:2", "1.000000:0", "-1.500000:3"]
    );
    assert_eq!(
        classify_fp32(&[3.4e38, 0.0], 2),
        [
            "339999995214436424907732413799364296704.000000:0",
            "0.000000:1"
        ]
    );
    assert_eq!(
        classify_fp32(&[f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY], 4),
        ["inf:2", "1.000000:1", "-inf:3", "nan:0"]
    );
    let ints: Vec<u8> = [-1_i32, 3, 2]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let shape = Shape::from_slice(&[3]);
    let classes = classify(&scores(DataType::Int32, &shape, &ints), count(2), |_| None);
    assert_eq!(strings(&classes.expect("ranked")), ["3:1", "2:2"]);
}

#[test]
fn equal_values_come_in_the_order_of_their_indexes() {
    let expected: Vec<_> = (0..20).map(|index| format!("1.000000:{index}")).collect();
    assert_eq!(classify_fp32(&[1.0; 20], 20), expected);
    assert_eq!(classify_fp32(&[1.0; 20], 7), expected[..7]);
}

#[test]
fn labels_follow_where_there_are_any() {
    let labels = ["cat", "", " bird"];
    let shape = Shape::from_slice(&[4]);
    let classes = classify(
        &scores(DataType::Uint8, &shape, &[4, 3, 2, 1]),
        count(4),
        |index| labels.get(index).copied(),
    )
    .expect("ranked");
    assert_eq!(strings(&classes), ["4:0:cat", "3:1", "2:2: bird", "1:3"]);
}

#[test]
fn each_item_of_a_batch_is_ranked_by_itself() {
    let shape = Shape::from_slice(&[2, 1, 3]);
    let mut scores = scores(DataType::Uint8, &shape, &[1, 3, 2, 5, 4, 6]);
    scores.is_batched = true;
    let classes = classify(&scores, count(2), |_| None).expect("ranked");
    assert_eq!(&classes.shape[..], [2, 2]);
    assert_eq!(strings(&classes), ["3:1", "2:2", "6:2", "5:0"]);
    scores.is_batched = false;
    let classes = classify(&scores, count(2), |_| None).expect("ranked");
    assert_eq!(&classes.shape[..], [2]);
    assert_eq!(strings(&classes), ["6:5", "5:3"]);
}

#[test]
fn nothing_has_no_classes() {
    for (dims, is_batched, expected) in [
        (&[0][..], false, &[0][..]),
        (&[0, 3], true, &[0, 1]),
        (&[2, 0], true, &[2, 0]),
    ] {
        let shape = Shape::from_slice(dims);
        let mut scores = scores(DataType::Fp32, &shape, &[]);
        scores.is_batched = is_batched;
        let classes = classify(&scores, count(1), |_| None).expect("ranked");
        assert_eq!(&classes.shape[..], expected);
        assert!(classes.data.is_empty());
    }
    assert!(classify_fp32(&[], 3).is_empty());
}

#[test]
fn types_without_an_order_and_huge_outputs_are_refused() {
    let shape = Shape::from_slice(&[2]);
    for data_type in [
        DataType::Bool,
        DataType::Bytes,
        DataType::Fp16,
        DataType::Bf16,
    ] {
        let error = classify(&scores(data_type, &shape, &[0; 2]), count(1), |_| None)
            .expect_err("no order");
        assert_eq!(error.code(), ErrorCode::InvalidArg);
        assert_eq!(
            error.message(),
            format!("class result not available for output due to unsupported type '{data_type}'")
        );
    }
    let data = vec![0; MAX_ELEMENTS + 1];
    let shape = Shape::from_slice(&[i64::try_from(data.len()).expect("small")]);
    let error = classify(&scores(DataType::Int8, &shape, &data), count(1), |_| None)
        .expect_err("too large");
    assert_eq!(error.code(), ErrorCode::InvalidArg);
    assert_eq!(error.message(), "classification output tensor too large");
}

#[test]
fn data_that_is_not_what_the_shape_says_is_an_error() {
    for (dims, byte_size) in [(&[3][..], 8), (&[2], 7), (&[-1], 4), (&[i64::MAX, 2], 4)] {
        let shape = Shape::from_slice(dims);
        let data = vec![0; byte_size];
        let error = classify(&scores(DataType::Fp32, &shape, &data), count(1), |_| None)
            .expect_err("wrong");
        assert_eq!(error.code(), ErrorCode::Internal);
    }
}

proptest! {
    #[test]
    fn the_best_are_those_a_full_sort_puts_first(
        values in prop::collection::vec(prop_oneof![-3.0..3.0_f32, Just(f32::NAN), Just(1.0)], 0..40),
        class_count in 1..50_u64,
    ) {
        let mut indexes: Vec<usize> = (0..values.len()).collect();
        // A stable sort, so that equal values keep their order.
        indexes.sort_by(|&a, &b| match (values[a].is_nan(), values[b].is_nan()) {
            (false, false) => values[b].partial_cmp(&values[a]).expect("numbers"),
            (a, b) => a.cmp(&b),
        });
        let expected: Vec<String> = indexes
            .iter()
            .take(usize::try_from(class_count).expect("small"))
            .map(|index| index.to_string())
            .collect();
        let got: Vec<String> = classify_fp32(&values, class_count)
            .iter()
            .map(|class| class.split(':').nth(1).expect("an index").to_owned())
            .collect();
        prop_assert_eq!(got, expected);
    }
}
