// SPDX-License-Identifier: Apache-2.0
//! Server reflection, `grpc.reflection.v1` and `v1alpha`: lets `grpcurl` and its like call the
//! server without its `.proto` files. Triton offers none (P132).

mod call;
mod index;
mod message;

pub(crate) use call::ReflectionCall;
pub(crate) use index::DescriptorIndex;
