# SPDX-License-Identifier: Apache-2.0
"""Memory of a GPU that clients share (P021-P023, P085, P090-P095, P128).

Held here against a stand-in for NVIDIA's driver; ``tests/gpu`` asks the same of a real one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import repository
from support.gpus import LIBRARIES, SOURCES, build_driver, environment_with_gpus
from support.grpc_door import GrpcDoor
from support.servers import Server
from support.shared_memory import GrpcShm, GrpcStreamShm, HttpShm, SharedObject, at, fp32
from tritongw_server import TritongwServer

sys.path.append(str(SOURCES))

from device_array import Allocation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import ServerStarter

    Door = HttpShm | GrpcShm

pytestmark = pytest.mark.ours("Triton's CUDA runtime takes no stand-in for the driver")

GPUS = "9.0,8.0"
VALUES = fp32(1, 2, 3, 4)
INVALID = "failed to register CUDA shared memory region 'c': invalid args"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def shm_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory, driver: Path
) -> Iterator[Server]:
    """A server with two GPUs whose memory clients may share."""
    models = {name: repository.MODELS[name] for name in ("echo_fp32", "echo_bytes")}
    directory = repository.write_models(tmp_path_factory.mktemp("models"), models)
    environment = environment_with_gpus(driver, GPUS)
    log = starter.log_directory / "cuda_shared_memory.log"
    options = ["--allow-client-shm=true"]
    with TritongwServer(directory, log, options, environment=environment) as process:
        yield Server(process, is_oracle=False)


@pytest.fixture(params=["http", "grpc", "stream"])
def door(shm_server: Server, request: pytest.FixtureRequest) -> Iterator[Door]:
    """One of the doors; regions that a test leaves are unregistered."""
    grpc_door = GrpcDoor(shm_server.grpc_address)
    doors: dict[str, Door] = {
        "http": HttpShm(shm_server.http),
        "grpc": GrpcShm(grpc_door),
        "stream": GrpcStreamShm(grpc_door),
    }
    yield doors[request.param]
    for kind in ("system", "cuda"):
        HttpShm(shm_server.http).unregister(kind=kind).assert_ok()
    grpc_door.close()


@pytest.fixture
def memory(driver: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Allocation]:
    """64 bytes of the second GPU that begin with `VALUES`."""
    monkeypatch.setenv("FAKE_GPUS", GPUS)
    monkeypatch.setattr(Allocation, "library", str(driver / LIBRARIES["cuda"]))
    allocation = Allocation(64, gpu=1)
    allocation.write(VALUES + bytes(48))
    yield allocation
    allocation.free()


def test_regions_are_listed_until_they_are_unregistered(
    shm_server: Server, door: Door, memory: Allocation
) -> None:
    assert door.regions(kind="cuda") == []
    door.register_cuda("c", memory.handle(), 64, device_id=1).assert_ok()
    listed = {"name": "c", "device_id": 1, "byte_size": 64}
    assert door.regions(kind="cuda") == door.regions("c", kind="cuda") == [listed]
    assert mapped(shm_server) == 1
    door.register_cuda("c", memory.handle(), 64, device_id=1).assert_refused(
        "ALREADY_EXISTS", "shared memory region 'c' already in manager"
    )
    door.unregister("c").assert_ok()  # of the other kind
    assert door.regions(kind="cuda") == [listed]
    door.unregister("c", "cuda").assert_ok()
    door.unregister("c", "cuda").assert_ok()
    assert door.regions(kind="cuda") == []
    assert mapped(shm_server) == 0


def mapped(server: Server) -> int:
    """Return how many allocations of other processes the server has open."""
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    return maps.count("memfd:fake-gpu")


def test_kinds_do_not_mix(door: Door, memory: Allocation) -> None:
    door.register_cuda("c", memory.handle(), 64, device_id=1).assert_ok()
    with SharedObject(VALUES) as shared:
        door.register("s", shared.key, 16).assert_ok()
        assert [entry["name"] for entry in door.regions()] == ["s"]
        assert [entry["name"] for entry in door.regions(kind="cuda")] == ["c"]
        door.status("c").assert_refused(
            "NOT_FOUND",
            "The region named 'c' is registered as CUDA shared memory, not system shared memory",
        )
        door.register("c", shared.key, 16).assert_refused(
            "ALREADY_EXISTS", "shared memory region 'c' already in manager"
        )
        door.unregister(kind="cuda").assert_ok()
        assert [entry["name"] for entry in door.regions()] == ["s"]


def test_tensors_lie_in_gpu_memory(door: Door, memory: Allocation) -> None:
    door.register_cuda("c", memory.handle(), 64, device_id=1).assert_ok()
    door.infer("echo_fp32", "FP32", [2], at("c", 8, 8), at("c", 8, 32)).assert_ok()
    assert memory.read() == VALUES + bytes(16) + fp32(3, 4) + bytes(24)
    reply = door.infer("echo_fp32", "FP32", [4], at("c", 16)).assert_ok()
    assert reply.outputs["OUTPUT0"][-1] == VALUES
    door.infer("echo_fp32", "FP32", [1], fp32(9), at("c", 4)).assert_ok()
    assert memory.read()[:8] == fp32(9, 2)


def test_strings_lie_in_gpu_memory(door: Door, memory: Allocation) -> None:
    texts = b"\2\0\0\0ab\0\0\0\0"
    memory.write(texts)
    door.register_cuda("c", memory.handle(), 64, device_id=1).assert_ok()
    door.infer("echo_bytes", "BYTES", [2], at("c", len(texts)), at("c", 16, 16)).assert_ok()
    assert memory.read()[16 : 16 + len(texts)] == texts


def test_ranges_lie_in_the_region(door: Door, memory: Allocation) -> None:
    door.register_cuda("c", memory.handle(), 32, device_id=1).assert_ok()
    door.infer("echo_fp32", "FP32", [1], at("c", 4, 32)).assert_refused(
        "INVALID_ARGUMENT", "Invalid offset for shared memory region: 'c'"
    )
    door.infer("echo_fp32", "FP32", [2], at("c", 8, 28)).assert_refused(
        "INVALID_ARGUMENT", "Invalid offset + byte size for shared memory region: 'c'"
    )
    door.infer("echo_fp32", "FP32", [2], at("c", 8), at("c", 4)).assert_refused(
        "INTERNAL",
        "shared memory size specified with the request for output 'OUTPUT0' (4 bytes) should be at "
        "least 8 bytes to hold the results",
    )


def test_what_is_no_memory_is_refused(shm_server: Server, door: Door, memory: Allocation) -> None:
    handle = memory.handle()
    door.register_cuda("c").assert_refused("INVALID_ARGUMENT", INVALID)
    door.register_cuda("c", handle, 65, device_id=1).assert_refused("INVALID_ARGUMENT", INVALID)
    door.register_cuda("c", handle, 0, device_id=1).assert_refused("INVALID_ARGUMENT", INVALID)
    door.register_cuda("c", handle, 64, device_id=0).assert_refused("INVALID_ARGUMENT", INVALID)
    door.register_cuda("c", handle, 64, device_id=2).assert_refused("INVALID_ARGUMENT", INVALID)
    assert door.regions(kind="cuda") == []
    assert mapped(shm_server) == 0
