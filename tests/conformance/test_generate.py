# SPDX-License-Identifier: Apache-2.0
"""The generate routes (triton.md section 4.11)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.servers import Server
    from support.wire import Answer, HttpDoor

DESCRIBE = "/v2/models/describe/generate"
LETTERS = "/v2/models/letters/generate"
EVENT_STREAM = "text/event-stream; charset=utf-8"
NOT_ONE = (
    "generate expects model to produce exactly 1 response, use generate stream for model that "
    "generates various number of responses"
)


def described(http: HttpDoor, body: dict[str, Any]) -> dict[str, Any]:
    """Return what the model was given for `body`."""
    answer = http.post(DESCRIBE, body)
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.json["DESCRIPTION"])
    return found


def events(answer: Answer) -> list[Any]:
    """Return the data of the events of a stream."""
    *blocks, rest = answer.text.split("\n\n")
    assert rest == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


def test_members_become_tensors_and_parameters(http: HttpDoor) -> None:
    body = {"TEXT": "hi", "temperature": 0.5, "top": 3, "stream": False, "stop": "x"}
    assert described(http, body) == {
        "id": "",
        "parameters": {"temperature": 0.5, "top": 3, "stream": False, "stop": "x"},
        "text": ["hi"],
        "text_shape": [1, 1],
        "pairs": None,
    }


def test_id_is_the_request_id(server: Server) -> None:
    found = described(server.http, {"TEXT": "hi", "id": "7"})
    assert found["id"] == "7"
    # 2.51 gives it to the model a second time, as a parameter.
    assert found["parameters"] == server.choose({}, {"id": "7"})
    assert server.http.post(DESCRIBE, {"TEXT": "hi", "id": "7"}).json["id"] == "7"


def test_group_of_parameters_counts_as_members(http: HttpDoor) -> None:
    found = described(http, {"parameters": {"TEXT": "inner", "top": 3}, "top_k": 1})
    assert found["text"] == ["inner"]
    assert found["parameters"] == {"top": 3, "top_k": 1}


@pytest.mark.parametrize("name", ["sequence_id", "priority", "timeout", "sequence_start"])
def test_parameters_of_inference_are_the_models_here(http: HttpDoor, name: str) -> None:
    assert described(http, {"TEXT": "hi", name: 5})["parameters"] == {name: 5}


@pytest.mark.ours("2.51 gives them to the model")
def test_tritons_own_parameters_are_refused(http: HttpDoor) -> None:
    answer = http.post(DESCRIBE, {"TEXT": "hi", "triton_x": 1})
    assert answer.status == 400
    assert answer.error.startswith("parameter keys starting with 'triton_' are reserved")


@pytest.mark.parametrize(
    ("text", "pairs", "text_shape", "expected"),
    [
        ("a", [1, 2, 3, 4], [1, 1], [[[1, 2], [3, 4]]]),
        (["a"], [1, 2], [1, 1], [[[1], [2]]]),
        (["a", "b"], None, [2, 1], None),
    ],
    ids=["innermost", "one each", "batch"],
)
def test_shapes_are_filled(
    http: HttpDoor, text: object, pairs: list[int] | None, text_shape: list[int], expected: object
) -> None:
    body = {"TEXT": text} if pairs is None else {"TEXT": text, "PAIRS": pairs}
    if text_shape[0] > 1:
        answer = http.post(DESCRIBE, body).json["DESCRIPTION"]
        found = json.loads(answer[0])
        assert len(answer) == text_shape[0]
    else:
        found = described(http, body)
    assert found["text_shape"] == text_shape
    assert found["pairs"] == expected


UNFIT = "The schema can not convert input 'PAIRS' to tensor with proper shape"
UNFIT_TYPE = "It should be either 'int', 'bool', or 'string'."


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"TEXT": "hi", "PAIRS": [1, 2, 3]}, 400, UNFIT),
        ({"TEXT": "hi", "PAIRS": 7}, 400, UNFIT),
        ({"TEXT": "hi", "PAIRS": "a"}, 400, UNFIT),
        (
            {"TEXT": "hi", "parameters": {"PAIRS": 1}},
            400,
            f"Converting keyword: 'parameters': {UNFIT}",
        ),
        (
            {"TEXT": "hi", "PAIRS": [[1, 2], [3, 4]]},
            500,
            "Unable to parse 'data': Shape does not match true shape of 'data' field",
        ),
        (
            {"TEXT": 5},
            500,
            "Unable to parse JSON bytes array: attempt to access JSON non-string as string",
        ),
        (
            {"TEXT": "hi", "PAIRS": ["a", "b"]},
            500,
            "Unable to parse 'data': attempt to access JSON non-signed-integer as signed-integer",
        ),
        (
            {"TEXT": "hi", "extra": [1]},
            400,
            f"parameter 'extra' has invalid type. {UNFIT_TYPE}",
        ),
        (
            {"TEXT": "hi", "extra": None},
            400,
            f"parameter 'extra' has invalid type. {UNFIT_TYPE}",
        ),
        (
            {"TEXT": "hi", "parameters": {"nested": {"x": 1}}},
            400,
            f"Converting keyword: 'parameters': parameter 'nested' has invalid type. {UNFIT_TYPE}",
        ),
        (
            {"TEXT": "hi", "parameters": 5},
            500,
            "Expected JSON object for keyword: 'parameters': attempt to access JSON non-object as "
            "object",
        ),
        (
            {"TEXT": "hi", "parameters": {"TEXT": "again"}},
            400,
            "Converting keyword: 'parameters': [request id: <id_unknown>] input 'TEXT' already "
            "exists in request",
        ),
        (
            {"TEXT": "hi", "id": 7},
            500,
            "Unable to parse 'id': attempt to access JSON non-string as string",
        ),
        (
            {},
            400,
            "[request id: <id_unknown>] expected number of inputs between 1 and 2 but got 0 inputs "
            "for model 'describe'. Got input(s) [], but missing required input(s) ['TEXT']. Please "
            "provide all required input(s).",
        ),
        ([], 500, "attempt to get members for non-object"),
    ],
)
@pytest.mark.parametrize("route", ["generate", "generate_stream"])
def test_unfit_requests(http: HttpDoor, route: str, body: object, status: int, text: str) -> None:
    answer = http.post(f"/v2/models/describe/{route}", body)
    assert (answer.status, answer.error) == (status, text)
    assert answer.headers["content-type"] == "application/json"


def test_text_that_is_no_json(server: Server) -> None:
    answer = server.http.post(DESCRIBE, b"{")
    assert answer.status == server.choose(400, 500)
    assert answer.error == (
        "failed to parse the request JSON buffer: Missing a name for object member. at 1"
    )


def test_unknown_models_and_other_verbs(http: HttpDoor) -> None:
    answer = http.post("/v2/models/nope/generate", {"TEXT": "hi"})
    assert answer.status == 404
    assert answer.error.startswith("Request for unknown model: 'nope'")
    assert http.post("/v2/models/describe/versions/9/generate", {"TEXT": "hi"}).status == 404
    assert http.post("/v2/models/describe/versions/1/generate", {"TEXT": "hi"}).status == 200
    assert http.get(DESCRIBE).status == 405


@pytest.mark.parametrize("coding", ["gzip", "deflate", "nope"])
@pytest.mark.parametrize("route", ["generate", "generate_stream"])
def test_compressed_requests_are_refused(http: HttpDoor, route: str, coding: str) -> None:
    path = f"/v2/models/describe/{route}"
    answer = http.post(path, {"TEXT": "hi"}, {"Content-Encoding": coding})
    assert answer.status == 400
    assert answer.error == "Unsupported content-encoding, only 'identity' is supported."


def test_binary_is_not_offered(http: HttpDoor) -> None:
    answer = http.post(DESCRIBE, {"TEXT": "hi"}, {"Inference-Header-Content-Length": "5"})
    assert answer.status == 200
    answer = http.post("/v2/models/echo_fp16/generate", {"INPUT0": [1.5]})
    assert answer.status == 400
    assert answer.error.startswith("receiving FP16 data via JSON is not supported.")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1.5", "1.5"), ("[1.5,2]", "[1.5,2.0]"), ("[]", "[]"), ("[NaN,Infinity]", "[NaN,Infinity]")],
)
def test_outputs_are_flat_and_single_elements_bare(
    http: HttpDoor, value: str, expected: str
) -> None:
    body = f'{{"INPUT0":{value},"id":"i"}}'.encode()
    answer = http.post("/v2/models/echo_fp32/generate", body)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    members = f'"OUTPUT0":{expected},"id":"i","model_name":"echo_fp32","model_version":"1"'
    assert answer.text == f"{{{members}}}"


def test_plain_models_stream_one_event(http: HttpDoor) -> None:
    answer = http.post("/v2/models/echo_fp32/generate_stream", {"INPUT0": 1})
    assert answer.status == 200
    assert answer.headers["content-type"] == EVENT_STREAM
    assert [event["OUTPUT0"] for event in events(answer)] == [1.0]


@pytest.mark.parametrize(
    ("text", "status", "letters"),
    [
        ("abc", 200, "abc"),
        ("", 200, ""),
        ("!", 503, "!"),
        ("a!b", 200, "a!b"),
        ("!a", 503, "!a"),
    ],
)
def test_events_of_a_decoupled_model(server: Server, text: str, status: int, letters: str) -> None:
    answer = server.http.post(f"{LETTERS}_stream", {"TEXT": text, "id": "q"})
    # 2.51 loses the code of an error that a decoupled Python model sends.
    assert answer.status == server.choose(status, 400 if status == 503 else status)
    assert answer.headers["content-type"] == EVENT_STREAM
    expected = [
        {"error": "told to refuse"}
        if letter == "!"
        else {"LETTER": letter, "id": "q", "model_name": "letters", "model_version": "1"}
        for letter in letters
    ]
    assert events(answer) == expected


@pytest.mark.parametrize("text", ["", "ab", "a!"])
def test_generate_wants_exactly_one_response(http: HttpDoor, text: str) -> None:
    answer = http.post(LETTERS, {"TEXT": text})
    assert (answer.status, answer.error) == (200, NOT_ONE)


def test_generate_takes_the_one_response_of_a_decoupled_model(http: HttpDoor) -> None:
    answer = http.post(LETTERS, {"TEXT": "a"})
    assert answer.status == 200
    assert answer.json == {"LETTER": "a", "model_name": "letters", "model_version": "1"}


def test_a_thousand_events(http: HttpDoor) -> None:
    answer = http.post(f"{LETTERS}_stream", {"TEXT": "xy" * 500})
    assert "".join(event["LETTER"] for event in events(answer)) == "xy" * 500
