# SPDX-License-Identifier: Apache-2.0
"""Options of the gRPC port: compression, forwarded metadata, restricted protocols, connection age
(triton.md C049, C056, C063-C065, P147, P148)."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from support.grpc_door import TIMEOUT_S, GrpcDoor, request, tensor
from support.grpc_stream import GrpcStream
from support.repository import COMMANDS, MODELS, write_models
from support.servers import Server, ServerStarter
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = (("triton-grpc-protocol-admin", "secret"),)


@pytest.fixture(scope="module")
def server(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with every option of these tests."""
    models = {"echo_fp32": MODELS["echo_fp32"], "commands": COMMANDS}
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    options = [
        "--grpc-infer-response-compression-level=high",
        "--grpc-header-forward-pattern=(my-.*|priority)",
        "--grpc-restricted-protocol=statistics,model-config:admin=secret",
    ]
    with starter.prepare("grpc_options", directory, options) as process:
        yield Server(process, starter.is_oracle)


def stub(door: GrpcDoor) -> service_pb2_grpc.GRPCInferenceServiceStub:
    return service_pb2_grpc.GRPCInferenceServiceStub(door.channel)


def zeros(count: int) -> Any:
    return request("echo_fp32", [tensor("INPUT0", "FP32", [count])], [bytes(4 * count)])


@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
def test_compressed_requests_are_read(grpc_door: GrpcDoor, compression: Any) -> None:
    reply = stub(grpc_door).ModelInfer(zeros(10_000), compression=compression, timeout=TIMEOUT_S)
    assert list(reply.raw_output_contents) == [bytes(40_000)]


def test_inference_responses_are_compressed(grpc_door: GrpcDoor) -> None:
    reply, call = stub(grpc_door).ModelInfer.with_call(zeros(10_000), timeout=TIMEOUT_S)
    assert list(reply.raw_output_contents) == [bytes(40_000)]
    # The library hides the header itself; a stream shows what it was.
    assert call.code() is grpc.StatusCode.OK


def seen_by_the_model(response: Any) -> Any:
    (data,) = response.raw_output_contents
    return json.loads(data[4:])


def command(name: str) -> Any:
    data = struct.pack("<I", len(name)) + name.encode()
    return request("commands", [tensor("COMMAND", "BYTES", [1])], [data])


METADATA = (("my-tenant", "blue"), ("other", "x"))


def test_matching_metadata_reaches_the_model(grpc_door: GrpcDoor) -> None:
    reply = stub(grpc_door).ModelInfer(command("parameters"), metadata=METADATA, timeout=TIMEOUT_S)
    assert seen_by_the_model(reply) == {"my-tenant": "blue"}


def test_matching_metadata_reaches_the_model_on_a_stream(grpc_door: GrpcDoor) -> None:
    stream = GrpcStream(grpc_door.channel, METADATA)
    stream.send(command("parameters"))
    (response,) = stream.rest()
    assert seen_by_the_model(response.infer_response) == {"my-tenant": "blue"}


@pytest.mark.ours("2.51 takes any metadata that matches")
def test_metadata_with_a_reserved_name_is_refused(grpc_door: GrpcDoor) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub(grpc_door).ModelInfer(
            command("parameters"), metadata=(("priority", "1"),), timeout=TIMEOUT_S
        )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith("Header 'priority' is reserved")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("ModelStatistics", pb.ModelStatisticsRequest(name="commands")),
        ("ModelConfig", pb.ModelConfigRequest(name="commands")),
    ],
)
def test_restricted_protocols_need_their_key(
    grpc_door: GrpcDoor, method: str, message: Any
) -> None:
    text = "This protocol is restricted, expecting header 'triton-grpc-protocol-admin'"
    assert grpc_door.refusal(method, message) == ("UNAVAILABLE", text)
    getattr(stub(grpc_door), method)(message, metadata=KEY, timeout=TIMEOUT_S)


def test_other_protocols_stay_open(grpc_door: GrpcDoor) -> None:
    assert grpc_door.call("ServerLive", pb.ServerLiveRequest()).live


def test_old_connections_end_and_are_made_anew(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = write_models(tmp_path_factory.mktemp("models"), {"echo_fp32": MODELS["echo_fp32"]})
    options = ["--grpc-max-connection-age=100", "--grpc-max-connection-age-grace=60000"]
    with starter.prepare("grpc_age", directory, options) as process:
        door = GrpcDoor(process.endpoints.grpc)
        states: list[grpc.ChannelConnectivity] = []
        door.channel.subscribe(states.append)
        for _ in range(5):
            assert door.call("ServerLive", pb.ServerLiveRequest()).live
            seen = len(states)
            # The server ends the connection without a call's doing; the next call makes one.
            wait_until(
                lambda seen=seen: grpc.ChannelConnectivity.IDLE in states[seen:], 20, "its end"
            )
        door.close()
