# SPDX-License-Identifier: Apache-2.0
"""The examples in the docstrings of the Python package say what is so."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "triton_python_backend_utils",
    "tritongw._model",
    "tritongw._tensor_spec",
    "tritongw.testing",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
