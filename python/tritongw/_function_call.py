# SPDX-License-Identifier: Apache-2.0
"""Calls a function with the tensors of requests, and cuts what it returns into responses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tritongw._model import Input, Signature
    from tritongw._tensor_spec import TensorSpec


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of the function, for one or more requests."""

    arguments: dict[str, Any]
    # Of the requests, by their place among those that came together.
    indices: list[int]
    # Rows of each; empty if the model does not batch.
    rows: list[int]


class FunctionCaller:
    """Translates between requests and calls.

    Parameters
    ----------
    function : callable
        What is called.
    signature : Signature
        What it takes and gives.
    """

    def __init__(self, function: Callable[..., Any], signature: Signature) -> None:
        self.function = function
        self._signature = signature
        self._is_batching = signature.options.max_batch_size > 0

    def calls(self, requests: list[pb_utils.InferenceRequest]) -> list[Call]:
        """Return the calls that answer `requests`.

        Without batching each request is a call of its own. With it, requests with the same inputs
        in the same shapes share one, their rows one after the other.
        """
        arrays = [self._arrays(request) for request in requests]
        if not self._is_batching:
            return [Call(self._scalars(each), [index], []) for index, each in enumerate(arrays)]
        groups: dict[Any, list[int]] = {}
        for index, each in enumerate(arrays):
            kind = tuple((name, array.shape[1:]) for name, array in sorted(each.items()))
            groups.setdefault(kind, []).append(index)
        return [self._joined(arrays, indices) for indices in groups.values()]

    def responses(
        self, call: Call, returned: Any
    ) -> Iterator[tuple[int, pb_utils.InferenceResponse]]:
        """Yield the response to each request of a call, with its index."""
        outputs = self._outputs(returned, sum(call.rows))
        start = 0
        for place, index in enumerate(call.indices):
            mine = outputs
            if len(call.indices) > 1:
                stop = start + call.rows[place]
                mine = {name: array[start:stop] for name, array in outputs.items()}
                start = stop
            tensors = [pb_utils.Tensor(name, array) for name, array in mine.items()]
            yield index, pb_utils.InferenceResponse(tensors)

    def _arrays(self, request: pb_utils.InferenceRequest) -> dict[str, NDArray[Any]]:
        return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}

    def _scalars(self, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
        inputs = self._signature.inputs
        return {name: _argument(array, inputs[name]) for name, array in arrays.items()}

    def _joined(self, arrays: list[dict[str, NDArray[Any]]], indices: list[int]) -> Call:
        rows = [len(next(iter(arrays[index].values()))) for index in indices]
        if len(indices) == 1:
            return Call(dict(arrays[indices[0]]), indices, rows)
        arguments = {
            name: np.concatenate([arrays[index][name] for index in indices])
            for name in arrays[indices[0]]
        }
        return Call(arguments, indices, rows)

    def _outputs(self, returned: Any, row_count: int) -> dict[str, NDArray[Any]]:
        specs = self._signature.outputs
        outputs = {}
        for name, value in self._named(returned).items():
            array = _array(name, value, specs[name])
            leading = [row_count] if self._is_batching else []
            expected = (*leading, *specs[name].shape)
            if not self._is_batching and array.ndim == 0 and expected in ((1,), (-1,)):
                array = array.reshape(1)
            if len(array.shape) != len(expected) or any(
                dim not in (-1, found) for dim, found in zip(expected, array.shape, strict=True)
            ):
                message = f"output '{name}' has shape {array.shape}, expected {expected}"
                raise ValueError(message)
            outputs[name] = array
        return outputs

    def _named(self, returned: Any) -> dict[str, Any]:
        names = list(self._signature.outputs)
        if isinstance(returned, Mapping):
            if set(returned) != set(names):
                message = f"returned outputs {sorted(returned)}, expected {sorted(names)}"
                raise ValueError(message)
            return dict(returned)
        if len(names) == 1:
            return {names[0]: returned}
        if not isinstance(returned, tuple | list) or len(returned) != len(names):
            message = f"must return a mapping or a tuple of the outputs {names}"
            raise ValueError(message)
        return dict(zip(names, returned, strict=True))


def _argument(array: NDArray[Any], described: Input) -> Any:
    if described.scalar is None:
        return array
    value = array.reshape(-1)[0]
    if described.scalar is str:
        return value.decode()
    return described.scalar(value)


def _array(name: str, value: Any, spec: TensorSpec) -> NDArray[Any]:
    """Return a value as an array of the output's type; what would change its kind is refused."""
    array: NDArray[Any] = np.asarray(value)
    wanted = np.dtype(spec.numpy_type)
    if array.dtype == wanted or (wanted == np.object_ and array.dtype.kind in "SU"):
        return array
    try:
        return array.astype(wanted, casting="same_kind")
    except TypeError as error:
        message = f"output '{name}' is declared {spec.dtype}, but the function gave {array.dtype}"
        raise ValueError(message) from error
