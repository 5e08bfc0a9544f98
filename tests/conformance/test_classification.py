# SPDX-License-Identifier: Apache-2.0
"""The classification extension over both doors (triton.md 4.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from support import grpc_door as wire
from support import repository
from support.grpc_stream import GrpcStream
from support.servers import Server, ServerStarter
from support.tensors import DATA_TYPES, DataType
from support.wire import HEADER_LENGTH, HttpDoor, tensor
from tritonclient.grpc import service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.grpc_door import GrpcDoor

RANKED = ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP32", "FP64"]


def classify(
    http: HttpDoor, model: str, kind: str, shape: list[int], data: list[Any], count: object
) -> Any:
    """Return the answer to a request for the best classes of OUTPUT0."""
    outputs = [{"name": "OUTPUT0", "parameters": {"classification": count}}]
    return http.infer(model, [tensor("INPUT0", kind, shape, data)], outputs=outputs)


def classes(answer: Any) -> tuple[list[int], list[str]]:
    """Return shape and strings of the one output."""
    assert answer.status == 200, answer.text
    (output,) = answer.json["outputs"]
    assert (output["name"], output["datatype"]) == ("OUTPUT0", "BYTES")
    return output["shape"], output["data"]


@pytest.mark.parametrize(
    ("kind", "shape", "data", "count", "expected"),
    [
        ("fp32", [4], [1, 3, 2, -1.5], 3, ["3.000000:1", "2.000000:2", "1.000000:0"]),
        ("fp32", [2], [0.1, -0.0], 9, ["0.100000:0", "-0.000000:1"]),
        ("fp32", [2], [3.4e38, 0], 1, ["339999995214436424907732413799364296704.000000:0"]),
        ("fp64", [2], [1e20, 1e-9], 2, ["100000000000000000000.000000:0", "0.000000:1"]),
        ("fp32", [4], [1, 1, 2, 1], 4, ["2.000000:2", "1.000000:0", "1.000000:1", "1.000000:3"]),
        ("int32", [3], [-1, 3, 2], 2, ["3:1", "2:2"]),
        ("int8", [3], [65, -3, 2], 3, ["65:0", "2:2", "-3:1"]),
        ("uint8", [3], [1, 200, 2], 1, ["200:1"]),
        ("uint64", [2], [2**64 - 1, 2**64 - 2], 2, [f"{2**64 - 1}:0", f"{2**64 - 2}:1"]),
    ],
)
def test_the_best_come_first(
    http: HttpDoor, kind: str, shape: list[int], data: list[Any], count: int, expected: list[str]
) -> None:
    answer = classify(http, f"echo_{kind}", kind.upper(), shape, data, count)
    assert classes(answer) == ([len(expected)], expected)


def test_each_item_of_a_batch_is_ranked_by_itself(http: HttpDoor) -> None:
    answer = classify(http, "echo_fp32_batched", "FP32", [2, 3], [1, 3, 2, 5, 4, 6], 2)
    assert classes(answer) == ([2, 2], ["3.000000:1", "2.000000:2", "6.000000:2", "5.000000:0"])


def test_further_dimensions_are_one_list(http: HttpDoor) -> None:
    answer = classify(http, "matrix", "FP32", [2, 2], [1, 2, 3, 4], 2)
    assert classes(answer) == ([2], ["4.000000:3", "3.000000:2"])


@pytest.mark.ours("2.51 sorts NaN anywhere")
def test_what_is_no_number_comes_last(http: HttpDoor) -> None:
    body = (
        b'{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[4],'
        b'"data":[NaN,1,Infinity,-Infinity]}],'
        b'"outputs":[{"name":"OUTPUT0","parameters":{"classification":4}}]}'
    )
    answer = http.post("/v2/models/echo_fp32/infer", body)
    assert classes(answer)[1] == ["inf:2", "1.000000:1", "-inf:3", "nan:0"]


@pytest.mark.ours("2.51 dies of it")
@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [("echo_fp32", [0], [0]), ("echo_fp32_batched", [2, 0], [2, 0])],
)
def test_nothing_has_no_classes(
    http: HttpDoor, model: str, shape: list[int], expected: list[int]
) -> None:
    assert classes(classify(http, model, "FP32", shape, [], 2)) == (expected, [])


def test_zero_asks_for_the_values(http: HttpDoor) -> None:
    answer = classify(http, "echo_fp32", "FP32", [2], [1, 2], 0)
    assert answer.json["outputs"] == [
        {"name": "OUTPUT0", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}
    ]


@pytest.mark.parametrize("count", [-1, "1", 1.5, None])
def test_a_count_is_an_unsigned_integer(http: HttpDoor, count: object) -> None:
    answer = classify(http, "echo_fp32", "FP32", [2], [1, 2], count)
    assert (answer.status, answer.error) == (
        500,
        "Unable to set 'classification': attempt to access JSON non-unsigned-integer as "
        "unsigned-integer",
    )


@pytest.mark.parametrize("kind", DATA_TYPES, ids=lambda kind: kind.name)
def test_types_that_have_an_order(server: Server, http: HttpDoor, kind: DataType) -> None:
    if kind.name == "BYTES" and server.is_oracle:
        pytest.skip("2.51 dies of it")
    source = tensor("INPUT0", kind.name, [6], None, binary_data_size=len(kind.raw))
    outputs = [{"name": "OUTPUT0", "parameters": {"classification": 1}}]
    head = {"inputs": [source], "outputs": outputs}
    answer = http.infer_binary(f"echo_{kind.name.lower()}", head, kind.raw)
    if kind.name in RANKED:
        assert len(classes(answer)[1]) == 1
    else:
        assert (answer.status, answer.error) == (
            400,
            f"class result not available for output due to unsupported type '{kind.name}'",
        )


@pytest.mark.parametrize("count", [1_000_000, 1_000_001])
def test_as_many_as_a_million_are_ranked(server: Server, http: HttpDoor, count: int) -> None:
    data = np.zeros(count, np.float32)
    data[3] = 1
    source = tensor("INPUT0", "FP32", [count], None, binary_data_size=data.nbytes)
    outputs = [{"name": "OUTPUT0", "parameters": {"classification": 1}}]
    head = {"inputs": [source], "outputs": outputs}
    answer = http.infer_binary("echo_fp32", head, data.tobytes())
    if count > 1_000_000 and not server.is_oracle:
        assert (answer.status, answer.error) == (400, "classification output tensor too large")
    else:
        assert classes(answer) == ([1], ["1.000000:3"])


def test_classes_may_be_binary(http: HttpDoor) -> None:
    outputs = [{"name": "OUTPUT0", "parameters": {"classification": 2, "binary_data": True}}]
    answer = http.infer("echo_fp32", [tensor("INPUT0", "FP32", [3], [1, 3, 2])], outputs=outputs)
    head, data = answer.split()
    assert HEADER_LENGTH.lower() in answer.headers
    assert head["outputs"] == [
        {
            "name": "OUTPUT0",
            "datatype": "BYTES",
            "shape": [2],
            "parameters": {"binary_data_size": 28},
        }
    ]
    assert data == b"\x0a\0\0\x003.000000:1\x0a\0\0\x002.000000:2"


def requested(**parameter: Any) -> Any:
    """Return OUTPUT0 with a classification parameter."""
    output = pb.ModelInferRequest.InferRequestedOutputTensor(name="OUTPUT0")
    output.parameters["classification"].CopyFrom(wire.parameter(**parameter))
    return output


@pytest.mark.parametrize(
    ("model", "shape", "expected_shape", "expected"),
    [
        ("echo_fp32", [4], [2], b"\x0a\0\0\x004.000000:3\x0a\0\0\x003.000000:2"),
        (
            "echo_fp32_batched",
            [2, 2],
            [2, 2],
            b"\x0a\0\0\x002.000000:1\x0a\0\0\x001.000000:0"
            b"\x0a\0\0\x004.000000:1\x0a\0\0\x003.000000:0",
        ),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True], ids=["unary", "stream"])
def test_classes_over_grpc(
    grpc_door: GrpcDoor,
    is_stream: bool,
    model: str,
    shape: list[int],
    expected_shape: list[int],
    expected: bytes,
) -> None:
    data = np.array([1, 2, 3, 4], np.float32).tobytes()
    source = wire.tensor("INPUT0", "FP32", shape)
    outputs = [requested(int64_param=2)]
    request = wire.request(model, [source], [data], outputs=outputs)
    if is_stream:
        stream = GrpcStream(grpc_door.channel)
        stream.send(request)
        (answer,) = stream.rest()
        response = answer.infer_response
    else:
        response = grpc_door.infer(request)
    (output,) = response.outputs
    assert (output.datatype, list(output.shape)) == ("BYTES", expected_shape)
    assert list(response.raw_output_contents) == [expected]


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        (
            {"int64_param": 0},
            "invalid value for 'classification' parameter, expected >= 0",
        ),
        (
            {"int64_param": -1},
            "invalid value for 'classification' parameter, expected >= 0",
        ),
        (
            {"string_param": "2"},
            "invalid value type for 'classification' parameter, expected int64_param",
        ),
    ],
)
def test_a_count_over_grpc_is_positive(
    grpc_door: GrpcDoor, parameter: dict[str, Any], text: str
) -> None:
    source = wire.tensor("INPUT0", "FP32", [1], fp32_contents=[1])
    request = wire.request("echo_fp32", [source], outputs=[requested(**parameter)])
    assert grpc_door.refusal("ModelInfer", request) == ("INVALID_ARGUMENT", text)


def test_a_wrong_type_over_grpc(grpc_door: GrpcDoor) -> None:
    source = wire.tensor("INPUT0", "BOOL", [1], bool_contents=[True])
    request = wire.request("echo_bool", [source], outputs=[requested(int64_param=1)])
    assert grpc_door.refusal("ModelInfer", request) == (
        "INVALID_ARGUMENT",
        "class result not available for output due to unsupported type 'BOOL'",
    )


@pytest.fixture(scope="module")
def label_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose models have label files, one of them outside its model."""
    directory = tmp_path_factory.mktemp("models")
    (directory.parent / "secret.txt").write_text("secret\n")
    write_labelled(directory / "labelled", "labels.txt")
    (directory / "labelled" / "labels.txt").write_text("cat\ndog\n\n bird\nlast")
    write_labelled(directory / "nested", "data/labels.txt")
    (directory / "nested" / "data").mkdir()
    (directory / "nested" / "data" / "labels.txt").write_text("only\n")
    write_labelled(directory / "escaping", "../../secret.txt")
    write_labelled(directory / "linked", "labels.txt")
    (directory / "linked" / "labels.txt").symlink_to("../../secret.txt")
    write_labelled(directory / "missing", "labels.txt")
    options = ["--exit-on-error=false", "--strict-readiness=false"]
    with starter.prepare("labels", directory, options) as process:
        yield Server(process, starter.is_oracle)


