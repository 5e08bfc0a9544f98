# SPDX-License-Identifier: Apache-2.0
"""The published Python clients: HTTP and gRPC, blocking and asyncio, against every data type."""

from __future__ import annotations

import asyncio
import inspect
import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from support.servers import Server, rows
from support.tensors import DATA_TYPES, DataType
from tritonclient.utils import triton_to_np_dtype

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CLIENTS = {
    "http": (tritonclient.http, tritonclient.http),
    "grpc": (tritonclient.grpc, tritonclient.grpc),
    "http-aio": (tritonclient.http, tritonclient.http.aio),
    "grpc-aio": (tritonclient.grpc, tritonclient.grpc.aio),
}


class Client:
    """One of the four clients under one blocking face."""

    def __init__(self, server: Server, name: str) -> None:
        self._messages, self._module = CLIENTS[name]
        is_http = name.startswith("http")
        self._address = server.http.address if is_http else server.grpc_address

    def use(self, action: Callable[[Any], Any]) -> Any:
        """Run `action` with a fresh client and return its result, awaited where it must be."""
        return asyncio.run(self._use(action))

    async def _use(self, action: Callable[[Any], Any]) -> Any:
        client = self._module.InferenceServerClient(self._address)
        try:
            return await settled(action(client))
        finally:
            await settled(client.close())

    def infer(self, model: str, inputs: dict[str, tuple[str, np.ndarray]], **options: Any) -> Any:
        """Infer with named (data type, array) pairs."""
        tensors = []
        for name, (data_type, array) in inputs.items():
            tensor = self._messages.InferInput(name, array.shape, data_type)
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        return self.use(lambda client: client.infer(model, tensors, **options))


async def settled(value: Awaitable[Any] | Any) -> Any:
    return await value if inspect.isawaitable(value) else value


@pytest.fixture(params=CLIENTS)
def client(server: Server, request: pytest.FixtureRequest) -> Client:
    return Client(server, request.param)


@pytest.mark.parametrize("kind", DATA_TYPES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("batch", [None, 1, 5])
def test_every_type_comes_back(client: Client, kind: DataType, batch: int | None) -> None:
    # Clients differ in what they take for BF16.
    array = kind.array.astype(triton_to_np_dtype(kind.name))
    if batch is not None:
        array = rows(array, batch)
    model = f"echo_{kind.name.lower()}" + ("" if batch is None else "_batched")
    result = client.infer(model, {"INPUT0": (kind.name, array)}, request_id="7")
    output = result.as_numpy("OUTPUT0")
    assert output.shape == array.shape
    np.testing.assert_array_equal(output, array)


def test_add_sub(client: Client) -> None:
    left = np.array([1, 2, 3, 4], dtype=np.float32)
    right = np.array([4, 3, 2, 1], dtype=np.float32)
    inputs = {"INPUT0": ("FP32", left), "INPUT1": ("FP32", right)}
    result = client.infer("add_sub", inputs)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), left + right)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), left - right)


def test_health(client: Client) -> None:
    assert client.use(lambda each: each.is_server_live())
    assert client.use(lambda each: each.is_server_ready())
    assert client.use(lambda each: each.is_model_ready("add_sub"))
    assert client.use(lambda each: each.is_model_ready("add_sub", "1"))


def test_metadata_config_and_statistics(client: Client) -> None:
    metadata = client.use(lambda each: each.get_server_metadata())
    assert "triton" in str(metadata)
    for call in ("get_model_metadata", "get_model_config", "get_inference_statistics"):
        document = client.use(operator.methodcaller(call, "add_sub"))
        assert "add_sub" in str(document)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("nothing", "Request for unknown model: 'nothing' is not found"),
        (
            "echo_fp32",
            "inference input 'INPUT0' data-type is 'INT32', but model 'echo_fp32' expects",
        ),
    ],
)
def test_refusals_become_the_clients_exception(client: Client, model: str, text: str) -> None:
    with pytest.raises(tritonclient.utils.InferenceServerException) as caught:
        client.infer(model, {"INPUT0": ("INT32", np.array([1], dtype=np.int32))})
    assert text in str(caught.value.message())


def test_json_tensors_of_the_http_client(server: Server) -> None:
    tensor = tritonclient.http.InferInput("INPUT0", [3], "BYTES")
    tensor.set_data_from_numpy(
        np.array([b"a", b"", "ü".encode()], dtype=np.object_), binary_data=False
    )
    output = tritonclient.http.InferRequestedOutput("OUTPUT0", binary_data=False)
    with tritonclient.http.InferenceServerClient(server.http.address) as client:
        result = client.infer("echo_bytes", [tensor], outputs=[output])
    assert [str(each) for each in result.as_numpy("OUTPUT0")] == ["a", "", "ü"]


@pytest.mark.ours("the wheel of Triton 2.51 has no ONNX Runtime backend")
def test_onnx_model(client: Client) -> None:
    left = np.arange(32, dtype=np.int32).reshape(2, 16)
    right = np.full((2, 16), 3, dtype=np.int32)
    result = client.infer("simple", {"INPUT0": ("INT32", left), "INPUT1": ("INT32", right)})
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), left + right)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), left - right)


@pytest.mark.ours("the wheel of Triton 2.51 has no ONNX Runtime backend")
def test_onnx_model_of_strings(client: Client) -> None:
    left = np.array([[str(index).encode() for index in range(16)]], dtype=np.object_)
    right = np.array([[b"2"] * 16], dtype=np.object_)
    result = client.infer("simple_string", {"INPUT0": ("BYTES", left), "INPUT1": ("BYTES", right)})
    assert [int(each) for each in result.as_numpy("OUTPUT0")[0]] == [
        2 + index for index in range(16)
    ]


@pytest.mark.ours("the wheel of Triton 2.51 has no identity backend")
def test_identity_backend(client: Client) -> None:
    array = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)
    result = client.infer("identity", {"INPUT0": ("FP32", array)})
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), array)
