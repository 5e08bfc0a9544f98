// SPDX-License-Identifier: Apache-2.0
//! SageMaker and Vertex AI.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tritongw_http::{SageMakerInference, SageMakerPing};
use tritongw_types::ApiGroup;

use super::{args, parse_in, serve};
use crate::options::Refusal;
use crate::options::environment::EnvironmentInputs;

#[test]
fn the_environment_of_vertex_ai_is_read() {
    let environment: BTreeMap<_, _> = [
        ("AIP_MODE", "PREDICTION"),
        ("AIP_HTTP_PORT", "9000"),
        ("AIP_STORAGE_URI", "stored"),
        ("AIP_PREDICT_ROUTE", "/predict"),
        ("AIP_HEALTH_ROUTE", "/health"),
    ]
    .into();
    let mut given = args(&[]);
    given.environment = EnvironmentInputs::read(&environment).expect("a port");
    assert!(given.allows_vertex_ai() && !given.allows_http() && !given.allows_grpc());
    assert_eq!(given.vertex_ai_port(), 9000);
    let options = given.server_options(Arc::default()).expect("a repository");
    assert_eq!(options.model_repositories, [PathBuf::from("stored")]);
    assert_eq!(
        given.environment.vertex_ai_predict_route.as_deref(),
        Some("/predict")
    );
    let mut given = args(&[
        "--allow-http=true",
        "--vertex-ai-port=9001",
        "--vertex-ai-thread-count=3",
        "--vertex-ai-default-model=m",
    ]);
    given.environment = EnvironmentInputs::read(&environment).expect("a port");
    assert!(given.allows_http());
    assert_eq!(given.vertex_ai_port(), 9001);
    assert_eq!(
        given.vertex_ai.default_model().map(String::as_str),
        Some("m")
    );
    let vertex_ai = given.vertex_ai_options().expect("it is allowed");
    assert_eq!(
        (
            &*vertex_ai.predict_route,
            &*vertex_ai.health_route,
            vertex_ai.http.port,
            vertex_ai.http.thread_count
        ),
        ("/predict", "/health", 9001, 3)
    );
    assert_eq!(vertex_ai.default_model.as_deref(), Some("m"));
    match parse_in(&[("AIP_HTTP_PORT", "x")], &[]) {
        Err(Refusal::Usage(reason)) => assert_eq!(reason, "Invalid option value. Got x"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sagemaker_is_set_up_by_options_and_environment() {
    assert!(args(&[]).sagemaker_options().is_none());
    let line = [
        "--allow-sagemaker=true",
        "--sagemaker-port=9000",
        "--sagemaker-thread-count=3",
        "--http-address=::1",
        "--http-max-input-size=5",
        "--http-restricted-api=inference:key=value",
    ];
    let mut given = serve(&line);
    let options = given.sagemaker_options().expect("it is allowed");
    assert_eq!((&*options.http.address, options.http.port), ("::1", 9000));
    assert_eq!(
        (options.http.thread_count, options.http.max_input_size),
        (3, 5)
    );
    assert!(
        options
            .http
            .restricted_apis
            .key(ApiGroup::Inference)
            .is_some()
    );
    assert_eq!(
        options.default_model,
        "unspecified_SAGEMAKER_TRITON_DEFAULT_MODEL_NAME"
    );
    let environment: BTreeMap<_, _> = [
        ("SAGEMAKER_TRITON_PING_MODE", "live"),
        ("SAGEMAKER_TRITON_DEFAULT_MODEL_NAME", "m"),
        ("SAGEMAKER_TRITON_INFERENCE_TYPE", "generate_stream"),
    ]
    .into();
    given.environment = EnvironmentInputs::read(&environment).expect("modes there are");
    let options = given.sagemaker_options().expect("it is allowed");
    assert_eq!(options.ping, SageMakerPing::Live);
    assert_eq!(options.default_model, "m");
    assert_eq!(options.inference, SageMakerInference::GenerateStream);
    for name in [
        "SAGEMAKER_TRITON_PING_MODE",
        "SAGEMAKER_TRITON_INFERENCE_TYPE",
    ] {
        let reason = EnvironmentInputs::read(&BTreeMap::from([(name, "x")])).expect_err("no mode");
        assert!(
            reason.starts_with(&format!("invalid {name} 'x'")),
            "{reason}"
        );
    }
}
