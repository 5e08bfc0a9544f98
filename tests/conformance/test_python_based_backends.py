# SPDX-License-Identifier: Apache-2.0
"""Backends that are a ``model.py`` in the backend directory (R011, R012, B061-B063)."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support.environments import make_venv, pack
from support.repository import CODE
from support.servers import Server, ServerStarter
from support.wire import tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Name, and the lines of the configuration.
MODELS = {
    "one": 'backend: "shared"',
    "two": 'backend: "shared"',
    "by_runtime": 'backend: "shared" runtime: "model.py"',
    "packed": 'backend: "packed"',
    "settled": 'backend: "settled"',
    "no_backend": 'backend: "nowhere"',
    "outside": 'backend: "../shared"',
    "other_runtime": 'backend: "shared" runtime: "libtriton_other.so"',
    "python_runtime": 'backend: "python" runtime: "libtriton_other.so"',
}
LOADED = ("one", "two", "by_runtime", "packed")


@dataclass(frozen=True)
class Place:
    """A server and its directories."""

    server: Server
    backends: Path
    repository: Path

    def describe(self, model: str) -> Any:
        """Return what a model tells."""
        answer = self.server.http.infer(model, [tensor("COMMAND", "BYTES", [1], ["tell"])])
        assert answer.status == 200, answer.body
        return json.loads(answer.json["outputs"][0]["data"][0])

    def reason(self, model: str) -> str:
        """Return why a model is not loaded."""
        index = self.server.http.post("/v2/repository/index", {}).json
        (entry,) = [entry for entry in index if entry["name"] == model]
        return str(entry["reason"])


@pytest.fixture(scope="module")
def place(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server with backends of its own."""
    directory = tmp_path_factory.mktemp("based")
    backends, repository = directory / "backends", directory / "models"
    for name in ("shared", "packed", "settled", "libraries_only"):
        (backends / name).mkdir(parents=True)
        if name != "libraries_only":
            shutil.copy(CODE / "shared_backend.py", backends / name / "model.py")
    venv = make_venv(directory / "venv", "of the backend")
    pack(venv, backends / "packed" / "pb_exec_env_model.py.tar.gz", "gz")
    for name, config in MODELS.items():
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text(config)
        (repository / name / "1" / "weights").write_text(f"weights of {name}")
    options = [
        f"--backend-directory={backends}",
        "--backend-config=python,stub-timeout-seconds=40",
        "--backend-config=settled,stub-timeout-seconds=none",
        *("--exit-on-error=false", "--strict-readiness=false"),
    ]
    with starter.prepare("python_based", repository, options) as process:
        yield Place(Server(process, starter.is_oracle), backends, repository)


pytestmark = pytest.mark.ours("the oracle's backend directory has a Python backend to be beside")


def test_models_share_the_file_of_the_backend_and_keep_their_own_directory(place: Place) -> None:
    for name in ("one", "two", "by_runtime"):
        assert place.describe(name) == {
            "model_name": name,
            "model_repository": str(place.repository / name),
            "directory": str(place.repository / name / "1"),
            "weights": f"weights of {name}",
            "file": str(place.backends / "shared" / "model.py"),
            "module": "model",
            "is_importable": True,
            "mark": None,
        }


def test_configuration_is_completed_by_the_backend(place: Place) -> None:
    config = place.server.http.get("/v2/models/one/config").json
    assert config["backend"] == "shared"
    assert [each["name"] for each in config["input"]] == ["COMMAND"]
    assert [each["name"] for each in config["output"]] == ["ANSWER"]


def test_environment_beside_the_backend_is_that_of_its_models(place: Place) -> None:
    assert place.describe("packed")["mark"] == "of the backend"


@pytest.mark.parametrize(
    ("model", "backend"),
    [
        ("no_backend", "nowhere"),
        ("outside", "../shared"),
        ("other_runtime", "shared"),
        ("python_runtime", "python"),
    ],
)
def test_backend_that_is_not_there_is_told_in_tritons_words(
    place: Place, model: str, backend: str
) -> None:
    text = (
        f"unable to find backend library for backend '{backend}', try specifying runtime on the "
        "model configuration."
    )
    assert text in place.reason(model)


def test_settings_of_the_backend_come_before_those_of_python(place: Place) -> None:
    text = "setting 'stub-timeout-seconds' of backend 'python' is no number: 'none'"
    assert text in place.reason("settled")


def test_table_of_backends_lists_those_in_use(place: Place) -> None:
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:4]]
        for cells in (line.split("|") for line in place.server.process.log().splitlines())
        if len(cells) == 5 and "cmdline" in cells[3]
    }
    assert rows["python"][0] == "<built-in>"
    for name in ("shared", "packed"):
        path, config = rows[name]
        assert path == str(place.backends / name / "model.py")
        assert json.loads(config)["cmdline"]["stub-timeout-seconds"] == "40"
    assert "libraries_only" not in rows
