# SPDX-License-Identifier: Apache-2.0
"""Adds and subtracts two vectors: the shape of every Python model."""

from __future__ import annotations

import json
from typing import Any

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """The class that the Python backend looks for in ``model.py``."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the data types of the outputs from the configuration, once per instance."""
        config: dict[str, Any] = json.loads(args["model_config"])
        self.dtypes = [
            pb_utils.triton_string_to_numpy(
                pb_utils.get_output_config_by_name(config, name)["data_type"]
            )
            for name in ("OUTPUT0", "OUTPUT1")
        ]

    def execute(
        self, requests: list[pb_utils.InferenceRequest]
    ) -> list[pb_utils.InferenceResponse]:
        """Answer each request with one response, in the order of the requests."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: pb_utils.InferenceRequest) -> pb_utils.InferenceResponse:
        left = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
        right = pb_utils.get_input_tensor_by_name(request, "INPUT1").as_numpy()
        sum_type, difference_type = self.dtypes
        return pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor("OUTPUT0", (left + right).astype(sum_type)),
                pb_utils.Tensor("OUTPUT1", (left - right).astype(difference_type)),
            ]
        )
