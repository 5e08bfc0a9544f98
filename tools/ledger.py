# SPDX-License-Identifier: Apache-2.0
"""The conformance ledger: which behaviour of Triton which test holds.

``tests/conformance/coverage.toml`` has one table per section and one line per row. A row is held by
tests, planned, or different on purpose. This module reads and writes that file; it runs nothing.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
COVERAGE = ROOT / "tests" / "conformance" / "coverage.toml"

State = Literal["tested", "planned", "differs"]
STATES: tuple[State, ...] = ("tested", "planned", "differs")

WIDTH = 100
ROW_ID = re.compile(r"[A-Z]\d{3}")
TEST_NAME = re.compile(r"rust:[a-z0-9-]+(::\w+)+|py:[\w/.-]+\.py(::\w+)+(\[.+\])?")
HEAD = """\
# SPDX-License-Identifier: Apache-2.0
# What Triton does, row by row, and the tests that hold us to it.
#
# Each row has a title and exactly one of
#   tests = ["rust:<package>::<path>", "py:<file>::<test>"]   every named test exists and passes
#   planned = true                                            not here yet
#   differs = "<reason>"                                      different on purpose
#
# `make conformance` checks it against a test run; `python tools/conformance.py merge` folds in
# lines like `P001: py:tests/conformance/test_x.py::test_y`. docs/compatibility.md is made from it.
"""


class LedgerError(ValueError):
    """The ledger, or a line to be merged into it, is not well formed."""


@dataclass
class Row:
    """One behaviour: its title and its state."""

    id: str
    title: str
    tests: list[str] = field(default_factory=list)
    differs: str = ""

    @property
    def state(self) -> State:
        """Where the row stands."""
        if self.tests:
            return "tested"
        return "differs" if self.differs else "planned"

    def add_test(self, name: str) -> None:
        """Note a test that holds this row; a planned row becomes a tested one."""
        if not TEST_NAME.fullmatch(name):
            message = f"{self.id}: '{name}' is no test name"
            raise LedgerError(message)
        if self.differs:
            message = f"{self.id} differs on purpose: {self.differs}"
            raise LedgerError(message)
        if name not in self.tests:
            self.tests.append(name)


@dataclass
class Section:
    """A numbered group of rows."""

    title: str
    rows: list[Row]

    def count(self, state: State) -> int:
        """Return how many rows are in a state."""
        return sum(row.state == state for row in self.rows)


@dataclass
class Ledger:
    """All sections, in order."""

    sections: list[Section]

    def rows(self) -> Iterator[Row]:
        """Yield every row, in order."""
        for section in self.sections:
            yield from section.rows

    def row(self, row_id: str) -> Row:
        """Return one row by its id."""
        for row in self.rows():
            if row.id == row_id:
                return row
        message = f"no row '{row_id}' in the ledger"
        raise LedgerError(message)

    def merge(self, lines: Iterable[str]) -> int:
        """Fold in ``ROW: test`` lines and return how many rows they named.

        Empty lines and lines that begin with ``#`` are passed over; a line may name several tests,
        with commas between them.
        """
        merged = set()
        for line in lines:
            text = line.strip().removeprefix("- ")
            if not text or text.startswith("#"):
                continue
            row_id, found, names = text.partition(":")
            if not found:
                message = f"expected 'ROW: test', got '{text}'"
                raise LedgerError(message)
            row = self.row(row_id.strip(" `"))
            for name in names.split(","):
                row.add_test(name.strip(" `"))
            merged.add(row.id)
        return len(merged)


def parse(text: str) -> Ledger:
    """Return the ledger in a TOML text.

    Raises
    ------
    LedgerError
        A row is not well formed, or stands twice.
    """
    sections = [
        Section(title, [_row(row_id, entry) for row_id, entry in rows.items()])
        for title, rows in tomllib.loads(text).items()
    ]
    ledger = Ledger(sections)
    seen: set[str] = set()
    for row in ledger.rows():
        if row.id in seen:
            message = f"row '{row.id}' stands twice"
            raise LedgerError(message)
        seen.add(row.id)
    return ledger


def _row(row_id: str, entry: object) -> Row:
    if not ROW_ID.fullmatch(row_id):
        message = f"'{row_id}' is no row id"
        raise LedgerError(message)
    match entry:
        case {"title": str(title), "planned": True, **rest} if not rest:
            return Row(row_id, title)
        case {"title": str(title), "differs": str(reason), **rest} if reason and not rest:
            return Row(row_id, title, differs=reason)
        case {"title": str(title), "tests": [_, *_] as names, **rest} if not rest:
            row = Row(row_id, title)
            for name in names:
                row.add_test(str(name))
            return row
    message = f"{row_id}: expected a title and one of tests, planned = true or differs"
    raise LedgerError(message)


def render(ledger: Ledger) -> str:
    """Return the TOML text of a ledger, the same for the same ledger."""
    parts = [HEAD]
    for section in ledger.sections:
        lines = [f"[{_quoted(section.title)}]", *(_rendered(row) for row in section.rows)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _rendered(row: Row) -> str:
    head = f"{row.id} = {{ title = {_quoted(row.title)}, "
    if row.state == "planned":
        return head + "planned = true }"
    if row.state == "differs":
        return head + f"differs = {_quoted(row.differs)} }}"
    names = [_quoted(name) for name in row.tests]
    line = head + f"tests = [{', '.join(names)}] }}"
    if len(line) <= WIDTH:
        return line
    listed = "".join(f"  {name},\n" for name in names)
    return head + f"tests = [\n{listed}] }}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def load(path: Path = COVERAGE) -> Ledger:
    """Read the ledger from a file."""
    return parse(path.read_text(encoding="utf-8"))


def save(ledger: Ledger, path: Path = COVERAGE) -> None:
    """Write the ledger to a file."""
    path.write_text(render(ledger), encoding="utf-8")
