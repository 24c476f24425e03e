"""Files with QuantizeLinear and DequantizeLinear pairs: what becomes integer, what stays float and
why, and agreement with ONNX Runtime's integer kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import count, node, random
from onnx_quantized import (
    NETWORKS,
    feeds,
    file_params,
    graph_params,
    output_step,
    peer,
    quantized,
    quantized_dynamically,
)
from onnxruntime.quantization import QuantFormat, QuantType

import zeropoint as zp
from exact_onnxruntime import skip_if_saturating
from zeropoint import reference
from zeropoint.graph import Graph

Array = npt.NDArray[Any]

#: Nodes of each network that stay in float32.
FLOAT_NODES = {"residual": [], "mobile": [], "pyramid": [], "attention": ["layer_norm"]}
#: ONNX Runtime's QLinearAveragePool averages float32 numbers, whose noise decides ties; here ties
#: go to even. Its QLinearSoftmax rounds down, where QuantizeLinear is written to round to nearest:
#: softmax is compared with the float operator between the nodes that the file has.
TIES = {"mobile"}
DTYPES = [
    (QuantType.QUInt8, QuantType.QInt8),
    (QuantType.QInt8, QuantType.QInt8),
    (QuantType.QUInt8, QuantType.QUInt8),
]


@pytest.mark.parametrize("style", [QuantFormat.QDQ, QuantFormat.QOperator])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("activations", "weights"), DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_quantized_networks_agree(
    name, activations, weights, per_channel, style, tmp_path: Path
) -> None:
    if style == QuantFormat.QOperator and activations == QuantType.QInt8:
        skip_if_saturating()
    proto = NETWORKS[name](3)
    path = quantized(
        proto,
        tmp_path,
        quant_format=style,
        per_channel=per_channel,
        activation_type=activations,
        weight_type=weights,
    )
    graph = zp.load(path)
    assert [n.op for n in graph.nodes if n.reason] == FLOAT_NODES[name]
    assert graph_params(graph) <= file_params(path)
    session = zp.Session(graph)
    equal, total = 0, 0
    for feed in feeds(proto, 3, 7):
        got, want = session.run(feed), peer(path, feed, unfused="Softmax")
        exact = reference.run(graph, feed)
        for output in graph.outputs:
            assert got[output].tobytes() == exact[output].tobytes()
            step = output_step(graph, output)
            assert step is not None
            off = np.abs(got[output].astype(np.float64) - want[output]) / step
            assert off.max() <= 1.001
            equal += np.count_nonzero(off < 0.001)
            total += off.size
    assert equal >= (0.7 if name in TIES else 0.97) * total


@pytest.mark.parametrize("name", NETWORKS)
def test_each_node_agrees_on_the_same_inputs(name, tmp_path: Path) -> None:
    """Every node alone, on the integers that ONNX Runtime has at its inputs."""
    proto = NETWORKS[name](5)
    path = quantized(
        proto,
        tmp_path,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
    )
    # What each quantized value is called before, as and behind its integers.
    made = {
        n.output[0]: n.input[0] for n in onnx.load(path).graph.node if n.name.endswith("Linear")
    }
    made = {q: x for q, x in made.items() if q.endswith("QuantizeLinear_Output")}
    (feed,) = feeds(proto, 1, 11)
    theirs = peer(path, feed, list(made), unfused="Softmax")
    known: dict[tuple[str, str], Array] = {(name, "float32"): x for name, x in feed.items()}
    for q, x in made.items():
        for alias in (q, x, q.removesuffix("_QuantizeLinear_Output")):
            known[alias, "int8"] = (theirs[q].astype(np.int16) - 128).astype(np.int8)
    graph = zp.load(path)
    checked = 0
    for each in graph.nodes:
        single = Graph(inputs=[], outputs=list(each.outputs), nodes=[each], values=graph.values)
        values = [graph.value(n) for n in dict.fromkeys(each.inputs) if n]
        given = {v.name: v for v in values if not v.is_constant}
        single.inputs = list(given)
        arrays = {n: in_layout(known[n, v.dtype], v.shape) for n, v in given.items()}
        for output, got in reference.run(single, arrays).items():
            key = (output, str(got.dtype))
            if key in known:
                want = in_layout(known[key], got.shape)
                off = np.abs(want.astype(np.int64) - got)
                assert off.max() <= 1, each.name
                assert np.mean(off == 0) > (0.7 if each.op == "avg_pool2d" else 0.995), each.name
                checked += 1
            else:
                known[key] = got
    assert checked > 0.7 * len(graph.nodes)


def in_layout(array: Array, shape: Any) -> Array:
    """``array`` as it is, or from [N, C, H, W] to [N, H, W, C]."""
    if array.ndim == 4 and array.shape != tuple(shape):
        array = array.transpose(0, 2, 3, 1)
    assert array.shape == tuple(shape)
    return array


def test_calibrating_a_quantized_file_is_refused(tmp_path: Path) -> None:
    path = quantized(NETWORKS["residual"](0), tmp_path, quant_format=QuantFormat.QDQ)
    graph = zp.load(path)
    with pytest.raises(zp.GraphError, match="is quantized already"):
        zp.quantize(graph, zp.Statistics())


# -- graphs by hand ---------------------------------------------------------------------------


class Network:
    """Builds a graph with explicit quantization."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}

    def constant(self, name: str, data: Any, dtype: Any = np.float32) -> str:
        self.constants[name] = np.asarray(data, dtype)
        return name

    def op(self, kind: str, inputs: Sequence[str], output: str, **attrs: Any) -> str:
        self.nodes.append(node(kind, inputs, output, **attrs))
        return output

    def quantize(self, x: str, scale: float, zero: int, dtype: Any = np.uint8) -> str:
        """Quantizes and dequantizes ``x``; the result is called x_dq."""
        params = [self.constant(f"{x}_scale", scale), self.constant(f"{x}_zero", zero, dtype)]
        self.op("QuantizeLinear", [x, *params], f"{x}_q")
        return self.op("DequantizeLinear", [f"{x}_q", *params], f"{x}_dq")

    def weight(self, name: str, data: Array, scale: Any, zero: Any, axis: int = 0) -> str:
        """A constant of 8-bit integers, dequantized."""
        self.constant(name, data, data.dtype)
        params = [
            self.constant(f"{name}_scale", scale),
            self.constant(f"{name}_zero", zero, data.dtype),
        ]
        return self.op("DequantizeLinear", [name, *params], f"{name}_dq", axis=axis)

    def proto(self, shape: Sequence[Any], outputs: Sequence[str]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=8)

    def load(self, folder: Path, shape: Sequence[Any], outputs: Sequence[str]) -> Graph:
        path = folder / "model.onnx"
        path.write_bytes(self.proto(shape, outputs).SerializeToString())
        return zp.load(path)


