// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use tritongw_types::{Error, Result};

use super::message::{
    Answer, ExtensionNumbers, Files, NotFound, Question, Request, Response, Service, Services,
};

/// Status code of gRPC for what is not there.
const NOT_FOUND: i32 = 5;
const INVALID_ARGUMENT: i32 = 3;

/// The files of a descriptor set by name and by what they define.
#[derive(Debug)]
pub(crate) struct DescriptorIndex {
    files: Vec<File>,
    by_name: HashMap<String, usize>,
    by_symbol: HashMap<String, usize>,
    services: Vec<String>,
}

#[derive(Debug)]
struct File {
    encoded: Bytes,
    dependencies: Vec<String>,
}

impl DescriptorIndex {
    /// Reads a serialised `FileDescriptorSet`.
    ///
    /// # Errors
    /// `Internal` if it is none.
    pub(crate) fn new(descriptor_set: &[u8]) -> Result<Self> {
        let set = FileDescriptorSet::decode(descriptor_set)
            .map_err(|source| Error::internal("broken descriptor set").with_source(source))?;
        let mut index = Self {
            files: Vec::new(),
            by_name: HashMap::new(),
            by_symbol: HashMap::new(),
            services: Vec::new(),
        };
        set.file.iter().for_each(|file| index.add(file));
        Ok(index)
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        let position = self.files.len();
        self.files.push(File {
            encoded: Bytes::from(file.encode_to_vec()),
            dependencies: file.dependency.clone(),
        });
        self.by_name.insert(file.name().to_owned(), position);
        let mut symbols = Vec::new();
        let package = file.package();
        for message in &file.message_type {
            add_message(&mut symbols, package, message);
        }
        for each in &file.enum_type {
            symbols.push(join(package, each.name()));
        }
        for service in &file.service {
            let name = join(package, service.name());
            symbols.extend(
                service
                    .method
                    .iter()
                    .map(|method| join(&name, method.name())),
            );
            symbols.push(name.clone());
            self.services.push(name);
        }
        let defined = symbols.into_iter().map(|symbol| (symbol, position));
        self.by_symbol.extend(defined);
    }

    /// Answers one question.
    pub(super) fn answer(&self, request: Request) -> Response {
        let answer = match &request.question {
            Some(Question::ListServices(_)) => self.list_services(),
            Some(Question::FileByFilename(name)) => self.file(self.by_name.get(name), name),
            Some(Question::FileContainingSymbol(name)) => self.file(self.by_symbol.get(name), name),
            Some(Question::AllExtensionNumbersOfType(name)) => self.extension_numbers(name),
            // proto3 has no extensions of ours to be found.
            Some(Question::FileContainingExtension(of)) => not_found(&of.containing_type),
            None => refusal(INVALID_ARGUMENT, "the request asks nothing".to_owned()),
        };
        Response {
            valid_host: request.host.clone(),
            original_request: Some(request),
            answer: Some(answer),
        }
    }

    fn list_services(&self) -> Answer {
        let service = self.services.iter();
        let service = service.map(|name| Service { name: name.clone() }).collect();
        Answer::Services(Services { service })
    }

    /// Returns a file and all it depends on, itself first.
    fn file(&self, position: Option<&usize>, name: &str) -> Answer {
        let Some(&position) = position else {
            return not_found(name);
        };
        let mut positions = vec![position];
        let mut next = 0;
        while let Some(file) = positions.get(next).and_then(|&at| self.files.get(at)) {
            let dependencies = file.dependencies.iter();
            for &dependency in dependencies.filter_map(|name| self.by_name.get(name)) {
                if !positions.contains(&dependency) {
                    positions.push(dependency);
                }
            }
            next += 1;
        }
        let files = positions.into_iter().filter_map(|at| self.files.get(at));
        let file_descriptor_proto = files.map(|file| file.encoded.clone()).collect();
        Answer::Files(Files {
            file_descriptor_proto,
        })
    }

    fn extension_numbers(&self, name: &str) -> Answer {
        if !self.by_symbol.contains_key(name) {
            return not_found(name);
        }
        Answer::ExtensionNumbers(ExtensionNumbers {
            base_type_name: name.to_owned(),
            extension_number: Vec::new(),
        })
    }
}

fn add_message(symbols: &mut Vec<String>, scope: &str, message: &DescriptorProto) {
    let name = join(scope, message.name());
    symbols.extend(
        message
            .enum_type
            .iter()
            .map(|each| join(&name, each.name())),
    );
    symbols.extend(message.field.iter().map(|field| join(&name, field.name())));
    for nested in &message.nested_type {
        add_message(symbols, &name, nested);
    }
    symbols.push(name);
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() {
        name.to_owned()
    } else {
        format!("{scope}.{name}")
    }
}

fn not_found(name: &str) -> Answer {
    refusal(NOT_FOUND, format!("'{name}' is not found"))
}

fn refusal(error_code: i32, error_message: String) -> Answer {
    Answer::Error(NotFound {
        error_code,
        error_message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(question: Question) -> Answer {
        let index = DescriptorIndex::new(tritongw_protocol::FILE_DESCRIPTOR_SET);
        let request = Request {
            host: String::new(),
            question: Some(question),
        };
        let response = index.expect("our own").answer(request.clone());
        assert_eq!(response.original_request, Some(request));
        response.answer.expect("every question has an answer")
    }

    fn file_names(answer: &Answer) -> Vec<String> {
        let Answer::Files(files) = answer else {
            panic!("expected files, got {answer:?}");
        };
        let files = files.file_descriptor_proto.iter().cloned();
        files
            .map(|file| FileDescriptorProto::decode(file).expect("a file"))
            .map(|file| file.name().to_owned())
            .collect()
    }

    #[test]
    fn services_are_listed() {
        let Answer::Services(services) = ask(Question::ListServices(String::new())) else {
            panic!("expected services");
        };
        let mut names: Vec<_> = services.service.into_iter().map(|each| each.name).collect();
        names.sort();
        assert_eq!(
            names,
            ["grpc.health.v1.Health", "inference.GRPCInferenceService"]
        );
    }

    #[test]
    fn files_come_with_what_they_depend_on() {
        let both = ["grpc_service.proto", "model_config.proto"];
        for symbol in [
            "inference.GRPCInferenceService",
            "inference.GRPCInferenceService.ModelInfer",
            "inference.ModelInferRequest.InferInputTensor",
        ] {
            let answer = ask(Question::FileContainingSymbol(symbol.to_owned()));
            assert_eq!(file_names(&answer), both, "{symbol}");
        }
        let answer = ask(Question::FileByFilename("health.proto".to_owned()));
        assert_eq!(file_names(&answer), ["health.proto"]);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for question in [
            Question::FileContainingSymbol("inference.Nope".to_owned()),
            Question::FileByFilename("nope.proto".to_owned()),
            Question::AllExtensionNumbersOfType("nope".to_owned()),
        ] {
            let Answer::Error(error) = ask(question) else {
                panic!("expected an error");
            };
            assert_eq!(error.error_code, NOT_FOUND);
        }
    }
}
