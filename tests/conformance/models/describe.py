# SPDX-License-Identifier: Apache-2.0
"""Model that answers with what it was given, as JSON."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [describe(request) for request in requests]


def describe(request):
    text = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
    pairs = pb_utils.get_input_tensor_by_name(request, "PAIRS")
    description = {
        "id": request.request_id(),
        "parameters": json.loads(request.parameters()),
        "text": [element.decode() for element in text.reshape(-1)],
        "text_shape": list(text.shape),
        "pairs": None if pairs is None else pairs.as_numpy().tolist(),
    }
    encoded = [[json.dumps(description, sort_keys=True).encode()]] * len(text)
    tensor = pb_utils.Tensor("DESCRIPTION", np.array(encoded, dtype=np.object_))
    return pb_utils.InferenceResponse([tensor])
