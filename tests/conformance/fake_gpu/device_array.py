# SPDX-License-Identifier: Apache-2.0
"""Arrays in GPU memory through CUDA's driver alone, for models that have no framework."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

KIND_CUDA = 2


class _DlTensorStart(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
    )


class _Host(np.ndarray):
    """An array that keeps another object alive."""

    kept: DeviceArray


class Allocation:
    """Memory of a GPU.

    Attributes
    ----------
    library : str
        The driver.
    """

    library = "libcuda.so.1"

    def __init__(self, byte_size: int, gpu: int = 0) -> None:
        self.byte_size = byte_size
        self.address = ctypes.c_uint64()
        self._context = ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), gpu)
        size = ctypes.c_size_t(byte_size)
        self._call_on_gpu("cuMemAlloc_v2", ctypes.byref(self.address), size)

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(ctypes.CDLL(self.library), function)(*arguments)
        if status != 0:
            message = f"{function} failed with error {status}"
            raise RuntimeError(message)

    def _call_on_gpu(self, function: str, *arguments: Any) -> None:
        self._call("cuCtxPushCurrent_v2", self._context)
        try:
            self._call(function, *arguments)
        finally:
            self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def write(self, data: bytes) -> None:
        """Write to its beginning."""
        self._call_on_gpu("cuMemcpyHtoD_v2", self.address, data, ctypes.c_size_t(len(data)))

    def read(self) -> bytes:
        """Return what it holds."""
        target = ctypes.create_string_buffer(self.byte_size)
        self._call_on_gpu("cuMemcpyDtoH_v2", target, self.address, ctypes.c_size_t(self.byte_size))
        return target.raw

    def handle(self) -> bytes:
        """Return the handle by which another process opens it."""
        handle = ctypes.create_string_buffer(64)
        self._call_on_gpu("cuIpcGetMemHandle", handle, self.address)
        return handle.raw

    def free(self) -> None:
        """Give it back."""
        self._call_on_gpu("cuMemFree_v2", self.address)


class DeviceArray:
    """A copy of an array on a GPU, which it gives to others by DLPack.

    Attributes
    ----------
    count : int
        How many are alive.
    streams : list[int or None]
        For which streams it was asked for.
    """

    count = 0

    def __init__(self, array: np.ndarray, gpu: int = 0) -> None:
        self._array = np.ascontiguousarray(array)
        self._gpu = gpu
        self.streams: list[int | None] = []
        self._allocation = Allocation(self._array.nbytes, gpu)
        self._allocation.write(self._array.tobytes())
        DeviceArray.count += 1

    def __del__(self) -> None:
        self._allocation.free()
        DeviceArray.count -= 1

    def __dlpack_device__(self) -> tuple[int, int]:
        return KIND_CUDA, self._gpu

    def __dlpack__(self, *, stream: int | None = None) -> object:
        self.streams.append(stream)
        host = self._array.view(_Host)
        host.kept = self
        capsule = host.__dlpack__()
        place = address_in(capsule)
        place.data = self._allocation.address.value
        place.device_type, place.device_id = self.__dlpack_device__()
        return capsule


def address_in(capsule: object) -> _DlTensorStart:
    """Return where the data of a DLPack capsule lies."""
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    return _DlTensorStart.from_address(get_pointer(capsule, b"dltensor"))
