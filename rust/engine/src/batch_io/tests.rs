// SPDX-License-Identifier: Apache-2.0
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const KINDS: [BatchInputKind; 6] = [
    BatchInputKind::ElementCount,
    BatchInputKind::AccumulatedElementCount,
    BatchInputKind::AccumulatedElementCountWithZero,
    BatchInputKind::MaxElementCountAsShape,
    BatchInputKind::ItemShape,
    BatchInputKind::ItemShapeFlatten,
];

fn config(kind: BatchInputKind, data_type: DataType) -> BatchInput {
    BatchInput {
        kind,
        target_names: vec![CName::new("TARGET")],
        data_type,
        source_input: CName::new("SOURCE"),
    }
}

fn made(kind: BatchInputKind, data_type: DataType, shapes: &[Shape]) -> Result<BatchInputTensor> {
    let sources: Vec<_> = shapes
        .iter()
        .map(|shape| Source {
            shape,
            is_batching: true,
        })
        .collect();
    tensor(&config(kind, data_type), &sources)
}

fn ints(tensor: &BatchInputTensor) -> Vec<i32> {
    let (values, rest) = tensor.data.as_chunks();
    assert!(rest.is_empty());
    values
        .iter()
        .map(|bytes| i32::from_le_bytes(*bytes))
        .collect()
}

fn floats(tensor: &BatchInputTensor) -> Vec<f32> {
    let (values, rest) = tensor.data.as_chunks();
    assert!(rest.is_empty());
    values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

#[test]
fn each_kind_tells_of_each_request() {
    let shapes = [[1, 3, 2], [2, 1, 2], [1, 0, 2]].map(Shape::from);
    let cases: [(_, &[i64], &[i32]); 6] = [
        (BatchInputKind::ElementCount, &[3], &[6, 4, 0]),
        (BatchInputKind::AccumulatedElementCount, &[3], &[6, 10, 10]),
        (
            BatchInputKind::AccumulatedElementCountWithZero,
            &[4],
            &[0, 6, 10, 10],
        ),
        (BatchInputKind::MaxElementCountAsShape, &[6], &[0; 6]),
        // A request of two rows counts twice.
        (
            BatchInputKind::ItemShape,
            &[4, 2],
            &[3, 2, 1, 2, 1, 2, 0, 2],
        ),
        (
            BatchInputKind::ItemShapeFlatten,
            &[8],
            &[3, 2, 1, 2, 1, 2, 0, 2],
        ),
    ];
    for (kind, shape, values) in cases {
        let tensor = made(kind, DataType::Int32, &shapes).expect("small numbers");
        assert_eq!(&tensor.shape[..], shape, "{kind:?}");
        assert_eq!(ints(&tensor), values, "{kind:?}");
    }
}

#[test]
fn without_a_batch_dimension_a_request_is_one_item() {
    // As large a first dimension as a request without data may have.
    let shape = Shape::from([i64::MAX, 0]);
    let source = Source {
        shape: &shape,
        is_batching: false,
    };
    let config = config(BatchInputKind::ItemShape, DataType::Fp32);
    let tensor = tensor(&config, &[source]).expect("two numbers");
    assert_eq!(&tensor.shape[..], [1, 2]);
    assert_eq!(floats(&tensor), [i64::MAX as f32, 0.0]);
}

#[test]
fn numbers_that_do_not_fit_are_an_error_and_not_other_numbers() {
    let shapes = [Shape::from([1, 1 << 31])];
    let error = made(BatchInputKind::ElementCount, DataType::Int32, &shapes).expect_err("2^31");
    assert_eq!(
        error.message(),
        "a batch input made of input 'SOURCE' would hold 2147483648, which is too large for INT32"
    );
    let tensor = made(BatchInputKind::ElementCount, DataType::Fp32, &shapes).expect("a float");
    assert_eq!(floats(&tensor), [2_147_483_648.0]);
}

#[test]
fn variable_dimensions_of_an_output_are_those_of_the_source() {
    let dims = Shape::from([-1, 4, -1]);
    let cases: [(&[i64], Option<&[i64]>); 4] = [
        (&[2, 9, 3], Some(&[2, 4, 3])),
        (&[2, 9, 3, 8], Some(&[2, 4, 3])),
        (&[0, 9, 0], Some(&[0, 4, 0])),
        (&[2, 9], None),
    ];
    for (source, expected) in cases {
        let shape = scatter_shape(&dims, &Shape::from(source));
        assert_eq!(shape.as_deref(), expected, "{source:?}");
    }
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let shape = (1..=4_i64, 0..=9_i64, 0..=9_i64).prop_map(|(a, b, c)| Shape::from([a, b, c]));
    vec(shape, 1..8)
}

proptest! {
    #[test]
    fn kinds_agree_with_each_other(shapes in shapes()) {
        let [counts, totals, with_zero, largest, rows, flat] =
            KINDS.map(|kind| made(kind, DataType::Int32, &shapes).expect("small numbers"));
        let counts = ints(&counts);
        prop_assert_eq!(counts.len(), shapes.len());
        let ends = ints(&totals);
        prop_assert_eq!(&ints(&with_zero)[1..], &ends[..]);
        for (index, end) in ends.iter().enumerate() {
            prop_assert_eq!(*end, counts[..=index].iter().sum::<i32>());
        }
        let expected = counts.iter().copied().max().map(i64::from);
        prop_assert_eq!(largest.shape.first().copied(), expected);
        prop_assert_eq!(&rows.data, &flat.data);
        // The rows' own element counts are those of the requests.
        let products: i32 = ints(&rows).chunks(2).map(|row| row[0] * row[1]).sum();
        prop_assert_eq!(products, counts.iter().sum::<i32>());
    }

    #[test]
    fn both_data_types_hold_the_same_numbers(shapes in shapes()) {
        for kind in KINDS {
            let ints_made = made(kind, DataType::Int32, &shapes).expect("small numbers");
            let floats_made = made(kind, DataType::Fp32, &shapes).expect("small numbers");
            prop_assert_eq!(&ints_made.shape, &floats_made.shape);
            let as_floats: Vec<f32> = ints(&ints_made).into_iter().map(|value| value as f32).collect();
            prop_assert_eq!(as_floats, floats(&floats_made));
            let elements = ints_made.shape.element_count().expect("small");
            prop_assert_eq!(elements * 4, ints_made.data.len());
        }
    }
}
