// SPDX-License-Identifier: Apache-2.0

pub(crate) mod driver;
mod reference;
pub(crate) mod strategies;
