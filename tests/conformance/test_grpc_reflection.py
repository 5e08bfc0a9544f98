# SPDX-License-Identifier: Apache-2.0
"""Server reflection, which Triton lacks (triton.md P132), and health (P131)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from support.servers import Server
from tritonclient.grpc import service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.grpc_door import GrpcDoor
    from support.servers import ServerStarter


@pytest.fixture(scope="module")
def server(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without any model."""
    with starter.prepare("reflection", tmp_path_factory.mktemp("models")) as process:
        yield Server(process, starter.is_oracle)


OURS = pytest.mark.ours("2.51 offers no reflection")


@OURS
def test_services_are_listed(grpc_door: GrpcDoor) -> None:
    database = ProtoReflectionDescriptorDatabase(grpc_door.channel)
    services = set(database.get_services())
    assert services == {"inference.GRPCInferenceService", "grpc.health.v1.Health"}


@OURS
def test_methods_can_be_called_by_what_reflection_tells(grpc_door: GrpcDoor) -> None:
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(grpc_door.channel))
    service = pool.FindServiceByName("inference.GRPCInferenceService")
    assert len(service.methods) == 20
    method = service.FindMethodByName("ServerMetadata")
    reply = GetMessageClass(method.output_type)()
    reply.ParseFromString(grpc_door.raw_call("/inference.GRPCInferenceService/ServerMetadata", b""))
    known = grpc_door.call("ServerMetadata", pb.ServerMetadataRequest())
    assert reply.SerializeToString() == known.SerializeToString()


@OURS
@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_versions_answer(grpc_door: GrpcDoor, version: str) -> None:
    call = grpc_door.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    questions = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        for symbol in ("inference.ModelInferRequest", "inference.Nope")
    ]
    found, missing = call(iter(questions), timeout=20)
    assert len(found.file_descriptor_response.file_descriptor_proto) == 2
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert missing.original_request == questions[1]


@OURS
def test_broken_question_ends_the_call(grpc_door: GrpcDoor) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(grpc_door.channel)
    asked = grpc_door.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=bytes,
        response_deserializer=bytes,
    )
    with pytest.raises(grpc.RpcError) as caught:
        list(asked(iter([b"\xff"]), timeout=20))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    assert len(list(stub.ServerReflectionInfo(iter([question]), timeout=20))) == 1


def test_health(grpc_door: GrpcDoor) -> None:
    # HealthCheckResponse with status SERVING.
    assert grpc_door.raw_call("/grpc.health.v1.Health/Check", b"") == b"\x08\x01"
    with pytest.raises(grpc.RpcError) as caught:
        grpc_door.raw_call("/grpc.health.v1.Health/Watch", b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
