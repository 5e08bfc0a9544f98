# SPDX-License-Identifier: Apache-2.0
"""Model that answers with the cores it may use, as it was initialised and as it executes."""

import os

import numpy as np
import triton_python_backend_utils as pb_utils


def cores():
    """Return the cores as a tensor."""
    return np.array(sorted(os.sched_getaffinity(0)), dtype=np.int32)


class TritonPythonModel:
    def initialize(self, args):
        self.at_first = cores()

    def execute(self, requests):
        tensors = [pb_utils.Tensor("FIRST", self.at_first), pb_utils.Tensor("NOW", cores())]
        return [pb_utils.InferenceResponse(tensors) for _ in requests]
