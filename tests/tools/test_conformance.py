# SPDX-License-Identifier: Apache-2.0
import conformance
import ledger

TEXT = """\
["1.0 Parsing rules"]
C001 = { title = "Syntax", tests = ["rust:tritongw-server::a", "py:tests/x.py::test_b"] }
C002 = { title = "Booleans", planned = true }

["1.1 Options"]
C015 = { title = "`--help`", differs = "exits a|b" }

["4.1 HTTP routes"]
P001 = { title = "GET `/v2`", tests = ["py:tests/x.py::test_c"] }
"""


def test_only_named_tests_that_passed_hold_a_row() -> None:
    parsed = ledger.parse(TEXT)
    found = list(
        conformance.problems(
            parsed, {"rust:tritongw-server::a": "passed", "py:tests/x.py::test_b": "skipped"}
        )
    )
    assert found == [
        "C001 Syntax: py:tests/x.py::test_b: skipped",
        "P001 GET `/v2`: py:tests/x.py::test_c: not run, or does not exist",
    ]


def test_counts_are_by_chapter_with_a_total() -> None:
    assert conformance.counts(ledger.parse(TEXT)) == [
        ("1 Command line", [1, 1, 1]),
        ("4 Protocols", [1, 0, 0]),
        ("all", [2, 1, 1]),
    ]


def test_the_page_shows_every_row_with_its_state() -> None:
    lines = conformance.page(ledger.parse(TEXT)).splitlines()
    assert "| all | 2 | 1 | 1 |" in lines
    assert "## 1.1 Options" in lines
    assert "| C001 | Syntax | tested |" in lines
    assert "| C002 | Booleans | planned |" in lines
    assert "| C015 | `--help` | differs: exits a\\|b |" in lines


def test_every_chapter_of_the_ledger_has_a_name() -> None:
    numbers = [number for number, _ in conformance.chapters(ledger.load())]
    assert numbers == list(conformance.CHAPTERS)
