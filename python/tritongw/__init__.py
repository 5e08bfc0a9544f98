# SPDX-License-Identifier: Apache-2.0
"""A Triton-compatible inference server.

The server is started by the ``tritongw`` command; ``tritongw serve --help`` lists its options.
A function or class becomes a model by the decorator `model`; `tritongw.testing` runs models in
unit tests.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tritongw._model import DynamicBatching, ModelDefinitionError, model
    from tritongw._tensor_spec import TensorSpec

__all__ = ["DynamicBatching", "ModelDefinitionError", "TensorSpec", "__version__", "model"]

__version__: str

_MODULES = {
    "DynamicBatching": "tritongw._model",
    "ModelDefinitionError": "tritongw._model",
    "TensorSpec": "tritongw._tensor_spec",
    "model": "tritongw._model",
}


def __getattr__(name: str) -> object:
    """Look up what is asked for when it is asked for: workers start often and seldom ask."""
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("tritongw")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    message = f"module 'tritongw' has no attribute '{name}'"
    raise AttributeError(message)
