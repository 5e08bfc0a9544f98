# SPDX-License-Identifier: Apache-2.0
"""A server under clients that do everything wrong, and one client that does not."""

from __future__ import annotations

import datetime
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "benches" / "load")]

from burdens import Target  # noqa: E402
from tritongw_server import TritongwServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server_process import ServerProcess


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example model that answers with its input."""
    directory = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "model_repository" / "identity", directory / "identity")
    return directory


@dataclass(frozen=True)
class Identity:
    """A certificate for ``localhost`` that vouches for itself, and its key, as PEM files."""

    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """What a server shows its clients."""
    directory = tmp_path_factory.mktemp("identity")
    files = Identity(directory / "server.pem", directory / "server.key")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files.certificate.write_bytes(certificate.public_bytes(pem))
    files.key.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture
def process(repository: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of the test's own."""
    with TritongwServer(repository, tmp_path / "server.log") as server:
        yield server


@pytest.fixture
def other_process(repository: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """A second server beside the test's own."""
    with TritongwServer(repository, tmp_path / "other.log") as server:
        yield server


@pytest.fixture
def tls_process(repository: Path, identity: Identity, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of the test's own, whose gRPC port speaks TLS."""
    options = [
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={identity.certificate}",
        f"--grpc-server-key={identity.key}",
    ]
    with TritongwServer(repository, tmp_path / "server.log", options) as server:
        yield server


@pytest.fixture
def tls_target(tls_process: ServerProcess, identity: Identity) -> Target:
    """What burdens of TLS are put on."""
    endpoints = tls_process.endpoints
    return Target(endpoints.http, endpoints.grpc, identity.certificate.read_bytes())


@pytest.fixture
def target(process: ServerProcess) -> Target:
    """What burdens are put on."""
    return Target(process.endpoints.http, process.endpoints.grpc)


@pytest.fixture
def other_target(other_process: ServerProcess) -> Target:
    """Where burdens are put instead."""
    return Target(other_process.endpoints.http, other_process.endpoints.grpc)
