# SPDX-License-Identifier: Apache-2.0
"""Requests that a test sends to a model, and the responses that it gets."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

from tritongw._tensor_spec import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from tritongw._core import Tensor

ParameterValue = bool | int | float | str


class InferenceError(Exception):
    """An error with which a request was answered, in Triton's words.

    Attributes
    ----------
    code : int
        One of the codes of ``pb_utils.TritonError``.
    responses : list of Response
        What a decoupled model sent before.
    """

    def __init__(self, message: str, code: int = pb_utils.TritonError.INTERNAL) -> None:
        super().__init__(message)
        self.code = code
        self.responses: list[Response] = []


@dataclasses.dataclass(frozen=True)
class Request:
    """A request as a client sends it.

    Parameters
    ----------
    inputs : Mapping of str to array or Tensor
        Arrays are taken as they are; anything else becomes an array of the configured type.
        Texts arrive as ``bytes``, as over the network.
    request_id : str, default=""
        Id of the request.
    correlation_id : int or str, default=0
        Id of the sequence.
    flags : int, default=0
        Place in the sequence.
    timeout : int, default=0
        Timeout in microseconds.
    parameters : Mapping, default={}
        Parameters of the request.
    requested_outputs : Sequence of str, default=()
        Outputs that are asked for; none for all.
    is_cancelled : bool, default=False
        Whether the client has given the request up.
    priority : int, default=0
        Priority level, 0 for the model's default.
    """

    inputs: Mapping[str, ArrayLike | Tensor]
    request_id: str = ""
    correlation_id: int | str = 0
    flags: int = 0
    timeout: int = 0
    parameters: Mapping[str, ParameterValue] = dataclasses.field(default_factory=dict)
    requested_outputs: Sequence[str] = ()
    is_cancelled: bool = False
    priority: int = 0

    @classmethod
    def of(cls, request: pb_utils.InferenceRequest) -> Request:
        """Return what a ``pb_utils.InferenceRequest`` says."""
        return cls(
            {tensor.name(): tensor for tensor in request.inputs()},
            request.request_id(),
            request.correlation_id(),
            request.flags(),
            request.timeout(),
            json.loads(request.parameters()),
            request.requested_output_names(),
            priority=request.priority(),
        )


@dataclasses.dataclass(frozen=True)
class Response:
    """One response.

    Parameters
    ----------
    tensors : dict of str to Tensor
        The outputs.
    parameters : dict
        Parameters of the response.
    error : InferenceError or None
        Why there are no outputs.
    is_final : bool
        Whether nothing follows.
    """

    tensors: dict[str, Tensor]
    parameters: dict[str, ParameterValue]
    error: InferenceError | None
    is_final: bool

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.tensors[name].as_numpy()

    @property
    def outputs(self) -> dict[str, NDArray[Any]]:
        """The outputs as arrays."""
        return {name: tensor.as_numpy() for name, tensor in self.tensors.items()}

    @classmethod
    def of(cls, response: pb_utils.InferenceResponse | None, *, is_final: bool) -> Response:
        """Return what a ``pb_utils.InferenceResponse`` says; None only ends."""
        if response is None:
            return cls({}, {}, None, is_final)
        given = response.error()
        error = None if given is None else InferenceError(given.message(), given.code())
        tensors = {tensor.name(): tensor for tensor in response.output_tensors()}
        return cls(tensors, json.loads(response.parameters()), error, is_final)


@dataclasses.dataclass(frozen=True)
class ModelRequest:
    """A request in the form that the extension module reads."""

    request_id: str
    correlation_id: int | str
    flags: int
    timeout: int
    parameters: str
    requested_outputs: list[str]
    tensors: list[Tensor]
    is_cancelled: bool
    priority: int


def model_request(request: Request, config: Mapping[str, Any]) -> ModelRequest:
    """Return a request as a model of that configuration gets it."""
    return ModelRequest(
        request.request_id,
        request.correlation_id,
        request.flags,
        request.timeout,
        json.dumps(dict(request.parameters)),
        list(request.requested_outputs),
        [tensor_of(name, value, config) for name, value in request.inputs.items()],
        request.is_cancelled,
        request.priority,
    )


def tensor_of(name: str, value: ArrayLike | Tensor, config: Mapping[str, Any]) -> Tensor:
    """Return a value as an input of that name."""
    if isinstance(value, pb_utils.Tensor):
        return value
    if isinstance(value, np.ndarray):
        return pb_utils.Tensor(name, value)
    described = pb_utils.get_input_config_by_name(config, name)
    if described is None:
        return pb_utils.Tensor(name, np.asarray(value))
    spec = TensorSpec(described["data_type"], ())
    return pb_utils.Tensor(name, np.asarray(value, dtype=spec.numpy_type))
