# SPDX-License-Identifier: Apache-2.0
"""The ports of Vertex AI and SageMaker, set up as their platforms do (triton.md 4.15, 4.16)."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import tritonclient.http
from support.repository import MODELS, write_models
from support.wire import HttpDoor, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import ServerStarter

REDIRECT = "X-Vertex-Ai-Triton-Redirect"
BODY = {"inputs": [tensor("INPUT0", "FP32", [2], [1.0, 2.0])]}
VERTEX_TYPE = "application/vnd.vertex-ai-triton.binary+json;json-header-size="
SAGEMAKER_TYPE = "application/vnd.sagemaker-triton.binary+json;json-header-size="


class Ports(NamedTuple):
    """A server with both ports open."""

    http: HttpDoor
    vertex: HttpDoor
    sagemaker: HttpDoor


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def ports(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    models = {"echo_fp32": MODELS["echo_fp32"]}
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    vertex, sagemaker = free_ports(2)
    options = [
        "--allow-http=true",
        "--allow-grpc=true",
        f"--vertex-ai-port={vertex}",
        "--allow-sagemaker=true",
        f"--sagemaker-port={sagemaker}",
    ]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIP_MODE", "PREDICTION")
        environment.setenv("AIP_PREDICT_ROUTE", "/v1/predict")
        environment.setenv("AIP_HEALTH_ROUTE", "/v1/healthy")
        environment.setenv("SAGEMAKER_TRITON_DEFAULT_MODEL_NAME", "echo_fp32")
        with starter.prepare("cloud_ports", directory, options) as process:
            yield Ports(
                HttpDoor(process.endpoints.http),
                HttpDoor(f"127.0.0.1:{vertex}"),
                HttpDoor(f"127.0.0.1:{sagemaker}"),
            )


def binary_request() -> tuple[bytes, int]:
    """Return a body with binary tensors both ways, and the length of its head."""
    data = np.array([1, 2], np.float32)
    given = tritonclient.http.InferInput("INPUT0", [2], "FP32")
    given.set_data_from_numpy(data)
    wanted = tritonclient.http.InferRequestedOutput("OUTPUT0", binary_data=True)
    body, length = tritonclient.http.InferenceServerClient.generate_request_body(
        [given], outputs=[wanted]
    )
    return body, length


def test_vertex_health_and_prediction(ports: Ports) -> None:
    assert ports.vertex.get("/v1/healthy").status == 200
    answer = ports.vertex.post("/v1/predict", BODY)
    assert answer.json["outputs"][0]["data"] == [1.0, 2.0]
    for path in ("/v2", "/v1", "/"):
        answer = ports.vertex.get(path)
        assert (answer.status, answer.body) == (400, b"")


@pytest.mark.parametrize(
    "path",
    [
        "v2",
        "v2/health/ready",
        "v2/models/echo_fp32",
        "v2/models/echo_fp32/ready",
        "v2/models/echo_fp32/config",
    ],
)
def test_vertex_redirects(ports: Ports, path: str) -> None:
    answer = ports.vertex.post("/v1/predict", b"", {REDIRECT: path})
    direct = ports.http.get(f"/{path}")
    assert (answer.status, answer.body) == (direct.status, direct.body)


def test_vertex_shows_statistics_and_metrics(ports: Ports) -> None:
    answer = ports.vertex.post("/v1/predict", b"", {REDIRECT: "v2/models/stats"})
    assert answer.json["model_stats"][0]["name"] == "echo_fp32"
    answer = ports.vertex.post("/v1/predict", b"", {REDIRECT: "metrics"})
    assert 'nv_inference_request_success{model="echo_fp32",version="1"}' in answer.text


@pytest.mark.ours("2.51 lets redirected requests change the server")
@pytest.mark.parametrize(
    "path",
    [
        "v2/repository/models/echo_fp32/load",
        "v2/repository/models/echo_fp32/unload",
        "v2/systemsharedmemory/region/r/register",
        "v2/systemsharedmemory/unregister",
        "v2/logging",
        "v2/trace/setting",
    ],
)
def test_vertex_redirects_change_nothing(ports: Ports, path: str) -> None:
    answer = ports.vertex.post("/v1/predict", b"{}", {REDIRECT: path})
    assert answer.status == 403
    assert answer.error


@pytest.mark.parametrize("path", ["nope", "", "/v2", "v2/"])
def test_vertex_redirects_to_nowhere(ports: Ports, path: str) -> None:
    answer = ports.vertex.post("/v1/predict", b"{}", {REDIRECT: path})
    assert (answer.status, answer.body) == (400, b"")


def test_vertex_binary_data(ports: Ports) -> None:
    body, length = binary_request()
    answer = ports.vertex.post("/v1/predict", body, {"Content-Type": f"{VERTEX_TYPE}{length}"})
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.split()[1] == np.array([1, 2], np.float32).tobytes()
    answer = ports.vertex.post("/v1/predict", body, {"Content-Type": f"x{VERTEX_TYPE}5"})
    assert answer.status == 400
    assert answer.error == (
        f"expect MIME type for binary data starts with '{VERTEX_TYPE}', got: x{VERTEX_TYPE}5"
    )


def test_sagemaker_ping_and_invocation(ports: Ports) -> None:
    assert ports.sagemaker.get("/ping").status == 200
    assert ports.sagemaker.post("/ping", b"").status == 405
    answer = ports.sagemaker.post("/invocations", BODY)
    assert answer.json["outputs"][0]["data"] == [1.0, 2.0]
    answer = ports.sagemaker.get("/v2")
    assert (answer.status, answer.body) == (400, b"")


def test_sagemaker_binary_data(ports: Ports) -> None:
    body, length = binary_request()
    headers = {"Content-Type": f"{SAGEMAKER_TYPE}{length}"}
    answer = ports.sagemaker.post("/invocations", body, headers)
    head = int(answer.headers["content-type"].removeprefix(SAGEMAKER_TYPE))
    assert json.loads(answer.body[:head])["model_name"] == "echo_fp32"
    assert answer.body[head:] == np.array([1, 2], np.float32).tobytes()
    answer = ports.sagemaker.post("/invocations", body, {"Content-Type": f"{SAGEMAKER_TYPE}-1"})
    assert answer.status == 400
    assert answer.error == f"inference header size should be in range (0, {len(body)}), got: -1"


@pytest.mark.parametrize("port", ["vertex", "sagemaker"])
def test_answers_are_never_compressed(ports: Ports, port: str) -> None:
    door, path = (
        (ports.vertex, "/v1/predict") if port == "vertex" else (ports.sagemaker, "/invocations")
    )
    answer = door.post(path, BODY, {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.json["outputs"][0]["data"] == [1.0, 2.0]
