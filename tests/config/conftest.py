# SPDX-License-Identifier: Apache-2.0
"""The configuration reader as a function, and schemas to compare it with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

Reader = Callable[[Sequence[str]], list[tuple[str, str]]]
"""Takes documents; gives ``ok`` and JSON, or ``error`` and the reason, for each."""


@pytest.fixture(scope="session")
def read_text() -> Reader:
    """Build the example program of the configuration crate once, and drive it."""
    program = _build_example()

    def read(documents: Sequence[str]) -> list[tuple[str, str]]:
        text = "".join(f"{document}\0" for document in documents)
        # Bytes, since text mode would turn carriage returns into newlines.
        outcome = subprocess.run([program], input=text.encode(), capture_output=True, check=True)
        lines = outcome.stdout.decode().split("\n")[:-1]
        assert len(lines) == len(documents)
        return [(status, shown) for status, _, shown in (line.partition(" ") for line in lines)]

    return read


def _build_example() -> str:
    cargo = shutil.which("cargo")
    assert cargo is not None, "cargo is needed to build the program under test"
    profile = os.environ.get("TRITONGW_CARGO_PROFILE", "quick")
    command = [cargo, "build", "--quiet", "--package", "tritongw-config", "--profile", profile]
    command += ["--example", "text_to_json", "--message-format", "json"]
    outcome = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    messages = [json.loads(line) for line in outcome.stdout.splitlines()]
    programs = [message["executable"] for message in messages if message.get("executable")]
    assert len(programs) == 1
    return str(programs[0])


@pytest.fixture(scope="session")
def model_repository() -> Path:
    return ROOT / "model_repository"


@pytest.fixture(scope="session")
def descriptors_path() -> Path:
    return ROOT / "rust" / "protocol" / "src" / "generated" / "descriptors.bin"
