# SPDX-License-Identifier: Apache-2.0
"""The comparison itself: it must see a difference where there is one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from comparing.answers import Answer, Deviation, compare, first_sentence
from comparing.faults import Faults
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
    assert not known.covers("POST /v2", 0, Deviation("status", "400", "500"))
    assert not known.covers("GET /v2", 0, Deviation("status", "400", "404"))
    assert known.covers("GET /v2", 0, Deviation("status", "400", "500"))
    assert known.stale() == []


def test_of_several_faults_each_server_may_name_another() -> None:
    entry = {"subject": "(shape|type) of '([^']*)'", "reason": "in an order of its own"}
    known = KnownDifferences([KnownDifference.read(entry)])
    said = Deviation("error", "shape of 'a' is 1", "shape of 'b' is 2")
    assert known.covers("GET /v2", 2, said)
    assert not known.covers("GET /v2", 1, said), "one fault has one name"
    same = Deviation("error", "shape of 'a' is 1", "shape of 'a' is 2")
    assert not known.covers("GET /v2", 2, same), "both speak of the same"
    assert not known.covers("GET /v2", 2, Deviation("error", "shape of 'a' is 1", "no idea"))


def test_answers_of_a_stream_are_compared_one_by_one() -> None:
    bad = Answer("ERROR", error="bad", document={})
    ours = Answer("OK", parts=(OK, bad))
    assert list(compare(ours, ours)) == []
    worse = Answer("OK", parts=(OK, replace(bad, error="worse")))
    assert [each.aspect for each in compare(ours, worse)] == ["error"]
    other = Answer("OK", parts=(bad, bad))
    assert [each.aspect for each in compare(ours, other)] == ["status"]
    assert [each.aspect for each in compare(ours, Answer("OK", parts=(OK,)))] == ["parts"]


def test_requests_count_their_faults() -> None:
    faults = Faults()
    faults.add_parameter("priority", 1)
    faults.add_parameter("custom", "x")
    assert faults.count == 0
    for name, value in [("priority", -1), ("sequence_start", 1), ("custom", None)]:
        faults.add_parameter(name, value)
    faults.add_parameter("triton_x", 1)
    assert faults.count == 4


@pytest.mark.parametrize(
    "entry", [{"ours": "x"}, {"reason": "for all"}, {"ours": "x", "reason": "y", "their": "z"}]
)
def test_entries_without_reason_or_pattern_are_refused(entry: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"differences\.toml"):
        KnownDifference.read(entry)
