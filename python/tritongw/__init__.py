# SPDX-License-Identifier: Apache-2.0
"""A Triton-compatible inference server.

The server is started by the ``tritongw`` command; ``tritongw serve --help`` lists its options.
"""

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for: workers start often and never ask."""
    if name == "__version__":
        from importlib.metadata import version

        return version("tritongw")
    message = f"module 'tritongw' has no attribute '{name}'"
    raise AttributeError(message)
