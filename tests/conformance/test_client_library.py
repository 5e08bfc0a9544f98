# SPDX-License-Identifier: Apache-2.0
"""What the Python client library offers besides a plain call, and curl."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from support.wire import tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import Server

LEFT = np.array([1, 2, 3, 4], dtype=np.float32)
RIGHT = np.array([4, 3, 2, 1], dtype=np.float32)
MODULES = {"http": tritonclient.http, "grpc": tritonclient.grpc}


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> Any:
    return MODULES[request.param]


@pytest.fixture
def client(server: Server, module: Any) -> Iterator[Any]:
    is_http = module is tritonclient.http
    address = server.http.address if is_http else server.grpc_address
    options = {"concurrency": 4} if is_http else {}
    with module.InferenceServerClient(address, **options) as client:
        yield client


def add_sub(module: Any, **how: bool) -> list[Any]:
    inputs = []
    for name, array in (("INPUT0", LEFT), ("INPUT1", RIGHT)):
        made = module.InferInput(name, array.shape, "FP32")
        made.set_data_from_numpy(array, **how)
        inputs.append(made)
    return inputs


def command(module: Any, text: str) -> list[Any]:
    made = module.InferInput("COMMAND", [1], "BYTES")
    made.set_data_from_numpy(np.array([text.encode()], dtype=np.object_))
    return [made]


def test_parameters_reach_the_model(client: Any, module: Any) -> None:
    result = client.infer(
        "commands",
        command(module, "parameters"),
        parameters={"text": "x", "flag": True, "number": 7},
    )
    seen = json.loads(result.as_numpy("ANSWER")[0])
    assert {"text": "x", "flag": True, "number": 7}.items() <= seen.items()


def test_sequence_priority_and_timeout_are_taken(client: Any, module: Any) -> None:
    result = client.infer(
        "add_sub",
        add_sub(module),
        request_id="7",
        sequence_id=5,
        sequence_start=True,
        sequence_end=True,
        priority=1,
        timeout=5_000_000,
    )
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), LEFT + RIGHT)


def test_asynchronous_calls(server: Server) -> None:
    with tritonclient.http.InferenceServerClient(server.http.address, concurrency=4) as client:
        calls = [client.async_infer("add_sub", add_sub(tritonclient.http)) for _ in range(8)]
        for call in calls:
            np.testing.assert_array_equal(call.get_result().as_numpy("OUTPUT1"), LEFT - RIGHT)


def test_requested_outputs(client: Any, module: Any) -> None:
    outputs = [module.InferRequestedOutput("OUTPUT1")]
    result = client.infer("add_sub", add_sub(module), outputs=outputs)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), LEFT - RIGHT)
    assert result.as_numpy("OUTPUT0") is None
    assert result.get_output("OUTPUT0") is None


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_and_responses(server: Server, algorithm: str) -> None:
    with tritonclient.http.InferenceServerClient(server.http.address) as client:
        result = client.infer(
            "add_sub",
            add_sub(tritonclient.http),
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), LEFT + RIGHT)
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        result = client.infer(
            "add_sub", add_sub(tritonclient.grpc), compression_algorithm=algorithm
        )
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), LEFT + RIGHT)


def test_query_parameters_are_ignored(server: Server) -> None:
    with tritonclient.http.InferenceServerClient(server.http.address) as client:
        result = client.infer(
            "add_sub", add_sub(tritonclient.http), query_params={"trace": "on", "n": 2}
        )
        assert client.is_server_ready(query_params={"a": "b"})
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), LEFT + RIGHT)


def test_body_made_and_read_without_a_connection(server: Server) -> None:
    client = tritonclient.http.InferenceServerClient
    body, length = client.generate_request_body(add_sub(tritonclient.http))
    headers = {"Inference-Header-Content-Length": str(length)}
    answer = server.http.post("/v2/models/add_sub/infer", bytes(body), headers)
    sent = answer.headers.get("inference-header-content-length")
    result = client.parse_response_body(
        answer.body, header_length=None if sent is None else int(sent)
    )
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), LEFT + RIGHT)


def test_documents_as_json_over_grpc(server: Server) -> None:
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        assert client.get_model_metadata("add_sub", as_json=True)["name"] == "add_sub"
        config = client.get_model_config("add_sub", as_json=True)["config"]
        assert config["input"][0]["data_type"] == "TYPE_FP32"


def test_basic_auth_plugin_is_let_through(client: Any, module: Any) -> None:
    auth = pytest.importorskip(
        "tritonclient.http.auth" if module is tritonclient.http else "tritonclient.grpc.auth"
    )
    client.register_plugin(auth.BasicAuth("user", "word"))
    assert client.is_server_ready()
    client.unregister_plugin()


def test_headers_of_the_caller_are_let_through(client: Any, module: Any) -> None:
    result = client.infer("add_sub", add_sub(module), headers={"x-caller": "me"})
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), LEFT + RIGHT)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(server: Server) -> None:
    def curl(*arguments: str) -> str:
        call = ["curl", "--silent", "--fail-with-body", *arguments]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout

    root = f"http://{server.http.address}/v2"
    assert curl(f"{root}/health/ready") == ""
    assert json.loads(curl(f"{root}/models/add_sub"))["name"] == "add_sub"
    inputs = [
        tensor("INPUT0", "FP32", [4], LEFT.tolist()),
        tensor("INPUT1", "FP32", [4], RIGHT.tolist()),
    ]
    answer = json.loads(
        curl("--json", json.dumps({"inputs": inputs}), f"{root}/models/add_sub/infer")
    )
    assert answer["outputs"][0]["data"] == (LEFT + RIGHT).tolist()
    large = json.dumps({"inputs": inputs, "id": "x" * 5000})
    # Above 1024 bytes curl asks first whether it may go on.
    assert json.loads(
        curl(
            "-X", "POST", "-H", "Expect: 100-continue", "-d", large, f"{root}/models/add_sub/infer"
        )
    )["id"]
    assert isinstance(json.loads(curl("-X", "POST", f"{root}/repository/index")), list)
