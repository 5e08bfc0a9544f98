# SPDX-License-Identifier: Apache-2.0
"""Fails on an edge between crates that the architecture does not have.

Arrows point down only: types, protocol, config, scheduler, engine, then the doors and backends side
by side, then server, then the libraries. ARCHITECTURE.md says what each crate is for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "tritongw-"
BACKEND = "backend-"

CORE = {"types", "cuda", "protocol", "config", "scheduler", "engine"}
DOORS = {"http", "grpc", "abi"}

# What each crate may name in its dependencies, without the common prefix. A backend is any crate
# called backend-*; "backends" below stands for all of them.
ALLOWED: dict[str, set[str]] = {
    "types": set(),
    "cuda": {"types"},
    "protocol": {"types"},
    "config": {"types", "protocol"},
    "scheduler": {"types", "config"},
    "engine": {"types", "cuda", "protocol", "config", "scheduler"},
    "testing": CORE,
    "http": CORE,
    "grpc": CORE,
    "abi": CORE,
    "backends": CORE,
    "otlp": CORE,
    "server": CORE | DOORS | {"backends", "otlp"},
    "capi": CORE | DOORS | {"backends", "server"},
    "pyext": CORE | DOORS | {"backends", "server"},
    "xtask": set(),
    "fuzzing": set(),
    "benches": CORE | DOORS | {"backends", "server", "testing"},
}

# Third-party crates that belong to some crates only, and why.
RESERVED: dict[str, tuple[set[str], str]] = {
    "pyo3": ({"pyext"}, "Python's types stay in the extension module"),
    "tokio": ({"http", "grpc", "server"}, "the async runtime lives in the doors"),
    "hyper": ({"http", "grpc", "server"}, "protocols live in the doors"),
    "tonic": ({"grpc"}, "protocols live in the doors"),
    "prost": (
        {"protocol", "config", "http", "grpc", "otlp", "xtask", "benches"},
        "protobuf stops at the edges",
    ),
}

# Crates that not even tests may bring together.
STRANGERS = [{"http", "grpc"}]


@dataclass(frozen=True)
class Edge:
    """One dependency of a crate of the workspace."""

    crate: str
    dependency: str
    is_dev: bool


def edges(metadata: dict[str, Any]) -> Iterator[Edge]:
    """Yield every dependency of every workspace member, as ``cargo metadata`` lists them."""
    members = set(metadata["workspace_members"])
    for package in metadata["packages"]:
        if package["id"] in members:
            for dependency in package["dependencies"]:
                is_dev = dependency["kind"] == "dev"
                yield Edge(package["name"], dependency["name"], is_dev)


def short(crate: str) -> str:
    """Return a crate's name in the table: without the prefix, backends under their common name."""
    name = crate.removeprefix(PREFIX)
    return "backends" if name.startswith(BACKEND) else name


def problem(edge: Edge) -> str | None:
    """Return what is wrong with an edge, or None.

    Dev-dependencies are free, but for crates that must stay strangers: tests may look down from
    anywhere, and cargo itself refuses cycles that matter.
    """
    crate = short(edge.crate)
    if crate not in ALLOWED:
        return f"{edge.crate}: not in the architecture; give it a line in {Path(__file__).name}"
    if edge.dependency.startswith(PREFIX):
        return _own_problem(edge, crate, short(edge.dependency))
    owners, reason = RESERVED.get(edge.dependency, ({crate}, ""))
    if edge.is_dev or crate in owners:
        return None
    return f"{edge.crate} -> {edge.dependency}: {reason}"


def _own_problem(edge: Edge, crate: str, dependency: str) -> str | None:
    if {crate, dependency} in STRANGERS:
        return f"{edge.crate} -> {edge.dependency}: these two never know each other"
    if edge.is_dev or dependency in ALLOWED[crate]:
        return None
    return f"{edge.crate} -> {edge.dependency}: no such edge in the architecture"


def main() -> int:
    """Print each edge that must not be, and return the exit status."""
    command = ["cargo", "metadata", "--format-version=1", "--no-deps"]
    listing = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    found = sorted({text for edge in edges(json.loads(listing.stdout)) if (text := problem(edge))})
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
