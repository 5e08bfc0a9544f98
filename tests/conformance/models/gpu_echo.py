# SPDX-License-Identifier: Apache-2.0
"""Answers with its input plus one, out of the memory of its GPU."""

import numpy as np
import triton_python_backend_utils as pb_utils
from device_array import DeviceArray


class TritonPythonModel:
    def initialize(self, args):
        self.gpu = int(args["model_instance_device_id"])
        names = ("model_instance_kind", "model_instance_device_id", "model_instance_name")
        self.told = np.array([args[name].encode() for name in names], np.object_)
        pb_utils.Logger.log_info("placed: " + " ".join(args[name] for name in names))

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        values = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy() + 1
        on_gpu = pb_utils.Tensor.from_dlpack("OUT", DeviceArray(values, self.gpu))
        return pb_utils.InferenceResponse([on_gpu, pb_utils.Tensor("TOLD", self.told)])
