# SPDX-License-Identifier: Apache-2.0
"""Model that calls others as the text in its input says, and answers with what it heard."""

import json
import threading

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.seen = {}
        try:
            request().exec()
        except pb_utils.TritonModelException as error:
            self.seen["initialize"] = str(error)

    def execute(self, requests):
        return [self.obey(request) for request in requests]

    def obey(self, asked):
        command = pb_utils.get_input_tensor_by_name(asked, "COMMAND").as_numpy().reshape(-1)[0]
        name, *arguments = json.loads(command)
        self.asked = asked
        try:
            heard = getattr(self, name)(*arguments)
        except Exception as error:
            heard = f"{type(error).__name__}: {error}"
        return answer(json.dumps(heard))

    def call(self, options):
        return describe(request(**options).exec())

    def call_told(self, options):
        response = request(**options).exec()
        told = pb_utils.get_output_tensor_by_name(response, "TOLD")
        return json.loads(told.as_numpy().reshape(-1)[0])

    def traced(self):
        return describe(request(trace=self.asked.trace()).exec())

    def with_preferred_memory(self, kind):
        memory = pb_utils.PreferredMemory(getattr(pb_utils, kind), 0)
        response = request(preferred_memory=memory).exec()
        return [describe(response), response.output_tensors()[0].is_cpu()]

    def twice(self):
        one = request()
        return [describe(one.exec()), describe(one.exec())]

    def make(self, options):
        pb_utils.InferenceRequest(**options)

    def make_without_tensor(self):
        request(inputs=[None])

    def wrong_type(self):
        tensor = pb_utils.Tensor("IN", np.ones(1, np.int32))
        return describe(request(inputs=[tensor]).exec())

    def transposed(self):
        array = np.arange(6, dtype=np.float32).reshape(2, 3).T
        return describe(request("rows", inputs=[pb_utils.Tensor("IN", array)]).exec())

    def large(self, count):
        values = np.arange(count, dtype=np.float32)
        response = request(inputs=[pb_utils.Tensor("IN", values)]).exec()
        output = response.output_tensors()[0].as_numpy()
        again = request(inputs=[pb_utils.Tensor("IN", output)]).exec()
        output = again.output_tensors()[0].as_numpy()
        output += 1  # the caller's own
        return bool((output == values + 3).all())

    def texts(self, count):
        texts = np.array([f"é{index}".encode() for index in range(count)], np.object_)
        inputs = [pb_utils.Tensor("IN", texts)]
        response = request("texts", inputs=inputs).exec()
        return bool((response.output_tensors()[0].as_numpy() == texts).all())

    def pipeline(self, value):
        """Three steps, each on the output of the one before."""
        tensor = pb_utils.Tensor("IN", np.array([value], np.float32))
        for _ in range(3):
            response = request(inputs=[tensor]).exec()
            if response.has_error():
                raise pb_utils.TritonModelException(response.error().message())
            tensor = pb_utils.Tensor("IN", response.output_tensors()[0].as_numpy())
        return tensor.as_numpy().tolist()

    def route(self, value):
        """One model or the other, as the value says."""
        model = "increment" if value < 10 else "rows"
        shape = (1,) if model == "increment" else (1, 1)
        inputs = [pb_utils.Tensor("IN", np.full(shape, value, np.float32))]
        return describe(request(model, inputs=inputs).exec())

    def from_threads(self, count):
        heard = [None] * count

        def run(index):
            heard[index] = describe(request(value=index).exec())["outputs"]["OUT"][0]

        threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return heard

    def stream(self, count):
        return [describe(each) for each in repeat(count).exec(decoupled=True)]

    def stream_of_one(self):
        return [describe(each) for each in request().exec(decoupled=True)]

    def stream_of_nobody(self):
        return [describe(each) for each in request("nobody").exec(decoupled=True)]

    def stream_undeclared(self):
        return describe(repeat(2).exec())

    def stream_again(self, count):
        responses = repeat(count).exec(decoupled=True)
        first = describe(next(responses))
        rest = [describe(each) for each in responses]
        again = [describe(each) for each in responses]
        try:
            next(responses)
        except StopIteration as error:
            return [first, rest, again, str(error)]

    def stream_twice_at_once(self, count):
        one, other = repeat(count).exec(decoupled=True), repeat(count).exec(decoupled=True)
        return [
            [describe(each)["outputs"] for each in pair] for pair in zip(one, other, strict=True)
        ]

    def stream_large(self, count):
        sizes = [
            each.output_tensors()[0].as_numpy().size
            for each in repeat(count, size=20000).exec(decoupled=True)
            if each.output_tensors()
        ]
        return [len(sizes), sum(sizes)]

    def stream_dropped(self):
        next(repeat(10000).exec(decoupled=True))
        return describe(repeat(1).exec(decoupled=True).__next__())

    def stream_cancelled(self):
        responses = repeat(-1).exec(decoupled=True)
        first = describe(next(responses))
        responses.cancel()
        last = [each for each in responses][-1]
        return [first, describe(last)]

    def await_without_loop(self):
        request().async_exec()

    def is_ready(self, *arguments):
        return pb_utils.is_model_ready(*arguments)

    def load(self, *arguments):
        pb_utils.load_model(*arguments)
        return "loaded"

    def load_files(self, name, config, files):
        files = {path: content.encode() for path, content in files.items()}
        pb_utils.load_model(model_name=name, config=config, files=files)
        return "loaded"

    def unload(self, *arguments):
        pb_utils.unload_model(*arguments)
        return "unloaded"

    def seen_in_initialize(self):
        return self.seen


def request(model="increment", value=1.0, **options):
    if "inputs" not in options:
        options["inputs"] = [pb_utils.Tensor("IN", np.array([value], np.float32))]
    if isinstance(options["inputs"], str):
        options["inputs"] = [pb_utils.Tensor(options["inputs"], np.ones(1, np.float32))]
    options.setdefault("requested_output_names", ["OUT"])
    return pb_utils.InferenceRequest(model_name=model, **options)


def repeat(count, size=1):
    inputs = [
        pb_utils.Tensor("COUNT", np.array([count], np.int32)),
        pb_utils.Tensor("SIZE", np.array([size], np.int32)),
    ]
    return pb_utils.InferenceRequest(
        model_name="repeat", requested_output_names=["OUT"], inputs=inputs
    )


def describe(response):
    if response.has_error():
        return {"error": response.error().message()}
    outputs = response.output_tensors()
    return {"outputs": {each.name(): each.as_numpy().tolist() for each in outputs}}


def answer(text):
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor("ANSWER", np.array([text.encode()], dtype=np.object_))]
    )
