// SPDX-License-Identifier: Apache-2.0
use crate::CName;

/// Identifier of the sequence a request belongs to.
///
/// Integer and string identifiers are different spaces (G5.06): `UInt(7)` is not `String("7")`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CorrelationId {
    /// Integer identifier; 0 means "no sequence".
    UInt(u64),
    /// String identifier; empty means "no sequence".
    String(CName),
}

impl CorrelationId {
    /// Returns whether the identifier names a sequence.
    pub fn is_set(&self) -> bool {
        match self {
            Self::UInt(id) => *id != 0,
            Self::String(id) => !id.is_empty(),
        }
    }
}

impl Default for CorrelationId {
    fn default() -> Self {
        Self::UInt(0)
    }
}
