# SPDX-License-Identifier: Apache-2.0
"""Does with its own metrics what the text in its input says."""

import json
import os
import signal

import numpy as np
import triton_python_backend_utils as pb_utils

FAMILY = pb_utils.MetricFamily


class TritonPythonModel:
    def initialize(self, args):
        self.prefix = args["model_name"]
        self.requests_family = FAMILY(
            name=f"{self.prefix}_requests_total",
            description="Requests that were answered",
            kind=FAMILY.COUNTER,
        )
        labels = {"model": args["model_name"], "version": args["model_version"]}
        self.requests = self.requests_family.Metric(labels=labels)

    def execute(self, requests):
        responses = []
        for request in requests:
            command = pb_utils.get_input_tensor_by_name(request, "COMMAND").as_numpy()[0]
            answer = getattr(self, command.decode())()
            self.requests.increment(1)
            tensor = np.array([json.dumps(answer).encode()], dtype=np.object_)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("ANSWER", tensor)]))
        return responses

    def count(self):
        return self.requests.value()

    def process_id(self):
        return os.getpid()

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def gauge(self):
        family = FAMILY(f"{self.prefix}_gauge", "A gauge", FAMILY.GAUGE)
        metric = family.Metric(labels={"b": "2", "a": "1"})
        seen = [metric.value()]
        for change, value in [
            (metric.increment, 2023.0),
            (metric.increment, -23.5),
            (metric.set, 999.9),
        ]:
            change(value)
            seen.append(metric.value())
        self.kept = family, metric
        return seen

    def histogram(self):
        family = FAMILY(f"{self.prefix}_histogram", "A histogram", FAMILY.HISTOGRAM)
        metric = family.Metric(labels={"x": "y"}, buckets=[0.1, 1.0, 2.5])
        for value in (0.05, 1.5, 6.0):
            metric.observe(value)
        self.kept_histogram = family, metric
        return None

    def shared(self):
        """Two of everything that stand for one."""
        families = [FAMILY(f"{self.prefix}_shared", text, FAMILY.COUNTER) for text in "ab"]
        first, second = (family.Metric(labels={"k": "v"}) for family in families)
        first.increment(7.5)
        del first
        second.increment(1)
        self.kept_shared = families, second
        return second.value()

    def refusals(self):
        counter = FAMILY(f"{self.prefix}_refusing_counter", "C", FAMILY.COUNTER)
        gauge = FAMILY(f"{self.prefix}_refusing_gauge", "G", FAMILY.GAUGE)
        histogram = FAMILY(f"{self.prefix}_refusing_histogram", "H", FAMILY.HISTOGRAM)
        count, level = counter.Metric(), gauge.Metric()
        times = histogram.Metric(buckets=[])
        return [
            refusal(lambda: count.increment(-1.0)),
            refusal(lambda: count.set(1.0)),
            refusal(lambda: count.observe(1.0)),
            refusal(lambda: level.observe(1.0)),
            refusal(lambda: times.increment(1.0)),
            refusal(lambda: times.set(1.0)),
            refusal(times.value),
            refusal(lambda: FAMILY(f"{self.prefix}_refusing_counter", "C", FAMILY.GAUGE)),
            refusal(histogram.Metric),
            refusal(lambda: histogram.Metric(buckets=[1.0, 1.0])),
            refusal(lambda: counter.Metric(buckets=[1.0])),
        ]

    def outlived(self):
        family = FAMILY(f"{self.prefix}_outlived", "O", FAMILY.GAUGE)
        metric = family.Metric(labels={})
        del family
        return [
            refusal(lambda: metric.increment(1.0)),
            refusal(lambda: metric.set(1.0)),
            refusal(metric.value),
        ]

    def let_go(self):
        self.kept = self.kept_shared = None


def refusal(call):
    try:
        call()
    except pb_utils.TritonModelException as error:
        return str(error)
    return None
