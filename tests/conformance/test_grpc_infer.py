# SPDX-License-Identifier: Apache-2.0
"""Inference over gRPC and its refusals (triton.md sections 4.12, 4.13 and 4.18)."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from support.grpc_door import GrpcDoor, parameter, request, tensor
from support.tensors import DATA_TYPES, DataType
from tritonclient.grpc import service_pb2 as pb

FOUR = struct.pack("<4f", 1, 2, 3, 4)
PREFIX = "[request id: <id_unknown>] "
TYPED = [each for each in DATA_TYPES if each.contents_field is not None]
Output = pb.ModelInferRequest.InferRequestedOutputTensor


def add_sub_tensors(**contents: Any) -> list[Any]:
    """Return the inputs of `add_sub`; the contents go to both."""
    return [tensor(name, "FP32", [4], **contents) for name in ("INPUT0", "INPUT1")]


def command(name: str, parameters: dict[str, Any] | None = None) -> Any:
    """Return a request to the model that does as it is told."""
    inputs = [tensor("COMMAND", "BYTES", [1], bytes_contents=[name.encode()])]
    return request("commands", inputs, parameters=parameters or {})


@pytest.mark.parametrize("kind", DATA_TYPES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("suffix", ["", "_batched"])
def test_every_type_comes_back_raw(grpc_door: GrpcDoor, kind: DataType, suffix: str) -> None:
    shape = [2, 3] if suffix else [6]
    model = f"echo_{kind.name.lower()}{suffix}"
    reply = grpc_door.infer(request(model, [tensor("INPUT0", kind.name, shape)], [kind.raw]))
    assert [(out.name, out.datatype, list(out.shape)) for out in reply.outputs] == [
        ("OUTPUT0", kind.name, shape)
    ]
    assert list(reply.raw_output_contents) == [kind.raw]


@pytest.mark.parametrize("kind", TYPED, ids=lambda kind: kind.name)
@pytest.mark.parametrize("suffix", ["", "_batched"])
def test_every_type_comes_back_from_typed_contents(
    grpc_door: GrpcDoor, kind: DataType, suffix: str
) -> None:
    shape = [2, 3] if suffix else [6]
    values = list(kind.array) if kind.name == "BYTES" else kind.values
    inputs = [tensor("INPUT0", kind.name, shape, **{str(kind.contents_field): values})]
    reply = grpc_door.infer(request(f"echo_{kind.name.lower()}{suffix}", inputs))
    assert list(reply.raw_output_contents) == [kind.raw]
    assert not reply.outputs[0].HasField("contents")


def test_reply_names_model_version_and_id(grpc_door: GrpcDoor) -> None:
    reply = grpc_door.infer(request("add_sub", add_sub_tensors(), [FOUR, FOUR], id="42"))
    assert (reply.model_name, reply.model_version, reply.id) == ("add_sub", "1", "42")
    assert [out.name for out in reply.outputs] == ["OUTPUT0", "OUTPUT1"]
    assert list(reply.raw_output_contents) == [struct.pack("<4f", 2, 4, 6, 8), bytes(16)]


def test_requested_outputs(grpc_door: GrpcDoor) -> None:
    outputs = [Output(name="OUTPUT1")]
    reply = grpc_door.infer(request("add_sub", add_sub_tensors(), [FOUR, FOUR], outputs=outputs))
    assert [out.name for out in reply.outputs] == ["OUTPUT1"]
    assert len(reply.raw_output_contents) == 1


def test_zero_sized_tensor(grpc_door: GrpcDoor) -> None:
    reply = grpc_door.infer(request("echo_fp32", [tensor("INPUT0", "FP32", [0])], [b""]))
    assert list(reply.outputs[0].shape) == [0]
    assert list(reply.raw_output_contents) == [b""]


def test_custom_parameters_reach_the_model(grpc_door: GrpcDoor) -> None:
    sent = {
        "integer": parameter(int64_param=5),
        "boolean": parameter(bool_param=True),
        "text": parameter(string_param="x"),
        "real": parameter(double_param=1.5),
    }
    reply = grpc_door.infer(command("parameters", sent))
    seen = json.loads(reply.raw_output_contents[0][4:])
    assert seen == {"integer": 5, "boolean": True, "text": "x", "real": 1.5}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sequence_id", {"int64_param": 5}),
        ("sequence_id", {"string_param": "five"}),
        ("sequence_start", {"bool_param": True}),
        ("sequence_end", {"bool_param": True}),
        ("priority", {"int64_param": 1}),
        ("priority", {"uint64_param": 1}),
        ("timeout", {"int64_param": 60_000_000}),
        ("triton_enable_empty_final_response", {"bool_param": True}),
    ],
)
def test_parameters_with_a_meaning_are_kept_from_the_model(
    grpc_door: GrpcDoor, name: str, value: dict[str, Any]
) -> None:
    reply = grpc_door.infer(command("parameters", {name: parameter(**value)}))
    assert reply.raw_output_contents[0][4:] == b"{}"


CUSTOM = "expected int64_param, bool_param, or string_param."


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("custom", {"uint64_param": 5}, f"invalid value type for 'custom' parameter, {CUSTOM}"),
        ("custom", {}, f"invalid value type for 'custom' parameter, {CUSTOM}"),
        (
            "triton_custom",
            {"int64_param": 1},
            "parameter keys starting with 'triton_' are reserved for Triton usage. Only the "
            "following keys starting with 'triton_' are allowed: "
            "triton_enable_empty_final_response",
        ),
        (
            "sequence_id",
            {"bool_param": True},
            "invalid value type for 'sequence_id' parameter, expected int64_param or string_param.",
        ),
        (
            "sequence_start",
            {"int64_param": 1},
            "invalid value type for 'sequence_start' parameter, expected bool_param.",
        ),
        (
            "sequence_end",
            {"string_param": "x"},
            "invalid value type for 'sequence_end' parameter, expected bool_param.",
        ),
        ("priority", {"int64_param": -1}, "invalid value for 'priority', expected value >= 0."),
        (
            "priority",
            {"string_param": "1"},
            "invalid value type for 'priority' parameter, expected int64_param or uint64_param.",
        ),
        (
            "timeout",
            {"string_param": "1"},
            "invalid value type for 'timeout' parameter, expected int64_param.",
        ),
    ],
)
def test_parameter_of_a_wrong_type(
    grpc_door: GrpcDoor, name: str, value: dict[str, Any], text: str
) -> None:
    refusal = grpc_door.refusal("ModelInfer", command("ok", {name: parameter(**value)}))
    assert refusal == ("INVALID_ARGUMENT", text)


BOTH = (
    "contents field must not be specified when using raw_input_contents for 'INPUT0' for model "
    "'add_sub'"
)


@pytest.mark.parametrize(
    ("inputs", "raw", "text"),
    [
        (add_sub_tensors(fp32_contents=[1, 2, 3, 4]), [FOUR, FOUR], BOTH),
        (
            [tensor("INPUT0", "FP32", [4], fp32_contents=[1, 2, 3, 4]), add_sub_tensors()[1]],
            [FOUR],
            BOTH,
        ),
        (
            add_sub_tensors(),
            [FOUR],
            "unable to find data for input tensor 'INPUT1' for model 'add_sub' in request.",
        ),
        (
            add_sub_tensors(),
            [],
            "unable to find data for input tensor 'INPUT0' for model 'add_sub' in request.",
        ),
        (
            add_sub_tensors(),
            [FOUR[:8], FOUR],
            PREFIX + "input byte size mismatch for input 'INPUT0' for model 'add_sub'. Expected "
            "16, got 8",
        ),
        (
            [
                tensor("INPUT0", "FP32", [4], fp32_contents=[1, 2, 3]),
                tensor("INPUT1", "FP32", [4], fp32_contents=[1, 2, 3, 4]),
            ],
            [],
            PREFIX + "input byte size mismatch for input 'INPUT0' for model 'add_sub'. Expected "
            "16, got 12",
        ),
        (
            add_sub_tensors(int_contents=[1, 2, 3, 4]),
            [],
            "unexpected explicit tensor data for input tensor 'INPUT0' for model 'add_sub' of "
            "type 'INT32', expected datatype 'FP32'",
        ),
        (
            [tensor("INPUT0", "FP99", [4]), add_sub_tensors()[1]],
            [FOUR, FOUR],
            PREFIX + "inference input 'INPUT0' data-type is '<invalid>', but model 'add_sub' "
            "expects 'FP32'",
        ),
        (
            [tensor("INPUT0", "INT32", [4]), add_sub_tensors()[1]],
            [FOUR, FOUR],
            PREFIX + "inference input 'INPUT0' data-type is 'INT32', but model 'add_sub' expects "
            "'FP32'",
        ),
        *(
            (
                [tensor("INPUT0", "FP32", shape), add_sub_tensors()[1]],
                [FOUR, FOUR],
                PREFIX + "unexpected shape for input 'INPUT0' for model 'add_sub'. Expected [4], "
                f"got {str(shape).replace(' ', '')}. ",
            )
            for shape in ([2, 2], [-4], [2**32, 2**32])
        ),
        (
            add_sub_tensors()[:1],
            [FOUR],
            PREFIX + "expected 2 inputs but got 1 inputs for model 'add_sub'. Got input(s) "
            "['INPUT0'], but missing required input(s) ['INPUT1']. Please provide all required "
            "input(s).",
        ),
        (
            add_sub_tensors()[:1] * 2,
            [FOUR, FOUR],
            PREFIX + "input 'INPUT0' already exists in request",
        ),
        (
            [add_sub_tensors()[0], tensor("OTHER", "FP32", [4])],
            [FOUR, FOUR],
            "unexpected inference input 'OTHER' for model 'add_sub'",
        ),
    ],
)
def test_inputs_that_do_not_fit_the_model(
    grpc_door: GrpcDoor, inputs: list[Any], raw: list[bytes], text: str
) -> None:
    refusal = grpc_door.refusal("ModelInfer", request("add_sub", inputs, raw))
    assert refusal == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize("kind", ["FP16", "BF16"])
def test_half_floats_have_no_typed_contents(grpc_door: GrpcDoor, kind: str) -> None:
    inputs = [tensor("INPUT0", kind, [1], fp32_contents=[1.0])]
    refusal = grpc_door.refusal("ModelInfer", request(f"echo_{kind.lower()}", inputs))
    assert refusal == (
        "INVALID_ARGUMENT",
        f"unexpected explicit tensor data for input tensor 'INPUT0' for model "
        f"'echo_{kind.lower()}' of type 'FP32', expected datatype '{kind}'",
    )


@pytest.mark.parametrize(
    ("model", "shape"), [("echo_fp32", [2**62]), ("two_variable_dims", [2**32, 2**32])]
)
def test_dims_whose_product_overflows(grpc_door: GrpcDoor, model: str, shape: list[int]) -> None:
    refusal = grpc_door.refusal(
        "ModelInfer", request(model, [tensor("INPUT0", "FP32", shape)], [FOUR])
    )
    assert refusal[0] == "INVALID_ARGUMENT"
    assert "'INPUT0'" in refusal[1]


@pytest.mark.parametrize(
    ("model", "fields", "code", "text"),
    [
        ("nothing", {}, "NOT_FOUND", "Request for unknown model: 'nothing' is not found"),
        ("", {}, "NOT_FOUND", "Request for unknown model: '' is not found"),
        (
            "add_sub",
            {"model_version": "9"},
            "NOT_FOUND",
            "Request for unknown model: 'add_sub' version 9 is not found",
        ),
        (
            "add_sub",
            {"model_version": "one"},
            "INVALID_ARGUMENT",
            "failed to get model version from specified version string 'one' (details: stol), "
            "version should be an integral value > 0",
        ),
        (
            "decoupled",
            {},
            "UNIMPLEMENTED",
            "ModelInfer RPC doesn't support models with decoupled transaction policy",
        ),
        (
            "add_sub",
            {"outputs": [Output(name="OTHER")]},
            "INVALID_ARGUMENT",
            "unexpected inference output 'OTHER' for model 'add_sub'",
        ),
    ],
)
def test_request_that_is_refused(
    grpc_door: GrpcDoor, model: str, fields: dict[str, Any], code: str, text: str
) -> None:
    made = request(model, add_sub_tensors(), [FOUR, FOUR], **fields)
    assert grpc_door.refusal("ModelInfer", made) == (code, text)


def test_request_id_is_named(grpc_door: GrpcDoor) -> None:
    made = request("add_sub", add_sub_tensors()[:1], [FOUR], id="abc")
    assert grpc_door.refusal("ModelInfer", made)[1].startswith(
        "[request id: abc] expected 2 inputs"
    )


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [("error", "INTERNAL", "told to refuse"), ("not_found", "NOT_FOUND", "told to miss")],
)
def test_error_of_a_python_model(grpc_door: GrpcDoor, name: str, code: str, text: str) -> None:
    assert grpc_door.refusal("ModelInfer", command(name)) == (code, text)


def test_exception_in_a_python_model(grpc_door: GrpcDoor) -> None:
    code, text = grpc_door.refusal("ModelInfer", command("fail"))
    assert code == "INTERNAL"
    assert text.startswith(
        "Failed to process the request(s) for model 'commands_0', message: ValueError: told to "
        "fail\n\nAt:\n"
    )


def test_large_message(grpc_door: GrpcDoor) -> None:
    """More than the four MiB that gRPC allows where nobody says otherwise."""
    data = bytes(range(256)) * (10 << 12)
    made = request("echo_uint8", [tensor("INPUT0", "UINT8", [len(data)])], [data])
    assert grpc_door.infer(made).raw_output_contents[0] == data
