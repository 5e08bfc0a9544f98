# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

import make_models

Array = NDArray[Any]


def test_the_files_in_the_tree_are_current() -> None:
    assert make_models.stale(make_models.REPOSITORY) == []


def test_missing_and_changed_files_are_stale(tmp_path: Path) -> None:
    make_models.write(tmp_path)
    assert make_models.stale(tmp_path) == []
    make_models.path_of("mlp", tmp_path).unlink()
    changed = make_models.simple_string().SerializeToString()
    make_models.path_of("simple", tmp_path).write_bytes(changed)
    assert make_models.stale(tmp_path) == ["simple", "mlp"]


def test_simple_adds_and_subtracts() -> None:
    left, right = numbers()
    outputs = run("simple", INPUT0=left, INPUT1=right)
    np.testing.assert_array_equal(outputs[0], left + right)
    np.testing.assert_array_equal(outputs[1], left - right)


def test_simple_string_adds_and_subtracts_decimal_numbers() -> None:
    left, right = numbers()
    texts = {"INPUT0": left.astype(str).astype(object), "INPUT1": right.astype(str).astype(object)}
    outputs = run("simple_string", **texts)
    np.testing.assert_array_equal(outputs[0].astype(np.int32), left + right)
    np.testing.assert_array_equal(outputs[1].astype(np.int32), left - right)


@pytest.mark.parametrize(("name", "shape"), [("mlp", (784,)), ("cnn", (3, 224, 224))])
def test_networks_answer_each_item_of_a_batch_by_itself(name: str, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).standard_normal((3, *shape)).astype(np.float32)
    (batched,) = run(name, INPUT=images)
    assert batched.shape == (3, 10)
    for image, answer in zip(images, batched, strict=True):
        (alone,) = run(name, INPUT=image[np.newaxis])
        np.testing.assert_allclose(alone[0], answer, rtol=1e-5, atol=1e-5)


def numbers() -> tuple[Array, Array]:
    left = np.arange(32, dtype=np.int32).reshape(2, 16)
    return left, np.full_like(left, 7)


def run(name: str, **inputs: Array) -> list[Array]:
    session = onnxruntime.InferenceSession(make_models.path_of(name))
    return list(session.run(None, inputs))
