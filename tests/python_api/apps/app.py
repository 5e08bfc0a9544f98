# SPDX-License-Identifier: Apache-2.0
"""Functions and classes to be served."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, TypedDict

import helper
import numpy as np

import tritongw

Row = Annotated[np.ndarray, "FP32", (-1,)]
Text = Annotated[np.ndarray, "BYTES", (1,)]


class Sum(TypedDict):
    total: Annotated[np.ndarray, "FP32", (1,)]
    rows: Annotated[np.ndarray, "INT32", (1,)]


@tritongw.model(max_batch_size=8)
def double(x: Row) -> Row:
    # numpy makes float64 of it.
    return x * np.float64(helper.FACTOR)


@tritongw.model(max_batch_size=8, dynamic_batching=tritongw.DynamicBatching(50_000, [2]))
def merged(x: Row, weights: Row | None = None) -> Sum:
    """Say how many rows came together."""
    total = x.sum(axis=1, keepdims=True)
    if weights is not None:
        total = total * weights.sum(axis=1, keepdims=True)
    return {"total": total, "rows": np.full((len(x), 1), len(x), dtype=np.int32)}


@tritongw.model
def greet(name: str, times: int = 1) -> str:
    return f"Hello {name}! " * times


@tritongw.model(in_process=True, name="shout")
class Shouter:
    """One object in each instance."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, text: str) -> tuple[str, int]:
        self.calls += 1
        if not text:
            raise ValueError("nothing to shout")
        return text.upper(), self.calls


@tritongw.model
def count(to: int) -> Iterator[int]:
    for number in range(to):
        if number == 5:
            raise ValueError("five is too far")
        yield number


@tritongw.model
async def later(text: str) -> str:
    await asyncio.sleep(0)
    return f"{text}, later"


@tritongw.model
async def letters(text: str) -> AsyncIterator[str]:
    for letter in text:
        await asyncio.sleep(0)
        yield letter


@tritongw.model(instances=2, parameters={"note": 'a "note"'})
def where(x: Row) -> Annotated[np.ndarray, "INT64", (1,)]:
    return np.array([os.getpid()])


@tritongw.model
def wrong_shape(x: Row) -> Annotated[np.ndarray, "FP32", (2,)]:
    return x


@tritongw.model
def wrong_type(x: Row) -> Annotated[np.ndarray, "INT32", (-1,)]:
    return x


def plain(x: Row) -> Row:
    """Not decorated: served only when it is named."""
    return -x
