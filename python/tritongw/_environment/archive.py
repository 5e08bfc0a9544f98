# SPDX-License-Identifier: Apache-2.0
"""Unpacks an archive so that nothing of it lands outside its directory."""

import contextlib
import hashlib
import importlib
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from tritongw._environment import EnvironmentFailure
from tritongw._environment.locked import locked

_MEMBER_LIMIT = 2_000_000
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def unpack(path: Path, private: Path, byte_limit: int) -> Path:
    """Unpack an archive, unless one of the same content has been.

    Parameters
    ----------
    path : Path
        A tar archive, as it is or compressed by gzip, bzip2, xz or Zstandard.
    private : Path
        Directory that only the server can enter.
    byte_limit : int
        Most that the files may take.

    Returns
    -------
    Path
        The directory with the archive's files.

    Raises
    ------
    EnvironmentFailure
        If it is no archive, is too large, or would leave its directory.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        directory = private / digest
        with locked(private / f"{digest}.lock"):
            if directory.is_dir():
                return directory
            part = private / f"{digest}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(mode=0o700)
            try:
                with _open(file, path) as archive:
                    _unpack_members(archive, part, byte_limit)
            except (tarfile.TarError, EOFError, KeyError, OSError, ValueError) as error:
                shutil.rmtree(part, ignore_errors=True)
                message = f"failed to unpack the execution environment '{path}': {error}"
                raise EnvironmentFailure(message) from error
            part.rename(directory)
    return directory


@contextlib.contextmanager
def _open(file: BinaryIO, path: Path) -> Iterator[tarfile.TarFile]:
    with contextlib.ExitStack() as stack:
        is_zstd = file.read(len(_ZSTD_MAGIC)) == _ZSTD_MAGIC
        file.seek(0)
        if is_zstd:
            source = stack.enter_context(_decompressed(file, path))
            yield stack.enter_context(tarfile.open(fileobj=source, mode="r|"))
        else:
            yield stack.enter_context(tarfile.open(fileobj=file, mode="r:*"))


def _decompressed(file: BinaryIO, path: Path) -> Any:
    with contextlib.suppress(ImportError):
        return importlib.import_module("compression.zstd").ZstdFile(file)
    with contextlib.suppress(ImportError):
        return importlib.import_module("zstandard").open(file, "rb")
    message = (
        f"the execution environment '{path}' is compressed by Zstandard, which takes Python 3.14 "
        "or the package 'zstandard' where the server is installed"
    )
    raise EnvironmentFailure(message)


def _unpack_members(archive: tarfile.TarFile, directory: Path, byte_limit: int) -> None:
    """Unpack member by member; each is checked before it touches the disk."""
    if hasattr(tarfile, "data_filter"):
        archive.extraction_filter = tarfile.data_filter
    byte_size = 0
    # Symbolic links last: no file can be written through one of the archive's own.
    links = []
    for count, member in enumerate(archive, start=1):
        byte_size += member.size
        if count > _MEMBER_LIMIT:
            message = f"it has more than {_MEMBER_LIMIT} members"
            raise ValueError(message)
        if byte_size > byte_limit:
            message = f"its files take more than {byte_limit} bytes (environment-byte-limit)"
            raise ValueError(message)
        _check(member)
        if member.issym():
            links.append(member)
        else:
            archive.extract(member, directory)
    for member in links:
        archive.extract(member, directory)
    # By name alone a link may seem to stay inside where another link leads it out.
    root = directory.resolve()
    for member in links:
        if not (directory / member.name).resolve().is_relative_to(root):
            message = f"'{member.name}' is a link that leads outside it"
            raise ValueError(message)
    if not links and byte_size == 0:
        message = "it is empty"
        raise ValueError(message)


def _check(member: tarfile.TarInfo) -> None:
    """Refuse what would leave the directory, and what is neither file, directory nor link."""
    _check_path(PurePosixPath(member.name), member)
    if member.issym():
        target = PurePosixPath(member.linkname)
        _check_path(_joined(PurePosixPath(member.name).parent, target), member, target)
    elif member.islnk():
        _check_path(PurePosixPath(member.linkname), member, PurePosixPath(member.linkname))
    elif not (member.isfile() or member.isdir()):
        message = f"'{member.name}' is a device or the like"
        raise ValueError(message)


def _check_path(
    path: PurePosixPath, member: tarfile.TarInfo, target: PurePosixPath | None = None
) -> None:
    is_outside = path.is_absolute() or ".." in path.parts
    if is_outside and target is None:
        message = f"'{member.name}' lies outside it"
        raise ValueError(message)
    if is_outside:
        message = f"'{member.name}' is a link to '{target}', which lies outside it"
        raise ValueError(message)


def _joined(directory: PurePosixPath, target: PurePosixPath) -> PurePosixPath:
    """Return where a link leads, by the names alone; ``..`` is left where it leads outside."""
    if target.is_absolute():
        return target
    parts = list(directory.parts)
    for part in target.parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)
