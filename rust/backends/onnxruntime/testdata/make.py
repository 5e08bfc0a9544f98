# SPDX-License-Identifier: Apache-2.0
"""Write the models of this crate's tests, or check that those in the tree are current.

Run ``python make.py`` to write and ``python make.py --check`` to compare; both need ``onnx``.
The models are small, deterministic and checked in, so that the tests themselves need no Python.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

HERE = Path(__file__).resolve().parent

Dims = Sequence[int | str]

EXTERNAL_DATA = np.array([10, 20, 30, 40], dtype=np.float32)

ELEMENT_TYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "fp16": TensorProto.FLOAT16,
    "fp32": TensorProto.FLOAT,
    "fp64": TensorProto.DOUBLE,
    "string": TensorProto.STRING,
}


def value(name: str, element_type: int, dims: Dims | None) -> onnx.ValueInfoProto:
    """Describe an input or output; ``None`` leaves its rank open."""
    return helper.make_tensor_value_info(name, element_type, dims)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """Build a model that every supported ONNX Runtime reads, with operators of more `domains`."""
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    opset = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="tritongw")


def add_sub() -> onnx.ModelProto:
    """Sum and difference of two batched INT32 vectors."""
    dims: Dims = ["batch", 16]
    ints = TensorProto.INT32
    return model(
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        [value("INPUT0", ints, dims), value("INPUT1", ints, dims)],
        [value("OUTPUT0", ints, dims), value("OUTPUT1", ints, dims)],
    )


def identity(names: Sequence[str] = tuple(ELEMENT_TYPES)) -> onnx.ModelProto:
    """Element types, by default every one, batched, rows of any length."""
    nodes, inputs, outputs = [], [], []
    for name in names:
        element_type = ELEMENT_TYPES[name]
        nodes.append(helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]))
        inputs.append(value(f"in_{name}", element_type, ["batch", "n"]))
        outputs.append(value(f"out_{name}", element_type, ["batch", "n"]))
    return model(nodes, inputs, outputs)


def identity_some() -> onnx.ModelProto:
    """Strings, two-byte and one-byte elements."""
    return identity(("string", "fp16", "bool"))


def dynamic() -> onnx.ModelProto:
    """Two outputs per row of any length: doubled values (known rank) and their sum (reshaped)."""
    floats = TensorProto.FLOAT
    two = numpy_helper.from_array(np.array(2, dtype=np.float32), "two")
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    return model(
        [
            helper.make_node("Mul", ["X", "two"], ["DOUBLED"]),
            helper.make_node("ReduceSum", ["X", "axes"], ["SUM"], keepdims=0),
        ],
        [value("X", floats, ["batch", "n"])],
        [value("DOUBLED", floats, ["batch", "n"]), value("SUM", floats, ["batch"])],
        [two, axes],
    )


def scalar() -> onnx.ModelProto:
    """Make a scalar from a scalar; no batch."""
    floats = TensorProto.FLOAT
    one = numpy_helper.from_array(np.array(1, dtype=np.float32), "one")
    return model(
        [helper.make_node("Add", ["X", "one"], ["Y"])],
        [value("X", floats, [])],
        [value("Y", floats, [])],
        [one],
    )


def optional() -> onnx.ModelProto:
    """Make an initialiser that a request may replace: ``Y = X * FACTOR``, by default times 10."""
    floats = TensorProto.FLOAT
    factor = numpy_helper.from_array(np.array([10], dtype=np.float32), "FACTOR")
    return model(
        [helper.make_node("Mul", ["X", "FACTOR"], ["Y"])],
        [value("X", floats, ["n"]), value("FACTOR", floats, [1])],
        [value("Y", floats, ["n"])],
        [factor],
    )


def no_batch_output() -> onnx.ModelProto:
    """Claims a batched output but keeps the first row only, which no shape inference can tell."""
    floats = TensorProto.FLOAT
    first = numpy_helper.from_array(np.array([True]), "first")
    return model(
        [helper.make_node("Compress", ["X", "first"], ["Y"], axis=0)],
        [value("X", floats, ["batch", 4])],
        [value("Y", floats, ["rows", 4])],
        [first],
    )


def wrong_shape() -> onnx.ModelProto:
    """Give an output longer than the fixed length that its graph tells."""
    floats = TensorProto.FLOAT
    shape = helper.make_node("Concat", ["X", "X"], ["Z"], axis=0)
    hide = helper.make_node("Reshape", ["Z", "SHAPE"], ["Y"])
    return model(
        [shape, hide],
        [value("X", floats, ["n"]), value("SHAPE", TensorProto.INT64, [1])],
        [value("Y", floats, [3])],
    )


def pass_through() -> onnx.ModelProto:
    """Give the input itself as an output, and another that is computed."""
    floats = TensorProto.FLOAT
    return model(
        [helper.make_node("Neg", ["X"], ["Y"])],
        [value("X", floats, [4])],
        [value("X", floats, [4]), value("Y", floats, [4])],
    )


def gather() -> onnx.ModelProto:
    """Fails while it runs if INDEX is out of range."""
    table = numpy_helper.from_array(np.arange(4, dtype=np.float32), "table")
    return model(
        [helper.make_node("Gather", ["table", "INDEX"], ["Y"])],
        [value("INDEX", TensorProto.INT64, [2])],
        [value("Y", TensorProto.FLOAT, [2])],
        [table],
    )


def bfloat16() -> onnx.ModelProto:
    """Use an element type that configurations for ONNX Runtime have not."""
    return model(
        [helper.make_node("Identity", ["X"], ["Y"])],
        [value("X", TensorProto.BFLOAT16, [4])],
        [value("Y", TensorProto.BFLOAT16, [4])],
    )


def sequence() -> onnx.ModelProto:
    """Give an output that is no tensor."""
    floats = TensorProto.FLOAT
    output = helper.make_tensor_sequence_value_info("Y", floats, None)
    return model(
        [helper.make_node("SequenceConstruct", ["X"], ["Y"])],
        [value("X", floats, [4])],
        [output],
    )


def ragged() -> onnx.ModelProto:
    """Tell of requests that lie end to end in X, from what the other inputs say.

    DOUBLED is X times two, TOTAL the sum of each request, and FACTS a row for each request: its
    element count, end, start, the largest count of the batch, and its shape twice.
    """
    floats, ints = TensorProto.FLOAT, TensorProto.INT32

    def cast(name: str, to: int) -> onnx.NodeProto:
        return helper.make_node("Cast", [name], [f"{name}_{to}"], to=to)

    def column(name: str) -> onnx.NodeProto:
        return helper.make_node("Reshape", [name, "as_column"], [f"{name}_column"])

    return model(
        [
            helper.make_node("Mul", ["X", "two"], ["DOUBLED"]),
            helper.make_node("CumSum", ["X", "axis"], ["running"]),
            helper.make_node("Concat", ["zero", "running"], ["sums"], axis=0),
            helper.make_node("Slice", ["STARTS", "first", "last"], ["starts"]),
            helper.make_node("Gather", ["sums", "ENDS"], ["to_end"]),
            helper.make_node("Gather", ["sums", "starts"], ["to_start"]),
            helper.make_node("Sub", ["to_end", "to_start"], ["TOTAL"]),
            cast("COUNT", ints),
            helper.make_node("Shape", ["LARGEST"], ["largest"]),
            cast("largest", ints),
            helper.make_node("Shape", ["ENDS"], ["requests"]),
            helper.make_node("Expand", [f"largest_{ints}", "requests"], ["widths"]),
            *[column(name) for name in [f"COUNT_{ints}", "ENDS", "starts", "widths"]],
            helper.make_node("Shape", ["SHAPES"], ["rows_and_rank"]),
            helper.make_node("Reshape", ["FLAT", "rows_and_rank"], ["flat_rows"]),
            helper.make_node(
                "Concat",
                [
                    f"COUNT_{ints}_column",
                    "ENDS_column",
                    "starts_column",
                    "widths_column",
                    "SHAPES",
                    "flat_rows",
                ],
                ["FACTS"],
                axis=1,
            ),
        ],
        [
            value("X", floats, ["elements"]),
            value("COUNT", floats, ["requests"]),
            value("ENDS", ints, ["requests"]),
            value("STARTS", ints, ["starts"]),
            value("LARGEST", floats, ["largest"]),
            value("SHAPES", ints, ["rows", "rank"]),
            value("FLAT", ints, ["flat"]),
        ],
        [
            value("DOUBLED", floats, ["elements"]),
            value("TOTAL", floats, ["requests"]),
            value("FACTS", ints, ["requests", "facts"]),
        ],
        [
            numpy_helper.from_array(np.array(2, dtype=np.float32), "two"),
            numpy_helper.from_array(np.array([0], dtype=np.float32), "zero"),
            numpy_helper.from_array(np.array(0, dtype=np.int64), "axis"),
            numpy_helper.from_array(np.array([0], dtype=np.int64), "first"),
            numpy_helper.from_array(np.array([-1], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([-1, 1], dtype=np.int64), "as_column"),
        ],
    )


def flat_strings() -> onnx.ModelProto:
    """Strings in one dimension, whoever they belong to."""
    strings = TensorProto.STRING
    return model(
        [helper.make_node("Identity", ["IN"], ["OUT"])],
        [value("IN", strings, ["n"])],
        [value("OUT", strings, ["n"])],
    )


def custom_op() -> onnx.ModelProto:
    """Double by the operator of ``custom_op.c``."""
    floats = TensorProto.FLOAT
    return model(
        [helper.make_node("Twice", ["X"], ["Y"], domain="tritongw.test")],
        [value("X", floats, [4])],
        [value("Y", floats, [4])],
        domains=["tritongw.test"],
    )


def external() -> onnx.ModelProto:
    """Its one weight lies in a file of its own, beside the model."""
    floats = TensorProto.FLOAT
    offset = numpy_helper.from_array(EXTERNAL_DATA, "offset")
    set_external_data(offset, location="external.data")
    offset.ClearField("raw_data")
    return model(
        [helper.make_node("Add", ["X", "offset"], ["Y"])],
        [value("X", floats, [4])],
        [value("Y", floats, [4])],
        [offset],
    )


MODELS: tuple[Callable[[], onnx.ModelProto], ...] = (
    add_sub,
    identity,
    identity_some,
    dynamic,
    scalar,
    optional,
    no_batch_output,
    wrong_shape,
    pass_through,
    gather,
    bfloat16,
    sequence,
    ragged,
    flat_strings,
    custom_op,
    external,
)


def files() -> dict[str, bytes]:
    """Build the content of every file, by name."""
    contents = {"external.data": EXTERNAL_DATA.tobytes()}
    for build in MODELS:
        contents[f"{build.__name__}.onnx"] = build().SerializeToString(deterministic=True)
    return contents


def main() -> int:
    """Write or check every file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    is_check = parser.parse_args().check
    stale = []
    for name, data in files().items():
        path = HERE / name
        if not is_check:
            path.write_bytes(data)
        elif not path.is_file() or path.read_bytes() != data:
            stale.append(name)
    if stale:
        sys.stderr.write(f"stale, run testdata/make.py: {', '.join(stale)}\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
