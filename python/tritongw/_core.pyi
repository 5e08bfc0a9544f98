# SPDX-License-Identifier: Apache-2.0
"""The Rust core of tritongw; import what you need from ``tritongw`` instead."""

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, final, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray
from typing_extensions import Buffer, CapsuleType

from tritongw.testing._exchange import ModelRequest
from tritongw.testing._fakes import FakeModels

def main(argv: Sequence[str]) -> int:
    """Run a command line and return the exit status of the process."""

def worker_main() -> None:
    """Do what the server that started this process wants done; return when it wants no more."""

@final
class Inbox:
    """Where the event loop of a model gets its batches from."""

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the loop is called."""

    def take(self) -> Execution | None:
        """Return the next batch, or ``None`` if there is none now."""

    def is_stopped(self) -> bool:
        """Return whether no further batch will come."""

    def prepare_sleep(self) -> bool:
        """Say that the loop looks again only when it is called; ``False`` if it has to at once."""

    def note_call(self) -> None:
        """Take note of a call."""

    def flush(self) -> None:
        """See that the server notices what was sent."""

@final
class Execution:
    """A batch under way in an event loop; letting it go ends it with an error."""

    def take_requests(self) -> list[InferenceRequest]:
        """Return the requests, once."""

    def send_part(self, part: object) -> bool:
        """Send what an asynchronous generator has yielded.

        ``False``: call ``wait_for_room`` before the next part.
        """

    def end_parts(self) -> None:
        """Say that an asynchronous generator has ended."""

    def wait_for_room(self) -> None:
        """Block while a client reads more slowly than the model answers."""

    def finish(self, returned: object) -> None:
        """Send what ``execute`` returned."""

    def fail(self, error: BaseException) -> None:
        """Answer what is open with what ``execute`` raised; nothing if it has ended before."""

class TritonModelException(Exception):
    """Raised by ``pb_utils`` when it is used in a way it does not allow."""

@final
class TritonError:
    """An error with which a model answers a request."""

    UNKNOWN: Final[int]
    INTERNAL: Final[int]
    NOT_FOUND: Final[int]
    INVALID_ARG: Final[int]
    UNAVAILABLE: Final[int]
    UNSUPPORTED: Final[int]
    ALREADY_EXISTS: Final[int]
    CANCELLED: Final[int]

    def __new__(cls, message: str, code: int = ...) -> TritonError: ...
    def code(self) -> int:
        """Return the code."""

    def message(self) -> str:
        """Return the message."""

@final
class Tensor:
    """A named tensor: an input of a request, or an output that a model makes from an array."""

    def __new__(cls, name: str, numpy_array: NDArray[Any]) -> Tensor: ...
    def name(self) -> str:
        """Return the name."""

    def triton_dtype(self) -> int:
        """Return the number of the data type, as ``triton_to_numpy_type`` takes it."""

    def shape(self) -> list[int]:
        """Return the shape."""

    def is_cpu(self) -> bool:
        """Return whether the data lies in host memory."""

    def as_numpy(self) -> NDArray[Any]:
        """Return the data as an array.

        For an input a writable view of the request's memory, valid as long as it is referred to; a
        ``BYTES`` tensor gives an array of ``bytes`` objects.
        """

    def to_dlpack(self) -> CapsuleType:
        """Return the data as a DLPack capsule."""

    @staticmethod
    def from_dlpack(name: str, tensor: object) -> Tensor:
        """Make a tensor over the memory of a DLPack capsule, or of an object that gives one."""

    def __dlpack__(
        self,
        *,
        stream: object | None = None,
        max_version: object | None = None,
        dl_device: object | None = None,
        copy: bool | None = None,
    ) -> CapsuleType:
        """Return the data as a DLPack capsule; only host memory is given, in unversioned form."""

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return device type and id of the memory."""

@final
class PreferredMemory:
    """Where a model would like outputs of another model to lie."""

    def __new__(
        cls, preferred_memory_type: int, preferred_device_id: int = 0
    ) -> PreferredMemory: ...

@final
class InferenceTrace:
    """The trace that a request belongs to."""

    def __new__(cls) -> InferenceTrace: ...
    def get_context(self) -> str | None:
        """Return the context of the trace as JSON, or ``None`` if the request is not traced."""

