# SPDX-License-Identifier: Apache-2.0
"""A model as a careful user writes it; checked by ``mypy --strict`` against the installed wheel."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

import tritongw


class TritonPythonModel:
    """Adds two tensors."""

    output_type: type

    @staticmethod
    def auto_complete_config(config: pb_utils.ModelConfig) -> pb_utils.ModelConfig:
        config.add_input({"name": "A", "data_type": "TYPE_FP32", "dims": [-1]})
        config.add_output({"name": "SUM", "data_type": "TYPE_FP32", "dims": [-1]})
        config.set_max_batch_size(8)
        return config

    def initialize(self, args: dict[str, str]) -> None:
        config: dict[str, Any] = json.loads(args["model_config"])
        output = pb_utils.get_output_config_by_name(config, "SUM")
        if output is None:
            raise pb_utils.TritonModelException("no output SUM")
        self.output_type = pb_utils.triton_string_to_numpy(output["data_type"])
        pb_utils.Logger.log_info(f"loaded from {pb_utils.get_model_dir()}")

    def execute(
        self, requests: list[pb_utils.InferenceRequest]
    ) -> list[pb_utils.InferenceResponse | None]:
        return [self.answer(request) for request in requests]

    def answer(self, request: pb_utils.InferenceRequest) -> pb_utils.InferenceResponse:
        tensor = pb_utils.get_input_tensor_by_name(request, "A")
        if tensor is None:
            error = pb_utils.TritonError("no input A", pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=error)
        total: NDArray[Any] = tensor.as_numpy().sum(axis=1).astype(self.output_type)
        return pb_utils.InferenceResponse([pb_utils.Tensor("SUM", total)])


Vector = Annotated[NDArray[np.float32], tritongw.TensorSpec("FP32", (-1,))]


@tritongw.model(max_batch_size=8, dynamic_batching=tritongw.DynamicBatching(100))
def double(x: Vector) -> Vector:
    return x * 2


@tritongw.model
def count(to: int) -> Iterator[int]:
    yield from range(to)


doubled: NDArray[np.float32] = double(np.ones(1, dtype=np.float32))
counted: list[int] = list(count(3))
