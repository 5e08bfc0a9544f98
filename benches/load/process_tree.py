# SPDX-License-Identifier: Apache-2.0
"""What a process and all its children use, read from /proc."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Positions in /proc/<pid>/stat behind the command name: utime, stime and those of ended children.
_CPU_FIELDS = slice(11, 15)


def descendants(pid: int) -> list[int]:
    """Return `pid` and the ids of all processes below it, parents first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def is_running(pid: int) -> bool:
    """Tell whether the process exists and has not ended; a zombie has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of the tree, ended and reaped children included."""
    ticks = 0
    for each in descendants(pid):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{each}/stat").read_text()
            ticks += sum(map(int, stat.rpartition(")")[2].split()[_CPU_FIELDS]))
    return ticks / _TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Return the memory of the tree; pages that several processes share count once in each."""
    pages = 0
    for each in descendants(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
    return pages * _PAGE_BYTES


class PeakMemory:
    """Samples the memory of a tree in the background while its context lasts.

    Parameters
    ----------
    pid : int
        Root of the tree.
    interval_s : float, default=0.1
        Time between samples.
    """

    def __init__(self, pid: int, interval_s: float = 0.1) -> None:
        self.bytes = 0
        self._pid = pid
        self._interval_s = interval_s
        self._is_over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._sampler.join()

    def _sample(self) -> None:
        while True:
            self.bytes = max(self.bytes, resident_bytes(self._pid))
            if self._is_over.wait(self._interval_s):
                return
