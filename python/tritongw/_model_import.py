# SPDX-License-Identifier: Apache-2.0
"""Imports of model directories: always from the sources.

Python trusts compiled code whose source has the same second of change and size. Models are edited
and loaded again within a second, and repositories may be read-only, or watched for changes: so
nothing compiled is read from a model's directory, and nothing written.
"""

import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from types import CodeType

# Directories, with whether what lies deeper counts too.
_directories: dict[Path, bool] = {}


class SourceLoader(SourceFileLoader):
    """Compiles each time."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def import_from_sources(directory: Path, *, is_deep: bool = True) -> None:
    """See that what lies in `directory` is imported from its sources.

    Parameters
    ----------
    directory : Path
        Directory of a model or of one of its versions.
    is_deep : bool, default=True
        Whether that goes for packages in it too.
    """
    if directory in _directories:
        return
    if not _directories:
        sys.path_hooks.insert(0, _finder)
    _directories[directory] = is_deep
    # Finders made before now know nothing of it.
    for path in list(sys.path_importer_cache):
        if Path(path).is_relative_to(directory):
            del sys.path_importer_cache[path]


def _finder(path: str) -> FileFinder:
    place = Path(path)
    is_within = place in _directories or any(
        is_deep and place.is_relative_to(directory) for directory, is_deep in _directories.items()
    )
    # An environment that lies in a model's directory is large, and nobody edits it.
    if not is_within or "site-packages" in place.parts:
        message = "not the directory of a model"
        raise ImportError(message)
    return FileFinder(
        path,
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (SourceLoader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )
