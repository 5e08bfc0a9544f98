# SPDX-License-Identifier: Apache-2.0
"""Environments of Python models: archives, directories, interpreters and requirements."""

from __future__ import annotations

import base64
import io
import json
import shutil
import sys
import tarfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.environments import make_interpreter, make_venv, make_wheel, numpy_alone, pack
from support.repository import CODE, PythonModel
from support.servers import Server, ServerStarter
from support.wire import Answer, tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.ours("the stub of 2.51 is built for one Python and wants packed conda")

ENVIRONMENT = "EXECUTION_ENV_PATH"
INTERPRETER = "TRITONGW_PYTHON_INTERPRETER"
REQUIREMENTS = "TRITONGW_PYTHON_REQUIREMENTS"
WAIT_S = 20.0
INPUTS = {"COMMAND": "TYPE_STRING [ 1 ]"}
OUTPUTS = {"ANSWER": "TYPE_STRING [ 1 ]"}


@dataclass(frozen=True)
class Place:
    """A server that loads what it is told, and where everything of it lies."""

    server: Server
    directory: Path

    @property
    def repository(self) -> Path:
        """The model repository."""
        return self.directory / "models"

    @property
    def temporary(self) -> Path:
        """Where the server keeps temporary files."""
        return self.directory / "temporary"

    def unpacked(self) -> list[Path]:
        """Return the directories of the archives that are unpacked now."""
        found = self.temporary.glob("tritongw-environments-*/*")
        return [path for path in found if path.is_dir() and path.name != "importable"]

    def write(self, name: str, **parameters: str) -> Path:
        """Write a model that tells its environment."""
        model = PythonModel("environment", INPUTS, OUTPUTS, parameters=parameters)
        shutil.rmtree(self.repository / name, ignore_errors=True)
        model.write(self.repository / name)
        return self.repository / name

    def load(self, name: str, body: object = None) -> Answer:
        """Load a model."""
        return self.server.http.post(f"/v2/repository/models/{name}/load", body or {})

    def unload(self, name: str) -> None:
        """Unload a model."""
        assert self.server.http.post(f"/v2/repository/models/{name}/unload", {}).status == 200

    def reason(self, name: str) -> str:
        """Return why a model, which must not load, does not."""
        assert self.load(name).status == 400
        index = self.server.http.post("/v2/repository/index", {}).json
        (entry,) = [entry for entry in index if entry["name"] == name]
        return str(entry["reason"])

    def describe(self, name: str) -> Any:
        """Return what a model, loaded before, tells of its environment."""
        answer = self.server.http.infer(name, [tensor("COMMAND", "BYTES", [1], ["tell"])])
        assert answer.status == 200, answer.body
        return json.loads(answer.json["outputs"][0]["data"][0])

    def loaded(self, name: str, **parameters: str) -> Any:
        """Write and load a model and return what it tells."""
        self.write(name, **parameters)
        answer = self.load(name)
        assert answer.status == 200, answer.body
        return self.describe(name)


