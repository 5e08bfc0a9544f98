# SPDX-License-Identifier: Apache-2.0
"""A multi-model endpoint of SageMaker, spoken to as the platform does (P160-P163, P165, P167)."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import oracle
import pytest
from server_process import ServerProcess
from support.repository import PythonModel, echo, write_models
from support.wire import HttpDoor, tensor
from waiting import http_status, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.servers import ServerStarter
    from support.wire import Answer

BODY = {"inputs": [tensor("INPUT0", "FP32", [2], [1.0, 2.0])]}
ECHO = echo("TYPE_FP32 [ -1 ]")
OUT_OF_MEMORY = """
class TritonPythonModel:
    def initialize(self, args):
        raise MemoryError("as the test asked")

    def execute(self, requests):
        return []
"""
WAIT_S = 30


class Endpoint(NamedTuple):
    """The platform's port of a server without models, and where archives are unpacked."""

    door: HttpDoor
    http: HttpDoor
    archives: Path
    is_oracle: bool

    def unpack(self, name: str, models: dict[str, PythonModel]) -> Path:
        """Return where the platform has put these models."""
        return write_models(self.archives / name / "model", models)

    def load(self, name: str, url: Path | str, target: str = "") -> Answer:
        """Ask for a model; `target` is what its user calls it."""
        headers = {"X-Amzn-SageMaker-Target-Model": target} if target else {}
        return self.door.post("/models", {"model_name": name, "url": str(url)}, headers)

    def unload(self, name: str, target: str = "") -> Answer:
        """Unload a model. Triton goes by `target` here too."""
        headers = {"X-Amzn-SageMaker-Target-Model": target} if target else {}
        return self.door.request("DELETE", f"/models/{name}", headers=headers)


