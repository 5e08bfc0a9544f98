# SPDX-License-Identifier: Apache-2.0
"""Interpreters: where they lie in an environment, whether a worker can run in one, and how."""

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import tritongw
from tritongw._environment import EnvironmentFailure

# The first version whose interface the extension module is built for.
_OLDEST = (3, 11)
_PROBE_TIMEOUT_S = 60
# Any Python there is must understand it.
_PROBE = """
import json, sys
try:
    from importlib.util import find_spec
    has_numpy = find_spec("numpy") is not None
except ImportError:
    has_numpy = False
try:
    import sysconfig
    is_free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
except ImportError:
    is_free_threaded = False
implementation = getattr(sys, "implementation", None)
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "implementation": getattr(implementation, "name", "cpython"),
    "has_numpy": has_numpy,
    "is_free_threaded": is_free_threaded,
}))
"""
# What stands beside the package and is imported by model.py files.
_COMPANION = "triton_python_backend_utils"


def find(root: Path) -> Path:
    """Return the interpreter of an environment.

    Parameters
    ----------
    root : Path
        Directory of the environment, as conda-pack or venv lay it out.

    Returns
    -------
    Path
        Its program; links are not followed, since a venv is known by where its link lies.

    Raises
    ------
    EnvironmentFailure
        If there is none.
    """
    for name in ("python", "python3"):
        path = root / "bin" / name
        if path.is_file():
            return path
    message = f"the execution environment '{root}' has no 'bin/python'"
    raise EnvironmentFailure(message)


def check(python: Path, private: Path, *, needs_numpy: bool = True) -> None:
    """Check that a worker can run in an interpreter.

    Parameters
    ----------
    python : Path
        The interpreter.
    private : Path
        A directory in which nothing can be imported.
    needs_numpy : bool, default=True
        Whether a worker is to run in it as it is.

    Raises
    ------
    EnvironmentFailure
        If it cannot; the text says what is amiss.
    """
    found = _probe(python, private)
    version = ".".join(str(part) for part in found["version"])
    if found["implementation"] != "cpython":
        _refuse(python, f"is {found['implementation']}, workers need CPython")
    if tuple(found["version"]) < _OLDEST:
        oldest = ".".join(str(part) for part in _OLDEST)
        _refuse(python, f"is Python {version}, workers need {oldest} or newer")
    if found["is_free_threaded"]:
        _refuse(python, f"is a free-threaded Python {version}, workers need one with the GIL")
    if needs_numpy and not found["has_numpy"]:
        _refuse(python, "has no numpy, which workers need: install it in the environment")


def _refuse(python: Path, reason: str) -> None:
    message = f"the interpreter '{python}' {reason}"
    raise EnvironmentFailure(message)


def _probe(python: Path, private: Path) -> dict[str, Any]:
    command = [str(python), "-E", "-s", "-c", _PROBE]
    try:
        output = subprocess.run(
            command,
            cwd=private,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_PROBE_TIMEOUT_S,
        ).stdout
        found: dict[str, Any] = json.loads(output)
    except OSError as error:
        message = f"failed to run the interpreter '{python}': {error.strerror}"
        raise EnvironmentFailure(message) from error
    except subprocess.TimeoutExpired as error:
        message = f"the interpreter '{python}' does not answer within {_PROBE_TIMEOUT_S} s"
        raise EnvironmentFailure(message) from error
    except subprocess.CalledProcessError as error:
        message = (
            f"'{python}' is no Python interpreter, or a broken one: {last_lines(error.stderr)}"
        )
        raise EnvironmentFailure(message) from error
    except ValueError as error:
        message = f"'{python}' is no Python interpreter"
        raise EnvironmentFailure(message) from error
    return found


def variables(root: Path, private: Path) -> dict[str, str | None]:
    """Return the variables of a worker that differ from the server's.

    Parameters
    ----------
    root : Path
        Directory of the environment.
    private : Path
        Directory that only the server can enter.

    Returns
    -------
    dict of str to str or None
        What activating the environment would set; None for what must not be set.
    """
    changed: dict[str, str | None] = {
        "PATH": _before("PATH", root / "bin"),
        "PYTHONPATH": _before("PYTHONPATH", _importable(private)),
        "PYTHONHOME": None,
        "VIRTUAL_ENV": None,
        "CONDA_PREFIX": None,
    }
    if (root / "pyvenv.cfg").is_file():
        changed["VIRTUAL_ENV"] = str(root)
    elif (root / "conda-meta").is_dir():
        changed["CONDA_PREFIX"] = str(root)
        # As Triton does: libraries of a packed environment know no other way to each other.
        changed["LD_LIBRARY_PATH"] = _before("LD_LIBRARY_PATH", root / "lib")
    return changed


def _before(name: str, first: Path) -> str:
    return os.pathsep.join([str(first), *filter(None, [os.environ.get(name)])])


def _importable(private: Path) -> Path:
    """Return a directory with the server's own package in it, and nothing else beside it."""
    package = Path(tritongw.__file__).resolve().parent
    directory = private / "importable"
    directory.mkdir(exist_ok=True)
    for source in (package, package.parent / _COMPANION):
        with contextlib.suppress(FileExistsError):
            (directory / source.name).symlink_to(source)
    return directory


def last_lines(output: bytes, count: int = 20) -> str:
    """Return the end of what a program said.

    Parameters
    ----------
    output : bytes
        Its output.
    count : int, default=20
        Most lines.

    Returns
    -------
    str
        The last lines that are not empty.
    """
    lines = [line.rstrip() for line in output.decode(errors="replace").splitlines()]
    return "\n".join([line for line in lines if line][-count:])
