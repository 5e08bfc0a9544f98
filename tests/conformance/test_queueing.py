# SPDX-License-Identifier: Apache-2.0
"""Requests that wait: limits, timeouts, priorities, clients that leave (triton.md S016-S021)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.gate import Asker, Gate
from support.grpc_door import GrpcDoor, request
from support.grpc_door import tensor as grpc_tensor
from support.repository import write_models
from support.servers import Server, ServerStarter
from support.wire import tensor
from tritonclient.grpc import service_pb2_grpc
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.wire import Answer

PREFIX = "[request id: <id_unknown>] "
WAIT_S = 20
BATCHING = "max_batch_size: 1 dynamic_batching {{ {} }}"
CONFIGS = {
    "plain": "",
    "batching": BATCHING.format(""),
    "small_queue": BATCHING.format("default_queue_policy { max_queue_size: 1 }"),
    "short_timeout": BATCHING.format(
        "default_queue_policy { default_timeout_microseconds: 1000 timeout_action: REJECT }"
    ),
    "delaying": BATCHING.format(
        "default_queue_policy { default_timeout_microseconds: 1000 timeout_action: DELAY }"
    ),
    "override": BATCHING.format(
        "default_queue_policy { default_timeout_microseconds: 60000000 allow_timeout_override: "
        "true }"
    ),
    "priorities": BATCHING.format("priority_levels: 3 default_priority_level: 2"),
}


@dataclass(frozen=True)
class Gates:
    """The gated models of a server, and their requests."""

    server: Server
    gates: dict[str, Gate]

    def ask(self, model: str, value: float = 1, **parameters: object) -> Asker:
        """Send a request in the background."""
        shape = (1, 1) if CONFIGS[model] else (1,)
        return Asker(self.server, model, shape=shape, value=value, parameters=parameters)

    def occupy(self, model: str) -> Asker:
        """Send a request and wait until it executes: whatever comes next has to queue."""
        asker = self.ask(model, 0)
        self.gates[model].wait_for_execution()
        return asker

    def wait_for_queue(self, model: str, length: int) -> None:
        """Wait until `length` requests of `model` are waiting, by the server's own word."""
        wait_until(lambda: self.pending(model) == length, WAIT_S, f"{length} queued requests")

    def pending(self, model: str) -> int:
        """Return the value of the gauge of pending requests."""
        return int(self.metric("nv_inference_pending_request_count", model=model))

    def give_turns(self) -> None:
        """Let the server notice what happened on other connections before this one."""
        for _ in range(20):
            assert self.server.http.get("/v2/health/live").status == 200

    def metric(self, name: str, **labels: str) -> float:
        """Return one sample of the metrics page."""
        families = text_string_to_metric_families(self.server.metrics.get("/metrics").text)
        return next(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name in (name, f"{name}_total") and labels.items() <= sample.labels.items()
        )


@pytest.fixture
def gates(
    starter: ServerStarter, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Gates]:
    names = request.node.get_closest_marker("models").args
    made = {name: Gate(tmp_path / "gates" / name, CONFIGS[name]) for name in names}
    models = {name: gate.model for name, gate in made.items()}
    directory = write_models(tmp_path / "models", models)
    process = starter.prepare(request.node.name, directory)
    process.start()
    yield Gates(Server(process, starter.is_oracle), made)
    for gate in made.values():
        gate.open()
    process.stop()


