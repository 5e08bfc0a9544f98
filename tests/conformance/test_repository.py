# SPDX-License-Identifier: Apache-2.0
"""A repository in which not every model loads (triton.md R001-R012, R052-R059, R078-R080)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from server_process import ServerFailedError
from support.repository import PythonModel, echo, write_models
from support.servers import Server, ServerStarter
from support.wire import tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IO = ({"INPUT0": "TYPE_FP32 [ -1 ]"}, {"OUTPUT0": "TYPE_FP32 [ -1 ]"})


def good(extra: str = "", versions: tuple[str, ...] = ("1",)) -> PythonModel:
    return PythonModel("echo", *IO, extra=extra, versions=versions)


BROKEN = {
    "good": good(),
    "fails_to_initialize": PythonModel("fails_to_initialize", *IO),
    "wrong_name": good('name: "other"'),
    "no_version": good(versions=()),
    "unknown_field": good("no_such_field: 1"),
    "negative_batch": good("max_batch_size: -1"),
    "zero_dim": echo("TYPE_FP32 [ 0 ]"),
    "unknown_backend": good('runtime: ""'),
    "missing_specific": good("version_policy { specific { versions: [ 1, 7 ] } }"),
    "odd_directories": good(versions=("1", "02", "x", "warmup")),
}
# Models that have no version ready, by what Triton says of them.
NOT_FOUND = "Request for unknown model: '{}' is not found"
NO_VERSIONS = "Request for unknown model: '{}' has no available versions"
UNLOADED = {
    "fails_to_initialize": NO_VERSIONS,
    "wrong_name": NOT_FOUND,
    "no_version": NO_VERSIONS,
    "unknown_field": NOT_FOUND,
    "zero_dim": NO_VERSIONS,
    "unknown_backend": NO_VERSIONS,
}


def write_broken(directory: Path) -> Path:
    write_models(directory, BROKEN)
    config = directory / "unknown_backend" / "config.pbtxt"
    config.write_text(config.read_text().replace('"python"', '"no_such_backend"'))
    return directory


@pytest.fixture(scope="module")
def own_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    directory = write_broken(tmp_path_factory.mktemp("models"))
    process = starter.prepare(
        "broken_models", directory, ["--exit-on-error=false"], ready_path="/v2/health/live"
    )
    with process:
        yield Server(process, starter.is_oracle)


def test_server_is_live_but_not_ready(own_server: Server) -> None:
    assert own_server.http.get("/v2/health/live").status == 200
    answer = own_server.http.get("/v2/health/ready")
    assert (answer.status, answer.body) == (400, b"")


@pytest.mark.parametrize("model", ["good", "missing_specific", "odd_directories"])
def test_other_models_are_served(own_server: Server, model: str) -> None:
    assert own_server.http.get(f"/v2/models/{model}/ready").status == 200
    assert own_server.http.get(f"/v2/models/{model}").json["versions"] == ["1"]
    answer = own_server.http.infer(model, [tensor("INPUT0", "FP32", [2], [1.0, 2.0])])
    assert answer.json["outputs"][0]["data"] == [1.0, 2.0]


@pytest.mark.parametrize(("model", "text"), UNLOADED.items())
@pytest.mark.parametrize("path", ["", "/config"])
def test_what_is_said_of_models_that_did_not_load(
    own_server: Server, model: str, text: str, path: str
) -> None:
    answer = own_server.http.get(f"/v2/models/{model}{path}")
    assert (answer.status, answer.error) == (404, text.format(model))


@pytest.mark.parametrize("model", UNLOADED)
def test_models_that_did_not_load_are_not_ready(own_server: Server, model: str) -> None:
    answer = own_server.http.get(f"/v2/models/{model}/ready")
    assert answer.status in (400, 404)


def test_infer_on_a_model_that_did_not_load(own_server: Server) -> None:
    inputs = [tensor("INPUT0", "FP32", [1], [1.0])]
    answer = own_server.http.infer("fails_to_initialize", inputs)
    assert answer.status == 404
    assert answer.error == NO_VERSIONS.format("fails_to_initialize")


def test_version_that_did_not_load_is_unavailable(own_server: Server) -> None:
    body = {"inputs": [tensor("INPUT0", "FP32", [1], [1.0])]}
    path = "/v2/models/fails_to_initialize/versions/1/infer"
    answer = own_server.http.post(path, body)
    assert answer.status == 503
    assert answer.error == (
        "Request for unknown model: 'fails_to_initialize' version 1 is not at ready state"
    )


def test_log_tells_why(own_server: Server) -> None:
    log = own_server.process.log()
    assert "told to fail at initialization" in log
    assert "failed to load 'fails_to_initialize' version 1" in log
    assert "unable to find backend library for backend 'no_such_backend'" in log
    assert "UNAVAILABLE" in log
    assert "successfully loaded 'good'" in log


def test_not_strict_readiness(starter: ServerStarter, tmp_path: Path) -> None:
    models = {name: BROKEN[name] for name in ("good", "fails_to_initialize")}
    directory = write_models(tmp_path / "models", models)
    options = ["--exit-on-error=false", "--strict-readiness=false"]
    with starter.prepare("not_strict", directory, options) as process:
        server = Server(process, starter.is_oracle)
        assert server.http.get("/v2/health/ready").status == 200
        assert server.http.get("/v2/models/fails_to_initialize/ready").status == 400


COMPLETES_ITSELF = """
class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "INPUT0", "data_type": "TYPE_FP32", "dims": [-1]})
        config.add_output({"name": "OUTPUT0", "data_type": "TYPE_FP32", "dims": [-1]})
        return config

    def execute(self, requests):
        raise NotImplementedError
"""


@pytest.mark.parametrize("option", ["", "--disable-auto-complete-config"])
def test_configurations_are_completed_unless_told_otherwise(
    starter: ServerStarter, tmp_path: Path, option: str
) -> None:
    directory = write_models(tmp_path / "models", {"good": good()})
    (directory / "bare" / "1").mkdir(parents=True)
    (directory / "bare" / "1" / "model.py").write_text(COMPLETES_ITSELF)
    options = ["--exit-on-error=false", *([option] if option else [])]
    with starter.prepare("completion", directory, options, "/v2/health/live") as process:
        server = Server(process, starter.is_oracle)
        assert server.http.get("/v2/models/good/ready").status == 200
        answer = server.http.get("/v2/models/bare/config")
        if option:
            assert (answer.status, answer.error) == (404, NOT_FOUND.format("bare"))
        else:
            assert answer.json["input"][0]["name"] == "INPUT0"


def test_broken_model_ends_the_server_unless_told_otherwise(
    starter: ServerStarter, tmp_path: Path
) -> None:
    models = {name: BROKEN[name] for name in ("good", "fails_to_initialize")}
    directory = write_models(tmp_path / "models", models)
    process = starter.prepare("exit_on_error", directory)
    with pytest.raises(ServerFailedError):
        process.start()
    assert process.wait(5) == 1
    assert "error: creating server: Internal - failed to load all models" in process.log()


def test_failed_version_takes_its_siblings_down(starter: ServerStarter, tmp_path: Path) -> None:
    both = dataclasses.replace(good("version_policy { all { } }"), versions=("1", "2"))
    directory = write_models(tmp_path / "models", {"half": both})
    (directory / "half" / "2" / "model.py").write_text("def (\n")
    process = starter.prepare(
        "half", directory, ["--exit-on-error=false"], ready_path="/v2/health/live"
    )
    with process:
        server = Server(process, starter.is_oracle)
        answer = server.http.get("/v2/models/half")
        assert answer.error == NO_VERSIONS.format("half")
