// SPDX-License-Identifier: Apache-2.0
use crate::CName;

/// Value of a request or response parameter (`TRITONSERVER_ParameterType`).
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    /// Text.
    String(CName),
    /// Signed integer.
    Int(i64),
    /// Truth value.
    Bool(bool),
    /// Floating-point number.
    Double(f64),
}

/// Named value that travels with a request to the model, or with a response to the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name, unique within its request or response.
    pub name: CName,
    /// Value.
    pub value: ParameterValue,
}
