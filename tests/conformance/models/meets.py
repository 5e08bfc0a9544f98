# SPDX-License-Identifier: Apache-2.0
"""Model each of whose instances waits, before it is ready, until all of them are being made."""

import json
import os
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils

PATIENCE_S = 30


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        place = Path(config["parameters"]["place"]["string_value"])
        count = config["instance_group"][0]["count"]
        (place / str(os.getpid())).touch()
        deadline = time.monotonic() + PATIENCE_S
        while len(list(place.iterdir())) < count:
            if time.monotonic() > deadline:
                raise RuntimeError("the others did not come")
            time.sleep(0.01)

    def execute(self, requests):
        def echo(request):
            data = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
            return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", data)])

        return [echo(request) for request in requests]