def exactly(proto: onnx.ModelProto, feed: Mapping[str, Array]) -> dict[str, Array]:
    """The graph as ONNX writes it down, by the onnx package's reference implementation."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(proto)
    return dict(zip([o.name for o in proto.graph.output], evaluator.run(None, feed), strict=True))


def agree(
    network: Network, folder: Path, shape: Sequence[int], outputs: Sequence[str], step: float
) -> Graph:
    """Runs the engine; the outputs are those of the standard, to one step in a few places: where
    the exact result lies between two integers, float32 goes to either side by its own noise."""
    graph = network.load(folder, shape, outputs)
    session = zp.Session(graph)
    for seed in range(3):
        feed = {"x": random(shape, seed)}
        got, want = session.run(feed), exactly(network.proto(shape, outputs), feed)
        for name in outputs:
            assert got[name].dtype == want[name].dtype
            off = np.abs(got[name] - want[name]) / step
            assert off.max() <= 1.001, name
            assert np.mean(off < 0.001) > 0.85, name
    return graph


def integers(seed: int, *shape: int, dtype: Any = np.int8) -> Array:
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(dtype)


@pytest.mark.parametrize("bias", ["none", "int32", "float", "other_unit"])
@pytest.mark.parametrize("activation", ["", "Relu", "Clip"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_convolution_with_fused_activation(bias, activation, dtype, tmp_path: Path) -> None:
    n = Network()
    scales = np.linspace(0.002, 0.01, 6).astype(np.float32)
    zeros = integers(1, 6, dtype=dtype) if dtype == np.uint8 else np.zeros(6)
    x = n.quantize("x", 0.02, 117)
    inputs = [x, n.weight("w", integers(0, 6, 4, 3, 3, dtype=dtype), scales, zeros)]
    if bias == "float":
        inputs.append(n.constant("b", random((6,), 2)))
    elif bias != "none":
        unit = scales * np.float32(0.02) * (1 if bias == "int32" else 3)
        values = integers(3, 6, dtype=np.int16).astype(np.int32)
        params = [n.constant("b_scale", unit), n.constant("b_zero", np.zeros(6), np.int32)]
        n.constant("b_q", values, np.int32)
        inputs.append(n.op("DequantizeLinear", ["b_q", *params], "b", axis=0))
    y = n.op("Conv", inputs, "c", pads=[1, 1, 1, 1])
    if activation == "Relu":
        y = n.op("Relu", [y], "r")
    elif activation == "Clip":
        y = n.op("Clip", [y, n.constant("lo", -1.0), n.constant("hi", 2.0)], "r")
    y = n.quantize(y, 0.05, 100)
    graph = agree(n, tmp_path, (2, 4, 7, 6), [y], 0.05)
    assert not any(each.reason for each in graph.nodes)
    assert count(graph, "conv2d") == 1
    assert count(graph, "lookup") == 0
    conv = next(each for each in graph.nodes if each.op == "conv2d")
    assert graph.value(conv.inputs[1]).quant.scale.tobytes() == scales.tobytes()


def test_a_bias_beyond_24_bits_keeps_all_of_its_bits(tmp_path: Path) -> None:
    n = Network()
    bias = np.asarray([2**24 + 1, -(2**25) - 3, 5], np.int32)
    x = n.quantize("x", 0.5, 128)
    w = n.weight("w", integers(0, 3, 4), 0.25, 0)
    n.constant("b_q", bias, np.int32)
    params = [n.constant("b_scale", 0.125), n.constant("b_zero", 0, np.int32)]
    b = n.op("DequantizeLinear", ["b_q", *params], "b")
    y = n.quantize(n.op("Gemm", [x, w, b], "g", transB=1), 1e5, 0, np.int8)
    graph = n.load(tmp_path, [1, 4], [y])
    linear = next(each for each in graph.nodes if each.op == "linear")
    assert graph.constant(linear.inputs[2]).tolist() == bias.tolist()


@pytest.mark.parametrize("axis", [0, 1])
def test_matrix_products_take_scales_of_columns(axis, tmp_path: Path) -> None:
    n = Network()
    scale = np.linspace(0.01, 0.03, (24, 10)[axis]).astype(np.float32)
    x = n.quantize("x", 0.02, 0, np.int8)
    w = n.weight("w", integers(0, 24, 10), scale, np.zeros_like(scale), axis)
    y = n.quantize(n.op("MatMul", [x, w], "m"), 0.3, -4, np.int8)
    graph = agree(n, tmp_path, (5, 24), [y], 0.3)
    linear = next(each for each in graph.nodes if each.op == "linear")
    expected = "" if axis == 1 else "its weights have a scale per input, not per output channel"
    assert linear.reason == expected


@pytest.mark.parametrize("moved", ["Transpose", "Reshape"])
def test_weights_are_followed_through_data_movement(moved, tmp_path: Path) -> None:
    n = Network()
    scale = np.linspace(0.01, 0.03, 6).astype(np.float32)
    x = n.quantize("x", 0.02, 0, np.int8)
    if moved == "Transpose":
        w = n.weight("w", integers(0, 6, 20), scale, np.zeros(6), 0)
        w = n.op("Transpose", [w], "wt", perm=[1, 0])
    else:
        w = n.weight("w", integers(0, 4, 5, 6), scale, np.zeros(6), 2)
        w = n.op("Reshape", [w, n.constant("to", [20, 6], np.int64)], "wt")
    y = n.quantize(n.op("MatMul", [x, w], "m"), 0.3, -4, np.int8)
    graph = agree(n, tmp_path, (5, 20), [y], 0.3)
    assert not any(each.reason for each in graph.nodes)


MOVES: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "clip": ("Clip", {"constants": [("lo", -0.7, np.float32), ("hi", 0.9, np.float32)]}),
    "transpose": ("Transpose", {"perm": [0, 2, 1, 3]}),
    "reshape": ("Reshape", {"constants": [("to", [2, 4, 36, 1], np.int64)]}),
    "flatten": ("Flatten", {"axis": 2}),
    "max_pool": ("MaxPool", {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}),
    "average_pool": ("AveragePool", {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}),
    "global_average_pool": ("GlobalAveragePool", {}),
    "global_max_pool": ("GlobalMaxPool", {}),
    "pad": ("Pad", {"constants": [("pads", [0, 0, 1, 0, 0, 0, 0, 2], np.int64)]}),
    "pad_value": (
        "Pad",
        {"constants": [("pads", [0, 0, 1, 0, 0, 0, 0, 2], np.int64), ("v", 0.4, np.float32)]},
    ),
    "slice": (
        "Slice",
        {"constants": [("a", [1], np.int64), ("b", [5], np.int64), ("c", [2], np.int64)]},
    ),
    "resize": (
        "Resize",
        {"constants": [("", 0, None), ("s", [1, 1, 2, 2], np.float32)], "mode": "nearest"},
    ),
    "resize_linear": (
        "Resize",
        {"constants": [("", 0, None), ("s", [1, 1, 2, 2], np.float32)], "mode": "linear"},
    ),
    "mean": ("ReduceMean", {"constants": [("a", [2], np.int64)], "keepdims": 0}),
    "softmax": ("Softmax", {"axis": 1}),
    "sigmoid": ("Sigmoid", {}),
    "hard_swish": ("HardSwish", {}),
    "elu": ("Elu", {"alpha": 0.5}),
    "mul_scalar": ("Mul", {"constants": [("k", 0.3, np.float32)]}),
    "add_channels": ("Add", {"constants": [("k", random((6,), 5), np.float32)]}),
}


def _move(n: Network, kind: str, x: str, output: str) -> str:
    operator, attrs = MOVES[kind]
    attrs = dict(attrs)
    names = [
        n.constant(f"{output}_{name}", data, dtype) if name else ""
        for name, data, dtype in attrs.pop("constants", [])
    ]
    return n.op(operator, [x, *names], output, **attrs)


@pytest.mark.parametrize("kind", MOVES)
@pytest.mark.parametrize("same", [True, False])
def test_operators_between_quantized_values(kind, same, tmp_path: Path) -> None:
    n = Network()
    x = n.quantize("x", 0.03, 110)
    scale, zero = (0.03, 110) if same else (0.021, 90)
    y = n.quantize(_move(n, kind, x, "y"), scale, zero)
    graph = agree(n, tmp_path, (2, 4, 6, 6), [y], scale)
    floats = [each.op for each in graph.nodes if each.reason]
    # Linear resizing rounds, and must not do it twice.
    assert floats == (["resize"] if kind == "resize_linear" and not same else [])


@pytest.mark.parametrize("kind", ["transpose", "max_pool", "pad", "slice", "resize", "relu"])
def test_moves_without_quantization_behind_them(kind, tmp_path: Path) -> None:
    n = Network()
    x = _move(n, kind, n.quantize("x", 0.03, 110), "moved")
    w = n.weight("w", integers(0, 5, 4 if kind != "transpose" else 6, 1, 1), 0.01, 0)
    y = n.quantize(n.op("Conv", [x, w], "c"), 0.05, 128)
    graph = agree(n, tmp_path, (2, 4, 6, 6), [y], 0.05)
    assert not any(each.reason for each in graph.nodes)


@pytest.mark.parametrize("kind", ["transpose", "max_pool", "pad_value", "slice", "resize", "clip"])
def test_moves_without_quantization_before_them(kind, tmp_path: Path) -> None:
    n = Network()
    w = n.weight("w", integers(0, 4, 4, 1, 1), 0.01, 0)
    c = n.op("Conv", [n.quantize("x", 0.03, 110), w], "c")
    y = n.quantize(_move(n, kind, c, "moved"), 0.05, 128)
    graph = agree(n, tmp_path, (2, 4, 6, 6), [y], 0.05)
    assert not any(each.reason for each in graph.nodes)


def test_pool_then_relu(tmp_path: Path) -> None:
    n = Network()
    pooled = n.op("AveragePool", [n.quantize("x", 0.03, 110)], "p", kernel_shape=[2, 2])
    y = n.quantize(n.op("Relu", [pooled], "r"), 0.02, 0)
    graph = agree(n, tmp_path, (1, 3, 8, 8), [y], 0.02)
    assert not any(each.reason for each in graph.nodes)


def test_concat_of_different_parameters(tmp_path: Path) -> None:
    n = Network()
    x = n.quantize("x", 0.03, 110)
    s = n.quantize(n.op("Sigmoid", [x], "s"), 1 / 256, 0)
    k = n.op("Concat", [x, s, n.constant("k", random((1, 3, 5, 5), 9))], "cat", axis=1)
    y = n.quantize(k, 0.025, 120)
    assert not any(m.reason for m in agree(n, tmp_path, (1, 3, 5, 5), [y], 0.025).nodes)


def test_split_parts_with_different_parameters(tmp_path: Path) -> None:
    n = Network()
    n.nodes.append(node("Split", [n.quantize("x", 0.03, 110)], ["a", "b"], axis=1))
    outputs = [n.quantize("a", 0.02, 100), n.quantize("b", 0.03, 110)]
    graph = agree(n, tmp_path, (1, 4, 5, 5), outputs, 0.03)
    assert not any(each.reason for each in graph.nodes)


def test_a_layer_before_a_split_into_different_parameters(tmp_path: Path) -> None:
    n = Network()
    w = n.weight("w", integers(0, 4, 4, 1, 1), 0.01, 0)
    c = n.op("Conv", [n.quantize("x", 0.03, 110), w], "c")
    n.nodes.append(node("Split", [c], ["a", "b"], axis=1))
    outputs = [n.quantize("a", 0.02, 100), n.quantize("b", 0.03, 110)]
    graph = agree(n, tmp_path, (1, 4, 5, 5), outputs, 0.03)
    assert _reasons(graph)["conv2d"] == "its result is not quantized"


def test_a_chain_of_functions_is_one_table(tmp_path: Path) -> None:
    n = Network()
    x = n.quantize("x", 0.03, 110)
    d = n.op("Div", [x, n.constant("root", np.sqrt(2))], "d")
    e = n.op("Add", [n.op("Erf", [d], "e"), n.constant("one", 1.0)], "e1")
    y = n.quantize(n.op("Mul", [x, e], "y"), 0.03, 20)
    graph = agree(n, tmp_path, (1, 4, 5, 5), [y], 0.03)
    assert count(graph, "lookup") == 1
    assert not any(each.reason for each in graph.nodes)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("constant", [False, True])
def test_binary_operators(operator, constant, tmp_path: Path) -> None:
    n = Network()
    a = n.quantize("x", 0.03, 110)
    if constant:
        b = n.weight("k", integers(4, 3, 6, 6), 0.02, 3)
    else:
        b = n.quantize(n.op("Tanh", [a], "t"), 1 / 128, 128)
    y = n.quantize(n.op("Relu", [n.op(operator, [a, b], "y")], "r"), 0.04, 2)
    graph = agree(n, tmp_path, (2, 3, 6, 6), [y], 0.04)
    assert not any(each.reason for each in graph.nodes)


# -- what stays float -------------------------------------------------------------------------


def _reasons(graph: Graph) -> dict[str, str]:
    return {n.op: n.reason for n in graph.nodes if n.reason}


def test_a_value_that_is_read_in_float_as_well(tmp_path: Path) -> None:
    n = Network()
    w = n.weight("w", integers(0, 4, 3, 1, 1), 0.01, 0)
    c = n.op("Conv", [n.quantize("x", 0.03, 110), w], "c")
    outputs = [n.quantize(c, 0.05, 128), n.op("Sqrt", [n.op("Abs", ["c"], "a")], "root")]
    graph = agree(n, tmp_path, (1, 3, 5, 5), outputs, 0.05)
    assert _reasons(graph)["conv2d"] == "its result is used in float32 as well"
    assert count(graph, "quantize") == 2


def test_a_value_that_is_quantized_twice_with_different_parameters(tmp_path: Path) -> None:
    n = Network()
    w = n.weight("w", integers(0, 4, 3, 1, 1), 0.01, 0)
    c = n.op("Conv", [n.quantize("x", 0.03, 110), w], "c")
    params = [n.constant("other_scale", 0.011), n.constant("other_zero", 7, np.int8)]
    other = n.op("QuantizeLinear", [c, *params], "other_q")
    outputs = [n.quantize(c, 0.05, 128), n.op("DequantizeLinear", [other, *params], "other_dq")]
    graph = agree(n, tmp_path, (1, 3, 5, 5), outputs, 0.05)
    assert _reasons(graph)["conv2d"] == "its result is quantized in several ways"


def test_unquantized_inputs_weights_and_results(tmp_path: Path) -> None:
    n = Network()
    w = n.weight("w", integers(0, 3, 3, 1, 1), 0.01, 0)
    first = n.quantize(n.op("Conv", ["x", w], "c0"), 0.05, 128)
    second = n.op("Conv", [first, n.constant("v", random((3, 3, 1, 1)))], "c1")
    third = n.op("Conv", [n.quantize(second, 0.05, 128), w], "y")
    graph = n.load(tmp_path, [1, 3, 5, 5], [third])
    assert [each.reason for each in graph.nodes if each.op == "conv2d"] == [
        "its input 'x__nhwc' is not quantized",
        "its weights are not quantized",
        "its result is not quantized",
    ]
    agree(n, tmp_path, (1, 3, 5, 5), [third], 0.05)


def test_an_accumulator_that_could_overflow_stays_float(tmp_path: Path) -> None:
    n = Network()
    w = n.weight("w", np.full((1, 70000), 127, np.int8), 0.01, 0)
    y = n.op("Gemm", [n.quantize("x", 0.03, 110), w], "g", transB=1)
    graph = n.load(tmp_path, [1, 70000], [n.quantize(y, 50.0, 128)])
    assert "overflow" in _reasons(graph)["linear"]


# -- parameters along an axis, and constants --------------------------------------------------


@pytest.mark.parametrize("axis", [1, 3, -2])
@pytest.mark.parametrize("zeros", ["equal", "different"])
def test_activations_with_parameters_per_channel(axis, zeros, tmp_path: Path) -> None:
    n = Network()
    size = (2, 3, 5, 4)[axis]
    zero = np.full(size, 131) if zeros == "equal" else np.arange(size) * 40 + 3
    params = [
        n.constant("s", np.linspace(0.01, 0.07, size)),
        n.constant("z", zero, np.uint8),
    ]
    n.op("QuantizeLinear", ["x", *params], "q", axis=axis)
    y = n.op("DequantizeLinear", ["q", *params], "y", axis=axis)
    graph = n.load(tmp_path, [2, 3, 5, 4], [y])
    session = zp.Session(graph)
    for seed in range(3):
        feed = {"x": random((2, 3, 5, 4), seed)}
        want = exactly(n.proto([2, 3, 5, 4], [y]), feed)["y"]
        assert session.run(feed)["y"].tobytes() == want.tobytes()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_a_constant_may_be_quantized_in_the_file(dtype, tmp_path: Path) -> None:
    n = Network()
    n.constant("k", random((4, 3, 1, 1), 3))
    k = n.quantize("k", 0.02, 5, dtype)
    y = n.quantize(n.op("Conv", [n.quantize("x", 0.03, 110), k], "c"), 0.05, 128)
    graph = agree(n, tmp_path, (1, 3, 5, 5), [y], 0.05)
    assert not any(each.reason for each in graph.nodes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_scale": np.float32(-1)}, "negative or not finite"),
        ({"x_scale": np.float32(np.nan)}, "negative or not finite"),
        ({"x_scale": np.float32(0)}, "zero or denormal"),
        ({"x_scale": np.float32(1e-42)}, "zero or denormal"),
        ({"x_scale": np.float16(1)}, "is float16, not float32"),
        ({"x_zero": np.int16(3)}, "quantization to int16 is not supported"),
        ({"x_zero": np.asarray([1, 2, 3], np.uint8)}, "3 zero points for 1 scales"),
        ({"x_scale": np.asarray([1, 2, 3, 4, 5], np.float32)}, "do not|differ|broadcast|fit"),
    ],
)
def test_bad_parameters_are_errors(change, message, tmp_path: Path) -> None:
    n = Network()
    y = n.quantize("x", 0.03, 110)
    n.constants.update({k: np.asarray(v) for k, v in change.items()})
    with pytest.raises((zp.ModelError, zp.UnsupportedError), match=message):
        n.load(tmp_path, [1, 3, 5, 5], [y])


def _alter(proto: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Exchanges, resizes or retypes something that quantized nodes depend on."""
    tensors, nodes = list(proto.graph.initializer), list(proto.graph.node)
    tensor, target = (tensors[i] for i in rng.choice(len(tensors), 2, replace=False))
    chosen, other = (nodes[i] for i in rng.choice(len(nodes), 2, replace=False))
    kind = int(rng.integers(5))
    if kind == 0:
        tensor.name, target.name = target.name, tensor.name
    elif kind == 1:
        shape = [(), (1,), (3,), (2, 2), (12,)][int(rng.integers(5))]
        dtype = [np.int8, np.uint8, np.int32, np.float32, np.int64][int(rng.integers(5))]
        array = np.resize(numpy_helper.to_array(tensor), shape).astype(dtype)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    elif kind == 2 and chosen.input:
        chosen.input[int(rng.integers(len(chosen.input)))] = tensor.name
    elif kind == 3:
        chosen.op_type = other.op_type
    else:
        del chosen.input[int(rng.integers(len(chosen.input) + 1)) :]


