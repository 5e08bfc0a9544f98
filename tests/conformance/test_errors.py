# SPDX-License-Identifier: Apache-2.0
"""Statuses and texts of refused inference requests over HTTP (triton.md 4.2, 4.4, 4.18)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from support.wire import HttpDoor, add_sub_inputs, tensor

if TYPE_CHECKING:
    from support.servers import Server

PREFIX = "[request id: <id_unknown>] "
INFER = "/v2/models/add_sub/infer"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "Missing a name for object member. at 1"),
        (b"xyz", "Invalid value. at 0"),
        (b"{} trailing", "The document root must not be followed by other values. at 3"),
        (b"\xff\xfe{}", "Invalid value. at 0"),
        (b'{"inputs":[],}', "Missing a name for object member. at 13"),
        (b'{"x" 1}', "Missing a colon after a name of object member. at 5"),
        (b'{"x":"abc', "Missing a closing quotation mark in string. at 9"),
        (b'{"x":1 2}', "Missing a comma or '}' after an object member. at 7"),
        (b'{"x":[1 2]}', "Missing a comma or ']' after an array element. at 8"),
        (b'{"x":"\\q"}', "Invalid escape character in string. at 6"),
        (b'{"x":"\\ud800"}', "The surrogate pair in string is invalid. at 6"),
        (b'{"x":"\\u00g0"}', "Incorrect hex digit after \\u escape in string. at 6"),
        (b'{"x":1e999}', "Number too big to be stored in double. at 5"),
        (b'{"x":1.}', "Miss fraction part in number. at 7"),
        (b'{"x":1e}', "Miss exponent in number. at 7"),
    ],
)
def test_text_that_is_not_json(server: Server, body: bytes, text: str) -> None:
    answer = server.http.post(INFER, body)
    # 2.51 answers 500; the Triton we follow made it 400 (P060).
    assert answer.status == server.choose(current=400, triton_2_51=500)
    assert answer.error == f"failed to parse the request JSON buffer: {text}"


@pytest.mark.parametrize("root", [b"{}", b"[]", b"5", b"null"])
def test_json_without_inputs(http: HttpDoor, root: bytes) -> None:
    answer = http.post(INFER, root)
    assert answer.status == 500
    assert answer.error == (
        "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": 5}, "Unable to parse 'name': attempt to access JSON non-string as string"),
        (
            {"datatype": 5},
            "Unable to parse 'datatype': attempt to access JSON non-string as string",
        ),
        ({"shape": 5}, "Unable to parse 'shape': attempt to access JSON non-array as array"),
        *(
            (
                {"shape": shape},
                "Unable to parse 'shape': attempt to access JSON non-unsigned-integer as "
                "unsigned-integer",
            )
            for shape in (["4"], [4.0], [-4], [-1])
        ),
        ({"data": 5}, "Unable to parse 'data': attempt to access JSON non-array as array"),
        (
            {"data": [1, 2, 3]},
            "Unable to parse 'data': Shape does not match true shape of 'data' field",
        ),
        (
            {"data": [1, 2, 3, 4, 5]},
            "Unable to parse 'data': Shape does not match true shape of 'data' field",
        ),
        (
            {"data": [1, 2, 3, "4"]},
            "Unable to parse 'data': attempt to access JSON non-number as double",
        ),
        (
            {"data": [1, 2, 3, None]},
            "Unable to parse 'data': attempt to access JSON non-number as double",
        ),
        (
            {"data": [1, 2, 3, True]},
            "Unable to parse 'data': attempt to access JSON non-number as double",
        ),
        (
            {"parameters": {"binary_data_size": -16}, "data": None},
            "Unable to parse 'binary_data_size': attempt to access JSON non-unsigned-integer as "
            "unsigned-integer",
        ),
    ],
)
def test_member_of_an_input_with_a_wrong_json_type(
    http: HttpDoor, change: dict[str, Any], text: str
) -> None:
    inputs = add_sub_inputs(**change)
    inputs[0] = {key: value for key, value in inputs[0].items() if value is not None}
    answer = http.infer("add_sub", inputs)
    assert (answer.status, answer.error) == (500, text)


@pytest.mark.parametrize("member", ["name", "datatype", "shape"])
def test_input_without_a_required_member(http: HttpDoor, member: str) -> None:
    inputs = add_sub_inputs()
    del inputs[0][member]
    answer = http.infer("add_sub", inputs)
    assert answer.status == 500
    assert answer.error == (
        f"Unable to parse '{member}': attempt to access non-existing object member '{member}'"
    )


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("INT64", "9223372036854775808", "non-signed-integer as signed-integer"),
        ("INT64", "1.5", "non-signed-integer as signed-integer"),
        ("INT8", '"1"', "non-signed-integer as signed-integer"),
        ("UINT64", "-1", "non-unsigned-integer as unsigned-integer"),
        ("BOOL", "1", "non-boolean as boolean"),
    ],
)
def test_value_that_the_type_cannot_hold(http: HttpDoor, kind: str, value: str, text: str) -> None:
    body = (
        f'{{"inputs":[{{"name":"INPUT0","datatype":"{kind}","shape":[1],"data":[{value}]}}]}}'
    ).encode()
    answer = http.post(f"/v2/models/echo_{kind.lower()}/infer", body)
    assert answer.status == 500
    assert answer.error == f"Unable to parse 'data': attempt to access JSON {text}"


def test_number_in_a_string_tensor(http: HttpDoor) -> None:
    answer = http.infer("echo_bytes", [tensor("INPUT0", "BYTES", [1], [5])])
    assert answer.status == 500
    assert answer.error == (
        "Unable to parse JSON bytes array: attempt to access JSON non-string as string"
    )


FIELDS = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in "
    "'parameters', 'shared_memory_region' in 'parameters'. But "
)
NOTE = (
    " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to "
    "be prepended to each input shape. If you want to specify the full shape including the batch "
    "dim in your input dims config, try setting max_batch_size to zero. See the model "
    "configuration docs for more info on max_batch_size."
)


def pair_inputs(
    first: list[int] | None = None, second: list[int] | None = None
) -> list[dict[str, Any]]:
    shapes = [[1, 4] if first is None else first, [1, 3] if second is None else second]
    sizes = [shape[0] * ([*shape, 1])[1] if shape else 1 for shape in shapes]
    return [
        tensor(f"INPUT{index}", "FP32", shape, [0.0] * size)
        for index, (shape, size) in enumerate(zip(shapes, sizes, strict=True))
    ]


@pytest.mark.parametrize(
    ("model", "inputs", "text"),
    [
        (
            "add_sub",
            [tensor("INPUT0", "FP32", [4]), add_sub_inputs()[1]],
            FIELDS + "no field is set",
        ),
        ("add_sub", add_sub_inputs(datatype="FP99"), "invalid datatype for input INPUT0"),
        ("add_sub", add_sub_inputs(datatype="TYPE_FP32"), "invalid datatype for input INPUT0"),
        (
            "add_sub",
            add_sub_inputs(datatype="INT32", data=[1, 2, 3, 4]),
            PREFIX + "inference input 'INPUT0' data-type is 'INT32', but model 'add_sub' expects "
            "'FP32'",
        ),
        (
            "add_sub",
            add_sub_inputs(shape=[2, 2]),
            PREFIX + "unexpected shape for input 'INPUT0' for model 'add_sub'. Expected [4], got "
            "[2,2]. ",
        ),
        (
            "add_sub",
            add_sub_inputs(shape=[]),
            PREFIX + "unexpected shape for input 'INPUT0' for model 'add_sub'. Expected [4], got "
            "[]. ",
        ),
        (
            "matrix",
            [tensor("INPUT0", "FP32", [3, 2], [0.0] * 6)],
            PREFIX + "unexpected shape for input 'INPUT0' for model 'matrix'. Expected [2,-1], "
            "got [3,2]. ",
        ),
        (
            "add_sub",
            add_sub_inputs()[:1],
            PREFIX + "expected 2 inputs but got 1 inputs for model 'add_sub'. Got input(s) "
            "['INPUT0'], but missing required input(s) ['INPUT1']. Please provide all required "
            "input(s).",
        ),
        (
            "add_sub",
            [],
            PREFIX + "expected 2 inputs but got 0 inputs for model 'add_sub'. Got input(s) [], "
            "but missing required input(s) ['INPUT0','INPUT1']. Please provide all required "
            "input(s).",
        ),
        (
            "optional_input",
            [],
            PREFIX + "expected number of inputs between 1 and 2 but got 0 inputs for model "
            "'optional_input'. Got input(s) [], but missing required input(s) ['INPUT0']. Please "
            "provide all required input(s).",
        ),
        (
            "add_sub",
            [add_sub_inputs()[0], tensor("OTHER", "FP32", [4], [0.0] * 4)],
            "unexpected inference input 'OTHER' for model 'add_sub'",
        ),
        (
            "add_sub",
            add_sub_inputs()[:1] * 2,
            PREFIX + "input 'INPUT0' already exists in request",
        ),
        (
            "pair",
            pair_inputs([9, 4], [9, 3]),
            PREFIX + "inference request batch-size must be <= 8 for 'pair'",
        ),
        (
            "pair",
            pair_inputs([]),
            PREFIX + "input 'INPUT0' has no shape but model requires batch dimension for 'pair'",
        ),
        (
            "pair",
            pair_inputs([1, 3]),
            PREFIX + "unexpected shape for input 'INPUT0' for model 'pair'. Expected [-1,4], got "
            "[1,3]." + NOTE,
        ),
    ],
)
def test_inputs_that_do_not_fit_the_model(
    http: HttpDoor, model: str, inputs: list[dict[str, Any]], text: str
) -> None:
    answer = http.infer(model, inputs)
    assert (answer.status, answer.error) == (400, text)


def test_too_many_inputs(http: HttpDoor) -> None:
    answer = http.infer("add_sub", [*add_sub_inputs(), tensor("MORE", "FP32", [4], [0.0] * 4)])
    assert answer.status == 400
    # Triton lists the given inputs in the order of a hash table.
    assert answer.error.startswith(
        PREFIX + "expected 2 inputs but got 3 inputs for model 'add_sub'. Got input(s) ["
    )


def test_batch_sizes_that_differ(http: HttpDoor) -> None:
    answer = http.infer("pair", pair_inputs([2, 4], [3, 3]))
    assert answer.status == 400
    # Which of the two Triton names depends on the order of a hash table.
    assert re.fullmatch(
        re.escape(PREFIX) + r"input 'INPUT[01]' batch size does not match other inputs for 'pair'",
        answer.error,
    )


def test_unknown_output(http: HttpDoor) -> None:
    answer = http.infer("add_sub", add_sub_inputs(), outputs=[{"name": "OTHER"}])
    assert answer.status == 400
    assert answer.error == "unexpected inference output 'OTHER' for model 'add_sub'"


def test_request_id_is_named(http: HttpDoor) -> None:
    answer = http.infer("add_sub", add_sub_inputs(shape=[2, 2]), id="abc")
    assert answer.error.startswith("[request id: abc] unexpected shape for input 'INPUT0'")


@pytest.mark.parametrize(
    ("members", "status", "text"),
    [
        ({"id": 5}, 500, "Unable to parse 'id': attempt to access JSON non-string as string"),
        (
            {"parameters": 5},
            500,
            "failed to get request params.: attempt to get members for non-object",
        ),
        (
            {"outputs": 5},
            500,
            "Unable to parse 'outputs': attempt to access JSON non-array as array",
        ),
        (
            {"outputs": [{}]},
            500,
            "Unable to parse 'name': attempt to access non-existing object member 'name'",
        ),
        (
            {"parameters": {"custom": None}},
            400,
            "parameter 'custom' has invalid type. It should be either 'int', 'bool', or 'string'.",
        ),
        (
            {"parameters": {"custom": [1]}},
            400,
            "parameter 'custom' has invalid type. It should be either 'int', 'bool', or 'string'.",
        ),
        (
            {"parameters": {"triton_custom": 1}},
            400,
            "parameter keys starting with 'triton_' are reserved for Triton usage and should not "
            "be specified.",
        ),
        (
            {"parameters": {"sequence_id": -5}},
            500,
            "Unable to parse 'sequence_id': attempt to access JSON non-string as string",
        ),
        (
            {"parameters": {"sequence_start": "x"}},
            500,
            "Unable to parse 'sequence_start': attempt to access JSON non-boolean as boolean",
        ),
        (
            {"parameters": {"priority": -1}},
            500,
            "Unable to parse 'priority': attempt to access JSON non-unsigned-integer as "
            "unsigned-integer",
        ),
        (
            {"parameters": {"timeout": "x"}},
            500,
            "Unable to parse 'timeout': attempt to access JSON non-unsigned-integer as "
            "unsigned-integer",
        ),
        (
            {"parameters": {"binary_data_output": 1}},
            500,
            "Unable to parse 'binary_data_output': attempt to access JSON non-boolean as boolean",
        ),
        (
            {"outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": "x"}}]},
            500,
            "Unable to parse 'binary_data': attempt to access JSON non-boolean as boolean",
        ),
    ],
)
def test_member_of_the_request_that_cannot_be_used(
    http: HttpDoor, members: dict[str, Any], status: int, text: str
) -> None:
    answer = http.infer("add_sub", add_sub_inputs(), **members)
    assert (answer.status, answer.error) == (status, text)


@pytest.mark.ours("2.51 hands the parameter 'headers' on to the model")
def test_reserved_parameter(http: HttpDoor) -> None:
    answer = http.infer("add_sub", add_sub_inputs(), parameters={"headers": "x"})
    assert answer.status == 400
    assert "headers" in answer.error


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        ("error", 500, "told to refuse"),
        ("not_found", 404, "told to miss"),
        (
            "omit_response",
            500,
            "Failed to process the request(s) for model 'commands_0', message: Number of "
            "InferenceResponse objects do not match the number of InferenceRequest objects. "
            "InferenceRequest(s) size is:1, and InferenceResponse(s) size is:0\n",
        ),
    ],
)
def test_error_of_a_python_model(http: HttpDoor, command: str, status: int, text: str) -> None:
    answer = http.infer("commands", [tensor("COMMAND", "BYTES", [1], [command])])
    assert (answer.status, answer.error) == (status, text)


def test_exception_in_a_python_model(http: HttpDoor) -> None:
    answer = http.infer("commands", [tensor("COMMAND", "BYTES", [1], ["fail"])])
    assert answer.status == 500
    assert answer.error.startswith(
        "Failed to process the request(s) for model 'commands_0', message: ValueError: told to "
        "fail\n\nAt:\n"
    )


def test_unsupported_content_encoding(http: HttpDoor) -> None:
    answer = http.post(INFER, {"inputs": add_sub_inputs()}, {"Content-Encoding": "br"})
    assert answer.status == 501
    assert answer.error == "Unsupported compression type"


@pytest.mark.ours("2.51 takes an output named again for the same")
def test_output_asked_for_twice(http: HttpDoor) -> None:
    outputs = [{"name": "OUTPUT0"}, {"name": "OUTPUT0"}]
    answer = http.infer("add_sub", add_sub_inputs(), outputs=outputs)
    assert (answer.status, answer.error) == (
        400,
        PREFIX + "output 'OUTPUT0' already exists in request",
    )
