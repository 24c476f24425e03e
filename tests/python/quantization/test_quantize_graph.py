"""The rewrite of whole graphs: structure, accuracy against float, and errors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zeropoint import Session, reference, shapes
from zeropoint.calibration import Statistics, calibrate
from zeropoint.errors import CalibrationError, GraphError, InputError
from zeropoint.graph import Array, Attribute, Graph, Node, Value
from zeropoint.model import Model
from zeropoint.quantization import Config, quantize
from zeropoint.quantization.functions import evaluate
from zeropoint.reference_int8 import dequantize
from zeropoint.reference_int8 import quantize as to_int8

F = np.float32


class Net:
    """A float graph under construction; every method returns the name of its result."""

    def __init__(self, *shape: int | None) -> None:
        self.graph = Graph("net", ["x"], [], {"x": Value("x", "float32", shape)})
        self.rng = np.random.default_rng(11)

    def constant(self, name: str, data: Any) -> str:
        self.graph.add_constant(name, np.asarray(data, F))
        return name

    def add(self, op: str, inputs: list[str], name: str = "", **attrs: Attribute) -> str:
        name = name or self.graph.unique_name(op)
        self.graph.add_value(Value(f"{name}.out"))
        self.graph.nodes.append(Node(name, op, inputs, [f"{name}.out"], dict(attrs)))
        return f"{name}.out"

    def conv(self, x: str, i: int, o: int, name: str = "", **attrs: Attribute) -> str:
        name = name or self.graph.unique_name("conv")
        w = self.constant(f"{name}.w", self.rng.standard_normal((o, 3, 3, i)) / math.sqrt(9 * i))
        b = self.constant(f"{name}.b", self.rng.standard_normal(o) / 4)
        return self.add("conv2d", [x, w, b], name, pads=[1, 1, 1, 1], **attrs)

    def done(self, *outputs: str) -> Graph:
        self.graph.outputs = list(outputs)
        shapes.infer(self.graph)
        return self.graph


def data(graph: Graph, seed: int = 0, size: int = 4) -> Array:
    shape = [size if d is None else d for d in graph.value("x").shape or ()]
    return np.random.default_rng(seed).standard_normal(shape).astype(F)


def make(graph: Graph, **options: Any) -> Model:
    stats = calibrate(graph, [data(graph, seed) for seed in range(4)])
    return quantize(graph, stats, Config(**options))


def ops(model: Model) -> list[str]:
    return [node.op for node in model.graph.nodes]


def sqnr(graph: Graph, model: Model) -> float:
    """In dB, on samples that were calibrated on: nothing is cut off, only rounded."""
    x = data(graph, 1)
    expected = reference.run(graph, {"x": x})
    got = reference.run(model.graph, {"x": x})
    signal = sum(float(np.square(v).sum()) for v in expected.values())
    noise = sum(float(np.square(v - got[k]).sum()) for k, v in expected.items())
    return 10 * math.log10(signal / noise)


def test_a_convolution_network_is_int8_throughout() -> None:
    net = Net(None, 8, 8, 3)
    a = net.conv("x", 3, 8, "stem", clip_min=0.0)
    b = net.conv(a, 8, 8, "body")
    c = net.add("add", [a, b], "sum", clip_min=0.0, clip_max=2.0)
    d = net.add("max_pool2d", [c], "pool", kernel=[2, 2], strides=[2, 2])
    y = net.add("reduce_mean", [d], "mean", axes=[1, 2], keepdims=0)
    graph = net.done(y)
    model = make(graph)
    assert ops(model) == [
        "quantize", "conv2d", "conv2d", "add", "max_pool2d", "reduce_mean", "dequantize",
    ]  # fmt: skip
    values = model.graph.values
    # Int8 values keep the names of the float values they stand for.
    for name in (a, b, c, d):
        assert values[name].dtype == "int8"
    assert values[y].dtype == "float32"
    assert values[c].quant.same(values[d].quant)
    assert model.graph.nodes[0].inputs == ["x"]
    # relu needs no clamp of its own: the range of its output begins at 0.
    assert values[a].quant.zero_point == -128
    assert "qmin" not in model.graph.nodes[1].attrs
    assert model.graph.nodes[1].attrs == {"pads": [1, 1, 1, 1]}
    assert values["stem.w"].quant.axis == 0
    assert values["stem.b"].dtype == "int32"
    assert not any(node.reason for node in model.graph.nodes)
    assert sqnr(graph, model) > 28


@pytest.mark.parametrize("options", [
    {"weights": "per_tensor"}, {"weight_scheme": "asymmetric"}, {"activations": "symmetric"},
    {"weights": "per_tensor", "weight_scheme": "asymmetric"},
])  # fmt: skip
def test_schemes(options: dict[str, str]) -> None:
    net = Net(None, 8, 8, 3)
    graph = net.done(net.conv(net.conv("x", 3, 8, "first"), 8, 4, "second"))
    model = make(graph, **options)
    values = model.graph.values
    quant = values["first.w"].quant
    assert (quant.axis is None) == (options.get("weights") == "per_tensor")
    assert bool(quant.zero_point.any()) == (options.get("weight_scheme") == "asymmetric")
    if options.get("activations") == "symmetric":
        assert not any(v.quant.zero_point.any() for v in model.graph.activations() if v.quant)
    assert sqnr(graph, model) > 26


def test_clip_becomes_qmin_and_qmax() -> None:
    net = Net(None, 4, 4, 3)
    graph = net.done(net.conv("x", 3, 4, "conv", clip_min=-0.5, clip_max=0.25))
    # Statistics of a wider range than the clip leaves, as a merged percentile might give.
    stats = Statistics()
    stats.observer("x").update(np.asarray([-4, 4], F))
    stats.observer("conv.out").update(np.asarray([-2, 2], F))
    model = quantize(graph, stats)
    conv = model.graph.nodes[1]
    quant = model.graph.value(conv.outputs[0]).quant
    limits = [float(dequantize(np.int8(conv.attrs[key]), quant)) for key in ("qmin", "qmax")]
    assert limits == pytest.approx([-0.5, 0.25], abs=float(quant.scale) / 2)
    y = reference.run(model.graph, {"x": data(graph)})["conv.out"]
    assert (y.min(), y.max()) == pytest.approx((limits[0], limits[1]))


UNARY: list[tuple[str, dict[str, Attribute]]] = [
    ("abs", {}), ("erf", {}), ("exp", {}), ("gelu", {}), ("gelu_tanh", {}), ("hard_swish", {}),
    ("mish", {}), ("neg", {}), ("relu", {}), ("sigmoid", {}), ("silu", {}), ("softplus", {}),
    ("tanh", {}), ("clip", {"min": -0.3, "max": 0.4}), ("elu", {"alpha": 0.7}),
    ("leaky_relu", {"alpha": 0.2}), ("hard_sigmoid", {"alpha": 0.25, "beta": 0.4}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "attrs"), UNARY, ids=[op for op, _ in UNARY])
def test_unary_functions_become_exact_tables(op: str, attrs: dict[str, Attribute]) -> None:
    net = Net(None, 16)
    graph = net.done(net.add(op, ["x"], "f", **attrs))
    model = make(graph)
    assert ops(model) == ["quantize", "lookup", "dequantize"]
    lookup = model.graph.nodes[1]
    assert lookup.attrs == {"function": op}
    x_quant, y_quant = (model.graph.value(n).quant for n in (lookup.inputs[0], lookup.outputs[0]))
    table = model.graph.constant(lookup.inputs[1])
    x = dequantize(np.arange(-128, 128).astype(np.int8), x_quant)
    # Against the executor's own float32 function: at most the rounding of one step apart.
    node = graph.nodes[0]
    y = reference.run(
        Graph("f", ["x"], ["f.out"], {
            "x": Value("x", "float32", (256,)), "f.out": Value("f.out"),
        }, [node]), {"x": x},
    )["f.out"]  # fmt: skip
    exact = np.clip(y / y_quant.scale + y_quant.zero_point, -128, 127)
    assert np.abs(table - exact).max() <= 0.5 + 1e-2
    if op in ("sigmoid", "tanh"):
        assert float(y_quant.scale) == (1 / 256 if op == "sigmoid" else 1 / 128)


def test_functions_outside_their_domain_stay_finite() -> None:
    x = np.linspace(-2, 2, 9)
    assert np.isfinite(evaluate(Node("s", "sqrt", [], []), x)).all()
    assert not np.isnan(evaluate(Node("l", "log", [], []), x)).any()


def test_prelu_has_a_table_per_channel() -> None:
    net = Net(None, 4, 4, 3)
    x = net.conv("x", 3, 5)
    slope = net.constant("slope", [0.1, 0.2, 0.3, -0.4, 2])
    graph = net.done(net.add("prelu", [x, slope], "p"))
    model = make(graph)
    assert "prelu" not in ops(model)
    assert model.graph.value("p_table").shape == (5, 256)
    assert sqnr(graph, model) > 26


def test_one_number_makes_a_table_of_any_binary_operator() -> None:
    net = Net(None, 4, 4, 3)
    x = net.add("div", ["x", net.constant("two", 2.0)], "halve")
    x = net.add("sub", [net.constant("one", [1.0]), x], "turn", clip_max=2.0)
    x = net.add("mul", [x, net.constant("three", [[3.0]])], "triple")
    graph = net.done(net.conv(x, 3, 4))
    model = make(graph)
    assert [n.attrs.get("function") for n in model.graph.nodes if n.op == "lookup"] == [
        "div", "sub", "mul",
    ]  # fmt: skip
    assert sqnr(graph, model) > 26


def test_constant_operands_are_quantized() -> None:
    net = Net(None, 4, 4, 3)
    x = net.add("mul", [net.conv("x", 3, 3), net.constant("k", [0.5, 1, 2])], "scaled")
    graph = net.done(net.add("add", [x, net.constant("z", [0, 0, 0])], "same"))
    model = make(graph)
    assert model.graph.value("k").dtype == "int8"
    assert float(model.graph.value("z").quant.scale) == 1.0
    assert sqnr(graph, model) > 26


def test_concat_inputs_are_produced_with_its_parameters() -> None:
    net = Net(None, 4, 4, 3)
    a = net.conv("x", 3, 4, "a", clip_min=0.0)
    pooled = net.add("max_pool2d", [a], "pool", kernel=[3, 3], pads=[1, 1, 1, 1])
    b = net.add("sigmoid", [net.conv("x", 3, 4, "b")], "gate")
    shared = net.conv("x", 3, 4, "shared", clip_min=-0.5, clip_max=0.5)
    joined = net.add("concat", [pooled, b, shared], "join", axis=3)
    graph = net.done(net.conv(joined, 12, 4, "end"), net.conv(shared, 4, 4, "other"))
    model = make(graph)
    values = model.graph.values
    joined_quant = values["join.out"].quant
    # Nobody else reads these two; `shared` has another reader and keeps what is best for it.
    assert values["a.out"].quant.same(joined_quant)
    assert values["gate.out"].quant.same(joined_quant)
    assert not values["shared.out"].quant.same(joined_quant)
    requantize = [n for n in model.graph.nodes if n.attrs.get("function") == "requantize"]
    assert [n.inputs[0] for n in requantize] == ["shared.out"]
    for name in next(n for n in model.graph.nodes if n.op == "concat").inputs:
        assert values[name].quant.same(joined_quant)
    assert sqnr(graph, model) > 24


def test_nested_concats_and_a_value_joined_with_itself() -> None:
    net = Net(None, 4, 4, 2)
    a = net.conv("x", 2, 2, "a")
    inner = net.add("concat", [a, net.conv("x", 2, 2, "b")], "inner", axis=3)
    outer = net.add("concat", [inner, net.conv("x", 2, 2, "c")], "outer", axis=3)
    twice = net.add("concat", [outer, outer], "twice", axis=3)
    graph = net.done(twice)
    model = make(graph)
    for node in model.graph.nodes:
        if node.op == "concat":
            out = model.graph.value(node.outputs[0]).quant
            assert all(model.graph.value(n).quant.same(out) for n in node.inputs)
    assert model.graph.value("a.out").quant.same(model.graph.value("outer.out").quant)
    assert sqnr(graph, model) > 30


def test_padding_with_another_number_than_zero_has_its_own_parameters() -> None:
    net = Net(None, 4, 4, 3)
    x = net.conv("x", 3, 3, "conv", clip_min=0.0, clip_max=1.0)
    x = net.add("pad", [x], "pad", pads=[0, 1, 1, 0, 0, 1, 1, 0], value=5.0)
    graph = net.done(net.conv(x, 3, 2, "end"))
    model = make(graph)
    assert [n.attrs.get("function") for n in model.graph.nodes if n.op == "lookup"] == [
        "requantize"
    ]
    assert sqnr(graph, model) > 24


def attention() -> Graph:
    """Linear layers around float32 arithmetic: a normalization and a product of activations."""
    net = Net(None, 6, 8)

    def linear(x: str, name: str) -> str:
        w = net.constant(f"{name}.w", net.rng.standard_normal((8, 8)) / 3)
        return net.add("linear", [x, w], name)

    q, k = linear("x", "q"), linear("x", "k")
    kt = net.add("transpose", [k], "turn", perm=[0, 2, 1])
    scores = net.add("matmul", [q, kt], "scores")
    p = net.add("softmax", [scores], "p", axis=2)
    mixed = net.add("matmul", [p, linear("x", "v")], "mixed")
    out = linear(mixed, "out")
    mean = net.add("reduce_mean", [out], "mean", axes=[2], keepdims=1)
    centered = net.add("sub", [out, mean], "centered")
    square = net.add("mul", [centered, centered], "square")
    variance = net.add("reduce_mean", [square], "variance", axes=[2], keepdims=1)
    shifted = net.add("add", [variance, net.constant("eps", 1e-5)], "shifted")
    root = net.add("sqrt", [shifted], "root")
    return net.done(net.add("div", [centered, root], "normed"))


def test_what_stays_float_says_why() -> None:
    graph = attention()
    model = make(graph)
    reasons = {node.name: node.reason for node in model.graph.nodes if node.reason}
    assert reasons["scores"] == "matmul has no int8 form"
    assert "input 'scores.out' is float32" in reasons["p"]
    assert "divisor" in reasons["normed"]
    # A normalization is not quantized in between only to be divided in float32.
    for name in ("mean", "centered", "square", "variance", "shifted", "root"):
        assert "float32" in reasons[name]
    int8 = {n.name for n in model.graph.nodes if n.op in ("linear", "transpose")}
    assert int8 == {"q", "k", "v", "out", "turn"}
    assert not int8 & reasons.keys()
    assert sqnr(graph, model) > 24


@pytest.mark.parametrize("entry", ["body", "body.out", "bo*", "[b]ody"])
def test_keep_float_by_name(entry: str) -> None:
    net = Net(None, 6, 6, 3)
    graph = net.done(net.conv(net.conv(net.conv("x", 3, 4, "head"), 4, 4, "body"), 4, 4, "tail"))
    model = make(graph, keep_float=[entry])
    body = next(n for n in model.graph.nodes if n.name == "body")
    assert body.reason == f"kept in float32 by request (keep_float: '{entry}')"
    assert model.graph.value("body.w").dtype == "float32"
    assert ops(model) == [
        "quantize", "conv2d", "dequantize", "conv2d", "quantize", "conv2d", "dequantize",
    ]  # fmt: skip
    assert sqnr(graph, model) > sqnr(graph, make(graph))


def test_keep_float_by_type_keeps_everything() -> None:
    net = Net(None, 6, 6, 3)
    graph = net.done(net.conv(net.conv("x", 3, 4), 4, 4))
    model = make(graph, keep_float=["conv2d"])
    assert ops(model) == ["conv2d", "conv2d"]
    x = data(graph)
    expected, got = reference.run(graph, {"x": x}), reference.run(model.graph, {"x": x})
    assert all(got[name].tobytes() == expected[name].tobytes() for name in expected)


def test_keep_float_that_matches_nothing_suggests_names() -> None:
    net = Net(None, 6, 6, 3)
    graph = net.done(net.conv("x", 3, 4, "classifier"))
    with pytest.raises(InputError, match="did you mean 'classifier'"):
        make(graph, keep_float=["clasifier"])
    make(graph, keep_float=["softmax"])  # an operator that happens not to occur


@pytest.mark.parametrize("options", [
    {"weights": "per_row"}, {"activations": 3}, {"input_dtype": "uint8"}, {"keep_float": [""]},
])  # fmt: skip
def test_config_refuses(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"Config\."):
        Config(**options)


def test_int8_inputs_and_outputs() -> None:
    net = Net(None, 4, 4, 3)
    x = net.conv("x", 3, 4, "first")
    y = net.add("softmax", [x], "soft", axis=3)
    best = net.add("argmax", [x], "best", axis=3)
    graph = net.done(x, y, best)
    plain = make(graph)
    model = make(graph, input_dtype="int8", output_dtype="int8")
    assert not {"quantize", "dequantize"} & set(ops(model))
    values = model.graph.values
    assert [values[n].dtype for n in ("x", x, y, best)] == ["int8", "int8", "int8", "int64"]
    feed = data(graph)
    expected = reference.run(plain.graph, {"x": feed})
    got = reference.run(model.graph, {"x": to_int8(feed, values["x"].quant)})
    for name in (x, y):
        np.testing.assert_array_equal(dequantize(got[name], values[name].quant), expected[name])
    np.testing.assert_array_equal(got[best], expected[best])


def test_int8_output_of_a_float_node() -> None:
    net = Net(None, 4, 4, 3)
    graph = net.done(net.conv("x", 3, 4, "conv"))
    model = make(graph, keep_float=["conv"], input_dtype="int8", output_dtype="int8")
    assert ops(model) == ["dequantize", "conv2d", "quantize"]
    assert model.graph.value("conv.out").dtype == "int8"


def test_a_layer_that_could_overflow_stays_float() -> None:
    net = Net(None, 70000)
    w = net.constant("wide.w", np.full((2, 70000), 0.5))
    x = net.add("linear", ["x", w], "wide")
    graph = net.done(net.add("relu", [x], "r"))
    stats = calibrate(graph, [data(graph, 0, 2)])
    model = quantize(graph, stats)
    reasons = {n.name: n.reason for n in model.graph.nodes if n.reason}
    assert reasons["wide"] == "output channel 0 could overflow its 32-bit accumulator"
    assert reasons["r"] == "its input 'wide.out' is float32"
    assert ops(model) == ["linear", "relu"]


def test_a_float_weight_read_twice_stays_one_array_in_float() -> None:
    net = Net(None, 4, 4, 3)
    a = net.conv("x", 3, 3, "a")
    b = net.add("conv2d", [a, "a.w", "a.b"], "b", pads=[1, 1, 1, 1])
    graph = net.done(b)
    model = make(graph, keep_float=["b"])
    assert model.graph.value("a.w").dtype == "float32"
    assert model.graph.value(model.graph.nodes[1].inputs[1]).dtype == "int8"
    assert sqnr(graph, model) > 28


def test_the_float_graph_is_not_changed_and_the_result_is_reproducible() -> None:
    graph = attention()
    before = [(n.name, n.op, list(n.inputs), list(n.outputs), n.reason) for n in graph.nodes]
    first, second = make(graph), make(graph)
    after = [(n.name, n.op, list(n.inputs), list(n.outputs), n.reason) for n in graph.nodes]
    assert before == after
    assert first.to_bytes() == second.to_bytes()


def test_model_files_and_sizes(tmp_path: Path) -> None:
    graph = attention()
    model = make(graph)
    model.save(tmp_path / "m.gguf")
    back = Model.load(tmp_path / "m.gguf")
    assert back.to_bytes() == model.to_bytes()
    size = model.size()
    assert size.file_bytes == (tmp_path / "m.gguf").stat().st_size
    assert size.int8_bytes == 4 * 64
    assert size.float_nodes == 10
    x = data(graph)
    expected = reference.run(model.graph, {"x": x})
    got = Session(tmp_path / "m.gguf").run({"x": x})
    assert all(got[name].tobytes() == expected[name].tobytes() for name in expected)


def test_statistics_of_another_graph() -> None:
    net = Net(None, 4, 4, 3)
    graph = net.done(net.conv("x", 3, 4, "conv"))
    with pytest.raises(CalibrationError, match="know nothing of 'x'"):
        quantize(graph, Statistics())


def test_tensors_of_zeros_name_themselves() -> None:
    net = Net(None, 4, 4, 3)
    graph = net.done(net.conv("x", 3, 4, "conv"))
    stats = calibrate(graph, [np.zeros((1, 4, 4, 3), F)])
    with pytest.raises(CalibrationError, match="the graph's input: 'x' holds nothing but zeros"):
        quantize(graph, stats)


def test_dead_layers_name_their_node() -> None:
    net = Net(None, 4, 4, 3)
    graph = net.done(net.conv("x", 3, 4, "dead"))
    for value in graph.values.values():
        if value.data is not None:
            value.data = np.zeros_like(value.data)
    stats = calibrate(graph, [np.ones((1, 4, 4, 3), F)])
    with pytest.raises(CalibrationError, match=r"node 'dead' \(conv2d\): .* nothing but zeros"):
        quantize(graph, stats)
    quantize(graph, stats, Config(keep_float=["dead"]))


def test_a_quantized_graph_is_refused() -> None:
    net = Net(None, 4, 4, 3)
    graph = net.done(net.conv("x", 3, 4, "conv"))
    model = make(graph)
    with pytest.raises(GraphError, match=r"is quantized already .* runs as it is"):
        quantize(model.graph, Statistics())


def test_weights_that_are_not_finite_name_the_node() -> None:
    net = Net(None, 4, 4, 3)
    graph = net.done(net.conv("x", 3, 4, "conv"))
    stats = calibrate(graph, [data(graph)])
    graph.values["conv.w"].data = np.full((4, 3, 3, 3), np.nan, F)
    with pytest.raises(GraphError, match="'conv' hold NaN"):
        quantize(graph, stats)
