# SPDX-License-Identifier: Apache-2.0
"""Strategies for HTTP requests, route by route."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from comparing.documents import ODD_VALUES, texts
from comparing.faults import Faults
from comparing.http_exchange import HttpRequest
from comparing.models import MODELS
from comparing.tensors import MODEL_NAMES, Tensor, inputs_of

HEADER_LENGTH = "Inference-Header-Content-Length"
_JSON_LESS = ("FP16", "BF16")
_ENCODERS = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}

# Parameters of a request: known ones with good and bad values, and free ones.
_PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "sequence_id",
            "sequence_start",
            "sequence_end",
            "priority",
            "timeout",
            "custom",
            "other",
            "binary_data_output",
            "triton_x",
            "headers",
        ]
    ),
    st.one_of(st.integers(0, 5), st.booleans(), st.sampled_from(["x", "7", 1.5]), ODD_VALUES),
    max_size=2,
)
_IDS = st.sampled_from(["", "1", "an id", "ü", "x" * 40])
_SHM = {"shared_memory_region": "nothing", "shared_memory_byte_size": 4}


@st.composite
def paths(draw: st.DrawFn, name: str) -> str:
    """The path of a model, sometimes with a version, sometimes spelt in another way."""
    spelling = draw(st.integers(0, 19))
    if spelling == 0:
        name = "unknown"
    encoded = quote(name, safe="")
    if spelling == 1:
        encoded = "".join(f"%{byte:02{draw(st.sampled_from('xX'))}}" for byte in name.encode())
    version = draw(st.integers(0, 11))
    if version > 3:
        return f"/v2/models/{encoded}"
    text = draw(st.sampled_from(["1", "1", "3", "2", "0", "01", "x", "-1", "99999999999999999999"]))
    return f"/v2/models/{encoded}/versions/{text}"


@st.composite
def _requested_outputs(
    draw: st.DrawFn, name: str, tensors: list[Tensor], faults: Faults
) -> list[Any]:
    model = MODELS[name]
    known = list(model.outputs)
    if model.is_optional:
        known = [f"OUT_{tensor.name[3:]}" for tensor in tensors if tensor.name.startswith("IN_")]
    names = draw(
        st.lists(st.sampled_from([*(known or ["OUT_FP32"])] * 6 + ["UNKNOWN"]), max_size=3)
    )
    faults.add(*(each == "UNKNOWN" for each in names))
    faults.add(*(each in names[:place] for place, each in enumerate(names)))
    outputs = []
    for each in names:
        output: dict[str, Any] = {"name": each}
        parameters = draw(
            st.sampled_from(
                [
                    {},
                    {},
                    {"binary_data": True},
                    {"binary_data": False},
                    {"classification": 2},
                    {"classification": 1, "binary_data": True},
                    {"classification": 0},
                    dict(_SHM),
                ]
            )
        )
        faults.add("shared_memory_region" in parameters, parameters.get("classification") == 0)
        if parameters:
            output["parameters"] = parameters
        outputs.append(output)
    return outputs


@st.composite
def _documents(draw: st.DrawFn, name: str, faults: Faults) -> tuple[dict[str, Any], list[bytes]]:
    """The JSON of a request and the binary tensors that go behind it."""
    tensors = draw(inputs_of(name, faults))
    entries, data = [], []
    for tensor in tensors:
        entry = {"name": tensor.name, "datatype": tensor.data_type, "shape": list(tensor.shape)}
        is_binary = draw(st.integers(0, 3)) == 0
        if is_binary or (tensor.data_type in _JSON_LESS and draw(st.integers(0, 9))):
            entry["parameters"] = {"binary_data_size": len(tensor.raw)}
            data.append(tensor.raw)
        elif faults.strikes(draw, 40):
            entry["parameters"] = dict(_SHM)
        else:
            entry["data"] = tensor.nested() if draw(st.booleans()) else tensor.values
            faults.add(tensor.data_type in _JSON_LESS)
        entries.append(entry)
    document: dict[str, Any] = {"inputs": entries}
    if draw(st.booleans()):
        document["id"] = draw(_IDS)
    if draw(st.integers(0, 2)) == 0:
        document["parameters"] = draw(_PARAMETERS)
        for key, value in document["parameters"].items():
            faults.add_parameter(key, value)
    if draw(st.integers(0, 2)) == 0:
        document["outputs"] = draw(_requested_outputs(name, tensors, faults))
    if draw(st.integers(0, 7)) == 0:
        document.setdefault("parameters", {})["binary_data_output"] = True
    return document, data


@st.composite
def inference(draw: st.DrawFn) -> HttpRequest:
    """A request for inference: JSON with or without binary tensors behind it."""
    name = draw(MODEL_NAMES)
    faults = Faults()
    document, data = draw(_documents(name, faults))
    head = draw(texts(document, faults))
    headers = []
    if data or draw(st.integers(0, 9)) == 0:
        length = str(len(head))
        if faults.strikes(draw, 20):
            length = draw(
                st.sampled_from(["0", "-1", "x", "", "5", f"{len(head) - 1}", "99999999", "1e3"])
            )
        headers.append((HEADER_LENGTH, length))
    body = head + b"".join(data)
    if data and faults.strikes(draw, 15):
        body = body[: -draw(st.integers(1, 5))] if draw(st.booleans()) else body + b"more"
    request = draw(_sent("POST", draw(paths(name)) + "/infer", headers, body))
    return replace(request, faults=faults.count)


@st.composite
def raw_inference(draw: st.DrawFn) -> HttpRequest:
    """A body that is one tensor and nothing else."""
    name = draw(st.sampled_from(["matrix-v1.5", "pair", "text", "every_type"]))
    size = draw(st.sampled_from([0, 1, 4, 8, 16, 24, 32]))
    path = draw(paths(name)) + "/infer"
    return HttpRequest("POST", path, ((HEADER_LENGTH, "0"),), b"\x3f" * size)


@st.composite
def _sent(
    draw: st.DrawFn, method: str, path: str, headers: list[tuple[str, str]], body: bytes
) -> HttpRequest:
    """The request with what may stand in any head: encodings, content types, chunks."""
    what = draw(st.integers(0, 29))
    if what < 3:
        encoding = draw(st.sampled_from(["gzip", "deflate", "identity", "br", "GZIP", ""]))
        encode = _ENCODERS.get(encoding.lower(), bytes)
        headers.append(("Content-Encoding", encoding))
        body = encode(body)
        if draw(st.integers(0, 9)) == 0:
            body = body[:-3]
    if what in (3, 4, 5):
        accepted = ["gzip", "deflate", "*", "br", "gzip;q=0.5, deflate", "identity", "gzip;q=0"]
        headers.append(("Accept-Encoding", draw(st.sampled_from(accepted))))
    if what == 6:
        kinds = ["application/json", "application/octet-stream", "text/plain"]
        headers.append(("Content-Type", draw(st.sampled_from(kinds))))
    if what == 7:
        method = draw(st.sampled_from(["GET", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]))
    return HttpRequest(method, path, tuple(headers), body, is_chunked=what == 8)


_GENERATE_VALUES = st.one_of(
    st.sampled_from(["text", "", "ü", 1, -1, 1.5, True, None, [], {}, {"a": 1}, {"a": {"b": 2}}]),
    st.lists(st.sampled_from([1, 2, 1.5, True, "x"]), min_size=1, max_size=3),
)
_GENERATE_INPUTS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "text": st.fixed_dictionaries({"text_input": st.sampled_from(["hello", "", "ü", ["x"]])}),
    "numbers": st.fixed_dictionaries(
        {
            "a": st.one_of(st.just(1.5), st.lists(st.sampled_from([0.5, 2.0]), max_size=4)),
            "b": st.lists(st.integers(-5, 5), min_size=2, max_size=2),
            "c": st.booleans(),
        }
    ),
    "repeat": st.fixed_dictionaries({"COUNT": st.integers(-1, 4)}),
    "commands": st.fixed_dictionaries(
        {"COMMAND": st.sampled_from(["echo", "nothing", "NOT_FOUND", "UNAVAILABLE"])}
    ),
    "pair": st.fixed_dictionaries(
        {
            "INPUT0": st.lists(st.just(1.0), min_size=4, max_size=4),
            "INPUT1": st.lists(st.integers(0, 9), min_size=1, max_size=3),
        }
    ),
}


@st.composite
def generation(draw: st.DrawFn) -> HttpRequest:
    """A request to one of the generate routes."""
    name = draw(st.sampled_from(list(_GENERATE_INPUTS)))
    document = draw(_GENERATE_INPUTS[name])
    names = st.sampled_from(["id", "parameters", "temperature", "stop", "extra", "priority"])
    faults = Faults()
    extra = draw(st.dictionaries(names, _GENERATE_VALUES, max_size=2))
    for key, value in extra.items():
        faults.add_parameter(key, value)
    document.update(extra)
    if draw(st.booleans()):
        document["id"] = "7"
    path = draw(paths(name)) + draw(st.sampled_from(["/generate", "/generate_stream"]))
    request = draw(_sent("POST", path, [], draw(texts(document, faults))))
    return replace(request, faults=faults.count)


_FIXED_PATHS = [
    *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/stats", "/v2/repository/index"),
    *("/v2/trace/setting", "/v2/logging", "/v2/systemsharedmemory/status"),
    *("/v2/cudasharedmemory/status", "/v2/systemsharedmemory/region/none/status"),
    *("/v2/cudasharedmemory/region/none/status", "/v2/repository/any/index"),
    *("/v2/models", "/", "", "/v2/", "/v2/health", "/v3", "/v2//health/live", "/metrics"),
    *("/v2/models/pair/", "/v2/models//ready", "/v2/models/pair/versions//ready", "/v2/models/a/b"),
    *(
        "/v2/repository/models/pair",
        "/v2/systemsharedmemory",
        "/v2/health/live/",
        "/V2/health/live",
    ),
    *("/v2/models/pair/versions/1/trace/setting", "/v2/models/unknown/trace/setting"),
    *("/v2/health/live?x=1", "/v2?", "/v2/models/pair%2Fready", "/v2/%68ealth/live"),
]
_ACTIONS = [
    "",
    "/ready",
    "/config",
    "/stats",
    "/trace/setting",
    "/infer",
    "/generate",
    "/other",
    "/",
]


@st.composite
def reading(draw: st.DrawFn) -> HttpRequest:
    """A request that changes nothing: any path with any verb and little in the body."""
    path = draw(st.sampled_from(_FIXED_PATHS))
    if draw(st.booleans()):
        path = draw(paths(draw(MODEL_NAMES))) + draw(st.sampled_from(_ACTIONS))
    is_index = path.endswith("/index")
    method = "POST" if is_index else "GET"
    if draw(st.integers(0, 9)) == 0:
        verbs = ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]
        method = draw(st.sampled_from([*verbs, "POST"] if not _changes(path) else verbs))
    body = b""
    if method == "POST":
        body = draw(st.sampled_from([b"", b"{}", b'{"ready":true}', b'{"ready":1}', b"[]", b"x"]))
    if is_index and draw(st.booleans()):
        body = draw(texts({"ready": True}, Faults()))
    accepted = draw(st.sampled_from([(), (), (), (("Accept-Encoding", "gzip"),)]))
    return HttpRequest(method, path, accepted, body)


def _changes(path: str) -> bool:
    return "setting" in path or "logging" in path


# Settings: what is set, then what is read, then what puts everything back.
_TRACE_DOCUMENTS = st.dictionaries(
    st.sampled_from(
        ["trace_level", "trace_rate", "trace_count", "log_frequency", "trace_mode", "unknown"]
    ),
    st.one_of(
        st.sampled_from([["OFF"], ["TIMESTAMPS"], ["TENSORS"], ["TIMESTAMPS", "TENSORS"], ["x"]]),
        st.sampled_from(["1", "0", "-1", "x", 1, None, "1000", "99999999999999999999"]),
        ODD_VALUES,
    ),
    max_size=2,
)
_TRACE_RESET = json.dumps(
    {name: None for name in ("trace_level", "trace_rate", "trace_count", "log_frequency")}
).encode()
# One at a time: 2.51 applies what it looked at before it came to a fault.
_LOG_DOCUMENTS = st.dictionaries(
    st.sampled_from(
        [
            "log_file",
            "log_info",
            "log_warning",
            "log_error",
            "log_verbose_level",
            "log_format",
            "unknown",
        ]
    ),
    st.one_of(st.booleans(), st.sampled_from([0, 1, "ISO8601", "default", "", -1]), ODD_VALUES),
    max_size=1,
)
_LOG_RESET = json.dumps(
    {"log_info": True, "log_warning": True, "log_error": True, "log_verbose_level": 0}
    | {"log_format": "default"}
).encode()


@st.composite
def trace_settings(draw: st.DrawFn) -> list[HttpRequest]:
    """Trace settings of the server or of a model."""
    path = draw(st.sampled_from(["/v2/trace/setting", "/v2/models/pair/trace/setting"]))
    document, faults = draw(_TRACE_DOCUMENTS), Faults()
    body = draw(texts(document, faults))
    # Each setting may be a fault of its own.
    faults.count += len(document)
    return [
        HttpRequest("POST", path, body=body, faults=faults.count),
        HttpRequest("GET", path),
        HttpRequest("POST", path, body=_TRACE_RESET),
    ]


@st.composite
def log_settings(draw: st.DrawFn) -> list[HttpRequest]:
    """Log settings."""
    path = "/v2/logging"
    return [
        HttpRequest("POST", path, body=draw(texts(draw(_LOG_DOCUMENTS), Faults()))),
        HttpRequest("GET", path),
        HttpRequest("POST", path, body=_LOG_RESET),
    ]


_OVERRIDES = st.sampled_from(
    [
        '{"max_batch_size":2}',
        '{"backend":"python","max_batch_size":3,"input":[{"name":"INPUT0","data_type":"TYPE_INT32",'
        '"dims":[-1]}],"output":[{"name":"OUTPUT0","data_type":"TYPE_INT32","dims":[-1]}]}',
        *("{}", "[]", "", "x", '{"unknown":1}', '{"max_batch_size":-1}'),
    ]
)
_LOAD_DOCUMENTS = st.one_of(
    st.just({}),
    st.builds(lambda text: {"parameters": {"config": text}}, _OVERRIDES),
    st.sampled_from([{"parameters": {"config": 5}}, {"parameters": {"unknown": "x"}}]),
    st.sampled_from([{"parameters": {"unload_dependents": True}}, {"parameters": []}]),
    st.sampled_from([{"parameters": {"file:1/model.py": "eHh4"}}]),
)


@st.composite
def repository(draw: st.DrawFn) -> list[HttpRequest]:
    """Loads and unloads, and what is seen of them."""
    name = draw(st.sampled_from(["swing", "swing", "swing", "broken", "unknown", "..%2Fswing"]))
    action = draw(st.sampled_from(["load", "load", "unload"]))
    faults = Faults()
    body = draw(texts(draw(_LOAD_DOCUMENTS), faults))
    path = f"/v2/repository/models/{name}"
    requests = [HttpRequest("POST", f"{path}/{action}", body=body, faults=faults.count)]
    if name == "swing" and action == "load":
        requests.append(HttpRequest("GET", "/v2/models/swing"))
        requests.append(HttpRequest("GET", "/v2/models/swing/config"))
    # Leaves every conversation with the same models.
    requests.append(HttpRequest("POST", "/v2/repository/models/swing/load"))
    return requests


_REGION = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["{key}", "{key}", "{key}", "/none_such", "", "/", "//"]),
        "offset": st.sampled_from([0, 0, 64, 65, -1, 2**31]),
        "byte_size": st.sampled_from([64, 32, 48, 1, 0, 65, -1, 2**31]),
    }
)


@st.composite
def shared_memory(draw: st.DrawFn, key: str) -> list[HttpRequest]:
    """Registers a region of the segment `key`, uses it, lists it, and lets it go."""
    document = draw(_REGION)
    document["key"] = document["key"].replace("{key}", key)
    root = "/v2/systemsharedmemory"
    offset = draw(st.sampled_from([0, 0, 8, 60, 64, 2**31]))
    size = draw(st.sampled_from([8, 8, 4, 16, 64, 0]))
    region: dict[str, Any] = {"shared_memory_region": "r", "shared_memory_byte_size": size}
    if offset or draw(st.booleans()):
        region["shared_memory_offset"] = offset
    entry = {"name": "IN_INT32", "datatype": "INT32", "shape": [2], "parameters": region}
    output: dict[str, Any] = {"name": "OUT_INT32"}
    if draw(st.booleans()):
        output["parameters"] = {**region, "shared_memory_offset": 32}
    infer = {"inputs": [entry], "outputs": [output]}
    faults = Faults()
    body = draw(texts(document, faults))
    return [
        HttpRequest("POST", f"{root}/region/r/register", body=body, faults=faults.count),
        HttpRequest("GET", draw(st.sampled_from([f"{root}/status", f"{root}/region/r/status"]))),
        HttpRequest("POST", "/v2/models/every_type/infer", body=json.dumps(infer).encode()),
        HttpRequest("POST", draw(st.sampled_from([f"{root}/region/r/unregister"] * 2))),
        HttpRequest("POST", f"{root}/unregister"),
        HttpRequest("GET", f"{root}/status"),
    ]
