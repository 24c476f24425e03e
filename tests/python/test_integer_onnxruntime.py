"""The integer operators held against ONNX Runtime, to the bit, on random shapes and parameters.

Its kernels are exact on CPUs with VNNI or where it chooses unsigned-by-unsigned products. On x86
CPUs without VNNI, unsigned-by-signed products saturate (vpmaddubsw) in ONNX Runtime: there signed
weights are kept within 7 bits, where nothing can saturate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import zeropoint as zp
from zeropoint import _core, shapes
from zeropoint.graph import Attribute, Graph, Node, QuantParams, Value

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from exact_onnxruntime import saturates  # noqa: E402

Array = npt.NDArray[Any]
SEEDS = range(12)


def run_onnx(
    op: str, inputs: dict[str, Array], constants: dict[str, Array], order: list[str],
    outputs: int = 1, domain: str = "", **attrs: object,
) -> list[Array]:  # fmt: skip
    helper = onnx.helper
    names = [f"out{i}" for i in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op, order, names, domain=domain, **attrs)],
        "one",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in names],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, inputs))


def run_ours(graph: Graph, inputs: dict[str, Array]) -> list[Array]:
    shapes.infer(graph)
    results = [
        list(zp.Session(graph, isa=level).run(inputs).values())
        for level in _core.detected_isa_levels()
    ]
    for result in results[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(results[0], result, strict=True))
    return results[0]


class Case:
    """Random data that is the same for both sides."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.graph = Graph("one")
        self.inputs: dict[str, Array] = {}
        self.constants: dict[str, Array] = {}

    def size(self, most: int) -> int:
        return int(self.random.integers(1, most + 1))

    def dtype(self) -> type:
        return np.uint8 if self.random.integers(2) else np.int8

    def data(self, dtype: type, *shape: int, weights: bool = False) -> Array:
        info = np.iinfo(dtype)
        x = self.random.integers(info.min, info.max + 1, shape).astype(dtype)
        if weights and dtype is np.int8 and saturates():
            x = x // 2
        return np.asarray(x, dtype)

    def input(self, name: str, data: Array, quant: QuantParams | None = None) -> None:
        dtype = "int8" if data.dtype == np.uint8 else str(data.dtype)
        self.graph.add_value(Value(name, dtype, data.shape, quant))
        self.graph.inputs.append(name)
        if data.dtype == np.uint8:
            self.graph.unsigned.add(name)
        self.inputs[name] = data

    def output(self, name: str, dtype: str, quant: QuantParams | None = None) -> str:
        self.graph.outputs.append(name)
        if dtype == "uint8":
            self.graph.unsigned.add(name)
            dtype = "int8"
        self.graph.add_value(Value(name, dtype, None, quant))
        return name

    def quant(self, zero_point: Array, scale: Array | None = None) -> QuantParams:
        scale = self.scale() if scale is None else scale
        return QuantParams(scale, to_int8(zero_point).astype(np.int32))

    def scale(self) -> Array:
        return np.asarray(self.random.uniform(0.001, 0.1), np.float32)

    def node(self, op: str, inputs: list[str], outputs: list[str], **attrs: Attribute) -> None:
        self.graph.nodes.append(Node(op, op, inputs, outputs, dict(attrs)))


def to_int8(x: Array) -> Array:
    return np.asarray(x.astype(np.int32) - 128, np.int8) if x.dtype == np.uint8 else x


