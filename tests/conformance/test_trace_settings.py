# SPDX-License-Identifier: Apache-2.0
"""Trace settings over both protocols (triton.md 7.2, P097-P100, P129)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import repository
from support.grpc_door import GrpcDoor
from support.servers import Server, ServerStarter
from support.traces import CLEARED, SETTING
from tritonclient import grpc as grpc_client
from tritonclient import http as http_client
from tritonclient.grpc import service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.wire import Answer

OF_MODEL = "/v2/models/add_sub/trace/setting"
BETTER = pytest.mark.ours("Triton takes what it cannot read for something else, or ignores it")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def started(
    starter: ServerStarter, directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    repository.copy_examples(models, ["add_sub"])
    options = ["--trace-config=rate=3", f"--trace-config=triton,file={directory / 'trace'}"]
    with starter.prepare("trace_settings", models, options) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture
def tracer(started: Server) -> Iterator[Server]:
    """The server with the settings it was started with."""
    yield started
    for path in (OF_MODEL, SETTING):
        assert started.http.post(path, CLEARED).status == 200


@pytest.fixture
def grpc_door(started: Server) -> Iterator[GrpcDoor]:
    door = GrpcDoor(started.grpc_address)
    yield door
    door.close()


@pytest.fixture
def initial(directory: Path) -> dict[str, Any]:
    """The settings of the start, in Triton's order."""
    return {
        "trace_level": ["OFF"],
        "trace_rate": "3",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_file": str(directory / "trace"),
        "trace_mode": "triton",
    }


def settings(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json
    return found


@pytest.mark.parametrize("path", [SETTING, OF_MODEL])
def test_settings_are_strings_in_their_order(
    tracer: Server, initial: dict[str, Any], path: str
) -> None:
    answer = tracer.http.get(path)
    assert list(settings(answer).items()) == list(initial.items())


def test_no_form_with_a_version(tracer: Server) -> None:
    assert tracer.http.get("/v2/models/add_sub/versions/1/trace/setting").status == 404


@pytest.mark.parametrize("body", [b"{}", b"[]", b"3", b'{"unknown":1,"other":null,"url":"x"}'])
def test_what_names_no_setting_changes_nothing(
    tracer: Server, initial: dict[str, Any], body: bytes
) -> None:
    assert settings(tracer.http.post(SETTING, body)) == initial


def test_the_mode_is_only_reported(tracer: Server, initial: dict[str, Any]) -> None:
    assert settings(tracer.http.post(SETTING, {"trace_mode": "opentelemetry"})) == initial


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"trace_level": ["TIMESTAMPS"]}, {}),
        ({"trace_level": ["TENSORS", "TIMESTAMPS"]}, {"trace_level": ["TIMESTAMPS", "TENSORS"]}),
        ({"trace_level": ["OFF"]}, {}),
        ({"trace_level": []}, {"trace_level": ["OFF"]}),
        ({"trace_rate": "0"}, {}),
        ({"trace_rate": "2147483647"}, {}),
        pytest.param({"trace_rate": "4294967295"}, {}, marks=BETTER),
        ({"trace_count": "0"}, {}),
        ({"trace_count": "12"}, {}),
        ({"trace_count": "-1"}, {}),
        ({"log_frequency": "10"}, {}),
        (
            {
                "trace_level": ["TENSORS"],
                "trace_rate": "11",
                "trace_count": "22",
                "log_frequency": "33",
            },
            {},
        ),
    ],
)
def test_changes_are_told_and_cleared(
    tracer: Server, initial: dict[str, Any], change: dict[str, Any], shown: dict[str, Any]
) -> None:
    expected = {**initial, **change, **shown}
    assert settings(tracer.http.post(SETTING, change)) == expected
    assert settings(tracer.http.get(SETTING)) == expected
    assert settings(tracer.http.get(OF_MODEL)) == expected
    cleared = dict.fromkeys(change)
    assert settings(tracer.http.post(SETTING, cleared)) == initial


def test_layers(tracer: Server, initial: dict[str, Any]) -> None:
    def change(path: str, **values: object) -> None:
        settings(tracer.http.post(path, values))

    def seen() -> tuple[dict[str, Any], dict[str, Any]]:
        return settings(tracer.http.get(SETTING)), settings(tracer.http.get(OF_MODEL))

    change(OF_MODEL, trace_rate="77")
    assert seen() == (initial, {**initial, "trace_rate": "77"})
    change(SETTING, trace_rate="88", trace_count="5")
    in_all = {**initial, "trace_rate": "88", "trace_count": "5"}
    assert seen() == (in_all, {**in_all, "trace_rate": "77"})
    change(OF_MODEL, trace_rate=None, trace_level=["TIMESTAMPS"])
    change(SETTING, trace_level=["TENSORS"])
    in_all["trace_level"] = ["TENSORS"]
    assert seen() == (in_all, {**in_all, "trace_level": ["TIMESTAMPS"]})
    change(OF_MODEL, trace_level=None)
    assert seen() == (in_all, in_all)


