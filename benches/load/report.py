# SPDX-License-Identifier: Apache-2.0
"""Tables and JSON of a load run."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measurement import Measurement

HEADER = (
    "| model | client | c | server | requests/s | p50 µs | p99 µs | CPU µs/request | peak MiB |\n"
    "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
)


@dataclass(frozen=True)
class Reference:
    """Figures of a native Triton, taken on another day."""

    requests_per_s: float
    cpu_us: float


@dataclass(frozen=True)
class Cell:
    """The medians of all servers for one model, client and concurrency."""

    model: str
    client: str
    concurrency: int
    servers: dict[str, Measurement]
    reference: Reference | None = None

    def lines(self) -> list[str]:
        """Return the lines of the Markdown table, ratios last."""
        lines = [self._line(name, _figures(each)) for name, each in self.servers.items()]
        ours, theirs = self.servers.get("tritongw"), self.servers.get("triton")
        if ours and theirs:
            lines.append(self._line("**ratio**", _ratios(ours, theirs)))
        elif ours and self.reference:
            lines += self._reference_lines(ours, self.reference)
        floor = self.servers.get("floor")
        if ours and floor:
            lines.append(self._line("**to floor**", _ratios(ours, floor)))
        return lines

    def _reference_lines(self, ours: Measurement, reference: Reference) -> list[str]:
        rate, cpu = reference.requests_per_s, reference.cpu_us
        stated = [f"{rate:,.0f}", "", "", f"{cpu:.1f}", ""]
        ratios = [f"{ours.requests_per_s / rate:.2f}", "", "", f"{ours.cpu_us / cpu:.2f}", ""]
        return [self._line("triton, stated", stated), self._line("**ratio**", ratios)]

    def _line(self, server: str, figures: list[str]) -> str:
        cells = [self.model, self.client, str(self.concurrency), server, *figures]
        return f"| {' | '.join(cells)} |"

    def as_json(self) -> dict[str, Any]:
        """Return the cell for the result file."""
        return asdict(self)


def _figures(each: Measurement) -> list[str]:
    return [
        f"{each.requests_per_s:,.0f}",
        f"{each.p50_us:,.0f}",
        f"{each.p99_us:,.0f}",
        f"{each.cpu_us:.1f}",
        f"{each.peak_mib:.0f}",
    ]


def _ratios(ours: Measurement, theirs: Measurement) -> list[str]:
    pairs = zip(asdict(ours).values(), asdict(theirs).values(), strict=True)
    return [f"{mine / other:.2f}" for mine, other in pairs]


def table(cells: list[Cell]) -> str:
    """Return the Markdown table of all cells."""
    return "\n".join([HEADER, *(line for cell in cells for line in cell.lines())])


def machine() -> dict[str, str | int]:
    """Describe the machine in the words that belong beside its figures."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kib / 2**20),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
