# SPDX-License-Identifier: Apache-2.0
import pytest

import ledger

TEXT = """\
["1.0 Parsing rules"]
C001 = { title = "Syntax", planned = true }
C002 = { title = "Booleans", tests = ["rust:tritongw-server::flags::booleans"] }

["4.1 HTTP routes"]
P001 = { title = "GET `/v2`", differs = "a reason with \\"quotes\\"" }
"""


def test_states_follow_from_what_a_row_holds() -> None:
    states = {row.id: row.state for row in ledger.parse(TEXT).rows()}
    assert states == {"C001": "planned", "C002": "tested", "P001": "differs"}


def test_rendering_and_parsing_give_the_same_ledger() -> None:
    parsed = ledger.parse(TEXT)
    names = [f"py:tests/conformance/test_{n}.py::test_{n}[http-{n}]" for n in range(5)]
    for name in names:
        parsed.row("C001").add_test(name)
    text = ledger.render(parsed)
    assert ledger.parse(text) == parsed
    assert ledger.render(ledger.parse(text)) == text
    assert max(map(len, text.splitlines())) <= ledger.WIDTH


def test_merging_adds_tests_once_and_passes_over_comments() -> None:
    parsed = ledger.parse(TEXT)
    lines = [
        "# a comment",
        "",
        "C001: py:tests/conformance/test_flags.py::test_syntax",
        "- `C002`: rust:tritongw-server::flags::booleans, py:tests/x.py::test_b",
    ]
    assert parsed.merge(lines) == 2
    assert parsed.merge(lines) == 2
    assert parsed.row("C001").tests == ["py:tests/conformance/test_flags.py::test_syntax"]
    assert parsed.row("C002").tests == [
        "rust:tritongw-server::flags::booleans",
        "py:tests/x.py::test_b",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no colon here", "expected 'ROW: test', got 'no colon here'"),
        ("Z999: rust:tritongw-http::a", "no row 'Z999' in the ledger"),
        ("C001: something else", "C001: 'something else' is no test name"),
        ("P001: rust:tritongw-http::a", 'P001 differs on purpose: a reason with "quotes"'),
    ],
)
def test_lines_that_cannot_be_merged_are_errors(line: str, message: str) -> None:
    with pytest.raises(ledger.LedgerError) as raised:
        ledger.parse(TEXT).merge([line])
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "entry",
    [
        '{ title = "x" }',
        '{ title = "x", tests = [] }',
        '{ title = "x", planned = false }',
        '{ title = "x", planned = true, differs = "y" }',
        '{ title = "x", differs = "" }',
        "{ planned = true }",
    ],
)
def test_rows_with_no_state_or_two_are_errors(entry: str) -> None:
    with pytest.raises(ledger.LedgerError, match="C001: expected a title and one of"):
        ledger.parse(f'["1.0 A"]\nC001 = {entry}\n')


def test_a_row_stands_once() -> None:
    row = 'C001 = { title = "x", planned = true }\n'
    with pytest.raises(ledger.LedgerError, match="row 'C001' stands twice"):
        ledger.parse(f'["1.0 A"]\n{row}["1.1 B"]\n{row}')


def test_the_ledger_of_the_tree_lists_every_row_without_gaps() -> None:
    last = dict.fromkeys("CRMPSXTBYAK", 0)
    for row in ledger.load().rows():
        letter, number = row.id[0], int(row.id[1:])
        assert number == last[letter] + 1
        last[letter] = number
    assert sum(last.values()) == 1015
