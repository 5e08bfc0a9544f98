# SPDX-License-Identifier: Apache-2.0
"""What a ``model.py`` sees and does, in a worker process and in the server's own."""

from __future__ import annotations

import array
import contextlib
import json
import os
import re
import urllib.request
from pathlib import Path

import pytest
from python_api_support import Server, numbers_input

UNPACKED = "Failed to process the request(s) for model '{model}_0', message: "


def test_arguments_of_initialize_are_texts(server: Server, host: str) -> None:
    arguments = json.loads(server.command(f"commands_{host}", "arguments").data()[0])
    directory = arguments.pop("model_repository")
    assert directory.endswith(f"/commands_{host}")
    assert arguments == {
        "model_config": f"commands_{host}",
        "model_instance_kind": "CPU",
        "model_instance_name": f"commands_{host}_0",
        "model_instance_device_id": "0",
        "model_version": "1",
        "model_name": f"commands_{host}",
        "types": ["str"],
    }


def test_request_tells_what_the_client_sent(server: Server, host: str) -> None:
    answer = server.command(
        f"commands_{host}",
        "request",
        id="seven",
        parameters={
            "sequence_id": 5,
            "sequence_start": True,
            "timeout": 9000000,
            "priority": 2,
            "own": 1.5,
        },
        outputs=[{"name": "OUTPUT"}],
    )
    assert json.loads(answer.data()[0]) == {
        "id": "seven",
        "correlation_id": 5,
        "flags": 1,
        "timeout": 9000000,
        "priority": 2,
        "parameters": '{"own":1.5}',
        "outputs": ["OUTPUT"],
        "inputs": ["INPUT"],
        "is_cancelled": False,
        "trace": None,
    }


def test_request_without_extras_asks_for_every_output(server: Server, host: str) -> None:
    seen = json.loads(server.command(f"commands_{host}", "request").data()[0])
    assert (seen["outputs"], seen["parameters"]) == (["OUTPUT", "SECOND"], "{}")


def test_only_a_worker_is_another_process(server: Server) -> None:
    worker = int(server.command("commands_worker", "process_id").data()[0])
    in_process = int(server.command("commands_in_process", "process_id").data()[0])
    assert worker != server.process.pid
    assert in_process == server.process.pid
    with pytest.raises(ChildProcessError):
        os.waitpid(worker, os.WNOHANG)  # a child of the server, not of ours


def test_model_directory_and_relative_imports(server: Server, host: str) -> None:
    directory, beside, module = json.loads(server.command(f"commands_{host}", "where").data()[0])
    assert directory.endswith(f"/commands_{host}/1")
    assert beside == f"{directory}/beside.py"
    assert module.endswith(".model")
    assert host != "worker" or module == "1.model"


def test_logger_writes_to_the_log_of_the_server(server: Server, host: str) -> None:
    assert server.command(f"commands_{host}", "log").status == 200
    whose = rf"\[commands_{host}_0\]"
    for level, text in [("I", "an information"), ("W", "a warning"), ("E", "an error")]:
        server.wait_for_log(rf'(?m)^{level}.* model\.py:\d+\] "{whose} {text}"$')
    server.wait_for_log(rf'(?m)model\.py:\d+\] "{whose} a detail"$')
    server.wait_for_log(rf'(?m)^W.* model\.py:\d+\] "{whose} a line"$')


def test_exception_is_told_with_its_frames(server: Server, host: str) -> None:
    answer = server.command(f"commands_{host}", "raise_value_error")
    assert answer.status == 500
    start = re.escape(UNPACKED.format(model=f"commands_{host}"))
    frame = r"  /\S+/model\.py\(\d+\): {}\n"
    frames = "".join(
        frame.format(name) for name in ("raise_value_error", "answer", "<listcomp>", "execute")
    ).replace(frame.format("<listcomp>"), f"(?:{frame.format('<listcomp>')})?")
    assert re.fullmatch(rf"{start}ValueError: boom\n\nAt:\n{frames}", answer.error)


def test_exception_of_pb_utils_is_told_by_its_short_name(server: Server, host: str) -> None:
    answer = server.command(f"commands_{host}", "raise_own_error")
    text = UNPACKED.format(model=f"commands_{host}") + "TritonModelException: own boom\n\nAt:\n"
    assert answer.error.startswith(text)


