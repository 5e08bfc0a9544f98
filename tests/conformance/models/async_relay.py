# SPDX-License-Identifier: Apache-2.0
"""As ``relay``, in coroutines that run side by side; it may block its event loop instead."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.target = parameters["target"]["string_value"]
        self.is_blocking = "is_blocking" in parameters

    async def execute(self, requests):
        return [await self.answer(request) for request in requests]

    async def answer(self, request):
        depth = int(pb_utils.get_input_tensor_by_name(request, "DEPTH").as_numpy()[0])
        if depth == 0:
            return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.zeros(1, np.int32))])
        call = pb_utils.InferenceRequest(
            model_name=self.target,
            requested_output_names=["OUT"],
            inputs=[pb_utils.Tensor("DEPTH", np.array([depth - 1], np.int32))],
        )
        response = call.exec() if self.is_blocking else await call.async_exec()
        if response.has_error():
            return pb_utils.InferenceResponse(error=response.error())
        reached = response.output_tensors()[0].as_numpy() + 1
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", reached)])
