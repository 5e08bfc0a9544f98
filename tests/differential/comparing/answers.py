# SPDX-License-Identifier: Apache-2.0
"""What two answers must have in common."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_SENTENCE_END = re.compile(r"\.(?=\s|$)|\n")
# Members whose values are times and counts of what else the server has done.
_COUNTERS = {
    "inference_stats",
    "batch_stats",
    "memory_usage",
    "last_inference",
    "inference_count",
    "execution_count",
}


@dataclass(frozen=True)
class Answer:
    """An answer, already taken apart.

    Parameters
    ----------
    status : str
        HTTP status, name of the gRPC status, or why there is none: ``closed``, ``late``, ``died``.
    headers : dict of str to str
        What clients read of the head.
    error : str or None
        Text of the error.
    document : object
        Everything else that was said: JSON, events, or a message as JSON.
    data : bytes
        Binary tensors.
    parts : tuple of Answer
        The answers of a stream, one by one.
    """

    status: str
    headers: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    document: Any = None
    data: bytes = b""
    parts: tuple[Answer, ...] = ()

    @property
    def is_silence(self) -> bool:
        """Whether the server gave no answer at all."""
        return self.status in ("closed", "late")

    def as_death(self) -> Answer:
        """Return the answer of a server that has died of the request."""
        return replace(self, status="died")

    def outline(self) -> str:
        """Return the answer in one line, for patterns and for people."""
        parts = [self.status]
        parts += [f"{name}={value}" for name, value in sorted(self.headers.items())]
        if self.error is not None:
            parts.append(self.error)
        if self.document is not None:
            parts.append(json.dumps(self.document, ensure_ascii=False))
        if self.data:
            parts.append(repr(self.data))
        parts += [f"[{part.outline()}]" for part in self.parts]
        return " ".join(parts)


@dataclass(frozen=True)
class Deviation:
    """One thing in which the answers differ.

    Parameters
    ----------
    aspect : str
        ``status``, ``header <name>``, ``error``, ``body``, ``data`` or, of a stream that has
        more or fewer answers, ``parts``.
    ours, theirs : str
        What each said; of a JSON object the members that differ.
    """

    aspect: str
    ours: str
    theirs: str


def compare(ours: Answer, theirs: Answer) -> Iterator[Deviation]:
    """Yield what differs; where even the statuses do, nothing else is of interest."""
    if ours.status != theirs.status:
        yield Deviation("status", ours.outline(), theirs.outline())
        return
    for name in sorted({*ours.headers, *theirs.headers}):
        mine, other = ours.headers.get(name), theirs.headers.get(name)
        if mine != other:
            yield Deviation(f"header {name}", str(mine), str(other))
    if first_sentence(ours.error) != first_sentence(theirs.error):
        yield Deviation("error", str(ours.error), str(theirs.error))
    mine, other = without_counters(ours.document), without_counters(theirs.document)
    if not are_equal(mine, other):
        texts = map(_text, _what_differs(mine, other))
        # What is said beside an error means nothing without it.
        said = (f"{ours.error} " if ours.error else "", f"{theirs.error} " if theirs.error else "")
        yield Deviation("body", *map(str.__add__, said, texts))
    if ours.data != theirs.data:
        yield Deviation("data", repr(ours.data), repr(theirs.data))
    if len(ours.parts) != len(theirs.parts):
        yield Deviation("parts", ours.outline(), theirs.outline())
        return
    for mine, other in zip(ours.parts, theirs.parts, strict=True):
        yield from compare(mine, other)


def first_sentence(text: str | None) -> str | None:
    """Return the text up to its first full stop or line end."""
    return None if text is None else _SENTENCE_END.split(text, maxsplit=1)[0].strip()


def are_equal(mine: Any, other: Any) -> bool:
    """Compare two documents: types count, the order of members does not, NaN equals itself."""
    if type(mine) is not type(other):
        return False
    if isinstance(mine, dict):
        return mine.keys() == other.keys() and all(are_equal(mine[k], other[k]) for k in mine)
    if isinstance(mine, list):
        return len(mine) == len(other) and all(map(are_equal, mine, other))
    return bool(mine == other or (mine != mine and other != other))


def _what_differs(mine: Any, other: Any) -> tuple[Any, Any]:
    """Leave out the members that two objects have in common."""
    if not (isinstance(mine, dict) and isinstance(other, dict)):
        return mine, other
    missing = object()
    names = [
        name
        for name in {**mine, **other}
        if not are_equal(mine.get(name, missing), other.get(name, missing))
    ]
    return (
        {name: mine[name] for name in names if name in mine},
        {name: other[name] for name in names if name in other},
    )


def without_counters(document: Any) -> Any:
    """Replace counters, which depend on what else was asked and when, by their form."""
    if isinstance(document, list):
        return [without_counters(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {name: _comparable(name, value) for name, value in document.items()}


def _comparable(name: str, value: Any) -> Any:
    if name == "response_stats":
        # 2.51 keeps them empty for the models of some backends.
        return type(value).__name__
    if name in _COUNTERS:
        return _form(value)
    # A reason quotes errors, which may name files of the one server.
    return first_sentence(value) if name == "reason" else without_counters(value)


def _form(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _form(each) for name, each in value.items()}
    return type(value).__name__


def _text(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, sort_keys=True)
