# SPDX-License-Identifier: Apache-2.0
"""Model repositories for the tests, written as short rows instead of many small files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from support.tensors import DATA_TYPES

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE_REPOSITORY = ROOT / "model_repository"
CODE = Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True)
class PythonModel:
    """A Python model: code from ``models/`` and the configuration written for it.

    Parameters
    ----------
    code : str
        File in ``models/``, without its suffix.
    inputs, outputs : dict of str to str
        Name to data type and dimensions, such as ``"TYPE_FP32 [ 4 ]"``; more fields may follow.
    extra : str
        Further lines of the configuration.
    versions : tuple of str
        Names of version directories.
    """

    code: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    extra: str = ""
    versions: tuple[str, ...] = ("1",)
    parameters: dict[str, str] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        """Write the model into `directory`, which becomes its name."""
        directory.mkdir(parents=True)
        (directory / "config.pbtxt").write_text(self.config())
        for version in self.versions:
            (directory / version).mkdir()
            shutil.copy(CODE / f"{self.code}.py", directory / version / "model.py")

    def config(self) -> str:
        """Return the text of config.pbtxt."""
        lines = ['backend: "python"', self.extra]
        lines += [_tensor("input", *entry) for entry in self.inputs.items()]
        lines += [_tensor("output", *entry) for entry in self.outputs.items()]
        lines += [
            f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
            for key, value in self.parameters.items()
        ]
        return "\n".join(lines) + "\n"


def _tensor(kind: str, name: str, description: str) -> str:
    data_type, _, rest = description.partition(" ")
    return f'{kind} {{ name: "{name}" data_type: {data_type} dims: {rest} }}'


def echo(*tensors: str, extra: str = "", versions: tuple[str, ...] = ("1",)) -> PythonModel:
    """Return a model that echoes INPUT0, INPUT1, … of the given types as OUTPUT0, OUTPUT1, …."""
    inputs = {f"INPUT{index}": each for index, each in enumerate(tensors)}
    outputs = {
        f"OUTPUT{index}": each.replace("optional: true", "") for index, each in enumerate(tensors)
    }
    return PythonModel("echo", inputs, outputs, extra, versions)


_BATCHED = "max_batch_size: 8"

COMMANDS = PythonModel(
    "commands", {"COMMAND": "TYPE_STRING [ 1 ]"}, {"ANSWER": "TYPE_STRING [ 1 ]"}
)

RESPONDER = PythonModel(
    "responder",
    {"IN": "TYPE_INT32 [ -1 ]"},
    {"OUT": "TYPE_INT32 [ 1 ]"},
    "model_transaction_policy { decoupled: true }",
)

FLOOD = PythonModel(
    "flood",
    {"COUNT": "TYPE_INT32 [ 1 ]"},
    {"OUT": "TYPE_UINT8 [ -1 ]"},
    "model_transaction_policy { decoupled: true }",
)

MODELS: dict[str, PythonModel] = {
    **{f"echo_{kind.name.lower()}": echo(f"{kind.config_name} [ -1 ]") for kind in DATA_TYPES},
    **{
        f"echo_{kind.name.lower()}_batched": echo(f"{kind.config_name} [ -1 ]", extra=_BATCHED)
        for kind in DATA_TYPES
    },
    "matrix": echo("TYPE_FP32 [ 2, -1 ]"),
    "two_variable_dims": echo("TYPE_FP32 [ -1, -1 ]"),
    "one_string": echo("TYPE_STRING [ 1 ]"),
    "pair": echo("TYPE_FP32 [ 4 ]", "TYPE_FP32 [ -1 ]", extra=f"{_BATCHED} dynamic_batching {{ }}"),
    "optional_input": echo("TYPE_INT32 [ 4 ]", "TYPE_INT32 [ 4 ] optional: true", extra=_BATCHED),
    "decoupled": echo("TYPE_FP32 [ -1 ]", extra="model_transaction_policy { decoupled: true }"),
    "specific_versions": echo(
        "TYPE_FP32 [ -1 ]",
        extra="version_policy { specific { versions: [ 1, 3 ] } }",
        versions=("1", "2", "3"),
    ),
    "latest_two_versions": echo(
        "TYPE_FP32 [ -1 ]",
        extra="version_policy { latest { num_versions: 2 } }",
        versions=("1", "2", "10", "configs", "007"),
    ),
    "all_versions": echo(
        "TYPE_FP32 [ -1 ]", extra="version_policy { all { } }", versions=("1", "2")
    ),
    "commands": COMMANDS,
    "letters": PythonModel(
        "letters",
        {"TEXT": "TYPE_STRING [ 1 ]"},
        {"LETTER": "TYPE_STRING [ 1 ]"},
        "model_transaction_policy { decoupled: true }",
    ),
    "describe": PythonModel(
        "describe",
        {"TEXT": "TYPE_STRING [ 1 ]", "PAIRS": "TYPE_INT32 [ 2, -1 ] optional: true"},
        {"DESCRIPTION": "TYPE_STRING [ 1 ]"},
        _BATCHED,
    ),
    "responder": RESPONDER,
    "batching": PythonModel(
        "arithmetic",
        {"INPUT0": "TYPE_INT32 [ -1 ]", "INPUT1": "TYPE_FP32 [ 2 ] optional: true"},
        {"OUTPUT0": "TYPE_INT32 [ -1 ]", "OUTPUT1": "TYPE_FP32 [ 2 ]"},
        f"{_BATCHED} dynamic_batching {{ max_queue_delay_microseconds: 1000 }}",
    ),
}


def write_models(directory: Path, models: dict[str, PythonModel]) -> Path:
    """Write `models` into `directory` and return it."""
    for name, model in models.items():
        model.write(directory / name)
    return directory


def copy_examples(directory: Path, names: list[str] | None = None) -> None:
    """Copy models of the example repository into `directory`; None means all of them."""
    for source in EXAMPLE_REPOSITORY.iterdir():
        if source.is_dir() and (names is None or source.name in names):
            shutil.copytree(source, directory / source.name)
