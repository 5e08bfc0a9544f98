# SPDX-License-Identifier: Apache-2.0
"""System and CUDA shared memory over both doors (triton.md 4.8)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import tritonclient.utils.shared_memory as shm
from support import grpc_door as wire
from support import repository
from support.gate import WAIT_S, Gate
from support.grpc_door import GrpcDoor
from support.servers import Server
from support.shared_memory import GrpcShm, GrpcStreamShm, HttpShm, SharedObject, at, fp32
from support.wire import tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import ServerStarter

    Door = HttpShm | GrpcShm

VALUES = fp32(1, 2, 3, 4)
ZEROS = bytes(16)
NO_STRING_CHECK = "2.51 does not know this rule yet"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def shm_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory, gate: Gate
) -> Iterator[Server]:
    """A server that lets clients share memory."""
    names = ["echo_fp32", "echo_bytes", "echo_fp32_batched", "pair"]
    models = {name: repository.MODELS[name] for name in names}
    directory = repository.write_models(
        tmp_path_factory.mktemp("models"), {**models, "gate": gate.model}
    )
    # Triton 2.51 has no such switch: it always allows.
    options = [] if starter.is_oracle else ["--allow-client-shm=true"]
    with starter.prepare("shared_memory", directory, options) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture(params=["http", "grpc", "stream"])
def door(shm_server: Server, request: pytest.FixtureRequest) -> Iterator[Door]:
    """One of the doors; regions that a test leaves are unregistered."""
    grpc_door = GrpcDoor(shm_server.grpc_address)
    doors: dict[str, Door] = {
        "http": HttpShm(shm_server.http),
        "grpc": GrpcShm(grpc_door),
        "stream": GrpcStreamShm(grpc_door, answers_refusals=shm_server.is_oracle),
    }
    yield doors[request.param]
    if shm_server.is_oracle:
        wait_until_free(shm_server)
    HttpShm(shm_server.http).unregister().assert_ok()
    grpc_door.close()


def wait_until_free(server: Server) -> None:
    """Unregister everything from 2.51, which holds a region for a moment after the answer."""
    http = HttpShm(server.http)
    wait_until(lambda: http.unregister().code == "200", WAIT_S, "regions that nobody uses")


@pytest.fixture
def region(door: Door) -> Iterator[SharedObject]:
    """An object of 64 bytes that begins with `VALUES`, registered as ``r``."""
    with SharedObject(VALUES + bytes(48)) as shared:
        door.register("r", shared.key, 64).assert_ok()
        yield shared


def test_regions_are_listed_until_they_are_unregistered(door: Door) -> None:
    assert door.regions() == []
    with SharedObject(bytes(8192)) as first, SharedObject(bytes(16)) as second:
        door.register("a", first.key, 4096, offset=4096).assert_ok()
        # The key may come without its slash.
        door.register("b", second.key[1:], 16).assert_ok()
        a = {"name": "a", "key": first.key, "offset": 4096, "byte_size": 4096}
        b = {"name": "b", "key": second.key[1:], "offset": 0, "byte_size": 16}
        assert door.regions() == [a, b]
        assert door.regions("a") == [a]
        door.unregister("a").assert_ok()
        door.unregister("a").assert_ok()
        assert door.regions() == [b]
        door.unregister().assert_ok()
        assert door.regions() == []


def test_status_of_an_unknown_region(door: Door) -> None:
    for kind in ("system", "cuda"):
        door.status("nope", kind).assert_refused(
            "NOT_FOUND", f"Unable to find {kind} shared memory region: 'nope'"
        )


def test_a_name_is_registered_once(door: Door, region: SharedObject) -> None:
    door.register("r", region.key, 64).assert_refused(
        "ALREADY_EXISTS", "shared memory region 'r' already in manager"
    )


@pytest.mark.parametrize(("byte_size", "offset"), [(65, 0), (4097, 0)])
def test_a_region_must_lie_in_its_object(door: Door, byte_size: int, offset: int) -> None:
    with SharedObject(bytes(64)) as shared:
        door.register("x", shared.key, byte_size, offset).assert_refused(
            "INVALID_ARGUMENT", "failed to register shared memory region 'x': invalid args"
        )


@pytest.mark.ours("2.51 says what mmap said")
@pytest.mark.parametrize(("byte_size", "offset"), [(0, 0), (1, 2**64 - 1), (2**64 - 1, 1), (1, 64)])
def test_a_region_must_lie_in_its_object_at_the_limits(
    door: Door, byte_size: int, offset: int
) -> None:
    with SharedObject(bytes(64)) as shared:
        door.register("x", shared.key, byte_size, offset).assert_refused(
            "INVALID_ARGUMENT", "failed to register shared memory region 'x': invalid args"
        )


@pytest.mark.parametrize("key", ["/tritongw_test_nothing", "", "a/b", "../dev/shm/x", "/.."])
def test_an_object_that_cannot_be_opened(door: Door, key: str) -> None:
    door.register("x", key, 4).assert_refused(
        "INTERNAL", f"Unable to open shared memory region: '{key}'"
    )


@pytest.mark.ours(NO_STRING_CHECK)
@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_keys_of_workers_are_refused(door: Door, slash: str) -> None:
    key = f"{slash}triton_python_backend_shm_region_1"
    door.register("x", key, 4).assert_refused(
        "INVALID_ARGUMENT",
        f"cannot register shared memory region 'x' with key '{key}' as the key contains the "
        "reserved prefix 'triton_python_backend_shm_region_'",
    )


@pytest.mark.ours(NO_STRING_CHECK)
def test_keys_of_slashes_alone_are_refused(door: Door) -> None:
    door.register("x", "//", 4).assert_refused(
        "INVALID_ARGUMENT",
        "cannot register shared memory region 'x' with key '//' as the key contains only slashes",
    )


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "Shared memory register request has no 'key' field"),
        ({"key": 5}, 500, "attempt to access JSON non-string as string"),
        ({"key": "/x"}, 400, "Shared memory register request has no 'byte_size' field"),
        (
            {"key": "/x", "byte_size": -1},
            500,
            "attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
        (
            {"key": "/x", "byte_size": 4, "offset": "x"},
            500,
            "attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
    ],
)
def test_a_registration_over_http_has_its_members(
    shm_server: Server, body: dict[str, object], status: int, text: str
) -> None:
    answer = shm_server.http.post("/v2/systemsharedmemory/region/x/register", body)
    assert (answer.status, answer.error) == (status, text)


def test_an_input_is_read_from_its_region(door: Door, region: SharedObject) -> None:
    reply = door.infer("echo_fp32", "FP32", [4], at("r", 16)).assert_ok()
    assert reply.outputs == {"OUTPUT0": ("FP32", [4], VALUES)}
    region.write(VALUES, offset=40)
    reply = door.infer("echo_fp32", "FP32", [4], at("r", 16, 40)).assert_ok()
    assert reply.outputs["OUTPUT0"][2] == VALUES
    # Read again each time, not once.
    region.write(fp32(9), offset=40)
    reply = door.infer("echo_fp32", "FP32", [4], at("r", 16, 40)).assert_ok()
    assert reply.outputs["OUTPUT0"][2] == fp32(9, 2, 3, 4)


@pytest.mark.ours("2.51 adds the region's offset twice, and reads whatever lies there")
def test_offsets_count_from_the_regions_beginning(door: Door) -> None:
    with SharedObject(bytes(4096) + VALUES + fp32(5)) as shared:
        door.register("x", shared.key, 20, offset=4096).assert_ok()
        reply = door.infer("echo_fp32", "FP32", [4], at("x", 16, 4)).assert_ok()
        assert reply.outputs["OUTPUT0"][2] == fp32(2, 3, 4, 5)


def test_an_output_is_written_to_its_region(door: Door, region: SharedObject) -> None:
    reply = door.infer("echo_fp32", "FP32", [4], at("r", 16), at("r", 16, 32)).assert_ok()
    assert reply.outputs == {"OUTPUT0": ("FP32", [4], None)}
    assert region.read() == VALUES + ZEROS + VALUES + ZEROS
    # Room to spare stays as it is.
    reply = door.infer("echo_fp32", "FP32", [2], fp32(7, 8), at("r", 24, 8)).assert_ok()
    assert reply.outputs == {"OUTPUT0": ("FP32", [2], None)}
    assert region.read()[:24] == fp32(1, 2, 7, 8, 0, 0)


@pytest.mark.ours("2.51 runs a request to completion before it reads the next one")
def test_large_tensors_go_through_shared_memory(door: Door) -> None:
    data = np.arange(1 << 20, dtype=np.float32)
    with SharedObject(data.tobytes() + bytes(data.nbytes)) as shared:
        door.register("x", shared.key, 2 * data.nbytes).assert_ok()
        target = at("x", data.nbytes, data.nbytes)
        door.infer("echo_fp32", "FP32", [data.size], at("x", data.nbytes), target).assert_ok()
        assert shared.read()[data.nbytes :] == data.tobytes()


def test_strings_go_through_shared_memory(door: Door) -> None:
    data = b"\x02\0\0\0ab\x03\0\0\0cde"
    with SharedObject(data + bytes(51)) as shared:
        door.register("x", shared.key, 64).assert_ok()
        source = at("x", 13)
        reply = door.infer("echo_bytes", "BYTES", [2], source, at("x", 32, 32)).assert_ok()
        assert reply.outputs == {"OUTPUT0": ("BYTES", [2], None)}
        assert shared.read()[32:45] == data
        door.infer("echo_bytes", "BYTES", [2], source, at("x", 12, 32)).assert_refused(
            "INTERNAL",
            "shared memory size specified with the request for output 'OUTPUT0' (12 bytes) should "
            "be at least 13 bytes to hold the results",
        )
        door.infer("echo_bytes", "BYTES", [2], at("x", 64)).assert_refused(
            "INVALID_ARGUMENT",
            "[request id: <id_unknown>] unexpected number of string elements 3 for inference input "
            "'INPUT0' for model 'echo_bytes', expecting 2",
        )
        door.infer("echo_bytes", "BYTES", [2], at("x", 12)).assert_refused(
            "INVALID_ARGUMENT",
            "incomplete string data for inference input 'INPUT0', expecting string of length 3 but "
            "only 2 bytes available",
        )


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize(
    ("source", "code", "text"),
    [
        (at("x", 16), "NOT_FOUND", "Unable to find shared memory region: 'x'"),
        (at("", 16), "NOT_FOUND", "Unable to find shared memory region: ''"),
        (
            at("r", 16, 64),
            "INVALID_ARGUMENT",
            "Invalid offset for shared memory region: 'r'",
        ),
        (
            at("r", 16, 49),
            "INVALID_ARGUMENT",
            "Invalid offset + byte size for shared memory region: 'r'",
        ),
        (
            at("r", 65),
            "INVALID_ARGUMENT",
            "Invalid offset + byte size for shared memory region: 'r'",
        ),
        (
            at("r", 2**63 - 1, 63),
            "INVALID_ARGUMENT",
            "Invalid offset + byte size for shared memory region: 'r'",
        ),
        (
            at("r", 12),
            "INVALID_ARGUMENT",
            "[request id: <id_unknown>] input byte size mismatch for input 'INPUT0' for model "
            "'echo_fp32'. Expected 16, got 12",
        ),
    ],
)
def test_an_input_that_lies_nowhere(
    door: Door, source: dict[str, object], code: str, text: str
) -> None:
    door.infer("echo_fp32", "FP32", [4], source).assert_refused(code, text)


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize(
    ("target", "code", "text"),
    [
        (at("x", 16), "NOT_FOUND", "Unable to find shared memory region: 'x'"),
        (at("r", 16, 70), "INVALID_ARGUMENT", "Invalid offset for shared memory region: 'r'"),
        (
            at("r", 33, 32),
            "INVALID_ARGUMENT",
            "Invalid offset + byte size for shared memory region: 'r'",
        ),
        (
            at("r", 12, 32),
            "INTERNAL",
            "shared memory size specified with the request for output 'OUTPUT0' (12 bytes) should "
            "be at least 16 bytes to hold the results",
        ),
    ],
)
def test_an_output_that_fits_nowhere(
    door: Door, region: SharedObject, target: dict[str, object], code: str, text: str
) -> None:
    door.infer("echo_fp32", "FP32", [4], VALUES, target).assert_refused(code, text)
    assert region.read() == VALUES + bytes(48), "nothing was written"


@pytest.mark.usefixtures("region")
def test_negative_numbers_name_no_memory(door: Door) -> None:
    for parameter, text in [
        ("shared_memory_offset", "Invalid offset"),
        ("shared_memory_byte_size", "Invalid offset + byte size"),
    ]:
        source = {**at("r", 16), parameter: -1}
        reply = door.infer("echo_fp32", "FP32", [4], source)
        if door.name == "grpc":
            reply.assert_refused("INVALID_ARGUMENT", f"{text} for shared memory region: 'r'")
        else:
            reply.assert_refused(
                "INTERNAL",
                f"Unable to parse '{parameter}': attempt to access JSON non-unsigned-integer as "
                "unsigned-integer",
            )


@pytest.mark.usefixtures("region")
def test_a_region_comes_with_its_size(shm_server: Server, door: Door) -> None:
    if door.name == "http" and shm_server.is_oracle:
        pytest.skip("2.51 takes it for 0 over HTTP")
    text = (
        "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter "
        "for tensor '{}'"
    )
    reply = door.infer("echo_fp32", "FP32", [4], at("r"))
    reply.assert_refused("INVALID_ARGUMENT", text.format("INPUT0"))
    reply = door.infer("echo_fp32", "FP32", [4], VALUES, at("r"))
    reply.assert_refused("INVALID_ARGUMENT", text.format("OUTPUT0"))


def test_grpc_wants_the_region_with_the_size(shm_server: Server) -> None:
    grpc_door = GrpcDoor(shm_server.grpc_address)
    for parameter in ("shared_memory_offset", "shared_memory_byte_size"):
        text = f"'{parameter}' can not be specified without 'shared_memory_region' parameter for"
        door = GrpcShm(grpc_door)
        door.infer("echo_fp32", "FP32", [4], {parameter: 1}).assert_refused(
            "INVALID_ARGUMENT", f"{text} tensor 'INPUT0'"
        )
        door.infer("echo_fp32", "FP32", [4], VALUES, {parameter: 1}).assert_refused(
            "INVALID_ARGUMENT", f"{text} tensor 'OUTPUT0'"
        )
    grpc_door.close()


@pytest.mark.usefixtures("region")
def test_an_output_goes_to_one_place(door: Door) -> None:
    first = "o" if door.name == "grpc" else "O"
    reply = door.infer("echo_fp32", "FP32", [4], VALUES, {**at("r", 16), "classification": 1})
    reply.assert_refused(
        "INVALID_ARGUMENT",
        f"{first}utput can't set both 'shared_memory_region' and 'classification'",
    )
    if door.name == "http":
        reply = door.infer("echo_fp32", "FP32", [4], VALUES, {**at("r", 16), "binary_data": True})
        reply.assert_refused(
            "INVALID_ARGUMENT",
            "Output can't set both 'shared_memory_region' and 'binary_data'",
        )


@pytest.mark.parametrize("is_shared", [False, True])
def test_an_input_comes_from_one_place(
    shm_server: Server, region: SharedObject, is_shared: bool
) -> None:
    assert region.key
    parameters: dict[str, object] = at("r", 16) if is_shared else {}
    sources = " 'data' 'binary_data_size'" + " 'shared_memory_region'" * is_shared
    source = tensor("INPUT0", "FP32", [4], [1, 2, 3, 4], binary_data_size=16, **parameters)
    answer = shm_server.http.infer("echo_fp32", [source])
    assert (answer.status, answer.error) == (
        400,
        "Input must set only one of the following fields: 'data', 'binary_data_size' in "
        f"'parameters', 'shared_memory_region' in 'parameters'. But set{sources}",
    )


def test_inputs_of_all_kinds_go_together(door: Door, region: SharedObject) -> None:
    """Raw entries are those of the inputs that lie nowhere else, in order."""
    region.write(fp32(5), offset=16)
    if isinstance(door, HttpShm):
        head = {
            "inputs": [
                tensor("INPUT0", "FP32", [1, 4], **at("r", 16)),
                tensor("INPUT1", "FP32", [1, 2], binary_data_size=8),
            ]
        }
        answer = door.door.infer_binary("pair", head, fp32(6, 7))
        assert answer.status == 200
        assert [each["data"] for each in answer.json["outputs"]] == [[1, 2, 3, 4], [6, 7]]
        return
    inputs = [wire.tensor("INPUT0", "FP32", [1, 4]), wire.tensor("INPUT1", "FP32", [1, 2])]
    for name, value in at("r", 16).items():
        kind = "string_param" if isinstance(value, str) else "int64_param"
        inputs[0].parameters[name].CopyFrom(wire.parameter(**{kind: value}))
    reply = door.door.infer(wire.request("pair", inputs, [fp32(6, 7)]))
    assert list(reply.raw_output_contents) == [VALUES, fp32(6, 7)]


def test_typed_contents_do_not_go_with_shared_memory(shm_server: Server) -> None:
    grpc_door = GrpcDoor(shm_server.grpc_address)
    with SharedObject(VALUES) as shared:
        GrpcShm(grpc_door).register("t", shared.key, 16).assert_ok()
        source = wire.tensor("INPUT0", "FP32", [4], fp32_contents=[1, 2, 3, 4])
        source.parameters["shared_memory_region"].string_param = "t"
        source.parameters["shared_memory_byte_size"].int64_param = 16
        code, text = grpc_door.refusal("ModelInfer", wire.request("echo_fp32", [source]))
        GrpcShm(grpc_door).unregister("t")
    grpc_door.close()
    assert (code, text) == (
        "INVALID_ARGUMENT",
        "unexpected 'content' provided when using shared memory for input tensor 'INPUT0' for "
        "model 'echo_fp32'",
    )


@pytest.mark.ours("2.51 dies of SIGBUS")
def test_an_object_cut_short_harms_nobody(door: Door) -> None:
    text = "Invalid offset + byte size for shared memory region: 'x'"
    with SharedObject(bytes(8192)) as shared:
        door.register("x", shared.key, 8192).assert_ok()
        shared.truncate(16)
        door.infer("echo_fp32", "FP32", [4], at("x", 16, 4096)).assert_refused(
            "INVALID_ARGUMENT", text
        )
        door.infer("echo_fp32", "FP32", [4], VALUES, at("x", 16, 4096)).assert_refused(
            "INVALID_ARGUMENT", text
        )
        reply = door.infer("echo_fp32", "FP32", [4], at("x", 16)).assert_ok()
        assert reply.outputs["OUTPUT0"][2] == ZEROS


def test_no_gpu_no_cuda_memory(shm_server: Server, door: Door, region: SharedObject) -> None:
    assert region.key
    assert door.regions(kind="cuda") == []
    # The oracle is a build for GPUs that finds none.
    text = shm_server.choose(
        current="failed to register CUDA shared memory region: 'c', GPUs not supported",
        triton_2_51="failed to register shared memory region: invalid args",
    )
    door.register_cuda("c").assert_refused("INVALID_ARGUMENT", text)
    door.unregister("c", "cuda").assert_ok()
    door.unregister(kind="cuda").assert_ok()
    assert [entry["name"] for entry in door.regions()] == ["r"], "of the other kind"
    door.status("r", "cuda").assert_refused(
        "NOT_FOUND",
        "The region named 'r' is registered as system shared memory, not CUDA shared memory",
    )


@pytest.mark.ours("2.51 unmaps the region under the request")
def test_a_region_in_use_is_released_with_its_request(shm_server: Server, gate: Gate) -> None:
    door = HttpShm(shm_server.http)
    with SharedObject(fp32(1, 0)) as shared, ThreadPoolExecutor(1) as pool:
        door.register("g", shared.key, 8).assert_ok()
        asked = pool.submit(door.infer, "gate", "FP32", [1], at("g", 4), at("g", 4, 4))
        try:
            gate.wait_for_execution()
            door.unregister("g").assert_ok()
            assert [entry["name"] for entry in door.regions()] == ["g"]
        finally:
            gate.open()
        asked.result(WAIT_S).assert_ok()
        assert shared.read() == fp32(1, 1)
        wait_until(lambda: door.regions() == [], WAIT_S, "end of the region")


def test_the_published_clients_share_memory(shm_server: Server) -> None:
    clients: list[tuple[Any, Any]] = [
        (tritonclient.http, tritonclient.http.InferenceServerClient(shm_server.http.address)),
        (tritonclient.grpc, tritonclient.grpc.InferenceServerClient(shm_server.grpc_address)),
    ]
    values = np.arange(4, dtype=np.float32)
    handle = shm.create_shared_memory_region("client", "/tritongw_test_client", 32)
    try:
        shm.set_shared_memory_region(handle, [values])
        for module, client in clients:
            client.register_system_shared_memory("client", "/tritongw_test_client", 32)
            status = client.get_system_shared_memory_status("client")
            assert len(status if module is tritonclient.http else status.regions) == 1
            source = module.InferInput("INPUT0", [4], "FP32")
            source.set_shared_memory("client", 16)
            target = module.InferRequestedOutput("OUTPUT0")
            target.set_shared_memory("client", 16, offset=16)
            result = client.infer("echo_fp32", [source], outputs=[target])
            output = result.get_output("OUTPUT0")
            shape = output["shape"] if module is tritonclient.http else list(output.shape)
            assert shape == [4]
            found = shm.get_contents_as_numpy(handle, np.float32, [4], offset=16)
            np.testing.assert_array_equal(found, values)
            found[:] = 0
            if shm_server.is_oracle:
                wait_until_free(shm_server)
            client.unregister_system_shared_memory("client")
            cuda = client.get_cuda_shared_memory_status()
            assert len(cuda if module is tritonclient.http else cuda.regions) == 0
            client.close()
    finally:
        shm.destroy_shared_memory_region(handle)


@pytest.mark.ours("2.51 has no such switch")
def test_without_leave_nothing_is_shared(server: Server) -> None:
    text = (
        "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to "
        "enable."
    )
    grpc_door = GrpcDoor(server.grpc_address)
    with SharedObject(VALUES) as shared:
        for door in (HttpShm(server.http), GrpcShm(grpc_door)):
            replies = [
                door.register("r", shared.key, 16),
                door.register_cuda("c"),
                door.unregister("r"),
                door.unregister(kind="cuda"),
                door.infer("echo_fp32", "FP32", [4], at("r", 16)),
                door.infer("echo_fp32", "FP32", [4], VALUES, at("r", 16)),
            ]
            for reply in replies:
                reply.assert_refused("UNIMPLEMENTED", text)
            assert door.regions() == []
            assert door.regions(kind="cuda") == []
    grpc_door.close()
