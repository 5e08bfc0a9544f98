# SPDX-License-Identifier: Apache-2.0
"""A lock between processes."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file, made if need be, that one process at a time can hold.

    Parameters
    ----------
    path : Path
        The file; it stays.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