@pytest.fixture(scope="module", params=["false", "true"], ids=["plain", "namespacing"])
def endpoint(
    request: pytest.FixtureRequest, starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    (port,) = oracle.free_ports(1)
    options = [
        "--model-control-mode=explicit",
        f"--model-namespacing={request.param}",
        "--allow-sagemaker=true",
        f"--sagemaker-port={port}",
    ]
    empty = tmp_path_factory.mktemp("empty")
    with starter.prepare("multi_model", empty, options) as process:
        yield Endpoint(
            HttpDoor(f"127.0.0.1:{port}"),
            HttpDoor(process.endpoints.http),
            tmp_path_factory.mktemp("archives"),
            starter.is_oracle,
        )


def test_life_of_a_model(endpoint: Endpoint) -> None:
    url = endpoint.unpack("life", {"inner": ECHO})
    described = {"modelName": "life", "modelUrl": str(url)}
    answer = endpoint.load("life", url)
    assert (answer.status, answer.body) == (200, b"")
    assert described in endpoint.door.get("/models").json["models"]
    assert endpoint.door.get("/models/life").json == described
    answer = endpoint.door.post("/models/life/invoke", BODY)
    assert answer.json["model_name"] == "life"
    assert answer.json["outputs"][0]["data"] == [1.0, 2.0]
    answer = endpoint.unload("life")
    assert (answer.status, answer.body) == (200, b"")
    assert endpoint.door.get("/models").json == {"models": []}
    again = endpoint.load("life", url)
    assert again.status == 200
    assert endpoint.unload("life").status == 200


def test_the_target_names_the_model(endpoint: Endpoint) -> None:
    url = endpoint.unpack("targeted", {"inner": ECHO})
    assert endpoint.load("hash", url, "resnet.tar.gz").status == 200
    headers = {"X-Amzn-SageMaker-Target-Model": "resnet.tar.gz"}
    answer = endpoint.door.post("/models/hash/invoke", BODY, headers)
    assert answer.json["model_name"] == "resnet.tar.gz"
    assert endpoint.http.get("/v2/models/resnet.tar.gz/config").json["name"] == "resnet.tar.gz"
    assert endpoint.http.get("/v2/models/inner/ready").status != 200
    listed = endpoint.door.get("/models").json["models"]
    # Triton 2.51 asks whether there is a ready model by the name of the hash.
    expected = {} if endpoint.is_oracle else {"modelName": "hash", "modelUrl": str(url)}
    assert listed == [expected]
    assert endpoint.unload("hash", "resnet.tar.gz").status == 200


@pytest.mark.ours("Triton 2.51 takes the target for a path, or waits for it for minutes")
def test_a_target_is_not_needed_again(endpoint: Endpoint) -> None:
    for target in ("plain.tar.gz", "in/a/folder.tar.gz"):
        url = endpoint.unpack(target, {"inner": ECHO})
        assert endpoint.load("hash", url, target).status == 200
        assert endpoint.door.post("/models/hash/invoke", BODY).status == 200
        assert endpoint.unload("hash").status == 200


def test_a_model_may_be_the_archive_itself(endpoint: Endpoint) -> None:
    if endpoint.is_oracle:
        pytest.skip("Triton 2.51 wants it in /opt/ml/models then")
    ECHO.write(endpoint.archives / "itself" / "model")
    assert endpoint.load("itself", endpoint.archives / "itself" / "model").status == 200
    assert endpoint.door.post("/models/itself/invoke", BODY).json["model_name"] == "itself"
    assert endpoint.unload("itself").status == 200


def test_what_is_there_cannot_be_loaded_again(endpoint: Endpoint) -> None:
    url = endpoint.unpack("twice", {"inner": ECHO})
    assert endpoint.load("twice", url).status == 200
    for name in ("twice", "other"):
        answer = endpoint.load(name, url)
        expected = f"model repository '{url}' has already been registered"
        assert (answer.status, answer.error) == (409, expected)
    assert endpoint.unload("twice").status == 200


def test_what_is_not_there_is_not_found(endpoint: Endpoint) -> None:
    for verb, path in (
        ("GET", "/models/nosuch"),
        ("DELETE", "/models/nosuch"),
        ("POST", "/models/nosuch/invoke"),
    ):
        answer = endpoint.door.request(verb, path)
        assert (answer.status, answer.body) == (404, b""), path


def test_loads_that_fail(endpoint: Endpoint) -> None:
    absent = endpoint.archives / "absent"
    answer = endpoint.load("absent", absent)
    expected = f"failed to register '{absent}', repository not found"
    assert (answer.status, answer.error) == (400, expected)
    answer = endpoint.door.post("/models", b"")
    assert (answer.status, answer.error) == (400, "failed to register '', repository not found")
    assert endpoint.load("devices", "/dev/shm").status == 400
    broken = endpoint.unpack("broken", {"inner": ECHO})
    (broken / "inner" / "config.pbtxt").write_text("nonsense")
    assert endpoint.load("broken", broken).status == 400
    (broken / "inner" / "config.pbtxt").write_text(ECHO.config())
    assert endpoint.load("broken", broken).status == 200, "the failure left nothing behind"
    assert endpoint.unload("broken").status == 200


@pytest.mark.ours("Triton 2.51 dies of it")
@pytest.mark.parametrize("body", [b"{", b'{"model_name": 5, "url": "/x"}'])
def test_bodies_that_cannot_be_read(endpoint: Endpoint, body: bytes) -> None:
    assert endpoint.door.post("/models", body).status == 400
    assert endpoint.door.get("/models").status == 200


def test_lack_of_memory_has_the_platform_make_room(endpoint: Endpoint) -> None:
    url = endpoint.unpack("large", {"inner": ECHO})
    (url / "inner" / "1" / "model.py").write_text(OUT_OF_MEMORY)
    answer = endpoint.load("large", url)
    assert answer.status == 507
    assert "MemoryError" in answer.error
    assert endpoint.door.get("/models/large").status == 404


def test_a_failed_invocation_is_a_bad_request(endpoint: Endpoint) -> None:
    url = endpoint.unpack("invoked", {"inner": ECHO})
    assert endpoint.load("invoked", url).status == 200
    answer = endpoint.door.post("/models/invoked/invoke", {"inputs": []})
    assert answer.status == 400
    assert "expected" in answer.error
    assert endpoint.unload("invoked").status == 200


@pytest.mark.parametrize(
    ("verb", "path"),
    [("PUT", "/models"), ("HEAD", "/models"), ("POST", "/models/x/other"), ("GET", "/model")],
)
def test_other_requests_are_bad(endpoint: Endpoint, verb: str, path: str) -> None:
    assert endpoint.door.request(verb, path).status == 400


def container(directory: Path, log: Path, **variables: str) -> ServerProcess:
    """Return a server that is started as the platform starts a container."""
    command = [sys.executable, "-m", "tritongw", "sagemaker", "serve"]
    command += [f"--model-repository={directory}", "--http-address=127.0.0.1"]
    process = ServerProcess(command, log, {**os.environ, **variables})
    process.awaits_services = False
    return process


@pytest.mark.ours("its script `serve` is part of its container alone")
def test_a_container_serves_its_model(tmp_path: Path) -> None:
    directory = write_models(tmp_path / "models", {"only": ECHO})
    (port,) = oracle.free_ports(1)
    variables = {"SAGEMAKER_BIND_TO_PORT": str(port)}
    with container(directory, tmp_path / "log", **variables) as process:
        address = f"127.0.0.1:{port}"
        wait_until(lambda: http_status(address, "/ping") == http.client.OK, WAIT_S, "a ping")
        answer = HttpDoor(address).post("/invocations", BODY)
        assert answer.json["model_name"] == "only"
        assert process.log().count("Started ") == 1, "neither HTTP, gRPC nor metrics"


@pytest.mark.ours("its script `serve` is part of its container alone")
def test_a_container_without_a_model_says_so(tmp_path: Path) -> None:
    process = container(tmp_path, tmp_path / "log")
    ended = subprocess.run(process.command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"No model found in model repository '{tmp_path}'" in ended.stderr
