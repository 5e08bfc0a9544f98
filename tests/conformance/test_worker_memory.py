# SPDX-License-Identifier: Apache-2.0
"""Memory of Python models: none in /dev/shm, none that has a name, none left after an unload."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from process_tree import descendants
from support.misbehave import misbehave
from support.repository import MODELS, write_models
from support.servers import Server, ServerStarter
from support.wire import HEADER_LENGTH
from tritongw_server import TritongwServer
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server_process import ServerProcess

pytestmark = pytest.mark.ours("tensors of the real one lie in /dev/shm")

WAIT_S = 20.0
LARGE = 4 << 20  # elements, 16 MiB


def echo(server: Server, element_count: int, model: str = "echo_fp32") -> None:
    """Send that many numbers and see them come back."""
    sent = np.arange(element_count, dtype=np.float32).tobytes()
    head = (
        f'{{"inputs":[{{"name":"INPUT0","datatype":"FP32","shape":[{element_count}],'
        f'"parameters":{{"binary_data_size":{len(sent)}}}}}],'
        '"parameters":{"binary_data_output":true}}'
    ).encode()
    path = f"/v2/models/{model}/infer"
    answer = server.http.request("POST", path, head + sent, {HEADER_LENGTH: str(len(head))})
    assert answer.status == 200, answer.body[:200]
    _, received = answer.split()
    assert received == sent


class ServerWithLittleSharedMemory(TritongwServer):
    """Our server where /dev/shm is of a size that nothing fits in."""

    def __init__(self, shm_options: str, model_repository: Path, log_path: Path) -> None:
        super().__init__(model_repository, log_path)
        mount = f'mount -t tmpfs -o {shm_options} tmpfs /dev/shm && exec "$@"'
        self.command = ["unshare", "--mount", "sh", "-c", mount, "sh", *self.command]

    def shared_memory_files(self) -> list[str]:
        """Return what lies in the server's /dev/shm."""
        return [path.name for path in Path(f"/proc/{self.pid}/root/dev/shm").iterdir()]


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module", params=["size=64k", "size=64k,ro"])
def cramped(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server that finds no room in /dev/shm, or none at all."""
    if not can_mount():
        pytest.skip("this user may not mount a file system of its own at /dev/shm")
    directory = tmp_path_factory.mktemp("cramped")
    models = {"echo_fp32": MODELS["echo_fp32"], "misbehave": misbehave()}
    write_models(directory / "models", models)
    server = ServerWithLittleSharedMemory(
        request.param, directory / "models", directory / "server.log"
    )
    with server:
        yield server


def test_large_tensors_need_nothing_in_dev_shm(cramped: ServerWithLittleSharedMemory) -> None:
    server = Server(cramped, is_oracle=False)
    for element_count in (1, 1000, LARGE, LARGE):
        echo(server, element_count)
    assert cramped.shared_memory_files() == []
    mounted = Path(f"/proc/{cramped.pid}/root/dev/shm")
    assert os.statvfs(mounted).f_blocks * os.statvfs(mounted).f_frsize == 64 << 10


@pytest.fixture(scope="module")
def own_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that has loaded nothing yet."""
    models = {"echo_fp32": MODELS["echo_fp32"], "batched": MODELS["echo_fp32_batched"]}
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    options = ["--model-control-mode=explicit"]
    with starter.prepare("worker_memory", directory, options) as process:
        yield Server(process, starter.is_oracle)


class Memory:
    """What a server has in memory that can be shared, and by how many names."""

    def __init__(self, server: Server) -> None:
        process = Path(f"/proc/{server.process.pid}")
        links = []
        for path in (process / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                links.append(str(path.readlink()))
        self.descriptors = len(links)
        self.memfds = sum(link.startswith("/memfd:") for link in links)
        self.named = [link for link in links if link.startswith("/dev/shm")]
        status = (process / "status").read_text().splitlines()
        (shared,) = [line.split()[1] for line in status if line.startswith("RssShmem")]
        self.shared_bytes = int(shared) << 10
        maps = (process / "maps").read_text()
        self.slabs = maps.count("/memfd:tritongw")


def control(server: Server, model: str, action: str) -> None:
    answer = server.http.post(f"/v2/repository/models/{model}/{action}", {})
    assert answer.status == 200, answer.body


def test_unload_gives_everything_back(own_server: Server) -> None:
    control(own_server, "echo_fp32", "load")
    echo(own_server, 1000)
    control(own_server, "echo_fp32", "unload")
    wait_until(lambda: Memory(own_server).memfds == 0, WAIT_S, "end of the model's memory")
    before = Memory(own_server)
    for _ in range(3):
        control(own_server, "echo_fp32", "load")
        echo(own_server, LARGE)
        during = Memory(own_server)
        assert during.memfds > 0
        assert during.slabs > 0
        assert during.named == []
        control(own_server, "echo_fp32", "unload")
        wait_until(lambda: Memory(own_server).memfds == 0, WAIT_S, "end of the model's memory")
    wait_until(
        lambda: Memory(own_server).descriptors <= before.descriptors, WAIT_S, "closing of files"
    )
    after = Memory(own_server)
    assert after.slabs == 0
    assert after.shared_bytes <= before.shared_bytes + (1 << 20)
    assert len(descendants(own_server.process.pid)) == 1


def test_nothing_of_a_server_has_a_name(own_server: Server) -> None:
    control(own_server, "batched", "load")
    try:
        worker = descendants(own_server.process.pid)[1]
        assert Memory(own_server).named == []
        for pid in (own_server.process.pid, worker):
            maps = Path(f"/proc/{pid}/maps").read_text()
            assert "/memfd:tritongw" in maps
            assert "/dev/shm" not in maps
    finally:
        control(own_server, "batched", "unload")
