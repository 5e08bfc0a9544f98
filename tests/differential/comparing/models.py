# SPDX-License-Identifier: Apache-2.0
"""The models both servers serve, and what a request needs to know of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

CODE = Path(__file__).resolve().parent.parent / "models"

# Name on the wire of each data type, and in a configuration.
DATA_TYPES = {
    **{name: f"TYPE_{name}" for name in ("BOOL", "FP16", "BF16", "FP32", "FP64")},
    **{
        f"{sign}INT{bits}": f"TYPE_{sign}INT{bits}"
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
    "BYTES": "TYPE_STRING",
}


@dataclass(frozen=True)
class Model:
    """A model: its code, and its tensors as requests see them.

    Parameters
    ----------
    code : str
        File in ``models/`` without its suffix.
    inputs : dict of str to (str, tuple of int)
        Name to data type on the wire and dimensions without the batch.
    outputs : tuple of str
        Names of the outputs; the output at a place has the type and shape of the input there.
    extra : str, default=""
        Further lines of the configuration.
    max_batch_size : int, default=0
        As in the configuration.
    is_optional : bool, default=False
        Whether every input may be left out.
    versions : tuple of str, default=("1",)
        Names of the version directories.
    """

    code: str
    inputs: dict[str, tuple[str, tuple[int, ...]]]
    outputs: tuple[str, ...]
    extra: str = ""
    max_batch_size: int = 0
    is_optional: bool = False
    versions: tuple[str, ...] = ("1",)

    def config(self) -> str:
        """Return the text of config.pbtxt."""
        lines = ['backend: "python"', f"max_batch_size: {self.max_batch_size}", self.extra]
        optional = " optional: true" if self.is_optional else ""
        for name, (data_type, dims) in self.inputs.items():
            lines.append(
                f'input {{ name: "{name}" data_type: {DATA_TYPES[data_type]} '
                f"dims: {list(dims)}{optional} }}"
            )
        for name, (data_type, dims) in zip(self.outputs, self.inputs.values(), strict=True):
            lines.append(
                f'output {{ name: "{name}" data_type: {DATA_TYPES[data_type]} dims: {list(dims)} }}'
            )
        return "\n".join(lines) + "\n"

    def write(self, directory: Path) -> None:
        """Write the model into `directory`, which becomes its name."""
        directory.mkdir(parents=True)
        (directory / "config.pbtxt").write_text(self.config())
        for version in self.versions:
            (directory / version).mkdir()
            shutil.copy(CODE / f"{self.code}.py", directory / version / "model.py")


def _every_type(max_batch_size: int = 0) -> Model:
    return Model(
        "echo",
        {f"IN_{name}": (name, (-1,)) for name in DATA_TYPES},
        tuple(f"OUT_{name}" for name in DATA_TYPES),
        max_batch_size=max_batch_size,
        is_optional=True,
    )


# A batching model with one of each kind of dimension.
_PAIR = Model(
    "echo",
    {"INPUT0": ("FP32", (4,)), "INPUT1": ("INT32", (-1,))},
    ("OUTPUT0", "OUTPUT1"),
    "dynamic_batching { }",
    max_batch_size=8,
)

MODELS = {
    "every_type": _every_type(),
    "every_type_batched": _every_type(max_batch_size=4),
    "pair": _PAIR,
    "matrix-v1.5": Model("echo", {"INPUT0": ("FP32", (2, -1))}, ("OUTPUT0",)),
    "all_versions": Model(
        "echo",
        {"INPUT0": ("INT32", (-1,))},
        ("OUTPUT0",),
        "version_policy { all { } }",
        versions=("1", "3"),
    ),
    # Answers with its request's parameters, or fails in the way its input names.
    "commands": Model("commands", {"COMMAND": ("BYTES", (1,))}, ("ANSWER",)),
    # Answers as often as its input says.
    "repeat": Model(
        "repeat",
        {"COUNT": ("INT32", (1,))},
        ("INDEX",),
        "model_transaction_policy { decoupled: true }",
    ),
    # For the generate routes.
    "text": Model("echo", {"text_input": ("BYTES", (1,))}, ("text_output",)),
    "numbers": Model(
        "echo",
        {"a": ("FP32", (-1,)), "b": ("INT64", (2,)), "c": ("BOOL", (1,))},
        ("x", "y", "z"),
    ),
}

# Loaded and unloaded by requests.
SWING_MODELS = {
    "swing": Model("echo", {"INPUT0": ("INT32", (-1,))}, ("OUTPUT0",)),
    "broken": Model("broken", {"INPUT0": ("INT32", (-1,))}, ("OUTPUT0",)),
}


def write_repository(directory: Path) -> Path:
    """Write all models into `directory` and return it."""
    for name, model in {**MODELS, **SWING_MODELS}.items():
        model.write(directory / name)
    return directory
