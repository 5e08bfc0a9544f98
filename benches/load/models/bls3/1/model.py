# SPDX-License-Identifier: Apache-2.0
"""Returns its input after three calls of another model, each on the output of the one before."""

from __future__ import annotations

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(
        self, requests: list[pb_utils.InferenceRequest]
    ) -> list[pb_utils.InferenceResponse]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: pb_utils.InferenceRequest) -> pb_utils.InferenceResponse:
        values = request.inputs()[0].as_numpy()
        for _ in range(3):
            call = pb_utils.InferenceRequest(
                model_name="identity_py",
                requested_output_names=["OUTPUT0"],
                inputs=[pb_utils.Tensor("INPUT0", values)],
            )
            response = call.exec()
            if response.has_error():
                return pb_utils.InferenceResponse(error=response.error())
            values = response.output_tensors()[0].as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", values)])