def test_error_response_keeps_code_and_text(server: Server, host: str) -> None:
    answer = server.command(f"commands_{host}", "error")
    assert (answer.status, answer.body) == (404, {"error": "nothing here"})


@pytest.mark.parametrize(
    ("command", "found"), [("wrong_type", "<class 'str'>"), ("nothing", "<class 'NoneType'>")]
)
def test_response_of_another_type_is_refused(
    server: Server, host: str, command: str, found: str
) -> None:
    answer = server.command(f"commands_{host}", command)
    expected = (
        "Expected an 'InferenceResponse' object in the execute function return list, found type "
        f"'{found}'.\n"
    )
    assert answer.status == 500
    assert answer.error == UNPACKED.format(model=f"commands_{host}") + expected


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("none", "Expected a list in the execute return, found type '<class 'NoneType'>'.\n"),
        ("tuple", "Expected a list in the execute return, found type '<class 'tuple'>'.\n"),
        (
            "short",
            "Number of InferenceResponse objects do not match the number of InferenceRequest "
            "objects. InferenceRequest(s) size is:1, and InferenceResponse(s) size is:0\n",
        ),
    ],
)
def test_execute_must_return_one_response_per_request(
    server: Server, host: str, command: str, text: str
) -> None:
    answer = server.command(f"list_expected_{host}", command)
    assert answer.status == 500
    assert answer.error == UNPACKED.format(model=f"list_expected_{host}") + text


def test_only_requested_outputs_are_sent(server: Server, host: str) -> None:
    model = f"commands_{host}"
    both = server.command(model, "both_outputs").body["outputs"]
    assert [output["name"] for output in both] == ["OUTPUT", "SECOND"]
    one = server.command(model, "both_outputs", outputs=[{"name": "SECOND"}]).body["outputs"]
    assert [output["name"] for output in one] == ["SECOND"]
    unknown = server.command(model, "unknown_output").body["outputs"]
    assert [output["name"] for output in unknown] == ["OUTPUT"]


def test_texts_may_be_bytes_str_or_anything(server: Server, host: str) -> None:
    answer = server.command(f"commands_{host}", "str_output", outputs=[{"name": "OUTPUT"}])
    assert answer.data() == ["grün", "x", "7"]


def test_response_parameters_reach_the_client(server: Server, host: str) -> None:
    answer = server.command(f"commands_{host}", "parameters")
    assert answer.body["parameters"] == {"s": "x", "i": 3, "b": True, "d": 1.5}


@pytest.mark.parametrize(("command", "text"), [("sender", "sent"), ("late_sender", "late")])
def test_sender_answers_instead_of_execute(
    server: Server, host: str, command: str, text: str
) -> None:
    assert server.command(f"commands_{host}", command).data() == [text]


def test_request_that_is_let_go_is_answered(server: Server, host: str) -> None:
    answer = server.command(f"commands_{host}", "dropped_sender")
    assert answer.status == 500
    assert answer.error == "the model let the request go without a response"


def test_sender_refuses_what_breaks_its_rules(server: Server, host: str) -> None:
    assert server.command(f"commands_{host}", "sender_errors").data() == ["sent"]
    # Printed after the response is sent.
    found = server.wait_for_log(rf"(?m)sender errors of commands_{host}_0: (.*)$")
    start = "Unable to send response. "
    # What a worker prints is quoted, as every line of the log.
    printed = json.loads(f'"{found.group(1)}') if host == "worker" else found.group(1)
    assert json.loads(printed) == [
        "Inference Response object must be provided when the response flags is set to zero.",
        start + "Unsupported flag provided.",
        start + "Non-decoupled model cannot send complete final before sending a response.",
        start + "Non-decoupled model cannot send more than one response.",
        start + "Response sender has been closed.",
    ]


def test_coroutines_run(server: Server, host: str) -> None:
    assert server.command(f"commands_{host}", "loop").data() == ["async"]


@pytest.mark.parametrize("size", [4, 5_000])
def test_inputs_are_views_that_may_be_written_and_kept(
    server: Server, host: str, size: int
) -> None:
    model = f"numbers_{host}"
    first = [float(number) for number in range(size)]
    second = [float(-number) for number in range(size)]
    assert server.infer(model, inputs=[numbers_input(first)]).status == 200
    answer = server.infer(model, inputs=[numbers_input(second)])
    assert answer.data("OUTPUT") == [2 * number for number in second]
    assert answer.data("SECOND") == [2 * number for number in first]


