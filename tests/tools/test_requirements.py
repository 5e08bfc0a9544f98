# SPDX-License-Identifier: Apache-2.0
import tomllib

import pytest

import requirements

PYPROJECT: dict[str, object] = {
    "build-system": {"requires": ["maturin>=1"]},
    "project": {
        "dependencies": ["numpy"],
        "optional-dependencies": {"onnx": ["onnxruntime"], "test": ["pytest", "onnxruntime"]},
    },
}


def test_own_dependencies_always_come_along() -> None:
    assert requirements.requirements(PYPROJECT, []) == ["numpy"]


def test_extras_are_joined_and_each_line_stands_once() -> None:
    lines = requirements.requirements(PYPROJECT, ["test", "onnx", "build"])
    assert lines == ["maturin>=1", "numpy", "onnxruntime", "pytest"]


def test_unknown_extra_is_an_error() -> None:
    with pytest.raises(KeyError, match="gpu"):
        requirements.requirements(PYPROJECT, ["gpu"])


def test_the_wheel_requires_numpy_alone() -> None:
    text = (requirements.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert requirements.requirements(tomllib.loads(text), []) == ["numpy>=1.26"]
