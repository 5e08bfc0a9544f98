# SPDX-License-Identifier: Apache-2.0
"""``--reload``: models follow their files while somebody writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from python_api_support import HOSTS, RunningServer, text_input, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils

from .answer import ANSWER


class TritonPythonModel:
    def execute(self, requests):
        output = pb_utils.Tensor("OUTPUT", np.array([ANSWER], dtype=object))
        return [pb_utils.InferenceResponse([output]) for _ in requests]
"""

APP = """
import tritongw


@tritongw.model
def app(INPUT: str) -> str:
    return "one"
"""


def write(directory: Path, host: str, answer: str) -> Path:
    """Write a model whose answer lies in a file of its own, and return that."""
    version = directory / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(f"""
        backend: "python"
        input {{ name: "INPUT" data_type: TYPE_STRING dims: [-1] }}
        output {{ name: "OUTPUT" data_type: TYPE_STRING dims: [-1] }}
        parameters {{ key: "TRITONGW_PYTHON_HOST" value {{ string_value: "{host}" }} }}
    """)
    (version / "model.py").write_text(MODEL)
    file = version / "answer.py"
    file.write_text(answer)
    return file


class Reloading:
    """A server that reloads, and the files that say what its models answer."""

    def __init__(self, directory: Path) -> None:
        repository = directory / "models"
        self.files = {host: write(repository / host, host, "ANSWER = 'one'") for host in HOSTS}
        self.broken = write(repository / "broken", "worker", "ANSWER = (")
        self.files["app"] = directory / "app.py"
        self.files["app"].write_text(APP)
        self.server = RunningServer(
            directory / "log",
            f"--model-repository={repository}",
            "app.py",
            "--reload",
            "--exit-on-error=false",
            "--strict-readiness=false",
            directory=directory,
        )

    def answer(self, model: str) -> object:
        return answer_of(self.server, model)


def answer_of(server: RunningServer, model: str) -> object:
    answer = server.infer(model, inputs=[text_input("x")])
    return answer.body["outputs"][0]["data"] if answer.status == 200 else answer.status


@pytest.fixture(scope="module")
def reloading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloading]:
    reloading = Reloading(tmp_path_factory.mktemp("reload"))
    with reloading.server:
        yield reloading


@pytest.mark.parametrize("model", [*HOSTS, "app"])
def test_an_edit_takes_effect_and_a_broken_one_does_not(reloading: Reloading, model: str) -> None:
    file = reloading.files[model]
    text = file.read_text()
    assert reloading.answer(model) == ["one"]
    # The same size within the same second, which compiled code would not notice.
    file.write_text(text.replace("one", "two"))
    wait_until(lambda: reloading.answer(model) == ["two"], f"the reload of {model}")

    file.write_text(text + f"\nraise RuntimeError('broken {model}')\n")
    failure = f"RuntimeError: broken {model}"
    wait_until(lambda: failure in reloading.server.log, f"the failed reload of {model}")
    reloading.server.wait_for_log(rf'File \\?".*{file.name}\\?", line \d+, in <module>')
    assert reloading.answer(model) == ["two"]

    file.write_text(text.replace("one", "three"))
    wait_until(lambda: reloading.answer(model) == ["three"], f"the mended {model}")


def test_what_failed_at_the_start_comes_when_it_is_mended(reloading: Reloading) -> None:
    assert reloading.answer("broken") in (400, 404, 503)
    reloading.broken.write_text("ANSWER = 'one'")
    wait_until(lambda: reloading.answer("broken") == ["one"], "the mended model")


def test_a_new_signature_takes_effect(reloading: Reloading) -> None:
    file = reloading.files["app"]
    file.write_text(APP.replace("-> str", "-> int").replace('"one"', "1"))

    def is_changed() -> bool:
        metadata = reloading.server.get("/v2/models/app").body
        return metadata["outputs"][0]["datatype"] == "INT64"

    wait_until(is_changed, "the new signature")
    assert reloading.answer("app") == [1]


def test_nothing_compiled_is_left_behind(reloading: Reloading) -> None:
    for file in reloading.files.values():
        assert not (file.parent / "__pycache__").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--model-control-mode=explicit", "--load-model=*"],
        ["--model-control-mode=poll", "--repository-poll-secs=3600"],
    ],
    ids=["explicit", "poll"],
)
def test_other_control_modes_follow_files_too(tmp_path: Path, options: list[str]) -> None:
    repository = tmp_path / "models"
    file = write(repository / "m", "worker", "ANSWER = 'one'")
    log = tmp_path / "log"
    with RunningServer(log, f"--model-repository={repository}", "--reload", *options) as server:
        assert answer_of(server, "m") == ["one"]
        file.write_text("ANSWER = 'two'")
        wait_until(lambda: answer_of(server, "m") == ["two"], "the reload")
