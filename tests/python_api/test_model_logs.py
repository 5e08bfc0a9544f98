# SPDX-License-Identifier: Apache-2.0
"""What models log, and what is logged of their failures: with whose it is, and the request."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from python_api_support import HOSTS, MODELS, RunningServer, wait_until, write_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from python_api_support import Server


def line(model: str, level: str, text: str, *, place: str = r"model\.py:\d+", ids: str = "") -> str:
    """Return a pattern of a line that a model's instance wrote."""
    requests = rf"\[request id: {ids}\] " if ids else ""
    return rf'(?m)^{level}\d{{4}} .* {place}\] "\[{model}_0\] {requests}{text}"$'


def test_a_failed_execution_is_logged_with_its_traceback(server: Server, host: str) -> None:
    model = f"logs_{host}"
    assert server.command(model, f"fail boom {host}", id=f"fail-{host}").status == 500
    for text in (
        rf"Failed to process the request\(s\) for model '{model}_0':",
        r"Traceback \(most recent call last\):",
        r"  File \\\".*/model\.py\\\", line \d+, in fail",
        f"ValueError: boom {host}",
    ):
        server.wait_for_log(line(model, "E", text, ids=f"fail-{host}"))


def test_what_breaks_a_rule_is_logged(server: Server, host: str) -> None:
    model = f"logs_{host}"
    answer = server.command(model, "misuse", id=f"misuse-{host}")
    assert answer.status == 500
    text = re.escape(answer.error.splitlines()[0])
    server.wait_for_log(line(model, "E", text, place="model:0", ids=f"misuse-{host}"))


def test_the_logger_says_whose_a_line_is(server: Server, host: str) -> None:
    model = f"logs_{host}"
    server.command(model, f"logger told {host}", id=f"told-{host}")
    server.wait_for_log(line(model, "W", f"told {host}", ids=f"told-{host}"))
    server.command(model, f"logger told {host} by nobody")
    server.wait_for_log(line(model, "W", f"told {host} by nobody"))


@pytest.mark.parametrize(
    ("name", "level"),
    [("CRITICAL", "E"), ("ERROR", "E"), ("WARNING", "W"), ("INFO", "I"), ("DEBUG", "I")],
)
def test_records_of_logging_keep_their_level(
    server: Server, host: str, name: str, level: str
) -> None:
    model = f"logs_{host}"
    server.command(model, f"logging {name} {name} of {host}", id=name)
    server.wait_for_log(line(model, level, f"{name} of {host}", ids=name))


def test_a_record_with_a_traceback_has_a_line_for_each_of_its_lines(
    server: Server, host: str
) -> None:
    model = f"logs_{host}"
    server.command(model, f"caught by {host}", id=f"caught-{host}")
    for text in ("caught", f"ValueError: by {host}"):
        server.wait_for_log(line(model, "E", text, ids=f"caught-{host}"))


def test_coroutines_log_their_own_requests(server: Server, host: str) -> None:
    model = f"logs_later_{host}"
    with ThreadPoolExecutor(2) as pool:
        ask = [pool.submit(server.command, model, text, id=f"id-{text}") for text in ("a", "fail")]
        assert [each.result().status for each in ask] == [200, 500]
    for text in ("a", "fail"):
        server.wait_for_log(line(model, "I", f"both: {text}", ids=f"id-{text}"))
    server.wait_for_log(line(model, "E", "ValueError: fail", ids="id-fail"))


def test_a_failed_start_is_logged_with_its_traceback(server: Server, host: str) -> None:
    model = f"fails_to_load_{host}"
    for text in (f"failed to load '{model}_0':", "RuntimeError: no weights"):
        server.wait_for_log(line(model, "E", text))


def test_too_many_lines_are_counted(server: Server) -> None:
    n_lines = 20_000

    def n_told() -> int:
        log = server.log
        dropped = re.findall(r'"\[logs_worker_0\] dropped (\d+) lines: more than', log)
        return sum(map(int, dropped)) + len(re.findall(r"\] flood \d+\"\n", log))

    before = n_told()
    assert server.command("logs_worker", f"flood {n_lines}").status == 200
    wait_until(lambda: n_told() - before == n_lines, "all lines to be logged or counted")