@pytest.fixture(scope="module")
def place(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One server for this file."""
    directory = tmp_path_factory.mktemp("environments")
    for name in ("models", "temporary", "wheels"):
        (directory / name).mkdir()
    make_wheel(directory / "wheels", "environment_mark", {"environment_mark.py": 'MARK = "wheel"'})
    # The real one is large; this one leads to it.
    leads = {"numpy_of_the_tests.pth": str(numpy_alone(directory / "numpy"))}
    make_wheel(directory / "wheels", "numpy", leads, "9.9")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(directory / "temporary"))
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(directory / "wheels"))
        patch.setenv("OF_THE_SERVER", "inherited")
        options = [
            "--model-control-mode=explicit",
            "--backend-config=python,environment-byte-limit=200000000",
        ]
        process = starter.prepare("environments", directory / "models", options)
        process.start()
    with_process = Place(Server(process, starter.is_oracle), directory)
    try:
        yield with_process
    finally:
        process.stop()
    assert list((directory / "temporary").iterdir()) == []


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment other than the server's."""
    return make_venv(tmp_path_factory.mktemp("venv") / "environment", "venv")


@pytest.fixture(scope="module")
def archive(venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, packed."""
    return pack(venv, tmp_path_factory.mktemp("archive") / "environment.tar.gz", "gz")


def test_a_model_that_names_none_runs_in_the_servers_own(place: Place) -> None:
    told = place.loaded("plain")
    assert told["executable"] == sys.executable
    assert told["variables"]["OF_THE_SERVER"] == "inherited"


def test_directory_of_an_environment_is_used_as_it_is(place: Place, venv: Path) -> None:
    told = place.loaded("directory", **{ENVIRONMENT: str(venv)})
    assert (told["prefix"], told["mark"]) == (str(venv), "venv")
    assert told["executable"] == str(venv / "bin" / "python")
    variables = told["variables"]
    assert variables["PATH"].split(":")[0] == str(venv / "bin")
    assert variables["VIRTUAL_ENV"] == str(venv)
    assert variables["OF_THE_SERVER"] == "inherited"
    place.unload("directory")
    assert venv.exists()


def test_path_may_begin_in_the_directory_of_the_model(place: Place, venv: Path) -> None:
    model = place.write("beside", **{ENVIRONMENT: "$$TRITON_MODEL_DIRECTORY/environment"})
    shutil.copytree(venv, model / "environment", symlinks=True)
    assert place.load("beside").status == 200
    assert place.describe("beside")["prefix"] == str(model / "environment")


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_archive_is_unpacked_while_it_is_used(
    place: Place, venv: Path, tmp_path: Path, compression: str
) -> None:
    # However it is called.
    path = pack(venv, tmp_path / "packed", compression)
    name = f"packed_{compression or 'tar'}"
    told = place.loaded(name, **{ENVIRONMENT: str(path)})
    assert told["mark"] == "venv"
    prefix = Path(told["prefix"])
    assert prefix.is_relative_to(place.temporary)
    assert prefix.parent.stat().st_mode & 0o777 == 0o700
    place.unload(name)
    wait_until(lambda: not prefix.exists(), WAIT_S, "removal of the environment")


def test_archives_of_one_content_are_unpacked_once(
    place: Place, archive: Path, tmp_path: Path
) -> None:
    copy = shutil.copy(archive, tmp_path / "copy.tar.gz")
    first = place.loaded("first", **{ENVIRONMENT: str(archive)})
    second = place.loaded("second", **{ENVIRONMENT: str(copy)})
    assert first["prefix"] == second["prefix"]
    place.unload("first")
    assert place.describe("second")["mark"] == "venv"
    assert len(place.unpacked()) == 1
    place.unload("second")
    wait_until(lambda: place.unpacked() == [], WAIT_S, "removal of the environment")


def test_packed_conda_environment_finds_its_libraries(
    place: Place, venv: Path, tmp_path: Path
) -> None:
    conda = tmp_path / "conda"
    shutil.copytree(venv, conda, symlinks=True)
    # A venv but for what tells the two apart.
    (conda / "bin" / "venv-python").symlink_to("python3")
    shutil.move(conda / "pyvenv.cfg", tmp_path / "pyvenv.cfg")
    (conda / "bin" / "python").unlink()
    (conda / "bin" / "python").write_text(f'#!/bin/sh\nexec "{venv}/bin/python" "$@"\n')
    (conda / "bin" / "python").chmod(0o755)
    (conda / "conda-meta").mkdir()
    told = place.loaded("conda", **{ENVIRONMENT: str(pack(conda, tmp_path / "conda.tar"))})
    prefix = told["variables"]["CONDA_PREFIX"]
    assert Path(prefix).is_relative_to(place.temporary)
    assert told["variables"]["LD_LIBRARY_PATH"].split(":")[0] == f"{prefix}/lib"
    assert told["variables"].get("VIRTUAL_ENV") is None
    place.unload("conda")


def test_environment_sent_with_the_model_is_used(place: Place, archive: Path) -> None:
    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    config = {
        "backend": "python",
        "input": [{"name": "COMMAND", "data_type": "TYPE_STRING", "dims": [1]}],
        "output": [{"name": "ANSWER", "data_type": "TYPE_STRING", "dims": [1]}],
        "parameters": {
            ENVIRONMENT: {"string_value": "$$TRITON_MODEL_DIRECTORY/environment.tar.gz"}
        },
    }
    parameters = {
        "config": json.dumps(config),
        "file:1/model.py": encoded((CODE / "environment.py").read_bytes()),
        "file:environment.tar.gz": encoded(archive.read_bytes()),
    }
    answer = place.load("sent", {"parameters": parameters})
    assert answer.status == 200, answer.body
    assert place.describe("sent")["mark"] == "venv"
    place.unload("sent")


# Archives that must not be unpacked: what makes them bad, and what is said.


def archive_of(*members: tuple[str, bytes, str, int]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, kind, link, size in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, size
            tar.addfile(info, io.BytesIO(bytes(size)))
    return stream.getvalue()


FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
BAD_ARCHIVES: dict[str, tuple[bytes, str]] = {
    "absolute": (archive_of(("/evil", FILE, "", 0)), "'/evil' lies outside it"),
    "upwards": (archive_of(("../evil", FILE, "", 0)), "'../evil' lies outside it"),
    "upwards_inside": (archive_of(("a/../../evil", FILE, "", 0)), "'a/../../evil' lies outside it"),
    "absolute_link": (
        archive_of(("python", LINK, "/usr/bin/python3", 0)),
        "'python' is a link to '/usr/bin/python3', which lies outside it",
    ),
    "link_upwards": (
        archive_of(("bin/python", LINK, "../../python3", 0)),
        "'bin/python' is a link to '../../python3', which lies outside it",
    ),
    "hard_link": (
        archive_of(("shadow", HARD, "/etc/shadow", 0)),
        "'shadow' is a link to '/etc/shadow', which lies outside it",
    ),
    "link_through_link": (
        # By name `out` leads to the top; where it leads depends on `deep/up`.
        archive_of(("out", LINK, "deep/up/../..", 0), ("deep/up", LINK, "..", 0)),
        "'out' ",
    ),
    "write_through_link": (
        archive_of(("away", LINK, "..", 0), ("away/evil", FILE, "", 0)),
        "'away' is a link to '..', which lies outside it",
    ),
    "device": (archive_of(("zero", tarfile.CHRTYPE, "", 0)), "'zero' is a device or the like"),
    "pipe": (archive_of(("pipe", tarfile.FIFOTYPE, "", 0)), "'pipe' is a device or the like"),
    "empty": (archive_of(), "it is empty"),
    "no_archive": (b"PK\x03\x04 something else", "file could not be opened successfully"),
    "cut_short": (archive_of(("file", FILE, "", 100_000))[:20_000], "unexpected end of data"),
    "too_large": (
        archive_of(("zeros", FILE, "", 200_000_001)),
        "its files take more than 200000000 bytes (environment-byte-limit)",
    ),
}


@pytest.mark.parametrize("name", list(BAD_ARCHIVES))
def test_archive_that_would_do_harm_fails_the_load(place: Place, tmp_path: Path, name: str) -> None:
    data, text = BAD_ARCHIVES[name]
    path = tmp_path / "bad.tar"
    path.write_bytes(data)
    place.write(name, **{ENVIRONMENT: str(path)})
    reason = place.reason(name)
    assert f"model '{name}': failed to unpack the execution environment '{path}': " in reason
    assert text in reason
    wait_until(lambda: place.unpacked() == [], WAIT_S, "removal of what was unpacked")
    evil = [*place.temporary.rglob("evil"), *place.directory.glob("evil"), Path("/evil")]
    assert not any(path.exists() for path in evil)


def old_python(version: str) -> str:
    found = {
        "version": [int(part) for part in version.split(".")],
        "implementation": "cpython",
        "has_numpy": True,
        "is_free_threaded": False,
    }
    return f"echo '{json.dumps(found)}'"


BAD_ENVIRONMENTS: dict[str, tuple[str | None, str]] = {
    "old": (old_python("3.10.13"), "is Python 3.10.13, workers need 3.11 or newer"),
    "ancient": (old_python("2.7.18"), "is Python 2.7.18, workers need 3.11 or newer"),
    "threads": (
        old_python("3.13.0").replace('threaded": false', 'threaded": true'),
        "is a free-threaded Python 3.13.0, workers need one with the GIL",
    ),
    "other": (old_python("3.11.0").replace("cpython", "pypy"), "is pypy, workers need CPython"),
    "broken": ("echo no library >&2; exit 127", "or a broken one: no library"),
    "no_python": ("echo 'something else'", "is no Python interpreter"),
    "nothing_in_it": (None, "has no 'bin/python'"),
}


@pytest.mark.parametrize("name", list(BAD_ENVIRONMENTS))
def test_environment_of_no_use_fails_the_load(place: Place, tmp_path: Path, name: str) -> None:
    script, text = BAD_ENVIRONMENTS[name]
    directory = tmp_path / "environment"
    if script is None:
        directory.mkdir()
    else:
        make_interpreter(directory, script)
    place.write(name, **{ENVIRONMENT: str(directory)})
    assert text in place.reason(name)


def test_environment_without_numpy_fails_the_load(place: Place, tmp_path: Path) -> None:
    bare = make_venv(tmp_path / "bare", "bare", has_numpy=False)
    place.write("bare", **{ENVIRONMENT: str(bare)})
    assert place.reason("bare").endswith(
        f"model 'bare': the interpreter '{bare}/bin/python' has no numpy, which workers need: "
        "install it in the environment"
    )


def test_environment_that_is_not_there_fails_the_load(place: Place, tmp_path: Path) -> None:
    place.write("missing", **{ENVIRONMENT: str(tmp_path / "nowhere")})
    text = f"model 'missing': the execution environment '{tmp_path}/nowhere' does not exist"
    assert text in place.reason("missing")


def test_interpreter_is_named_by_a_parameter(place: Place, venv: Path) -> None:
    told = place.loaded("interpreter", **{INTERPRETER: str(venv / "bin" / "python3")})
    assert (told["mark"], told["executable"]) == ("venv", str(venv / "bin" / "python3"))


def test_interpreter_that_is_not_there_fails_the_load(place: Place, tmp_path: Path) -> None:
    place.write("no_interpreter", **{INTERPRETER: str(tmp_path / "python")})
    text = f"failed to run the interpreter '{tmp_path}/python': No such file or directory"
    assert text in place.reason("no_interpreter")


def test_custom_stub_is_told_to_have_no_effect(place: Place) -> None:
    model = place.write("stub")
    (model / "triton_python_backend_stub").touch()
    assert place.load("stub").status == 200
    assert (
        "'triton_python_backend_stub' in the directory of model 'stub' has no effect: name the "
        f"interpreter in the parameter '{INTERPRETER}'"
    ) in place.server.process.log()


def test_two_ways_to_name_an_environment_exclude_each_other(place: Place, venv: Path) -> None:
    place.write("both", **{ENVIRONMENT: str(venv), INTERPRETER: sys.executable})
    assert (
        f"model 'both' has both parameters '{ENVIRONMENT}' and '{INTERPRETER}', of which one can "
        "be met"
    ) in place.reason("both")


def test_requirements_are_built_once_for_all_who_ask_for_them(place: Place) -> None:
    names = ["asks", "asks_too"]
    for name in names:
        model = place.write(name, **{REQUIREMENTS: "requirements.txt"})
        (model / "1" / "requirements.txt").write_text("environment_mark==1.0\n")
    # At the same time: one builds, the other waits.
    loads = [threading.Thread(target=place.load, args=[name]) for name in names]
    for load in loads:
        load.start()
    for load in loads:
        load.join()
    told = [place.describe(name) for name in names]
    assert [each["mark"] for each in told] == ["wheel", "wheel"]
    (prefix,) = {each["prefix"] for each in told}
    assert Path(prefix).is_relative_to(place.directory / "cache")
    # Kept between loads: whatever it was built from may be gone.
    complete = Path(prefix) / ".tritongw-complete"
    built = complete.stat().st_mtime_ns
    place.unload("asks")
    assert place.load("asks").status == 200
    assert complete.stat().st_mtime_ns == built


def test_dependencies_of_a_project_are_requirements(place: Place) -> None:
    model = place.write("project", **{REQUIREMENTS: "pyproject.toml"})
    text = '[project]\nname = "x"\nversion = "1"\ndependencies = ["environment_mark"]\n'
    (model / "pyproject.toml").write_text(text)
    answer = place.load("project")
    assert answer.status == 200, answer.body
    assert place.describe("project")["mark"] == "wheel"


def test_requirements_that_cannot_be_met_fail_the_load_with_the_installers_words(
    place: Place,
) -> None:
    model = place.write("unmet", **{REQUIREMENTS: "requirements.txt"})
    (model / "1" / "requirements.txt").write_text("no_such_package\n")
    reason = place.reason("unmet")
    assert f"failed to build an environment from '{model}/1/requirements.txt':\n" in reason
    assert "No matching distribution found for no_such_package" in reason


@pytest.mark.parametrize("name", ["nowhere.txt", "../requirements.txt", "/etc/passwd"])
def test_requirements_must_be_a_file_beside_the_model(place: Place, name: str) -> None:
    place.write("elsewhere", **{REQUIREMENTS: name})
    text = (
        f"parameter '{REQUIREMENTS}' of model 'elsewhere' must be the name of a file beside its "
        f"model.py, found '{name}': "
    )
    assert text in place.reason("elsewhere")
