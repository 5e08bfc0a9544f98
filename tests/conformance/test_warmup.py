# SPDX-License-Identifier: Apache-2.0
"""Warm-up: samples that each instance executes before its model is ready (M097-M102, S096)."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support.repository import PythonModel, copy_examples
from support.servers import Server, ServerStarter
from support.wire import tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OUTPUTS = {"OUT": "TYPE_FP32 [ 2 ]"}
BATCHED = "max_batch_size: 4"
DECOUPLED = "model_transaction_policy { decoupled: true }"
START_CONTROL = """sequence_batching { control_input { name: "START" control {
    kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } }"""


def sample(*inputs: str, name: str = "sample", batch_size: int = 1, more: str = "") -> str:
    """Return a sample as it stands in a configuration."""
    tensors = " ".join(inputs)
    return f'model_warmup {{ name: "{name}" batch_size: {batch_size} {more} {tensors} }}'


def data(what: str, data_type: str = "TYPE_FP32", dims: str = "[ 2 ]", name: str = "IN") -> str:
    """Return a tensor of a sample."""
    return f'inputs {{ key: "{name}" value {{ data_type: {data_type} dims: {dims} {what} }} }}'


ZEROS = data("zero_data: true")


@dataclass(frozen=True)
class Case:
    """A model with samples, and the files in its folder `warmup`."""

    config: str
    files: dict[str, bytes]
    failure: str = ""
    data_type: str = "TYPE_FP32"


def case(
    *lines: str,
    failure: str = "",
    data_type: str = "TYPE_FP32",
    instances: int = 1,
    **files: bytes,
) -> Case:
    """Return a case of these lines of configuration."""
    group = f"instance_group {{ kind: KIND_CPU count: {instances} }}"
    return Case("\n".join([group, *lines]), files, failure, data_type)


LOADS = {
    "zeros": case(sample(ZEROS)),
    "batch": case(BATCHED, sample(data("random_data: true"), batch_size=3, more="count: 2")),
    "skipped": case(sample(ZEROS, batch_size=0)),
    "file": case(
        sample(data('input_data_file: "numbers"')), numbers=struct.pack("<2f", 1, 2) + b"more"
    ),
    "strings": case(
        sample(data('input_data_file: "words"', "TYPE_STRING")),
        data_type="TYPE_STRING",
        words=b"\1\0\0\0a\2\0\0\0bc",
    ),
    "random_strings": case(
        sample(data("random_data: true", "TYPE_STRING")), data_type="TYPE_STRING"
    ),
    "control": case(
        BATCHED,
        START_CONTROL,
        sample(ZEROS, data("zero_data: true", "TYPE_INT32", "[ 1 ]", "START")),
    ),
    "two_instances": case(
        sample(ZEROS, name="one"),
        sample(ZEROS, name="two"),
        instances=2,
    ),
    "decoupled": case(DECOUPLED, sample(ZEROS, more="count: 2")),
}

# What fails to load, and why.
REFUSED = {
    "raises": (
        case(sample(ZEROS, name="one"), sample(ZEROS, name="two"), failure="raise"),
        "failed to run warmup sample 'one': Failed to process the request(s) for model "
        "'raises_0_0', message: RuntimeError: the model is out of order",
    ),
    "answers": (
        case(BATCHED, sample(ZEROS, batch_size=2), failure="answer"),
        "failed to run warmup sample 'sample': not this one; not this one; ",
    ),
    "stream_of_errors": (
        case(DECOUPLED, sample(ZEROS), failure="answer"),
        "failed to run warmup sample 'sample': not this one; ",
    ),
    "too_large": (
        case(BATCHED, sample(ZEROS, batch_size=5)),
        "failed to run warmup sample 'sample': batch size 5 for 'too_large_0_0', max allowed is "
        "4; ",
    ),
    "no_batching": (
        case(sample(ZEROS, batch_size=2)),
        "failed to run warmup sample 'sample': batch size 2 for 'no_batching_0_0', max allowed "
        "is 0; ",
    ),
    "short_file": (
        case(sample(data('input_data_file: "short"')), short=b"1234"),
        "[request id: <id_unknown>] warmup setting expects 8 bytes, but the data provided from "
        "shortonly has 4 bytes",
    ),
    "too_few_strings": (
        case(
            sample(data('input_data_file: "words"', "TYPE_STRING")),
            data_type="TYPE_STRING",
            words=b"\1\0\0\0a",
        ),
        "[request id: <id_unknown>] expected 2 string elements for inference input 'IN' for "
        "model 'too_few_strings', got 1",
    ),
    "no_input": (
        case(sample()),
        "[request id: <id_unknown>] expected 1 inputs but got 0 inputs for model 'no_input'. Got "
        "input(s) [], but missing required input(s) ['IN']. Please provide all required input(s).",
    ),
    "other_type": (
        case(sample(data("zero_data: true", "TYPE_INT32"))),
        "[request id: <id_unknown>] inference input 'IN' data-type is 'INT32', but model "
        "'other_type' expects 'FP32'",
    ),
    "other_shape": (
        case(sample(data("zero_data: true", dims="[ 3 ]"))),
        "[request id: <id_unknown>] unexpected shape for input 'IN' for model 'other_shape'. "
        "Expected [2], got [3]. ",
    ),
    "variable_shape": (
        case(sample(data("zero_data: true", dims="[ -1 ]"))),
        "warmup setting expects all variable-size dimensions are specified for input 'IN'",
    ),
}


class Models:
    """A server, nothing loaded, and the executions its models note."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self._directory = directory

    def load(self, name: str) -> str:
        """Load a model; return why it could not be."""
        answer = self.server.http.post(f"/v2/repository/models/{name}/load", {})
        return "" if answer.status == 200 else answer.error

    def executions(self, name: str) -> list[tuple[str, list[dict[str, Any]]]]:
        """Return the instance and the requests of every execution."""
        record = self._directory / name
        lines = record.read_text().splitlines() if record.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def executed(self, name: str) -> list[list[dict[str, Any]]]:
        """Return the inputs of every request of every execution."""
        return [[each["inputs"] for each in requests] for _, requests in self.executions(name)]

    def statistics(self, name: str) -> dict[str, Any]:
        """Return the model's statistics."""
        answer = self.server.http.get(f"/v2/models/{name}/stats")
        statistics: dict[str, Any] = answer.json["model_stats"][0]
        return statistics


@pytest.fixture(scope="module")
def models(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    repository = tmp_path_factory.mktemp("warmup")
    records = tmp_path_factory.mktemp("records")
    cases = LOADS | {name: refused for name, (refused, _) in REFUSED.items()}
    for name, each in cases.items():
        model = PythonModel(
            "recorder",
            {"IN": f"{each.data_type} [ 2 ]"},
            OUTPUTS,
            each.config,
            parameters={"record": str(records / name), "failure": each.failure},
        )
        model.write(repository / name)
        (repository / name / "warmup").mkdir()
        for file, content in each.files.items():
            (repository / name / "warmup" / file).write_bytes(content)
    with starter.prepare("warmup", repository, ["--model-control-mode=explicit"]) as process:
        yield Models(Server(process, starter.is_oracle), records)


def test_a_sample_is_executed_before_the_model_is_ready(models: Models) -> None:
    assert models.load("zeros") == ""
    assert models.executions("zeros") == [
        (
            "zeros_0_0",
            [{"id": "", "correlation_id": 0, "inputs": {"IN": [[2], [0.0, 0.0]]}}],
        )
    ]


def test_the_requests_of_a_sample_are_one_execution(models: Models) -> None:
    """Each has batch size 1; all have the same data."""
    assert models.load("batch") == ""
    executed = models.executed("batch")
    assert [len(requests) for requests in executed] == [3, 3]
    assert [each["IN"][0] for each in executed[0]] == [[1, 2]] * 3
    assert executed[0][0] == executed[0][2] == executed[1][0]


def test_warmup_counts_in_the_statistics(models: Models) -> None:
    models.load("batch")
    statistics = models.statistics("batch")
    assert (statistics["inference_count"], statistics["execution_count"]) == (6, 2)
    assert statistics["inference_stats"]["success"]["count"] == 6
    assert statistics["last_inference"] > 0


def test_a_sample_of_batch_size_0_is_skipped(models: Models) -> None:
    assert models.load("skipped") == ""
    assert models.executions("skipped") == []


def test_data_comes_from_a_file(models: Models) -> None:
    """What the file holds beyond the tensor is left."""
    assert models.load("file") == ""
    assert models.executed("file") == [[{"IN": [[2], [1.0, 2.0]]}]]


def test_strings_come_from_a_file(models: Models) -> None:
    assert models.load("strings") == ""
    assert models.executed("strings") == [[{"IN": [[2], ["a", "bc"]]}]]


def test_random_strings_are_empty(models: Models) -> None:
    assert models.load("random_strings") == ""
    assert models.executed("random_strings") == [[{"IN": [[2], ["", ""]]}]]


def test_a_control_tensor_is_an_input_of_the_sample(models: Models) -> None:
    """The scheduler is not asked, so nothing else adds it."""
    assert models.load("control") == ""
    expected = {"IN": [[1, 2], [[0.0, 0.0]]], "START": [[1, 1], [[0]]]}
    assert models.executed("control") == [[expected]]


def test_every_instance_is_warmed_up(models: Models) -> None:
    assert models.load("two_instances") == ""
    instances = sorted(instance for instance, _ in models.executions("two_instances"))
    assert instances == ["two_instances_0_0"] * 2 + ["two_instances_0_1"] * 2


def test_a_decoupled_model_is_warmed_up(models: Models) -> None:
    assert models.load("decoupled") == ""
    assert models.executed("decoupled") == [[{"IN": [[2], [0.0, 0.0]]}]] * 2


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_sample_fails_with_fails_the_load(models: Models, name: str) -> None:
    _, reason = REFUSED[name]
    error = models.load(name)
    code = "Invalid argument"
    if name == "variable_shape":
        assert reason in error
        return
    prefix = f"load failed for model '{name}': version 1 is at UNAVAILABLE state: {code}: "
    if name in ("too_large", "no_batching"):
        # Triton says it once for each request.
        assert error.startswith(prefix + reason)
    elif name == "raises":
        # A traceback follows.
        assert error.startswith(prefix + reason)
        assert len(models.executions(name)) == 1, "the first failure ends it"
    else:
        assert error == f"{prefix}{reason};\n"
    ready = models.server.http.get(f"/v2/models/{name}/ready")
    assert ready.status == 400


def test_a_missing_file_fails_the_load(models: Models) -> None:
    config = {
        "backend": "python",
        "input": [{"name": "IN", "data_type": "TYPE_FP32", "dims": [2]}],
        "output": [{"name": "OUT", "data_type": "TYPE_FP32", "dims": [2]}],
        "parameters": {"record": {"string_value": "/dev/null"}},
        "model_warmup": [
            {
                "name": "sample",
                "batch_size": 1,
                "inputs": {
                    "IN": {"data_type": "TYPE_FP32", "dims": [2], "input_data_file": "missing"}
                },
            }
        ],
    }
    body = {"parameters": {"config": json.dumps(config)}}
    answer = models.server.http.post("/v2/repository/models/zeros/load", body)
    assert answer.status == 400
    assert "Internal: failed to open text file for read " in answer.error
    assert "/zeros/warmup/missing: No such file or directory" in answer.error


def test_a_model_that_was_warmed_up_serves(models: Models) -> None:
    models.load("file")
    answer = models.server.http.infer("file", [tensor("IN", "FP32", [2], [3, 4])])
    assert answer.status == 200
    assert models.executed("file")[-1] == [{"IN": [[2], [3.0, 4.0]]}]


@pytest.mark.ours("the wheel of Triton 2.51 has no such backends, and no Python in its process")
@pytest.mark.parametrize("name", ["mlp", "identity", "in_process"])
def test_every_backend_is_warmed_up(starter: ServerStarter, tmp_path: Path, name: str) -> None:
    repository = tmp_path / "models"
    if name == "in_process":
        parameters = {"record": str(tmp_path / "record"), "failure": ""}
        parameters["TRITONGW_PYTHON_HOST"] = "in_process"
        inputs = {"IN": "TYPE_FP32 [ 2 ]"}
        model = PythonModel("recorder", inputs, OUTPUTS, BATCHED, parameters=parameters)
        model.write(repository / name)
    else:
        copy_examples(repository, [name])
    tensor_name, dims = {"mlp": ("INPUT", 784), "identity": ("INPUT0", 3), "in_process": ("IN", 2)}[
        name
    ]
    random = data("random_data: true", dims=f"[ {dims} ]", name=tensor_name)
    with (repository / name / "config.pbtxt").open("a") as config:
        config.write(sample(random, batch_size=4, more="count: 3"))
    with starter.prepare(f"warmup-{name}", repository) as process:
        answer = Server(process, is_oracle=False).http.get(f"/v2/models/{name}/stats")
        statistics = answer.json["model_stats"][0]
        instances = statistics["execution_count"] // 3
        assert instances >= 1
        assert statistics["inference_count"] == 12 * instances
        assert [each["batch_size"] for each in statistics["batch_stats"]] == [4]
