# SPDX-License-Identifier: Apache-2.0
"""Dynamic batching seen from outside: every request gets its own answer, and batches form."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from support.servers import Server
    from support.wire import HttpDoor

MODEL = "batching"


@st.composite
def request_inputs(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Draw the inputs of one request: some rows of some width, with or without the optional."""
    batch, width = draw(st.integers(1, 8)), draw(st.integers(0, 5))
    seed = draw(st.integers(-(2**30), 2**30 - 100))
    first = (seed + np.arange(batch * width)).astype(np.int32).reshape(batch, width)
    inputs = {"INPUT0": first}
    if draw(st.booleans()):
        inputs["INPUT1"] = np.full((batch, 2), seed / 4, dtype=np.float32)
    return inputs


async def infer_all(address: str, requests: list[dict[str, np.ndarray]]) -> list[Any]:
    """Send all requests at once and return their results in order."""
    async with tritonclient.grpc.aio.InferenceServerClient(address) as client:
        return await asyncio.gather(
            *(client.infer(MODEL, tensors_of(inputs)) for inputs in requests)
        )


def tensors_of(inputs: dict[str, np.ndarray]) -> list[Any]:
    """Return the client's tensors for named arrays."""
    made = []
    for name, array in inputs.items():
        data_type = "INT32" if name == "INPUT0" else "FP32"
        tensor = tritonclient.grpc.InferInput(name, array.shape, data_type)
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def assert_doubled(result: Any, inputs: dict[str, np.ndarray]) -> None:
    """Check that `result` holds the double of each input, and nothing else."""
    outputs = {output.name for output in result.get_response().outputs}
    assert outputs == {name.replace("IN", "OUT") for name in inputs}
    for name, array in inputs.items():
        np.testing.assert_array_equal(result.as_numpy(name.replace("IN", "OUT")), array * 2)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(requests=st.lists(request_inputs(), min_size=1, max_size=24))
def test_every_request_gets_its_own_answer(
    server: Server, requests: list[dict[str, np.ndarray]]
) -> None:
    results = asyncio.run(infer_all(server.grpc_address, requests))
    for result, inputs in zip(results, requests, strict=True):
        assert_doubled(result, inputs)


def counts(http: HttpDoor) -> tuple[int, int, dict[int, int]]:
    """Return inferences, executions, and executions by batch size."""
    stats = http.get(f"/v2/models/{MODEL}/stats").json["model_stats"][0]
    by_size = {each["batch_size"]: each["compute_infer"]["count"] for each in stats["batch_stats"]}
    return stats["inference_count"], stats["execution_count"], by_size


def test_batches_form_under_load(server: Server) -> None:
    inferences, executions, _ = counts(server.http)
    requests = [{"INPUT0": np.full((1, 4), index, dtype=np.int32)} for index in range(96)]
    results = asyncio.run(infer_all(server.grpc_address, requests))
    for result, inputs in zip(results, requests, strict=True):
        assert_doubled(result, inputs)
    after, executions_after, by_size = counts(server.http)
    assert after - inferences == 96
    assert executions_after - executions <= 96 // 2
    assert max(by_size) == 8, "no batch reached the largest size"


def test_no_batch_exceeds_the_largest_size(server: Server) -> None:
    requests = [{"INPUT0": np.full((3, 2), index, dtype=np.int32)} for index in range(32)]
    results = asyncio.run(infer_all(server.grpc_address, requests))
    for result, inputs in zip(results, requests, strict=True):
        assert_doubled(result, inputs)
    assert max(counts(server.http)[2]) <= 8


def test_requests_with_other_optional_inputs_do_not_mix(server: Server) -> None:
    """The model refuses an execution that mixes them."""
    requests = [
        {"INPUT0": np.full((1, 4), index, dtype=np.int32)}
        | ({"INPUT1": np.full((1, 2), index, dtype=np.float32)} if index % 2 else {})
        for index in range(64)
    ]
    results = asyncio.run(infer_all(server.grpc_address, requests))
    for result, inputs in zip(results, requests, strict=True):
        assert_doubled(result, inputs)


def test_requests_of_other_shapes_do_not_mix(server: Server) -> None:
    """The model refuses an execution that mixes them."""
    requests = [
        {"INPUT0": np.full((1, 1 + index % 3), index, dtype=np.int32)} for index in range(48)
    ]
    results = asyncio.run(infer_all(server.grpc_address, requests))
    for result, inputs in zip(results, requests, strict=True):
        assert_doubled(result, inputs)


@pytest.mark.ours("the wheel of Triton 2.51 has no ONNX Runtime backend")
def test_batched_onnx_results_belong_to_their_requests(server: Server) -> None:
    rng = np.random.default_rng(7)
    images = rng.standard_normal((40, 784)).astype(np.float32)

    async def run() -> list[np.ndarray]:
        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc_address) as client:
            alone = [await classify(client, image) for image in images]
            together = await asyncio.gather(*(classify(client, image) for image in images))
            return [np.stack(alone), np.stack(together)]

    alone, together = asyncio.run(run())
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)
    assert len(np.unique(alone.round(4), axis=0)) == len(images)


async def classify(client: Any, image: np.ndarray) -> np.ndarray:
    """Return what the MLP says of one image."""
    tensor = tritonclient.grpc.InferInput("INPUT", [1, 784], "FP32")
    tensor.set_data_from_numpy(image.reshape(1, 784))
    result = await client.infer("mlp", [tensor])
    output: np.ndarray = result.as_numpy("OUTPUT").reshape(10)
    return output
