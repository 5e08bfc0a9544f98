# SPDX-License-Identifier: Apache-2.0
"""Trace files of a running server, and what is in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.servers import Server

SETTING = "/v2/trace/setting"
CLEARED = {"trace_level": None, "trace_rate": None, "trace_count": None, "log_frequency": None}
WAIT_S = 20


@dataclass(frozen=True)
class Trace:
    """The entries of one trace.

    Parameters
    ----------
    entries : list of dict
        As they stand in the file.
    """

    entries: list[dict[str, Any]]

    @property
    def head(self) -> dict[str, Any]:
        """The entry that tells what was asked."""
        return next(entry for entry in self.entries if "model_name" in entry)

    @property
    def times(self) -> dict[str, int]:
        """Nanoseconds by the name of the moment, which must be there once."""
        pairs = [
            (stamp["name"], stamp["ns"])
            for entry in self.entries
            for stamp in entry.get("timestamps", [])
        ]
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    @property
    def tensors(self) -> list[tuple[str, dict[str, str]]]:
        """Activity and tensor of each entry that has one."""
        return [(each["activity"], each["tensor"]) for each in self.entries if "tensor" in each]


@dataclass(frozen=True)
class TracedServer:
    """A server that can write traces to `<path>` and `<path>.<index>`.

    Parameters
    ----------
    server : Server
        Started with this trace file.
    path : Path
        The trace file.
    """

    server: Server
    path: Path

    def set(self, model: str = "", **settings: object) -> None:
        """Change trace settings, which must succeed."""
        path = f"/v2/models/{model}/trace/setting" if model else SETTING
        answer = self.server.http.post(path, settings)
        assert answer.status == 200, answer.text

    def reset(self) -> None:
        """Bring back the settings of the start."""
        self.set(**CLEARED)

    def numbered(self) -> list[int]:
        """Return the numbers of the complete files, ascending."""
        suffixes = [file.name.removeprefix(f"{self.path.name}.") for file in self._files()]
        return sorted(int(suffix) for suffix in suffixes if suffix.isdigit())

    def traces_in(self, number: int) -> list[Trace]:
        """Return the traces in a numbered file."""
        return read_traces(self.path.with_name(f"{self.path.name}.{number}"))

    def trace(self, levels: list[str], send: Callable[[], object]) -> Trace:
        """Have the one request that `send` sends traced, and return its trace."""
        self.set(trace_level=levels, trace_rate="1", log_frequency="1")
        before = self.numbered()
        send()
        wait_until(lambda: self.numbered() != before, WAIT_S, "a trace file")
        self.reset()
        (number,) = set(self.numbered()) - set(before)
        (trace,) = self.traces_in(number)
        return trace

    def _files(self) -> list[Path]:
        return list(self.path.parent.glob(f"{self.path.name}.*"))


def read_traces(path: Path) -> list[Trace]:
    """Return the traces of a complete file in the order of their ids."""
    by_id: dict[int, list[dict[str, Any]]] = {}
    for entry in json.loads(path.read_bytes()):
        by_id.setdefault(entry["id"], []).append(entry)
    return [Trace(by_id[number]) for number in sorted(by_id)]
