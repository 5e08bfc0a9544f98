# SPDX-License-Identifier: Apache-2.0
"""TLS and mutual TLS of the gRPC port (triton.md C053-C055, P109)."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

import grpc
import pytest
import tritonclient.grpc
from server_process import ServerFailedError
from support.certificates import Authority, Identity
from support.repository import MODELS, write_models
from support.servers import Server, ServerStarter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(directory: Path) -> Authority:
    return Authority(directory, "authority")


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    """The servers' identity."""
    return authority.issue("server")


@pytest.fixture(scope="module")
def models(directory: Path) -> Path:
    return write_models(directory / "models", {"echo_int32": MODELS["echo_int32"]})


@pytest.fixture(scope="module")
def tls_server(starter: ServerStarter, models: Path, identity: Identity) -> Iterator[Server]:
    options = [
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={identity.certificate}",
        f"--grpc-server-key={identity.key}",
    ]
    with starter.prepare("tls", models, options) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture(scope="module")
def mutual_server(
    starter: ServerStarter, models: Path, identity: Identity, authority: Authority
) -> Iterator[Server]:
    options = [
        "--grpc-use-ssl-mutual=true",
        f"--grpc-server-cert={identity.certificate}",
        f"--grpc-server-key={identity.key}",
        f"--grpc-root-cert={authority.identity.certificate}",
    ]
    with starter.prepare("mutual_tls", models, options) as process:
        yield Server(process, starter.is_oracle)


def port(server: Server) -> int:
    return int(server.grpc_address.rsplit(":", 1)[1])


def is_live(server: Server, **credentials: bytes | None) -> bool:
    """Ask with these credentials; return False if there is no connection."""
    made = grpc.ssl_channel_credentials(**credentials)
    with tritonclient.grpc.InferenceServerClient(
        f"localhost:{port(server)}", creds=made, ssl=True
    ) as client:
        try:
            return bool(client.is_server_live(client_timeout=20))
        except tritonclient.grpc.InferenceServerException as error:
            if "UNAVAILABLE" not in str(error.status()):
                raise
            return False


def test_tls(tls_server: Server, authority: Authority) -> None:
    assert is_live(tls_server, root_certificates=authority.identity.chain)


def test_tls_through_the_files_that_the_client_reads(
    tls_server: Server, authority: Authority
) -> None:
    with tritonclient.grpc.InferenceServerClient(
        f"localhost:{port(tls_server)}",
        ssl=True,
        root_certificates=str(authority.identity.certificate),
    ) as client:
        assert client.is_server_live(client_timeout=20)


def test_server_that_nobody_vouches_for(tls_server: Server, directory: Path) -> None:
    stranger = Authority(directory, "stranger")
    assert not is_live(tls_server, root_certificates=stranger.identity.chain)


def test_plain_connection_to_a_tls_port(tls_server: Server) -> None:
    with (
        tritonclient.grpc.InferenceServerClient(f"localhost:{port(tls_server)}") as client,
        pytest.raises(tritonclient.grpc.InferenceServerException, match="UNAVAILABLE"),
    ):
        client.is_server_live(client_timeout=20)


def test_http2_is_negotiated(tls_server: Server, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.identity.certificate))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port(tls_server)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        assert secured.selected_alpn_protocol() == "h2"
        assert secured.version() == "TLSv1.3"


def test_stalled_handshakes_hold_up_nobody(tls_server: Server, authority: Authority) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stalled = socket.create_connection(("127.0.0.1", port(tls_server)), timeout=20)
            stack.enter_context(stalled).sendall(b"\x16\x03\x01")
        assert is_live(tls_server, root_certificates=authority.identity.chain)


def test_mutual_tls(mutual_server: Server, authority: Authority) -> None:
    client = authority.issue("client")
    assert is_live(
        mutual_server,
        root_certificates=authority.identity.chain,
        private_key=client.private_key,
        certificate_chain=client.chain,
    )


def test_mutual_tls_without_a_certificate(mutual_server: Server, authority: Authority) -> None:
    assert not is_live(mutual_server, root_certificates=authority.identity.chain)


def test_mutual_tls_with_a_certificate_of_others(
    mutual_server: Server, authority: Authority, directory: Path
) -> None:
    client = Authority(directory, "others").issue("client")
    assert not is_live(
        mutual_server,
        root_certificates=authority.identity.chain,
        private_key=client.private_key,
        certificate_chain=client.chain,
    )


@pytest.mark.ours("2.51 starts, and says that the port is in use")
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--grpc-use-ssl=true"], "--grpc-server-cert is needed for TLS but was not given"),
        (
            ["--grpc-use-ssl=true", "--grpc-server-cert=nowhere.pem", "--grpc-server-key=x"],
            "--grpc-server-cert 'nowhere.pem' cannot be used: ",
        ),
    ],
)
def test_files_that_are_missing(
    starter: ServerStarter, models: Path, options: list[str], text: str
) -> None:
    process = starter.prepare("tls_missing", models, options)
    with pytest.raises(ServerFailedError) as caught:
        process.start()
    assert text in str(caught.value)
