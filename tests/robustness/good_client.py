# SPDX-License-Identifier: Apache-2.0
"""A client that does all right, and how long it waits."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from burdens import INFER
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from burdens import Target

_BODY = json.dumps(
    {"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1, 16], "data": [1.5] * 16}]}
).encode()
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Waits:
    """How long requests took, in milliseconds."""

    p50: float
    p99: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.2f} ms, p99 {self.p99:.2f} ms"


def ask_http(target: Target, count: int) -> Waits:
    """Send `count` requests one after the other over one HTTP connection; all must succeed."""
    connection = http.client.HTTPConnection(target.http, timeout=_TIMEOUT_S)

    def ask() -> None:
        connection.request("POST", INFER, _BODY)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        assert json.loads(body)["outputs"][0]["data"] == [1.5] * 16

    try:
        return _measure(ask, count)
    finally:
        connection.close()


def ask_grpc(target: Target, count: int) -> Waits:
    """Send `count` requests one after the other over one gRPC connection; all must succeed."""
    request = pb.ModelInferRequest(model_name="identity", raw_input_contents=[bytes(64)])
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 16])
    with _channel(target) as channel:
        stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def ask() -> None:
            reply = stub.ModelInfer(request, timeout=_TIMEOUT_S)
            assert reply.raw_output_contents[0] == bytes(64)

        return _measure(ask, count)


def _channel(target: Target) -> grpc.Channel:
    if target.certificate is None:
        return grpc.insecure_channel(target.grpc)
    return grpc.secure_channel(
        target.grpc,
        grpc.ssl_channel_credentials(target.certificate),
        [("grpc.ssl_target_name_override", "localhost")],
    )


def _measure(ask: Callable[[], None], count: int) -> Waits:
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        ask()
        times.append((time.perf_counter() - begin) * 1000)
    return Waits(statistics.median(times), sorted(times)[int(len(times) * 0.99)])


ASKERS = {"http": ask_http, "grpc": ask_grpc}
