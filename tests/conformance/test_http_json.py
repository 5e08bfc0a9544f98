# SPDX-License-Identifier: Apache-2.0
"""Inference over HTTP with tensors in JSON (triton.md sections 4.4 and 4.5)."""

from __future__ import annotations

import math

import pytest
from support.tensors import DATA_TYPES, DataType
from support.wire import HttpDoor, add_sub_inputs, tensor

JSON_TYPES = [each for each in DATA_TYPES if each.has_json_form]


@pytest.mark.parametrize("kind", JSON_TYPES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("suffix", ["", "_batched"])
def test_every_type_comes_back(http: HttpDoor, kind: DataType, suffix: str) -> None:
    shape = [2, 3] if suffix else [6]
    model = f"echo_{kind.name.lower()}{suffix}"
    answer = http.infer(model, [tensor("INPUT0", kind.name, shape, kind.values)])
    assert answer.status == 200
    assert answer.json["outputs"] == [
        {"name": "OUTPUT0", "datatype": kind.name, "shape": shape, "data": kind.values}
    ]


def test_response_is_written_in_tritons_order(http: HttpDoor) -> None:
    answer = http.infer("add_sub", add_sub_inputs(), id="42")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == (
        '{"id":"42","model_name":"add_sub","model_version":"1","outputs":['
        '{"name":"OUTPUT0","datatype":"FP32","shape":[4],"data":[5.0,5.0,5.0,5.0]},'
        '{"name":"OUTPUT1","datatype":"FP32","shape":[4],"data":[-3.0,-1.0,1.0,3.0]}]}'
    )


@pytest.mark.parametrize("members", [{}, {"id": ""}])
def test_no_id_is_written_when_none_was_given(http: HttpDoor, members: dict[str, str]) -> None:
    answer = http.infer("add_sub", add_sub_inputs(), **members)
    assert list(answer.json) == ["model_name", "model_version", "outputs"]


def test_version_in_the_path_and_query_string(http: HttpDoor) -> None:
    answer = http.post("/v2/models/add_sub/versions/1/infer?x=1", {"inputs": add_sub_inputs()})
    assert answer.status == 200
    assert answer.json["model_version"] == "1"


@pytest.mark.parametrize(
    "data",
    [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]], [[1, 2], [3, 4], [5, 6]], [[[1, 2, 3, 4, 5, 6]]]],
)
def test_nested_data_is_read_row_by_row_and_answered_flat(
    http: HttpDoor, data: list[object]
) -> None:
    answer = http.infer("matrix", [tensor("INPUT0", "FP32", [2, 3], data)])
    assert answer.json["outputs"][0]["shape"] == [2, 3]
    assert answer.json["outputs"][0]["data"] == [1, 2, 3, 4, 5, 6]


def test_nan_and_infinities_are_bare_words_both_ways(http: HttpDoor) -> None:
    body = (
        b'{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[4],'
        b'"data":[NaN,Infinity,-Infinity,1e40]}]}'
    )
    answer = http.post("/v2/models/echo_fp32/infer", body)
    assert answer.status == 200
    assert '"data":[NaN,Infinity,-Infinity,Infinity]' in answer.text


@pytest.mark.parametrize(
    ("kind", "sent", "written"),
    [
        ("FP32", "0.1", "0.10000000149011612"),
        ("FP32", "16777217", "16777216.0"),
        ("FP32", "1e-7", "1.0000000116860974e-7"),
        ("FP64", "0.1", "0.1"),
        ("FP64", "-0.0", "-0.0"),
        ("FP64", "1e20", "100000000000000000000.0"),
        ("FP64", "1e21", "1e21"),
        ("FP64", "5e-324", "5e-324"),
        ("FP64", "1.7976931348623157e308", "1.7976931348623157e308"),
    ],
)
def test_floats_are_written_shortest_as_doubles(
    http: HttpDoor, kind: str, sent: str, written: str
) -> None:
    body = (
        f'{{"inputs":[{{"name":"INPUT0","datatype":"{kind}","shape":[1],"data":[{sent}]}}]}}'
    ).encode()
    answer = http.post(f"/v2/models/echo_{kind.lower()}/infer", body)
    assert f'"data":[{written}]' in answer.text


def test_strings_are_escaped_only_where_json_demands_it(http: HttpDoor) -> None:
    body = (
        rb'{"inputs":[{"name":"INPUT0","datatype":"BYTES","shape":[3],'
        rb'"data":["\u00fc\"\\\n\u0001","","\ud83d\ude00/"]}]}'
    )
    answer = http.post("/v2/models/echo_bytes/infer", body)
    assert answer.json["outputs"][0]["data"] == ['ü"\\\n\u0001', "", "😀/"]
    assert '["ü\\"\\\\\\n\\u0001","","😀/"]' in answer.text


@pytest.mark.parametrize("kind", ["FP32", "BYTES", "INT8"])
def test_zero_sized_tensor(http: HttpDoor, kind: str) -> None:
    answer = http.infer(f"echo_{kind.lower()}", [tensor("INPUT0", kind, [0], [])])
    assert answer.status == 200
    assert answer.json["outputs"] == [
        {"name": "OUTPUT0", "datatype": kind, "shape": [0], "data": []}
    ]


