# SPDX-License-Identifier: Apache-2.0
"""Models with sequences: their rules, their slots, and the control tensors (triton.md 3.8, 5.3)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from support.gate import Gate
from support.grpc_door import GrpcDoor, parameter, request
from support.grpc_door import tensor as grpc_tensor
from support.grpc_stream import GrpcStream
from support.repository import PythonModel, write_models
from support.sequences import (
    END,
    START,
    WAIT_S,
    Sequences,
    gated,
    seen_by,
    sequence_model,
    sum_of,
)
from support.servers import Server, ServerStarter
from support.wire import tensor
from tritonclient.grpc import service_pb2_grpc
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.wire import Answer

BOOLEANS = "\n".join(
    f'control_input {{ name: "{name}" control {{ kind: CONTROL_SEQUENCE_{name} {values} }} }}'
    for name, values in (
        ("START", "bool_false_true: [ false, true ]"),
        ("END", "int32_false_true: [ 5, -7 ]"),
        ("READY", "fp32_false_true: [ 0.5, 1.5 ]"),
    )
)
INSTANCES = "instance_group {{ count: {} kind: KIND_CPU }}"
MODELS = {
    "direct": sequence_model(""),
    "oldest": sequence_model("oldest { max_candidate_sequences: 4 }"),
    "unbatched": sequence_model("direct { }", batch=0, controls=BOOLEANS, corrid="INT32"),
    "texts": sequence_model("", corrid="STRING"),
    "idle": sequence_model("max_sequence_idle_microseconds: 50000", batch=1, corrid=""),
    "full": sequence_model(
        "direct { max_queue_delay_microseconds: 30000000 minimum_slot_utilization: 1 }", batch=2
    ),
    "instances": sequence_model("", batch=1, corrid="", extra=INSTANCES.format(2)),
    "shrinking": sequence_model(
        "max_sequence_idle_microseconds: 60000000", batch=1, extra=INSTANCES.format(2)
    ),
    "backwards": PythonModel(
        "backwards",
        {"NUMBER": "TYPE_INT32 [ 1 ]"},
        {"OUT": "TYPE_INT32 [ 1 ]"},
        "max_batch_size: 2 sequence_batching { oldest { max_candidate_sequences: 2 "
        "preferred_batch_size: 2 max_queue_delay_microseconds: 30000000 preserve_ordering: true } }"
        "model_transaction_policy { decoupled: true }",
    ),
}
GATED = {
    "gated_direct": sequence_model("direct { }"),
    "gated_oldest": sequence_model("oldest { max_candidate_sequences: 4 }", batch=2),
    "gated_single": sequence_model("", batch=1),
    "gated_timeout": sequence_model("oldest { max_candidate_sequences: 1 }"),
    "gated_cancel": sequence_model("", batch=2),
}


@pytest.fixture(scope="module")
def sequences(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sequences]:
    directory = tmp_path_factory.mktemp("sequences")
    gates = {name: Gate(directory / "gates" / name) for name in GATED}
    held = {name: gated(model, gates[name].directory) for name, model in GATED.items()}
    repository = write_models(directory / "models", MODELS | held)
    options = ("--model-control-mode=explicit", "--load-model=*")
    with starter.prepare("sequences", repository, options) as process:
        yield Sequences(Server(process, starter.is_oracle), gates, repository)
        for gate in gates.values():
            gate.open()


def refusal(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error


def not_started(sequence: int | str, model: str) -> str:
    return (
        f"inference request for sequence {sequence} to model '{model}' must specify the START flag "
        "on the first request of the sequence"
    )


@pytest.mark.parametrize("model", ["direct", "oldest", "unbatched"])
def test_sequences_keep_apart(sequences: Sequences, model: str) -> None:
    base = 1000
    steps = [(1, START), (2, START), (1, 0), (2, 0), (2, END), (1, END)]
    if model == "unbatched":  # which has but one slot
        steps.sort(key=lambda step: step[0])
    sums = {1: 0, 2: 0}
    for number, (sequence, flags) in enumerate(steps, start=1):
        sums[sequence] += number
        answer = sequences.ask(model, number, base + sequence, flags)
        assert sum_of(answer) == sums[sequence]


@pytest.mark.parametrize("model", ["direct", "oldest"])
def test_a_request_must_belong_to_a_sequence(sequences: Sequences, model: str) -> None:
    text = f"inference request to model '{model}' must specify a non-zero or non-empty"
    assert refusal(sequences.ask(model, 1)) == (400, f"{text} correlation ID")


@pytest.mark.parametrize("model", ["direct", "oldest"])
def test_a_sequence_takes_no_batches(sequences: Sequences, model: str) -> None:
    answer = sequences.server.http.infer(
        model,
        [tensor("NUMBER", "INT32", [2, 1], [1, 2])],
        parameters={"sequence_id": 1, "sequence_start": True},
    )
    assert refusal(answer) == (
        400,
        f"inference request to model '{model}' must specify batch-size 1 due to requirements of "
        "sequence batcher",
    )


@pytest.mark.parametrize("sequence", [2001, 2**64 - 1])
@pytest.mark.parametrize("model", ["direct", "oldest"])
def test_the_first_request_says_so(sequences: Sequences, model: str, sequence: int) -> None:
    refused = (400, not_started(sequence, model))
    assert refusal(sequences.ask(model, 1, sequence)) == refused
    assert refusal(sequences.ask(model, 1, sequence, END)) == refused
    assert sum_of(sequences.ask(model, 1, sequence, START)) == 1
    assert sum_of(sequences.ask(model, 2, sequence, END)) == 3
    assert refusal(sequences.ask(model, 1, sequence)) == refused


def test_refused_requests_are_refused_over_grpc_as_well(sequences: Sequences) -> None:
    door = GrpcDoor(sequences.server.grpc_address)
    assert door.refusal("ModelInfer", numbered("direct", 1, 2100)) == (
        "INVALID_ARGUMENT",
        not_started(2100, "direct"),
    )
    door.close()


def test_a_sequence_that_begins_again_begins_anew(sequences: Sequences) -> None:
    assert sum_of(sequences.ask("direct", 1, 2201, START)) == 1
    assert sum_of(sequences.ask("direct", 2, 2201, START)) == 2
    assert sum_of(sequences.ask("direct", 3, 2201, END)) == 5


@pytest.mark.ours("2.51 cannot write texts, and passes texts as numbers")
def test_ids_are_of_the_type_that_the_model_takes(sequences: Sequences) -> None:
    seen = seen_by(sequences.ask("texts", 1, "seven", START | END))
    assert seen["id"] == "seven"
    assert seen["controls"]["CORRID"] == ["object", [1, 1], ["seven"]]
    text = "inference request to model '{}' has {} as correlation ID, but its control input of "
    text += "kind CONTROL_SEQUENCE_CORRID expects {}"
    numbers = sequences.ask("direct", 1, "seven", START | END)
    assert refusal(numbers) == (400, text.format("direct", "a string", "an integer"))
    texts = sequences.ask("texts", 1, 7, START | END)
    assert refusal(texts) == (400, text.format("texts", "an integer", "a string"))


def test_integers_and_texts_are_different_sequences(sequences: Sequences) -> None:
    assert sum_of(sequences.ask("instances", 1, 7, START)) == 1
    assert refusal(sequences.ask("instances", 1, "7")) == (400, not_started("7", "instances"))
    assert sum_of(sequences.ask("instances", 1, 7, END)) == 2


@pytest.mark.parametrize("model", ["direct", "oldest"])
def test_control_tensors_tell_start_end_and_id(sequences: Sequences, model: str) -> None:
    for flags in (START, 0, END, START | END):
        seen = seen_by(sequences.ask(model, 1, 2301, flags))
        assert (seen["id"], seen["flags"]) == (2301, flags)
        assert seen["controls"] == {
            "START": ["int32", [1, 1], [int(bool(flags & START))]],
            "END": ["float32", [1, 1], [2.0 if flags & END else -1.0]],
            "READY": ["bool", [1, 1], [True]],
            "CORRID": ["uint64", [1, 1], [2301]],
        }


def test_control_tensors_of_other_types_without_a_batch(sequences: Sequences) -> None:
    # Of an id that is too large the low bytes are passed.
    for flags in (START, END):
        seen = seen_by(sequences.ask("unbatched", 1, 2**33 + 5, flags))
        assert seen["controls"] == {
            "START": ["bool", [1], [bool(flags & START)]],
            "END": ["int32", [1], [-7 if flags & END else 5]],
            "READY": ["float32", [1], [1.5]],
            "CORRID": ["int32", [1], [5]],
        }


def test_control_tensors_are_not_the_clients(sequences: Sequences) -> None:
    inputs = [tensor("NUMBER", "INT32", [1, 1], [1]), tensor("START", "INT32", [1, 1], [1])]
    answer = sequences.server.http.infer(
        "direct", inputs, parameters={"sequence_id": 1, "sequence_start": True}
    )
    assert answer.status == 400
    names = [each["name"] for each in sequences.server.http.get("/v2/models/direct").json["inputs"]]
    assert names == ["NUMBER"]


def test_direct_sequences_keep_their_slots(sequences: Sequences) -> None:
    model = "gated_direct"
    first = sequences.occupy(model, 1, 1, START)
    second = sequences.queue(1, model, 10, 2, START)
    third = sequences.queue(2, model, 100, 3, START | END)
    sequences.gates[model].open()
    answers = [each.result(WAIT_S) for each in (first, second, third)]
    assert [sum_of(answer) for answer in answers] == [1, 10, 100]
    batch = seen_by(answers[1])["batch"]
    assert seen_by(answers[2])["batch"] == batch
    assert [(each["id"], each["flags"]) for each in batch] == [(0, 0), (2, START), (3, 3)]
    # Where no request is there, nothing but READY means anything.
    assert batch[0]["controls"]["READY"] == ["bool", [1, 1], [False]]
    assert batch[0]["controls"]["START"] == ["int32", [1, 1], [0]]
    assert [each["controls"]["READY"][2] for each in batch[1:]] == [[True], [True]]
    assert sequences.counts(model) == (3, 2, {1: 1, 3: 1})
    # The slots before the second are empty, and the one behind it is no longer used.
    batch = seen_by(sequences.ask(model, 1000, 2, END))["batch"]
    assert [each["id"] for each in batch] == [0, 2]


def test_oldest_takes_one_request_of_each_sequence(sequences: Sequences) -> None:
    model = "gated_oldest"
    first = sequences.occupy(model, 1, 1, START)
    more = [
        sequences.queue(1, model, 2, 1, END),
        sequences.queue(2, model, 10, 2, START),
        sequences.queue(3, model, 100, 3, START),
    ]
    sequences.gates[model].open()
    answers = [each.result(WAIT_S) for each in (first, *more)]
    assert [sum_of(answer) for answer in answers] == [1, 3, 10, 100]
    batches = [[each["id"] for each in seen_by(answer)["batch"]] for answer in answers]
    assert all(len(set(batch)) == len(batch) for batch in batches)
    # 2.51 takes the next request off the queue before it can execute it.
    expected = [[1], [1], [2, 3], [2, 3]]
    assert batches == sequences.server.choose(expected, batches)


def test_sequences_wait_for_a_slot_in_arrival_order(sequences: Sequences) -> None:
    model = "gated_single"
    first = sequences.occupy(model, 1, 1, START)
    waiting = [
        sequences.queue(1, model, 10, 2, START),
        sequences.queue(2, model, 100, 3, START | END),
        sequences.queue(3, model, 20, 2, END),
        sequences.queue(4, model, 2, 1, END),
    ]
    sequences.gates[model].open()
    answers = [each.result(WAIT_S) for each in (first, *waiting)]
    assert [sum_of(answer) for answer in answers] == [1, 10, 100, 30, 3]
    assert [seen_by(answer)["turn"] for answer in answers] == [1, 3, 5, 4, 2]


def test_a_timeout_counts_while_a_sequence_waits_for_a_slot(sequences: Sequences) -> None:
    model = "gated_timeout"
    first = sequences.occupy(model, 1, 1, START)
    late = sequences.later(model, 10, 2, START, timeout=1000).result(WAIT_S)
    text = "timeout of the corresponding sequence has been expired"
    assert refusal(late) == (503, text)
    assert refusal(sequences.ask(model, 10, 2)) == (400, not_started(2, model))
    in_slot = sequences.queue(1, model, 2, 1, END, timeout=1000)
    sequences.gates[model].open()
    assert [sum_of(each.result(WAIT_S)) for each in (first, in_slot)] == [1, 3]
    assert sequences.metric("nv_inference_request_failure", model=model, reason="REJECTED") == 1


def test_an_idle_sequence_frees_its_slot(sequences: Sequences) -> None:
    assert sum_of(sequences.ask("idle", 1, 1, START)) == 1
    # Answered only once the first sequence has been idle for too long.
    assert sum_of(sequences.ask("idle", 10, 2, START | END)) == 10
    assert refusal(sequences.ask("idle", 2, 1)) == (400, not_started(1, "idle"))


def test_with_one_request_the_sequence_is_cancelled(sequences: Sequences) -> None:
    model = "gated_cancel"
    door = GrpcDoor(sequences.server.grpc_address)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(door.channel)
    first = sequences.occupy(model, 1, 1, START)
    calls = []
    for number in (2, 3):
        calls.append(stub.ModelInfer.future(numbered(model, number, 1), timeout=WAIT_S))
        length = len(calls)
        wait_until(lambda: sequences.pending(model) == length, WAIT_S, "queueing")  # noqa: B023
    other = sequences.queue(3, model, 10, 2, START)
    calls[0].cancel()
    for _ in range(20):
        assert sequences.server.http.get("/v2/health/live").status == 200
    sequences.gates[model].open()
    assert sum_of(first.result(WAIT_S)) == 1
    assert sum_of(other.result(WAIT_S)) == 10
    assert [call.code() for call in calls] == [grpc.StatusCode.CANCELLED] * 2
    assert refusal(sequences.ask(model, 4, 1)) == (400, not_started(1, model))
    labels = {"model": model, "reason": "CANCELED"}
    wait_until(
        lambda: sequences.metric("nv_inference_request_failure", **labels) == 2, WAIT_S, "the count"
    )
    door.close()


def test_direct_waits_until_enough_slots_are_ready(sequences: Sequences) -> None:
    first = sequences.queue(1, "full", 1, 1, START)
    second = sequences.ask("full", 10, 2, START)
    assert [each["id"] for each in seen_by(second)["batch"]] == [1, 2]
    assert sum_of(first.result(WAIT_S)) == 1


def test_a_sequence_stays_on_its_instance(sequences: Sequences) -> None:
    starts = [sequences.ask("instances", 1, sequence, START) for sequence in (1, 2)]
    instances = [seen_by(answer)["instance"] for answer in starts]
    assert len(set(instances)) == 2
    for number in range(2, 6):
        for sequence, instance in zip((1, 2), instances, strict=True):
            answer = sequences.ask("instances", 1, sequence)
            assert (seen_by(answer)["instance"], sum_of(answer)) == (instance, number)


@pytest.mark.ours("2.51 forgets the sequences of the model")
def test_an_instance_that_goes_serves_its_sequences_to_their_end(sequences: Sequences) -> None:
    model = "shrinking"
    starts = [sequences.ask(model, 1, sequence, START) for sequence in (1, 2)]
    instances = [seen_by(answer)["instance"] for answer in starts]
    assert len(set(instances)) == 2
    config = sequences.repository / model / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 2", "count: 1"))
    loaded = sequences.server.http.post(f"/v2/repository/models/{model}/load", {})
    assert loaded.status == 200, loaded.text
    for sequence, instance in zip((1, 2), instances, strict=True):
        for flags, total in ((0, 2), (END, 3)):
            answer = sequences.ask(model, 1, sequence, flags)
            assert (seen_by(answer)["instance"], sum_of(answer)) == (instance, total)
    left = [seen_by(sequences.ask(model, 1, 3 + n, START | END))["instance"] for n in range(3)]
    assert len(set(left)) == 1
    assert left[0] in instances


def test_responses_leave_in_order_where_that_is_asked_for(sequences: Sequences) -> None:
    door = GrpcDoor(sequences.server.grpc_address)
    stream = GrpcStream(door.channel)
    for sequence in (1, 2):
        stream.send(numbered("backwards", sequence, sequence, START))
    assert [number_of(stream.next()) for _ in range(2)] == [1, 2]
    stream.close()
    door.close()


def test_one_stream_carries_many_sequences(sequences: Sequences) -> None:
    door = GrpcDoor(sequences.server.grpc_address)
    stream = GrpcStream(door.channel)
    steps = [(3, START), (4, START), (3, 0), (4, END), (3, END)]
    for number, (sequence, flags) in enumerate(steps, start=1):
        stream.send(numbered("oldest", number, sequence, flags, id=str(number)))
    sums = {}
    for _ in steps:
        response = stream.next()
        sums[int(response.infer_response.id)] = number_of(response)
    assert sums == {1: 1, 2: 2, 3: 4, 4: 6, 5: 9}
    stream.close()
    door.close()


def numbered(model: str, number: int, sequence: int, flags: int = 0, **fields: Any) -> Any:
    """Return a gRPC request."""
    parameters = {
        "sequence_id": parameter(int64_param=sequence),
        "sequence_start": parameter(bool_param=bool(flags & START)),
        "sequence_end": parameter(bool_param=bool(flags & END)),
    }
    inputs = [grpc_tensor("NUMBER", "INT32", [1, 1], int_contents=[number])]
    return request(model, inputs, parameters=parameters, **fields)


def number_of(response: Any) -> int:
    """Return the number of a streamed response, its first output."""
    assert response.error_message == "", response
    (number,) = struct.unpack("<i", response.infer_response.raw_output_contents[0])
    return int(number)
