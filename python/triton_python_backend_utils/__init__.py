# SPDX-License-Identifier: Apache-2.0
"""What a ``model.py`` imports as ``pb_utils``: the names of Triton's Python backend.

The classes that travel with every request are Rust's; what is asked for once per model is here.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tritongw._core import (
    InferenceRequest,
    InferenceResponse,
    InferenceResponseSender,
    InferenceTrace,
    Logger,
    Metric,
    MetricFamily,
    PreferredMemory,
    ResponseIterator,
    Tensor,
    TritonError,
    TritonModelException,
    deserialize_bytes_tensor,
    get_input_tensor_by_name,
    get_output_tensor_by_name,
    is_model_ready,
    load_model,
    numpy_to_triton_type,
    serialize_byte_tensor,
    triton_to_numpy_type,
    unload_model,
)
from tritongw._model_host import get_model_dir

__all__ = [
    "TRITONSERVER_MEMORY_CPU",
    "TRITONSERVER_MEMORY_GPU",
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_END",
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_START",
    "TRITONSERVER_REQUEST_RELEASE_ALL",
    "TRITONSERVER_REQUEST_RELEASE_RESCHEDULE",
    "TRITONSERVER_RESPONSE_COMPLETE_FINAL",
    "TRITON_STRING_TO_NUMPY",
    "InferenceRequest",
    "InferenceResponse",
    "InferenceResponseSender",
    "InferenceTrace",
    "Logger",
    "Metric",
    "MetricFamily",
    "ModelConfig",
    "PreferredMemory",
    "ResponseIterator",
    "Tensor",
    "TritonError",
    "TritonModelException",
    "deserialize_bytes_tensor",
    "get_input_config_by_name",
    "get_input_tensor_by_name",
    "get_model_dir",
    "get_output_config_by_name",
    "get_output_tensor_by_name",
    "is_model_ready",
    "load_model",
    "numpy_to_triton_type",
    "serialize_byte_tensor",
    "triton_string_to_numpy",
    "triton_to_numpy_type",
    "unload_model",
    "using_decoupled_model_transaction_policy",
]

TRITONSERVER_REQUEST_FLAG_SEQUENCE_START = 1
TRITONSERVER_REQUEST_FLAG_SEQUENCE_END = 2
TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
TRITONSERVER_REQUEST_RELEASE_ALL = 1
TRITONSERVER_REQUEST_RELEASE_RESCHEDULE = 2
TRITONSERVER_MEMORY_CPU = 0
TRITONSERVER_MEMORY_GPU = 2

TRITON_STRING_TO_NUMPY: dict[str, type] = {
    "TYPE_BOOL": bool,
    "TYPE_UINT8": np.uint8,
    "TYPE_UINT16": np.uint16,
    "TYPE_UINT32": np.uint32,
    "TYPE_UINT64": np.uint64,
    "TYPE_INT8": np.int8,
    "TYPE_INT16": np.int16,
    "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64,
    "TYPE_FP16": np.float16,
    "TYPE_FP32": np.float32,
    "TYPE_FP64": np.float64,
    "TYPE_STRING": np.object_,
}


def triton_string_to_numpy(triton_type_string: str) -> type:
    """Return the NumPy type of a data type of the configuration (Y081).

    Parameters
    ----------
    triton_type_string : str
        Name such as ``TYPE_FP32``.

    Raises
    ------
    KeyError
        If there is no such type; NumPy has none for ``TYPE_BF16``.

    Examples
    --------
    >>> triton_string_to_numpy("TYPE_FP32")
    <class 'numpy.float32'>
    """
    return TRITON_STRING_TO_NUMPY[triton_type_string]


def get_input_config_by_name(model_config: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return the configuration of an input (Y079).

    Parameters
    ----------
    model_config : Mapping
        The model's configuration, as a dictionary.
    name : str
        Name of the input.

    Returns
    -------
    dict or None
        Its properties; None if there is no such input.
    """
    return _find(model_config.get("input", []), name)


