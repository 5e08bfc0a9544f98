// SPDX-License-Identifier: Apache-2.0
//! Health, metadata, configuration and statistics; texts recorded from Triton 2.51.

mod support;

use prost::Message;
use support::client::Call;
use support::serve;
use tritongw_protocol::health::HealthCheckResponse;
use tritongw_protocol::health::health_check_response::ServingStatus;
use tritongw_protocol::pb::model_infer_request::InferInputTensor;
use tritongw_protocol::pb::{self, StatisticDuration};

const UNIMPLEMENTED: u8 = 12;

const NO_NUMBER: &str = "failed to get model version from specified version string 'abc' \
    (details: stol), version should be an integral value > 0";
const NEGATIVE: &str =
    "invalid model version specified '-1' , version should be an integral value > 0";

#[test]
fn the_server_is_live_and_ready_until_it_stops() {
    let fixture = serve();
    let mut client = fixture.client();
    let check = || Call::new("/grpc.health.v1.Health/Check", b"\x0a\x04nope");
    let live: pb::ServerLiveResponse = client
        .call("ServerLive", &pb::ServerLiveRequest {})
        .message();
    assert!(live.live);
    let ready: pb::ServerReadyResponse = client
        .call("ServerReady", &pb::ServerReadyRequest {})
        .message();
    assert!(ready.ready);
    let health: HealthCheckResponse = client.send(check()).message();
    assert_eq!(health.status, ServingStatus::Serving as i32);
    fixture.engine.stop(std::time::Duration::ZERO);
    let ready: pb::ServerReadyResponse = client
        .call("ServerReady", &pb::ServerReadyRequest {})
        .message();
    assert!(!ready.ready);
    let health: HealthCheckResponse = client.send(check()).message();
    assert_eq!(health.status, ServingStatus::NotServing as i32);
}

#[test]
fn models_are_ready_if_they_are_there() {
    let fixture = serve();
    let mut client = fixture.client();
    let mut ask = |name: &str, version: &str| {
        let (name, version) = (name.to_owned(), version.to_owned());
        client.call("ModelReady", &pb::ModelReadyRequest { name, version })
    };
    for version in ["", "1"] {
        let response: pb::ModelReadyResponse = ask("add_sub", version).message();
        assert!(response.ready, "{version}");
    }
    for (name, version) in [("add_sub", "9"), ("nope", ""), ("", "")] {
        assert_eq!(ask(name, version).code(), 5, "{name} {version}");
    }
    for (version, text) in [("abc", NO_NUMBER), ("-1", NEGATIVE)] {
        let answer = ask("add_sub", version);
        assert_eq!((answer.code(), answer.text().as_str()), (3, text));
    }
}

#[test]
fn server_metadata_lists_the_extensions() {
    let fixture = serve();
    let request = pb::ServerMetadataRequest {};
    let metadata: pb::ServerMetadataResponse =
        fixture.client().call("ServerMetadata", &request).message();
    assert_eq!(metadata.name, "triton");
    assert_eq!(metadata.version, fixture.engine.version());
    assert_eq!(metadata.extensions, fixture.engine.extensions());
}

#[test]
fn model_metadata_tells_the_signature_with_the_batch_dimension() {
    let fixture = serve();
    let request = pb::ModelMetadataRequest {
        name: "batched".to_owned(),
        version: String::new(),
    };
    let metadata: pb::ModelMetadataResponse =
        fixture.client().call("ModelMetadata", &request).message();
    assert_eq!(
        (metadata.name.as_str(), metadata.platform.as_str()),
        ("batched", "probe")
    );
    assert_eq!(metadata.versions, ["1"]);
    let tensors: Vec<_> = [&metadata.inputs[1], &metadata.outputs[0]]
        .map(|tensor| {
            (
                tensor.name.as_str(),
                tensor.datatype.as_str(),
                tensor.shape.clone(),
            )
        })
        .into();
    assert_eq!(
        tensors,
        [
            ("INPUT1", "INT32", vec![-1, 1]),
            ("OUTPUT0", "FP32", vec![-1, 4])
        ]
    );
}

#[test]
fn model_config_is_the_one_that_was_loaded() {
    let fixture = serve();
    let request = pb::ModelConfigRequest {
        name: "batched".to_owned(),
        version: "1".to_owned(),
    };
    let response: pb::ModelConfigResponse =
        fixture.client().call("ModelConfig", &request).message();
    let model = fixture.engine.model("batched", None).expect("it is loaded");
    assert_eq!(response.config.as_ref(), Some(model.config().message()));
    assert_eq!(response.config.expect("one is told").max_batch_size, 8);
}