OUT_OF_RANGE = "Unable to parse '{}', value is out of range {}, got: {}"
UNSIGNED = "[ 0, 4294967295 ]"
SIGNED = "[ -1, 2147483647 ]"
# Body and refusal of what both protocols can say.
REFUSED: list[Any] = [
    ({"trace_level": ["OFF", "TENSORS"]}, "Expect only one trace level 'OFF' is specified"),
    ({"trace_rate": "x"}, "Unable to parse 'trace_rate', got: x"),
    ({"trace_rate": ""}, "Unable to parse 'trace_rate', got: "),
    (
        {"trace_rate": "99999999999999999999"},
        OUT_OF_RANGE.format("trace_rate", UNSIGNED, "99999999999999999999"),
    ),
    ({"trace_rate": "4294967296"}, OUT_OF_RANGE.format("trace_rate", UNSIGNED, "4294967296")),
    ({"trace_count": "x"}, "Unable to parse 'trace_count', got: x"),
    ({"trace_count": "2147483648"}, OUT_OF_RANGE.format("trace_count", SIGNED, "2147483648")),
    ({"log_frequency": "x"}, "Unable to parse 'log_frequency', got: x"),
    (
        {"trace_level": ["TIMESTAMPS"], "trace_rate": "0"},
        "Attempting to set invalid trace setting :sample rate must be non-zero",
    ),
    pytest.param({"trace_rate": "5x"}, "Unable to parse 'trace_rate', got: 5x", marks=BETTER),
    pytest.param(
        {"trace_rate": "-1"}, OUT_OF_RANGE.format("trace_rate", UNSIGNED, "-1"), marks=BETTER
    ),
    pytest.param(
        {"trace_level": ["TENSOR"]}, "Unable to parse 'trace_level', got: TENSOR", marks=BETTER
    ),
    pytest.param(
        {"trace_level": ["TIMESTAMPS"], "trace_count": "0"},
        "Attempting to set invalid trace setting :trace count is used up",
        marks=pytest.mark.ours("Triton gives no reason"),
    ),
    pytest.param(
        {"trace_count": "-2"},
        "Unable to parse 'trace_count'. Expecting value >= -1, got: -2",
        marks=pytest.mark.ours("Triton has a blank less over HTTP"),
    ),
]


@pytest.mark.parametrize(("change", "text"), REFUSED)
def test_refusals(
    tracer: Server, initial: dict[str, Any], change: dict[str, Any], text: str
) -> None:
    answer = tracer.http.post(SETTING, {"trace_rate": "5", "log_frequency": "6", **change})
    assert (answer.status, answer.error) == (400, text)
    assert settings(tracer.http.get(SETTING)) == initial


@pytest.mark.parametrize(("change", "text"), REFUSED)
def test_refusals_over_grpc(grpc_door: GrpcDoor, change: dict[str, Any], text: str) -> None:
    message = setting_request(**change)
    assert grpc_door.refusal("TraceSetting", message) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"trace_level":"OFF"}', "attempt to access JSON non-array as array"),
        (b'{"trace_level":[1]}', "attempt to access JSON non-string as string"),
        (b'{"trace_rate":7}', "attempt to access JSON non-string as string"),
        (b'{"trace_count":["4"]}', "attempt to access JSON non-string as string"),
        (b'{"log_frequency":7}', "attempt to access JSON non-string as string"),
        (b"", "failed to parse the request JSON buffer: The document is empty. at 0"),
        (
            b'{"trace_rate":7',
            "failed to parse the request JSON buffer: Missing a comma or '}' after an object "
            "member. at 15",
        ),
    ],
)
def test_bodies_of_the_wrong_shape(tracer: Server, body: bytes, text: str) -> None:
    answer = tracer.http.post(SETTING, body)
    # Later Tritons count what is no JSON as the client's mistake (P060).
    status = tracer.choose(400, 500) if text.startswith("failed to parse") else 500
    assert (answer.status, answer.error) == (status, text)


NO_PATH = "trace file location can not be updated through network protocol"


