# SPDX-License-Identifier: Apache-2.0
"""Logs what the text in its input says."""

import logging

import numpy as np
import triton_python_backend_utils as pb_utils

LOGGER = logging.getLogger("weights")
LOGGER.setLevel(logging.DEBUG)


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        text = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()[0].decode()
        command, _, argument = text.partition(" ")
        return getattr(self, command)(argument)

    def fail(self, argument):
        raise ValueError(argument)

    def misuse(self, argument):
        return argument

    def logger(self, argument):
        pb_utils.Logger.log_warn(argument)
        return done()

    def logging(self, argument):
        level, _, message = argument.partition(" ")
        LOGGER.log(getattr(logging, level), "%s", message)
        return done()

    def caught(self, argument):
        try:
            raise ValueError(argument)
        except ValueError:
            LOGGER.exception("caught")
        return done()

    def flood(self, argument):
        for number in range(int(argument)):
            pb_utils.Logger.log_info(f"flood {number}")
        return done()


def done():
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", np.array([b"done"], np.object_))])