@final
class InferenceRequest:
    """A request: from the server to a model, or made by a model for another one."""

    def __new__(
        cls,
        request_id: str = ...,
        correlation_id: int | str | None = None,
        inputs: Sequence[Tensor] | None = None,
        requested_output_names: Sequence[str] | None = None,
        model_name: str | None = None,
        model_version: int = ...,
        flags: int = 0,
        timeout: int = 0,
        preferred_memory: PreferredMemory | None = None,
        trace: InferenceTrace | None = None,
        parameters: dict[str, bool | int | float | str] | None = None,
        priority: int = 0,
    ) -> InferenceRequest: ...
    def inputs(self) -> list[Tensor]:
        """Return the inputs."""

    def request_id(self) -> str:
        """Return the id, empty if there is none."""

    def correlation_id(self) -> int | str:
        """Return the id of the sequence: an ``int`` or a ``str``."""

    def flags(self) -> int:
        """Return the place in the sequence."""

    def set_flags(self, flags: int) -> None:
        """Set the place in the sequence."""

    def timeout(self) -> int:
        """Return the timeout in microseconds, 0 for none."""

    def priority(self) -> int:
        """Return the priority level, 0 for the model's default; not in Triton."""

    def parameters(self) -> str:
        """Return the parameters as a JSON object."""

    def trace(self) -> InferenceTrace:
        """Return the trace."""

    def requested_output_names(self) -> list[str]:
        """Return the names of the outputs that are asked for."""

    def get_response_sender(self) -> InferenceResponseSender:
        """Return what sends responses to this request by hand."""

    def is_cancelled(self) -> bool:
        """Return whether the client has given the request up."""

    def set_release_flags(self, flags: int) -> None:
        """Say how the request is released; rescheduling is for iterative sequences."""

    @overload
    def exec(self, decoupled: Literal[False] = False) -> InferenceResponse: ...
    @overload
    def exec(self, decoupled: Literal[True]) -> ResponseIterator: ...
    @overload
    def async_exec(self, decoupled: Literal[False] = False) -> Future[InferenceResponse]: ...
    @overload
    def async_exec(self, decoupled: Literal[True]) -> Future[ResponseIterator]: ...

@final
class InferenceResponse:
    """A model's answer to one request: tensors, or an error."""

    def __new__(
        cls,
        output_tensors: Sequence[Tensor] | None = None,
        error: TritonError | None = None,
        parameters: dict[str, bool | int | float | str] | None = None,
    ) -> InferenceResponse: ...
    def output_tensors(self) -> list[Tensor]:
        """Return the outputs."""

    def has_error(self) -> bool:
        """Return whether this is an error."""

    def error(self) -> TritonError | None:
        """Return the error, or ``None``."""

    def parameters(self) -> str:
        """Return the parameters as a JSON object."""

@final
class ResponseIterator:
    """The responses of a call with ``decoupled=True``.

    Once all have come, they can be iterated over again.
    """

    def __iter__(self) -> ResponseIterator:
        """Return the iterator itself; from the first response again if all have come."""

    def __next__(self) -> InferenceResponse:
        """Return the next response, waiting for it."""

    def __aiter__(self) -> ResponseIterator:
        """Return the iterator itself, for ``async for``."""

    def __anext__(self) -> Future[InferenceResponse]:
        """Return a future of the next response."""

    def cancel(self) -> None:
        """Give the call up: the model learns of it, and answers no more if it looks."""

@final
class InferenceResponseSender:
    """Sends responses to one request, from any thread, also after ``execute`` has returned."""

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        """Send a response, or with ``None`` only the flags."""

    def is_cancelled(self) -> bool:
        """Return whether the client has given the request up."""

@final
class MetricFamily:
    """Metrics of one name, told by the server's metrics port. Letting it go ends its metrics."""

    COUNTER: Final[int]
    GAUGE: Final[int]
    HISTOGRAM: Final[int]

    def __new__(cls, name: str, description: str, kind: int) -> MetricFamily: ...
    def Metric(
        self, labels: dict[str, str] | None = None, buckets: Sequence[float] | None = None
    ) -> Metric:
        """Return the metric with these labels; ``buckets`` are the upper bounds of a histogram."""

