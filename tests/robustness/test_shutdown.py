# SPDX-License-Identifier: Apache-2.0
"""SIGTERM in the middle of many requests: whatever was executed is answered."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritongw_server import TritongwServer
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = Path(__file__).resolve().parent / "models" / "counting.py"
CONFIG = """
backend: "python"
max_batch_size: 4
dynamic_batching { }
input { name: "INPUT0" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 1 ] }
"""
CLIENTS = 8
# Requests answered before the signal comes.
WARM = 200
PATH = "/v2/models/counting/infer"
BODY = json.dumps(
    {"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
).encode()
# What a client may be told while the server ends, in place of an answer.
REFUSALS = {503, grpc.StatusCode.UNAVAILABLE}


@dataclass
class Tally:
    """What clients got, each until its first failure."""

    answered: int = 0
    others: list[object] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status: object) -> bool:
        """Note one answer; return whether to go on."""
        with self._lock:
            if status in (200, grpc.StatusCode.OK):
                self.answered += 1
                return True
            if status not in REFUSALS:
                self.others.append(status)
            return False


def ask_http(address: str, tally: Tally) -> None:
    """Ask until the server says no or hangs up between two requests."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        while True:
            connection.request("POST", PATH, BODY)
            response = connection.getresponse()
            response.read()
            if not tally.add(response.status):
                return
    except ConnectionError:
        # Nothing of an answer came: the request must not have been executed either.
        return
    except http.client.HTTPException as error:
        tally.add(repr(error))
    finally:
        connection.close()


def ask_grpc(address: str, tally: Tally) -> None:
    """Ask until the server says no."""
    request = pb.ModelInferRequest(model_name="counting", raw_input_contents=[bytes(4)])
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 1])
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options) as channel:
        stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while True:
            try:
                stub.ModelInfer(request, timeout=30)
            except grpc.RpcError as error:
                tally.add(error.code())
                return
            tally.add(grpc.StatusCode.OK)


@pytest.mark.parametrize("ask", [ask_http, ask_grpc])
def test_what_was_executed_is_answered(tmp_path: Path, ask: Callable[[str, Tally], None]) -> None:
    directory = tmp_path / "models" / "counting"
    (directory / "1").mkdir(parents=True)
    (directory / "config.pbtxt").write_text(CONFIG)
    shutil.copy(MODEL, directory / "1" / "model.py")
    tally = Tally()
    with TritongwServer(directory.parent, tmp_path / "server.log") as server:
        address = server.endpoints.http if ask is ask_http else server.endpoints.grpc
        clients = [threading.Thread(target=ask, args=(address, tally)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        wait_until(lambda: tally.answered > WARM, 30, "requests under way")
        server.signal(signal.SIGTERM)
        assert server.wait(30) == 0
        for client in clients:
            client.join(30)
    assert tally.others == []
    executed = (directory / "count").stat().st_size
    assert tally.answered == executed
