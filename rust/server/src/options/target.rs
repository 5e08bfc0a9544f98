// SPDX-License-Identifier: Apache-2.0
//! What `tritongw serve` is asked to serve without an option: directories, files, Python objects.
//!
//! Triton refuses every argument that is no option (C005), so that no command line of a Triton
//! user has one. Ours takes those that can only mean a model, and refuses the others as Triton
//! does.

use std::path::{Path, PathBuf};

use tritongw_types::SafeName;

/// One thing to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A model repository, as with `--model-repository`.
    Repository(PathBuf),
    /// An ONNX model, under this name.
    Onnx {
        /// Name of the model.
        name: SafeName,
        /// Its file.
        file: PathBuf,
    },
    /// A function or class, `[NAME=]FILE.py[:OBJECT]` or `[NAME=]MODULE:OBJECT`; Python reads it.
    Python(String),
}

impl Target {
    /// Reads an argument.
    ///
    /// # Errors
    /// Why it is none, in Triton's words if it could be anything.
    pub(super) fn parse(argument: &str) -> Result<Self, String> {
        let (name, rest) = match argument.split_once('=') {
            Some((name, rest)) if !name.contains(['/', ':']) => (Some(name), rest),
            _ => (None, argument),
        };
        let path = Path::new(rest);
        if has_extension(path, "onnx") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = SafeName::new(name.unwrap_or(&stem));
            return Ok(Self::Onnx {
                name: name.map_err(|reason| format!("cannot serve '{argument}': {reason}"))?,
                file: path.to_owned(),
            });
        }
        if has_extension(path, "py") || is_object(rest) {
            return Ok(Self::Python(argument.to_owned()));
        }
        if path.is_dir() {
            return match name {
                None => Ok(Self::Repository(path.to_owned())),
                Some(_) => Err(format!(
                    "cannot serve '{argument}': a model repository gets no name"
                )),
            };
        }
        if rest.contains('/') {
            return Err(format!(
                "cannot serve '{argument}': there is no such directory, and it names neither an \
                 ONNX file (model.onnx) nor a Python object (app.py:model)"
            ));
        }
        Err(format!("Unexpected argument: {argument}"))
    }
}

/// All that is to be served, and where that lies which is no repository itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets {
    targets: Vec<Target>,
    written: Option<Written>,
}

/// A repository made of targets.
#[derive(Clone, Debug)]
struct Written {
    repository: PathBuf,
    names: Vec<String>,
}

impl Targets {
    /// Reads the arguments that are no options.
    ///
    /// # Errors
    /// As [`Target::parse`].
    pub(super) fn parse(arguments: &[String]) -> Result<Self, String> {
        let targets = arguments.iter().map(|text| Target::parse(text));
        Ok(Self {
            targets: targets.collect::<Result<_, _>>()?,
            written: None,
        })
    }

    /// Checks that what says nothing of its tensors may be asked.
    pub(super) fn check(&self, is_strict: bool) -> Result<(), String> {
        if is_strict && !self.models().is_empty() {
            return Err("models without a configuration need its completion, which \
                 --disable-auto-complete-config forbids"
                .to_owned());
        }
        Ok(())
    }

    /// Returns those that are no repositories.
    pub(crate) fn models(&self) -> Vec<&Target> {
        let is_model = |target: &&Target| !matches!(target, Target::Repository(_));
        self.targets.iter().filter(is_model).collect()
    }

    /// Notes where those lie that are no repositories, as models of these names.
    pub(crate) fn note_written(&mut self, repository: PathBuf, names: Vec<String>) {
        self.written = Some(Written { repository, names });
    }

    /// Returns the names of the models written.
    pub(crate) fn names(&self) -> &[String] {
        self.written.as_ref().map_or(&[], |written| &written.names)
    }

    /// Returns all repositories, the one that was written among them.
    pub(super) fn repositories(&self) -> impl Iterator<Item = &Path> {
        let named = self.targets.iter().filter_map(|target| match target {
            Target::Repository(path) => Some(path.as_path()),
            Target::Onnx { .. } | Target::Python(_) => None,
        });
        named.chain(
            self.written
                .iter()
                .map(|written| written.repository.as_path()),
        )
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// Returns whether `text` is `MODULE:OBJECT` or `FILE.py:OBJECT`.
fn is_object(text: &str) -> bool {
    let is_name = |text: &str| {
        let mut parts = text.split('.');
        parts.all(|part| {
            !part.is_empty()
                && !part.starts_with(|first: char| first.is_ascii_digit())
                && part.chars().all(|c| c.is_alphanumeric() || c == '_')
        })
    };
    text.rsplit_once(':').is_some_and(|(module, object)| {
        is_name(object) && (is_name(module) || has_extension(Path::new(module), "py"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn onnx(name: &str, file: &str) -> Target {
        Target::Onnx {
            name: SafeName::new(name).expect("safe"),
            file: file.into(),
        }
    }

    fn python(text: &str) -> Result<Target, String> {
        Ok(Target::Python(text.to_owned()))
    }

    #[test]
    fn models_are_told_by_how_they_are_named() {
        for text in [
            "app.py",
            "app.py:model",
            "a=x/app.py:model",
            "pkg.mod:Model",
        ] {
            assert_eq!(Target::parse(text), python(text), "{text}");
        }
        assert_eq!(Target::parse("x/net.onnx"), Ok(onnx("net", "x/net.onnx")));
        assert_eq!(
            Target::parse("other=x/net.onnx"),
            Ok(onnx("other", "x/net.onnx"))
        );
        assert_eq!(
            Target::parse("/"),
            Ok(Target::Repository("/".into())),
            "a directory that is there"
        );
    }

    #[test]
    fn anything_else_is_refused_and_what_could_be_anything_in_tritons_words() {
        for text in [
            "left-over",
            "8000",
            "a:",
            ":b",
            "localhost:8000",
            "model.pt",
        ] {
            let refusal = Target::parse(text).expect_err(text);
            assert_eq!(refusal, format!("Unexpected argument: {text}"));
        }
        let refusal = Target::parse("no/such/place").expect_err("missing");
        assert!(refusal.starts_with("cannot serve 'no/such/place': there is no such directory"));
        let refusal = Target::parse("a=/").expect_err("a name");
        assert_eq!(
            refusal,
            "cannot serve 'a=/': a model repository gets no name"
        );
    }
}
