# SPDX-License-Identifier: Apache-2.0
"""Doubles its input on a GPU, by the framework and in the way that the request names."""

import cupy
import torch
import triton_python_backend_utils as pb_utils

# Some tenths of a second: long enough that whoever does not wait reads what was there before.
CYCLES = 400_000_000


class TritonPythonModel:
    def initialize(self, args):
        self.gpu = int(args["model_instance_device_id"])

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        way = pb_utils.get_input_tensor_by_name(request, "WAY").as_numpy().reshape(-1)[0].decode()
        given = pb_utils.get_input_tensor_by_name(request, "IN")
        answered = getattr(self, way)(given)
        if not isinstance(answered, pb_utils.Tensor):
            answered = pb_utils.Tensor.from_dlpack("OUT", answered)
        return pb_utils.InferenceResponse([answered])

    def on_gpu(self, given):
        return torch.from_dlpack(given).to(f"cuda:{self.gpu}")

    def with_torch(self, given):
        return self.on_gpu(given) * 2

    def with_torch_on_a_side_stream(self, given):
        values = self.on_gpu(given)
        doubled = torch.zeros_like(values)
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(CYCLES)
            torch.mul(values, 2, out=doubled)
            return pb_utils.Tensor.from_dlpack("OUT", doubled)

    def with_torch_in_a_capsule(self, given):
        return torch.utils.dlpack.to_dlpack(self.with_torch(given))

    def with_torch_in_bfloat16(self, given):
        return (self.on_gpu(given) * 2).to(torch.bfloat16)

    def with_torch_in_part(self, given):
        return (self.on_gpu(given).repeat(2) * 2)[given.shape()[0] :]

    def with_torch_not_contiguous(self, given):
        return self.on_gpu(given).repeat(2)[::2]

    def with_torch_on_the_host(self, given):
        return (self.on_gpu(given) * 2).cpu()

    def with_cupy(self, given):
        return cupy.asarray(given.as_numpy()) * 2

    def with_cupy_on_a_side_stream(self, given):
        values = cupy.asarray(given.as_numpy())
        doubled = cupy.zeros_like(values)
        cupy.cuda.runtime.deviceSynchronize()
        with cupy.cuda.Stream(non_blocking=True):
            cupy.RawKernel(
                r"""extern "C" __global__ void wait(long long cycles) {
                    long long start = clock64();
                    while (clock64() - start < cycles) { }
                }""",
                "wait",
            )((1,), (1,), (CYCLES,))
            cupy.multiply(values, 2, out=doubled)
            return pb_utils.Tensor.from_dlpack("OUT", doubled)
