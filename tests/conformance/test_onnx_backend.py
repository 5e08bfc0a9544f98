# SPDX-License-Identifier: Apache-2.0
"""The ONNX Runtime backend as a whole (B084)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tritonclient.http
from support.repository import copy_examples

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import ServerStarter


@pytest.mark.ours("the wheel of Triton 2.51 has no ONNX Runtime backend")
def test_the_library_is_loaded_once_and_stays(starter: ServerStarter, tmp_path: Path) -> None:
    copy_examples(tmp_path, ["mlp", "simple"])
    options = ["--model-control-mode=explicit"]
    left = tritonclient.http.InferInput("INPUT0", [1, 16], "INT32")
    right = tritonclient.http.InferInput("INPUT1", [1, 16], "INT32")
    for tensor in (left, right):
        tensor.set_data_from_numpy(np.full((1, 16), 3, dtype=np.int32))
    with starter.prepare("onnx_backend", tmp_path, options) as process:
        assert "ONNX Runtime" not in process.log(), "no model needs it yet"
        client = tritonclient.http.InferenceServerClient(process.endpoints.http)
        for _ in range(2):
            client.load_model("simple")
            result = client.infer("simple", [left, right])
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), [[6] * 16])
            client.unload_model("simple")
        client.load_model("mlp")
        assert process.log().count("loaded ONNX Runtime") == 1
