# SPDX-License-Identifier: Apache-2.0
"""The file of a Python-based backend: all its models run this."""

import json
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.set_max_batch_size(0)
        config.add_input({"name": "COMMAND", "data_type": "TYPE_STRING", "dims": [1]})
        config.add_output({"name": "ANSWER", "data_type": "TYPE_STRING", "dims": [1]})
        return config

    def initialize(self, args):
        self.arguments = {key: args[key] for key in ("model_name", "model_repository")}

    def execute(self, requests):
        return [self.describe() for _ in requests]

    def describe(self):
        try:
            from environment_mark import MARK
        except ImportError:
            MARK = None
        directory = pb_utils.get_model_dir()
        description = {
            **self.arguments,
            "directory": directory,
            "weights": (Path(directory) / "weights").read_text(),
            "file": __file__,
            "module": __name__,
            "is_importable": str(Path(__file__).parent) in sys.path,
            "mark": MARK,
        }
        data = np.array([json.dumps(description).encode()], dtype=np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("ANSWER", data)])
