# SPDX-License-Identifier: Apache-2.0
"""``pb_utils.ModelConfig``: what ``auto_complete_config`` may say, and Triton's words if not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from triton_python_backend_utils import ModelConfig, using_decoupled_model_transaction_policy

X = {"name": "X", "data_type": "TYPE_FP32", "dims": [4]}


def config(**fields: Any) -> ModelConfig:
    start = {"name": "m", "max_batch_size": 0, "input": [], "output": []}
    return ModelConfig(json.dumps({**start, **fields}))


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call(*arguments)
    return str(caught.value)


def test_max_batch_size_may_grow_only() -> None:
    completed = config(max_batch_size=4)
    completed.set_max_batch_size(8)
    assert completed.as_dict()["max_batch_size"] == 8
    assert refusal(completed.set_max_batch_size, 2) == (
        "configuration specified max_batch_size 8, but in auto-complete-config function for model "
        "'m' specified max_batch_size 2"
    )


def test_dynamic_batching_is_set_once_and_kept() -> None:
    completed = config()
    completed.set_dynamic_batching()
    assert completed.as_dict()["dynamic_batching"] == {}
    configured = config(dynamic_batching={"max_queue_delay_microseconds": 5})
    configured.set_dynamic_batching()
    assert configured.as_dict()["dynamic_batching"] == {"max_queue_delay_microseconds": 5}


@pytest.mark.parametrize("scheduler", ["sequence_batching", "ensemble_scheduling"])
def test_dynamic_batching_does_not_replace_another_scheduler(scheduler: str) -> None:
    assert refusal(config(**{scheduler: {}}).set_dynamic_batching) == (
        f"Configuration specified scheduling_choice as '{scheduler}', but auto-complete-config "
        "function for model 'm' tries to set scheduling_choice as 'dynamic_batching'"
    )


@pytest.mark.parametrize("kind", ["input", "output"])
def test_tensors_are_added_or_completed(kind: str) -> None:
    completed = config(**{kind: [{"name": "X", "data_type": "TYPE_INVALID", "dims": []}]})
    add = getattr(completed, f"add_{kind}")
    add(X)
    add({**X, "name": "Y"})
    assert completed.as_dict()[kind] == [X, {**X, "name": "Y"}]


@pytest.mark.parametrize("kind", ["input", "output"])
def test_tensors_must_agree_with_the_configuration(kind: str) -> None:
    add = getattr(config(**{kind: [X]}), f"add_{kind}")
    assert refusal(add, {**X, "data_type": "TYPE_INT8"}) == (
        f"unable to load model 'm', configuration expects datatype TYPE_FP32 for {kind} 'X', model "
        "provides TYPE_INT8"
    )
    assert refusal(add, {**X, "dims": [5]}) == (
        "model 'm', tensor 'X': the model expects dims [5] but the model configuration specifies "
        "dims [4]"
    )


def test_inputs_may_be_optional_and_outputs_not() -> None:
    completed = config()
    completed.add_input({**X, "optional": True})
    assert completed.as_dict()["input"] == [{**X, "optional": True}]
    assert refusal(completed.add_input, {**X, "optional": False}) == (
        "model 'm', tensor 'X': the model expects optional False but the model configuration "
        "specifies optional True"
    )
    assert refusal(completed.add_output, {**X, "optional": True}) == (
        "output 'X' in auto-complete-config function for model 'm' contains property other than "
        "'name', 'data_type' and 'dims'."
    )


@pytest.mark.parametrize("kind", ["input", "output"])
def test_tensors_must_be_complete(kind: str) -> None:
    add = getattr(config(), f"add_{kind}")
    where = "in auto-complete-config function for model 'm' is missing"
    assert refusal(add, {"dims": [1]}) == f"{kind} {where} 'name' property."
    assert refusal(add, {"name": "X", "dims": [1]}) == f"{kind} 'X' {where} 'data_type' property."
    missing_dims = {"name": "X", "data_type": "TYPE_FP32"}
    assert refusal(add, missing_dims) == f"{kind} 'X' {where} 'dims' property."


def test_unknown_properties_of_an_input_are_refused() -> None:
    assert refusal(config().add_input, {**X, "shape": [1]}) == (
        "input 'X' in auto-complete-config function for model 'm' contains property other than "
        "'name', 'data_type', 'dims' and 'optional'."
    )


def test_transaction_policy_is_set_and_never_contradicted() -> None:
    completed = config()
    assert not using_decoupled_model_transaction_policy(completed.as_dict())
    completed.set_model_transaction_policy({"decoupled": True})
    assert using_decoupled_model_transaction_policy(completed.as_dict())
    assert refusal(completed.set_model_transaction_policy, {"decoupled": False}) == (
        "trying to change decoupled property in auto-complete-config for model 'm', which is "
        "already set to 'True'."
    )
    assert refusal(completed.set_model_transaction_policy, {"other": 1}) == (
        "model transaction property in auto-complete-config function for model 'm' contains "
        "property other than 'decoupled'."
    )
