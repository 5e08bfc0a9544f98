# SPDX-License-Identifier: Apache-2.0
"""Decoupled model that answers the requests of a batch from the last to the first."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in reversed(requests):
            number = request.inputs()[0].as_numpy()
            request.get_response_sender().send(
                pb_utils.InferenceResponse([pb_utils.Tensor("OUT", number)]),
                pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
            )
