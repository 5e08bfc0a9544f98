# SPDX-License-Identifier: Apache-2.0
"""Makes the ONNX files of the example repository, or checks that they are current.

Every graph is small and made from code, its weights from a seeded generator, so that a second run
gives the same model: ``python tools/make_models.py`` writes, ``--check`` compares.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = ROOT / "model_repository"

# Old enough for every ONNX Runtime that the server and Triton load.
OPSET = 17
IR_VERSION = 8
SEED = 20260101

BATCH = "batch"
CLASSES = 10
Dim = int | str


class Weights:
    """Seeded weights that become initializers of one graph.

    ``RandomState`` is used because numpy promises that its stream never changes.
    """

    def __init__(self) -> None:
        self._random = np.random.RandomState(SEED)
        self.initializers: list[onnx.TensorProto] = []

    def normal(self, name: str, shape: Sequence[int], fan_in: int) -> str:
        """Add a tensor of normally distributed values scaled for `fan_in` inputs (He)."""
        values = self._random.standard_normal(tuple(shape)) * np.sqrt(2.0 / fan_in)
        return self._add(name, values.astype(np.float32))

    def small(self, name: str, length: int) -> str:
        """Add a vector of small uniformly distributed values: a bias."""
        values = self._random.uniform(-0.1, 0.1, length)
        return self._add(name, values.astype(np.float32))

    def _add(self, name: str, values: NDArray[np.float32]) -> str:
        self.initializers.append(numpy_helper.from_array(values, name))
        return name


def tensor(name: str, data_type: int, shape: Sequence[Dim]) -> onnx.ValueInfoProto:
    """Return a graph input or output whose first dimension is the batch."""
    return helper.make_tensor_value_info(name, data_type, [BATCH, *shape])


def model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Weights | None = None,
) -> onnx.ModelProto:
    """Return a checked model of one graph."""
    initializers = weights.initializers if weights else []
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    proto = helper.make_model(
        graph,
        producer_name="tritongw",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def simple() -> onnx.ModelProto:
    """Return sum and difference of two INT32 vectors."""
    shapes = (TensorProto.INT32, [16])
    return model(
        "simple",
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        [tensor("INPUT0", *shapes), tensor("INPUT1", *shapes)],
        [tensor("OUTPUT0", *shapes), tensor("OUTPUT1", *shapes)],
    )


def simple_string() -> onnx.ModelProto:
    """Return sum and difference of two vectors of decimal numbers in strings."""
    shapes = (TensorProto.STRING, [16])
    cast = helper.make_node
    return model(
        "simple_string",
        [
            cast("Cast", ["INPUT0"], ["number0"], to=TensorProto.INT64),
            cast("Cast", ["INPUT1"], ["number1"], to=TensorProto.INT64),
            helper.make_node("Add", ["number0", "number1"], ["sum"]),
            helper.make_node("Sub", ["number0", "number1"], ["difference"]),
            cast("Cast", ["sum"], ["OUTPUT0"], to=TensorProto.STRING),
            cast("Cast", ["difference"], ["OUTPUT1"], to=TensorProto.STRING),
        ],
        [tensor("INPUT0", *shapes), tensor("INPUT1", *shapes)],
        [tensor("OUTPUT0", *shapes), tensor("OUTPUT1", *shapes)],
    )


def mlp() -> onnx.ModelProto:
    """Return a perceptron with one hidden layer of 256, for 28 x 28 images in a row."""
    pixels, hidden = 784, 256
    weights = Weights()
    first = [weights.normal("w1", (pixels, hidden), pixels), weights.small("b1", hidden)]
    second = [weights.normal("w2", (hidden, CLASSES), hidden), weights.small("b2", CLASSES)]
    return model(
        "mlp",
        [
            helper.make_node("Gemm", ["INPUT", *first], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["active"]),
            helper.make_node("Gemm", ["active", *second], ["OUTPUT"]),
        ],
        [tensor("INPUT", TensorProto.FLOAT, [pixels])],
        [tensor("OUTPUT", TensorProto.FLOAT, [CLASSES])],
        weights,
    )


def convolution(
    weights: Weights, name: str, channels: tuple[int, int], kernel: int
) -> list[onnx.NodeProto]:
    """Return a convolution that halves the image, from tensor `name` to tensor `name`_active."""
    source, target = channels
    fan_in = source * kernel * kernel
    parameters = [
        weights.normal(f"{name}_w", (target, source, kernel, kernel), fan_in),
        weights.small(f"{name}_b", target),
    ]
    conv = helper.make_node(
        "Conv",
        [name, *parameters],
        [f"{name}_conv"],
        kernel_shape=[kernel, kernel],
        strides=[2, 2],
        pads=[kernel // 2] * 4,
    )
    return [conv, helper.make_node("Relu", [f"{name}_conv"], [f"{name}_active"])]


def cnn() -> onnx.ModelProto:
    """Return a small convolutional classifier of 224 x 224 RGB images, softmax at its end."""
    weights = Weights()
    layers = [(3, 16, 7), (16, 32, 3), (32, 64, 3), (64, 96, 3)]
    nodes: list[onnx.NodeProto] = []
    current = "INPUT"
    for source, target, kernel in layers:
        nodes += convolution(weights, current, (source, target), kernel)
        current = f"{current}_active"
    features = layers[-1][1]
    head = [weights.normal("w", (features, CLASSES), features), weights.small("b", CLASSES)]
    nodes += [
        helper.make_node("GlobalAveragePool", [current], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"], axis=1),
        helper.make_node("Gemm", ["features", *head], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["OUTPUT"], axis=1),
    ]
    return model(
        "cnn",
        nodes,
        [tensor("INPUT", TensorProto.FLOAT, [3, 224, 224])],
        [tensor("OUTPUT", TensorProto.FLOAT, [CLASSES])],
        weights,
    )


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "simple": simple,
    "simple_string": simple_string,
    "mlp": mlp,
    "cnn": cnn,
}


def path_of(name: str, repository: Path = REPOSITORY) -> Path:
    """Return where version 1 of a model lies."""
    return repository / name / "1" / "model.onnx"


def write(repository: Path) -> None:
    """Write every model beneath a repository."""
    for name, build in MODELS.items():
        path = path_of(name, repository)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(build().SerializeToString(deterministic=True))


def stale(repository: Path) -> list[str]:
    """Return the names of models whose file is missing or differs from what the code makes.

    Messages are compared, not bytes: protobuf does not promise one encoding.
    """
    return [
        name
        for name, build in MODELS.items()
        if not path_of(name, repository).is_file()
        or onnx.load(path_of(name, repository)) != build()
    ]


def main() -> int:
    """Write the models, or with ``--check`` report those that are not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on differences")
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    arguments = parser.parse_args()
    if not arguments.check:
        write(arguments.repository)
        return 0
    names = stale(arguments.repository)
    if names:
        print(f"not current: {', '.join(names)}; run python tools/make_models.py", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
