# SPDX-License-Identifier: Apache-2.0
"""The access log: a line for each request, over HTTP and gRPC."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from support import grpc_door as wire
from support.grpc_stream import GrpcStream
from support.repository import echo, write_models
from support.servers import Server
from support.wire import tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.grpc_door import GrpcDoor
    from support.servers import ServerStarter

pytestmark = pytest.mark.ours("Triton has no access log")

WAIT_S = 20
INPUTS = [tensor("INPUT0", "FP32", [1], [1.0])]
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


@pytest.fixture(scope="module", params=["default", "json"])
def server(
    request: pytest.FixtureRequest, starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    directory = write_models(tmp_path_factory.mktemp("models"), {"echo": echo("TYPE_FP32 [ -1 ]")})
    # In JSON the addresses are logged as well, so that the start is seen.
    options = ["--access-log=true", f"--log-format={request.param}"]
    with starter.prepare("access_log", directory, options) as process:
        yield Server(process, starter.is_oracle)


def entries(server: Server) -> list[dict[str, Any]]:
    """Return what the log tells of requests, whatever its format."""
    found = []
    for line in server.process.log().splitlines():
        if line.startswith("{"):
            members = json.loads(line)
            if "protocol" in members:
                found.append(members)
            continue
        match = re.search(
            r'"(?:\[request id: (?P<request_id>.*)\] )?(?P<protocol>HTTP|gRPC) '
            r"(?P<client>[\d.]+:\d+) (?P<method>[A-Z]+) (?P<path>\S+) (?P<status>\d+) "
            r'(?P<duration_us>\d+) us(?: model (?P<model>.+) version (?P<version>\d+))?"$',
            line,
        )
        if match:
            found.append(match.groupdict())
    return found


def entry(server: Server, path: str, request_id: str | None = None) -> dict[str, Any]:
    """Wait for the entry of a request and return it with all its members as text."""

    def matching() -> list[dict[str, Any]]:
        every = [each for each in entries(server) if each["path"] == path]
        return [each for each in every if request_id in (None, each["request_id"])]

    wait_until(lambda: bool(matching()), WAIT_S, f"an entry for {path} {request_id}")
    (found,) = matching()
    return {name: str(value or "") for name, value in found.items()}


def test_an_inference_is_told_with_its_model_and_id(server: Server) -> None:
    path = "/v2/models/echo/infer"
    assert server.http.infer("echo", INPUTS, id="over HTTP").status == 200
    told = entry(server, path, "over HTTP")
    expected = {"protocol": "HTTP", "method": "POST", "status": "200", "model": "echo"}
    assert {name: told[name] for name in expected} == expected
    assert told["version"] == "1"
    assert told["client"].startswith("127.0.0.1:")
    assert int(told["duration_us"]) > 0


def test_other_requests_are_told_without(server: Server) -> None:
    assert server.http.get("/v2/models/nosuch").status == 404
    told = entry(server, "/v2/models/nosuch")
    assert (told["method"], told["status"], told["model"]) == ("GET", "404", "")


def test_a_refused_inference_is_told(server: Server) -> None:
    refused = server.http.infer("echo", [tensor("INPUT0", "INT32", [1], [1])], id="refused")
    assert refused.status == 400
    assert entry(server, "/v2/models/echo/infer", "refused")["status"] == "400"


def test_calls_are_told_with_their_code(server: Server, grpc_door: GrpcDoor) -> None:
    inputs = [wire.tensor("INPUT0", "FP32", [1], fp32_contents=[1])]
    grpc_door.infer(wire.request("echo", inputs, id="over gRPC"))
    told = entry(server, INFER, "over gRPC")
    expected = {"protocol": "gRPC", "status": "", "model": "echo", "version": "1"}
    assert {**told, "status": told["status"].strip("0")} == {**told, **expected}
    wrong = [wire.tensor("INPUT0", "INT32", [1], int_contents=[1])]
    grpc_door.refusal("ModelInfer", wire.request("echo", wrong, id="refused"))
    assert entry(server, INFER, "refused")["status"] == "3"


def test_each_request_of_a_stream_is_told(server: Server, grpc_door: GrpcDoor) -> None:
    inputs = [wire.tensor("INPUT0", "FP32", [1], fp32_contents=[1])]
    stream = GrpcStream(grpc_door.channel)
    stream.send(wire.request("echo", inputs, id="first"))
    stream.send(wire.request("echo", inputs, id="second"))
    stream.send(wire.request("nosuch", inputs))
    assert len(stream.rest()) == 3
    for name in ("first", "second"):
        told = entry(server, STREAM, name)
        assert (told["model"], told["status"].strip("0")) == ("echo", "")

    def refused() -> bool:
        return any(str(each["status"]) == "5" for each in entries(server))

    wait_until(refused, WAIT_S, "an entry for the unknown model")


def test_nothing_is_told_unless_asked_for(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = write_models(tmp_path_factory.mktemp("models"), {"echo": echo("TYPE_FP32 [ -1 ]")})
    with starter.prepare("no_access_log", directory) as process:
        server = Server(process, starter.is_oracle)
        assert server.http.infer("echo", INPUTS).status == 200
    assert entries(server) == []
