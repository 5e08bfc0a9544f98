# SPDX-License-Identifier: Apache-2.0
"""The kinds of model that Triton's Python backend ships as examples (triton.md section 9.10)."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from support.grpc_door import request
from support.grpc_door import tensor as grpc_tensor
from support.grpc_stream import GrpcStream, values
from support.repository import PythonModel, copy_examples, write_models
from support.wire import add_sub_inputs, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import Server, ServerStarter

IN_PROCESS = pytest.param("in_process", marks=pytest.mark.ours("Triton knows processes only"))
HOSTS = ["worker", IN_PROCESS]
DECOUPLED = "model_transaction_policy { decoupled: true }"
NUMBERS = {"IN": "TYPE_INT32 [ -1 ]"}

EXAMPLES = {
    "completes_itself": PythonModel("completes_itself", {}, {}),
    "square": PythonModel(
        "square", {"IN": "TYPE_INT32 [ 1 ]"}, {"OUT": "TYPE_INT32 [ 1 ]"}, DECOUPLED
    ),
    "repeat": PythonModel(
        "repeat",
        {"IN": "TYPE_INT32 [ -1 ]"},
        {"OUT": "TYPE_INT32 [ 1 ]", "INDEX": "TYPE_UINT32 [ 1 ]"},
        DECOUPLED,
    ),
    "preprocess": PythonModel(
        "preprocess",
        {"IMAGE": "TYPE_STRING [ 1 ]"},
        {"PIXELS": "TYPE_FP32 [ 1, -1, -1 ]"},
        "max_batch_size: 4 dynamic_batching { }",
    ),
    "instance_kind": PythonModel(
        "instance_kind",
        {"IN": "TYPE_FP32 [ 1 ]"},
        {"TOLD": "TYPE_STRING [ 3 ]"},
        "instance_group [ { kind: KIND_CPU count: 2 } ]",
    ),
    "coroutine": PythonModel("coroutine", NUMBERS, {"OUT": "TYPE_INT32 [ -1 ]"}),
    "decoupled_coroutine": PythonModel(
        "coroutine", NUMBERS, {"OUT": "TYPE_INT32 [ -1 ]"}, DECOUPLED
    ),
}


@pytest.fixture(scope="module")
def examples(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with each example under both hosts, and `add_sub` of the example repository."""
    from support.servers import Server

    models = {
        f"{name}_{host}": replace(model, parameters={"TRITONGW_PYTHON_HOST": host})
        for name, model in EXAMPLES.items()
        for host in (["worker"] if starter.is_oracle else ["worker", "in_process"])
    }
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    copy_examples(directory, ["add_sub"])
    with starter.prepare("python_examples", directory) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    """Where the model runs."""
    return str(request.param)


@pytest.fixture
def channel(examples: Server) -> Iterator[grpc.Channel]:
    """A connection to the gRPC door."""
    with grpc.insecure_channel(examples.grpc_address) as channel:
        yield channel


def outputs(answer: Any) -> dict[str, list[Any]]:
    """Return the outputs of a JSON answer by name."""
    assert answer.status == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json["outputs"]}


def test_add_sub(examples: Server) -> None:
    answer = examples.http.infer("add_sub", add_sub_inputs())
    assert outputs(answer) == {"OUTPUT0": [5, 5, 5, 5], "OUTPUT1": [-3, -1, 1, 3]}


def test_a_model_that_completes_its_configuration(examples: Server, host: str) -> None:
    model = f"completes_itself_{host}"
    config = examples.http.get(f"/v2/models/{model}/config").json
    assert (config["max_batch_size"], "dynamic_batching" in config) == (4, True)
    inputs = [tensor(f"INPUT{i}", "FP32", [1, 4], [1.0, 2.0, 3.0, 4.0]) for i in range(2)]
    assert outputs(examples.http.infer(model, inputs)) == {
        "OUTPUT0": [2, 4, 6, 8],
        "OUTPUT1": [0, 0, 0, 0],
    }


def test_square_answers_from_a_thread(examples: Server, channel: grpc.Channel, host: str) -> None:
    stream = GrpcStream(channel)
    numbers = [3, 0, 2]
    for number in numbers:
        stream.send(values(f"square_{host}", [number], id=str(number)))
    seen = [
        (
            response.infer_response.id,
            *struct.unpack("<i", response.infer_response.raw_output_contents[0]),
        )
        for response in stream.rest()
    ]
    assert sorted(seen) == [("2", 2)] * 2 + [("3", 3)] * 3


def test_repeat_answers_each_element(examples: Server, channel: grpc.Channel, host: str) -> None:
    stream = GrpcStream(channel)
    stream.send(values(f"repeat_{host}", [7, 5, 9]))
    seen = []
    for response in stream.rest():
        names = [output.name for output in response.infer_response.outputs]
        parts = dict(zip(names, response.infer_response.raw_output_contents, strict=True))
        seen.append((struct.unpack("<i", parts["OUT"])[0], struct.unpack("<I", parts["INDEX"])[0]))
    assert seen == [(7, 0), (5, 1), (9, 2)]


def test_preprocessing_takes_bytes_and_gives_pictures(examples: Server, host: str) -> None:
    data = bytes(range(0, 250, 28))[:9]
    inputs = [grpc_tensor("IMAGE", "BYTES", [2, 1])]
    raw = [2 * (struct.pack("<I", 9) + data)]
    from support.grpc_door import GrpcDoor

    door = GrpcDoor(examples.grpc_address)
    reply = door.infer(request(f"preprocess_{host}", inputs, raw))
    door.close()
    assert list(reply.outputs[0].shape) == [2, 1, 3, 3]
    pixels = struct.unpack("<18f", reply.raw_output_contents[0])
    assert pixels == pytest.approx([pixel / 255 - 0.5 for pixel in data] * 2, abs=1e-6)


def test_instances_are_told_their_kind(examples: Server, host: str) -> None:
    model = f"instance_kind_{host}"
    told = outputs(examples.http.infer(model, [tensor("IN", "FP32", [1], [0.0])]))["TOLD"]
    assert told[:2] == ["CPU", "0"]
    assert told[2] in {f"{model}_0_0", f"{model}_0_1"}


def test_a_coroutine_answers(examples: Server, host: str) -> None:
    answer = examples.http.infer(f"coroutine_{host}", [tensor("IN", "INT32", [2], [4, 5])])
    assert outputs(answer) == {"OUT": [8, 10]}


def test_decoupled_coroutines_overlap(examples: Server, channel: grpc.Channel, host: str) -> None:
    def ask(number: int) -> Any:
        stream = GrpcStream(channel)
        stream.send(values(f"decoupled_coroutine_{host}", [number]))
        return struct.unpack("<i", stream.rest()[0].infer_response.raw_output_contents[0])[0]

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(ask, [4, 5])) == [8, 10]