def assert_equal(theirs: list[Array], ours: list[Array]) -> None:
    for a, b in zip(theirs, ours, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("seed", SEEDS)
def test_matmul_integer(seed: int) -> None:
    c = Case(seed)
    m, k, n = c.size(40), c.size(200), c.size(70)
    lead = (2, 3) if seed % 3 == 0 else ()
    ta, tb = c.dtype(), c.dtype()
    if ta is np.int8:  # ONNX Runtime has no signed-by-unsigned product
        tb = np.int8
    c.input("a", c.data(ta, *lead, m, k))
    c.input("b", c.data(tb, k, n, weights=True))
    c.input("za", c.data(ta))
    # Zero points per column only for constants, where ONNX Runtime allows them.
    c.input("zb", c.data(tb, weights=True))
    c.node("matmul_integer", ["a", "b", "za", "zb"], [c.output("y", "int32")])
    theirs = run_onnx("MatMulInteger", c.inputs, {}, ["a", "b", "za", "zb"])
    assert_equal(theirs, run_ours(c.graph, c.inputs))


@pytest.mark.parametrize("seed", SEEDS)
def test_matmul_integer_per_column(seed: int) -> None:
    c = Case(seed)
    m, k, n = c.size(40), c.size(200), c.size(70) + 1
    b, zb = c.data(np.int8, k, n, weights=True), c.data(np.int8, n, weights=True)
    c.input("a", c.data(np.uint8, m, k))
    c.input("za", c.data(np.uint8))
    for name, data in (("b", b), ("zb", zb)):
        c.graph.add_constant(name, data)
    c.node("matmul_integer", ["a", "b", "za", "zb"], [c.output("y", "int32")])
    constants = {"b": b, "zb": zb}
    theirs = run_onnx("MatMulInteger", c.inputs, constants, ["a", "b", "za", "zb"])
    assert_equal(theirs, run_ours(c.graph, c.inputs))


@pytest.mark.parametrize("seed", SEEDS)
def test_conv_integer(seed: int) -> None:
    c = Case(seed)
    groups = [1, 1, 2, 4][seed % 4]
    channels, out = 4 * c.size(5), 4 * c.size(5)
    kernel = [c.size(3), c.size(3)]
    pads = [int(p) for p in c.random.integers(0, 2, 4)]
    strides = [c.size(2), c.size(2)]
    x = c.data(np.uint8, 2, channels, 9, 8)
    tw = c.dtype()
    w = c.data(tw, out, channels // groups, *kernel, weights=True)
    zx, zw = c.data(np.uint8), c.data(tw, weights=True)
    theirs = run_onnx(
        "ConvInteger", {"x": x, "zx": zx}, {"w": w, "zw": zw}, ["x", "w", "zx", "zw"],
        pads=pads, strides=strides, group=groups,
    )  # fmt: skip
    c.input("x", np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    c.input("zx", zx)
    c.graph.add_constant("w", np.ascontiguousarray(to_int8(w).transpose(0, 2, 3, 1)))
    c.graph.add_constant("zw", to_int8(zw))
    attrs: dict[str, Attribute] = {"pads": list(pads), "strides": list(strides), "groups": groups}
    c.node("conv_integer", ["x", "w", "zx", "zw"], [c.output("y", "int32")], **attrs)
    y = run_ours(c.graph, c.inputs)[0]
    assert_equal(theirs, [np.ascontiguousarray(y.transpose(0, 3, 1, 2))])


@pytest.mark.parametrize("seed", range(40))
def test_dynamic_quantize_linear(seed: int) -> None:
    c = Case(seed)
    x = c.random.standard_normal((c.size(30), c.size(200))) * np.exp(c.random.uniform(-20, 20))
    if seed % 4 == 1:
        x = np.abs(x)
    elif seed % 4 == 2:
        x = -np.abs(x) - 1
    elif seed == 3:
        x = np.zeros_like(x)
    c.input("x", x.astype(np.float32))
    outputs = [c.output("y", "uint8"), c.output("s", "float32"), c.output("z", "uint8")]
    c.node("dynamic_quantize", ["x"], outputs)
    theirs = run_onnx("DynamicQuantizeLinear", c.inputs, {}, ["x"], 3)
    assert_equal(theirs, run_ours(c.graph, c.inputs))


@pytest.mark.parametrize("seed", range(24))
def test_qlinear_matmul(seed: int) -> None:
    c = Case(seed)
    m, k, n = c.size(40), c.size(200), c.size(70)
    lead = (2, 3) if seed % 3 == 0 else ()
    ta = c.dtype()
    tb = np.int8 if ta is np.int8 else c.dtype()
    a, b = c.data(ta, *lead, m, k), c.data(tb, *lead, k, n, weights=True)
    za, zb, zy = c.data(ta), c.data(tb, weights=True), c.data(ta)
    sa, sb = c.scale(), c.scale()
    sy = np.asarray(sa * sb * np.float32(5000 * np.sqrt(k)), np.float32)
    order = ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"]
    constants = {"sa": sa, "za": za, "sb": sb, "zb": zb, "sy": sy, "zy": zy}
    theirs = run_onnx("QLinearMatMul", {"a": a, "b": b}, constants, order)
    c.input("a", a, c.quant(za, sa))
    c.input("b", b, c.quant(zb, sb))
    y = c.output("y", np.dtype(ta).name, c.quant(zy, sy))
    c.node("matmul", ["a", "b"], [y])
    assert_equal(theirs, run_ours(c.graph, c.inputs))


@pytest.mark.parametrize("seed", range(24))
def test_dynamic_quantize_matmul(seed: int) -> None:
    """com.microsoft's fused form of what dynamic_linear is."""
    c = Case(seed)
    m, k, n = c.size(40), c.size(200), c.size(70) + 1
    tb = c.dtype()
    b = c.data(tb, k, n, weights=True)
    per_column = seed % 2 == 0
    scales = c.random.uniform(0.001, 0.01, n if per_column else 1).astype(np.float32)
    zeros = c.data(tb, n if per_column else 1, weights=True)
    bias = c.random.standard_normal(n).astype(np.float32)
    x = c.random.standard_normal((m, k)).astype(np.float32)
    constants = {"b": b, "sb": scales, "zb": zeros, "bias": bias}
    order = ["x", "b", "sb", "zb", *(["bias"] if seed % 3 else [])]
    theirs = run_onnx("DynamicQuantizeMatMul", {"x": x}, constants, order, domain="com.microsoft")
    c.input("x", x)
    params = QuantParams(scales, to_int8(zeros).astype(np.int32), 0)
    if not per_column:
        params = QuantParams.per_tensor(float(scales[0]), int(to_int8(zeros)[0]))
    c.graph.add_constant("w", np.ascontiguousarray(to_int8(b).T), params)
    c.graph.add_constant("bias", bias)
    names = ["x", "w", *(["bias"] if seed % 3 else [])]
    c.node("dynamic_linear", names, [c.output("y", "float32")])
    assert_equal(theirs, run_ours(c.graph, c.inputs))
