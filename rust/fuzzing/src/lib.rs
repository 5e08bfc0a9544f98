// SPDX-License-Identifier: Apache-2.0
//! Fuzz targets that run on a stable compiler, as ordinary tests.
//!
//! A target is a function of bytes that panics when something is wrong, and a folder of seeds:
//! inputs that reach its depths. [`fuzz!`] gives it every seed as it is, then seeds with random
//! [`Edits`] for as long as `BOLERO_RANDOM_TEST_TIME_MS` says; random bytes alone would not get
//! past the first character of a format. Under `cargo bolero` the engine chooses the edits, guided
//! by coverage. Used by tests alone.
#![forbid(unsafe_code)]

mod edits;
mod seeds;

use std::time::Duration;

pub use bolero;

pub use edits::Edits;
pub use seeds::Seeds;

/// How long a target runs where the environment does not say.
pub const QUICK: Duration = Duration::from_millis(300);

/// Runs a target on the seeds in `testdata/fuzz/<folder>` of the calling crate and on what becomes
/// of them.
///
/// ```ignore
/// #[test]
/// fn text_format() {
///     tritongw_fuzzing::fuzz!("text_format", |input: &[u8]| parse(input));
/// }
/// ```
#[macro_export]
macro_rules! fuzz {
    ($folder:literal, $target:expr) => {{
        let target: &(dyn Fn(&[u8]) + std::panic::RefUnwindSafe) = &$target;
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/fuzz/", $folder);
        let seeds = $crate::Seeds::read(std::path::Path::new(folder));
        seeds.iter().for_each(|seed| target(seed));
        $crate::bolero::check!(name = $folder)
            .with_test_time($crate::QUICK)
            .with_type::<$crate::Edits>()
            .for_each(|edits| target(&seeds.edited(edits)));
    }};
}
