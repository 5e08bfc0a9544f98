// SPDX-License-Identifier: Apache-2.0
mod head;
mod response;
mod split;
