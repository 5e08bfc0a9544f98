# SPDX-License-Identifier: Apache-2.0
"""The comparison itself: it must see a difference where there is one."""

from __future__ import annotations

import pytest
from comparing.answers import Answer, Deviation, compare, first_sentence
from comparing.http_exchange import read_answer
from comparing.known import KnownDifference, KnownDifferences

OK = Answer("200", {"content-type": "application/json"}, None, {"a": [1, 2.5]}, b"data")


@pytest.mark.parametrize(
    ("other", "aspects"),
    [
        (OK, []),
        (Answer("400", {}, "bad"), ["status"]),
        (Answer("200", {}, None, {"a": [1, 2.5]}, b"data"), ["header content-type"]),
        (Answer("200", OK.headers, None, {"a": [1, 2]}, b"data"), ["body"]),
        (Answer("200", OK.headers, None, {"a": [1.0, 2.5]}, b"data"), ["body"]),
        (Answer("200", OK.headers, None, {"a": [1, 2.5], "b": 1}, b"data"), ["body"]),
        (Answer("200", OK.headers, None, {"a": [1, 2.5]}, b"dat"), ["data"]),
    ],
)
def test_what_differs_is_seen(other: Answer, aspects: list[str]) -> None:
    assert [each.aspect for each in compare(OK, other)] == aspects


def test_texts_must_agree_in_their_first_sentence() -> None:
    said = [Answer("400", error=text) for text in ("no such model. Look again", "no such model")]
    assert list(compare(*said)) == []
    assert first_sentence("expected 1.5 of 2\nat line 7") == "expected 1.5 of 2"
    assert next(compare(Answer("400", error="a"), Answer("400", error="b"))).aspect == "error"


def test_counters_count_by_their_form() -> None:
    ours = Answer("200", document={"inference_count": 5, "name": "m"})
    assert list(compare(ours, Answer("200", document={"inference_count": 7, "name": "m"}))) == []
    assert list(compare(ours, Answer("200", document={"inference_count": "7", "name": "m"})))
    assert list(compare(ours, Answer("200", document={"inference_count": 5, "name": "n"})))


def test_answers_are_taken_apart() -> None:
    body = b'{"outputs":[]}\x01\x02'
    binary = read_answer(200, {"inference-header-content-length": "14"}, body)
    assert (binary.document, binary.data) == ({"outputs": []}, b"\x01\x02")
    assert read_answer(400, {}, b'{"error":"bad"}').error == "bad"
    assert read_answer(200, {}, b'data: {"a":1}\n\n').document == [{"a": 1}, ""]


def test_known_differences_name_what_they_cover() -> None:
    entry = {"request": "^GET", "ours": "^400", "theirs": "^500", "reason": "so it is"}
    known = KnownDifferences([KnownDifference.read(entry)])
    assert known.stale() == ["so it is"]
    assert not known.covers("POST /v2", Deviation("status", "400", "500"))
    assert not known.covers("GET /v2", Deviation("status", "400", "404"))
    assert known.covers("GET /v2", Deviation("status", "400", "500"))
    assert known.stale() == []


@pytest.mark.parametrize(
    "entry", [{"ours": "x"}, {"reason": "for all"}, {"ours": "x", "reason": "y", "their": "z"}]
)
def test_entries_without_reason_or_pattern_are_refused(entry: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"differences\.toml"):
        KnownDifference.read(entry)
