# SPDX-License-Identifier: Apache-2.0
"""Strategies for gRPC requests: messages that fit, that do not, and bytes that are no message."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from comparing.faults import Faults
from comparing.grpc_calls import GrpcRequest
from comparing.models import MODELS, Model
from comparing.tensors import MODEL_NAMES, Tensor, inputs_of

_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_VERSIONS = st.sampled_from(["", "", "", "", "1", "3", "2", "0", "x", "-1", "01", "9" * 20])
_PARAMETER = st.one_of(
    st.builds(lambda value: pb.InferParameter(bool_param=value), st.booleans()),
    st.builds(lambda value: pb.InferParameter(int64_param=value), st.integers(-2, 6)),
    st.builds(lambda value: pb.InferParameter(string_param=value), st.sampled_from(["", "x", "7"])),
    st.builds(lambda value: pb.InferParameter(double_param=value), st.sampled_from([0.0, 1.5])),
    st.builds(lambda value: pb.InferParameter(uint64_param=value), st.integers(0, 6)),
    st.just(pb.InferParameter()),
)
_REQUEST_PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "sequence_id",
            "sequence_start",
            "sequence_end",
            "priority",
            "timeout",
            "custom",
            "triton_x",
            "triton_enable_empty_final_response",
            "binary_data_output",
        ]
    ),
    _PARAMETER,
    max_size=2,
)
_TENSOR_PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "shared_memory_region",
            "shared_memory_byte_size",
            "shared_memory_offset",
            "classification",
            "binary_data",
            "custom",
        ]
    ),
    _PARAMETER,
    max_size=2,
)


def _fill(parameters: Any, values: dict[str, pb.InferParameter]) -> None:
    for name, value in values.items():
        parameters[name].CopyFrom(value)


def _value(parameter: pb.InferParameter) -> object:
    choice = parameter.WhichOneof("parameter_choice")
    return None if choice is None else getattr(parameter, choice)


def _typed(tensor: Tensor) -> pb.InferTensorContents | None:
    field = _CONTENTS.get(tensor.data_type)
    if field is None:
        return None
    values = tensor.values
    if tensor.data_type == "BYTES":
        values = [value.encode() for value in values]
    return pb.InferTensorContents(**{field: values})


@st.composite
def infer_message(draw: st.DrawFn, name: str, faults: Faults) -> pb.ModelInferRequest:
    """A ModelInferRequest for the model of this name, mostly right."""
    request = pb.ModelInferRequest(model_name=name)
    if draw(st.integers(0, 29)) == 0:
        request.model_name = draw(st.sampled_from(["", "unknown", "../pair"]))
    if draw(st.integers(0, 3)) == 0:
        request.model_version = draw(_VERSIONS)
    if draw(st.booleans()):
        request.id = draw(st.sampled_from(["1", "an id", "ü"]))
    tensors = draw(inputs_of(name, faults))
    is_typed = draw(st.booleans())
    for tensor in tensors:
        entry = request.inputs.add(name=tensor.name, datatype=tensor.data_type, shape=tensor.shape)
        contents = _typed(tensor) if is_typed else None
        if contents is not None:
            entry.contents.CopyFrom(contents)
        else:
            request.raw_input_contents.append(tensor.raw)
        if draw(st.integers(0, 24)) == 0:
            _fill(entry.parameters, draw(_TENSOR_PARAMETERS))
            faults.add_tensor_parameters(
                {key: _value(value) for key, value in entry.parameters.items()}
            )
    has_typed = any(entry.HasField("contents") for entry in request.inputs)
    faults.add(has_typed and len(request.raw_input_contents) > 0)
    _spoil(draw, request, faults)
    if draw(st.integers(0, 3)) == 0:
        _fill(request.parameters, draw(_REQUEST_PARAMETERS))
        for key, value in request.parameters.items():
            faults.add_parameter(key, _value(value))
            # Free ones take three of the six kinds of value.
            faults.add(value.WhichOneof("parameter_choice") in ("double_param", "uint64_param"))
    if draw(st.integers(0, 3)) == 0:
        _request_outputs(draw, request, faults, _output_names(MODELS[name], tensors))
    return request


def _spoil(draw: st.DrawFn, request: pb.ModelInferRequest, faults: Faults) -> None:
    """Break one thing, now and then."""
    raw = request.raw_input_contents
    what = draw(st.integers(0, 39))
    faults.add(what <= 7)
    match what:
        case 0 if raw:
            raw[0] = raw[0][:-1]
        case 1 if raw:
            raw[0] += b"more"
        case 2 if raw:
            del raw[-1]
        case 3:
            raw.append(b"1234")
        case 4 if request.inputs:
            request.inputs[0].datatype = draw(st.sampled_from(["", "FLOAT", "INT4", "fp32"]))
        case 5 if request.inputs:
            request.inputs[0].shape[:] = draw(
                st.sampled_from([[], [-1], [0], [2, 2], [-2, -2], [5]])
            )
        case 6 if request.inputs:
            request.inputs[0].contents.int_contents.append(1)
        case 7 if request.inputs:
            request.inputs[0].name = ""
        case _:
            pass


def _output_names(model: Model, tensors: list[Tensor]) -> list[str]:
    known = list(model.outputs)
    if model.is_optional:
        known = [f"OUT_{tensor.name[3:]}" for tensor in tensors if tensor.name.startswith("IN_")]
    return [*(known or ["OUT_FP32"])] * 6 + ["UNKNOWN"]


def _request_outputs(
    draw: st.DrawFn, request: pb.ModelInferRequest, faults: Faults, names: list[str]
) -> None:
    for output in draw(st.lists(st.sampled_from(names), max_size=3)):
        faults.add(output == "UNKNOWN", output in {each.name for each in request.outputs})
        entry = request.outputs.add(name=output)
        if draw(st.integers(0, 5)) == 0:
            _fill(entry.parameters, draw(_TENSOR_PARAMETERS))
            faults.add_tensor_parameters(
                {key: _value(value) for key, value in entry.parameters.items()}
            )


@st.composite
def payloads(draw: st.DrawFn, message: Any, faults: Faults | None = None) -> bytes:
    """The bytes of `message`, now and then cut off, extended or changed."""
    data = bytes(message.SerializeToString(deterministic=True))
    what = draw(st.integers(0, 39))
    if faults is not None:
        # Everything twice is more than one fault.
        faults.add(what in (0, 1, 3), what == 3)
    match what:
        case 0:
            return data[: draw(st.integers(0, len(data)))]
        case 1 if data:
            place = draw(st.integers(0, len(data) - 1))
            # Not by 0: a name that holds one is cut there, as C does.
            return data[:place] + bytes([draw(st.integers(1, 255))]) + data[place + 1 :]
        case 2:
            # A field of a later version of the protocol.
            return data + b"\xfa\x06\x01x"
        case 3:
            return data + data
        case _:
            return data


@st.composite
def inference(draw: st.DrawFn) -> GrpcRequest:
    """A ModelInfer call."""
    faults = Faults()
    message = draw(infer_message(draw(MODEL_NAMES), faults))
    return GrpcRequest("ModelInfer", (draw(payloads(message, faults)),), faults.count)


@st.composite
def streaming(draw: st.DrawFn) -> GrpcRequest:
    """A ModelStreamInfer call with a few requests to one model."""
    name = draw(st.sampled_from(["repeat", "repeat", "pair", "commands", "every_type", "text"]))
    faults = Faults()
    messages = draw(st.lists(infer_message(name, faults), min_size=1, max_size=2))
    for message in messages:
        # 2.51 takes an output that is named again, and would give more answers.
        outputs = {output.name: output for output in message.outputs}
        del message.outputs[:]
        message.outputs.extend(outputs.values())
    if draw(st.booleans()):
        for message in messages:
            message.parameters["triton_enable_empty_final_response"].bool_param = True
    data = tuple(m.SerializeToString() for m in messages)
    # Triton promises no order between a decoupled model's responses and refusals.
    return GrpcRequest("ModelStreamInfer", data, faults.count, is_ordered=name != "repeat")


_NAMES = st.one_of(MODEL_NAMES, st.sampled_from(["", "unknown", "../pair", "pair/", "swing2"]))


@st.composite
def reading(draw: st.DrawFn) -> GrpcRequest:
    """A call that changes nothing."""
    name, version = draw(_NAMES), draw(_VERSIONS)
    method, message = draw(
        st.sampled_from(
            [
                ("ServerLive", pb.ServerLiveRequest()),
                ("ServerReady", pb.ServerReadyRequest()),
                ("ServerMetadata", pb.ServerMetadataRequest()),
                ("ModelReady", pb.ModelReadyRequest(name=name, version=version)),
                ("ModelMetadata", pb.ModelMetadataRequest(name=name, version=version)),
                ("ModelConfig", pb.ModelConfigRequest(name=name, version=version)),
                ("ModelStatistics", pb.ModelStatisticsRequest(name=name, version=version)),
                ("RepositoryIndex", pb.RepositoryIndexRequest(ready=bool(version))),
                ("RepositoryIndex", pb.RepositoryIndexRequest(repository_name=name)),
                ("TraceSetting", pb.TraceSettingRequest(model_name=name)),
                ("LogSettings", pb.LogSettingsRequest()),
                ("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest(name=name)),
                ("CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest(name=name)),
                ("Unknown", pb.ServerLiveRequest()),
            ]
        )
    )
    return GrpcRequest(method, (draw(payloads(message)),))


_TRACE_VALUES = st.sampled_from([["OFF"], ["TIMESTAMPS"], ["TENSORS"], ["x"], ["1"], ["0"], ["-1"]])
_TRACE_NAMES = [
    "trace_level",
    "trace_rate",
    "trace_count",
    "log_frequency",
    "trace_mode",
    "unknown",
]


@st.composite
def trace_settings(draw: st.DrawFn) -> list[GrpcRequest]:
    """Trace settings: set, read, put back."""
    name = draw(st.sampled_from(["", "pair", "unknown"]))
    message = pb.TraceSettingRequest(model_name=name)
    values = st.one_of(_TRACE_VALUES, st.sampled_from([[], ["TIMESTAMPS", "TENSORS"]]))
    # One at a time: 2.51 takes what comes before a fault, in the order of a hash table.
    settings = st.dictionaries(st.sampled_from(_TRACE_NAMES), values, max_size=1)
    for key, value in draw(settings).items():
        message.settings[key].value.extend(value)
    reset = pb.TraceSettingRequest(model_name=name)
    for key in _TRACE_NAMES[:4]:
        reset.settings[key].CopyFrom(pb.TraceSettingRequest.SettingValue())
    read = pb.TraceSettingRequest(model_name=name)
    return [GrpcRequest("TraceSetting", (m.SerializeToString(),)) for m in (message, read, reset)]


@st.composite
def log_settings(draw: st.DrawFn) -> list[GrpcRequest]:
    """Log settings: set, read, put back."""
    message = pb.LogSettingsRequest()
    names = ["log_file", "log_info", "log_warning", "log_error", "log_verbose_level", "log_format"]
    value = pb.LogSettingsRequest.SettingValue
    values = st.sampled_from(
        [value(bool_param=False), value(bool_param=True), value(uint32_param=1), value()]
        + [value(string_param=text) for text in ("", "default", "ISO8601", "x")]
    )
    # One at a time: 2.51 applies what it looked at before it came to a fault.
    settings = st.dictionaries(st.sampled_from([*names, "unknown"]), values, max_size=1)
    for key, setting in draw(settings).items():
        message.settings[key].CopyFrom(setting)
    reset = pb.LogSettingsRequest()
    for key in names[1:4]:
        reset.settings[key].bool_param = True
    reset.settings["log_verbose_level"].uint32_param = 0
    reset.settings["log_format"].string_param = "default"
    read = pb.LogSettingsRequest()
    return [GrpcRequest("LogSettings", (m.SerializeToString(),)) for m in (message, read, reset)]


@st.composite
def repository(draw: st.DrawFn) -> list[GrpcRequest]:
    """Loads and unloads."""
    name = draw(st.sampled_from(["swing", "swing", "broken", "unknown", "", "../swing"]))
    back = pb.RepositoryModelLoadRequest(model_name="swing")
    if draw(st.integers(0, 2)) == 0:
        message = pb.RepositoryModelUnloadRequest(model_name=name)
        method = "RepositoryModelUnload"
    else:
        message = pb.RepositoryModelLoadRequest(model_name=name)
        method = "RepositoryModelLoad"
    parameter = pb.ModelRepositoryParameter
    values = st.sampled_from(
        [
            parameter(string_param=json.dumps({"backend": "python", "max_batch_size": 2})),
            parameter(string_param="x"),
            parameter(bool_param=True),
            parameter(int64_param=1),
            parameter(),
            parameter(bytes_param=b"xx"),
        ]
    )
    names = st.sampled_from(["config", "config", "unload_dependents", "file:1/model.py", "unknown"])
    faults = Faults()
    for key, value in draw(st.dictionaries(names, values, max_size=2)).items():
        message.parameters[key].CopyFrom(value)
        meant = {"config": "string_param", "file:1/model.py": "bytes_param"}.get(key)
        faults.add(meant is None or value.WhichOneof("parameter_choice") != meant)
    return [
        GrpcRequest(method, (draw(payloads(message)),), faults.count),
        GrpcRequest("RepositoryModelLoad", (back.SerializeToString(),)),
        GrpcRequest("ModelConfig", (pb.ModelConfigRequest(name="swing").SerializeToString(),)),
    ]


@st.composite
def shared_memory(draw: st.DrawFn, key: str) -> list[GrpcRequest]:
    """Registers a region of the segment `key`, uses it, lists it, and lets it go."""
    register = pb.SystemSharedMemoryRegisterRequest(
        name="r",
        key=draw(st.sampled_from([key, key, key, "/none_such", ""])),
        offset=draw(st.sampled_from([0, 0, 64, 2**40])),
        byte_size=draw(st.sampled_from([64, 32, 48, 0, 65, 2**40])),
    )
    infer = pb.ModelInferRequest(model_name="every_type")
    entry = infer.inputs.add(name="IN_INT32", datatype="INT32", shape=[2])
    output = infer.outputs.add(name="OUT_INT32")
    size = draw(st.sampled_from([8, 8, 4, 64]))
    places = [(entry.parameters, 0), (output.parameters, 32)][: draw(st.integers(1, 2))]
    faults = sum(offset + size > register.byte_size for _, offset in places)
    for parameters, offset in places:
        parameters["shared_memory_region"].string_param = "r"
        parameters["shared_memory_byte_size"].int64_param = size
        parameters["shared_memory_offset"].int64_param = offset
    status = pb.SystemSharedMemoryStatusRequest(name=draw(st.sampled_from(["", "r"])))
    everything = pb.SystemSharedMemoryUnregisterRequest()
    calls = [
        ("SystemSharedMemoryRegister", register),
        ("SystemSharedMemoryStatus", status),
        ("ModelInfer", infer),
        ("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(name="r")),
        ("SystemSharedMemoryUnregister", everything),
    ]
    return [
        GrpcRequest(method, (m.SerializeToString(),), faults if m is infer else 0)
        for method, m in calls
    ]
