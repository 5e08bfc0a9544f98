# SPDX-License-Identifier: Apache-2.0
"""``tritongw.testing``: models in a test's own process."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils

import tritongw
from tritongw import testing

TYPED_MODEL = Path(__file__).resolve().parent / "typed" / "model.py"

CONFIG = {
    "input": [{"name": "COMMAND", "data_type": "TYPE_STRING", "dims": [1]}],
    "output": [
        {"name": "ANSWER", "data_type": "TYPE_STRING", "dims": [-1]},
        {"name": "SECOND", "data_type": "TYPE_STRING", "dims": [-1]},
    ],
}
DECOUPLED = {**CONFIG, "model_transaction_policy": {"decoupled": True}}


def text(tensor: str, *values: object) -> Any:
    return pb_utils.Tensor(tensor, np.array([str(value) for value in values], dtype=object))


class Commands:
    """Does what its input says."""

    def initialize(self, args: dict[str, str]) -> None:
        self.args = args
        self.is_over = False

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        command = pb_utils.get_input_tensor_by_name(request, "COMMAND").as_numpy()[0]
        if command == b"describe":
            fields = (
                request.request_id(),
                request.correlation_id(),
                request.flags(),
                request.timeout(),
                request.priority(),
                json.loads(request.parameters()),
                sorted(request.requested_output_names()),
            )
            return pb_utils.InferenceResponse([text("ANSWER", *fields), text("SECOND", 2)])
        if command == b"raise":
            raise ValueError("as told")
        if command == b"error":
            error = pb_utils.TritonError("told so", pb_utils.TritonError.NOT_FOUND)
            return pb_utils.InferenceResponse(error=error)
        if command == b"later":
            sender = request.get_response_sender()
            answer = pb_utils.InferenceResponse([text("ANSWER", "from a thread")])
            threading.Thread(
                target=sender.send, args=(answer, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            ).start()
            return None
        if command == b"never":
            self.kept = request.get_response_sender()
            return None
        if command == b"nothing":
            return "nothing"
        if command == b"cancelled":
            return pb_utils.InferenceResponse([text("ANSWER", request.is_cancelled())])
        return pb_utils.InferenceResponse(
            [text("ANSWER", command.decode())], parameters={"number": 1, "flag": True}
        )

    def finalize(self) -> None:
        self.is_over = True


def ask(model: testing.ModelHarness, command: str, **fields: Any) -> testing.Response:
    return model.infer({"COMMAND": [command]}, **fields)


def test_requests_and_responses_have_all_their_fields() -> None:
    with testing.load(Commands, config=CONFIG) as model:
        assert model.model.args["model_name"] == "Commands"
        assert model.model.args["model_instance_name"] == "Commands_0"
        assert json.loads(model.model.args["model_config"]) == model.config
        response = ask(
            model,
            "describe",
            request_id="id",
            correlation_id=7,
            flags=pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START,
            timeout=5,
            priority=2,
            parameters={"a": 1, "b": "x", "c": True},
            requested_outputs=["ANSWER"],
        )
        expected = ["id", "7", "1", "5", "2", "{'a': 1, 'b': 'x', 'c': True}", "['ANSWER']"]
        assert [value.decode() for value in response["ANSWER"]] == expected
        # What nobody asked for is dropped, as a server does.
        assert list(response.outputs) == ["ANSWER"]
        response = ask(model, "describe", correlation_id="text")
        assert sorted(response.outputs) == ["ANSWER", "SECOND"]
        assert response["ANSWER"][1] == b"text"
        assert ask(model, "hello").parameters == {"number": 1, "flag": True}
        assert ask(model, "cancelled", is_cancelled=True)["ANSWER"] == [b"True"]
        assert ask(model, "later")["ANSWER"] == [b"from a thread"]
    assert model.model.is_over


def test_errors_are_exceptions_in_tritons_words() -> None:
    with testing.load(Commands, config=CONFIG, timeout_s=0.05) as model:
        with pytest.raises(testing.InferenceError, match=r"^told so$") as told:
            ask(model, "error")
        assert told.value.code == pb_utils.TritonError.NOT_FOUND
        with pytest.raises(testing.InferenceError) as raised:
            ask(model, "raise")
        head = "Failed to process the request(s) for model 'Commands_0', message: ValueError: as"
        assert str(raised.value).startswith(f"{head} told\n\nAt:\n  {__file__}(")
        assert isinstance(raised.value.__cause__, ValueError)
        with pytest.raises(testing.InferenceError, match="Expected an 'InferenceResponse' object"):
            ask(model, "nothing")
        with pytest.raises(TimeoutError, match=r"not sent all responses within 0\.05 seconds"):
            ask(model, "never")


def test_a_batch_is_one_call_and_fails_as_one() -> None:
    with testing.load(Commands, config=CONFIG) as model:
        asked = [{"COMMAND": [each]} for each in ("one", "error", "two")]
        first, failed, second = model.execute(asked)
        assert [first[0]["ANSWER"], second[0]["ANSWER"]] == [[b"one"], [b"two"]]
        assert str(failed[0].error) == "told so"
        answers = model.execute([asked[0], {"COMMAND": ["raise"]}])
        assert all("ValueError: as told" in str(each[0].error) for each in answers)


class Counting:
    """Answers as often as it is told."""

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            sender = request.get_response_sender()
            command = pb_utils.get_input_tensor_by_name(request, "COMMAND").as_numpy()[0]
            for number in range(int(command)):
                sender.send(pb_utils.InferenceResponse([text("ANSWER", number)]))
            if int(command) == 4:
                error = pb_utils.InferenceResponse(error=pb_utils.TritonError("four is too many"))
                sender.send(error)
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def test_decoupled_responses_are_a_list() -> None:
    with testing.load(Counting, config=DECOUPLED) as model:
        responses = model.stream({"COMMAND": ["3"]})
        assert [each["ANSWER"][0] for each in responses] == [b"0", b"1", b"2"]
        assert model.stream({"COMMAND": ["0"]}) == []
        with pytest.raises(ValueError, match="the model sent 3 responses; `stream` returns them"):
            model.infer({"COMMAND": ["3"]})
        with pytest.raises(testing.InferenceError, match="four is too many") as failed:
            model.stream({"COMMAND": ["4"]})
        assert len(failed.value.responses) == 4


class Asynchronous:
    """Everything on one event loop."""

    def initialize(self, args: dict[str, str]) -> None:
        self.event_loop = asyncio.get_event_loop()

    async def execute(self, requests: list[Any]) -> list[Any]:
        assert asyncio.get_running_loop() is self.event_loop
        await asyncio.sleep(0)
        command = pb_utils.get_input_tensor_by_name(requests[0], "COMMAND").as_numpy()[0]
        if command == b"call":
            call = pb_utils.InferenceRequest(
                model_name="other",
                inputs=[text("X", "question")],
                requested_output_names=["Y"],
            )
            response = await call.async_exec()
            return [pb_utils.InferenceResponse([text("ANSWER", *response_texts(response))])]
        return [pb_utils.InferenceResponse([text("ANSWER", command.decode())]) for _ in requests]

    def finalize(self) -> None:
        assert not self.event_loop.is_closed()


def response_texts(response: Any) -> list[str]:
    if response.has_error():
        return [response.error().message()]
    return [value.decode() for value in response.output_tensors()[0].as_numpy()]


def test_coroutines_run_on_the_models_loop() -> None:
    models = {"other": lambda inputs: {"Y": np.array([inputs["X"][0] + b"!"], dtype=object)}}
    with testing.load(Asynchronous, config=CONFIG, models=models) as model:
        assert ask(model, "hello")["ANSWER"] == [b"hello"]
        assert ask(model, "call")["ANSWER"] == [b"question!"]


class Caller:
    """Calls other models."""

    def execute(self, requests: list[Any]) -> list[Any]:
        return [pb_utils.InferenceResponse([text("ANSWER", *self.call(each))]) for each in requests]

    def call(self, request: Any) -> list[str]:
        command = pb_utils.get_input_tensor_by_name(request, "COMMAND").as_numpy()[0].decode()
        if command.startswith("load "):
            pb_utils.load_model(command.removeprefix("load "))
            return ["loaded"]
        if command.startswith("unload "):
            pb_utils.unload_model(command.removeprefix("unload "))
            return ["unloaded"]
        if command.startswith("ready "):
            return [str(pb_utils.is_model_ready(command.removeprefix("ready ")))]
        call = pb_utils.InferenceRequest(
            model_name=command,
            model_version=3,
            inputs=[pb_utils.Tensor("X", np.array([2.0], dtype=np.float32))],
            requested_output_names=["Y"],
            parameters={"why": "because"},
        )
        if command == "several":
            return [response_texts(each)[0] for each in call.exec(decoupled=True)]
        response = call.exec()
        if response.has_error():
            return [response.error().message()]
        return [str(response.output_tensors()[0].as_numpy()[0])]


def broken(inputs: dict[str, Any]) -> dict[str, Any]:
    raise AssertionError("the test is wrong")


def refusing(inputs: dict[str, Any]) -> dict[str, Any]:
    raise testing.InferenceError("not today", pb_utils.TritonError.UNAVAILABLE)


@tritongw.model(outputs={"Y": ("FP32", (1,))})
def square(X: Annotated[np.ndarray, "FP32", (1,)]) -> Any:
    return X * X


def test_other_models_are_functions_of_the_test() -> None:
    models: dict[str, Any] = {
        "double": lambda inputs: {"Y": inputs["X"] * 2, "unasked": inputs["X"]},
        "several": lambda inputs: [{"Y": np.array([each])} for each in ("a", "b")],
        "broken": broken,
        "refusing": refusing,
    }
    with (
        testing.load(square) as real,
        testing.load(Caller, config=CONFIG, models={**models, "real": real}) as model,
    ):
        assert ask(model, "double")["ANSWER"] == [b"4.0"]
        call = model.calls[0]
        assert (call.model_name, call.model_version) == ("double", 3)
        assert call.request.parameters == {"why": "because"}
        assert call.request.requested_outputs == ["Y"]
        assert list(ask(model, "several")["ANSWER"]) == [b"a", b"b"]
        assert ask(model, "real")["ANSWER"] == [b"4.0"]
        assert ask(model, "refusing")["ANSWER"] == [b"not today"]
        gone = "Failed for execute the inference request. Model 'gone', version: 3 is not ready."
        assert ask(model, "gone")["ANSWER"] == [gone.encode()]
        with pytest.raises(AssertionError, match="the test is wrong"):
            ask(model, "broken")


def test_model_control_is_faked() -> None:
    with testing.load(Caller, config=CONFIG, models={"m": lambda inputs: {"Y": inputs["X"]}}) as it:
        assert ask(it, "ready m")["ANSWER"] == [b"True"]
        assert ask(it, "unload m")["ANSWER"] == [b"unloaded"]
        assert ask(it, "ready m")["ANSWER"] == [b"False"]
        assert b"is not ready" in ask(it, "m")["ANSWER"][0]
        assert ask(it, "load m")["ANSWER"] == [b"loaded"]
        assert ask(it, "m")["ANSWER"] == [b"2.0"]
        with pytest.raises(testing.InferenceError, match="failed to load 'other'"):
            ask(it, "load other")


class Yielding:
    """Yields as many responses as its input says, no more than three."""

    def execute(self, requests: list[Any]) -> Any:
        (request,) = requests
        command = pb_utils.get_input_tensor_by_name(request, "COMMAND").as_numpy()[0]
        for number in range(int(command)):
            if number == 3:
                raise ValueError("three are enough")
            yield [pb_utils.InferenceResponse([text("ANSWER", number)])]


class YieldingOnItsLoop(Yielding):
    """The same on an event loop."""

    async def execute(self, requests: list[Any]) -> Any:
        for response in super().execute(requests):
            await asyncio.sleep(0)
            yield response


class Ready(Commands):
    """Says what it is told."""

    answer_is: object = True

    def is_ready(self) -> object:
        if isinstance(self.answer_is, Exception):
            raise self.answer_is
        return self.answer_is


class ReadyLater(Ready):
    async def is_ready(self) -> object:
        await asyncio.sleep(0)
        return super().is_ready()


class ReadyOnLoop(ReadyLater):
    async def execute(self, requests: list[Any]) -> list[Any]:
        return super().execute(requests)


@pytest.mark.parametrize("model_class", [Ready, ReadyLater, ReadyOnLoop])
def test_a_model_says_whether_it_is_ready(model_class: type[Ready]) -> None:
    with testing.load(model_class, config=CONFIG) as model:
        assert model.is_ready() is True
        model.model.answer_is = False
        assert model.is_ready() is False
        model.model.answer_is = np.True_
        with pytest.raises(TypeError, match="`is_ready` must return a bool, found bool"):
            model.is_ready()
        model.model.answer_is = ConnectionError("the database is gone")
        with pytest.raises(ConnectionError, match="the database is gone"):
            model.is_ready()


def test_a_model_that_does_not_say_is_ready() -> None:
    with testing.load(Commands, config=CONFIG) as model:
        assert model.is_ready() is True


def test_the_object_of_a_served_class_says_whether_it_is_ready() -> None:
    class Scale:
        is_loaded = False

        def __call__(
            self, x: Annotated[np.ndarray, "FP32", (-1,)]
        ) -> Annotated[np.ndarray, "FP32", (-1,)]:
            return x

        def is_ready(self) -> bool:
            return self.is_loaded

    with testing.load(Scale) as model:
        assert model.is_ready() is False
        Scale.is_loaded = True
        assert model.is_ready() is True


@pytest.mark.parametrize("model_class", [Yielding, YieldingOnItsLoop])
def test_yields_are_responses(model_class: type[Yielding]) -> None:
    with testing.load(model_class, config=DECOUPLED) as model:
        responses = model.stream({"COMMAND": ["2"]})
        assert [each["ANSWER"].tolist() for each in responses] == [[b"0"], [b"1"]]
        with pytest.raises(testing.InferenceError, match="three are enough") as failed:
            model.stream({"COMMAND": ["4"]})
        assert len(failed.value.responses) == 3
        assert isinstance(failed.value.__cause__, ValueError)


def test_a_file_is_completed_like_a_repository(tmp_path: Path) -> None:
    with testing.load(TYPED_MODEL) as model:
        assert (model.config["name"], model.config["max_batch_size"]) == ("typed", 8)
        answer = model.infer({"A": np.ones((2, 3), dtype=np.float32)})
        assert answer["SUM"].tolist() == [3, 3]
    version = tmp_path / "adder" / "2"
    version.mkdir(parents=True)
    (version / "model.py").write_text(TYPED_MODEL.read_text())
    (version.parent / "config.pbtxt").write_text("max_batch_size: 9")
    with pytest.raises(ValueError, match=r"max_batch_size 9, but in auto-complete-config"):
        testing.load(version).__enter__()
    (version.parent / "config.pbtxt").write_text("max_batch_sice: 4")
    with pytest.raises(ValueError, match=r"config\.pbtxt:1:1"):
        testing.load(version).__enter__()
    (version.parent / "config.pbtxt").write_text("max_batch_size: 4")
    with testing.load(version / "model.py", version=2) as model:
        assert (model.config["name"], model.config["max_batch_size"]) == ("adder", 8)
        assert model.model.__class__.__name__ == "TritonPythonModel"


def test_functions_run_as_they_are_served() -> None:
    @tritongw.model(max_batch_size=4)
    def double(x: Annotated[np.ndarray, "FP32", (-1,)]) -> Annotated[np.ndarray, "FP32", (-1,)]:
        assert x.shape == (3, 2), "the rows of two requests"
        return x * 2

    with testing.load(double) as model:
        assert model.config["name"] == "double"
        rows = [np.ones((count, 2), dtype=np.float32) for count in (1, 2)]
        answers = model.execute([{"x": each} for each in rows])
        assert [each[0]["output"].shape for each in answers] == [(1, 2), (2, 2)]
        with pytest.raises(testing.InferenceError, match="the rows of two requests"):
            model.infer({"x": rows[0]})


def test_what_initialize_raises_is_raised() -> None:
    class Broken:
        def initialize(self, args: dict[str, str]) -> None:
            raise LookupError("no weights")

        def execute(self, requests: list[Any]) -> list[Any]:
            return []

    with pytest.raises(LookupError, match="no weights"):
        testing.load(Broken, config=CONFIG).__enter__()
