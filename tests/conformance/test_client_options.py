# SPDX-License-Identifier: Apache-2.0
"""Packages, options and results of Triton's Python clients
(K001, K007-K009, K014, K018)."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import queue
import socket
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from support.repository import RESPONDER, PythonModel, echo, write_models
from support.servers import Server, ServerStarter
from tritonclient.utils import InferenceServerException
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 20

# Waits for ten minutes for a batch of eight.
DELAYED = echo(
    "TYPE_FP32 [ 1 ]",
    extra="max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 8 ] "
    "max_queue_delay_microseconds: 600000000 }",
)
QUOTED_NAMES = ["a+b", "50%25", "na me", "ü"]
MODELS = {
    **{name: echo("TYPE_FP32 [ -1 ]") for name in ["echo", *QUOTED_NAMES]},
    "responder": RESPONDER,
    "delayed": DELAYED,
    "broken": PythonModel(
        "fails_to_initialize", {"INPUT0": "TYPE_FP32 [ -1 ]"}, {"OUTPUT0": "TYPE_FP32 [ -1 ]"}
    ),
}
ARRAY = np.array([1, 2, 3], dtype=np.float32)


@pytest.fixture(scope="module")
def server(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lives although one of its models does not load."""
    # Python processes of 2.51 do not start under the last two.
    left_out = QUOTED_NAMES if starter.is_oracle else []
    models = {name: model for name, model in MODELS.items() if name not in left_out}
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    options = ["--exit-on-error=false", "--strict-readiness=false"]
    with starter.prepare("client_options", directory, options) as process:
        yield Server(process, starter.is_oracle)


def tensors(module: Any, array: np.ndarray = ARRAY, name: str = "INPUT0") -> list[Any]:
    made = module.InferInput(name, array.shape, "INT32" if name == "IN" else "FP32")
    made.set_data_from_numpy(array)
    return [made]


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


@pytest.mark.parametrize(
    "name",
    [
        "tritonclient.http",
        "tritonclient.http.aio",
        "tritonclient.grpc",
        "tritonclient.grpc.aio",
        "tritonhttpclient",
        "tritongrpcclient",
    ],
)
def test_packages_of_now_and_of_before(server: Server, name: str) -> None:
    # The old packages switch warnings on while they are imported.
    with warnings.catch_warnings(record=True):
        package = importlib.import_module(name)
        utilities = importlib.import_module("tritonclientutils")
    address = server.http.address if "http" in name else server.grpc_address

    async def ask() -> Any:
        client = package.InferenceServerClient(address)
        assert await settled(client.is_server_live())
        messages = importlib.import_module(name.removesuffix(".aio"))
        result = await settled(client.infer("echo", tensors(messages)))
        await settled(client.close())
        return result.as_numpy("OUTPUT0")

    output = asyncio.run(ask())
    np.testing.assert_array_equal(output, ARRAY)
    assert utilities.np_to_triton_dtype(output.dtype) == "FP32"


@pytest.mark.ours("2.51 takes the path as it is: it knows no model '50%2525'")
@pytest.mark.parametrize("model", QUOTED_NAMES)
def test_names_of_models_are_quoted_in_paths(server: Server, model: str) -> None:
    with tritonclient.http.InferenceServerClient(server.http.address) as client:
        assert client.is_model_ready(model)
        assert client.get_model_metadata(model)["name"] == model
        assert client.get_model_config(model)["name"] == model
        assert client.get_inference_statistics(model)["model_stats"][0]["name"] == model
        result = client.infer(model, tensors(tritonclient.http))
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), ARRAY)
    assert result.get_response()["model_name"] == model


def test_grpc_connections_are_made_as_the_client_asks(server: Server) -> None:
    keep_alive = tritonclient.grpc.KeepAliveOptions(
        keepalive_time_ms=10_000,
        keepalive_timeout_ms=5_000,
        keepalive_permit_without_calls=True,
        http2_max_pings_without_data=2,
    )
    client = tritonclient.grpc.InferenceServerClient
    with client(server.grpc_address, keepalive_options=keep_alive) as kept:
        assert kept.is_server_live()
    arguments = [("grpc.primary_user_agent", "x"), ("grpc.max_receive_message_length", 1 << 30)]
    with client(server.grpc_address, channel_args=arguments) as channel:
        assert channel.is_server_live(headers={"x-caller": "me"})


