# SPDX-License-Identifier: Apache-2.0
"""Reads the server's order and answers it."""

import json
import sys
from pathlib import Path
from typing import TypedDict

from tritongw._environment import EnvironmentFailure, archive, interpreter, requirements


class Order(TypedDict):
    """What the server wants; paths are absolute, or relative to its working directory."""

    environment: str | None
    interpreter: str | None
    requirements: str | None
    private_directory: str
    unpacked_bytes_limit: int
    build_timeout_s: int


class Answer(TypedDict):
    """How to run a worker; a variable that is None is to be unset."""

    program: list[str]
    variables: dict[str, str | None]
    unpacked: str | None


def main() -> None:
    """Answer one order."""
    order: Order = json.load(sys.stdin)
    try:
        answer: Answer | dict[str, str] = prepare(order)
    except EnvironmentFailure as failure:
        answer = {"error": str(failure)}
    json.dump(answer, sys.stdout)


def prepare(order: Order) -> Answer:
    """Make the environment and check that a worker can run in it.

    Parameters
    ----------
    order : Order
        What the server wants.

    Returns
    -------
    Answer
        How to run a worker.

    Raises
    ------
    EnvironmentFailure
        If that cannot be.
    """
    private = Path(order["private_directory"])
    unpacked = None
    if order["environment"] is not None:
        root = Path(order["environment"]).absolute()
        if not root.exists():
            message = f"the execution environment '{root}' does not exist"
            raise EnvironmentFailure(message)
        if not root.is_dir():
            unpacked = root = archive.unpack(root, private, order["unpacked_bytes_limit"])
        python = interpreter.find(root)
    elif order["requirements"] is not None:
        base = Path(order["interpreter"] or sys.executable).absolute()
        interpreter.check(base, private, needs_numpy=False)
        root = requirements.build(Path(order["requirements"]), base, order["build_timeout_s"])
        python = interpreter.find(root)
    else:
        python = Path(order["interpreter"] or sys.executable).absolute()
        root = python.parent.parent
    interpreter.check(python, private)
    return {
        "program": [str(python), "-P", "-m", "tritongw.worker"],
        "variables": interpreter.variables(root, private),
        "unpacked": None if unpacked is None else str(unpacked),
    }


if __name__ == "__main__":
    main()
