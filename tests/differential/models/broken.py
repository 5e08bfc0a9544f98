# SPDX-License-Identifier: Apache-2.0
"""Model that cannot be loaded."""


class TritonPythonModel:
    def initialize(self, args):
        raise RuntimeError("made to fail")

    def execute(self, requests):
        raise NotImplementedError
