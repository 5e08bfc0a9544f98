# SPDX-License-Identifier: Apache-2.0
"""Python environments for models to run in, made without reaching out of this machine."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path


def make_venv(directory: Path, mark: str, *, has_numpy: bool = True) -> Path:
    """Make an environment that can be moved, whose module ``environment_mark`` says `mark`.

    Its numpy is that of the environment in which the tests run; nothing else of that is there.
    """
    command = [sys.executable, "-m", "venv", "--copies", "--without-pip", str(directory)]
    subprocess.run(command, check=True)
    (packages,) = directory.glob("lib/python*/site-packages")
    (packages / "environment_mark.py").write_text(f'MARK = "{mark}"\n')
    if has_numpy:
        lead = numpy_alone(directory.with_name(f"{directory.name}-numpy"))
        (packages / "numpy_of_the_tests.pth").write_text(f"{lead}\n")
    return directory


def numpy_alone(directory: Path) -> Path:
    """Make a directory from which the numpy of the tests can be imported, and nothing else."""
    directory.mkdir()
    for name in ("numpy", "numpy.libs"):
        (directory / name).symlink_to(Path(sysconfig.get_path("purelib")) / name)
    return directory


def pack(directory: Path, archive: Path, compression: str = "") -> Path:
    """Pack an environment as conda-pack does: its files stand at the top."""
    with tarfile.open(archive, f"w:{compression}") as tar:
        for path in sorted(directory.iterdir()):
            tar.add(path, path.name)
    return archive


def make_wheel(directory: Path, name: str, files: dict[str, str], version: str = "1.0") -> None:
    """Write a wheel with the given files into `directory`."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents = {
        **files,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {**contents, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)


def make_interpreter(directory: Path, script: str) -> Path:
    """Make an environment whose interpreter is a shell script."""
    python = directory / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return directory
