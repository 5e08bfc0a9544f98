# SPDX-License-Identifier: Apache-2.0
"""Writes to the standard streams what the text in its input says."""

import os
import sys

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        text = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()[0].decode()
        command, _, argument = text.partition(" ")
        getattr(self, command)(argument)
        data = np.array([b"done"], dtype=np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", data)])

    def printed(self, argument):
        print(argument)

    def flushed(self, argument):
        print(argument, flush=True)

    def complained(self, argument):
        print(argument, file=sys.stderr)

    def written(self, argument):
        """Write as a C library would."""
        os.write(1, argument.encode("latin-1") + b"\n")

    def flood(self, argument):
        for number in range(int(argument)):
            print("flood", number)

    def die(self, argument):
        print(argument, end="", flush=True)
        os._exit(3)
