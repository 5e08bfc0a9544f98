# SPDX-License-Identifier: Apache-2.0
"""Tells on what it was put."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        names = ("model_instance_kind", "model_instance_device_id", "model_instance_name")
        self.told = np.array([args[name].encode() for name in names], dtype=np.object_)

    def execute(self, requests):
        tensor = pb_utils.Tensor("TOLD", self.told)
        return [pb_utils.InferenceResponse([tensor]) for _ in requests]
