# SPDX-License-Identifier: Apache-2.0
"""What a function or class says of the tensors it takes and gives."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, NamedTuple, TypedDict

import numpy as np
import pytest
from numpy.typing import NDArray

import tritongw
from tritongw import ModelDefinitionError, TensorSpec
from tritongw._function_model import (
    AsyncModel,
    AsyncStreamModel,
    PlainModel,
    StreamModel,
    model_class,
)
from tritongw._model import signature_of

Row = Annotated[np.ndarray, "FP32", (-1,)]


class Scores(TypedDict):
    label: Annotated[NDArray[np.int64], (1,)]
    score: Row


class Pair(NamedTuple):
    first: Row
    second: Annotated[np.ndarray, TensorSpec("BYTES", (1,))]


def tensors(config: dict[str, Any], kind: str) -> list[tuple[str, str, list[int]]]:
    return [(each["name"], each["data_type"], each["dims"]) for each in config[kind]]


def test_hints_state_tensors() -> None:
    def model(x: Row, names: list[str] | None = None, flag: bool = True) -> Scores: ...

    decorated = tritongw.model(inputs={"names": ("BYTES", (-1, 2))})(model)
    assert decorated is model
    config = signature_of(model).config()
    assert tensors(config, "input") == [
        ("x", "TYPE_FP32", [-1]),
        ("names", "TYPE_STRING", [-1, 2]),
        ("flag", "TYPE_BOOL", [1]),
    ]
    assert [each.get("optional", False) for each in config["input"]] == [False, True, True]
    assert tensors(config, "output") == [("label", "TYPE_INT64", [1]), ("score", "TYPE_FP32", [-1])]
    assert config["max_batch_size"] == 0
    assert "dynamic_batching" not in config


def returns_pair(x: Row) -> Pair: ...


def returns_tuple(x: Row) -> tuple[Row, Annotated[np.ndarray, "TYPE_BF16", [2]]]: ...


def returns_text(x: Row) -> str: ...


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (returns_pair, [("first", "TYPE_FP32", [-1]), ("second", "TYPE_STRING", [1])]),
        (returns_tuple, [("output0", "TYPE_FP32", [-1]), ("output1", "TYPE_BF16", [2])]),
        (returns_text, [("output", "TYPE_STRING", [1])]),
    ],
)
def test_returned_tensors_have_names(
    function: Callable[..., Any], expected: list[tuple[str, str, list[int]]]
) -> None:
    assert tensors(signature_of(function).config(), "output") == expected


def test_batching_is_configured() -> None:
    @tritongw.model(max_batch_size=8)
    def merged(x: Row) -> Row: ...

    assert signature_of(merged).config()["dynamic_batching"] == {
        "max_queue_delay_microseconds": 0,
        "preferred_batch_size": (),
        "preserve_ordering": False,
    }

    @tritongw.model(max_batch_size=8, dynamic_batching=tritongw.DynamicBatching(100, [4, 8]))
    def waiting(x: Row) -> Row: ...

    assert signature_of(waiting).config()["dynamic_batching"]["preferred_batch_size"] == [4, 8]

    @tritongw.model(max_batch_size=8, dynamic_batching=False)
    def alone(x: Row) -> Row: ...

    assert "dynamic_batching" not in signature_of(alone).config()


def test_each_kind_of_function_has_its_host() -> None:
    def plain(x: Row) -> Row: ...

    async def coroutine(x: Row) -> Row: ...

    def stream(x: Row) -> Iterator[str]:
        yield ""

    async def async_stream(x: Row) -> AsyncIterator[str]:
        yield ""

    class Model:
        def __call__(self, x: Row) -> Row: ...

    class Triton:
        def execute(self, requests: list[Any]) -> list[Any]: ...

    for target, expected in [
        (plain, PlainModel),
        (coroutine, AsyncModel),
        (stream, StreamModel),
        (async_stream, AsyncStreamModel),
        (Model, PlainModel),
        (Model(), PlainModel),
        (Triton, Triton),
    ]:
        assert issubclass(model_class(target), expected), target
    assert signature_of(stream).config()["model_transaction_policy"] == {"decoupled": True}


def no_hints(x): ...  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201


def no_shape(x: np.ndarray) -> str: ...


def no_return(x: Row): ...  # type: ignore[no-untyped-def] # noqa: ANN201


def no_inputs() -> str: ...


def bad_type(x: Annotated[np.ndarray, "FP31", (1,)]) -> str: ...


def bad_dims(x: Annotated[np.ndarray, "FP32", (0,)]) -> str: ...


def unknown_name(x: "Nowhere") -> str: ...  # type: ignore[name-defined] # noqa: F821


@tritongw.model(max_batch_size=4)
def scalar_in_batch(x: float) -> Row: ...


@tritongw.model(max_batch_size=4)
def stream_of_batches(x: Row) -> Iterator[Row]:
    yield x


@tritongw.model(inputs={"y": ("FP32", (1,))})
def other_input(x: Row) -> Row: ...


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (no_hints, "cannot tell data type and shape of 'x', an argument of 'no_hints': state it"),
        (no_shape, "cannot tell data type and shape of 'x', an argument of 'no_shape': state it"),
        (no_return, "cannot tell data type and shape of what 'no_return' returns: state it"),
        (no_inputs, "'no_inputs' takes no argument, and a model needs an input"),
        (bad_type, "'bad_type': unknown data type 'FP31'; tensors have one of BOOL, UINT8"),
        (bad_dims, "'bad_dims': dimensions must be positive, or -1 for any size; got (0,)"),
        (unknown_name, "the type hints of 'unknown_name' cannot be resolved: name 'Nowhere'"),
        (scalar_in_batch, "'x', an argument of 'scalar_in_batch', is a float, but with max_batch"),
        (stream_of_batches, "'stream_of_batches' yields its responses, for which max_batch_size"),
        (other_input, "'other_input' has no argument 'y', which is among its inputs"),
        (object, "class 'object' has neither `execute` nor `__call__`"),
        (3, "3 is neither a function nor a class"),
    ],
)
def test_what_is_not_stated_is_asked_for(function: Any, reason: str) -> None:
    with pytest.raises(ModelDefinitionError) as failure:
        signature_of(function)
    assert str(failure.value).startswith(reason)
