# SPDX-License-Identifier: Apache-2.0
"""Strategies for tensors that fit a model, and for some that do not."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from comparing.models import DATA_TYPES, MODELS, Model

if TYPE_CHECKING:
    from comparing.faults import Faults

_NUMPY = {"BF16": "uint16", "BOOL": "bool"}


def numpy_type(data_type: str) -> np.dtype[Any]:
    """Return the numpy type whose bytes are those of the wire; none for BYTES."""
    return np.dtype(_NUMPY.get(data_type, data_type.lower().replace("fp", "float")))


@dataclass(frozen=True)
class Tensor:
    """An input of a request: name, data type, shape and elements in order."""

    name: str
    data_type: str
    shape: tuple[int, ...]
    values: list[Any]

    @property
    def raw(self) -> bytes:
        """The elements as they travel in binary."""
        if self.data_type == "BYTES":
            return b"".join(
                struct.pack("<I", len(each.encode())) + each.encode() for each in self.values
            )
        return np.array(self.values, dtype=numpy_type(self.data_type)).tobytes()

    def nested(self) -> Any:
        """The elements as nested lists of the tensor's shape."""
        lists: list[Any] = self.values
        for dim in reversed(self.shape[1:]):
            lists = [lists[start : start + dim] for start in range(0, len(lists), max(dim, 1))]
        return lists


_TEXTS = st.one_of(
    st.sampled_from(["", "a", "text", "äöü", 'q" \\', "line\nbreak", "\u0001", "\U0001f600", "12"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)


def elements(data_type: str) -> st.SearchStrategy[Any]:
    """Return elements of a type as they may stand in JSON."""
    if data_type == "BYTES":
        return _TEXTS
    if data_type == "BOOL":
        return st.booleans()
    kind = numpy_type(data_type)
    if kind.kind == "f":
        width = kind.itemsize * 8
        return st.one_of(
            st.sampled_from([0.0, -0.0, 1.5, -2.0, 0.25, 1024.0]),
            st.floats(width=width, allow_nan=False, allow_infinity=False),
            st.integers(-1000, 1000).map(float),
        )
    limits = np.iinfo(kind)
    return st.one_of(st.integers(0, 9), st.integers(int(limits.min), int(limits.max)))


@st.composite
def fitting_shape(draw: st.DrawFn, dims: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that fits the dims of a configuration."""
    return tuple(draw(st.integers(0, 4)) if dim < 0 else dim for dim in dims)


def fits(shape: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    """Tell whether a shape fits the dims of a configuration."""
    return len(shape) == len(dims) and all(
        dim in (-1, size) for size, dim in zip(shape, dims, strict=True)
    )


_ODD_DIMS = st.sampled_from([0, 1, 2, 3, 5, 9])


@st.composite
def tensor(
    draw: st.DrawFn, name: str, spec: tuple[str, tuple[int, ...]], batch: int | None, faults: Faults
) -> Tensor:
    """A tensor that fits, mostly."""
    data_type, dims = spec
    shape = draw(fitting_shape(dims))
    if batch is not None:
        dims = (batch, *dims)
        shape = (batch, *shape)
    if draw(st.integers(0, 11)) == 0:
        shape = draw(st.lists(_ODD_DIMS, max_size=3).map(tuple))
        faults.add(not fits(shape, dims))
    if draw(st.integers(0, 19)) == 0:
        data_type = draw(st.sampled_from(list(DATA_TYPES)))
        faults.add(data_type != spec[0])
    count = int(np.prod(shape, dtype=np.int64))
    values = draw(st.lists(elements(data_type), min_size=count, max_size=count))
    return Tensor(name, data_type, shape, values)


_BATCHES = st.sampled_from([1, 1, 1, 2, 3, 4, 9, 0])


@st.composite
def inputs(draw: st.DrawFn, model: Model, faults: Faults) -> list[Tensor]:
    """Inputs for a model: all of them, or some where they are optional."""
    batch = draw(_BATCHES) if model.max_batch_size else None
    faults.add(batch is not None and not 0 < batch <= model.max_batch_size)
    names = list(model.inputs)
    if model.is_optional:
        names = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    tensors = [draw(tensor(name, model.inputs[name], batch, faults)) for name in names]
    what = draw(st.integers(0, 39))
    faults.add(what <= 2)
    if what == 0:
        return tensors[1:]
    if what == 1:
        return [*tensors, tensors[0]]
    if what == 2:
        return [*tensors, Tensor("UNKNOWN", "FP32", (1,), [1.0])]
    return tensors


MODEL_NAMES = st.one_of(
    st.sampled_from(list(MODELS)),
    st.sampled_from(["every_type", "every_type_batched", "pair", "commands", "repeat"]),
)


def commands() -> st.SearchStrategy[list[Tensor]]:
    """Inputs for the model that does what it is told."""
    words = ["echo", "echo", "nothing", "UNKNOWN", "INTERNAL", "NOT_FOUND", "INVALID_ARG"]
    words += ["UNAVAILABLE", "UNSUPPORTED", "ALREADY_EXISTS", "CANCELLED"]
    return st.sampled_from(words).map(lambda word: [Tensor("COMMAND", "BYTES", (1,), [word])])


def counts() -> st.SearchStrategy[list[Tensor]]:
    """Inputs for the model that answers as often as it is told."""
    return st.integers(-1, 4).map(lambda count: [Tensor("COUNT", "INT32", (1,), [count])])


def inputs_of(name: str, faults: Faults) -> st.SearchStrategy[list[Tensor]]:
    """Inputs for the model of this name."""
    if name == "commands":
        return commands()
    if name == "repeat":
        return counts()
    return inputs(MODELS[name], faults)
