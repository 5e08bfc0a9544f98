# SPDX-License-Identifier: Apache-2.0
"""Models that are functions or classes: the decorator, and what it makes of type hints."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

from tritongw._tensor_spec import TensorSpec, scalar_of_hint, spec_of_hint

T = TypeVar("T", bound=Callable[..., Any])

# How a tensor may be stated in the decorator.
TensorLike = TensorSpec | tuple[Any, Sequence[int]]

_ATTRIBUTE = "__tritongw_model__"

_HOW_TO = (
    'state it by a type hint, Annotated[np.ndarray, "FP32", (-1, 16)], or in the decorator, '
    '@tritongw.model(inputs={"x": ("FP32", (-1, 16))}, outputs={"y": ("FP32", (-1,))})'
)


class ModelDefinitionError(Exception):
    """Raised when a function or class does not say what is needed to serve it."""


@dataclasses.dataclass(frozen=True)
class DynamicBatching:
    """How requests are merged into batches.

    Parameters
    ----------
    max_queue_delay_microseconds : int, default=0
        How long a request may wait for others.
    preferred_batch_size : Sequence of int, default=()
        Sizes that are sent at once when they are reached.
    preserve_ordering : bool, default=False
        Whether responses leave in the order of the requests.
    """

    max_queue_delay_microseconds: int = 0
    preferred_batch_size: Sequence[int] = ()
    preserve_ordering: bool = False


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """What the decorator was given."""

    name: str | None = None
    inputs: Mapping[str, TensorLike] | None = None
    outputs: Mapping[str, TensorLike] | None = None
    max_batch_size: int = 0
    dynamic_batching: DynamicBatching | bool = True
    instances: int = 1
    in_process: bool = False
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Input:
    """An input of a model, and how its function takes it."""

    spec: TensorSpec
    is_optional: bool
    # The Python type of the argument; None for an array.
    scalar: type | None


@dataclasses.dataclass(frozen=True)
class Signature:
    """What is served, and how it is called."""

    options: ModelOptions
    inputs: dict[str, Input]
    outputs: dict[str, TensorSpec]
    is_streaming: bool
    is_async: bool

    def config(self) -> dict[str, Any]:
        """Return what a model's ``auto_complete_config`` may say of it."""
        inputs = [
            _tensor(name, each.spec) | ({"optional": True} if each.is_optional else {})
            for name, each in self.inputs.items()
        ]
        config: dict[str, Any] = {
            "max_batch_size": self.options.max_batch_size,
            "input": inputs,
            "output": [_tensor(name, spec) for name, spec in self.outputs.items()],
        }
        batching = self.options.dynamic_batching
        if self.options.max_batch_size > 0 and batching:
            settings = batching if isinstance(batching, DynamicBatching) else DynamicBatching()
            config["dynamic_batching"] = dataclasses.asdict(settings)
        if self.is_streaming:
            config["model_transaction_policy"] = {"decoupled": True}
        return config


@typing.overload
def model(target: T, /) -> T: ...


@typing.overload
def model(
    *,
    name: str | None = None,
    inputs: Mapping[str, TensorLike] | None = None,
    outputs: Mapping[str, TensorLike] | None = None,
    max_batch_size: int = 0,
    dynamic_batching: DynamicBatching | bool = True,
    instances: int = 1,
    in_process: bool = False,
    parameters: Mapping[str, str] | None = None,
) -> Callable[[T], T]: ...


def model(
    target: T | None = None,
    /,
    *,
    name: str | None = None,
    inputs: Mapping[str, TensorLike] | None = None,
    outputs: Mapping[str, TensorLike] | None = None,
    max_batch_size: int = 0,
    dynamic_batching: DynamicBatching | bool = True,
    instances: int = 1,
    in_process: bool = False,
    parameters: Mapping[str, str] | None = None,
) -> T | Callable[[T], T]:
    """Say how a function or class is to be served by ``tritongw serve app.py``.

    The function is called with an array for each input, by name, and returns the output, or
    several as a mapping or a tuple. It stays what it is: a test calls it as before. Of a class one
    object is made in each instance, without arguments, and called.

    Parameters
    ----------
    target : callable, optional
        The function or class, when the decorator is used without arguments.
    name : str, optional
        Name of the model; that of the function if not given.
    inputs, outputs : Mapping of str to TensorSpec or (dtype, shape), optional
        Tensors that type hints do not state. Shapes are without the batch dimension.
    max_batch_size : int, default=0
        0: each call is one request. Otherwise every array has a batch dimension in front, of at
        most so many rows, that belong to one or more requests.
    dynamic_batching : DynamicBatching or bool, default=True
        Whether a model with ``max_batch_size`` gets several requests at once, and how they are
        gathered.
    instances : int, default=1
        How many calls can be under way at once, each in a process of its own.
    in_process : bool, default=False
        Whether the model runs in the server's own interpreter.
    parameters : Mapping of str to str, optional
        Parameters of the model's configuration.

    Returns
    -------
    callable
        The function or class itself.

    Examples
    --------
    >>> import numpy as np
    >>> from typing import Annotated
    >>> Vectors = Annotated[np.ndarray, "FP32", (-1,)]
    >>> @model(max_batch_size=64)
    ... def double(x: Vectors) -> Vectors:
    ...     return x * 2
    >>> double(np.ones(2, dtype=np.float32))
    array([2., 2.], dtype=float32)
    """
    if max_batch_size < 0 or instances < 1:
        message = "max_batch_size must be 0 or more, instances 1 or more"
        raise ValueError(message)
    options = ModelOptions(
        name,
        inputs,
        outputs,
        max_batch_size,
        dynamic_batching,
        instances,
        in_process,
        dict(parameters or {}),
    )

    def decorate(target: T) -> T:
        setattr(target, _ATTRIBUTE, options)
        return target

    return decorate if target is None else decorate(target)


