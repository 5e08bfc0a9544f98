# SPDX-License-Identifier: Apache-2.0
"""Models that ask for a request again and again: Triton's rescheduling example, in other words.

Triton's Python backend has it in ``examples/rescheduling``: an iterative model that answers after
some rounds, and a decoupled one that answers in each round (triton.md 5.5, Y041).
"""

from __future__ import annotations

import json
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.calling import hosted
from support.grpc_door import GrpcDoor, parameter, request
from support.grpc_door import tensor as grpc_tensor
from support.grpc_stream import GrpcStream, is_final
from support.repository import PythonModel, write_models
from support.servers import Server, ServerStarter
from support.wire import tensor
from tritonclient.grpc import service_pb2_grpc
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.wire import Answer

WAIT_S = 20
START = (
    'control_input { name: "START" control { kind: CONTROL_SEQUENCE_START '
    "int32_false_true: [ 0, 1 ] } }"
)
DECOUPLED = "model_transaction_policy { decoupled: true }"


def rounds(strategy: str, *, is_iterative: bool = True, more: str = "") -> PythonModel:
    """Return a model that asks for its requests again."""
    iterative = "iterative_sequence: true" if is_iterative else ""
    return PythonModel(
        "rounds",
        {"ROUNDS": "TYPE_INT32 [ 1 ]", "DATA": "TYPE_FP32 [ -1 ] optional: true"},
        {"SEEN": "TYPE_STRING [ 1 ]"},
        f"max_batch_size: 4 sequence_batching {{ {strategy} {iterative} {START} }} {more}",
    )


OLDEST = rounds("oldest { max_candidate_sequences: 4 }")
MODELS = {
    "direct": rounds("direct { }"),
    "oldest": OLDEST,
    "decoupled": rounds("oldest { max_candidate_sequences: 4 }", more=DECOUPLED),
    "once": rounds("direct { }", is_iterative=False),
}
OURS = {
    "in_process": hosted(OLDEST, "in_process"),
    "decoupled_in_process": hosted(MODELS["decoupled"], "in_process"),
    "coroutine": replace(OLDEST, code="rounds_coroutine"),
}


@dataclass(frozen=True)
class Rounds:
    """The models of one server, and their requests."""

    server: Server

    def ask(self, model: str, number: int, **parameters: object) -> Answer:
        """Ask for so many rounds."""
        inputs = [tensor("ROUNDS", "INT32", [1, 1], [number])]
        return self.server.http.infer(model, inputs, parameters=parameters)

    def metric(self, name: str, **labels: str) -> float:
        """Return one sample of the metrics page."""
        families = text_string_to_metric_families(self.server.metrics.get("/metrics").text)
        return next(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name in (name, f"{name}_total") and labels.items() <= sample.labels.items()
        )

    def counts(self, model: str) -> tuple[int, int, int]:
        """Return inferences, executions, and requests that succeeded."""
        stats = self.server.http.get(f"/v2/models/{model}/stats").json["model_stats"][0]
        succeeded = stats["inference_stats"]["success"]["count"]
        return stats["inference_count"], stats["execution_count"], succeeded


