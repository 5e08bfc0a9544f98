# SPDX-License-Identifier: Apache-2.0
"""Measure tritongw and the real Triton side by side; see benches/README.md.

Installs what it needs, starts both servers on the same models, drives them in turn with the same
clients, prints a Markdown table and writes the figures as JSON. Beside the cheapest model stands
the floor: an echo on the same HTTP library.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oracle
import report
import tools
from clients import Load
from floor import Floor
from measurement import Measurement, check_answers, measure, measure_floor, median
from payloads import Tensor
from tritongw_server import TritongwServer

if TYPE_CHECKING:
    from server_process import ServerProcess

HERE = Path(__file__).resolve().parent
MODEL_FOLDERS = [HERE.parents[1] / "model_repository", HERE / "models"]
CONCURRENCIES = (1, 8, 64)


@dataclass(frozen=True)
class Recipe:
    """A model, who serves it and who drives it."""

    model: str
    on: list[str]
    clients: list[str]
    inputs: list[dict[str, Any]]
    source: str = ""
    config: str = ""
    calls: list[str] = field(default_factory=list)
    has_floor: bool = False
    is_decoupled: bool = False
    references: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    @property
    def tensors(self) -> list[Tensor]:
        """The inputs of its request."""
        return [Tensor(**each) for each in self.inputs]

    def reference(self, client: str, concurrency: int) -> report.Reference | None:
        """Return the stated figures of a native Triton, where there are any."""
        stated = self.references.get(client)
        if stated is None or concurrency not in CONCURRENCIES:
            return None
        index = CONCURRENCIES.index(concurrency)
        return report.Reference(stated["requests_per_s"][index], stated["cpu_us"][index])


def read_recipes(names: list[str]) -> list[Recipe]:
    """Read recipes.toml; `names` chooses models, all when empty."""
    document = tomllib.loads((HERE / "recipes.toml").read_text())
    references = document["reference"]
    recipes = [
        Recipe(**each, references=references.get(each["model"], {})) for each in document["recipe"]
    ]
    return [each for each in recipes if not names or each.model in names]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="one short run of each")
    parser.add_argument("--model", action="append", default=[], help="only this model; repeatable")
    parser.add_argument("--client", action="append", default=[], help="only this client")
    parser.add_argument("--concurrency", type=int, nargs="+", default=list(CONCURRENCIES))
    parser.add_argument("--duration", type=int, default=6, help="seconds of each run")
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the median counts")
    parser.add_argument("--only", choices=["tritongw", "triton"], help="only this server")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "latest.json")
    options = parser.parse_args()
    if options.quick:
        options.duration, options.repeats = 2, 1
    return options


def folder_of(model: str) -> Path:
    """Return the folder of a model that this or the example repository holds."""
    return next(folder / model for folder in MODEL_FOLDERS if (folder / model).is_dir())


def build_repository(directory: Path, recipes: list[Recipe]) -> Path:
    """Copy the models of `recipes` into `directory`, which becomes a repository."""
    directory.mkdir()
    for recipe in recipes:
        name = recipe.source or recipe.model
        shutil.copytree(folder_of(name), directory / recipe.model)
        own = HERE / "models" / recipe.model
        if recipe.source and own.is_dir():
            shutil.copytree(own, directory / recipe.model, dirs_exist_ok=True)
        config = directory / recipe.model / "config.pbtxt"
        text = config.read_text().replace(f'name: "{name}"', f'name: "{recipe.model}"', 1)
        config.write_text(f"{text}{recipe.config}\n")
    for name in {called for recipe in recipes for called in recipe.calls}:
        if not (directory / name).exists():
            shutil.copytree(folder_of(name), directory / name)
    return directory


def start_servers(
    stack: contextlib.ExitStack, recipes: list[Recipe], names: list[str], scratch: Path
) -> dict[str, ServerProcess]:
    """Start each server on the models it can serve."""
    servers: dict[str, ServerProcess] = {}
    for name in names:
        served = [recipe for recipe in recipes if name in recipe.on]
        if not served:
            continue
        repository, log = build_repository(scratch / name, served), scratch / f"{name}.log"
        server: ServerProcess
        if name == "triton":
            server = oracle.OracleServer(oracle.install(), repository, log)
        else:
            server = TritongwServer(repository, log)
        servers[name] = stack.enter_context(server)
    return servers


def measure_cell(
    servers: dict[str, ServerProcess],
    floor: Floor | None,
    client: str,
    load: Load,
    repeats: int,
    scratch: Path,
) -> dict[str, Measurement]:
    """Run the servers in turn, `repeats` times, and return the median of each."""
    runs: defaultdict[str, list[Measurement]] = defaultdict(list)
    for _ in range(repeats):
        for name, server in servers.items():
            runs[name].append(measure(server, client, load, scratch))
        if floor is not None:
            runs["floor"].append(measure_floor(floor, load, scratch))
    return {name: median(each) for name, each in runs.items()}


def plan(recipes: list[Recipe], options: argparse.Namespace) -> list[tuple[Recipe, str, int]]:
    """Return each recipe, client and concurrency that was asked for, in order."""
    return [
        (recipe, client, concurrency)
        for recipe in recipes
        for client in recipe.clients
        if not options.client or client in options.client
        for concurrency in options.concurrency
    ]


def is_beside_floor(recipe: Recipe, client: str) -> bool:
    """Tell whether the floor stands beside this recipe: it speaks HTTP, and needs wrk's word."""
    return recipe.has_floor and client == "wrk"


def start_floor(stack: contextlib.ExitStack, cells: list[tuple[Recipe, str, int]]) -> Floor | None:
    """Build and start the floor if a cell wants it and there is a compiler."""
    is_wanted = any(is_beside_floor(recipe, client) for recipe, client, _ in cells)
    return stack.enter_context(Floor()) if is_wanted and Floor.is_available() else None


def measure_all(options: argparse.Namespace, scratch: Path) -> list[report.Cell]:
    """Measure everything that was asked for, showing each cell as it comes."""
    recipes = read_recipes(options.model)
    names = [options.only] if options.only else ["triton", "tritongw"]
    cells = []
    with contextlib.ExitStack() as stack:
        servers = start_servers(stack, recipes, names, scratch)
        cells_to_come = plan(recipes, options)
        floor = start_floor(stack, cells_to_come)
        for recipe, client, concurrency in cells_to_come:
            load = Load(
                recipe.model, recipe.tensors, concurrency, options.duration, recipe.is_decoupled
            )
            on = {name: servers[name] for name in recipe.on if name in servers}
            for server in on.values():
                check_answers(server, load)
            beside = floor if is_beside_floor(recipe, client) else None
            medians = measure_cell(on, beside, client, load, options.repeats, scratch)
            reference = recipe.reference(client, concurrency)
            cells.append(report.Cell(recipe.model, client, concurrency, medians, reference))
            sys.stderr.write("\n".join(cells[-1].lines()) + "\n")
    return cells


def main() -> None:
    """Install, measure, print and write."""
    options = arguments()
    tools.install_debian("wrk", "h2load")
    clients = {client for _, client, _ in plan(read_recipes(options.model), options)}
    if any("perf_analyzer" in client for client in clients):
        tools.install_perf_analyzer()
    with tempfile.TemporaryDirectory(prefix="tritongw-load-") as scratch:
        cells = measure_all(options, Path(scratch))
    document = {
        "machine": report.machine(),
        "triton": "2.51.0",
        "duration_s": options.duration,
        "repeats": options.repeats,
        "cells": [cell.as_json() for cell in cells],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    sys.stdout.write(f"{report.table(cells)}\n")


if __name__ == "__main__":
    main()
