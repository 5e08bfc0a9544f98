# SPDX-License-Identifier: Apache-2.0
"""Tracebacks of the user's code, where its author looks: on the process's standard error."""

import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_OURS = Path(__file__).parent


def print_traceback(error: BaseException) -> None:
    """Print the traceback of an exception, without the frames through which we came to it.

    Parameters
    ----------
    error : BaseException
        What the user's code raised. One that it had no part in is not printed.
    """
    frame = error.__traceback__
    while frame is not None and is_ours(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    if frame is None and not isinstance(error, SyntaxError):
        return
    whole = error.__traceback__
    traceback.print_exception(error.with_traceback(frame))
    error.__traceback__ = whole


def prints_traceback(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function print the traceback of what the user's code raises in it."""

    @functools.wraps(function)
    def call(*arguments: P.args, **keywords: P.kwargs) -> R:
        try:
            return function(*arguments, **keywords)
        except Exception as error:
            print_traceback(error)
            raise

    return call


def is_ours(file: str) -> bool:
    """Return whether a file is one of those through which user's code is imported and called."""
    is_importing = file.startswith("<frozen importlib") or "/importlib/" in file
    return is_importing or Path(file).parent in (_OURS, _OURS / "testing")
