// SPDX-License-Identifier: Apache-2.0
//! Bytes from strangers, read as tensors, shapes and names.

use std::path::{Component, Path};

use tritongw_types::{BytesElements, DataType, SafeName, Shape, byte_size};

#[test]
fn fuzz_bytes_tensor() {
    tritongw_fuzzing::fuzz!("bytes_tensor", |input: &[u8]| {
        let mut taken = 0;
        let mut is_whole = true;
        for element in BytesElements::new(input) {
            match element {
                Ok(element) => taken += 4 + element.len(),
                Err(_) => is_whole = false,
            }
        }
        assert!(taken <= input.len());
        assert_eq!(is_whole, taken == input.len(), "all bytes count");
    });
}

#[test]
fn fuzz_shape() {
    tritongw_fuzzing::fuzz!("shape", |input: &[u8]| {
        let dims = input.chunks_exact(8).map(|dim| {
            let dim: [u8; 8] = dim.try_into().expect("eight bytes");
            i64::from_le_bytes(dim)
        });
        let shape: Shape = dims.collect();
        let product = shape.iter().try_fold(1_u128, |product, &dim| {
            product.checked_mul(u128::try_from(dim).ok()?)
        });
        match shape.element_count() {
            Ok(count) => assert_eq!(Some(count as u128), product),
            // A zero after dimensions that are too many by themselves does not save them.
            Err(_) => assert!(
                product.is_none_or(|product| product > i64::MAX as u128 || shape.contains(&0))
            ),
        }
        for data_type in DataType::ALL {
            if let Ok(Some(size)) = byte_size(data_type, &shape) {
                let element_size = data_type.element_size().expect("a size");
                assert_eq!(Ok(size / element_size), shape.element_count());
                assert!(isize::try_from(size).is_ok());
            }
        }
    });
}

#[test]
fn fuzz_safe_name() {
    tritongw_fuzzing::fuzz!("safe_name", |input: &[u8]| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        let Ok(name) = SafeName::new(text) else {
            return;
        };
        let path = Path::new("/repository").join(name.as_str());
        assert_eq!(path.parent(), Some(Path::new("/repository")), "{text:?}");
        let last = path.components().next_back();
        assert_eq!(last, Some(Component::Normal(text.as_ref())), "{text:?}");
        assert!(!text.contains('\0'));
    });
}
