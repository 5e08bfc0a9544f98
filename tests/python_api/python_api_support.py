# SPDX-License-Identifier: Apache-2.0
"""A running server, and a repository made of this folder's models."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = Path(__file__).resolve().parent / "models"
START_LIMIT_S = 50.0
HOSTS = ("worker", "in_process")


@dataclass(frozen=True)
class Answer:
    """Status and JSON body of a reply."""

    status: int
    body: Any

    @property
    def error(self) -> str:
        return str(self.body["error"])

    def data(self, output: str = "OUTPUT") -> list[Any]:
        found = [entry for entry in self.body["outputs"] if entry["name"] == output]
        assert len(found) == 1, self.body
        return list(found[0]["data"])


PORTS = ("--http-port=0", "--grpc-port=0", "--metrics-port=0")


class RunningServer:
    """A running server and its log."""

    def __init__(
        self,
        log: Path,
        *arguments: str,
        directory: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.log_path = log
        command = [sys.executable, "-m", "tritongw", "serve", *arguments, *PORTS]
        variables = {**os.environ, **(environment or {})}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=directory, env=variables
            )
        address = self.wait_for_log(r"Started HTTPService at ([0-9.]+:[0-9]+)")
        self.url = f"http://{address.group(1)}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def wait_for_log(self, pattern: str) -> re.Match[str]:
        """Wait until the pattern is found in the log; return its first match."""
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            has_ended = self.process.poll() is not None
            found = re.search(pattern, self.log)
            if found:
                return found
            assert not has_ended, self.log
            time.sleep(0.02)
        raise AssertionError(self.log)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def infer(self, model: str, **fields: Any) -> Answer:
        inputs = fields.pop("inputs", [text_input("ok")])
        body = json.dumps({"inputs": inputs, **fields}).encode()
        return self._ask(f"/v2/models/{model}/infer", body)

    def infer_binary(self, model: str, data: bytes, *, padding: int) -> bytes:
        """Send FP32 data after a JSON head that is longer by some blanks; return the output's."""
        entry = {"name": "INPUT", "datatype": "FP32", "shape": [len(data) // 4]}
        outputs = [{"name": "OUTPUT", "parameters": {"binary_data": True}}]
        entry["parameters"] = {"binary_data_size": len(data)}
        head = json.dumps({"inputs": [entry], "outputs": outputs}).encode() + b" " * padding
        request = urllib.request.Request(
            f"{self.url}/v2/models/{model}/infer",
            head + data,
            {"Inference-Header-Content-Length": str(len(head))},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            head_size = int(reply.headers["Inference-Header-Content-Length"])
            return bytes(reply.read()[head_size:])

    def command(self, model: str, text: str, **fields: Any) -> Answer:
        """Ask a model whose input is one text what to do."""
        return self.infer(model, inputs=[text_input(text)], **fields)

    def stream(self, model: str, text: str) -> list[str]:
        """Ask a decoupled model what to do; return its answers, errors as ``error: <text>``."""
        body = json.dumps({"INPUT": text}).encode()
        request = urllib.request.Request(f"{self.url}/v2/models/{model}/generate_stream", body)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                lines = [line for line in reply.read().decode().split("\n\n") if line]
        except urllib.error.HTTPError as error:
            with error:
                lines = [error.read().decode()]
        events = [json.loads(line.removeprefix("data: ")) for line in lines]
        return [
            f"error: {event['error']}" if "error" in event else event["OUTPUT"] for event in events
        ]

    def get(self, path: str) -> Answer:
        return self._ask(path, None)

    def post(self, path: str) -> Answer:
        return self._ask(path, b"")

    def _ask(self, path: str, body: bytes | None) -> Answer:
        request = urllib.request.Request(self.url + path, body)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                status, content = reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                status, content = error.code, error.read()
        return Answer(status, json.loads(content or b"null"))

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        finally:
            self.process.kill()


class Server(RunningServer):
    """One that serves whatever of a repository loads, and tells much."""

    def __init__(self, repository: Path, log: Path) -> None:
        options = ("--log-verbose=1", "--exit-on-error=false", "--strict-readiness=false")
        super().__init__(log, f"--model-repository={repository}", *options)


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for something to become so."""
    deadline = time.monotonic() + START_LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def text_input(text: str) -> dict[str, Any]:
    return {"name": "INPUT", "datatype": "BYTES", "shape": [1], "data": [text]}


def numbers_input(values: list[float]) -> dict[str, Any]:
    return {"name": "INPUT", "datatype": "FP32", "shape": [len(values)], "data": values}


def write_model(repository: Path, source: Path, host: str, *, data_type: str) -> None:
    name = f"{source.stem}_{host}"
    directory = repository / name / "1"
    directory.mkdir(parents=True)
    (directory / "model.py").write_text(source.read_text())
    (directory / "beside.py").write_text("WHERE = __file__\n")
    config = f"""
        backend: "python"
        input {{ name: "INPUT" data_type: {data_type} dims: [-1] }}
        output {{ name: "OUTPUT" data_type: {data_type} dims: [-1] }}
        output {{ name: "SECOND" data_type: {data_type} dims: [-1] }}
        model_transaction_policy {{ decoupled: {str(source.stem.startswith("decoupled")).lower()} }}
        parameters {{ key: "TRITONGW_PYTHON_HOST" value {{ string_value: "{host}" }} }}
    """
    if source.stem != "completed":
        (directory.parent / "config.pbtxt").write_text(config)
