# SPDX-License-Identifier: Apache-2.0
"""Strategies that break a JSON document: a member changed, or the text itself."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

    from comparing.faults import Faults

# Values that stand where something else is expected. No size that Triton 2.51 aborts over.
ODD_VALUES = st.sampled_from(
    [None, True, False, 0, 1, -1, 7, 1.5, 1e300, 2**31, "", "1", "text", [], [1], {}, {"a": 1}]
)
_ODD_SHAPES = st.sampled_from([None, "4", 4, [], [-1], ["4"], [0], [1.5], [None], [2, 2], {}])
_ODD_TEXTS = ["", "[", "{", "}", "]", ",", ":", '"', "\\", "nul", "NaN", "\n", "\0", "é", "1e", "-"]


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every member of every object and list as (container, key)."""
    entries: Any = ()
    if isinstance(document, dict):
        entries = document.items()
    elif isinstance(document, list):
        entries = enumerate(document)
    for key, value in entries:
        yield document, key
        yield from places(value)


@st.composite
def broken(draw: st.DrawFn, document: Any, faults: Faults) -> Any:
    """`document` with one member changed, taken out or added."""
    document = copy.deepcopy(document)
    faults.add(True)
    # Members of the first levels are as likely as the many elements of tensors.
    everywhere = list(places(document))
    members = [place for place in everywhere if isinstance(place[0], dict)] or everywhere
    if not members:
        return draw(ODD_VALUES)
    container, key = draw(st.sampled_from(members if draw(st.booleans()) else everywhere))
    match draw(st.sampled_from(["replace", "replace", "remove", "rename", "add"])):
        case "replace":
            container[key] = draw(_ODD_SHAPES if key == "shape" else ODD_VALUES)
        case "remove":
            del container[key]
        case "rename" if isinstance(container, dict):
            container[f"{key}2"] = container.pop(key)
        case _ if isinstance(container, dict):
            container["added"] = draw(ODD_VALUES)
        case _:
            # One element too many, which may be none that fits besides.
            faults.add(True)
            container.append(draw(ODD_VALUES))
    return document


@st.composite
def texts(draw: st.DrawFn, document: Any, faults: Faults) -> bytes:
    """The text of `document`: right, with members broken, or not JSON at all."""
    level = draw(st.integers(0, 9))
    if level >= 5:
        document = draw(broken(document, faults))
    if level >= 8:
        document = draw(broken(document, faults))
    text = json.dumps(document, ensure_ascii=draw(st.booleans())).encode()
    if faults.strikes(draw, 12):
        place = draw(st.integers(0, len(text)))
        gone = draw(st.integers(0, 3))
        text = text[:place] + draw(st.sampled_from(_ODD_TEXTS)).encode() + text[place + gone :]
    if draw(st.integers(0, 29)) == 0:
        text = text[: draw(st.integers(0, len(text)))]
    return text
