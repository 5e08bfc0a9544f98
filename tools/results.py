# SPDX-License-Identifier: Apache-2.0
"""Reads what a test run left behind: the log of ``cargo test`` and the JUnit file of pytest.

Both become one mapping from test name, as the ledger writes it, to outcome.
"""

from __future__ import annotations

import json
import re
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Outcome = Literal["passed", "failed", "skipped"]
Outcomes = dict[str, Outcome]

# The worst outcome of a test's parts is its own: one failed case fails it, one passed case out of
# passed and skipped ones passes it.
RANK: dict[Outcome, int] = {"skipped": 0, "passed": 1, "failed": 2}

RUNNING = re.compile(r"\s*Running .*\((?:.*/)?([\w-]+)\)")
DOC_TESTS = re.compile(r"\s*Doc-tests ")
RUST_TEST = re.compile(r"test ([\w:]+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)")
RUST_OUTCOME: dict[str, Outcome] = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}


class Binary(NamedTuple):
    """One executable that ``cargo test`` runs."""

    package: str
    target: str
    is_unit: bool


def note(outcomes: Outcomes, name: str, outcome: Outcome) -> None:
    """Record an outcome; of several under one name the worst counts."""
    known = outcomes.get(name)
    if known is None or RANK[outcome] > RANK[known]:
        outcomes[name] = outcome


def test_binaries(messages: Iterable[str]) -> dict[str, Binary]:
    """Return the test executables by file name.

    Parameters
    ----------
    messages : iterable of str
        Lines of ``cargo test --no-run --message-format=json-render-diagnostics``.
    """
    binaries = {}
    for line in messages:
        match json.loads(line):
            case {
                "reason": "compiler-artifact",
                "executable": str(executable),
                "manifest_path": str(manifest),
                "target": {"name": str(target), "kind": list(kind)},
                "profile": {"test": True},
            }:
                package = _package_name(Path(manifest))
                binaries[Path(executable).name] = Binary(package, target, "test" not in kind)
    return binaries


def _package_name(manifest: Path) -> str:
    name = tomllib.loads(manifest.read_text(encoding="utf-8"))["package"]["name"]
    assert isinstance(name, str)
    return name


def rust_outcomes(log: Iterable[str], binaries: dict[str, Binary]) -> Outcomes:
    """Return the outcomes in a log of ``cargo test``.

    A unit test is named ``rust:<package>::<path>``; an integration test also has its file's name,
    ``rust:<package>::<file>::<path>``.
    """
    outcomes: Outcomes = {}
    prefix: str | None = None
    for line in log:
        if running := RUNNING.match(line):
            binary = binaries.get(running[1])
            prefix = _prefix(binary) if binary else None
        elif DOC_TESTS.match(line):
            prefix = None
        elif prefix and (test := RUST_TEST.match(line)):
            note(outcomes, f"{prefix}::{test[1]}", RUST_OUTCOME[test[2]])
    return outcomes


def _prefix(binary: Binary) -> str:
    if binary.is_unit:
        return f"rust:{binary.package}"
    return f"rust:{binary.package}::{binary.target}"


def python_outcomes(junit: str) -> Outcomes:
    """Return the outcomes in a JUnit file of pytest, family ``xunit1``.

    A parametrised test stands under its own name and, all its cases together, under the function's.
    """
    outcomes: Outcomes = {}
    for case in ET.fromstring(junit).iter("testcase"):
        name = _node_id(case)
        outcome = _junit_outcome(case)
        note(outcomes, name, outcome)
        if (function := name.partition("[")[0]) != name:
            note(outcomes, function, outcome)
    return outcomes


def _node_id(case: ET.Element) -> str:
    file, class_name = case.attrib["file"], case.attrib["classname"]
    module = file.removesuffix(".py").replace("/", ".")
    classes = class_name.removeprefix(module).strip(".").split(".")
    return "::".join(["py:" + file, *filter(None, classes), case.attrib["name"]])


def _junit_outcome(case: ET.Element) -> Outcome:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "passed" if case.find("skipped") is None else "skipped"
