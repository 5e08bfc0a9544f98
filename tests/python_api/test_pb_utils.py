# SPDX-License-Identifier: Apache-2.0
"""The objects of ``triton_python_backend_utils``, without a server."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils

DTYPES = [
    (1, "BOOL", np.bool_),
    (2, "UINT8", np.uint8),
    (3, "UINT16", np.uint16),
    (4, "UINT32", np.uint32),
    (5, "UINT64", np.uint64),
    (6, "INT8", np.int8),
    (7, "INT16", np.int16),
    (8, "INT32", np.int32),
    (9, "INT64", np.int64),
    (10, "FP16", np.float16),
    (11, "FP32", np.float32),
    (12, "FP64", np.float64),
]


@pytest.mark.parametrize(("number", "name", "dtype"), DTYPES)
def test_data_types_have_their_numbers(number: int, name: str, dtype: type) -> None:
    assert pb_utils.triton_to_numpy_type(number) is dtype
    assert pb_utils.numpy_to_triton_type(dtype) == number
    assert np.dtype(pb_utils.triton_string_to_numpy(f"TYPE_{name}")) == np.dtype(dtype)
    tensor = pb_utils.Tensor("X", np.zeros((2, 3), dtype=dtype))
    assert (tensor.name(), tensor.triton_dtype(), tensor.shape()) == ("X", number, [2, 3])
    assert tensor.is_cpu()


def test_texts_have_a_number_and_bf16_has_no_numpy_type() -> None:
    assert pb_utils.triton_to_numpy_type(13) is np.object_
    assert pb_utils.numpy_to_triton_type(np.object_) == 13
    assert pb_utils.numpy_to_triton_type(np.bytes_) == 13
    assert pb_utils.triton_to_numpy_type(14) is None
    assert pb_utils.numpy_to_triton_type(np.complex64) is None
    assert pb_utils.triton_string_to_numpy("TYPE_STRING") is np.object_
    with pytest.raises(KeyError):
        pb_utils.triton_string_to_numpy("TYPE_BF16")


def test_other_names_of_a_type_are_known() -> None:
    tensor = pb_utils.Tensor("X", np.zeros(1, dtype=np.longlong))
    assert tensor.triton_dtype() == 9


def test_tensor_gives_its_array_back() -> None:
    array = np.arange(3)
    assert pb_utils.Tensor("X", array).as_numpy() is array


def test_tensor_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(pb_utils.TritonModelException, match=r"^Tensor name cannot be an empty str"):
        pb_utils.Tensor("", np.zeros(1))
    with pytest.raises(pb_utils.TritonModelException, match=r"^NumPy dtype is not supported\.$"):
        pb_utils.Tensor("X", np.zeros(1, dtype=np.complex64))
    with pytest.raises(TypeError):
        pb_utils.Tensor("X", [1, 2])  # type: ignore[arg-type]


@pytest.mark.parametrize(("number", "name", "dtype"), DTYPES)
def test_dlpack_shares_memory_both_ways(number: int, name: str, dtype: type) -> None:
    array = np.ones((2, 3), dtype=dtype)
    tensor = pb_utils.Tensor.from_dlpack("X", array)
    assert (tensor.triton_dtype(), tensor.shape()) == (number, [2, 3])
    view = tensor.as_numpy()
    assert view.ctypes.data == array.ctypes.data
    again = np.from_dlpack(tensor)
    assert again.ctypes.data == array.ctypes.data
    assert again.dtype == array.dtype
    assert tensor.__dlpack_device__() == (1, 0)


def test_dlpack_keeps_the_memory_alive_and_lets_it_go() -> None:
    class Tracked(np.ndarray[Any, Any]):
        """An array that can be referred to weakly."""

    array = np.arange(4, dtype=np.float32).view(Tracked)
    gone = weakref.ref(array)
    tensor = pb_utils.Tensor.from_dlpack("X", array)
    view = tensor.as_numpy()
    del array, tensor
    gc.collect()
    assert gone() is not None
    assert view.tolist() == [0.0, 1.0, 2.0, 3.0]
    del view
    gc.collect()
    assert gone() is None


def test_a_dlpack_capsule_is_taken_once() -> None:
    capsule = pb_utils.Tensor("X", np.ones(2, dtype=np.int8)).to_dlpack()
    assert pb_utils.Tensor.from_dlpack("Y", capsule).as_numpy().tolist() == [1, 1]
    with pytest.raises(pb_utils.TritonModelException, match=r"^Provided tensor is not supported"):
        pb_utils.Tensor.from_dlpack("Y", capsule)


def test_a_dlpack_capsule_that_nobody_takes_is_freed() -> None:
    tensor = pb_utils.Tensor.from_dlpack("X", np.ones(2, dtype=np.int8))
    for _ in range(100):
        tensor.to_dlpack()


def test_dlpack_refuses_what_it_does_not_know() -> None:
    texts = pb_utils.Tensor("X", np.array([b"a"], dtype=np.object_))
    with pytest.raises(pb_utils.TritonModelException, match="does not have support for string"):
        texts.to_dlpack()
    with pytest.raises(pb_utils.TritonModelException, match=r"^Provided tensor is not supported"):
        pb_utils.Tensor.from_dlpack("X", 3)
    strided = np.ones((4, 4), dtype=np.float32)[:, ::2]
    with pytest.raises(pb_utils.TritonModelException, match=r"^DLPack tensor is not contiguous"):
        pb_utils.Tensor.from_dlpack("X", strided)


def test_byte_tensors_are_serialized_and_back() -> None:
    elements = np.array([b"ab", "é", b""], dtype=np.object_)
    encoded = pb_utils.serialize_byte_tensor(elements)
    assert encoded == b"\x02\0\0\0ab\x02\0\0\0\xc3\xa9\0\0\0\0"
    decoded = pb_utils.deserialize_bytes_tensor(encoded)
    assert decoded.dtype == np.object_
    assert decoded.tolist() == [b"ab", "é".encode(), b""]
    fixed = np.array([[b"x"], [b"yz"]], dtype="S2")
    assert pb_utils.serialize_byte_tensor(fixed) == b"\x01\0\0\0x\x02\0\0\0yz"


def test_serializing_nothing_and_numbers_is_as_in_triton() -> None:
    assert pb_utils.serialize_byte_tensor(np.array([], dtype=np.object_)) == ()
    assert pb_utils.serialize_byte_tensor(np.zeros(2)) is None


@pytest.mark.parametrize("encoded", [b"\x02\0\0\0a", b"\x02\0", b"\xff\xff\xff\xff"])
def test_cut_byte_tensors_are_refused(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="incomplete string"):
        pb_utils.deserialize_bytes_tensor(encoded)


def test_errors_have_codes() -> None:
    error = pb_utils.TritonError("text")
    assert (error.message(), error.code()) == ("text", pb_utils.TritonError.INTERNAL)
    names = ["UNKNOWN", "INTERNAL", "NOT_FOUND", "INVALID_ARG", "UNAVAILABLE", "UNSUPPORTED"]
    names += ["ALREADY_EXISTS", "CANCELLED"]
    assert [getattr(pb_utils.TritonError, name) for name in names] == list(range(8))
    with pytest.raises(pb_utils.TritonModelException):
        pb_utils.TritonError("text", 99)


def test_a_response_holds_tensors_or_an_error() -> None:
    tensor = pb_utils.Tensor("Y", np.zeros(1))
    response = pb_utils.InferenceResponse([tensor])
    assert (response.has_error(), response.error(), response.parameters()) == (False, None, "{}")
    assert pb_utils.get_output_tensor_by_name(response, "Y") is tensor
    assert pb_utils.get_output_tensor_by_name(response, "Z") is None
    failed = pb_utils.InferenceResponse(error=pb_utils.TritonError("no"))
    assert failed.has_error()
    assert failed.output_tensors() == []
    with pytest.raises(TypeError):
        pb_utils.InferenceResponse(["text"])  # type: ignore[list-item]


def test_response_parameters_have_simple_types() -> None:
    values: dict[str, bool | int | float | str] = {"s": "x", "i": -1, "b": False, "d": 0.5}
    response = pb_utils.InferenceResponse(parameters=values)
    assert json.loads(response.parameters()) == values
    with pytest.raises(pb_utils.TritonModelException, match="found type list"):
        pb_utils.InferenceResponse(parameters={"l": []})  # type: ignore[dict-item]


def test_a_request_made_by_a_model_says_what_it_was_given() -> None:
    tensor = pb_utils.Tensor("X", np.zeros(1))
    request = pb_utils.InferenceRequest(
        request_id="7",
        correlation_id="s",
        inputs=[tensor],
        requested_output_names=["Y"],
        model_name="other",
        flags=pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START,
        timeout=5,
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        trace=pb_utils.InferenceTrace(),
        parameters={"a": 1},
    )
    request.set_flags(pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END)
    assert (request.request_id(), request.correlation_id(), request.flags()) == ("7", "s", 2)
    assert (request.timeout(), request.parameters()) == (5, '{"a": 1}')
    assert request.requested_output_names() == ["Y"]
    assert pb_utils.get_input_tensor_by_name(request, "X") is request.inputs()[0] is tensor
    with pytest.raises(pb_utils.TritonModelException, match="response sender"):
        request.get_response_sender()


def a_request(**options: Any) -> pb_utils.InferenceRequest:
    options = {"inputs": [], "requested_output_names": [], "model_name": "m", **options}
    return pb_utils.InferenceRequest(**options)


def test_models_are_reached_from_a_server_only() -> None:
    refusal = r"^BLS is only supported during the 'execute' function\.$"
    with pytest.raises(pb_utils.TritonModelException, match=refusal):
        a_request().exec()
    with pytest.raises(RuntimeError, match="no running event loop"):
        a_request().async_exec(decoupled=True)
    with pytest.raises(pb_utils.TritonModelException, match=refusal):
        pb_utils.is_model_ready("m")


def test_a_request_is_released_for_good_or_rescheduled() -> None:
    request = a_request()
    request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_ALL)
    request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
    with pytest.raises(pb_utils.TritonModelException, match="unknown release flags 3"):
        request.set_release_flags(3)


@pytest.mark.parametrize("correlation_id", [0, 7, 2**64 - 1, "text"])
def test_correlation_ids_are_numbers_or_texts(correlation_id: int | str) -> None:
    request = a_request(correlation_id=correlation_id)
    assert request.correlation_id() == correlation_id


def test_correlation_ids_are_nothing_else() -> None:
    with pytest.raises(TypeError, match=r"^Correlation ID must be integer or string$"):
        a_request(correlation_id=1.5)


def test_constants_have_the_numbers_of_triton() -> None:
    assert pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START == 1
    assert pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END == 2
    assert pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL == 1
    assert pb_utils.TRITONSERVER_REQUEST_RELEASE_ALL == 1
    assert pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE == 2
    assert (pb_utils.TRITONSERVER_MEMORY_CPU, pb_utils.TRITONSERVER_MEMORY_GPU) == (0, 2)


def test_configuration_is_searched_by_name() -> None:
    config = {"input": [{"name": "X", "dims": [1]}], "output": [{"name": "Y", "dims": [2]}]}
    assert pb_utils.get_input_config_by_name(config, "X") == {"name": "X", "dims": [1]}
    assert pb_utils.get_output_config_by_name(config, "Y") == {"name": "Y", "dims": [2]}
    assert pb_utils.get_input_config_by_name(config, "Y") is None
    assert pb_utils.get_output_config_by_name({}, "Y") is None
