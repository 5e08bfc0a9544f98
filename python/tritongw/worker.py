# SPDX-License-Identifier: Apache-2.0
"""The process that hosts one instance of a Python model; started by the server only."""

import io
import os
import signal
import sys
from types import FrameType

from tritongw import _core


def main() -> None:
    """Serve until the server wants no more."""
    # Ctrl-C and a service manager's SIGTERM reach every process of the group, but the server
    # decides when a worker ends: it may have requests to finish. Handlers rather than SIG_IGN,
    # which the model's own child processes would inherit.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_it_to_the_server)
    # The server logs lines as they come; without a terminal they would wait for a full buffer.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = _say_how_to_debug
    _core.worker_main()


def _leave_it_to_the_server(number: int, frame: FrameType | None) -> None:
    """Do nothing."""


def _say_how_to_debug(*arguments: object, **keywords: object) -> None:
    """Go on after ``breakpoint()``: a worker has no terminal."""
    _core.Logger.log_warn(
        "breakpoint() does nothing in a worker process unless the server runs with "
        "TRITONGW_PYTHON_DEBUG=pdb:PORT"
    )


if __name__ == "__main__":
    main()