def refusal(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error


@pytest.mark.models("small_queue")
def test_full_queue_refuses_at_once(gates: Gates) -> None:
    first = gates.occupy("small_queue")
    second = gates.ask("small_queue")
    gates.wait_for_queue("small_queue", 1)
    third = gates.ask("small_queue").answer(5)
    assert refusal(third) == (503, PREFIX + "Exceeds maximum queue size")
    gates.gates["small_queue"].open()
    assert [each.answer(WAIT_S).status for each in (first, second)] == [200, 200]


@pytest.mark.models("short_timeout")
def test_request_that_waited_too_long_is_rejected(gates: Gates) -> None:
    first = gates.occupy("short_timeout")
    second = gates.ask("short_timeout")
    wait_until(
        lambda: second.has_answer() or gates.pending("short_timeout") == 1, WAIT_S, "queueing"
    )
    gates.gates["short_timeout"].open()
    assert first.answer(WAIT_S).status == 200
    assert refusal(second.answer(WAIT_S)) == (503, "Request timeout expired")
    reason = {"model": "short_timeout", "reason": "REJECTED"}
    assert gates.metric("nv_inference_request_failure", **reason) == 1


@pytest.mark.models("delaying")
def test_request_that_waited_too_long_is_served_later_when_delayed(gates: Gates) -> None:
    askers = [gates.occupy("delaying")]
    askers += [gates.ask("delaying", value) for value in (1, 2)]
    gates.wait_for_queue("delaying", 2)
    gates.gates["delaying"].open()
    assert [each.answer(WAIT_S).status for each in askers] == [200, 200, 200]


@pytest.mark.models("override", "plain")
def test_timeout_of_the_request_counts_only_where_it_is_allowed(gates: Gates) -> None:
    firsts = [gates.occupy(model) for model in ("override", "plain")]
    seconds = [gates.ask(model, timeout=1000) for model in ("override", "plain")]
    gates.wait_for_queue("plain", 1)
    wait_until(
        lambda: seconds[0].has_answer() or gates.pending("override") == 1, WAIT_S, "queueing"
    )
    for gate in gates.gates.values():
        gate.open()
    assert [each.answer(WAIT_S).status for each in firsts] == [200, 200]
    allowed, ignored = (each.answer(WAIT_S) for each in seconds)
    assert refusal(allowed) == (503, "Request timeout expired")
    assert ignored.status == 200


@pytest.mark.models("priorities")
def test_urgent_requests_go_first(gates: Gates) -> None:
    askers = [gates.occupy("priorities")]
    # 0 and 9 are not levels and mean the default one, the second.
    for value, priority in enumerate([3, 2, 0, 1, 9], start=1):
        askers.append(gates.ask("priorities", value, priority=priority))
        gates.wait_for_queue("priorities", value)
    gates.gates["priorities"].open()
    assert {each.answer(WAIT_S).status for each in askers} == {200}
    assert gates.gates["priorities"].order() == [0, 4, 2, 3, 5, 1]


@pytest.mark.ours("2.51 takes the next request off the queue before it can execute it")
@pytest.mark.models("batching")
def test_request_of_a_grpc_client_that_cancels_is_not_executed(gates: Gates) -> None:
    first = gates.occupy("batching")
    door = GrpcDoor(gates.server.grpc_address)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(door.channel)
    message = request("batching", [grpc_tensor("INPUT0", "FP32", [1, 1], fp32_contents=[7])])
    call = stub.ModelInfer.future(message, timeout=WAIT_S)
    gates.wait_for_queue("batching", 1)
    call.cancel()
    gates.give_turns()
    gates.gates["batching"].open()
    assert first.answer(WAIT_S).status == 200
    assert call.code() == grpc.StatusCode.CANCELLED
    labels = {"model": "batching", "reason": "CANCELED"}
    wait_until(
        lambda: gates.metric("nv_inference_request_failure", **labels) == 1, WAIT_S, "the count"
    )
    assert gates.gates["batching"].order() == [0]
    door.close()


@pytest.mark.ours("2.51 takes the next request off the queue before it can execute it")
@pytest.mark.models("batching")
def test_request_of_an_http_client_that_leaves_is_not_executed(gates: Gates) -> None:
    first = gates.occupy("batching")
    body = json.dumps({"inputs": [tensor("INPUT0", "FP32", [1, 1], [7.0])]}).encode()
    with gates.server.http.connect() as connection:
        connection.sendall(
            b"POST /v2/models/batching/infer HTTP/1.1\r\nHost: t\r\nContent-Length: "
            + f"{len(body)}\r\n\r\n".encode()
            + body
        )
        gates.wait_for_queue("batching", 1)
    gates.give_turns()
    gates.gates["batching"].open()
    assert first.answer(WAIT_S).status == 200
    labels = {"model": "batching", "reason": "CANCELED"}
    wait_until(
        lambda: gates.metric("nv_inference_request_failure", **labels) == 1, WAIT_S, "the count"
    )
    assert gates.gates["batching"].order() == [0]
