# SPDX-License-Identifier: Apache-2.0
"""Model that answers with the id of its process and says when it goes."""

import os

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        pid = np.array([os.getpid()], dtype=np.int32)
        output = pb_utils.Tensor("OUTPUT0", pid)
        return [pb_utils.InferenceResponse([output]) for _ in requests]
