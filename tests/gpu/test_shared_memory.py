# SPDX-License-Identifier: Apache-2.0
"""GPU memory of another process as input and output (P022, P023, P090-P094)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from device_array import Allocation
from support.wire import tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import Server
    from support.wire import Answer

pytestmark = pytest.mark.gpu

COUNT = 1 << 20
BYTES = COUNT * 4


@pytest.fixture
def memory() -> Iterator[Allocation]:
    allocation = Allocation(2 * BYTES)
    yield allocation
    allocation.free()


def register(server: Server, handle: bytes, byte_size: int, device_id: int = 0) -> Answer:
    raw_handle = {"b64": base64.b64encode(handle).decode()}
    body = {"raw_handle": raw_handle, "device_id": device_id, "byte_size": byte_size}
    return server.http.post("/v2/cudasharedmemory/region/r/register", body)


def at(offset: int, byte_size: int) -> dict[str, Any]:
    return {
        "shared_memory_region": "r",
        "shared_memory_offset": offset,
        "shared_memory_byte_size": byte_size,
    }


def test_a_model_reads_and_writes_memory_of_a_client(
    server: Server, host: str, memory: Allocation
) -> None:
    values = np.arange(COUNT, dtype=np.float32)
    memory.write(values.tobytes())
    assert register(server, memory.handle(), 2 * BYTES).status == 200
    listed = server.http.get("/v2/cudasharedmemory/status").json
    assert listed == [{"name": "r", "device_id": 0, "byte_size": 2 * BYTES}]
    inputs = [
        tensor("IN", "FP32", [COUNT], **at(0, BYTES)),
        tensor("WAY", "BYTES", [1], ["with_torch"]),
    ]
    outputs = [{"name": "OUT", "parameters": at(BYTES, BYTES)}]
    answer = server.http.infer(f"frameworks_{host}", inputs, outputs=outputs)
    assert answer.status == 200, answer.text
    held = np.frombuffer(memory.read(), np.float32)
    assert np.array_equal(held, np.concatenate([values, values * 2]))
    assert server.http.post("/v2/cudasharedmemory/region/r/unregister", b"").status == 200
    assert server.http.get("/v2/cudasharedmemory/status").json == []


def test_what_is_no_memory_is_refused(server: Server, memory: Allocation) -> None:
    for handle, byte_size, device_id in [
        (bytes(64), 4, 0),
        (memory.handle(), (1 << 30) + 2 * BYTES, 0),
        (memory.handle(), 0, 0),
        (memory.handle(), 4, 99),
    ]:
        answer = register(server, handle, byte_size, device_id)
        assert answer.status == 400
        assert answer.error == "failed to register CUDA shared memory region 'r': invalid args"
