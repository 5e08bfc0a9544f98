# SPDX-License-Identifier: Apache-2.0
"""Debuggers that attach to a worker process."""

from __future__ import annotations

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from python_api_support import RunningServer, text_input, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.answer = "initialized"

    def execute(self, requests):
        answer = self.answer
        breakpoint()
        output = pb_utils.Tensor("OUTPUT", np.array([answer], dtype=object))
        return [pb_utils.InferenceResponse([output]) for _ in requests]
"""
STOP_LINE = MODEL.splitlines().index("        breakpoint()") + 1


def write(repository: Path, name: str, setting: str | None) -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    parameter = ""
    if setting is not None:
        value = f'value {{ string_value: "{setting}" }}'
        parameter = f'parameters {{ key: "TRITONGW_PYTHON_DEBUG" {value} }}'
    (version.parent / "config.pbtxt").write_text(f"""
        backend: "python"
        input {{ name: "INPUT" data_type: TYPE_STRING dims: [-1] }}
        output {{ name: "OUTPUT" data_type: TYPE_STRING dims: [-1] }}
        {parameter}
    """)


@pytest.fixture(scope="module")
def pdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    place = tmp_path_factory.mktemp("pdb")
    write(place / "models", "by_environment", None)
    write(place / "models", "by_parameter", "pdb:0")
    with RunningServer(
        place / "log",
        f"--model-repository={place / 'models'}",
        environment={"TRITONGW_PYTHON_DEBUG": "pdb:0"},
    ) as server:
        yield server


class Console:
    """What `nc` gives."""

    def __init__(self, server: RunningServer, model: str) -> None:
        found = server.wait_for_log(rf"breakpoints of '{model}_0' wait at 127\.0\.0\.1:(\d+)")
        self.socket = socket.create_connection(("127.0.0.1", int(found.group(1))), timeout=30)

    def read(self) -> str:
        """Return what is printed up to the next prompt."""
        printed = ""
        while not printed.endswith("(Pdb) "):
            received = self.socket.recv(4096)
            assert received, printed
            printed += received.decode()
        return printed

    def ask(self, command: str) -> str:
        self.socket.sendall(f"{command}\n".encode())
        return self.read()


@pytest.mark.parametrize("model", ["by_environment", "by_parameter"])
def test_breakpoint_waits_for_a_connection(pdb: RunningServer, model: str) -> None:
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(pdb.infer, model, inputs=[text_input("x")])
        console = Console(pdb, model)
        assert f"model.py({STOP_LINE + 1})execute()" in console.read()
        assert console.ask("p answer").startswith("'initialized'")
        console.ask("answer = 'changed'")
        console.socket.sendall(b"c\n")
        assert asked.result().data() == ["changed"]
        # The connection serves the next breakpoint, too, and its end lets the model go on.
        asked = pool.submit(pdb.infer, model, inputs=[text_input("x")])
        assert "execute()" in console.read()
        console.socket.close()
        assert asked.result().data() == ["initialized"]


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that is not debugged, but for a model that is to be, badly."""
    place = tmp_path_factory.mktemp("others")
    write(place / "models", "plain", None)
    write(place / "models", "misspelt", "gdb:1")
    options = ("--exit-on-error=false", "--strict-readiness=false")
    with RunningServer(place / "log", f"--model-repository={place / 'models'}", *options) as server:
        yield server


def test_breakpoint_in_a_worker_says_how_to_debug_and_goes_on(others: RunningServer) -> None:
    assert others.infer("plain").data() == ["initialized"]
    others.wait_for_log(
        r"breakpoint\(\) does nothing in a worker process unless the server runs with "
        r"TRITONGW_PYTHON_DEBUG=pdb:PORT"
    )


def test_bad_setting_is_refused(others: RunningServer) -> None:
    others.wait_for_log("TRITONGW_PYTHON_DEBUG must be PORT or pdb:PORT, found 'gdb:1'")


class Editor:
    """As much of the debug adapter protocol as it takes to stop at a breakpoint."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.stream: BinaryIO = self.socket.makefile("rb")
        self.sequence = 0
        self.seen: list[dict[str, Any]] = []

    def close(self) -> None:
        self.stream.close()
        self.socket.close()

    def send(self, command: str, **arguments: Any) -> int:
        self.sequence += 1
        message = {"seq": self.sequence, "type": "request", "command": command}
        body = json.dumps({**message, "arguments": arguments}).encode()
        self.socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return self.sequence

    def wait(self, **fields: Any) -> dict[str, Any]:
        """Return the first message, seen or to come, that has these fields."""
        while True:
            for message in self.seen:
                if fields.items() <= message.items():
                    self.seen.remove(message)
                    return message
            length = 0
            while (line := self.stream.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                if name == b"Content-Length":
                    length = int(value)
            self.seen.append(json.loads(self.stream.read(length)))

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        answer = self.wait(type="response", request_seq=self.send(command, **arguments))
        assert answer["success"], answer
        return dict(answer.get("body", {}))


def test_an_editor_attaches_before_the_model_is_imported(tmp_path: Path) -> None:
    pytest.importorskip("debugpy")
    write(tmp_path / "models", "edited", "0")
    # Shorter than attaching takes: whoever debugs takes the time it takes.
    options = ["--backend-config=python,stub-timeout-seconds=1", "--disable-auto-complete-config"]
    file = str(tmp_path / "models" / "edited" / "1" / "model.py")
    line = MODEL.splitlines().index('        self.answer = "initialized"') + 1
    with ThreadPoolExecutor() as pool:
        log = tmp_path / "log"
        starting = pool.submit(
            RunningServer, log, f"--model-repository={tmp_path / 'models'}", *options
        )
        editor = Editor(port_in(log))
        editor.ask("initialize", adapterID="test", pathFormat="path")
        attached = editor.send("attach", justMyCode=False)
        editor.wait(type="event", event="initialized")
        editor.ask("setBreakpoints", source={"path": file}, breakpoints=[{"line": line}])
        editor.ask("configurationDone")
        editor.wait(type="response", request_seq=attached)
        stopped = editor.wait(type="event", event="stopped")["body"]
        assert stopped["reason"] == "breakpoint"
        frames = editor.ask("stackTrace", threadId=stopped["threadId"])["stackFrames"]
        assert frames[0]["name"].endswith("initialize")
        assert frames[0]["line"] == line
        editor.ask("setBreakpoints", source={"path": file}, breakpoints=[])
        editor.ask("continue", threadId=stopped["threadId"])
        with starting.result() as server:
            asked = pool.submit(server.infer, "edited")
            stopped = editor.wait(type="event", event="stopped")["body"]
            editor.ask("continue", threadId=stopped["threadId"])
            assert asked.result().data() == ["initialized"]
            editor.ask("disconnect")
            editor.close()


def port_in(log: Path) -> int:
    """Wait for the line that says where the worker waits, in a log that is being written."""
    pattern = re.compile(r"'edited_0' waits for a debugger at 127\.0\.0\.1:(\d+)")
    wait_until(lambda: log.exists() and pattern.search(log.read_text()) is not None, "the port")
    found = pattern.search(log.read_text())
    assert found is not None
    return int(found.group(1))
