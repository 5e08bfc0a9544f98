// SPDX-License-Identifier: Apache-2.0
//! Reads documents in protobuf text format from standard input, each ended by a NUL byte, and
//! prints one line for each: `ok` and its canonical JSON, or `error` and what is wrong with it.
//!
//! `printf 'name: "m"\0' | cargo run -p tritongw-config --example text_to_json`

use std::io::{self, Read, Write};

use tritongw_config::{json, text};

fn main() -> io::Result<()> {
    let mut documents = Vec::new();
    io::stdin().lock().read_to_end(&mut documents)?;
    let mut output = io::BufWriter::new(io::stdout().lock());
    for document in documents.split_inclusive(|byte| *byte == 0) {
        let document = document.strip_suffix(&[0]).unwrap_or(document);
        let (outcome, shown) = convert(document);
        writeln!(output, "{outcome} {}", shown.replace('\n', "; "))?;
    }
    output.flush()
}

fn convert(document: &[u8]) -> (&'static str, String) {
    let Ok(document) = std::str::from_utf8(document) else {
        return ("error", "the document is not UTF-8".to_owned());
    };
    match text::parse("config.pbtxt", document) {
        Ok(config) => ("ok", json::print(&config)),
        Err(errors) => ("error", errors.to_string()),
    }
}
