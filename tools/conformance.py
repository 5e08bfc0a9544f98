# SPDX-License-Identifier: Apache-2.0
"""Works on the conformance ledger.

``check``   holds the ledger against the last test run and prints where each chapter stands;
``merge``   folds ``ROW: test`` lines from standard input into the ledger;
``render``  writes docs/compatibility.md, or with ``--check`` fails when it is not current.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import TYPE_CHECKING

import ledger as ledgers
import results
from ledger import ROOT, STATES, Ledger, Row, Section

if TYPE_CHECKING:
    from collections.abc import Iterator

RUST_BINARIES = ROOT / "target" / "test-rust.json"
RUST_LOG = ROOT / "target" / "test-rust.log"
JUNIT = ROOT / "target" / "test-python.xml"
PAGE = ROOT / "docs" / "compatibility.md"

CHAPTERS = {
    "1": "Command line",
    "2": "Model repository",
    "3": "Model configuration",
    "4": "Protocols",
    "5": "Schedulers and execution",
    "6": "Metrics",
    "7": "Statistics, tracing, logging",
    "8": "Backends",
    "9": "Python backend",
    "10": "In-process APIs",
    "11": "Clients and tools",
}


def problems(ledger: Ledger, outcomes: results.Outcomes) -> Iterator[str]:
    """Yield a line for each named test that did not pass."""
    for row in ledger.rows():
        for name in row.tests:
            outcome = outcomes.get(name, "not run, or does not exist")
            if outcome != "passed":
                yield f"{row.id} {row.title}: {name}: {outcome}"


def chapters(ledger: Ledger) -> Iterator[tuple[str, Section]]:
    """Yield each chapter's number with all its rows as one section."""
    by_chapter = itertools.groupby(ledger.sections, lambda section: section.title.partition(".")[0])
    for number, sections in by_chapter:
        rows = [row for section in sections for row in section.rows]
        yield number, Section(CHAPTERS[number], rows)


def counts(ledger: Ledger) -> list[tuple[str, list[int]]]:
    """Return the rows of the overview: a title, and how many rows are in each state."""
    table = [
        (f"{number} {chapter.title}", [chapter.count(state) for state in STATES])
        for number, chapter in chapters(ledger)
    ]
    total = [sum(column) for column in zip(*(cells for _, cells in table), strict=True)]
    return [*table, ("all", total)]


def page(ledger: Ledger) -> str:
    """Return the reader's page: the overview, then every row with its state."""
    lines = [
        "# Compatibility with Triton",
        "",
        "Generated from `tests/conformance/coverage.toml` by `python tools/conformance.py render`.",
        "A behaviour is *tested* when named tests hold it, *planned* when it is not here yet, and",
        "*differs* where we depart from Triton on purpose.",
        "",
        f"| chapter | {' | '.join(STATES)} |",
        "| --- |" + " ---: |" * len(STATES),
        *(f"| {title} | {' | '.join(map(str, cells))} |" for title, cells in counts(ledger)),
    ]
    head = ["", "| row | behaviour | state |", "| --- | --- | --- |"]
    for section in ledger.sections:
        lines += ["", f"## {section.title}", *head]
        lines += [f"| {row.id} | {_escaped(row.title)} | {_state(row)} |" for row in section.rows]
    return "\n".join(lines) + "\n"


def _state(row: Row) -> str:
    return f"differs: {_escaped(row.differs)}" if row.differs else row.state


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def last_run() -> results.Outcomes:
    """Read the outcomes that `make test-rust` and `make test-python` left in target/."""
    binaries = results.test_binaries(RUST_BINARIES.read_text(encoding="utf-8").splitlines())
    log = RUST_LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    python = results.python_outcomes(JUNIT.read_text(encoding="utf-8"))
    return results.rust_outcomes(log, binaries) | python


def check() -> int:
    """Print the overview and what does not hold; return the exit status."""
    ledger = ledgers.load()
    found = list(problems(ledger, last_run()))
    width = max(len(title) for title, _ in counts(ledger))
    print(f"{'chapter':{width}}", *(f"{state:>8}" for state in STATES))
    for title, cells in counts(ledger):
        print(f"{title:{width}}", *(f"{cell:8}" for cell in cells))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


def merge() -> int:
    """Fold the lines on standard input into the ledger and write both files."""
    ledger = ledgers.load()
    merged = ledger.merge(sys.stdin)
    ledgers.save(ledger)
    render(ledger)
    print(f"{merged} rows")
    return 0


def render(ledger: Ledger) -> None:
    """Write the reader's page."""
    PAGE.write_text(page(ledger), encoding="utf-8")


def is_current(ledger: Ledger) -> bool:
    """Tell whether the page and the ledger's own form are what this tool would write."""
    shown = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    own_form = ledgers.COVERAGE.read_text(encoding="utf-8")
    return shown == page(ledger) and own_form == ledgers.render(ledger)


def main() -> int:
    """Run one verb."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("check")
    verbs.add_parser("merge")
    verbs.add_parser("render").add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    if arguments.verb == "check":
        return check()
    if arguments.verb == "merge":
        return merge()
    if not arguments.check:
        ledger = ledgers.load()
        ledgers.save(ledger)
        render(ledger)
    elif not is_current(ledgers.load()):
        print("not current: run python tools/conformance.py render", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
