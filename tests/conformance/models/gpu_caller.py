# SPDX-License-Identifier: Apache-2.0
"""Does with tensors in GPU memory what the text in its input says, and tells what came of it."""

import gc
import json

import numpy as np
import triton_python_backend_utils as pb_utils
from device_array import DeviceArray, address_in


class TritonPythonModel:
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

    def describe(self, gpu):
        array = DeviceArray(np.ones((2, 3), np.float32), gpu)
        tensor = pb_utils.Tensor.from_dlpack("T", array)
        exported = [tensor.to_dlpack(), *(tensor.__dlpack__(stream=each) for each in (1, 2, -1))]
        return {
            "is_cpu": tensor.is_cpu(),
            "dtype": tensor.triton_dtype(),
            "shape": tensor.shape(),
            "device": tensor.__dlpack_device__(),
            "streams": array.streams,
            "is_same": [describe(each) == describe(array.__dlpack__()) for each in exported],
        }

    def as_numpy(self):
        on_gpu(1.0).as_numpy()

    def give_to_host(self):
        on_gpu(1.0).__dlpack__(dl_device=(1, 0))

    def give_to_stream(self, stream):
        on_gpu(1.0).__dlpack__(stream=stream)

    def pass_on(self, count):
        """Make a tensor of a tensor, through two capsules."""
        first = on_gpu(*range(count))
        second = pb_utils.Tensor.from_dlpack("IN", pb_utils.Tensor.from_dlpack("X", first))
        third = pb_utils.Tensor.from_dlpack("IN", second.to_dlpack())
        del first, second
        return call(third)

    def call(self, count):
        return call(on_gpu(*range(count)))

    def call_into_gpu(self, count):
        """Call a model that answers out of GPU memory and prefers nothing else."""
        values = pb_utils.Tensor("IN", np.arange(count, dtype=np.float32))
        memory = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_GPU, 0)
        return call(values, "gpu_echo", preferred_memory=memory)

    def send_twice(self, count):
        return [self.call(count), self.call(count)]

    def alive(self):
        gc.collect()
        return DeviceArray.count


def on_gpu(*values):
    return pb_utils.Tensor.from_dlpack("IN", DeviceArray(np.array(values, np.float32)))


def call(tensor, model="increment", **options):
    request = pb_utils.InferenceRequest(
        model_name=model, requested_output_names=["OUT"], inputs=[tensor], **options
    )
    response = request.exec()
    if response.has_error():
        return response.error().message()
    output = response.output_tensors()[0]
    values = output.as_numpy()
    return [output.is_cpu(), values.size, float(values.sum(dtype=np.float64))]


def describe(capsule):
    place = address_in(capsule)
    return place.data, place.device_type, place.device_id
