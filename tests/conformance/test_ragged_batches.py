# SPDX-License-Identifier: Apache-2.0
"""Requests of different shapes in one batch of an ONNX model (M031, M040-M046)."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc.aio
from support.repository import ROOT
from support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import ServerStarter

pytestmark = pytest.mark.ours("the wheel of Triton 2.51 has no ONNX Runtime backend")

GRAPH = ROOT / "rust" / "backends" / "onnxruntime" / "testdata" / "ragged.onnx"

# Three requests go together as soon as the third is there.
CONFIG = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1, -1 ] allow_ragged_batch: true } ]
output [
  { name: "DOUBLED" data_type: TYPE_FP32 dims: [ -1, -1 ] },
  { name: "TOTAL" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } },
  { name: "FACTS" data_type: TYPE_INT32 dims: [ -1 ] }
]
batch_input [
  { kind: BATCH_ELEMENT_COUNT target_name: "COUNT" data_type: TYPE_FP32 source_input: "X" },
  { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "ENDS" data_type: TYPE_INT32
    source_input: "X" },
  { kind: BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO target_name: "STARTS" data_type: TYPE_INT32
    source_input: "X" },
  { kind: BATCH_MAX_ELEMENT_COUNT_AS_SHAPE target_name: "LARGEST" data_type: TYPE_FP32
    source_input: "X" },
  { kind: BATCH_ITEM_SHAPE target_name: "SHAPES" data_type: TYPE_INT32 source_input: "X" },
  { kind: BATCH_ITEM_SHAPE_FLATTEN target_name: "FLAT" data_type: TYPE_INT32 source_input: "X" }
]
batch_output [
  { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "DOUBLED" source_input: "X" }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { preferred_batch_size: [ 3 ] max_queue_delay_microseconds: 60000000 }
"""


@pytest.fixture(scope="module")
def ragged(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose one model takes ragged batches of three requests."""
    repository = tmp_path_factory.mktemp("ragged")
    version = repository / "ragged" / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    shutil.copy(GRAPH, version / "model.onnx")
    process = starter.prepare("ragged", repository)
    with process:
        yield Server(process, starter.is_oracle)


async def infer_all(address: str, arrays: list[np.ndarray]) -> list[Any]:
    """Send all requests at once and return their results in order."""
    async with tritonclient.grpc.aio.InferenceServerClient(address) as client:
        return await asyncio.gather(*(infer(client, array) for array in arrays))


async def infer(client: Any, array: np.ndarray) -> Any:
    """Return the result for one item."""
    tensor = tritonclient.grpc.InferInput("X", [1, *array.shape], "FP32")
    tensor.set_data_from_numpy(array[np.newaxis])
    return await client.infer("ragged", [tensor])


def test_each_request_of_a_ragged_batch_gets_its_own_answer(ragged: Server) -> None:
    shapes = [(2, 3), (1, 1), (4, 2)]
    arrays = [
        np.arange(rows * columns, dtype=np.float32).reshape(rows, columns) + 10 * rows
        for rows, columns in shapes
    ]
    results = asyncio.run(infer_all(ragged.grpc_address, arrays))
    facts = []
    for array, result in zip(arrays, results, strict=True):
        np.testing.assert_array_equal(result.as_numpy("DOUBLED"), array[np.newaxis] * 2)
        np.testing.assert_allclose(result.as_numpy("TOTAL"), [[array.sum()]])
        (row,) = result.as_numpy("FACTS").tolist()
        count, end, start, largest, *shape = row
        assert (count, largest) == (array.size, 8)
        assert shape == [*array.shape, *array.shape]
        facts.append((start, end))
    # The order in which the requests came is not the client's to choose: they fill the batch.
    facts.sort()
    assert facts[0][0] == 0
    assert [end for _, end in facts[:-1]] == [start for start, _ in facts[1:]]
    assert facts[-1][1] == sum(array.size for array in arrays)
    stats = ragged.http.get("/v2/models/ragged/stats").json["model_stats"][0]
    assert [(each["batch_size"]) for each in stats["batch_stats"]] == [3]
    assert stats["execution_count"] == 1


def test_configuration_shows_batch_inputs_and_outputs(ragged: Server) -> None:
    config = ragged.http.get("/v2/models/ragged/config").json
    assert config["input"][0]["allow_ragged_batch"] is True
    assert [each["kind"] for each in config["batch_input"]] == [
        "BATCH_ELEMENT_COUNT",
        "BATCH_ACCUMULATED_ELEMENT_COUNT",
        "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
        "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
        "BATCH_ITEM_SHAPE",
        "BATCH_ITEM_SHAPE_FLATTEN",
    ]
    assert config["batch_output"] == [
        {
            "target_name": ["DOUBLED"],
            "kind": "BATCH_SCATTER_WITH_INPUT_SHAPE",
            "source_input": ["X"],
        }
    ]
