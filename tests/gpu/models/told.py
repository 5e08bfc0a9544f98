# SPDX-License-Identifier: Apache-2.0
"""Does with tensors on a GPU what the text in its input says, and tells what came of it."""

import gc
import json

import cupy
import numpy as np
import torch
import triton_python_backend_utils as pb_utils

CYCLES = 400_000_000


class TritonPythonModel:
    def initialize(self, args):
        self.args = args

    def execute(self, requests):
        return [self.obey(request) for request in requests]

    def obey(self, asked):
        command = pb_utils.get_input_tensor_by_name(asked, "COMMAND").as_numpy().reshape(-1)[0]
        name, *arguments = json.loads(command)
        try:
            heard = getattr(self, name)(*arguments)
        except Exception as error:
            heard = f"{type(error).__name__}: {error}"
        told = np.array([json.dumps(heard).encode()], np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("ANSWER", told)])

    def placed(self):
        names = ("model_instance_kind", "model_instance_device_id")
        return [self.args[name] for name in names]

    def describe(self):
        values = torch.arange(6, dtype=torch.float16, device="cuda").reshape(2, 3)
        tensor = pb_utils.Tensor.from_dlpack("T", values)
        back = torch.from_dlpack(tensor)
        with torch.cuda.stream(torch.cuda.Stream()):
            on_side = torch.from_dlpack(tensor)
        capsule = torch.utils.dlpack.from_dlpack(tensor.to_dlpack())
        others = [back, on_side, capsule]
        return {
            "is_cpu": tensor.is_cpu(),
            "dtype": tensor.triton_dtype(),
            "shape": tensor.shape(),
            "device": tensor.__dlpack_device__(),
            "same": [each.data_ptr() == values.data_ptr() for each in others],
            "cupy": cupy.from_dlpack(tensor).data.ptr == values.data_ptr(),
            "values": [each.tolist() for each in others],
        }

    def as_numpy(self):
        pb_utils.Tensor.from_dlpack("T", torch.ones(1, device="cuda")).as_numpy()

    def give_numpy(self):
        np.from_dlpack(pb_utils.Tensor.from_dlpack("T", torch.ones(1, device="cuda")))

    def read_on_another_stream(self):
        """What a side stream writes late is read by another one that waits for nothing itself."""
        values = torch.zeros(1 << 20, device="cuda")
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(CYCLES)
            values += 1
            tensor = pb_utils.Tensor.from_dlpack("T", values)
        with torch.cuda.stream(torch.cuda.Stream()):
            total = torch.from_dlpack(tensor).sum()
            return total.item()

    def call(self, count, dtype="float32"):
        values = torch.arange(count, device="cuda", dtype=getattr(torch, dtype))
        tensor = pb_utils.Tensor.from_dlpack("IN", values)
        way = pb_utils.Tensor("WAY", np.array([b"with_torch"], np.object_))
        request = pb_utils.InferenceRequest(
            model_name="frameworks_worker",
            requested_output_names=["OUT"],
            inputs=[tensor, way],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_GPU, 0),
        )
        response = request.exec()
        if response.has_error():
            return response.error().message()
        output = response.output_tensors()[0]
        return [output.is_cpu(), float(output.as_numpy().sum(dtype=np.float64))]

    def allocated(self):
        gc.collect()
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()