@pytest.mark.parametrize(
    ("strings", "text"),
    [
        (
            [],
            "expected 2 string elements for inference input 'INPUT0' for model 'echo_bytes', got 0",
        ),
        (
            ["a"],
            "expected 2 string elements for inference input 'INPUT0' for model 'echo_bytes', got 1",
        ),
        (
            ["a", "b", "c"],
            "unexpected number of string elements 3 for inference input 'INPUT0' for model "
            "'echo_bytes', expecting 2",
        ),
    ],
)
def test_strings_are_counted_by_the_model(http: HttpDoor, strings: list[str], text: str) -> None:
    answer = http.infer("echo_bytes", [tensor("INPUT0", "BYTES", [2], strings)])
    assert (answer.status, answer.error) == (400, f"[request id: <id_unknown>] {text}")


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        (None, ["OUTPUT0", "OUTPUT1"]),
        ([], ["OUTPUT0", "OUTPUT1"]),
        (["OUTPUT1"], ["OUTPUT1"]),
        (["OUTPUT0", "OUTPUT1"], ["OUTPUT0", "OUTPUT1"]),
    ],
)
def test_requested_outputs(http: HttpDoor, outputs: list[str] | None, names: list[str]) -> None:
    members = {} if outputs is None else {"outputs": [{"name": name} for name in outputs]}
    answer = http.infer("add_sub", add_sub_inputs(), **members)
    assert answer.status == 200
    assert [output["name"] for output in answer.json["outputs"]] == names


def test_outputs_come_in_the_order_of_the_model(http: HttpDoor) -> None:
    outputs = [{"name": "OUTPUT1"}, {"name": "OUTPUT0"}]
    answer = http.infer("add_sub", add_sub_inputs(), outputs=outputs)
    assert [output["name"] for output in answer.json["outputs"]] == ["OUTPUT0", "OUTPUT1"]


@pytest.mark.parametrize("kind", ["FP16", "BF16"])
def test_half_floats_are_refused_in_a_json_request(http: HttpDoor, kind: str) -> None:
    answer = http.infer(f"echo_{kind.lower()}", [tensor("INPUT0", kind, [2], [1.0, 2.0])])
    assert answer.status == 400
    assert answer.error == (
        f"receiving {kind} data via JSON is not supported. Please use the binary data format "
        "for input INPUT0"
    )


@pytest.mark.parametrize("kind", ["FP16", "BF16"])
def test_half_floats_are_refused_in_a_json_response(http: HttpDoor, kind: str) -> None:
    head = {"inputs": [tensor("INPUT0", kind, [2], binary_data_size=4)]}
    answer = http.infer_binary(f"echo_{kind.lower()}", head, b"\0\0\x80\x3f")
    assert answer.status == 400
    assert answer.error.startswith(f"sending {kind} data via JSON is not supported.")


def test_custom_parameters_reach_the_model(http: HttpDoor) -> None:
    sent = {"integer": 1, "boolean": True, "text": "x", "real": 1.5}
    command = [tensor("COMMAND", "BYTES", [1], ["parameters"])]
    answer = http.infer("commands", command, parameters=sent)
    seen = answer.json["outputs"][0]["data"][0]
    assert seen == '{"integer":1,"boolean":true,"text":"x","real":1.5}'


@pytest.mark.parametrize(
    "parameters",
    [
        {"sequence_id": 5},
        {"sequence_id": "five"},
        {"sequence_id": 5, "sequence_start": True, "sequence_end": True},
        {"priority": 1},
        {"timeout": 60_000_000},
        {"binary_data_output": False},
    ],
)
def test_parameters_with_a_meaning_are_kept_from_the_model(
    http: HttpDoor, parameters: dict[str, object]
) -> None:
    command = [tensor("COMMAND", "BYTES", [1], ["parameters"])]
    answer = http.infer("commands", command, parameters=parameters)
    assert answer.status == 200
    assert answer.json["outputs"][0]["data"] == ["{}"]


def test_response_without_outputs(http: HttpDoor) -> None:
    answer = http.infer("commands", [tensor("COMMAND", "BYTES", [1], ["nothing"])])
    assert answer.text == '{"model_name":"commands","model_version":"1","outputs":[]}'


def test_optional_input_may_be_left_out(http: HttpDoor) -> None:
    answer = http.infer("optional_input", [tensor("INPUT0", "INT32", [1, 4], [1, 2, 3, 4])])
    assert answer.status == 200
    assert [output["name"] for output in answer.json["outputs"]] == ["OUTPUT0"]


def test_large_tensor(http: HttpDoor) -> None:
    values = [math.ldexp(index, -3) for index in range(50_000)]
    answer = http.infer("echo_fp32", [tensor("INPUT0", "FP32", [50_000], values)])
    assert answer.json["outputs"][0]["data"] == values


def test_chunked_body(http: HttpDoor) -> None:
    pieces = [b'{"inputs":[{"name":"INPUT0","datatype":"FP32",', b'"shape":[1],"data":[1]}]}']
    request = b"POST /v2/models/echo_fp32/infer HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
    request += b"Transfer-Encoding: chunked\r\n\r\n"
    for piece in [*pieces, b""]:
        request += b"%x\r\n%s\r\n" % (len(piece), piece)
    with http.connect() as connection:
        connection.sendall(request)
        received = b""
        while not received.endswith(b"}]}"):
            piece = connection.recv(65536)
            assert piece, received
            received += piece
    assert received.startswith(b"HTTP/1.1 200")
    assert b'"data":[1.0]' in received
