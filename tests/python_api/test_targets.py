# SPDX-License-Identifier: Apache-2.0
"""What names functions, classes and files on the command line, and what refuses them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tritongw._targets import find, main

if TYPE_CHECKING:
    from collections.abc import Iterator

APPS = Path(__file__).resolve().parent / "apps"


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the directory of the files; what they import goes again."""
    monkeypatch.chdir(APPS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_names_come_from_objects_and_files(tmp_path: Path) -> None:
    def names(text: str) -> list[str]:
        return [model.name for model in find(text)]

    assert names("app.py")[:4] == ["double", "merged", "greet", "shout"]
    assert names("app:plain") == names(f"{APPS}/app.py:plain") == ["plain"]
    assert names("other=app.py:plain") == ["other"]
    file = tmp_path / "resnet" / "3" / "model.py"
    file.parent.mkdir(parents=True)
    file.write_text("class TritonPythonModel:\n    def execute(self, requests): ...\n")
    assert names(str(file)) == ["resnet"]
    assert names(str(file.rename(tmp_path / "alone.py"))) == ["alone"]


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (["gone.py:f"], f"cannot serve 'gone.py:f': file '{APPS}/gone.py' does not exist"),
        (["app.py:gone"], f"cannot serve 'app.py:gone': '{APPS}/app.py' has no attribute 'gone'"),
        (["helper.py"], "helper.py' has no class 'TritonPythonModel' and nothing is decorated"),
        (["helper.py:FACTOR"], "2 is neither a function nor a class"),
        (["x=app.py"], "app.py' serves 10 models, which cannot all be called 'x'"),
        (["app.py:greet", "greet=app.py:plain"], "two models are called 'greet'; give one another"),
        (["no_such_module:f"], "ModuleNotFoundError: No module named 'no_such_module'"),
        (["..=app.py:plain"], "'..' cannot be the name of a model"),
        (["app.py:np"], "numpy' from"),
    ],
)
def test_what_cannot_be_served_is_told(
    targets: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), *targets]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: cannot serve '")
    assert reason in told.err


def test_a_model_file_is_served_with_its_directory(tmp_path: Path) -> None:
    version = tmp_path / "resnet" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(
        "class TritonPythonModel:\n    def execute(self, requests): ...\n"
    )
    (version.parent / "config.pbtxt").write_text('backend: "python"')
    repository = tmp_path / "served"
    repository.mkdir()
    assert main([str(repository), str(version / "model.py")]) == 0
    assert (repository / "resnet" / "1").resolve() == version
    assert (repository / "resnet" / "config.pbtxt").read_text() == 'backend: "python"'
