# SPDX-License-Identifier: Apache-2.0
"""The binary tensor extension of HTTP, raw requests included (triton.md section 4.6)."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from support.tensors import DATA_TYPES, DataType
from support.wire import HEADER_LENGTH, HttpDoor, add_sub_inputs, tensor

FOUR = struct.pack("<4f", 1, 2, 3, 4)
ZEROES = bytes(16)
BINARY_OUTPUT = {"binary_data_output": True}


def add_sub_head(first: int = 16, second: int = 16, **members: object) -> dict[str, Any]:
    inputs = [
        tensor("INPUT0", "FP32", [4], binary_data_size=first),
        tensor("INPUT1", "FP32", [4], binary_data_size=second),
    ]
    return {"inputs": inputs, **members}


@pytest.mark.parametrize("kind", DATA_TYPES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("suffix", ["", "_batched"])
def test_every_type_comes_back(http: HttpDoor, kind: DataType, suffix: str) -> None:
    shape = [2, 3] if suffix else [6]
    inputs = [tensor("INPUT0", kind.name, shape, binary_data_size=len(kind.raw))]
    head = {"inputs": inputs, "parameters": BINARY_OUTPUT}
    answer = http.infer_binary(f"echo_{kind.name.lower()}{suffix}", head, kind.raw)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    document, data = answer.split()
    assert data == kind.raw
    assert document["outputs"] == [
        {
            "name": "OUTPUT0",
            "datatype": kind.name,
            "shape": shape,
            "parameters": {"binary_data_size": len(kind.raw)},
        }
    ]


def test_binary_input_is_answered_in_json_unless_asked_otherwise(http: HttpDoor) -> None:
    answer = http.infer_binary("add_sub", add_sub_head(), FOUR + ZEROES)
    assert HEADER_LENGTH.lower() not in answer.headers
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["outputs"][0]["data"] == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("outputs", "default", "binary"),
    [
        ([("OUTPUT0", True)], None, ["OUTPUT0"]),
        ([("OUTPUT0", True), ("OUTPUT1", None)], None, ["OUTPUT0"]),
        ([("OUTPUT0", None), ("OUTPUT1", True)], None, ["OUTPUT1"]),
        ([("OUTPUT0", False), ("OUTPUT1", True)], True, ["OUTPUT1"]),
        ([], True, ["OUTPUT0", "OUTPUT1"]),
    ],
)
def test_each_output_chooses_its_form(
    http: HttpDoor, outputs: list[tuple[str, bool | None]], default: bool | None, binary: list[str]
) -> None:
    requested = [
        {"name": name} if choice is None else {"name": name, "parameters": {"binary_data": choice}}
        for name, choice in outputs
    ]
    parameters = {} if default is None else {"binary_data_output": default}
    answer = http.infer("add_sub", add_sub_inputs(), outputs=requested, parameters=parameters)
    document, data = answer.split()
    assert [out["name"] for out in document["outputs"] if "parameters" in out] == binary
    assert len(data) == 16 * len(binary)


def test_json_and_binary_inputs_mix(http: HttpDoor) -> None:
    inputs = [add_sub_inputs()[0], tensor("INPUT1", "FP32", [4], binary_data_size=16)]
    answer = http.infer_binary("add_sub", {"inputs": inputs}, FOUR)
    assert answer.json["outputs"][0]["data"] == [2.0, 4.0, 6.0, 8.0]


def test_json_only_request_may_carry_the_length_header(http: HttpDoor) -> None:
    answer = http.infer_binary("add_sub", {"inputs": add_sub_inputs()}, b"")
    assert answer.status == 200


def test_zero_sized_binary_output_sends_no_length_header(http: HttpDoor) -> None:
    inputs = [tensor("INPUT0", "FP32", [0], binary_data_size=0)]
    answer = http.infer_binary("echo_fp32", {"inputs": inputs, "parameters": BINARY_OUTPUT}, b"")
    assert answer.status == 200
    assert HEADER_LENGTH.lower() not in answer.headers
    assert answer.json["outputs"][0]["parameters"] == {"binary_data_size": 0}


@pytest.mark.parametrize("length", ["1000", "-1"])
def test_length_header_out_of_range(http: HttpDoor, length: str) -> None:
    head = add_sub_head()
    answer = http.infer_binary("add_sub", head, FOUR + FOUR, length)
    body = len(json.dumps(head)) + 32
    assert answer.status == 400
    assert answer.error == f"inference header size should be in range (0, {body}), got: {length}"


@pytest.mark.parametrize(
    ("head", "data", "text"),
    [
        (
            add_sub_head(),
            b"",
            "unexpected size for input 'INPUT0', expecting 16 additional bytes for model 'add_sub'",
        ),
        (
            add_sub_head(),
            FOUR + FOUR[:8],
            "unexpected size for input 'INPUT1', expecting 8 additional bytes for model 'add_sub'",
        ),
        (add_sub_head(), FOUR * 2 + b"x", "unexpected additional input data for model 'add_sub'"),
        (
            {"inputs": add_sub_inputs()},
            b"x",
            "unexpected additional input data for model 'add_sub'",
        ),
        (
            add_sub_head(8),
            FOUR[:8] + FOUR,
            "[request id: <id_unknown>] input byte size mismatch for input 'INPUT0' for model "
            "'add_sub'. Expected 16, got 8",
        ),
        (
            add_sub_head(20),
            FOUR + FOUR[:4] + FOUR,
            "[request id: <id_unknown>] input byte size mismatch for input 'INPUT0' for model "
            "'add_sub'. Expected 16, got 20",
        ),
        (
            {"inputs": add_sub_inputs(parameters={"binary_data_size": 16})},
            FOUR,
            "Input must set only one of the following fields: 'data', 'binary_data_size' in "
            "'parameters', 'shared_memory_region' in 'parameters'. But set 'data' "
            "'binary_data_size'",
        ),
    ],
    ids=["none", "short", "long", "unannounced", "too small", "too big", "data as well"],
)
def test_sizes_that_do_not_fit(
    http: HttpDoor, head: dict[str, Any], data: bytes, text: str
) -> None:
    answer = http.infer_binary("add_sub", head, data)
    assert answer.status == 400
    assert answer.error == text


def test_binary_input_without_the_length_header(http: HttpDoor) -> None:
    body = json.dumps(add_sub_head()).encode()
    answer = http.post("/v2/models/add_sub/infer", body)
    assert answer.status == 400
    assert answer.error == (
        "unexpected size for input 'INPUT0', expecting 16 additional bytes for model 'add_sub'"
    )


PREFIX = "[request id: <id_unknown>] "


@pytest.mark.parametrize(
    ("data", "count", "text"),
    [
        (
            b"\5\0\0\0ab",
            1,
            "incomplete string data for inference input 'INPUT0', expecting string of length 5 "
            "but only 2 bytes available",
        ),
        (
            b"\xff\xff\xff\xff",
            1,
            "incomplete string data for inference input 'INPUT0', expecting string of length "
            "4294967295 but only 0 bytes available",
        ),
        (
            b"\1\0",
            1,
            PREFIX + "incomplete string length indicator for inference input 'INPUT0' for model "
            "'echo_bytes', expecting 4 bytes but only 2 bytes available. Please make sure the "
            "string length indicator is in one buffer.",
        ),
        (
            b"\1\0\0\0a\1\0\0\0b",
            1,
            PREFIX + "unexpected number of string elements 2 for inference input 'INPUT0' for "
            "model 'echo_bytes', expecting 1",
        ),
        (
            b"\1\0\0\0a",
            2,
            PREFIX + "expected 2 string elements for inference input 'INPUT0' for model "
            "'echo_bytes', got 1",
        ),
        (
            b"",
            1,
            PREFIX + "expected 1 string elements for inference input 'INPUT0' for model "
            "'echo_bytes', got 0",
        ),
    ],
    ids=["cut", "huge length", "cut length", "too many", "too few", "none"],
)
def test_strings_that_do_not_fit(http: HttpDoor, data: bytes, count: int, text: str) -> None:
    head = {"inputs": [tensor("INPUT0", "BYTES", [count], binary_data_size=len(data))]}
    answer = http.infer_binary("echo_bytes", head, data)
    assert answer.status == 400
    assert answer.error == text


@pytest.mark.parametrize(
    ("model", "data", "shape", "output"),
    [
        ("echo_fp32", FOUR, [4], FOUR),
        ("echo_fp16", FOUR, [8], FOUR),
        ("matrix", FOUR, [2, 2], FOUR),
        ("one_string", b"hello", [1], b"\5\0\0\0hello"),
    ],
)
def test_raw_request(
    http: HttpDoor, model: str, data: bytes, shape: list[int], output: bytes
) -> None:
    answer = http.post(f"/v2/models/{model}/infer", data, {HEADER_LENGTH: "0"})
    assert answer.status == 200
    document, binary = answer.split()
    assert document["outputs"][0]["shape"] == shape
    assert binary == output


def test_raw_request_to_a_batching_model_is_one_row(http: HttpDoor) -> None:
    answer = http.post("/v2/models/echo_fp32_batched/infer", FOUR, {HEADER_LENGTH: "0"})
    assert answer.split()[0]["outputs"][0]["shape"] == [1, 4]


@pytest.mark.parametrize(
    ("model", "data", "text"),
    [
        (
            "add_sub",
            FOUR,
            "Raw request must only have 1 input (found 1) to be deduced but got 2 inputs in "
            "'add_sub' model configuration",
        ),
        (
            "two_variable_dims",
            FOUR,
            "The shape of the raw input 'INPUT0' can not be deduced because there are more than "
            "one variable-sized dimension",
        ),
        (
            "echo_bytes",
            b"hello",
            "For BYTE datatype raw input 'INPUT0', the model must have input shape [1]",
        ),
        (
            "matrix",
            FOUR[:12],
            "input byte size mismatch for input 'raw_input' for model 'matrix'. Expected 8, got 12",
        ),
    ],
)
def test_raw_request_that_cannot_be_understood(
    http: HttpDoor, model: str, data: bytes, text: str
) -> None:
    answer = http.post(f"/v2/models/{model}/infer", data, {HEADER_LENGTH: "0"})
    assert answer.status == 400
    assert answer.error == PREFIX + text
