# SPDX-License-Identifier: Apache-2.0
"""Log lines and their settings (triton.md T037-T045, P014, P101, P102, P130)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import tritonclient.grpc
import tritonclient.http
from server_process import ServerFailedError
from support.grpc_door import GrpcDoor
from support.repository import PythonModel, echo, write_models
from support.servers import Server
from tritonclient.grpc import service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.servers import ServerStarter

STARTED = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}


@pytest.fixture(scope="module")
def log_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    directory = write_models(tmp_path_factory.mktemp("logging"), {"echo": echo("TYPE_FP32 [ -1 ]")})
    process = starter.prepare("logging", directory)
    with process:
        yield Server(process, starter.is_oracle)


@pytest.fixture
def settings_server(log_server: Server) -> Iterator[Server]:
    """The server, with its settings as they were at first."""
    yield log_server
    first = {name: value for name, value in STARTED.items() if name != "log_file"}
    assert post(log_server, first)[0] == 200


def post(server: Server, settings: Any) -> tuple[int, Any]:
    answer = server.http.request("POST", "/v2/logging", json.dumps(settings).encode())
    return answer.status, answer.json


def get(server: Server) -> Any:
    answer = server.http.request("GET", "/v2/logging")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json


def test_settings_are_told(settings_server: Server) -> None:
    assert get(settings_server) == STARTED
    assert list(get(settings_server)) == list(STARTED)


def test_settings_are_changed_and_told(settings_server: Server) -> None:
    change = {"log_info": False, "log_verbose_level": 2, "log_format": "ISO8601"}
    assert post(settings_server, change) == (200, {**STARTED, **change})
    assert get(settings_server) == {**STARTED, **change}
    ignored = {"log_info": None, "log_file": None, "no_such_setting": 1}
    assert post(settings_server, ignored) == (200, {**STARTED, **change})


@pytest.mark.parametrize(
    ("settings", "status", "text"),
    [
        ({"log_info": "false"}, 500, "attempt to access JSON non-boolean as boolean"),
        (
            {"log_verbose_level": -1},
            500,
            "attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
        ({"log_format": 1}, 500, "attempt to access JSON non-string as string"),
        ({"log_format": "iso8601"}, 503, "invalid argument for --log_format, got: iso8601"),
        (
            {"log_file": "elsewhere"},
            501,
            "log file location can not be updated through network protocol",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_settings_are_refused(
    settings_server: Server, settings: dict[str, Any], status: int, text: str
) -> None:
    assert post(settings_server, settings) == (status, {"error": text})
    assert get(settings_server) == STARTED


def test_a_body_that_is_no_json_is_refused(settings_server: Server) -> None:
    answer = settings_server.http.request("POST", "/v2/logging", b"xx")
    assert answer.status == settings_server.choose(400, triton_2_51=500)
    expected = "failed to parse the request JSON buffer: Invalid value. at 0"
    assert answer.error == expected


@pytest.mark.ours("2.51 applies what stands before the refused setting")
def test_a_refused_update_changes_nothing(settings_server: Server) -> None:
    status, _ = post(settings_server, {"log_warning": False, "log_format": "bad"})
    assert status == 503
    assert get(settings_server) == STARTED


def grpc_settings(door: GrpcDoor, **settings: Any) -> dict[str, Any]:
    values = {name: pb.LogSettingsRequest.SettingValue(**value) for name, value in settings.items()}
    reply = door.call("LogSettings", pb.LogSettingsRequest(settings=values))
    return {
        name: getattr(value, value.WhichOneof("parameter_choice"))
        for name, value in reply.settings.items()
    }


@pytest.fixture
def settings_door(settings_server: Server) -> Iterator[GrpcDoor]:
    door = GrpcDoor(settings_server.grpc_address)
    yield door
    door.close()


def test_grpc_changes_the_same_settings(settings_server: Server, settings_door: GrpcDoor) -> None:
    assert grpc_settings(settings_door) == STARTED
    told = grpc_settings(
        settings_door,
        log_warning={"bool_param": False},
        log_verbose_level={"uint32_param": 1},
        log_format={"string_param": "ISO8601"},
    )
    expected = {
        **STARTED,
        "log_warning": False,
        "log_verbose_level": 1,
        "log_format": "ISO8601",
    }
    assert told == expected
    assert get(settings_server) == expected


@pytest.mark.parametrize(
    ("settings", "status", "text"),
    [
        (
            {"log_info": {"string_param": "x"}},
            "INVALID_ARGUMENT",
            "expect boolean for 'log_info'",
        ),
        (
            {"log_verbose_level": {"string_param": "1"}},
            "INVALID_ARGUMENT",
            "expect int32 for 'log_verbose_level'",
        ),
        (
            {"log_format": {"bool_param": True}},
            "INVALID_ARGUMENT",
            "expect string for 'log_format'",
        ),
        (
            {"log_format": {"string_param": "foo"}},
            "INVALID_ARGUMENT",
            "invalid argument for log_format, got: foo",
        ),
        (
            {"log_file": {"string_param": "x"}},
            "UNIMPLEMENTED",
            "log file location can not be updated through network protocol",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_grpc_refuses_bad_settings(
    settings_server: Server,
    settings_door: GrpcDoor,
    settings: dict[str, Any],
    status: str,
    text: str,
) -> None:
    values = {name: pb.LogSettingsRequest.SettingValue(**value) for name, value in settings.items()}
    request = pb.LogSettingsRequest(settings=values)
    assert settings_door.refusal("LogSettings", request) == (status, text)
    assert get(settings_server) == STARTED


def test_clients_change_settings(settings_server: Server) -> None:
    endpoints = settings_server.process.endpoints
    with tritonclient.http.InferenceServerClient(endpoints.http) as client:
        assert client.get_log_settings() == STARTED
        assert client.update_log_settings({"log_verbose_level": 3})["log_verbose_level"] == 3
    with tritonclient.grpc.InferenceServerClient(endpoints.grpc) as client:
        told = client.update_log_settings({"log_verbose_level": 4}, as_json=True)
        assert told["settings"]["log_verbose_level"] == {"uint32_param": 4}


def test_lines_begin_as_tritons(log_server: Server) -> None:
    log = log_server.process.log()
    prefix = r"I\d{4} \d\d:\d\d:\d\d\.\d{6} " + str(log_server.process.pid) + r" \w+\.\w+:\d+\] "
    assert re.search("(?m)^" + prefix + r'"Started HTTPService at [\d.:]+"$', log)
    assert re.search("(?m)^" + prefix + r"\n\+-+\+", log), "tables are not quoted"


def test_a_file_takes_every_line(starter: ServerStarter, tmp_path: Path) -> None:
    directory = write_models(tmp_path / "models", {"echo": echo("TYPE_FP32 [ -1 ]")})
    file = tmp_path / "server.log"
    file.write_text("what was there stays\n")
    options = [f"--log-file={file}", "--log-format=ISO8601", "--log-verbose=1"]
    process = starter.prepare("log_file", directory, options)
    console = process.log
    # Its addresses are in the file.
    process.log = lambda: console() + file.read_text()  # type: ignore[method-assign]
    process.start()
    try:
        server = Server(process, starter.is_oracle)
        assert get(server)["log_file"] == str(file)
        assert get(server)["log_verbose_level"] == 1
    finally:
        process.stop()
    lines = file.read_text()
    assert lines.startswith("what was there stays\n")
    assert re.search(
        r'(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ I \d+ \w+\.\w+:\d+\] "Started HTTPService at', lines
    )
    assert "HTTPService" not in console()


@pytest.mark.parametrize("kind", ["info", "warning", "error"])
def test_kinds_of_lines_are_switched_off(starter: ServerStarter, tmp_path: Path, kind: str) -> None:
    io = ({"INPUT0": "TYPE_FP32 [ -1 ]"}, {"OUTPUT0": "TYPE_FP32 [ -1 ]"})
    models = {"broken": PythonModel("fails_to_initialize", *io, versions=("1", "02"))}
    directory = write_models(tmp_path / "models", models)
    options = [f"--log-{each}={each != kind}" for each in ("info", "warning", "error")]
    process = starter.prepare(f"no_{kind}", directory, options)
    with pytest.raises(ServerFailedError):
        process.start()
    letters = set(re.findall(r"(?m)^([IWE])\d{4} ", process.log()))
    assert letters == {"I", "W", "E"} - {kind[0].upper()}
