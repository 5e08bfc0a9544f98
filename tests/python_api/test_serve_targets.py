# SPDX-License-Identifier: Apache-2.0
"""``tritongw serve`` of what lies in no model repository."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from python_api_support import PORTS, RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator

APPS = Path(__file__).resolve().parent / "apps"
EXAMPLES = APPS.parents[2] / "model_repository"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    log = tmp_path_factory.mktemp("log") / "log"
    targets = ["app.py", "minus=app:plain", "triton=triton_app.py:Triton"]
    targets += [f"net={EXAMPLES / 'mlp' / '1' / 'model.onnx'}", str(EXAMPLES)]
    with RunningServer(log, *targets, "--model-control-mode=explicit", directory=APPS) as server:
        yield server


def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def fp32(name: str, shape: list[int], data: list[float]) -> dict[str, Any]:
    return tensor(name, "FP32", shape, data)


def test_function_gets_arrays_and_gives_arrays(served: RunningServer) -> None:
    answer = served.infer("double", inputs=[fp32("x", [2, 2], [1, 2, 3, 4])])
    assert answer.data("output") == [2, 4, 6, 8]
    answer = served.infer("minus", inputs=[fp32("x", [2], [1, 2])])
    assert answer.data("output") == [-1, -2]


def test_requests_share_a_call_and_get_their_rows(served: RunningServer) -> None:
    def ask(value: float) -> Any:
        return served.infer("merged", inputs=[fp32("x", [1, 3], [value, 1, 1])])

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(ask, [1, 10]))
    assert [answer.data("total") for answer in answers] == [[3], [12]]
    assert [answer.data("rows") for answer in answers] == [[2], [2]]


def test_optional_inputs_may_be_left_out(served: RunningServer) -> None:
    x = fp32("x", [2, 1], [1, 2])
    weights = fp32("weights", [2, 1], [10, 100])
    assert served.infer("merged", inputs=[x, weights]).data("total") == [10, 200]
    name = tensor("name", "BYTES", [1], ["you"])
    assert served.infer("greet", inputs=[name]).data("output") == ["Hello you! "]
    times = tensor("times", "INT64", [1], [2])
    assert served.infer("greet", inputs=[name, times]).data("output") == ["Hello you! " * 2]


def test_class_is_made_once(served: RunningServer) -> None:
    text = tensor("text", "BYTES", [1], ["hush"])
    for calls in (1, 2):
        answer = served.infer("shout", inputs=[text])
        assert (answer.data("output0"), answer.data("output1")) == (["HUSH"], [calls])
    answer = served.infer("shout", inputs=[tensor("text", "BYTES", [1], [""])])
    assert answer.status == 500
    assert "ValueError: nothing to shout" in answer.error
    assert re.search(r"/app\.py\(\d+\): __call__", answer.error)


def stream(served: RunningServer, model: str, **fields: Any) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{served.url}/v2/models/{model}/generate_stream", json.dumps(fields).encode()
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        lines = reply.read().decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


def test_generators_stream(served: RunningServer) -> None:
    assert [each["output"] for each in stream(served, "count", to=3)] == [0, 1, 2]
    assert [each["output"] for each in stream(served, "letters", text="abc")] == ["a", "b", "c"]
    *before, last = stream(served, "count", to=9)
    assert [each["output"] for each in before] == [0, 1, 2, 3, 4]
    assert last["error"].startswith("ValueError: five is too far\n\nAt:\n  ")


def test_coroutine_functions_are_awaited(served: RunningServer) -> None:
    answer = served.infer("later", inputs=[tensor("text", "BYTES", [1], ["see you"])])
    assert answer.data("output") == ["see you, later"]


def test_what_does_not_fit_the_signature_is_an_error(served: RunningServer) -> None:
    answer = served.infer("wrong_shape", inputs=[fp32("x", [1], [1])])
    assert "ValueError: output 'output' has shape (1,), expected (2,)" in answer.error
    answer = served.infer("wrong_type", inputs=[fp32("x", [1], [1])])
    assert "output 'output' is declared INT32, but the function gave float32" in answer.error
    answer = served.infer("double", inputs=[tensor("x", "INT32", [1, 1], [1])])
    reason = "inference input 'x' data-type is 'INT32', but model 'double' expects 'FP32'"
    assert answer.error == f"[request id: <id_unknown>] {reason}"


def test_instances_and_parameters_are_configured(served: RunningServer) -> None:
    config = served.get("/v2/models/where/config").body
    assert config["instance_group"][0]["count"] == 2
    assert config["parameters"] == {"note": {"string_value": 'a "note"'}}
    with ThreadPoolExecutor(8) as pool:
        asked = pool.map(lambda _: served.infer("where", inputs=[fp32("x", [1], [0])]), range(64))
        assert 1 <= len({answer.data("output")[0] for answer in asked}) <= 2


def test_a_triton_class_is_served_as_it_is(served: RunningServer) -> None:
    assert served.infer("triton", inputs=[fp32("X", [1], [1])]).data("Y") == [2]


def test_an_onnx_file_tells_its_own_signature(served: RunningServer) -> None:
    ours, theirs = (served.get(f"/v2/models/{name}").body for name in ("net", "mlp"))
    assert "error" in theirs, "a repository's models are loaded when they are asked for"
    assert [each["name"] for each in ours["inputs"]]
    assert served.get("/v2/models/net/ready").status == 200


def test_the_printed_request_works_as_pasted(served: RunningServer) -> None:
    served.wait_for_log(r"try it:\n(?:  curl .*\n)+\n")
    commands = re.findall(r"  (curl .*)\n", served.log)
    for name in ("double", "count", "minus", "triton"):
        (command,) = [each for each in commands if f"/{name}/" in each]
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True)
        answer = json.loads(done.stdout.removeprefix("data: ") or "{}")
        assert name == "count" or answer["model_name"] == name, answer


def refusal(directory: Path, *targets: str) -> str:
    command = [sys.executable, "-m", "tritongw", "serve", *targets, *PORTS]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=directory
    )
    assert done.returncode == 1
    assert "Started HTTPService" not in done.stderr
    return done.stderr


def test_a_broken_file_shows_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def model(x):\n    pass\n\nraise RuntimeError('broken')\n")
    told = refusal(tmp_path, "app.py:model")
    assert f'File "{tmp_path}/app.py", line 4, in <module>' in told
    assert "RuntimeError: broken" in told
    assert "_targets.py" not in told


def test_completion_is_needed(tmp_path: Path) -> None:
    told = refusal(tmp_path, "app.py:model", "--disable-auto-complete-config")
    assert "models without a configuration need its completion" in told
