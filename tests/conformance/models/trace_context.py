# SPDX-License-Identifier: Apache-2.0
"""Model that answers with the context of its request's trace."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [answer(request.trace().get_context()) for request in requests]


def answer(context):
    text = np.array([repr(context).encode()], dtype=np.object_)
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", text)])