def write_labelled(directory: Path, label_file: str) -> None:
    """Write a model whose output has a label file."""
    output = f'TYPE_FP32 [ -1 ] label_filename: "{label_file}"'
    model = repository.PythonModel("echo", {"INPUT0": "TYPE_FP32 [ -1 ]"}, {"OUTPUT0": output})
    model.write(directory)


def test_labels_follow_the_index(label_server: Server) -> None:
    answer = classify(label_server.http, "labelled", "FP32", [6], [1, 2, 3, 4, 5, 6], 6)
    assert classes(answer)[1] == [
        "6.000000:5",
        "5.000000:4:last",
        "4.000000:3: bird",
        "3.000000:2",
        "2.000000:1:dog",
        "1.000000:0:cat",
    ]
    answer = classify(label_server.http, "nested", "FP32", [1], [1], 1)
    assert classes(answer)[1] == ["1.000000:0:only"]


def test_labels_over_grpc(label_server: Server) -> None:
    source = wire.tensor("INPUT0", "FP32", [2], fp32_contents=[1, 2])
    door = wire.GrpcDoor(label_server.grpc_address)
    response = door.infer(wire.request("labelled", [source], outputs=[requested(int64_param=2)]))
    door.close()
    assert list(response.raw_output_contents) == [
        b"\x0e\0\0\x002.000000:1:dog\x0e\0\0\x001.000000:0:cat"
    ]


