# SPDX-License-Identifier: Apache-2.0
"""Prepares the environments that Python models ask for; run by the server as a process of its own.

An order comes as JSON on standard input; the answer, the program that runs a worker and the
variables it needs, goes to standard output. Nothing here runs in a worker or on the way of a
request.
"""


class EnvironmentFailure(Exception):
    """The environment cannot be had; the text says why to whoever loads the model."""