def test_large_tensors_pass_again_and_again(server: Server, host: str) -> None:
    model = f"numbers_{host}"
    for round_number in range(5):
        values = [float(round_number)] * 200_000
        answer = server.infer(model, inputs=[numbers_input(values)], outputs=[{"name": "OUTPUT"}])
        assert answer.data() == [2.0 * round_number] * 200_000


@pytest.mark.parametrize("padding", range(4))
def test_large_binary_inputs_are_aligned_wherever_they_lie(
    server: Server, host: str, padding: int
) -> None:
    values = array.array("f", range(300_000))
    answer = server.infer_binary(f"numbers_{host}", values.tobytes(), padding=padding)
    assert answer == array.array("f", (2 * value for value in values)).tobytes()


@pytest.mark.parametrize("padding", range(4))
def test_large_input_lies_where_the_socket_was_read_to(
    server: Server, host: str, padding: int
) -> None:
    answer = server.infer_binary(f"places_{host}", bytes(4 << 20), padding=padding)
    is_received, offset = array.array("f", answer)
    # The memory of a request begins at a page, and its first tensor at the first cache line
    # behind the JSON head that leaves room for it. A copy would begin at a page itself.
    assert is_received
    assert 0 < offset < 512
    assert offset % 64 == 0


def test_input_that_is_returned_is_sent_from_where_it_lies(server: Server, host: str) -> None:
    before = pages_of_outputs(server)
    values = array.array("f", range(4 << 20)).tobytes()
    assert server.infer_binary(f"returns_{host}", values, padding=0) == values[4:]
    written = [pages - before.get(slab, 0) for slab, pages in pages_of_outputs(server).items()]
    assert max(written, default=0) < len(values)


def pages_of_outputs(server: Server) -> dict[int, int]:
    """Return by inode how many bytes of the memory for large outputs of each worker are in use."""
    found = {}
    for descriptor in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if "memfd:tritongw-outputs" in str(descriptor.readlink()):
                status = descriptor.stat()
                found[status.st_ino] = status.st_blocks * 512
    assert found
    return found


def test_input_that_is_sent_and_changed_is_copied_before(server: Server, host: str) -> None:
    values = [float(number) for number in range(40_000)]
    body = json.dumps({"INPUT": values}).encode()
    head = server.url + f"/v2/models/decoupled_returns_{host}/generate_stream"
    with urllib.request.urlopen(urllib.request.Request(head, body), timeout=30) as reply:
        events = [line for line in reply.read().split(b"\n\n") if line]
    answers = [json.loads(event.removeprefix(b"data: "))["OUTPUT"] for event in events]
    assert answers == [[value + step for value in values] for step in (1, 2, 3)]


def test_failure_to_initialize_fails_the_load_with_its_text(server: Server, host: str) -> None:
    assert server.get(f"/v2/models/fails_to_load_{host}/ready").status == 400
    found = re.search(
        rf"failed to load 'fails_to_load_{host}' version 1: Internal: RuntimeError: no weights"
        r"(\\n|\n){2}At:(\\n|\n)  \S+/model\.py\(\d+\): read",
        server.log,
    )
    assert found, server.log


def test_configuration_is_completed_in_a_process_of_its_own(server: Server) -> None:
    config = server.get("/v2/models/completed_worker/config").body
    assert config["max_batch_size"] == 4
    assert "dynamic_batching" in config
    assert [tensor["name"] for tensor in config["input"] + config["output"]] == ["INPUT", "OUTPUT"]
    request = {"name": "INPUT", "datatype": "BYTES", "shape": [1, 1], "data": ["x"]}
    assert server.infer("completed_worker", inputs=[request]).data() == ["False"]


def test_finalize_is_called_when_the_server_stops(tmp_path_factory: pytest.TempPathFactory) -> None:
    from python_api_support import HOSTS, MODELS, write_model

    repository = tmp_path_factory.mktemp("repository")
    for host in HOSTS:
        write_model(repository, MODELS / "commands.py", host, data_type="TYPE_STRING")
    server = Server(repository, tmp_path_factory.mktemp("log") / "log")
    assert server.command("commands_worker", "ok").status == 200
    server.stop()
    assert server.process.returncode == 0
    for host in HOSTS:
        assert f"finalized commands_{host}_0" in server.log
