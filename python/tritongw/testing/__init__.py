# SPDX-License-Identifier: Apache-2.0
"""Runs Python models in unit tests: no server, no network, no other process.

Examples
--------
>>> import numpy as np
>>> import tritongw.testing
>>> def double(x: float) -> float:
...     return x * 2
>>> with tritongw.testing.load(double) as model:
...     model.infer({"x": [1.5]})["output"]
array([3.])
"""

from tritongw.testing._exchange import InferenceError, Request, Response
from tritongw.testing._fakes import Call, Fake
from tritongw.testing._harness import ModelHarness, load

__all__ = [
    "Call",
    "Fake",
    "InferenceError",
    "ModelHarness",
    "Request",
    "Response",
    "load",
]
