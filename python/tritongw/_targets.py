# SPDX-License-Identifier: Apache-2.0
"""What ``tritongw serve app.py:model`` names, and the model directories that serve it.

Run by the server as ``python -m tritongw._targets DIRECTORY TARGET…``, in a process of its own:
what the user's file imports stays out of the server.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritongw._function_model import FunctionModel, complete, model_class
from tritongw._model import ModelDefinitionError, ModelOptions, options_of
from tritongw._model_import import SourceLoader, import_from_sources
from tritongw._traceback import print_traceback

if TYPE_CHECKING:
    from types import ModuleType

    import triton_python_backend_utils as pb_utils

TRITON_CLASS = "TritonPythonModel"

# Files imported, by their path, each with its stamp: one that has changed is imported anew.
_loaded: dict[str, tuple[list[int], ModuleType]] = {}

_NAMED = re.compile(r"(?P<name>[^=/:]+)=(?P<rest>.+)", re.DOTALL)

_MODEL_FILE = """\
from tritongw._targets import served_class

TritonPythonModel = served_class(__file__)
"""


class TargetError(Exception):
    """Raised when what was named cannot be served."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where an object is found.

    Parameters
    ----------
    module : str
        Path of a file that ends in ``.py``, or the name of a module.
    search_path : str
        Directory from which the module's own imports are found.
    attribute : str
        Name of the object, with dots for one within another.
    """

    module: str
    search_path: str
    attribute: str

    def load(self) -> Any:
        """Import the module and return the object."""
        found = load_module(self.module, self.search_path)
        for part in self.attribute.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                message = f"'{self.module}' has no attribute '{self.attribute}'"
                raise TargetError(message) from None
        return found

    def stamp(self) -> list[int] | None:
        """Return what tells the file from a later one; None for a module."""
        return _stamp(Path(self.module)) if self.module.endswith(".py") else None


@dataclasses.dataclass(frozen=True)
class Served:
    """One model to be served."""

    name: str
    source: Source
    target: Any


def load_module(module: str, search_path: str) -> ModuleType:
    """Import a file or module as ``python`` itself would find it.

    Raises
    ------
    TargetError
        If there is no such file.
    """
    if search_path not in sys.path:
        # What is beside the file is followed when the server reloads.
        import_from_sources(Path(search_path), is_deep=False)
        sys.path.insert(0, search_path)
    if not module.endswith(".py"):
        return importlib.import_module(module)
    path = Path(module)
    if not path.is_file():
        message = f"file '{module}' does not exist"
        raise TargetError(message)
    stamp = _stamp(path)
    known = _loaded.get(module)
    if known is not None and known[0] == stamp:
        return known[1]
    # Not to hide a module that the file, or we, may need.
    is_taken = path.stem in sys.modules and known is None
    name = f"_tritongw_{path.stem}" if is_taken else path.stem
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceLoader(name, module))
    if spec is None or spec.loader is None:
        message = f"'{module}' cannot be imported"
        raise TargetError(message)
    sys.modules[name] = created = importlib.util.module_from_spec(spec)
    _loaded[module] = (stamp, created)
    try:
        spec.loader.exec_module(created)
    except BaseException:
        del _loaded[module], sys.modules[name]
        raise
    return created


def _stamp(path: Path) -> list[int]:
    """Return what tells a file from a later one."""
    status = path.stat()
    return [status.st_mtime_ns, status.st_size]


def find(text: str) -> list[Served]:
    """Return the models that one argument of the command names.

    Parameters
    ----------
    text : str
        ``[NAME=]FILE.py[:OBJECT]`` or ``[NAME=]MODULE:OBJECT``. Without an object a file serves its
        ``TritonPythonModel``, or else all that `tritongw.model` decorates.
    """
    named = _NAMED.fullmatch(text)
    name, rest = (named["name"], named["rest"]) if named else (None, text)
    module, _, attribute = rest.partition(":")
    search_path = Path.cwd()
    if module.endswith(".py"):
        path = Path(module).resolve()
        module, search_path = str(path), path.parent
    loaded = load_module(module, str(search_path))
    attributes = [attribute] if attribute else _served_attributes(loaded, module)
    if name is not None and len(attributes) > 1:
        message = f"'{module}' serves {len(attributes)} models, which cannot all be called '{name}'"
        raise TargetError(message)
    models = []
    for each in attributes:
        source = Source(module, str(search_path), each)
        target = source.load()
        models.append(Served(name or _name(source, target), source, target))
    return models


def _served_attributes(module: ModuleType, path: str) -> list[str]:
    if hasattr(module, TRITON_CLASS):
        return [TRITON_CLASS]
    found = [
        attribute
        for attribute, value in vars(module).items()
        if options_of(value) is not None and getattr(value, "__module__", None) == module.__name__
    ]
    if not found:
        message = (
            f"'{path}' has no class '{TRITON_CLASS}' and nothing is decorated with "
            f"@tritongw.model; name what to serve: '{path}:OBJECT'"
        )
        raise TargetError(message)
    return found


def _name(source: Source, target: Any) -> str:
    options = options_of(target)
    if options is not None and options.name is not None:
        return options.name
    if source.attribute != TRITON_CLASS:
        return source.attribute.rpartition(".")[2]
    path = Path(source.module)
    is_in_repository = path.stem == "model" and path.parent.name.isdecimal()
    return path.parent.parent.name if is_in_repository else path.stem


def write_model(repository: Path, model: Served) -> None:
    """Write the directory of a model.

    Raises
    ------
    TargetError
        If there is one of that name.
    ModelDefinitionError
        If the function or class does not describe its tensors.
    """
    served = model_class(model.target)
    directory = repository / model.name
    if "/" in model.name or model.name in ("", ".", ".."):
        message = f"'{model.name}' cannot be the name of a model"
        raise TargetError(message)
    try:
        directory.mkdir()
    except FileExistsError:
        message = (
            f"two models are called '{model.name}'; give one another name: "
            f"'NAME={model.source.module}:{model.source.attribute}'"
        )
        raise TargetError(message) from None
    if issubclass(served, FunctionModel):
        config = served.signature.config()
        _write_object(directory, model, {"stamp": model.source.stamp(), "config": config})
        (directory / "config.pbtxt").write_text(_config(served.signature.options))
    elif model.source.attribute == TRITON_CLASS:
        _write_model_file(directory, model)
    else:
        _write_object(directory, model, {"stamp": None, "config": None})
        (directory / "config.pbtxt").write_text(_config(options_of(served) or ModelOptions()))


def _write_object(directory: Path, model: Served, known: dict[str, Any]) -> None:
    """Write a version that imports the object, with what is known of it already."""
    version = directory / "1"
    version.mkdir()
    (version / "model.py").write_text(_MODEL_FILE)
    note = dataclasses.asdict(model.source) | known
    (version / "target.json").write_text(json.dumps(note))
    # A server that reloads what has changed looks at the files of a version.
    sources = version / "source"
    sources.mkdir()
    for file in Path(model.source.search_path).glob("*.py"):
        (sources / file.name).symlink_to(file)


def _write_model_file(directory: Path, model: Served) -> None:
    """Write a model whose version is the directory of its file, as in a repository."""
    path = Path(model.source.module)
    if not path.is_file():
        message = f"a {TRITON_CLASS} must be named by its file, not by a module"
        raise TargetError(message)
    # The class is to find its own directory, with all that is in it.
    (directory / "1").symlink_to(path.parent)
    for parent in (path.parent, path.parent.parent):
        if (parent / "config.pbtxt").is_file():
            (directory / "config.pbtxt").symlink_to(parent / "config.pbtxt")
            return
    file = f"default_model_filename: {_quoted(path.name)}\n"
    (directory / "config.pbtxt").write_text(f'backend: "python"\n{file}')


def _config(options: ModelOptions) -> str:
    """Return what a model cannot say of itself when it is loaded."""
    parameters = dict(options.parameters)
    if options.in_process:
        parameters["TRITONGW_PYTHON_HOST"] = "in_process"
    lines = ['backend: "python"', f"instance_group {{ count: {options.instances} kind: KIND_CPU }}"]
    lines += [
        f"parameters {{ key: {_quoted(key)} value {{ string_value: {_quoted(value)} }} }}"
        for key, value in parameters.items()
    ]
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    # JSON's escapes are among those of the text format.
    return json.dumps(text, ensure_ascii=False)


def served_class(model_file: str) -> type[Any]:
    """Return the class that a written ``model.py`` serves.

    What the function's file said at start-up need not be asked again to complete the configuration
    as long as the file is the same: importing it may take long.
    """
    note = json.loads((Path(model_file).parent / "target.json").read_text())
    stamp, config = note.pop("stamp"), note.pop("config")
    source = Source(**note)

    class Lazily(type):
        """Looks up in the target's class what the class does not have."""

        def __getattr__(cls, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return getattr(model_class(source.load()), name)

    class TargetModel(metaclass=Lazily):
        """Imports the target when it is needed."""

        @staticmethod
        def auto_complete_config(auto_config: pb_utils.ModelConfig) -> pb_utils.ModelConfig:
            if stamp is not None and source.stamp() == stamp:
                return complete(auto_config, config)
            served = model_class(source.load())
            auto_complete = getattr(served, "auto_complete_config", lambda config: config)
            completed: pb_utils.ModelConfig = auto_complete(auto_config)
            return completed

        def __new__(cls) -> Any:
            return model_class(source.load())()

    return TargetModel


def main(arguments: list[str]) -> int:
    """Write the models that `arguments` name, after the directory, and return the exit status."""
    repository, *targets = arguments
    for text in targets:
        try:
            for model in find(text):
                write_model(Path(repository), model)
        except (TargetError, ModelDefinitionError) as error:
            print(f"error: cannot serve '{text}': {error}", file=sys.stderr)
            return 1
        except Exception as error:
            print_traceback(error)
            what = f"{type(error).__name__}: {error}"
            print(f"error: cannot serve '{text}': {what}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