@pytest.mark.parametrize("style", ["QDQ", "QOperator", "dynamic"])
def test_altered_files_run_or_are_errors(style, tmp_path: Path) -> None:
    if style == "dynamic":
        path = quantized_dynamically(NETWORKS["attention"](1), tmp_path)
    else:
        path = quantized(NETWORKS["mobile"](1), tmp_path, quant_format=QuantFormat[style])
    content = path.read_bytes()
    failed = 0
    for seed in range(60):
        proto = onnx.load_model_from_string(content)
        _alter(proto, np.random.default_rng(seed))
        path.write_bytes(proto.SerializeToString())
        try:
            session = zp.Session(zp.load(path))
            shapes = {i.name: [1 if d is None else d for d in i.shape] for i in session.inputs}
            session.run({i.name: np.zeros(shapes[i.name], i.dtype) for i in session.inputs})
        except zp.Error:
            failed += 1
    assert 0 < failed < 60


# -- dynamic quantization ---------------------------------------------------------------------


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("weights", [QuantType.QInt8, QuantType.QUInt8])
def test_dynamically_quantized_network(per_channel, weights, tmp_path: Path) -> None:
    proto = NETWORKS["attention"](3)
    path = quantized_dynamically(proto, tmp_path, per_channel=per_channel, weight_type=weights)
    graph = zp.load(path)
    assert count(graph, "dynamic_linear") == 6
    assert count(graph, "matmul_integer") == 0
    session = zp.Session(graph)
    for feed in feeds(proto, 3, 7):
        got, want = session.run(feed)["y"], peer(path, feed)["y"]
        # One different bit in a float32 operator may turn a rounding behind it.
        np.testing.assert_allclose(got, want, atol=0.02 * np.abs(want).max())
        assert np.median(np.abs(got - want)) < 1e-3 * np.abs(want).max()
