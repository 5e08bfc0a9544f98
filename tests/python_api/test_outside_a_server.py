# SPDX-License-Identifier: Apache-2.0
"""``triton_python_backend_utils`` where no server runs: in an editor, a type checker, a test."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils

SAMPLE = Path(__file__).resolve().parent / "typed" / "model.py"


def mypy(path: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Check a file as its author would: no paths, no settings, what is installed."""
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={cache}", "--config-file="]
    environment = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    return subprocess.run(
        [*command, path],
        capture_output=True,
        text=True,
        check=False,
        cwd=cache.parent,
        env=environment,
    )


def test_a_typed_model_passes_a_strict_type_checker(tmp_path: Path) -> None:
    done = mypy(SAMPLE, tmp_path / "cache")
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(SAMPLE.read_text().replace('Tensor("SUM", total)', 'Tensor(total, "SUM")'))
    done = mypy(wrong, tmp_path / "cache")
    assert done.returncode == 1
    assert 'Argument 1 to "Tensor" has incompatible type' in done.stdout


def test_every_public_name_is_documented() -> None:
    for name in pb_utils.__all__:
        value = getattr(pb_utils, name)
        if not isinstance(value, int | dict):
            assert value.__doc__, name


def test_log_lines_go_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tritongw.model")
    pb_utils.Logger.log_info("50% done")
    pb_utils.Logger.log_warn("warning")
    pb_utils.Logger.log_error("error")
    pb_utils.Logger.log_verbose("verbose")
    pb_utils.Logger.log("any level", pb_utils.Logger.ERROR)
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert lines == [
        ("INFO", "50% done"),
        ("WARNING", "warning"),
        ("ERROR", "error"),
        ("DEBUG", "verbose"),
        ("ERROR", "any level"),
    ]
    assert {record.filename for record in caplog.records} == {Path(__file__).name}
    assert {record.name for record in caplog.records} == {"tritongw.model"}


def test_what_needs_a_server_says_so() -> None:
    request = pb_utils.InferenceRequest(
        inputs=[pb_utils.Tensor("X", np.zeros(1))], requested_output_names=["Y"], model_name="m"
    )
    reason = r"^only a request of the server has a response sender$"
    with pytest.raises(pb_utils.TritonModelException, match=reason):
        request.get_response_sender()
    with pytest.raises(pb_utils.TritonModelException):
        request.exec()
    assert pb_utils.get_model_dir() == ""