def test_messages_above_the_usual_limit_of_grpc(server: Server) -> None:
    array = np.arange(6 << 20, dtype=np.float32)  # 24 MiB; libraries of gRPC take 4.
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        result = client.infer("echo", tensors(tritonclient.grpc, array))
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), array)


def test_grpc_calls_end_at_the_clients_timeout(server: Server) -> None:
    array = np.array([[1]], dtype=np.float32)
    with (
        tritonclient.grpc.InferenceServerClient(server.grpc_address) as client,
        pytest.raises(InferenceServerException) as caught,
    ):
        client.infer("delayed", tensors(tritonclient.grpc, array), client_timeout=0.2)
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"


def start(client: Any, **options: Any) -> queue.SimpleQueue[tuple[Any, Any]]:
    results: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    client.start_stream(lambda result, error: results.put((result, error)), **options)
    return results


def test_a_client_has_one_stream_at_a_time(server: Server) -> None:
    numbers = tensors(tritonclient.grpc, np.array([4, 5], dtype=np.int32), "IN")
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        for _ in range(2):
            results = start(client, headers={"x-caller": "me"})
            with pytest.raises(InferenceServerException):
                start(client)
            client.async_stream_infer("responder", numbers)
            for expected in (4, 5):
                result, error = results.get(timeout=WAIT_S)
                assert error is None
                assert result.as_numpy("OUT").tolist() == [expected]
            client.stop_stream()


def wait_forever(client: Any, path: Path) -> None:
    """Ask for what ends by cancellation only, and wait until it runs."""
    numbers = tensors(tritonclient.grpc, np.array([1], dtype=np.int32), "IN")
    parameters = {"mode": "until_cancelled", "path": str(path)}
    client.async_stream_infer("responder", numbers, parameters=parameters)
    wait_until(path.with_suffix(".running").exists, WAIT_S, "execution")


def test_a_stream_is_stopped_with_its_requests(server: Server, tmp_path: Path) -> None:
    noticed = tmp_path / "noticed"
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        start(client)
        wait_forever(client, noticed)
        client.stop_stream(cancel_requests=True)
        wait_until(noticed.exists, WAIT_S, "news of the cancellation")


def test_a_stream_ends_at_the_clients_timeout(server: Server, tmp_path: Path) -> None:
    noticed = tmp_path / "noticed"
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        results = start(client, stream_timeout=2)
        wait_forever(client, noticed)
        _, error = results.get(timeout=WAIT_S)
        assert error.status() == "StatusCode.DEADLINE_EXCEEDED"
        client.stop_stream()
    wait_until(noticed.exists, WAIT_S, "news of the cancellation")


def test_results_tell_shape_size_and_the_whole_response(server: Server) -> None:
    with tritonclient.http.InferenceServerClient(server.http.address) as client:
        result = client.infer("echo", tensors(tritonclient.http), request_id="7")
    output = result.get_output("OUTPUT0")
    assert output == {
        "name": "OUTPUT0",
        "datatype": "FP32",
        "shape": [3],
        "parameters": {"binary_data_size": ARRAY.nbytes},
    }
    response = result.get_response()
    assert (response["id"], response["model_name"]) == ("7", "echo")
    assert response["outputs"] == [output]
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        answer = client.infer("echo", tensors(tritonclient.grpc), request_id="7")
    message = answer.get_response()
    assert (message.id, message.model_name) == ("7", "echo")
    assert message.raw_output_contents == [ARRAY.tobytes()]
    assert list(answer.get_output("OUTPUT0").shape) == [3]
    assert answer.get_response(as_json=True)["outputs"][0]["datatype"] == "FP32"
    assert answer.as_numpy("nothing") is None


def test_a_model_that_is_not_ready(server: Server) -> None:
    with tritonclient.http.InferenceServerClient(server.http.address) as client:
        assert client.is_server_ready()
        assert not client.is_model_ready("broken")
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        assert client.is_server_ready()
        assert not client.is_model_ready("broken")


def test_a_server_that_is_not_there_is_no_answer_over_grpc() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and listens not
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with tritonclient.grpc.InferenceServerClient(address) as client:
            for ask in (client.is_server_live, client.is_server_ready):
                with pytest.raises(InferenceServerException) as caught:
                    ask()
                assert caught.value.status() == "StatusCode.UNAVAILABLE"