#[test]
fn unknown_models_have_neither_metadata_nor_config() {
    let fixture = serve();
    let mut client = fixture.client();
    let cases = [
        (
            "nope",
            "",
            5,
            "Request for unknown model: 'nope' is not found",
        ),
        (
            "add_sub",
            "9",
            5,
            "Request for unknown model: 'add_sub' version 9 is not found",
        ),
        ("add_sub", "abc", 3, NO_NUMBER),
        ("add_sub", "-1", 3, NEGATIVE),
    ];
    for (name, version, code, text) in cases {
        let (name, version) = (name.to_owned(), version.to_owned());
        // Both requests have the same fields.
        let request = pb::ModelMetadataRequest { name, version };
        for method in ["ModelMetadata", "ModelConfig"] {
            let answer = client.call(method, &request);
            assert_eq!(
                (answer.code(), answer.text().as_str()),
                (code, text),
                "{method}"
            );
        }
    }
}

fn statistics_of(name: &str, version: &str) -> pb::ModelStatisticsRequest {
    pb::ModelStatisticsRequest {
        name: name.to_owned(),
        version: version.to_owned(),
    }
}

#[test]
fn statistics_count_what_was_inferred() {
    let fixture = serve();
    let mut client = fixture.client();
    let input = InferInputTensor {
        name: "INPUT0".to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![1],
        ..InferInputTensor::default()
    };
    let request = pb::ModelInferRequest {
        model_name: "id_fp32".to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![bytes::Bytes::from_static(&[0; 4])],
        ..pb::ModelInferRequest::default()
    };
    for _ in 0..3 {
        client
            .call("ModelInfer", &request)
            .message::<pb::ModelInferResponse>();
    }
    let response: pb::ModelStatisticsResponse = client
        .call("ModelStatistics", &statistics_of("id_fp32", "1"))
        .message();
    let [stats] = &response.model_stats[..] else {
        panic!("one model was asked for")
    };
    assert_eq!(
        (stats.name.as_str(), stats.version.as_str()),
        ("id_fp32", "1")
    );
    assert_eq!((stats.inference_count, stats.execution_count), (3, 3));
    assert!(stats.last_inference > 0);
    let durations = stats.inference_stats.as_ref().expect("always told");
    assert_eq!(durations.success.map(|success| success.count), Some(3));
    assert_eq!(durations.cache_hit, Some(StatisticDuration::default()));
    assert_eq!(stats.batch_stats[0].batch_size, 1);
    assert_eq!(
        stats.batch_stats[0].compute_infer.map(|infer| infer.count),
        Some(3)
    );
}

#[test]
fn statistics_without_a_name_are_those_of_all_models() {
    let fixture = serve();
    let mut client = fixture.client();
    for version in ["", "9"] {
        let response: pb::ModelStatisticsResponse = client
            .call("ModelStatistics", &statistics_of("", version))
            .message();
        assert_eq!(response.model_stats.len(), support::MODELS.len());
        assert!(
            response
                .model_stats
                .iter()
                .all(|stats| stats.inference_stats.is_some())
        );
    }
    let cases = [
        ("nope", "", "requested model 'nope' is not available"),
        (
            "add_sub",
            "9",
            "requested model version is not available for model 'add_sub'",
        ),
        ("add_sub", "abc", NO_NUMBER),
    ];
    for (name, version, text) in cases {
        let answer = client.call("ModelStatistics", &statistics_of(name, version));
        assert_eq!((answer.code(), answer.text().as_str()), (3, text));
    }
}

#[test]
fn health_is_not_watched() {
    let fixture = serve();
    let mut client = fixture.client();
    let watch = client.send(Call::new("/grpc.health.v1.Health/Watch", &[]));
    assert_eq!((watch.code(), watch.text().as_str()), (UNIMPLEMENTED, ""));
}

#[test]
fn control_messages_that_do_not_parse_are_refused() {
    let fixture = serve();
    let path = "/inference.GRPCInferenceService/ModelMetadata";
    let answer = fixture.client().send(Call::new(path, b"\x0a\xff"));
    assert_eq!(
        (answer.code(), answer.text().as_str()),
        (13, "Unable to parse request")
    );
    let request = pb::ModelMetadataRequest {
        name: "add_sub".to_owned(),
        ..Default::default()
    };
    let answer = fixture
        .client()
        .send(Call::new(path, &request.encode_to_vec()));
    assert_eq!(answer.code(), 0);
}
