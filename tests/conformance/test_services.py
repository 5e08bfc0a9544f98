# SPDX-License-Identifier: Apache-2.0
"""Which services a server has and where they listen (C037, C040, C045, C048, C074, C078)."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING

import oracle
import pytest
from server_process import ServerFailedError
from support.wire import HttpDoor
from waiting import http_status, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from server_process import ServerProcess
    from support.servers import ServerStarter

LIVE = "/v2/health/live"
START_S = 60


def is_open(port: int) -> bool:
    """Tell whether anybody listens on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def shared_ports(http_port: int, grpc_port: int) -> list[str]:
    return [
        f"--http-port={http_port}",
        "--reuse-http-port=true",
        f"--grpc-port={grpc_port}",
        "--reuse-grpc-port=true",
    ]


def test_servers_may_share_ports(starter: ServerStarter, tmp_path: Path) -> None:
    http_port, grpc_port, metrics_port = oracle.free_ports(3)
    options = shared_ports(http_port, grpc_port)
    first = starter.prepare("first", tmp_path, [*options, f"--metrics-port={metrics_port}"], LIVE)
    with first, starter.prepare("second", tmp_path, options, LIVE) as second:
        for server in (first, second):
            assert server.endpoints.http == f"127.0.0.1:{http_port}"
            assert server.endpoints.grpc == f"127.0.0.1:{grpc_port}"
        assert first.endpoints.metrics == f"127.0.0.1:{metrics_port}"
        assert HttpDoor(first.endpoints.metrics).get("/metrics").status == 200


@pytest.mark.parametrize("service", ["http", "grpc"])
def test_a_port_is_shared_only_if_both_want_it(
    starter: ServerStarter, tmp_path: Path, service: str
) -> None:
    with starter.prepare("holder", tmp_path, [], LIVE) as holder:
        port = getattr(holder.endpoints, service).rpartition(":")[2]
        options = [f"--{service}-port={port}", f"--reuse-{service}-port=true"]
        late = starter.prepare("late", tmp_path, options, LIVE)
        with pytest.raises(ServerFailedError) as failed:
            late.start()
    assert f"Socket '127.0.0.1:{port}' already in use" in str(failed.value)


def start_without(
    starter: ServerStarter, directory: Path, options: list[str], port: int
) -> ServerProcess:
    """Start a server that does not have all services, of which SageMaker's is on `port`."""
    process = starter.prepare("reduced", directory, options)
    process.awaits_services = False
    process.start()
    wait_until(
        lambda: http_status(f"127.0.0.1:{port}", "/ping") == http.client.OK, START_S, "a ping"
    )
    return process


def test_services_may_be_off(starter: ServerStarter, tmp_path: Path) -> None:
    ports = dict(zip(("http", "grpc", "metrics"), oracle.free_ports(3), strict=True))
    (sagemaker,) = oracle.free_ports(1)
    options = [f"--{service}-port={port}" for service, port in ports.items()]
    options += [f"--allow-{service}=false" for service in ports]
    options += ["--allow-sagemaker=true", f"--sagemaker-port={sagemaker}"]
    process = start_without(starter, tmp_path, options, sagemaker)
    try:
        assert {service: is_open(port) for service, port in ports.items()} == dict.fromkeys(
            ports, False
        )
        assert process.log().count("Started ") == 1
    finally:
        process.stop()
