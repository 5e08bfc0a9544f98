# SPDX-License-Identifier: Apache-2.0
"""Makes a ``TritonPythonModel`` of a function or class."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, ClassVar

import triton_python_backend_utils as pb_utils

from tritongw._core import log_failure
from tritongw._function_call import FunctionCaller
from tritongw._model import Signature, signature_of
from tritongw._model_host import describe

if TYPE_CHECKING:
    from collections.abc import Callable

_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class FunctionModel:
    """What models made of functions have in common; a subclass has the function."""

    # In a tuple: a function as a class attribute would be a method.
    target: ClassVar[tuple[Callable[..., Any]]]
    signature: ClassVar[Signature]
    # Only where the object has it.
    is_ready: Callable[[], object]

    @classmethod
    def auto_complete_config(cls, config: pb_utils.ModelConfig) -> pb_utils.ModelConfig:
        """Complete the configuration from the signature."""
        return complete(config, cls.signature.config())

    def initialize(self, args: dict[str, str]) -> None:
        """Make the object, if the target is a class."""
        target = self.target[0]
        called: Any = target() if inspect.isclass(target) else target
        self._caller = FunctionCaller(called, self.signature)
        if inspect.isclass(target) and callable(getattr(called, "is_ready", None)):
            self.is_ready = called.is_ready

    def finalize(self) -> None:
        """Call ``close`` of the object, if it has that."""
        if inspect.isclass(self.target[0]):
            getattr(self._caller.function, "close", lambda: None)()


class PlainModel(FunctionModel):
    """A function that returns."""

    def execute(
        self, requests: list[pb_utils.InferenceRequest]
    ) -> list[pb_utils.InferenceResponse | None]:
        """Call the function, once for all requests that fit together."""
        answers: list[pb_utils.InferenceResponse | None] = [None] * len(requests)
        for call in self._caller.calls(requests):
            returned = self._caller.function(**call.arguments)
            for index, response in self._caller.responses(call, returned):
                answers[index] = response
        return answers


class AsyncModel(FunctionModel):
    """A coroutine function."""

    async def execute(
        self, requests: list[pb_utils.InferenceRequest]
    ) -> list[pb_utils.InferenceResponse | None]:
        """Call the function as `PlainModel` does, and wait for all calls together."""
        answers: list[pb_utils.InferenceResponse | None] = [None] * len(requests)
        calls = self._caller.calls(requests)
        results = [self._caller.function(**call.arguments) for call in calls]
        for call, returned in zip(calls, await asyncio.gather(*results), strict=True):
            for index, response in self._caller.responses(call, returned):
                answers[index] = response
        return answers


class StreamModel(FunctionModel):
    """A generator function: each item is a response."""

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> None:
        """Send items as they are yielded, until the client has gone."""
        for request, call in zip(requests, self._caller.calls(requests), strict=True):
            sender = request.get_response_sender()
            try:
                for item in self._caller.function(**call.arguments):
                    if sender.is_cancelled():
                        break
                    self._send(sender, call, item)
            except Exception as error:
                sender.send(_failed(error), _FINAL)
            else:
                sender.send(flags=_FINAL)

    def _send(self, sender: pb_utils.InferenceResponseSender, call: Any, item: Any) -> None:
        for _, response in self._caller.responses(call, item):
            sender.send(response)


class AsyncStreamModel(StreamModel):
    """An asynchronous generator function."""

    async def execute(  # type: ignore[override]
        self, requests: list[pb_utils.InferenceRequest]
    ) -> None:
        """Send items as they are yielded, those of several requests side by side."""
        calls = self._caller.calls(requests)
        pairs = zip(requests, calls, strict=True)
        await asyncio.gather(*(self._stream(request, call) for request, call in pairs))

    async def _stream(self, request: pb_utils.InferenceRequest, call: Any) -> None:
        sender = request.get_response_sender()
        try:
            async for item in self._caller.function(**call.arguments):
                if sender.is_cancelled():
                    break
                self._send(sender, call, item)
        except Exception as error:
            sender.send(_failed(error), _FINAL)
        else:
            sender.send(flags=_FINAL)


def model_class(target: Callable[..., Any]) -> type[Any]:
    """Return the model class that serves a function or class.

    Parameters
    ----------
    target : callable
        A ``TritonPythonModel``, which is returned as it is, or what `tritongw.model` takes.

    Raises
    ------
    ModelDefinitionError
        If its tensors are not described.
    """
    if inspect.isclass(target) and hasattr(target, "execute"):
        return target
    signature = signature_of(target)
    kinds = {
        (False, False): PlainModel,
        (False, True): AsyncModel,
        (True, False): StreamModel,
        (True, True): AsyncStreamModel,
    }
    kind = kinds[signature.is_streaming, signature.is_async]
    return type("TritonPythonModel", (kind,), {"target": (target,), "signature": signature})


def complete(config: pb_utils.ModelConfig, described: dict[str, Any]) -> pb_utils.ModelConfig:
    """Complete a configuration by what a signature says."""
    config.set_max_batch_size(described["max_batch_size"])
    for tensor in described["input"]:
        config.add_input(tensor)
    for tensor in described["output"]:
        config.add_output(tensor)
    if "dynamic_batching" in described:
        config.set_dynamic_batching()
        config.as_dict()["dynamic_batching"].update(described["dynamic_batching"])
    if "model_transaction_policy" in described:
        config.set_model_transaction_policy(described["model_transaction_policy"])
    return config


def _failed(error: Exception) -> pb_utils.InferenceResponse:
    """Log why a stream ends early, and return its last response."""
    log_failure("the function of the model failed:", error)
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(describe(error)))
