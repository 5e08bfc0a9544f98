# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition, with a deadline in place of a guess."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_INTERVAL_S = 0.02


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll `condition` until it holds.

    Parameters
    ----------
    condition : Callable[[], bool]
        Checked every few milliseconds.
    timeout_s : float
        Seconds after which to give up.
    what : str
        Names what was waited for in the error.

    Raises
    ------
    TimeoutError
        If the condition did not hold in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            message = f"{what}: not within {timeout_s} s"
            raise TimeoutError(message)
        time.sleep(_POLL_INTERVAL_S)


def http_status(address: str, path: str) -> int:
    """Return the status of a GET, or 0 when nobody answers."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