def get_output_config_by_name(model_config: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return the configuration of an output (Y079).

    Parameters
    ----------
    model_config : Mapping
        The model's configuration, as a dictionary.
    name : str
        Name of the output.

    Returns
    -------
    dict or None
        Its properties; None if there is no such output.
    """
    return _find(model_config.get("output", []), name)


def _find(tensors: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((tensor for tensor in tensors if tensor["name"] == name), None)


def using_decoupled_model_transaction_policy(model_config: Mapping[str, Any]) -> bool:
    """Return whether a request to the model may have any number of responses (Y080).

    Parameters
    ----------
    model_config : Mapping
        The model's configuration, as a dictionary.

    Examples
    --------
    >>> using_decoupled_model_transaction_policy({"model_transaction_policy": {"decoupled": True}})
    True
    >>> using_decoupled_model_transaction_policy({})
    False
    """
    return bool(model_config.get("model_transaction_policy", {}).get("decoupled", False))


class ModelConfig:
    """The configuration that ``auto_complete_config`` fills in.

    What the configuration says already may be said again, never contradicted.

    Parameters
    ----------
    model_config : str
        The configuration as JSON.

    Examples
    --------
    >>> config = ModelConfig('{"name": "m", "max_batch_size": 0, "input": [], "output": []}')
    >>> config.set_max_batch_size(8)
    >>> config.add_output({"name": "Y", "data_type": "TYPE_FP32", "dims": [4]})
    >>> config.as_dict()["max_batch_size"]
    8
    """

    def __init__(self, model_config: str) -> None:
        self._model_config: dict[str, Any] = json.loads(model_config)

    @property
    def _name(self) -> str:
        return str(self._model_config["name"])

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as a dictionary (Y072).

        Returns
        -------
        dict
            The configuration, to be read only.
        """
        return self._model_config

    def set_max_batch_size(self, max_batch_size: int) -> None:
        """Set the largest batch that the model takes (Y073).

        Parameters
        ----------
        max_batch_size : int
            Number of requests; 0 for a model that does not batch.

        Raises
        ------
        ValueError
            If the configuration asks for a larger one.
        """
        configured = self._model_config.get("max_batch_size", 0)
        if configured > max_batch_size:
            message = (
                f"configuration specified max_batch_size {configured}, but in auto-complete-config "
                f"function for model '{self._name}' specified max_batch_size {max_batch_size}"
            )
            raise ValueError(message)
        self._model_config["max_batch_size"] = max_batch_size

    def set_dynamic_batching(self) -> None:
        """Let the server merge requests into batches (Y074).

        Raises
        ------
        ValueError
            If the configuration chooses another way of scheduling.
        """
        for scheduler in ("sequence_batching", "ensemble_scheduling"):
            if scheduler in self._model_config:
                message = (
                    f"Configuration specified scheduling_choice as '{scheduler}', but "
                    f"auto-complete-config function for model '{self._name}' tries to set "
                    "scheduling_choice as 'dynamic_batching'"
                )
                raise ValueError(message)
        self._model_config.setdefault("dynamic_batching", {})

    def add_input(self, input: Mapping[str, Any]) -> None:
        """Add an input, or complete the configured one of that name (Y075).

        Parameters
        ----------
        input : Mapping
            ``name``, ``data_type``, ``dims`` and, if the input may be left out, ``optional``.

        Raises
        ------
        ValueError
            If a property is missing, unknown, or contradicts the configuration.
        """
        allowed = "'name', 'data_type', 'dims' and 'optional'"
        self._add("input", input, {"name", "data_type", "dims", "optional"}, allowed)

    def add_output(self, output: Mapping[str, Any]) -> None:
        """Add an output, or complete the configured one of that name (Y076).

        Parameters
        ----------
        output : Mapping
            ``name``, ``data_type`` and ``dims``.

        Raises
        ------
        ValueError
            If a property is missing, unknown, or contradicts the configuration.
        """
        allowed = "'name', 'data_type' and 'dims'"
        self._add("output", output, {"name", "data_type", "dims"}, allowed)

    def set_model_transaction_policy(self, transaction_policy_dict: Mapping[str, Any]) -> None:
        """Set whether a request may have any number of responses (Y077).

        Parameters
        ----------
        transaction_policy_dict : Mapping
            At most the property ``decoupled``, a bool.

        Raises
        ------
        ValueError
            If there is another property, or the configuration says otherwise.
        """
        if transaction_policy_dict.keys() - {"decoupled"}:
            message = (
                "model transaction property in auto-complete-config function for model "
                f"'{self._name}' contains property other than 'decoupled'."
            )
            raise ValueError(message)
        policy = self._model_config.setdefault("model_transaction_policy", {})
        if "decoupled" not in transaction_policy_dict:
            return
        decoupled = transaction_policy_dict["decoupled"]
        if policy.get("decoupled", decoupled) != decoupled:
            message = (
                "trying to change decoupled property in auto-complete-config for model "
                f"'{self._name}', which is already set to '{policy['decoupled']}'."
            )
            raise ValueError(message)
        policy["decoupled"] = decoupled

    def _add(self, kind: str, tensor: Mapping[str, Any], known: set[str], allowed: str) -> None:
        self._check_properties(kind, tensor, known, allowed)
        configured = _find(self._model_config.setdefault(kind, []), tensor["name"])
        if configured is None:
            self._model_config[kind].append(dict(tensor))
            return
        self._check_agreement(kind, tensor, configured)
        configured.update(tensor)

    def _check_properties(
        self, kind: str, tensor: Mapping[str, Any], known: set[str], allowed: str
    ) -> None:
        where = f"in auto-complete-config function for model '{self._name}'"
        if "name" not in tensor:
            message = f"{kind} {where} is missing 'name' property."
            raise ValueError(message)
        if tensor.keys() - known:
            message = f"{kind} '{tensor['name']}' {where} contains property other than {allowed}."
            raise ValueError(message)
        for needed in ("data_type", "dims"):
            if needed not in tensor:
                message = f"{kind} '{tensor['name']}' {where} is missing '{needed}' property."
                raise ValueError(message)

    def _check_agreement(
        self, kind: str, tensor: Mapping[str, Any], configured: Mapping[str, Any]
    ) -> None:
        name = tensor["name"]
        data_type = configured.get("data_type", "TYPE_INVALID")
        if data_type not in ("TYPE_INVALID", tensor["data_type"]):
            message = (
                f"unable to load model '{self._name}', configuration expects datatype {data_type} "
                f"for {kind} '{name}', model provides {tensor['data_type']}"
            )
            raise ValueError(message)
        for what in ("dims", "optional"):
            expected, given = tensor.get(what), configured.get(what)
            is_set = given is not None and given != []
            if is_set and expected is not None and expected != given:
                message = (
                    f"model '{self._name}', tensor '{name}': the model expects {what} {expected} "
                    f"but the model configuration specifies {what} {given}"
                )
                raise ValueError(message)