@pytest.mark.ours("2.51 reads any file")
@pytest.mark.parametrize("model", ["escaping", "linked"])
def test_label_files_lie_in_their_model(label_server: Server, model: str) -> None:
    assert label_server.http.get(f"/v2/models/{model}/ready").status == 400
    assert "is outside model directory" in label_server.process.log()
    assert "secret:" not in label_server.process.log()


def test_a_model_without_its_label_file_does_not_load(label_server: Server) -> None:
    assert label_server.http.get("/v2/models/missing/ready").status == 400


def test_the_published_clients_ask_for_classes(server: Server) -> None:
    clients: list[tuple[Any, Any]] = [
        (tritonclient.http, tritonclient.http.InferenceServerClient(server.http.address)),
        (tritonclient.grpc, tritonclient.grpc.InferenceServerClient(server.grpc_address)),
    ]
    for module, client in clients:
        source = module.InferInput("INPUT0", [1, 3], "FP32")
        source.set_data_from_numpy(np.array([[1, 3, 2]], np.float32))
        target = module.InferRequestedOutput("OUTPUT0", class_count=2)
        result = client.infer("echo_fp32_batched", [source], outputs=[target])
        assert result.as_numpy("OUTPUT0").tolist() == [[b"3.000000:1", b"2.000000:2"]]
        client.close()