def options_of(target: object) -> ModelOptions | None:
    """Return what the decorator was given for `target`; None if it was not used."""
    # Not what a class has from its bases.
    found = vars(target).get(_ATTRIBUTE) if hasattr(target, "__dict__") else None
    return found if isinstance(found, ModelOptions) else None


def signature_of(target: Callable[..., Any]) -> Signature:
    """Return what a function or class takes and gives.

    Raises
    ------
    ModelDefinitionError
        If that cannot be told, with how to state it.
    """
    options = options_of(target) or ModelOptions()
    function = _called(target)
    name = getattr(target, "__qualname__", type(target).__qualname__)
    parameters = list(inspect.signature(function).parameters.values())
    if not inspect.isroutine(target):
        # `self`
        parameters = parameters[1:]
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:
        message = f"the type hints of '{name}' cannot be resolved: {error}"
        raise ModelDefinitionError(message) from error
    returned = hints.pop("return", None)
    item = _streamed(returned)
    is_streaming = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    if is_streaming and options.max_batch_size > 0:
        message = f"'{name}' yields its responses, for which max_batch_size must be 0"
        raise ModelDefinitionError(message)
    try:
        return Signature(
            options,
            inputs=_inputs(name, parameters, hints, options),
            outputs=_outputs(name, item if is_streaming else returned, options),
            is_streaming=is_streaming,
            is_async=inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        )
    except ValueError as error:
        message = f"'{name}': {error}"
        raise ModelDefinitionError(message) from error


def _called(target: object) -> Callable[..., Any]:
    """Return the function behind a call: that of an object or class is its ``__call__``."""
    if inspect.isclass(target):
        if "__call__" not in dir(target) or target.__call__ is type.__call__:
            message = f"class '{target.__qualname__}' has neither `execute` nor `__call__`"
            raise ModelDefinitionError(message)
        function: Callable[..., Any] = target.__call__
        return function
    if inspect.isroutine(target):
        return target
    if not callable(target):
        message = f"{target!r} is neither a function nor a class"
        raise ModelDefinitionError(message)
    call: Callable[..., Any] = type(target).__call__
    return call


def _inputs(
    name: str,
    parameters: list[inspect.Parameter],
    hints: dict[str, Any],
    options: ModelOptions,
) -> dict[str, Input]:
    given = dict(options.inputs or {})
    inputs: dict[str, Input] = {}
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            inputs |= {each: Input(_spec(stated), False, None) for each, stated in given.items()}
            given.clear()
            continue
        hint = hints.get(parameter.name)
        stated = given.pop(parameter.name, None)
        spec = _spec(stated) if stated is not None else spec_of_hint(hint)
        if spec is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            what = f"data type and shape of '{parameter.name}', an argument of '{name}'"
            message = f"cannot tell {what}: {_HOW_TO}"
            raise ModelDefinitionError(message)
        scalar = scalar_of_hint(hint) if stated is None else None
        if scalar is not None and options.max_batch_size > 0:
            message = (
                f"'{parameter.name}', an argument of '{name}', is a {scalar.__name__}, but with "
                f"max_batch_size arguments are arrays: {_HOW_TO}"
            )
            raise ModelDefinitionError(message)
        is_optional = parameter.default is not parameter.empty
        inputs[parameter.name] = Input(spec, is_optional, scalar)
    if given:
        message = f"'{name}' has no argument '{next(iter(given))}', which is among its inputs"
        raise ModelDefinitionError(message)
    if not inputs:
        message = f"'{name}' takes no argument, and a model needs an input"
        raise ModelDefinitionError(message)
    return inputs


def _outputs(name: str, hint: Any, options: ModelOptions) -> dict[str, TensorSpec]:
    if options.outputs:
        return {output: _spec(stated) for output, stated in options.outputs.items()}
    if is_typeddict(hint) or hasattr(hint, "_fields"):
        fields = get_type_hints(hint, include_extras=True)
        found = {field: spec_of_hint(each) for field, each in fields.items()}
    elif get_origin(hint) is tuple:
        found = {f"output{index}": spec_of_hint(each) for index, each in enumerate(get_args(hint))}
    else:
        found = {"output": spec_of_hint(hint)}
    outputs = {output: spec for output, spec in found.items() if spec is not None}
    if not outputs or len(outputs) != len(found):
        message = f"cannot tell data type and shape of what '{name}' returns: {_HOW_TO}"
        raise ModelDefinitionError(message)
    return outputs


def _streamed(hint: Any) -> Any:
    """Return what the iterator of a generator's hint yields."""
    origin = get_origin(hint)
    is_iterator = isinstance(origin, type) and issubclass(origin, Iterator | AsyncIterator)
    return get_args(hint)[0] if is_iterator and get_args(hint) else hint


def _spec(stated: TensorLike) -> TensorSpec:
    return stated if isinstance(stated, TensorSpec) else TensorSpec(*stated)


def _tensor(name: str, spec: TensorSpec) -> dict[str, Any]:
    return {"name": name, "data_type": spec.config_type, "dims": list(spec.shape)}
