# SPDX-License-Identifier: Apache-2.0
"""Loads a ``model.py`` for the Rust host, and says what went wrong in it.

Nothing here runs on the way of a request: the host calls the model's own ``execute``, or has its
coroutines run by :mod:`tritongw._event_loop`.
"""

import asyncio
import importlib
import inspect
import itertools
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, TypedDict

from tritongw import _server_log
from tritongw._event_loop import EventLoop, result_of
from tritongw._model_import import import_from_sources
from tritongw._traceback import is_ours

_package_numbers = itertools.count()
# Directories of the versions loaded in this process, the latest last.
_version_directories: list[Path] = []
_runners = threading.local()


class ModelOrder(TypedDict):
    """What the server says of the model to load."""

    instance_name: str
    model_name: str
    model_path: Path
    version_directory: Path
    model_directory: Path
    model_config: str
    instance_kind: str
    device_id: int
    version: int
    is_decoupled: bool
    debugger: str | None


class LoadedModel(NamedTuple):
    """What the host calls."""

    execute: Callable[[list[Any]], Any]
    finalize: Callable[[], object]
    is_yielding: bool
    event_loop: EventLoop | None
    # None where the model has none.
    is_ready: Callable[[], object] | None


def load(order: ModelOrder, is_sole: bool) -> LoadedModel:  # noqa: FBT001
    """Import a model's file, make its ``TritonPythonModel`` and call ``initialize``.

    Parameters
    ----------
    order : ModelOrder
        The model.
    is_sole : bool
        Whether the model has the process to itself: then its module is named as Triton names it.

    Returns
    -------
    LoadedModel
        Its entry points.
    """
    if order["debugger"] is not None:
        from tritongw import _debugger

        # Before the file is imported, so that its breakpoints count.
        _debugger.start(order["debugger"], order["instance_name"])
    _server_log.take_what_nobody_takes()
    loaded = start(import_class(order, is_sole=is_sole), order)
    _server_log.install()
    return loaded


def import_class(order: ModelOrder, *, is_sole: bool) -> Any:
    """Import a model's file and return its ``TritonPythonModel``.

    Parameters
    ----------
    order : ModelOrder
        The model.
    is_sole : bool
        As for `load`.

    Returns
    -------
    type
        The class.
    """
    return _import(order, is_sole=is_sole).TritonPythonModel


def start(model_class: Any, order: ModelOrder) -> LoadedModel:
    """Make an object of a model's class and call ``initialize``.

    Parameters
    ----------
    model_class : type
        The class.
    order : ModelOrder
        The model.

    Returns
    -------
    LoadedModel
        Its entry points.
    """
    if getattr(model_class, "execute", None) is None:
        message = f"Python model {order['model_path']} does not implement `execute` method."
        raise NotImplementedError(message)
    execute = model_class.execute
    is_async_generator = inspect.isasyncgenfunction(execute)
    is_yielding = is_async_generator or inspect.isgeneratorfunction(execute)
    if is_yielding and not order["is_decoupled"]:
        message = (
            f"`execute` of Python model {order['model_path']} yields, which needs the decoupled "
            "transaction policy."
        )
        raise TypeError(message)
    if not is_async_generator and not inspect.iscoroutinefunction(execute):
        model = _initialized(model_class, order)
        return _loaded(model, None, is_yielding=is_yielding)
    event_loop = EventLoop(is_yielding=is_yielding)
    event_loop.use()
    try:
        model = _initialized(model_class, order)
    except BaseException:
        event_loop.close()
        raise
    event_loop.leave()
    return _loaded(model, event_loop, is_yielding=is_yielding)


def run_to_end(returned: object) -> object:
    """Return what a coroutine gives, and anything else as it is.

    For an ``execute`` that gives a coroutine without being declared as ``async def``.

    Parameters
    ----------
    returned : object
        What ``execute`` returned.

    Returns
    -------
    object
        The result.
    """
    if not isinstance(returned, Coroutine):
        return returned
    if not hasattr(_runners, "runner"):
        # One for all calls: what a model keeps may belong to the loop.
        _runners.runner = asyncio.Runner()
    return _runners.runner.run(returned)


def check_ready(is_ready: Callable[[], object], event_loop: EventLoop | None) -> bool:
    """Ask a model whether it is ready, from a thread that is not the model's.

    Parameters
    ----------
    is_ready : callable
        The model's ``is_ready``.
    event_loop : EventLoop or None
        The model's loop, if it has one: there ``is_ready`` runs.

    Returns
    -------
    bool
        The answer.

    Raises
    ------
    TypeError
        If it is no bool.
    """
    if event_loop is None:
        return ready_answer(run_to_end(is_ready()))
    return ready_answer(event_loop.run_beside(result_of(is_ready)))


