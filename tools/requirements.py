# SPDX-License-Identifier: Apache-2.0
"""Prints what `pip install -r` must bring in for the given extras of pyproject.toml.

Development needs the tools of the ``test`` extra before the wheel can be built, and pip has no way
to install an extra without the package. The extras stay the one list; this reads it.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = "build"


def requirements(pyproject: dict[str, object], extras: list[str]) -> list[str]:
    """Return the requirement lines of some extras, with the package's own dependencies.

    Parameters
    ----------
    pyproject : dict
        The parsed ``pyproject.toml``.
    extras : list of str
        Names of extras; ``"build"`` names the requirements of the build backend.

    Returns
    -------
    list of str
        Requirement lines in alphabetical order, each once.

    Raises
    ------
    KeyError
        An extra that ``pyproject.toml`` does not define.
    """
    match pyproject:
        case {
            "build-system": {"requires": list(build)},
            "project": {"dependencies": list(own), "optional-dependencies": dict(optional)},
        }:
            lines = set(own)
            for extra in extras:
                lines.update(build if extra == BUILD else optional[extra])
            return sorted(lines)
        case _:
            message = "pyproject.toml lacks build requirements, dependencies or extras"
            raise KeyError(message)


def main() -> None:
    """Print the requirement lines of the extras named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*", help=f"extras, or '{BUILD}' for the build backend")
    arguments = parser.parse_args()
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    print("\n".join(requirements(pyproject, arguments.extras)))


if __name__ == "__main__":
    main()
