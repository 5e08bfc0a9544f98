# SPDX-License-Identifier: Apache-2.0
"""A server that follows its repositories as they change (R025, R027, R023, R066-R071)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from support.repository import CODE, PythonModel, write_models
from support.servers import Server, ServerStarter
from support.wire import tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ECHO = PythonModel("echo", {"INPUT0": "TYPE_FP32 [ -1 ]"}, {"OUTPUT0": "TYPE_FP32 [ -1 ]"})
ECHO_CODE = (CODE / "echo.py").read_bytes()
DOUBLING_CODE = ECHO_CODE.replace(b"tensor.as_numpy()", b"tensor.as_numpy() * 2")
WAIT_S = 30


def infer(server: Server, model: str) -> object:
    """Return the answer of `model` to 1, or the status of its refusal."""
    answer = server.http.infer(model, [tensor("INPUT0", "FP32", [1], [1.0])])
    return answer.json["outputs"][0]["data"] if answer.status == 200 else answer.status


def write_code(directory: Path, model: str, code: bytes) -> None:
    """Replace the code of `model` by a new file."""
    target = directory / model / "1" / "model.py"
    fresh = directory.parent / "fresh"
    fresh.write_bytes(code)
    fresh.replace(target)


def test_models_come_change_and_go(starter: ServerStarter, tmp_path: Path) -> None:
    directory = write_models(tmp_path / "models", {"stays": ECHO})
    options = ["--model-control-mode=poll", "--repository-poll-secs=1"]
    with starter.prepare("poll", directory, options) as process:
        server = Server(process, starter.is_oracle)
        ECHO.write(tmp_path / "comes")
        (tmp_path / "comes").rename(directory / "comes")
        wait_until(lambda: infer(server, "comes") == [1.0], WAIT_S, "the new model")

        write_code(directory, "comes", b"def (\n")
        log = "SyntaxError"
        wait_until(lambda: log in server.process.log(), WAIT_S, "the failed reload")
        assert infer(server, "comes") == [1.0]
        assert server.http.get("/v2/models/comes/ready").status == 200

        write_code(directory, "comes", DOUBLING_CODE)
        wait_until(lambda: infer(server, "comes") == [2.0], WAIT_S, "the reload")

        shutil.rmtree(directory / "comes")
        wait_until(lambda: infer(server, "comes") == 404, WAIT_S, "the end of the model")
        assert infer(server, "stays") == [1.0]
        answer = server.http.post("/v2/repository/models/stays/unload", b"")
        assert (answer.status, answer.error) == (
            503,
            "explicit model load / unload is not allowed if polling is enabled",
        )
        index = server.http.post("/v2/repository/index", b"").json
        assert {"name": "stays", "version": "1", "state": "READY"} in index


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("repositories")
    first = write_models(root / "first", {"twice": ECHO, "once": ECHO})
    second = write_models(root / "second", {"twice": ECHO, "other": ECHO})
    return [first, second]


def start(starter: ServerStarter, repositories: list[Path], *options: str) -> Iterator[Server]:
    first, second = repositories
    all_options = [f"--model-repository={second}", *options]
    with starter.prepare(options[0].strip("-"), first, all_options) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture(scope="module")
def unique(starter: ServerStarter, repositories: list[Path]) -> Iterator[Server]:
    yield from start(starter, repositories, "--exit-on-error=false")


@pytest.fixture(scope="module")
def namespaced(starter: ServerStarter, repositories: list[Path]) -> Iterator[Server]:
    yield from start(starter, repositories, "--model-namespacing=true")


def test_name_in_two_repositories(unique: Server) -> None:
    index = unique.http.post("/v2/repository/index", b"").json
    assert index == [
        {"name": "once", "version": "1", "state": "READY"},
        {"name": "other", "version": "1", "state": "READY"},
        {
            "name": "twice",
            "state": "UNAVAILABLE",
            "reason": "model appears in two or more repositories",
        },
    ]
    assert infer(unique, "once") == infer(unique, "other") == [1.0]
    answer = unique.http.get("/v2/models/twice")
    assert (answer.status, answer.error) == (
        404,
        "Request for unknown model: 'twice' is not found",
    )


def test_names_with_namespacing(namespaced: Server, repositories: list[Path]) -> None:
    index = namespaced.http.post("/v2/repository/index", b"").json
    assert sorted(entry["name"] for entry in index) == ["once", "other", "twice", "twice"]
    assert all(entry["state"] == "READY" for entry in index)
    assert infer(namespaced, "once") == [1.0]
    answer = namespaced.http.get("/v2/models/twice")
    assert (answer.status, answer.error) == (
        400,
        "There are 2 identifiers of model 'twice' in global map, model namespace must be provided "
        "to resolve ambiguity.",
    )
    answer = namespaced.http.get("/v2/models/nosuch")
    assert (answer.status, answer.error) == (
        400,
        "Request for unknown model: 'nosuch' is not found",
    )
    metrics = namespaced.metrics.get("/metrics").text
    for repository in repositories:
        assert f'namespace="{repository}"' in metrics
