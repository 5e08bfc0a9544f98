// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use prost::Message;

const PROTOS: [&str; 3] = ["model_config.proto", "grpc_service.proto", "health.proto"];
const OUTPUT: &str = "rust/protocol/src/generated";
const HEADER: &str = "// SPDX-License-Identifier: Apache-2.0\n";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Writes every generated file below `root`, the folder of the workspace.
pub(crate) fn write(root: &Path) -> Result<()> {
    let folder = root.join(OUTPUT);
    fs::create_dir_all(&folder)?;
    for (name, content) in generated_files(root)? {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}

/// Fails if a file below `root` is not what [`write`] would write.
pub(crate) fn check(root: &Path) -> Result<()> {
    let folder = root.join(OUTPUT);
    for (name, content) in generated_files(root)? {
        if fs::read(folder.join(&name)).ok().as_ref() != Some(&content) {
            let command = "cargo run -p xtask -- generate";
            return Err(format!("{OUTPUT}/{name} is not up to date: run `{command}`").into());
        }
    }
    Ok(())
}

fn generated_files(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let descriptors = protox::Compiler::new([root.join("protos")])?
        .include_source_info(true)
        .include_imports(true)
        .open_files(PROTOS)?
        .file_descriptor_set();

    let folder = root.join("target/xtask");
    fs::create_dir_all(&folder)?;
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .out_dir(&folder)
        .compile_fds(descriptors.clone())?;

    let mut files = BTreeMap::new();
    for package in ["inference", "grpc.health.v1"] {
        let name = format!("{package}.rs");
        let code = fs::read_to_string(folder.join(&name))?;
        files.insert(name, format!("{HEADER}{code}").into_bytes());
    }

    let mut bare = descriptors;
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    files.insert("descriptors.bin".to_owned(), bare.encode_to_vec());
    Ok(files)
}
