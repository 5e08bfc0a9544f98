# SPDX-License-Identifier: Apache-2.0
"""Turns grey pixels, as bytes of any length, into a normalised picture of one channel."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            files = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy().reshape(-1)
            pictures = np.stack([picture(data) for data in files])
            tensor = pb_utils.Tensor("PIXELS", pictures)
            responses.append(pb_utils.InferenceResponse(output_tensors=[tensor]))
        return responses


def picture(data):
    pixels = np.frombuffer(data, dtype=np.uint8)
    side = int(np.sqrt(len(pixels)))
    return (pixels.reshape(1, side, side) / 255.0 - 0.5).astype(np.float32)
