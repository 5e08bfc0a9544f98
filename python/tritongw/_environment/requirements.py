# SPDX-License-Identifier: Apache-2.0
"""Environments built from the requirements beside a model, kept between runs of the server."""

import hashlib
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tritongw._environment import EnvironmentFailure
from tritongw._environment.interpreter import find, last_lines
from tritongw._environment.locked import locked

# Workers need it, whatever the model's own requirements say.
_NEEDED = "numpy"
_COMPLETE = ".tritongw-complete"


def build(path: Path, base: Path, timeout_s: int) -> Path:
    """Build the environment that a file asks for, unless that was done before.

    Parameters
    ----------
    path : Path
        A file of requirements as pip reads it, or a ``pyproject.toml``, of which the
        dependencies of the project count.
    base : Path
        The interpreter that the environment is made with.
    timeout_s : int
        Seconds that each step may take.

    Returns
    -------
    Path
        Directory of the environment.

    Raises
    ------
    EnvironmentFailure
        If the requirements cannot be read or met; the text has the last lines of the installer.
    """
    wanted = _requirements(path)
    key = hashlib.sha256(f"{base}\n{wanted}".encode()).hexdigest()
    cache = _cache_directory()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = cache / key
    with locked(cache / f"{key}.lock"):
        if not (directory / _COMPLETE).exists():
            shutil.rmtree(directory, ignore_errors=True)
            for command in _commands(path, wanted, base, directory):
                _run(command, path, timeout_s)
            (directory / _COMPLETE).touch()
    return directory


def _requirements(path: Path) -> str:
    """Return the requirements as text that pip reads."""
    try:
        text = path.read_text()
        if path.suffix != ".toml":
            return text
        dependencies = tomllib.loads(text).get("project", {}).get("dependencies", [])
        return "".join(f"{dependency}\n" for dependency in dependencies)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        message = f"failed to read the requirements in '{path}': {error}"
        raise EnvironmentFailure(message) from error


def _cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tritongw" / "environments"


def _commands(path: Path, wanted: str, base: Path, directory: Path) -> Iterator[list[str]]:
    """Give the commands that build the environment, one after another."""
    uv = shutil.which("uv")
    if uv is not None:
        yield [uv, "venv", "--no-project", "--python", str(base), str(directory)]
        install = [uv, "pip", "install", "--python", str(find(directory))]
    else:
        # The base's own pip spares the environment one, and the time to put it there.
        has_pip = subprocess.run([str(base), "-m", "pip", "--version"], capture_output=True)
        if has_pip.returncode == 0:
            yield [str(base), "-m", "venv", "--without-pip", str(directory)]
            install = [str(base), "-m", "pip", "--python", str(find(directory)), "install"]
        else:
            yield [str(base), "-m", "venv", str(directory)]
            install = [str(find(directory)), "-m", "pip", "install"]
        install += ["--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    if path.suffix == ".toml":
        path = directory / "requirements.txt"
        path.write_text(wanted)
    yield [*install, "-r", str(path), _NEEDED]


def _run(command: list[str], path: Path, timeout_s: int) -> None:
    try:
        subprocess.run(
            command,
            # Paths in the file are relative to it.
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=True,
            timeout=timeout_s,
        )
    except subprocess.CalledProcessError as error:
        message = f"failed to build an environment from '{path}':\n{last_lines(error.stdout)}"
        raise EnvironmentFailure(message) from error
    except subprocess.TimeoutExpired as error:
        message = (
            f"failed to build an environment from '{path}': not done within {timeout_s} s "
            "(environment-timeout-seconds)"
        )
        raise EnvironmentFailure(message) from error
    except OSError as error:
        message = f"failed to build an environment from '{path}': {error}"
        raise EnvironmentFailure(message) from error
