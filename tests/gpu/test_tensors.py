# SPDX-License-Identifier: Apache-2.0
"""Tensors of PyTorch and CuPy in GPU memory (Y045-Y047, Y049, Y066, G9.11, G9.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest
from support.calling import Caller

if TYPE_CHECKING:
    from support.servers import Server

pytestmark = pytest.mark.gpu

WAYS = [
    "with_torch",
    "with_torch_on_a_side_stream",
    "with_torch_in_a_capsule",
    "with_torch_in_part",
    "with_torch_on_the_host",
    "with_cupy",
    "with_cupy_on_a_side_stream",
]
#: Data that travels in the message itself, and data that does not.
SIZES = (3, 1 << 20)


def ask(server: Server, model: str, way: str, values: np.ndarray) -> tuple[int, bytes]:
    """Return status and binary output."""
    size = values.nbytes
    way_data = len(way).to_bytes(4, "little") + way.encode()
    inputs = [
        {"name": "IN", "datatype": "FP32", "shape": [values.size]},
        {"name": "WAY", "datatype": "BYTES", "shape": [1]},
    ]
    for tensor, length in zip(inputs, (size, len(way_data)), strict=True):
        tensor["parameters"] = {"binary_data_size": length}
    head = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    answer = server.http.infer_binary(model, head, values.tobytes() + way_data)
    return answer.status, answer.split()[1] if answer.status == 200 else answer.body


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_an_output_is_copied_to_the_response(
    server: Server, host: str, way: str, size: int
) -> None:
    values = np.arange(size, dtype=np.float32)
    status, data = ask(server, f"frameworks_{host}", way, values)
    assert status == 200, data
    assert np.array_equal(np.frombuffer(data, np.float32), values * 2)


def test_a_model_may_answer_again_and_again(server: Server, host: str) -> None:
    for size in range(1, 40):
        values = np.arange(size * 1000, dtype=np.float32)
        status, data = ask(server, f"frameworks_{host}", "with_torch_on_a_side_stream", values)
        assert status == 200, data
        assert np.array_equal(np.frombuffer(data, np.float32), values * 2)


def test_bfloat16_has_its_own_type(server: Server, host: str) -> None:
    values = np.arange(100, dtype=np.float32)
    status, data = ask(server, f"bfloat16_{host}", "with_torch_in_bfloat16", values)
    assert status == 200, data
    assert data == (values * 2).astype(ml_dtypes.bfloat16).tobytes()


def test_only_contiguous_tensors_are_taken(server: Server, host: str) -> None:
    values = np.arange(100, dtype=np.float32)
    status, data = ask(server, f"frameworks_{host}", "with_torch_not_contiguous", values)
    assert status == 500
    assert b"Only contiguous DLPack tensors that are stored in C-Order are supported." in data


def told(server: Server, host: str) -> Caller:
    return Caller(server.http, f"told_{host}")


def test_a_tensor_is_handed_on_where_it_lies(server: Server, host: str) -> None:
    values = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert told(server, host).hears("describe") == {
        "is_cpu": False,
        "dtype": 10,
        "shape": [2, 3],
        "device": [2, 0],
        "same": [True] * 3,
        "cupy": True,
        "values": [values] * 3,
    }


def test_a_reader_waits_for_the_writer(server: Server, host: str) -> None:
    assert told(server, host).hears("read_on_another_stream") == float(1 << 20)


def test_a_tensor_on_a_gpu_is_no_array(server: Server, host: str) -> None:
    assert told(server, host).hears("as_numpy") == (
        "TritonModelException: Tensor is stored in GPU and cannot be converted to NumPy."
    )
    assert told(server, host).hears("give_numpy").partition(":")[0] in (
        "BufferError",
        "RuntimeError",
    )


@pytest.mark.parametrize("size", SIZES)
def test_an_input_of_a_call_may_lie_on_a_gpu(server: Server, host: str, size: int) -> None:
    heard = told(server, host).hears("call", size)
    assert heard == [True, float(np.arange(size, dtype=np.float64).sum() * 2)]


def test_gpu_memory_is_let_go(server: Server, host: str) -> None:
    caller = told(server, host)
    caller.hears("call", 1 << 20)
    before = caller.hears("allocated")
    for _ in range(3):
        caller.hears("call", 1 << 20)
        caller.hears("describe")
    assert caller.hears("allocated") == before
