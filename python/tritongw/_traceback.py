# SPDX-License-Identifier: Apache-2.0
"""Tracebacks of the user's code, for standard error and for the server's log."""

import io
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import TextIO

_OURS = Path(__file__).parent


def print_traceback(error: BaseException) -> None:
    """Print the traceback of an exception, without the frames through which we came to it.

    Parameters
    ----------
    error : BaseException
        What the user's code raised. One that it had no part in is not printed.
    """
    frames = _of_user(error)
    if frames is None and not isinstance(error, SyntaxError):
        return
    _print(error, frames, sys.stderr)


def traceback_of(error: BaseException) -> tuple[str, int, str]:
    """Return the traceback of an exception as `print_traceback` prints it, for the server's log.

    Parameters
    ----------
    error : BaseException
        What the user's code raised.

    Returns
    -------
    tuple of str, int and str
        Name of the file that raised it, line in it, and the text; without code of the user the
        text has no frames.
    """
    frames = _of_user(error)
    text = io.StringIO()
    _print(error, frames, text)
    if frames is None:
        return "model", 0, text.getvalue()
    while frames.tb_next is not None:
        frames = frames.tb_next
    return Path(frames.tb_frame.f_code.co_filename).name, frames.tb_lineno, text.getvalue()


def _of_user(error: BaseException) -> TracebackType | None:
    """Return the frames from the first one of the user's code on."""
    frames = error.__traceback__
    while frames is not None and is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def _print(error: BaseException, frames: TracebackType | None, file: TextIO) -> None:
    whole = error.__traceback__
    traceback.print_exception(error.with_traceback(frames), file=file)
    error.__traceback__ = whole


def is_ours(file: str) -> bool:
    """Return whether a file is one of those through which user's code is imported and called."""
    is_importing = file.startswith("<frozen importlib") or "/importlib/" in file
    return is_importing or Path(file).parent in (_OURS, _OURS / "testing")