@pytest.fixture(scope="module")
def served(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    models = MODELS if starter.is_oracle else MODELS | OURS
    directory = write_models(tmp_path_factory.mktemp("rounds"), models)
    with starter.prepare("rounds", directory) as process:
        yield Rounds(Server(process, starter.is_oracle))


@pytest.fixture(params=["direct", "oldest", "in_process", "coroutine"])
def model(request: pytest.FixtureRequest, starter: ServerStarter) -> str:
    name = str(request.param)
    if starter.is_oracle and name in OURS:
        pytest.skip("a way to run models that only tritongw has")
    return name


@pytest.fixture(params=["decoupled", "decoupled_in_process"])
def decoupled(request: pytest.FixtureRequest, starter: ServerStarter) -> str:
    name = str(request.param)
    if starter.is_oracle and name in OURS:
        pytest.skip("a way to run models that only tritongw has")
    return name


def seen_in(answer: Answer) -> list[Any]:
    """Return what the rounds saw: the START tensor, the flags, the sum of the data."""
    assert answer.status == 200, answer.text
    seen = json.loads(answer.json["outputs"][0]["data"][0])
    assert isinstance(seen, list)
    return seen


def after(count: int, total: float = 0.0) -> list[list[float]]:
    """Return what `count` rounds see: only the first has its flags."""
    return [[int(index == 0), int(index == 0), total] for index in range(count)]


def test_a_request_comes_back_until_it_is_answered(served: Rounds, model: str) -> None:
    assert seen_in(served.ask(model, 3)) == after(3)
    assert seen_in(served.ask(model, 1)) == after(1)
    assert seen_in(served.ask(model, 7)) == after(7)


def test_every_round_counts(served: Rounds, model: str) -> None:
    before = served.counts(model)
    assert seen_in(served.ask(model, 5)) == after(5)
    counted = [now - then for now, then in zip(served.counts(model), before, strict=True)]
    assert counted == [5, 5, 5]
    assert served.metric("nv_inference_pending_request_count", model=model) == 0


def test_clients_may_name_the_sequence(served: Rounds) -> None:
    assert seen_in(served.ask("oldest", 2, sequence_id=77, sequence_start=True)) == after(2)
    refused = served.ask("oldest", 2, sequence_id=78)
    text = "inference request for sequence 78 to model 'oldest' must specify the START flag on the "
    assert (refused.status, refused.error) == (400, f"{text}first request of the sequence")


def test_a_sequence_ends_with_its_answer(served: Rounds) -> None:
    assert seen_in(served.ask("oldest", 2, sequence_id=90, sequence_start=True)) == after(2)
    refused = served.ask("oldest", 1, sequence_id=90)
    assert refused.status == 400
    assert "must specify the START flag" in refused.error
    # Far more sequences than slots: each gives its own back.
    for _ in range(10):
        assert seen_in(served.ask("oldest", 2)) == after(2)


def test_many_sequences_take_turns(served: Rounds, model: str) -> None:
    numbers = [5, 1, 9, 3, 2, 8, 4, 6, 7, 1, 5, 3]
    with ThreadPoolExecutor(len(numbers)) as pool:
        answers = list(pool.map(lambda number: served.ask(model, number), numbers))
    assert [seen_in(answer) for answer in answers] == [after(number) for number in numbers]


def test_others_join_between_two_rounds(served: Rounds) -> None:
    before = served.counts("oldest")[0]
    with ThreadPoolExecutor() as pool:
        # Goes on until another request tells the model to end it.
        endless = pool.submit(served.ask, "oldest", 0)
        wait_until(lambda: served.counts("oldest")[0] > before, WAIT_S, "the first round")
        assert seen_in(served.ask("oldest", -1)) == after(1)
        assert len(seen_in(endless.result(WAIT_S))) > 0


@pytest.mark.parametrize("size", [10, 100_000])
def test_inputs_are_the_same_in_every_round(served: Rounds, model: str, size: int) -> None:
    if model == "coroutine":
        pytest.skip("its code does not look at the data")
    head = {
        "inputs": [
            tensor("ROUNDS", "INT32", [1, 1], binary_data_size=4),
            tensor("DATA", "FP32", [1, size], binary_data_size=4 * size),
        ],
        "outputs": [{"name": "SEEN", "parameters": {"binary_data": False}}],
    }
    data = struct.pack("<i", 4) + struct.pack("<f", 0.5) * size
    answer = served.server.http.infer_binary(model, head, data)
    assert seen_in(answer) == after(4, size / 2)


def test_a_decoupled_model_answers_in_every_round(served: Rounds, decoupled: str) -> None:
    door = GrpcDoor(served.server.grpc_address)
    stream = GrpcStream(door.channel)
    stream.send(asked(decoupled, 3))
    stream.send(asked(decoupled, 1, id="single"))
    responses = [stream.next() for _ in range(4)]
    several = [each for each in responses if each.infer_response.id != "single"]
    (single,) = (each for each in responses if each.infer_response.id == "single")
    assert [streamed(each) for each in several] == [after(1), after(2), after(3)]
    assert [is_final(each) for each in several] == [False, False, True]
    assert (streamed(single), is_final(single)) == (after(1), True)
    stream.close()
    door.close()


def test_a_round_may_answer_when_the_next_has_begun(served: Rounds, decoupled: str) -> None:
    door = GrpcDoor(served.server.grpc_address)
    stream = GrpcStream(door.channel)
    stream.send(asked(decoupled, -3))
    responses = [stream.next() for _ in range(2)]
    assert [streamed(each) for each in responses] == [after(1), after(2)]
    assert [is_final(each) for each in responses] == [False, True]
    stream.close()
    door.close()


def test_only_iterative_models_can_ask_again(served: Rounds) -> None:
    if served.server.is_oracle:
        pytest.skip("2.51 logs this and never answers the client")
    answer = served.ask("once", 2, sequence_id=1, sequence_start=True)
    assert (answer.status, answer.error) == (
        400,
        "Request is released with TRITONSERVER_REQUEST_RELEASE_RESCHEDULE, while the model is not "
        "configured to handle such a flag.",
    )
    assert seen_in(served.ask("once", 1, sequence_id=2, sequence_start=True)) == after(1)


def test_a_request_that_comes_back_has_no_response_yet(served: Rounds) -> None:
    answer = served.ask("direct", -2)
    assert answer.status == 500
    text = "Expected a None object in the execute function return list for reschduled request, "
    assert f"{text}found type '<class '" in answer.error


@pytest.mark.parametrize("name", ["oldest", "decoupled"])
def test_a_client_that_leaves_ends_the_rounds(served: Rounds, name: str) -> None:
    labels = {"model": name, "reason": "CANCELED"}
    before = served.metric("nv_inference_request_failure", **labels)
    door = GrpcDoor(served.server.grpc_address)
    if name == "oldest":
        served.ask("oldest", 1)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(door.channel)
    stream = GrpcStream(door.channel)
    if name == "decoupled":
        stream.send(asked(name, 10**9))
        stream.next()
        stream.call.cancel()
    else:
        call = stub.ModelInfer.future(asked(name, 10**9), timeout=WAIT_S)
        count = served.counts(name)[0]
        wait_until(lambda: served.counts(name)[0] > count, WAIT_S, "a round")
        call.cancel()
        assert call.code() == grpc.StatusCode.CANCELLED
    wait_until(
        lambda: served.metric("nv_inference_request_failure", **labels) > before, WAIT_S, "the end"
    )
    assert served.metric("nv_inference_pending_request_count", model=name) == 0
    door.close()


def asked(model: str, number: int, **fields: Any) -> Any:
    """Return a gRPC request."""
    inputs = [grpc_tensor("ROUNDS", "INT32", [1, 1], int_contents=[number])]
    fields["parameters"] = {"triton_enable_empty_final_response": parameter(bool_param=True)}
    return request(model, inputs, **fields)


def streamed(response: Any) -> Any:
    """Return what the rounds had seen when a response was sent."""
    assert response.error_message == "", response
    return json.loads(response.infer_response.raw_output_contents[0][4:])
