# SPDX-License-Identifier: Apache-2.0
"""What stands for the other models of a server, where a model calls them (BLS)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

from tritongw.testing._exchange import InferenceError, Request, Response

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tritongw.testing._harness import ModelHarness

# What a test has in place of a model: outputs from inputs, several for a decoupled model.
Outputs = Mapping[str, "ArrayLike | pb_utils.Tensor"]
Fake = Callable[[dict[str, "NDArray[Any]"]], "Outputs | Iterable[Outputs]"]


@dataclasses.dataclass(frozen=True)
class Call:
    """A call that the model under test made.

    Parameters
    ----------
    model_name : str
        The model called.
    model_version : int
        Its version, -1 for any.
    request : Request
        What was sent.
    """

    model_name: str
    model_version: int
    request: Request


class FakeModels:
    """Answers calls to other models and to the repository.

    Parameters
    ----------
    models : Mapping of str to Fake or ModelHarness
        The models there are.
    """

    def __init__(self, models: Mapping[str, Fake | ModelHarness]) -> None:
        self.models = dict(models)
        self.ready = set(self.models)
        self.calls: list[Call] = []
        # Of a fake itself, which is the test's to see, not the model's.
        self.failure: BaseException | None = None

    def call(
        self, model_name: str, model_version: int, request: pb_utils.InferenceRequest
    ) -> list[pb_utils.InferenceResponse]:
        """Answer a call of the model under test."""
        asked = Request.of(request)
        self.calls.append(Call(model_name, model_version, asked))
        model = self.models.get(model_name)
        if model is None or model_name not in self.ready:
            message = (
                f"Failed for execute the inference request. Model '{model_name}', version: "
                f"{model_version} is not ready."
            )
            return [_failed(InferenceError(message))]
        try:
            return self._answer(model, asked)
        except InferenceError as error:
            return [_failed(error)]
        except BaseException as error:
            self.failure = self.failure or error
            return [_failed(InferenceError(f"{type(error).__name__}: {error}"))]

    def _answer(self, model: Fake | ModelHarness, asked: Request) -> list[Any]:
        if not callable(model):
            (responses,) = model.execute([asked])
            return [_sent(each) for each in responses if each.tensors or each.error]
        inputs = {tensor.name(): tensor.as_numpy() for tensor in _tensors(asked.inputs)}
        given = model(inputs)
        several = [given] if isinstance(given, Mapping) else list(given)
        return [_response(outputs, asked.requested_outputs) for outputs in several]

    def load(self, name: str) -> None:
        """Let a model be ready."""
        if name not in self.models:
            message = f"failed to load '{name}', failed to poll from model repository"
            raise pb_utils.TritonModelException(message)
        self.ready.add(name)

    def unload(self, name: str) -> None:
        """Let a model be not ready."""
        self.ready.discard(name)

    def is_ready(self, name: str) -> bool:
        """Return whether a model is ready."""
        return name in self.ready


def _tensors(values: Mapping[str, ArrayLike | pb_utils.Tensor]) -> list[pb_utils.Tensor]:
    return [
        value if isinstance(value, pb_utils.Tensor) else pb_utils.Tensor(name, np.asarray(value))
        for name, value in values.items()
    ]


def _response(outputs: Outputs, wanted: Iterable[str]) -> pb_utils.InferenceResponse:
    names = set(wanted) or set(outputs)
    return pb_utils.InferenceResponse(
        [tensor for tensor in _tensors(outputs) if tensor.name() in names]
    )


def _sent(response: Response) -> pb_utils.InferenceResponse:
    if response.error is not None:
        return _failed(response.error)
    tensors = list(response.tensors.values())
    return pb_utils.InferenceResponse(tensors, parameters=dict(response.parameters))


def _failed(error: InferenceError) -> pb_utils.InferenceResponse:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), error.code))