FAILING = """
import logging
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        {complete}
        return config

    def initialize(self, args):
        {initialize}

    def execute(self, requests):
        logging.getLogger("own").warning("from the handler of the model")
        return [pb_utils.InferenceResponse(error=pb_utils.TritonError("done")) for _ in requests]

    def finalize(self):
        raise ValueError("no end")
"""
CONFIG = """
backend: "python"
input { name: "INPUT" data_type: TYPE_STRING dims: [-1] }
output { name: "OUTPUT" data_type: TYPE_STRING dims: [-1] }
"""


@pytest.fixture(scope="module")
def json_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose log is JSON, and that loads what it is told to."""
    repository = tmp_path_factory.mktemp("repository")
    for host in HOSTS:
        write_model(repository, MODELS / "logs.py", host, data_type="TYPE_STRING")
    write(repository, "incomplete", complete='raise ValueError("no config")')
    write(repository, "own", initialize='logging.basicConfig(format="own %(message)s")')
    options = ("--model-control-mode=explicit", "--log-format=json")
    log = tmp_path_factory.mktemp("log") / "log"
    with RunningServer(log, f"--model-repository={repository}", *options) as server:
        yield server


def write(repository: Path, name: str, *, complete: str = "pass", initialize: str = "pass") -> None:
    directory = repository / name / "1"
    directory.mkdir(parents=True)
    (directory / "model.py").write_text(FAILING.format(complete=complete, initialize=initialize))
    text = CONFIG if complete == "pass" else 'backend: "python"'
    (directory.parent / "config.pbtxt").write_text(text)


def objects(server: RunningServer) -> list[dict[str, Any]]:
    lines = server.log.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def wait_for_object(server: RunningServer, **members: Any) -> dict[str, Any]:
    """Wait for a line with these members, and return it; `message` is a pattern."""
    message = members.pop("message")

    def found() -> list[dict[str, Any]]:
        return [
            each
            for each in objects(server)
            if re.search(message, each["message"]) and members.items() <= each.items()
        ]

    wait_until(lambda: bool(found()), f"{members} {message} in {server.log}")
    return found()[0]


def test_json_has_members_for_model_instance_and_request(
    json_server: RunningServer, host: str
) -> None:
    model = f"logs_{host}"
    assert json_server.post(f"/v2/repository/models/{model}/load").status == 200
    whose = {"model": model, "version": 1, "instance": f"{model}_0"}
    json_server.command(model, f"logger told {host}", id="7")
    told = wait_for_object(json_server, message=f"^told {host}$", request_id="7", **whose)
    assert told["level"] == "WARNING"
    json_server.command(model, f"fail {host}", id="8")
    failed = wait_for_object(json_server, message=f"ValueError: {host}", request_id="8", **whose)
    first, *_, last = failed["message"].splitlines()
    assert first == f"Failed to process the request(s) for model '{model}_0':"
    assert last == f"ValueError: {host}"
    assert failed["file"] == "model.py"


def test_a_failed_completion_is_logged_with_its_traceback(json_server: RunningServer) -> None:
    assert json_server.post("/v2/repository/models/incomplete/load").status != 200
    text = r"(?s)^failed to complete the configuration of 'incomplete':\n.*ValueError: no config$"
    wait_for_object(json_server, message=text, model="incomplete", level="ERROR")


def test_a_models_own_handler_is_left_alone(json_server: RunningServer) -> None:
    assert json_server.post("/v2/repository/models/own/load").status == 200
    json_server.command("own", "go")
    whose = {"model": "own", "instance": "own_0"}
    text = "^own from the handler of the model$"
    wait_for_object(json_server, message=text, file="stderr", **whose)
    assert json_server.post("/v2/repository/models/own/unload").status == 200
    text = r"(?s)^failed to finalize 'own_0':\n.*ValueError: no end$"
    wait_for_object(json_server, message=text, level="ERROR", **whose)
    messages = [each["message"] for each in objects(json_server)]
    assert sum("from the handler of the model" in each for each in messages) == 1
