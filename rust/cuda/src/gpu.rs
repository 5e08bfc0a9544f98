// SPDX-License-Identifier: Apache-2.0

/// A GPU that this process may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Its number, which configurations use; `CUDA_VISIBLE_DEVICES` counts.
    pub id: i32,
    /// What it is called.
    pub name: String,
    /// By which it is known whatever the order.
    pub uuid: [u8; 16],
    /// Compute capability, major and minor.
    pub compute_capability: (i32, i32),
}

impl Gpu {
    /// Returns the UUID with dashes, without the prefix that says what it is of.
    pub(crate) fn uuid_text(&self) -> String {
        let mut text = String::with_capacity(36);
        for (index, byte) in self.uuid.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }

    /// Returns whether the compute capability is at least `least`, as 7.5 (C092, M108).
    pub fn has_capability(&self, least: f64) -> bool {
        let (major, minor) = self.compute_capability;
        // The wanted number is read from a text: a tenth does not stand in binary exactly.
        let tenths = f64::from(major * 10 + minor);
        tenths >= (least * 10.0).round()
    }
}

#[cfg(test)]
mod tests {
    use super::Gpu;

    fn gpu(compute_capability: (i32, i32)) -> Gpu {
        Gpu {
            id: 0,
            name: "a GPU".to_owned(),
            uuid: *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef",
            compute_capability,
        }
    }

    #[test]
    fn a_uuid_has_five_parts() {
        assert_eq!(
            gpu((9, 0)).uuid_text(),
            "01234567-89ab-cdef-0123-456789abcdef"
        );
    }

    #[test]
    fn capabilities_compare_by_major_and_minor() {
        assert!(gpu((7, 5)).has_capability(7.5));
        assert!(gpu((9, 0)).has_capability(7.5));
        assert!(gpu((8, 6)).has_capability(8.6));
        assert!(!gpu((7, 0)).has_capability(7.5));
        assert!(!gpu((8, 6)).has_capability(8.9));
        assert!(gpu((7, 0)).has_capability(0.0));
    }
}
