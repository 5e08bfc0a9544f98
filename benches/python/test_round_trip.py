# SPDX-License-Identifier: Apache-2.0
"""One request at a time through the published Python clients: what a user of them waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_benchmark.fixture import BenchmarkFixture
    from server_process import Endpoints

# Model to the data type, the shape and the number of its inputs.
MODELS = {
    "add_sub": ("FP32", [4], 2),
    "identity": ("FP32", [1, 16], 1),
    "simple": ("INT32", [1, 16], 2),
    "mlp": ("FP32", [1, 784], 1),
}
PROTOCOLS = {"http": tritonclient.http, "grpc": tritonclient.grpc}


@pytest.fixture(scope="module", params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def client(endpoints: Endpoints, protocol: str) -> Iterator[Any]:
    with PROTOCOLS[protocol].InferenceServerClient(getattr(endpoints, protocol)) as made:
        yield made


def inputs_of(module: Any, model: str) -> list[Any]:
    """Return the inputs of one request, in the classes of the client `module`."""
    data_type, shape, count = MODELS[model]
    array = np.ones(shape, dtype=np.int32 if data_type == "INT32" else np.float32)
    name = "INPUT" if model == "mlp" else "INPUT{}"
    inputs = [module.InferInput(name.format(index), shape, data_type) for index in range(count)]
    for each in inputs:
        each.set_data_from_numpy(array)
    return inputs


@pytest.mark.parametrize("model", MODELS)
def test_infer(benchmark: BenchmarkFixture, client: Any, protocol: str, model: str) -> None:
    inputs = inputs_of(PROTOCOLS[protocol], model)
    result = benchmark(client.infer, model, inputs)
    assert result.get_response()


@pytest.mark.parametrize("mib", [1, 16])
def test_infer_large(benchmark: BenchmarkFixture, client: Any, protocol: str, mib: int) -> None:
    array = np.zeros((1, mib << 18), dtype=np.float32)
    tensor = PROTOCOLS[protocol].InferInput("INPUT0", array.shape, "FP32")
    tensor.set_data_from_numpy(array)
    result = benchmark(client.infer, "identity", [tensor])
    assert result.as_numpy("OUTPUT0").nbytes == mib << 20


def test_health(benchmark: BenchmarkFixture, client: Any) -> None:
    assert benchmark(client.is_server_live)
