# SPDX-License-Identifier: Apache-2.0
"""Health, metadata and configuration over both protocols (triton.md 4.1, 4.3 and 4.12)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import json_format
from support.grpc_door import GrpcDoor
from tritonclient.grpc import service_pb2 as pb

if TYPE_CHECKING:
    from support.servers import Server
    from support.wire import HttpDoor

EXTENSIONS = [
    "classification",
    "sequence",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "cuda_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/add_sub/ready",
        "/v2/models/add_sub/versions/1/ready",
        "/v2/health/live?verbose=1",
    ],
)
def test_healthy_is_200_without_a_body(http: HttpDoor, path: str) -> None:
    answer = http.get(path)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "path", ["/v2/models/nothing/ready", "/v2/models/add_sub/versions/9/ready"]
)
def test_unknown_model_is_not_ready(server: Server, path: str) -> None:
    # 2.51 answers 400 here too; the Triton we follow tells unknown from not ready (P042).
    assert server.http.get(path).status == server.choose(current=404, triton_2_51=400)


def test_server_metadata(http: HttpDoor) -> None:
    answer = http.get("/v2")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["name", "version", "extensions"]
    assert answer.json["name"] == "triton"
    assert answer.json["version"].startswith("2.")
    assert answer.json["extensions"] == EXTENSIONS


@pytest.mark.parametrize("path", ["", "/versions/1", "?x=1"])
def test_model_metadata(http: HttpDoor, path: str) -> None:
    answer = http.get(f"/v2/models/add_sub{path}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == (
        '{"name":"add_sub","versions":["1"],"platform":"python","inputs":['
        '{"name":"INPUT0","datatype":"FP32","shape":[4]},'
        '{"name":"INPUT1","datatype":"FP32","shape":[4]}],"outputs":['
        '{"name":"OUTPUT0","datatype":"FP32","shape":[4]},'
        '{"name":"OUTPUT1","datatype":"FP32","shape":[4]}]}'
    )


def test_metadata_of_a_batching_model_shows_the_batch_dimension(http: HttpDoor) -> None:
    document = http.get("/v2/models/pair").json
    assert [each["shape"] for each in document["inputs"]] == [[-1, 4], [-1, -1]]
    assert [each["shape"] for each in document["outputs"]] == [[-1, 4], [-1, -1]]


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        ("specific_versions", ["1", "3"]),
        ("specific_versions/versions/3", ["3"]),
        ("latest_two_versions", ["2", "10"]),
        ("all_versions", ["1", "2"]),
    ],
)
def test_versions_that_the_policy_serves(http: HttpDoor, path: str, versions: list[str]) -> None:
    assert http.get(f"/v2/models/{path}").json["versions"] == versions


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("specific_versions", "3"),
        ("specific_versions/versions/1", "1"),
        ("latest_two_versions", "10"),
        ("all_versions", "2"),
    ],
)
def test_request_without_a_version_goes_to_the_highest(
    http: HttpDoor, path: str, version: str
) -> None:
    tensor = {"name": "INPUT0", "datatype": "FP32", "shape": [1], "data": [1.0]}
    answer = http.post(f"/v2/models/{path}/infer", {"inputs": [tensor]})
    assert answer.json["model_version"] == version


def expected_config() -> dict[str, Any]:
    def described(name: str) -> dict[str, Any]:
        return {"name": name, "data_type": "TYPE_FP32"}

    flags = {"is_shape_tensor": False, "is_non_linear_format_io": False}
    inputs = [
        {
            **described(name),
            "format": "FORMAT_NONE",
            "dims": [4],
            "is_shape_tensor": False,
            "allow_ragged_batch": False,
            "optional": False,
            "is_non_linear_format_io": False,
        }
        for name in ("INPUT0", "INPUT1")
    ]
    outputs = [
        {**described(name), "dims": [4], "label_filename": "", **flags}
        for name in ("OUTPUT0", "OUTPUT1")
    ]
    return {
        "name": "add_sub",
        "platform": "",
        "backend": "python",
        "runtime": "",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": inputs,
        "output": outputs,
        "batch_input": [],
        "batch_output": [],
        "optimization": {
            "priority": "PRIORITY_DEFAULT",
            "input_pinned_memory": {"enable": True},
            "output_pinned_memory": {"enable": True},
            "gather_kernel_buffer_threshold": 0,
            "eager_batching": False,
        },
        "instance_group": [
            {
                "name": "add_sub_0",
                "kind": "KIND_CPU",
                "count": 1,
                "gpus": [],
                "secondary_devices": [],
                "profile": [],
                "passive": False,
                "host_policy": "",
            }
        ],
        "default_model_filename": "model.py",
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {},
        "model_warmup": [],
    }


@pytest.mark.parametrize("path", ["", "/versions/1"])
def test_config_is_complete_and_in_tritons_order(http: HttpDoor, path: str) -> None:
    answer = http.get(f"/v2/models/add_sub{path}/config")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == json.dumps(expected_config(), separators=(",", ":"))


def test_config_shows_what_was_filled_in(http: HttpDoor) -> None:
    config = http.get("/v2/models/pair/config").json
    assert config["dynamic_batching"] == {
        "preferred_batch_size": [8],
        "max_queue_delay_microseconds": 0,
        "preserve_ordering": False,
        "priority_levels": 0,
        "default_priority_level": 0,
        "priority_queue_policy": {},
    }
    assert config["instance_group"][0]["name"] == "pair"
    assert config["instance_group"][0]["kind"] == "KIND_CPU"


def test_config_keeps_policy_transaction_and_optional_inputs(http: HttpDoor) -> None:
    policy = http.get("/v2/models/specific_versions/config").json["version_policy"]
    assert policy == {"specific": {"versions": [1, 3]}}
    decoupled = http.get("/v2/models/decoupled/config").json
    assert decoupled["model_transaction_policy"] == {"decoupled": True}
    optional = http.get("/v2/models/optional_input/config").json
    assert [each["optional"] for each in optional["input"]] == [False, True]


@pytest.mark.parametrize("model", ["add_sub", "pair", "specific_versions", "decoupled"])
def test_grpc_config_is_the_same(http: HttpDoor, grpc_door: GrpcDoor, model: str) -> None:
    reply = grpc_door.call("ModelConfig", pb.ModelConfigRequest(name=model))
    over_http = http.get(f"/v2/models/{model}/config").body
    # Parsing drops what is only a default; the tests above look at the text itself.
    assert json_format.Parse(over_http, pb.ModelConfigResponse().config) == reply.config


def test_grpc_health_and_server_metadata(grpc_door: GrpcDoor) -> None:
    assert grpc_door.call("ServerLive", pb.ServerLiveRequest()).live
    assert grpc_door.call("ServerReady", pb.ServerReadyRequest()).ready
    metadata = grpc_door.call("ServerMetadata", pb.ServerMetadataRequest())
    assert metadata.name == "triton"
    assert list(metadata.extensions) == EXTENSIONS


@pytest.mark.parametrize("version", ["", "1"])
def test_grpc_model_ready(grpc_door: GrpcDoor, version: str) -> None:
    message = pb.ModelReadyRequest(name="add_sub", version=version)
    assert grpc_door.call("ModelReady", message).ready


@pytest.mark.parametrize(("name", "version"), [("nothing", ""), ("add_sub", "9")])
def test_grpc_unknown_model_is_not_ready(server: Server, name: str, version: str) -> None:
    door = GrpcDoor(server.grpc_address)
    message = pb.ModelReadyRequest(name=name, version=version)
    if server.is_oracle:
        # 2.51 says ready: false; the Triton we follow says that there is no such model.
        assert not door.call("ModelReady", message).ready
    else:
        assert door.refusal("ModelReady", message)[0] == "NOT_FOUND"
    door.close()


@pytest.mark.parametrize("version", ["", "1"])
def test_grpc_model_metadata(http: HttpDoor, grpc_door: GrpcDoor, version: str) -> None:
    message = pb.ModelMetadataRequest(name="add_sub", version=version)
    reply = grpc_door.call("ModelMetadata", message)
    as_json = json_format.MessageToDict(reply, preserving_proto_field_name=True)
    for entry in [*as_json["inputs"], *as_json["outputs"]]:
        entry["shape"] = [int(dim) for dim in entry["shape"]]
    assert as_json == http.get("/v2/models/add_sub").json


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig"])
@pytest.mark.parametrize(
    ("name", "version", "code", "text"),
    [
        ("nothing", "", "NOT_FOUND", "Request for unknown model: 'nothing' is not found"),
        ("", "", "NOT_FOUND", "Request for unknown model: '' is not found"),
        (
            "add_sub",
            "9",
            "NOT_FOUND",
            "Request for unknown model: 'add_sub' version 9 is not found",
        ),
        (
            "add_sub",
            "one",
            "INVALID_ARGUMENT",
            "failed to get model version from specified version string 'one' (details: stol), "
            "version should be an integral value > 0",
        ),
        (
            "add_sub",
            "-1",
            "INVALID_ARGUMENT",
            "invalid model version specified '-1' , version should be an integral value > 0",
        ),
    ],
)
def test_grpc_refusals(
    grpc_door: GrpcDoor, method: str, name: str, version: str, code: str, text: str
) -> None:
    message = getattr(pb, f"{method}Request")(name=name, version=version)
    assert grpc_door.refusal(method, message) == (code, text)


@pytest.mark.parametrize("service", [b"", b"\n\x1einference.GRPCInferenceService"])
def test_grpc_health_service(grpc_door: GrpcDoor, service: bytes) -> None:
    serving = b"\x08\x01"
    assert grpc_door.raw_call("/grpc.health.v1.Health/Check", service) == serving


@pytest.mark.parametrize(
    "path", ["/inference.GRPCInferenceService/Nothing", "/nothing.Nothing/Call"]
)
def test_unknown_grpc_method(grpc_door: GrpcDoor, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        grpc_door.raw_call(path, b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.ours("the wheel of Triton 2.51 has no ONNX Runtime backend")
def test_metadata_of_an_onnx_model(http: HttpDoor) -> None:
    document = http.get("/v2/models/simple").json
    assert document["platform"] == "onnxruntime_onnx"
    assert [each["shape"] for each in document["inputs"]] == [[-1, 16], [-1, 16]]