def ready_answer(answer: object) -> bool:
    """Return what a model's ``is_ready`` has answered, which must be a bool.

    Parameters
    ----------
    answer : object
        What it returned, awaited.

    Returns
    -------
    bool
        The answer.

    Raises
    ------
    TypeError
        If it is no bool.
    """
    if not isinstance(answer, bool):
        message = f"`is_ready` must return a bool, found {type(answer).__name__}"
        raise TypeError(message)
    return answer


def complete_config(order: ModelOrder) -> str | None:
    """Ask a model's ``auto_complete_config`` what configuration it wants.

    Parameters
    ----------
    order : ModelOrder
        The model.

    Returns
    -------
    str or None
        The configuration as JSON; None if the model does not complete it.
    """
    return completion_of(import_class(order, is_sole=True), order)


def completion_of(model_class: Any, order: ModelOrder) -> str | None:
    """Ask a model's class what configuration it wants.

    Parameters
    ----------
    model_class : type
        The class.
    order : ModelOrder
        The model.

    Returns
    -------
    str or None
        As for `complete_config`.
    """
    # Imported by now if the model uses it at all.
    import json

    from triton_python_backend_utils import ModelConfig

    complete = getattr(model_class, "auto_complete_config", None)
    if complete is None:
        return None
    completed = complete(ModelConfig(order["model_config"]))
    if not isinstance(completed, ModelConfig):
        message = (
            f"auto_complete_config function in model '{order['model_path']}' must return a valid "
            "pb.ModelConfig object."
        )
        raise TypeError(message)
    return json.dumps(completed.as_dict())


def describe(error: BaseException) -> str:
    """Return the text of an exception as Triton gives it to clients.

    Parameters
    ----------
    error : BaseException
        What the model raised.

    Returns
    -------
    str
        Type and message, then the frames of the model's code, the innermost first.
    """
    text = f"{type(error).__name__}: {error}"
    frames = [frame for frame in _frames(error.__traceback__) if not is_ours(frame[0])]
    if not frames:
        return text
    lines = [f"  {file}({line}): {function}\n" for file, line, function in reversed(frames)]
    return f"{text}\n\nAt:\n{''.join(lines)}"


def get_model_dir() -> str:
    """Return the directory of the version that the calling code belongs to.

    Returns
    -------
    str
        The directory of ``model.py``.
    """
    if len(_version_directories) > 1:
        frame = inspect.currentframe()
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            for directory in reversed(_version_directories):
                if path.is_relative_to(directory):
                    return str(directory)
            frame = frame.f_back
    return str(_version_directories[-1]) if _version_directories else ""


def _import(order: ModelOrder, *, is_sole: bool) -> ModuleType:
    path, version_directory = Path(order["model_path"]), Path(order["version_directory"])
    if not path.is_file():
        message = f"Python model file not found in '{path}'"
        raise FileNotFoundError(message)
    _version_directories.append(version_directory)
    if not path.is_relative_to(version_directory):
        # The file of a Python-based backend, which lies with the backend.
        sys.path.insert(0, str(path.parent))
        return importlib.import_module(path.stem)
    for directory in (order["model_directory"], order["version_directory"]):
        import_from_sources(Path(directory))
        if str(directory) not in sys.path:
            sys.path.insert(0, str(directory))
    if is_sole:
        package = version_directory.name
    else:
        # Each instance gets modules of its own, as it would in a process of its own.
        package = f"_tritongw_model_{next(_package_numbers)}"
        parent = ModuleType(package)
        parent.__path__ = [str(version_directory)]
        sys.modules[package] = parent
    return importlib.import_module(f"{package}.{path.stem}")


def _initialized(model_class: Callable[[], Any], order: ModelOrder) -> Any:
    model = model_class()
    if hasattr(model, "initialize"):
        model.initialize(_arguments(order))
    return model


def _loaded(model: Any, event_loop: EventLoop | None, *, is_yielding: bool) -> LoadedModel:
    finalize = getattr(model, "finalize", lambda: None)
    is_ready = getattr(model, "is_ready", None)
    if not callable(is_ready):
        # A model may keep a flag of that name.
        is_ready = None
    return LoadedModel(model.execute, finalize, is_yielding, event_loop, is_ready)


def _arguments(order: ModelOrder) -> dict[str, str]:
    return {
        "model_config": order["model_config"],
        "model_instance_kind": order["instance_kind"],
        "model_instance_name": order["instance_name"],
        "model_instance_device_id": str(order["device_id"]),
        "model_repository": str(order["model_directory"]),
        "model_version": str(order["version"]),
        "model_name": order["model_name"],
    }


def _frames(traceback: TracebackType | None) -> list[tuple[str, int, str]]:
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append((code.co_filename, traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    return frames