@final
class Metric:
    """One metric of a family: the same for everybody who asks for the same labels."""

    def increment(self, value: float) -> None:
        """Add to a counter or a gauge."""

    def set(self, value: float) -> None:
        """Set a gauge."""

    def observe(self, value: float) -> None:
        """Count a value in a histogram."""

    def value(self) -> float:
        """Return the value of a counter or a gauge."""

@final
class Logger:
    """Writes lines to the server's log, with the caller's file and line."""

    INFO: Final[int]
    WARNING: Final[int]
    ERROR: Final[int]
    VERBOSE: Final[int]

    @staticmethod
    def log(message: str, level: int = ...) -> None:
        """Write a line at a level."""

    @staticmethod
    def log_info(message: str) -> None:
        """Write a line of information."""

    @staticmethod
    def log_warn(message: str) -> None:
        """Write a warning."""

    @staticmethod
    def log_error(message: str) -> None:
        """Write an error."""

    @staticmethod
    def log_verbose(message: str) -> None:
        """Write a line that shows only if the server is told to be verbose."""

@final
class StandaloneModel:
    """A loaded model that executes in the caller's thread, without a server."""

    def __new__(
        cls,
        execute: Callable[[list[Any]], Any],
        instance_name: str,
        is_decoupled: bool,
        outputs: Sequence[str],
        is_yielding: bool,
        models: FakeModels,
    ) -> StandaloneModel: ...
    def execute(self, requests: Sequence[ModelRequest]) -> StandaloneBatch:
        """Execute requests as one batch; what failed is among their responses."""

@final
class StandaloneBatch:
    """The responses to the requests of one batch."""

    def wait(self, seconds: float) -> bool:
        """Wait until every request has its last response; return whether all have."""

    def responses(self, index: int) -> list[tuple[InferenceResponse | None, int]]:
        """Take the responses to the request at ``index``; ``None`` is flags alone."""

def read_model_config(name: str, source: str, text: str, completion: str | None = None) -> str:
    """Return the complete configuration of a Python model, as JSON.

    ``source`` is a file's name for messages; if that ends in ``.pbtxt`` the text is in protobuf's
    text format, else it is JSON. ``completion`` is what ``auto_complete_config`` gave.
    """

def get_input_tensor_by_name(inference_request: InferenceRequest, name: str) -> Tensor | None:
    """Return the input of that name, or ``None``."""

def get_output_tensor_by_name(inference_response: InferenceResponse, name: str) -> Tensor | None:
    """Return the output of that name, or ``None``."""

def load_model(model_name: str, config: str = "", files: dict[str, bytes] | None = None) -> None:
    """Load a model, or load it again, and wait until it serves.

    Only where the server's models are controlled explicitly. ``files`` maps names such as
    ``file:1/model.py`` to contents, and needs a ``config``.
    """

def unload_model(model_name: str, unload_dependents: bool = False) -> None:
    """Take a model out of service; what it has begun is still answered.

    Only where the server's models are controlled explicitly.
    """

def is_model_ready(model_name: str, model_version: str = "") -> bool:
    """Return whether a model could execute now."""

def log_line(level: int, file: str, line: int, message: str, has_traceback: bool) -> None:
    """Write a record of Python's ``logging`` to the server's log; nothing outside of a server."""

def log_failure(what: str, error: object) -> None:
    """Write what failed and the traceback of an exception to the server's log.

    Nothing outside of a server.
    """

def triton_to_numpy_type(data_type: int) -> type[np.generic] | None:
    """Return the NumPy scalar type of the data type with this number, or ``None``."""

def numpy_to_triton_type(data_type: DTypeLike) -> int | None:
    """Return the number of the data type that a NumPy scalar type or dtype stands for."""

def serialize_byte_tensor(input_tensor: NDArray[Any]) -> bytes | tuple[()] | None:
    """Serialize an array of ``bytes`` or ``str`` objects: each after its length in four bytes.

    Like Triton's, gives an empty tuple for an array without elements and ``None`` for an array of
    another type.
    """

def deserialize_bytes_tensor(encoded_tensor: Buffer) -> NDArray[np.object_]:
    """Return the elements of a serialized tensor as a one-dimensional array of ``bytes``."""