@pytest.mark.parametrize("path", [SETTING, OF_MODEL])
@pytest.mark.parametrize("value", ["/tmp/elsewhere", None])
def test_no_client_chooses_the_file(tracer: Server, path: str, value: str | None) -> None:
    answer = tracer.http.post(path, {"trace_rate": "5", "trace_file": value})
    assert (answer.status, answer.error) == (501, NO_PATH)
    assert settings(tracer.http.get(path))["trace_rate"] == "3"


@pytest.mark.parametrize("values", [["/tmp/elsewhere"], []])
def test_no_client_chooses_the_file_over_grpc(grpc_door: GrpcDoor, values: list[str]) -> None:
    message = pb.TraceSettingRequest()
    message.settings["trace_file"].value.extend(values)
    assert grpc_door.refusal("TraceSetting", message) == ("UNIMPLEMENTED", NO_PATH)


def setting_request(model: str = "", **changes: str | list[str] | None) -> pb.TraceSettingRequest:
    """Return a request for these changes; None clears."""
    message = pb.TraceSettingRequest(model_name=model)
    for name, value in changes.items():
        values = [value] if isinstance(value, str) else value or []
        message.settings[name].value.extend(values)
    return message


def over_grpc(door: GrpcDoor, **changes: Any) -> dict[str, list[str]]:
    reply = door.call("TraceSetting", setting_request(**changes))
    return {name: list(value.value) for name, value in reply.settings.items()}


def test_grpc_shows_and_changes_the_same(
    tracer: Server, grpc_door: GrpcDoor, initial: dict[str, Any]
) -> None:
    def as_lists(values: dict[str, Any]) -> dict[str, list[str]]:
        return {k: v if isinstance(v, list) else [v] for k, v in values.items()}

    assert over_grpc(grpc_door) == as_lists(initial)
    changed = {**initial, "trace_level": ["TIMESTAMPS", "TENSORS"], "trace_rate": "5"}
    assert over_grpc(
        grpc_door, trace_level=["TIMESTAMPS", "TENSORS"], trace_rate="5", unknown="x"
    ) == as_lists(changed)
    assert settings(tracer.http.get(SETTING)) == changed
    of_model = over_grpc(grpc_door, model="add_sub", trace_rate="6")
    assert of_model == as_lists({**changed, "trace_rate": "6"})
    assert over_grpc(grpc_door, trace_level=None, trace_rate=None) == as_lists(initial)


@pytest.mark.parametrize("name", ["trace_rate", "trace_count", "log_frequency"])
def test_one_value_for_each_number(grpc_door: GrpcDoor, name: str) -> None:
    message = setting_request(**{name: ["1", "2"]})
    expected = ("INVALID_ARGUMENT", f"expect only 1 value for '{name}'")
    assert grpc_door.refusal("TraceSetting", message) == expected


@pytest.mark.ours("Triton 2.51 had a text of its own, later ones that of every other route")
def test_unknown_models(tracer: Server, grpc_door: GrpcDoor) -> None:
    for method in ("GET", "POST"):
        answer = tracer.http.request(method, "/v2/models/nope/trace/setting", b"{}")
        assert (answer.status, answer.error) == (
            404,
            "Request for unknown model: 'nope' is not found",
        )
    message = setting_request("nope", trace_rate="1")
    assert grpc_door.refusal("TraceSetting", message) == (
        "NOT_FOUND",
        "Request for unknown model: 'nope' is not found",
    )


def test_the_clients_of_triton(tracer: Server) -> None:
    with http_client.InferenceServerClient(tracer.http.address) as client:
        changed = client.update_trace_settings("add_sub", {"trace_rate": "9", "trace_level": None})
        assert changed["trace_rate"] == "9"
        assert client.get_trace_settings("add_sub")["trace_rate"] == "9"
        assert client.get_trace_settings()["trace_rate"] == "3"
    with grpc_client.InferenceServerClient(tracer.grpc_address) as client:
        assert list(client.get_trace_settings("add_sub").settings["trace_rate"].value) == ["9"]
        client.update_trace_settings("add_sub", {"trace_rate": None})
        assert list(client.get_trace_settings("add_sub").settings["trace_rate"].value) == ["3"]


def test_without_a_file_nothing_can_be_traced(server: Server) -> None:
    # The server that most tests share was started without one.
    answer = server.http.post(SETTING, {"trace_level": ["TIMESTAMPS"]})
    text = "Attempting to set invalid trace setting :trace file name is not given"
    assert (answer.status, answer.error) == (400, text)
    assert settings(server.http.get(SETTING))["trace_file"] == ""
