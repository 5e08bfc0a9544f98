# SPDX-License-Identifier: Apache-2.0
"""One row of facts per tensor data type."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class DataType:
    """A data type as the wire, the configuration and the tests know it.

    Parameters
    ----------
    name : str
        Name on the wire, such as ``FP32``.
    values : list of object
        Six values as they stand in JSON; the extremes of the type are among them.
    contents_field : str or None
        Field of ``InferTensorContents`` that carries the type; None where there is none.
    """

    name: str
    values: list[bool] | list[int] | list[float] | list[str]
    contents_field: str | None

    @property
    def config_name(self) -> str:
        """Name in config.pbtxt."""
        return "TYPE_STRING" if self.name == "BYTES" else f"TYPE_{self.name}"

    @property
    def numpy_type(self) -> np.dtype[np.generic]:
        """Type of the array that the Python clients take and give."""
        # ml_dtypes has told numpy of the name.
        names: dict[str, str] = {
            "BYTES": "object",
            "BOOL": "bool",
            "BF16": ml_dtypes.bfloat16.__name__,
        }
        return np.dtype(names.get(self.name, self.name.lower().replace("fp", "float")))

    @property
    def array(self) -> np.ndarray:
        """The values as the Python clients take them."""
        if self.name == "BYTES":
            return np.array([str(value).encode() for value in self.values], dtype=np.object_)
        return np.array(self.values, dtype=self.numpy_type)

    @property
    def raw(self) -> bytes:
        """The values as little-endian bytes in row-major order."""
        if self.name == "BYTES":
            return b"".join(struct.pack("<I", len(each)) + each for each in self.array)
        return self.array.tobytes()

    @property
    def has_json_form(self) -> bool:
        """Whether Triton lets the values travel in JSON."""
        return self.name not in ("FP16", "BF16")


def _integer(name: str, field: str, low: int, high: int) -> DataType:
    return DataType(name, [low, high, 0, 1, 2, 3], field)


_FLOATS = [0.0, -1.5, 0.25, 1024.0, -0.0, 3.0]

DATA_TYPES = [
    DataType("BOOL", [True, False, True, True, False, False], "bool_contents"),
    *(
        _integer(f"INT{bits}", field, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        for bits, field in [
            (8, "int_contents"),
            (16, "int_contents"),
            (32, "int_contents"),
            (64, "int64_contents"),
        ]
    ),
    *(
        _integer(f"UINT{bits}", field, 0, 2**bits - 1)
        for bits, field in [
            (8, "uint_contents"),
            (16, "uint_contents"),
            (32, "uint_contents"),
            (64, "uint64_contents"),
        ]
    ),
    DataType("FP16", _FLOATS, None),
    DataType("BF16", _FLOATS, None),
    DataType("FP32", _FLOATS, "fp32_contents"),
    DataType("FP64", [*_FLOATS[:5], 0.1], "fp64_contents"),
    DataType(
        "BYTES", ["", "a", "äöü", 'quote " and \\', "line\nbreak", "\u0001"], "bytes_contents"
    ),
]
