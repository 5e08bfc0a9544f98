// SPDX-License-Identifier: Apache-2.0
//! Configurations that nobody wrote: refused with a place, or read the same in every form.

use tritongw_config::{ModelConfig, NormalizeOptions, json, normalize, text};
use tritongw_protocol::pb;

#[test]
fn fuzz_text_format() {
    tritongw_fuzzing::fuzz!("text_format", |input: &[u8]| {
        let Ok(input) = std::str::from_utf8(input) else {
            return;
        };
        match text::parse("config.pbtxt", input) {
            Ok(config) => check(config),
            Err(errors) => assert!(errors.to_string().starts_with("config.pbtxt:")),
        }
    });
}

#[test]
fn fuzz_json_form() {
    tritongw_fuzzing::fuzz!("json_form", |input: &[u8]| {
        let Ok(input) = std::str::from_utf8(input) else {
            return;
        };
        if let Ok(config) = json::parse(input) {
            check(config);
        }
    });
}

/// What is printed of a configuration reads back as it; validation and defaults take anything.
fn check(mut config: pb::ModelConfig) {
    let printed = json::print(&config);
    if printed.is_empty() {
        return; // Triton prints nothing of a configuration that says nothing.
    }
    let read = json::parse(&printed).expect("our own JSON");
    assert_eq!(json::print(&read), printed);
    if normalize(&mut config, &NormalizeOptions::default()).is_ok() {
        let once = json::print(&config);
        normalize(&mut config, &NormalizeOptions::default()).expect("it was fine before");
        assert_eq!(json::print(&config), once, "a second time changes nothing");
    }
    drop(ModelConfig::from_message(config));
}
