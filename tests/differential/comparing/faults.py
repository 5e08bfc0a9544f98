# SPDX-License-Identifier: Apache-2.0
"""How many things of a request were made wrong while it was drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

# Parameters of a request that have a meaning, and which values it takes.
_IS_FINE: dict[str, Callable[[object], bool]] = {
    "sequence_id": lambda value: isinstance(value, str) or _is_count(value),
    "sequence_start": lambda value: isinstance(value, bool),
    "sequence_end": lambda value: isinstance(value, bool),
    "priority": lambda value: _is_count(value),
    "timeout": lambda value: _is_count(value),
    "binary_data_output": lambda value: isinstance(value, bool),
    "triton_enable_empty_final_response": lambda value: isinstance(value, bool),
}
# Parameters of a tensor that have a meaning, and the types of their values.
_TENSOR_TYPES: dict[str, type] = {
    "shared_memory_region": str,
    "shared_memory_byte_size": int,
    "shared_memory_offset": int,
    "classification": int,
    "binary_data": bool,
}
_RESERVED = ("triton_", "headers")


@dataclass
class Faults:
    """Counts the faults of one request, so that "several of them" is no guess."""

    count: int = 0

    def add(self, *are_faults: bool) -> None:
        """Count those that are."""
        self.count += sum(are_faults)

    def strikes(self, draw: st.DrawFn, one_in: int) -> bool:
        """Decide whether to make something wrong, and count it."""
        is_struck = draw(st.integers(0, one_in - 1)) == 0
        self.add(is_struck)
        return is_struck

    def add_tensor_parameters(self, values: dict[str, object]) -> None:
        """Count what may be wrong with each parameter of a tensor: it is there, and its value."""
        meant = {name: value for name, value in values.items() if name in _TENSOR_TYPES}
        self.add(*(True for _ in meant))
        self.add(*(not isinstance(meant[name], _TENSOR_TYPES[name]) for name in meant))

    def add_parameter(self, name: str, value: object) -> None:
        """Count a parameter of a request whose value or name is none that it may have."""
        check = _IS_FINE.get(name)
        if check is not None:
            self.add(not check(value))
        else:
            is_plain = isinstance(value, str | int | float)
            self.add(name.startswith(_RESERVED) or not is_plain)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
