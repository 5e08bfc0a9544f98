# SPDX-License-Identifier: Apache-2.0
"""Data type and shape of a tensor, and the type hints that state them."""

from __future__ import annotations

import re
import types
import typing
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

# Names on the wire, with the types that NumPy has for them.
DATA_TYPES: dict[str, type | None] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
    "BF16": None,
}

# What a hint that is no array stands for: one element.
SCALARS: dict[type, str] = {
    bool: "BOOL",
    int: "INT64",
    float: "FP64",
    str: "BYTES",
    bytes: "BYTES",
}

_CONFIG_NAME = re.compile(r"TYPE_(\w+)")


class TensorSpec:
    """Data type and shape of an input or output.

    Parameters
    ----------
    dtype : str or numpy type
        ``"FP32"`` and its kin, as on the wire, or what NumPy takes for a dtype.
    shape : Sequence of int
        Dimensions without the batch dimension; -1 for one of any size.

    Examples
    --------
    >>> TensorSpec("FP32", (-1, 16))
    TensorSpec('FP32', (-1, 16))
    >>> TensorSpec(np.int64, [3]) == TensorSpec("INT64", (3,))
    True
    """

    __slots__ = ("dtype", "shape")

    def __init__(self, dtype: DTypeLike, shape: Sequence[int]) -> None:
        self.dtype: str = wire_name(dtype)
        self.shape: tuple[int, ...] = _checked(shape)

    def __repr__(self) -> str:
        return f"TensorSpec({self.dtype!r}, {self.shape})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorSpec):
            return NotImplemented
        return (self.dtype, self.shape) == (other.dtype, other.shape)

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape))

    @property
    def config_type(self) -> str:
        """Name of the data type in a model's configuration."""
        return "TYPE_STRING" if self.dtype == "BYTES" else f"TYPE_{self.dtype}"

    @property
    def numpy_type(self) -> type | None:
        """Type of the elements in NumPy, which knows no BF16."""
        return DATA_TYPES[self.dtype]


def wire_name(dtype: DTypeLike) -> str:
    """Return the name on the wire of a data type.

    Parameters
    ----------
    dtype : str or numpy type
        As `TensorSpec` takes it; names of the configuration are fine too.

    Raises
    ------
    ValueError
        If no tensor can have it.

    Examples
    --------
    >>> wire_name("TYPE_STRING"), wire_name("fp16"), wire_name(np.float32), wire_name("int8")
    ('BYTES', 'FP16', 'FP32', 'INT8')
    """
    if isinstance(dtype, str):
        found = _CONFIG_NAME.fullmatch(dtype.upper())
        name = found.group(1) if found else dtype.upper()
        if name == "STRING":
            return "BYTES"
        if name in DATA_TYPES:
            return name
    try:
        known = np.dtype(dtype)
    except TypeError:
        known = None
    for name, numpy_type in DATA_TYPES.items():
        if known is not None and numpy_type is not None and known == np.dtype(numpy_type):
            return name
    if known is not None and known.kind in "SU":
        return "BYTES"
    message = f"unknown data type {dtype!r}; tensors have one of {', '.join(DATA_TYPES)}"
    raise ValueError(message)


def spec_of_hint(hint: object) -> TensorSpec | None:
    """Return what a type hint says of a tensor.

    Parameters
    ----------
    hint : object
        ``Annotated[np.ndarray, "FP32", (-1, 16)]``, ``Annotated[np.ndarray, TensorSpec(…)]``,
        ``Annotated[NDArray[np.float32], (-1, 16)]``, or a scalar type.

    Returns
    -------
    TensorSpec or None
        None if data type or shape cannot be told.

    Examples
    --------
    >>> spec_of_hint(Annotated[np.ndarray, "FP32", (2, -1)])
    TensorSpec('FP32', (2, -1))
    >>> spec_of_hint(str)
    TensorSpec('BYTES', (1,))
    >>> spec_of_hint(np.ndarray) is None
    True
    """
    hint = without_none(hint)
    if isinstance(hint, type) and hint in SCALARS:
        return TensorSpec(SCALARS[hint], (1,))
    if get_origin(hint) is not Annotated:
        return None
    array, *notes = get_args(hint)
    for note in notes:
        if isinstance(note, TensorSpec):
            return note
    dtype = next((note for note in notes if isinstance(note, str | type | np.dtype)), None)
    if dtype is None:
        dtype = _element_type(array)
    shape = next((note for note in notes if isinstance(note, tuple | list)), None)
    if dtype is None or shape is None:
        return None
    return TensorSpec(dtype, shape)


def scalar_of_hint(hint: object) -> type | None:
    """Return the type of the one Python object that a hint asks for in place of an array."""
    hint = without_none(hint)
    return hint if isinstance(hint, type) and hint in SCALARS else None


def without_none(hint: object) -> object:
    """Return what ``X | None`` says beside None."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        others = [each for each in get_args(hint) if each is not type(None)]
        if len(others) == 1:
            return others[0]
    return hint


def _element_type(array: Any) -> Any:
    """Return the element type of ``NDArray[…]``, if the hint is one."""
    arguments = get_args(array)
    if get_origin(array) is not np.ndarray or len(arguments) != 2:
        return None
    element = get_args(arguments[1])
    is_known = bool(element) and isinstance(element[0], type) and element[0] is not typing.Any
    return element[0] if is_known else None


def _checked(shape: Sequence[int]) -> tuple[int, ...]:
    dims = tuple(shape)
    if not all(isinstance(dim, int) and (dim > 0 or dim == -1) for dim in dims):
        message = f"dimensions must be positive, or -1 for any size; got {dims}"
        raise ValueError(message)
    return dims
