# SPDX-License-Identifier: Apache-2.0
"""Streams and cancellation through Triton's own Python clients, and statistics of responses
(triton.md P154, S075, S079, T007)."""

from __future__ import annotations

import asyncio
import queue
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from support.repository import RESPONDER, echo, write_models
from support.servers import Server, ServerStarter
from tritonclient.utils import InferenceServerException
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

WAIT_S = 20

# Waits for ten minutes for a batch of eight.
DELAYED = echo(
    "TYPE_FP32 [ 1 ]",
    extra="max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 8 ] "
    "max_queue_delay_microseconds: 600000000 }",
)

REPEAT = """
backend: "repeat"
model_transaction_policy { decoupled: true }
input [
  { name: "IN" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "DELAY" data_type: TYPE_UINT32 dims: [ -1 ] },
  { name: "WAIT" data_type: TYPE_UINT32 dims: [ 1 ] }
]
output [
  { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] },
  { name: "IDX" data_type: TYPE_UINT32 dims: [ 1 ] }
]
"""


@pytest.fixture(scope="module")
def server(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose statistics only these tests change."""
    models = {"responder": RESPONDER, "delayed": DELAYED}
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    if not starter.is_oracle:
        (directory / "repeat" / "1").mkdir(parents=True)
        (directory / "repeat" / "config.pbtxt").write_text(REPEAT)
    with starter.prepare("stream_clients", directory) as process:
        yield Server(process, starter.is_oracle)


def integers(name: str, values: list[int], kind: str = "INT32") -> Any:
    data = np.array(values, np.int32 if kind == "INT32" else np.uint32)
    made = tritonclient.grpc.InferInput(name, data.shape, kind)
    made.set_data_from_numpy(data)
    return made


def test_blocking_client(server: Server) -> None:
    results: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        client.start_stream(lambda result, error: results.put((result, error)))
        client.async_stream_infer(
            "responder",
            [integers("IN", [4, 5])],
            request_id="1",
            enable_empty_final_response=True,
        )
        seen = []
        while True:
            result, error = results.get(timeout=WAIT_S)
            assert error is None
            response = result.get_response()
            if response.parameters["triton_final_response"].bool_param:
                break
            seen.append(int(result.as_numpy("OUT")[0]))
        assert seen == [4, 5]
        client.async_stream_infer("nope", [integers("IN", [4])], request_id="2")
        result, error = results.get(timeout=WAIT_S)
        assert result is None
        assert "Request for unknown model: 'nope' is not found" in str(error)
        client.stop_stream()


def test_asyncio_client(server: Server) -> None:
    async def ask() -> list[int]:
        async def requests() -> AsyncIterator[dict[str, Any]]:
            for first in (1, 10):
                inputs = [integers("IN", [first, first + 1])]
                yield {"model_name": "responder", "inputs": inputs}

        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc_address) as client:
            seen = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                seen.append(int(result.as_numpy("OUT")[0]))
            return seen

    assert sorted(asyncio.run(ask())) == [1, 2, 10, 11]


def test_asyncio_stream_is_cancelled(server: Server, tmp_path: Path) -> None:
    noticed = tmp_path / "noticed"

    async def ask() -> None:
        async def requests() -> AsyncIterator[dict[str, Any]]:
            parameters = {"mode": "until_cancelled", "path": str(noticed)}
            inputs = [integers("IN", [1])]
            yield {"model_name": "responder", "inputs": inputs, "parameters": parameters}
            await asyncio.Event().wait()

        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc_address) as client:
            responses = client.stream_infer(requests())

            async def read() -> None:
                async for _ in responses:
                    raise AssertionError("there is no response")

            reading = asyncio.create_task(read())
            running = noticed.with_suffix(".running")
            await asyncio.to_thread(wait_until, running.exists, WAIT_S, "execution")
            assert responses.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

    asyncio.run(ask())
    wait_until(noticed.exists, WAIT_S, "news of the cancellation")


@pytest.mark.ours("2.51 looks at a cancelled request only when its queue delay is over")
def test_unary_call_is_cancelled_by_its_context(server: Server) -> None:
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    data = np.array([[1]], np.float32)
    inputs = [tritonclient.grpc.InferInput("INPUT0", data.shape, "FP32")]
    inputs[0].set_data_from_numpy(data)

    def metric(name: str, labels: str = "") -> float:
        start = f'{name}{{model="delayed",version="1"{labels}}} '
        lines = server.metrics.get("/metrics").text.splitlines()
        (line,) = (line for line in lines if line.startswith(start))
        return float(line.removeprefix(start))

    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        # Its batch is never full.
        waiting = client.async_infer(
            "delayed", inputs, lambda result, error: results.put((result, error))
        )
        pending = "nv_inference_pending_request_count"
        wait_until(lambda: metric(pending) == 1, WAIT_S, "the request in its queue")
        waiting.cancel()
        result, error = results.get(timeout=WAIT_S)
    assert result is None
    assert isinstance(error, InferenceServerException)
    assert error.status() == "StatusCode.CANCELLED"
    wait_until(lambda: metric(pending) == 0, WAIT_S, "an empty queue")
    assert metric("nv_inference_request_failure", ',reason="CANCELED"') == 1


@pytest.mark.ours("the wheel of Triton 2.51 has no repeat backend")
def test_repeat_backend(server: Server) -> None:
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    inputs = [
        integers("IN", [7, 8, 9]),
        integers("DELAY", [0, 1, 2], "UINT32"),
        integers("WAIT", [1], "UINT32"),
    ]
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        client.start_stream(lambda result, error: results.put((result, error)))
        client.async_stream_infer("repeat", inputs)
        seen = []
        for _ in range(3):
            result, error = results.get(timeout=WAIT_S)
            assert error is None
            seen.append((int(result.as_numpy("OUT")[0]), int(result.as_numpy("IDX")[0])))
        client.stop_stream()
    assert seen == [(7, 0), (8, 1), (9, 2)]
    both_protocols_tell_the_same(server, "repeat", ["0", "1", "2"])


@pytest.mark.ours("the Python backend of 2.51 counts no responses")
def test_responses_of_python_models_are_counted(server: Server) -> None:
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    before = response_stats(server, "responder")
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        client.start_stream(lambda result, error: results.put((result, error)))
        for mode in ("plain", "joined", "errors"):
            client.async_stream_infer(
                "responder",
                [integers("IN", [1, 2])],
                parameters={"mode": mode},
                enable_empty_final_response=True,
            )
        for _ in range(3 + 2 + 3):
            results.get(timeout=WAIT_S)
        client.stop_stream()
    after = response_stats(server, "responder")

    def grown(index: str) -> dict[str, int]:
        old = before.get(index, {})
        return {
            name: stat["count"] - old.get(name, {"count": 0})["count"]
            for name, stat in after[index].items()
        }

    first = {"compute_infer": 3, "compute_output": 2, "success": 2, "fail": 1}
    assert grown("0") == {**first, "empty_response": 0, "cancel": 0}
    assert grown("1") == {**first, "empty_response": 0, "cancel": 0}
    last = {"compute_infer": 2, "compute_output": 0, "success": 0, "fail": 0}
    assert grown("2") == {**last, "empty_response": 2, "cancel": 0}


def response_stats(server: Server, model: str) -> Any:
    stats = server.http.get(f"/v2/models/{model}/stats").json["model_stats"][0]
    return stats["response_stats"]


def both_protocols_tell_the_same(server: Server, model: str, indices: list[str]) -> None:
    over_http = response_stats(server, model)
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        over_grpc = client.get_inference_statistics(model).model_stats[0].response_stats
    assert sorted(over_http) == sorted(over_grpc) == indices
    for index, stats in over_http.items():
        for name, stat in stats.items():
            told = getattr(over_grpc[index], name)
            assert stat == {"count": told.count, "ns": told.ns}
        assert stats["success"]["count"] == 1
