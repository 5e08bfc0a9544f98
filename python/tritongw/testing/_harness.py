# SPDX-License-Identifier: Apache-2.0
"""A model in the process and the thread of a test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import triton_python_backend_utils as pb_utils

from tritongw import _core, _model_host
from tritongw._event_loop import result_of
from tritongw._function_model import model_class
from tritongw.testing._exchange import Request, Response, model_request
from tritongw.testing._fakes import Call, Fake, FakeModels

if TYPE_CHECKING:
    from types import TracebackType

# A request, or just its inputs.
Requested = Request | pb_utils.InferenceRequest | Mapping[str, Any]


def load(
    model: str | Path | Callable[..., Any],
    *,
    config: str | Path | Mapping[str, Any] | None = None,
    name: str | None = None,
    version: int = 1,
    instance_kind: str = "CPU",
    device_id: int = 0,
    models: Mapping[str, Fake | ModelHarness] | None = None,
    timeout_s: float = 30.0,
) -> ModelHarness:
    """Return a model to be used in a ``with`` statement, as a server would load it.

    Parameters
    ----------
    model : path or callable
        A ``model.py``, the directory that holds it, a ``TritonPythonModel`` class, or a function or
        class as `tritongw.model` takes it.
    config : path or str or Mapping, optional
        The configuration: a ``config.pbtxt``, or JSON, as a file, a text or a dictionary. Without
        it the ``config.pbtxt`` beside the model counts, and without that
        ``auto_complete_config`` says all.
    name : str, optional
        Name of the model; without it that of the configuration, or of the model's directory.
    version : int, default=1
        Version of the model.
    instance_kind, device_id : str and int, default="CPU" and 0
        What the model is told of its instance.
    models : Mapping of str to Fake or ModelHarness, optional
        The other models of the server: functions from input arrays to outputs.
    timeout_s : float, default=30.0
        How long a response may take that does not come from ``execute`` itself.

    Returns
    -------
    ModelHarness
        The model; ``auto_complete_config`` and ``initialize`` run when the ``with`` block begins,
        ``finalize`` when it ends.
    """
    return ModelHarness(
        model,
        config=config,
        name=name,
        version=version,
        instance_kind=instance_kind,
        device_id=device_id,
        models=models,
        timeout_s=timeout_s,
    )


class ModelHarness:
    """A model that a test runs; made by `load`."""

    # Set while the model is loaded.
    config: dict[str, Any]
    model: Any
    _loaded: _model_host.LoadedModel
    _standalone: _core.StandaloneModel

    def __init__(
        self,
        model: str | Path | Callable[..., Any],
        *,
        config: str | Path | Mapping[str, Any] | None,
        name: str | None,
        version: int,
        instance_kind: str,
        device_id: int,
        models: Mapping[str, Fake | ModelHarness] | None,
        timeout_s: float,
    ) -> None:
        self._target = model
        self._given_config = config
        self._given_name = name
        self._version = version
        self._instance_kind = instance_kind
        self._device_id = device_id
        self._timeout_s = timeout_s
        self._fakes = FakeModels(models or {})
        self._raised: BaseException | None = None

    @property
    def calls(self) -> list[Call]:
        """The calls to other models that the model has made."""
        return self._fakes.calls

    def __enter__(self) -> Self:
        path = _model_file(self._target)
        source, text = _config_text(self._given_config, path)
        name = self._given_name or _name_in(source, text) or _name_of(self._target, path)
        directory = path.parent if path is not None else Path.cwd()
        order: _model_host.ModelOrder = {
            "instance_name": f"{name}_0",
            "model_name": name,
            "model_path": path if path is not None else directory / "model.py",
            "version_directory": directory,
            "model_directory": directory.parent if directory.name.isdecimal() else directory,
            "model_config": _core.read_model_config(name, source, text),
            "instance_kind": self._instance_kind,
            "device_id": self._device_id,
            "version": self._version,
            "is_decoupled": False,
            "debugger": None,
        }
        served = self._class(order)
        completion = _model_host.completion_of(served, order)
        order["model_config"] = _core.read_model_config(name, source, text, completion)
        self.config = json.loads(order["model_config"])
        is_decoupled = pb_utils.using_decoupled_model_transaction_policy(self.config)
        order["is_decoupled"] = is_decoupled
        loaded = _model_host.start(served, order)
        self.model = getattr(loaded.execute, "__self__", None)
        self._loaded = loaded
        self._standalone = _core.StandaloneModel(
            self._execute,
            order["instance_name"],
            is_decoupled,
            [output["name"] for output in self.config.get("output", [])],
            loaded.is_yielding,
            self._fakes,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        event_loop = self._loaded.event_loop
        if event_loop is None:
            self._loaded.finalize()
            return
        event_loop.use()
        try:
            self._loaded.finalize()
        finally:
            event_loop.close()

    def infer(self, inputs: Requested, **fields: Any) -> Response:
        """Send a request and return its response.

        Parameters
        ----------
        inputs : Mapping or Request or pb_utils.InferenceRequest
            The request, or its inputs.
        **fields
            Further fields of `Request`, where only inputs are given.

        Returns
        -------
        Response
            The response.

        Raises
        ------
        InferenceError
            If the request is answered with an error; ``__cause__`` is what the model raised.
        ValueError
            If the model sent none or several responses: use `stream`.
        """
        responses = self.stream(inputs, **fields)
        if len(responses) != 1:
            message = f"the model sent {len(responses)} responses; `stream` returns them"
            raise ValueError(message)
        return responses[0]

    def stream(self, inputs: Requested, **fields: Any) -> list[Response]:
        """Send a request and return all its responses.

        Parameters
        ----------
        inputs, **fields
            As for `infer`.

        Returns
        -------
        list of Response
            The responses that say more than that they are the last.

        Raises
        ------
        InferenceError
            If one of them is an error, with those before.
        """
        (responses,) = self.execute([_request(inputs, fields)])
        for index, response in enumerate(responses):
            if response.error is not None:
                response.error.responses = responses[:index]
                raise response.error from self._raised
        # Of a decoupled model the last may be empty.
        return [each for each in responses if each.tensors or not each.is_final]

    def execute(self, requests: Sequence[Requested]) -> list[list[Response]]:
        """Execute requests as one batch, and return the responses to each.

        Parameters
        ----------
        requests : Sequence of Mapping, Request or pb_utils.InferenceRequest
            The requests of one call of ``execute``.

        Returns
        -------
        list of list of Response
            The responses to each request, in their order; errors are among them.

        Raises
        ------
        TimeoutError
            If the model does not end its responses in time.
        """
        asked = [model_request(_request(each, {}), self.config) for each in requests]
        self._raised = self._fakes.failure = None
        batch = self._standalone.execute(asked)
        is_over = batch.wait(self._timeout_s)
        if self._fakes.failure is not None:
            raise self._fakes.failure
        if not is_over:
            message = f"the model has not sent all responses within {self._timeout_s} seconds"
            raise TimeoutError(message)
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        return [
            [Response.of(each, is_final=flags == final) for each, flags in batch.responses(index)]
            for index in range(len(asked))
        ]

    def is_ready(self) -> bool:
        """Ask the model whether it is ready.

        Returns
        -------
        bool
            What its ``is_ready`` answers; True if it has none.

        Raises
        ------
        TypeError
            If that is no bool. What ``is_ready`` raises is raised here; in a server the model is
            not ready then.
        """
        is_ready = self._loaded.is_ready
        if is_ready is None:
            return True
        event_loop = self._loaded.event_loop
        if event_loop is None:
            return _model_host.check_ready(is_ready, None)
        return _model_host.ready_answer(event_loop.run(result_of(is_ready)))

    def _class(self, order: _model_host.ModelOrder) -> Any:
        if isinstance(self._target, str | Path):
            return _model_host.import_class(order, is_sole=False)
        return model_class(self._target)

    def _execute(self, requests: list[Any]) -> Any:
        """Call the model, on its event loop if it has one, and note what it raises."""
        try:
            returned = self._loaded.execute(requests)
            if self._loaded.is_yielding:
                return self._parts(returned)
            event_loop = self._loaded.event_loop
            return returned if event_loop is None else event_loop.run(returned)
        except BaseException as error:
            self._raised = error
            raise

    def _parts(self, parts: Any) -> Iterator[Any]:
        """Yield what the model yields, and note what it raises."""
        event_loop = self._loaded.event_loop
        try:
            if event_loop is None:
                yield from parts
                return
            while True:
                try:
                    yield event_loop.run(_next_of(parts))
                except StopAsyncIteration:
                    return
        except BaseException as error:
            self._raised = error
            raise


async def _next_of(parts: AsyncIterator[Any]) -> Any:
    return await anext(parts)


def _request(given: Requested, fields: Mapping[str, Any]) -> Request:
    if isinstance(given, pb_utils.InferenceRequest):
        given = Request.of(given)
    if isinstance(given, Request):
        if fields:
            message = "a whole request was given: its fields are in it"
            raise TypeError(message)
        return given
    return Request(given, **fields)


def _model_file(target: str | Path | Callable[..., Any]) -> Path | None:
    """Return the absolute path of a model's file; None for a class or function."""
    if not isinstance(target, str | Path):
        return None
    path = Path(target).resolve()
    return path / "model.py" if path.is_dir() else path


def _config_text(
    given: str | Path | Mapping[str, Any] | None, model_file: Path | None
) -> tuple[str, str]:
    """Return a configuration's file name, which says its form, and its text."""
    if isinstance(given, Mapping):
        return "config.json", json.dumps(given)
    if given is not None:
        is_text = isinstance(given, str) and given.lstrip().startswith("{")
        return ("config.json", str(given)) if is_text else (str(given), Path(given).read_text())
    places = [model_file.parent, model_file.parent.parent] if model_file is not None else []
    if len(places) > 1 and not places[0].name.isdecimal():
        places.pop()
    for place in places:
        file = place / "config.pbtxt"
        if file.is_file():
            return str(file), file.read_text()
    return "config.json", "{}"


def _name_in(source: str, text: str) -> str | None:
    """Return the name that a configuration in JSON gives."""
    if source.endswith(".pbtxt"):
        return None
    name = json.loads(text).get("name")
    return str(name) if name else None


def _name_of(target: object, path: Path | None) -> str:
    if path is None:
        return str(getattr(target, "__name__", type(target).__name__))
    if path.parent.name.isdecimal():
        return path.parent.parent.name
    return path.parent.name if path.stem == "model" else path.stem
