# SPDX-License-Identifier: Apache-2.0
"""Our protos against those in Triton's client: every name, number, type and order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import descriptor_pb2
from tritonclient.grpc import model_config_pb2, service_pb2

if TYPE_CHECKING:
    from pathlib import Path

TRITON = {"model_config.proto": model_config_pb2, "grpc_service.proto": service_pb2}


@pytest.fixture(scope="module")
def ours(descriptors_path: Path) -> dict[str, Any]:
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors_path.read_bytes())
    return {file.name: file for file in files.file}


def triton_file(name: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto()
    TRITON[name].DESCRIPTOR.CopyToProto(file)
    return file


def message_rows(message: Any, scope: str) -> list[tuple[Any, ...]]:
    """List the fields of a message and of all it holds, in the order of their declaration."""
    name = f"{scope}.{message.name}"
    rows: list[tuple[Any, ...]] = [("message", name, message.options.map_entry)]
    for field in message.field:
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        kind = (field.label, field.type, field.type_name, oneof, field.proto3_optional)
        rows.append(("field", name, field.name, field.number, *kind))
    for nested in sorted(message.nested_type, key=lambda nested: str(nested.name)):
        rows += message_rows(nested, name)
    for enum in sorted(message.enum_type, key=lambda enum: str(enum.name)):
        rows += enum_rows(enum, name)
    return rows


def enum_rows(enum: Any, scope: str) -> list[tuple[Any, ...]]:
    return [("enum", scope, enum.name, value.name, value.number) for value in enum.value]


def file_rows(file: Any) -> list[tuple[Any, ...]]:
    """List everything in a file that reaches the wire."""
    rows: list[tuple[Any, ...]] = [("file", file.package, file.syntax, *file.dependency)]
    for message in sorted(file.message_type, key=lambda message: str(message.name)):
        rows += message_rows(message, file.package)
    for enum in sorted(file.enum_type, key=lambda enum: str(enum.name)):
        rows += enum_rows(enum, file.package)
    for service in file.service:
        for method in service.method:
            streams = (method.client_streaming, method.server_streaming)
            types = (method.input_type, method.output_type)
            rows.append(("method", service.name, method.name, *types, *streams))
    return rows


@pytest.mark.parametrize("name", TRITON)
def test_the_schema_is_tritons(ours: dict[str, Any], name: str) -> None:
    # A client older than a field lacks its row; a client newer than us would have more.
    missing = [row for row in file_rows(triton_file(name)) if row not in file_rows(ours[name])]
    assert not missing


@pytest.mark.parametrize("name", TRITON)
def test_the_schema_has_nothing_that_triton_has_not(ours: dict[str, Any], name: str) -> None:
    theirs = file_rows(triton_file(name))
    surplus = [row for row in file_rows(ours[name]) if row not in theirs]
    newer_than_some_clients = {
        "max_inflight_requests",  # ModelEnsembling, M087
        "model_namespace",  # ModelEnsembling.Step, M086
        "runtime",  # ModelConfig, M004
        "model_metrics",  # ModelConfig, M023
        "use_growable_memory",  # ModelSequenceBatching.State, M083
        "is_non_linear_format_io",  # ModelInput and ModelOutput, M030
    }
    names = {row[2] for row in surplus if row[0] == "field"}
    assert names <= newer_than_some_clients


def test_fields_are_declared_in_tritons_order(ours: dict[str, Any]) -> None:
    # The canonical JSON is printed in the order of declaration.
    theirs = [row for row in file_rows(triton_file("model_config.proto")) if row[0] == "field"]
    rows = [row for row in file_rows(ours["model_config.proto"]) if row in theirs]
    assert rows == theirs


def test_numbers_of_the_configuration(ours: dict[str, Any]) -> None:
    """Hold the numbers that the inventory names, whichever client is installed."""
    config = next(m for m in ours["model_config.proto"].message_type if m.name == "ModelConfig")
    numbers = {field.name: field.number for field in config.field}
    expected = {
        "name": 1,
        "platform": 2,
        "version_policy": 3,
        "max_batch_size": 4,
        "input": 5,
        "output": 6,
        "instance_group": 7,
        "default_model_filename": 8,
        "cc_model_filenames": 9,
        "metric_tags": 10,
        "dynamic_batching": 11,
        "optimization": 12,
        "sequence_batching": 13,
        "parameters": 14,
        "ensemble_scheduling": 15,
        "model_warmup": 16,
        "backend": 17,
        "model_operations": 18,
        "model_transaction_policy": 19,
        "batch_input": 20,
        "batch_output": 21,
        "model_repository_agents": 23,
        "response_cache": 24,
        "runtime": 25,
        "model_metrics": 26,
    }
    assert numbers == expected


def test_health_is_the_standard_protocol(ours: dict[str, Any]) -> None:
    health = ours["health.proto"]
    request, response = ".grpc.health.v1.HealthCheckRequest", ".grpc.health.v1.HealthCheckResponse"
    status = "grpc.health.v1.HealthCheckResponse"
    label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    string = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
    enum = descriptor_pb2.FieldDescriptorProto.TYPE_ENUM
    assert file_rows(health) == [
        ("file", "grpc.health.v1", "proto3"),
        ("message", request[1:], False),
        ("field", request[1:], "service", 1, label, string, "", "", False),
        ("message", response[1:], False),
        ("field", status, "status", 1, label, enum, f".{status}.ServingStatus", "", False),
        ("enum", status, "ServingStatus", "UNKNOWN", 0),
        ("enum", status, "ServingStatus", "SERVING", 1),
        ("enum", status, "ServingStatus", "NOT_SERVING", 2),
        ("enum", status, "ServingStatus", "SERVICE_UNKNOWN", 3),
        ("method", "Health", "Check", request, response, False, False),
        ("method", "Health", "Watch", request, response, False, True),
    ]
