# SPDX-License-Identifier: Apache-2.0
"""ONNX models with sequences: control tensors are inputs of the graph (triton.md 3.8, B013)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import TensorProto, helper
from support.servers import Server, ServerStarter
from support.wire import tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.ours("2.51 has no backend for ONNX models here")
BATCHING = """
backend: "onnxruntime"
max_batch_size: 4
sequence_batching {
  control_input {
    name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 5 ] }
  }
  control_input { name: "ID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT32 } }
}
"""
TENSORS = """
input { name: "NUMBER" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "SUM" data_type: TYPE_INT32 dims: [ 1 ] }
"""
CONFIGS = {
    "described": BATCHING + TENSORS,
    "completed": BATCHING,
    "without_start": (BATCHING + TENSORS).replace('name: "START"', 'name: "OTHER"'),
    "other_type": (BATCHING + TENSORS).replace("int32_false_true", "fp32_false_true"),
}


@pytest.fixture(scope="module")
def served(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("onnx_sequences")
    for name, config in CONFIGS.items():
        write_model(directory / name, config)
    options = ("--model-control-mode=explicit", "--load-model=described", "--load-model=completed")
    with starter.prepare("onnx_sequences", directory, options) as process:
        yield Server(process, starter.is_oracle)


def write_model(directory: Path, config: str) -> None:
    """Write a model that adds up its inputs: SUM = NUMBER + START + ID."""
    (directory / "1").mkdir(parents=True)
    (directory / "config.pbtxt").write_text(config)
    shape = ["batch", 1]
    made = [helper.make_tensor_value_info(name, TensorProto.INT32, shape) for name in NAMES]
    total = helper.make_tensor_value_info("SUM", TensorProto.INT32, shape)
    nodes = [
        helper.make_node("Add", ["NUMBER", "START"], ["partial"]),
        helper.make_node("Add", ["partial", "ID"], ["SUM"]),
    ]
    graph = helper.make_graph(nodes, "sequence", made, [total])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, directory / "1" / "model.onnx")


NAMES = ["NUMBER", "START", "ID"]


@pytest.mark.parametrize("model", ["described", "completed"])
def test_a_graph_gets_its_control_tensors(served: Server, model: str) -> None:
    for flags, expected in (("sequence_start", 1000 + 5 + 70), ("sequence_end", 1000 + 70)):
        answer = served.http.infer(
            model,
            [tensor("NUMBER", "INT32", [1, 1], [1000])],
            parameters={"sequence_id": 70, flags: True},
        )
        assert answer.status == 200, answer.text
        assert answer.json["outputs"][0]["data"] == [expected]


@pytest.mark.parametrize("model", ["described", "completed"])
def test_control_tensors_are_no_inputs_of_the_model(served: Server, model: str) -> None:
    inputs = served.http.get(f"/v2/models/{model}").json["inputs"]
    assert [each["name"] for each in inputs] == ["NUMBER"]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("without_start", "unexpected inference input 'OTHER', allowed inputs are: "),
        ("other_type", "START"),
    ],
)
def test_control_tensors_must_fit_the_graph(served: Server, model: str, reason: str) -> None:
    answer = served.http.post(f"/v2/repository/models/{model}/load", {})
    assert answer.status == 400
    assert reason in answer.error
