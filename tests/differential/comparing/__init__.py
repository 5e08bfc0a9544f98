# SPDX-License-Identifier: Apache-2.0
"""Requests made at random, sent to two servers, and what of the answers must be equal."""

import os

# How many times the requests of a quick run.
SCALE = int(os.environ.get("TRITONGW_DIFFERENTIAL_SCALE", "1"))
