"""Integer operators with zero points on both sides, dynamic quantization, layer_norm and their kin.

Each is built as a graph of its own and compared with the NumPy executor to the bit, on every ISA
level and with several threads. ``test_integer_onnxruntime.py`` holds the executor's rules against
ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import zeropoint as zp
from zeropoint import _core, reference, shapes
from zeropoint.errors import GraphError, UnsupportedError
from zeropoint.graph import Attribute, Graph, Node, QuantParams, Value

Array = npt.NDArray[Any]


class Builder:
    """A graph of few nodes, with random data for its inputs."""

    def __init__(self, seed: int) -> None:
        self.graph = Graph("integers")
        self.random = np.random.default_rng(seed)
        self.feeds: dict[str, Array] = {}

    def int8(self, *shape: int) -> Array:
        return np.asarray(self.random.integers(-128, 128, shape), np.int8)

    def quant(self, zero_point: int) -> QuantParams:
        return QuantParams.per_tensor(float(self.random.uniform(0.001, 0.1)), zero_point)

    def input(self, name: str, data: Array, quant: QuantParams | None = None) -> str:
        self.graph.add_value(Value(name, str(data.dtype), data.shape, quant))
        self.graph.inputs.append(name)
        self.feeds[name] = data
        return name

    def output(self, name: str, dtype: str = "float32", quant: QuantParams | None = None) -> str:
        self.graph.add_value(Value(name, dtype, None, quant))
        self.graph.outputs.append(name)
        return name

    def node(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attrs: Attribute
    ) -> None:
        name = self.graph.unique_name(op)
        self.graph.nodes.append(Node(name, op, list(inputs), list(outputs), dict(attrs)))

    def check(self) -> dict[str, Array]:
        """Runs everywhere; returns the executor's answer."""
        shapes.infer(self.graph)
        expected = reference.run(self.graph, self.feeds)
        for level in _core.detected_isa_levels():
            for threads in (1, 3):
                actual = zp.Session(self.graph, isa=level, threads=threads).run(self.feeds)
                for name, array in expected.items():
                    assert actual[name].dtype == array.dtype
                    assert actual[name].shape == array.shape
                    nan = np.isnan(array) if array.dtype == np.float32 else False
                    same = (actual[name] == array) | (nan & np.isnan(actual[name]))
                    assert np.all(same), f"'{name}' differs on {level} with {threads} threads"
        return expected


# -- matmul ---------------------------------------------------------------------------------

MATMUL_SHAPES = [
    ((2, 3, 7, 33), (2, 3, 33, 19)),
    ((1, 65), (65, 70)),
    ((1, 4, 5, 6), (3, 1, 6, 2)),
    ((3, 50, 128), (128, 64)),
    ((49, 1), (1, 17)),
]


@pytest.mark.parametrize(("a", "b"), MATMUL_SHAPES, ids=str)
@pytest.mark.parametrize("zero_points", [(0, 0), (-128, 0), (17, -128), (127, 5)], ids=str)
@pytest.mark.parametrize("out", ["int8", "int32"])
@pytest.mark.parametrize("constant", [False, True], ids=["activation", "constant"])
def test_matmul(
    a: tuple[int, ...], b: tuple[int, ...], zero_points: tuple[int, int], out: str, constant: bool
) -> None:
    g = Builder(7)
    g.input("a", g.int8(*a), g.quant(zero_points[0]))
    if constant:
        g.graph.add_constant("b", g.int8(*b), g.quant(zero_points[1]))
    else:
        g.input("b", g.int8(*b), g.quant(zero_points[1]))
    params = QuantParams.per_tensor(0.03 * np.sqrt(a[-1]), 3) if out == "int8" else None
    g.output("y", out, params)
    g.node("matmul", ["a", "b"], ["y"], **({"qmin": -100, "qmax": 90} if out == "int8" else {}))
    g.check()


def test_matmul_of_extremes() -> None:
    """The longest sum that is allowed, of the largest products."""
    for q in (-128, 127):
        g = Builder(0)
        k = 33025
        g.input("a", np.full((2, k), q, np.int8), g.quant(-1 - q))
        g.input("b", np.full((k, 3), q, np.int8), g.quant(-1 - q))
        g.output("y", "int32")
        g.node("matmul", ["a", "b"], ["y"])
        assert np.all(g.check()["y"] == 255 * 255 * k)


def test_matmul_that_could_overflow_is_an_error() -> None:
    g = Builder(0)
    k = 33026
    g.input("a", np.zeros((1, k), np.int8), g.quant(0))
    g.input("b", np.zeros((k, 1), np.int8), g.quant(0))
    g.output("y", "int32")
    g.node("matmul", ["a", "b"], ["y"])
    shapes.infer(g.graph)
    session = zp.Session(g.graph)
    with pytest.raises(UnsupportedError, match=r"node 'matmul' .* 33026 products"):
        session.run(g.feeds)


def test_raw_accumulators_take_no_activation() -> None:
    g = Builder(0)
    g.input("a", g.int8(2, 3), g.quant(0))
    g.input("b", g.int8(3, 2), g.quant(0))
    g.output("y", "int32")
    g.node("matmul", ["a", "b"], ["y"], qmax=5)
    shapes.infer(g.graph)
    with pytest.raises(zp.ModelError, match="raw accumulators"):
        zp.Session(g.graph)


@pytest.mark.parametrize("zero_a", [None, (), (1,), (13,)], ids=str)
@pytest.mark.parametrize("zero_b", [None, (), (1,), (21,)], ids=str)
@pytest.mark.parametrize("constant", [False, True], ids=["activation", "constant"])
def test_matmul_integer(
    zero_a: tuple[int, ...] | None, zero_b: tuple[int, ...] | None, constant: bool
) -> None:
    g = Builder(3)
    names = [g.input("a", g.int8(2, 13, 37))]
    if constant:
        names.append(g.graph.add_constant("b", g.int8(37, 21)).name)
    else:
        names.append(g.input("b", g.int8(37, 21)))
    for name, shape in (("za", zero_a), ("zb", zero_b)):
        names.append("" if shape is None else g.input(name, g.int8(*shape)))
    g.output("y", "int32")
    g.node("matmul_integer", names, ["y"])
    g.graph.unsigned = {"a"}
    g.feeds["a"] = g.feeds["a"].view(np.uint8)
    g.check()


def test_zero_points_of_the_wrong_shape_are_an_error() -> None:
    g = Builder(3)
    g.input("a", g.int8(4, 5))
    g.input("b", g.int8(5, 6))
    g.input("za", g.int8(5))
    g.output("y", "int32")
    g.node("matmul_integer", ["a", "b", "za"], ["y"])
    with pytest.raises(GraphError, match=r"zero points \[5\]"):
        shapes.infer(g.graph)
    g.graph.value("y").shape = (4, 6)
    with pytest.raises(zp.Error, match=r"zero points of the left side"):
        zp.Session(g.graph).run(g.feeds)


# -- convolution and linear -----------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("zero_w", ["none", "scalar", "extreme", "channels"])
@pytest.mark.parametrize("runtime", [False, True], ids=["conv2d", "conv_integer"])
def test_raw_convolution(groups: int, kernel: int, zero_w: str, runtime: bool) -> None:
    g = Builder(5)
    channels, out = 8, 16
    w = g.int8(out, kernel, kernel, channels // groups)
    zero = {
        "none": np.zeros((), np.int8),
        "scalar": np.asarray(-3, np.int8),
        "extreme": np.asarray(-128, np.int8),  # 127 - -128 = 255 needs three int8 parts
        "channels": g.int8(out),
    }[zero_w]
    w.reshape(-1)[0] = 127
    x = g.int8(2, 9, 8, channels)
    attrs: dict[str, Attribute] = {"groups": groups, "pads": [1, 0, 2, 1], "strides": [1, 2]}
    g.output("y", "int32")
    if runtime:
        names = [g.input("x", x), g.graph.add_constant("w", w).name, g.input("zx", g.int8())]
        if zero_w != "none":
            names.append(g.graph.add_constant("zw", zero).name)
        g.node("conv_integer", names, ["y"], **attrs)
    else:
        zeros = np.broadcast_to(zero, out).astype(np.int32)
        bias = g.random.integers(-99999, 99999, out).astype(np.int32)
        g.input("x", x, g.quant(-77))
        g.graph.add_constant("w", w, QuantParams(np.ones(out, np.float32), zeros, 0))
        g.graph.add_constant("b", bias)
        g.node("conv2d", ["x", "w", "b"], ["y"], **attrs)
    g.check()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("zero_w", [0, 9, -128])
def test_raw_linear(bias: bool, zero_w: int) -> None:
    g = Builder(6)
    g.input("x", g.int8(3, 4, 50), g.quant(12))
    g.graph.add_constant("w", g.int8(21, 50), g.quant(zero_w))
    names = ["x", "w"]
    if bias:
        data = g.random.integers(-(2**20), 2**20, 21).astype(np.int32)
        names.append(g.graph.add_constant("b", data).name)
    g.output("y", "int32")
    g.node("linear", names, ["y"])
    g.check()


# -- dynamic quantization -------------------------------------------------------------------

FACTORS = [1.0, 0.0, -1.0, 1e-3, 1e38, 1e-40, np.inf, np.nan]


def values(g: Builder, shape: tuple[int, ...], factor: float) -> Array:
    """Normal numbers; all of one sign, one that is not finite, or denormal ones."""
    x = g.random.standard_normal(shape).astype(np.float32)
    if not np.isfinite(factor):
        x.reshape(-1)[x.size // 2] = factor
        return x
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(-np.abs(x) if factor == -1.0 else x * np.float32(factor))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("shape", [(1,), (2, 30, 65), (40001,)], ids=str)
def test_dynamic_quantize(shape: tuple[int, ...], factor: float) -> None:
    g = Builder(1)
    g.input("x", values(g, shape, factor))
    outputs = [g.output("y", "int8"), g.output("scale"), g.output("zero", "int8")]
    g.node("dynamic_quantize", ["x"], outputs)
    g.graph.unsigned = {"y", "zero"}
    y = g.check()
    assert y["y"].dtype == np.uint8
    if factor == 0.0:
        assert y["scale"] == 1.0
        assert y["zero"] == 0


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(40,), (3, 40), (2, 30, 65)], ids=str)
def test_dynamic_linear(
    shape: tuple[int, ...], bias: bool, asymmetric: bool, factor: float
) -> None:
    g = Builder(2)
    n = 35
    g.input("x", values(g, shape, factor))
    zeros = (g.int8(n) if asymmetric else np.zeros(n)).astype(np.int32)
    scales = g.random.uniform(0.001, 0.01, n).astype(np.float32)
    g.graph.add_constant("w", g.int8(n, shape[-1]), QuantParams(scales, zeros, 0))
    names = ["x", "w"]
    if bias:
        data = g.random.standard_normal(n).astype(np.float32)
        names.append(g.graph.add_constant("b", data).name)
    g.output("y")
    g.node("dynamic_linear", names, ["y"])
    g.check()


def test_dynamic_linear_equals_its_parts() -> None:
    """dynamic_quantize, matmul_integer, cast, mul, mul and add give the same bytes."""
    g = Builder(4)
    n, k = 33, 70
    g.input("x", g.random.standard_normal((5, k)).astype(np.float32))
    w, scales = g.int8(n, k), g.random.uniform(0.001, 0.01, n).astype(np.float32)
    zeros, bias = g.int8(n), g.random.standard_normal(n).astype(np.float32)
    g.graph.add_constant("w", w, QuantParams(scales, zeros.astype(np.int32), 0))
    g.graph.add_constant("wt", np.ascontiguousarray(w.T))
    for name, data in (("zw", zeros), ("sw", scales), ("bias", bias)):
        g.graph.add_constant(name, data)
    for name in ("q", "zero"):
        g.graph.add_value(Value(name, "int8"))
    for name in ("scale", "acc", "real", "scales", "scaled"):
        g.graph.add_value(Value(name))
    g.node("dynamic_quantize", ["x"], ["q", "scale", "zero"])
    g.node("matmul_integer", ["q", "wt", "zero", "zw"], ["acc"])
    g.node("cast", ["acc"], ["real"], to="float32")
    g.node("mul", ["scale", "sw"], ["scales"])
    g.node("mul", ["real", "scales"], ["scaled"])
    g.node("add", ["scaled", "bias"], [g.output("parts")])
    g.node("dynamic_linear", ["x", "w", "bias"], [g.output("whole")])
    y = g.check()
    assert y["parts"].tobytes() == y["whole"].tobytes()


def test_parameters_of_run_time_go_nowhere_else() -> None:
    g = Builder(0)
    g.input("x", g.int8(2, 3))
    g.output("y")
    g.node("dequantize", ["x"], ["y"])
    shapes.infer(g.graph)
    with pytest.raises(GraphError, match="'x' has no scale and zero point"):
        zp.Session(g.graph)


def test_run_time_parameters_survive_moves() -> None:
    g = Builder(8)
    g.input("x", g.random.standard_normal((3, 4, 5)).astype(np.float32))
    for name in ("q", "zero", "turned", "flat"):
        g.graph.add_value(Value(name, "int8"))
    g.graph.add_value(Value("scale"))
    g.node("dynamic_quantize", ["x"], ["q", "scale", "zero"])
    g.node("transpose", ["q"], ["turned"], perm=[2, 0, 1])
    g.node("reshape", ["turned"], ["flat"], shape=[5, 12])
    g.graph.add_constant("w", g.int8(12, 3))
    g.node("matmul_integer", ["flat", "w", "zero"], [g.output("y", "int32")])
    g.check()


# -- float32 --------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, 1, 0])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 100), (1, 7, 16), (3, 1, 1)], ids=str)
def test_layer_norm(shape: tuple[int, ...], axis: int, bias: bool) -> None:
    g = Builder(9)
    x = (g.random.standard_normal(shape) * 3 + 50).astype(np.float32)
    g.input("x", x)
    row = shape[axis:]
    scale = g.random.standard_normal(row).astype(np.float32)
    shift = g.random.standard_normal(row).astype(np.float32)
    names = ["x", g.graph.add_constant("scale", scale).name]
    if bias:
        names.append(g.graph.add_constant("bias", shift).name)
    g.output("y")
    g.node("layer_norm", names, ["y"], axis=axis, epsilon=1e-6)
    y = g.check()["y"]
    axes = tuple(range(axis % 3, 3))
    wide = x.astype(np.float64)
    d = wide - wide.mean(axes, keepdims=True)
    exact = d / np.sqrt((d * d).mean(axes, keepdims=True) + 1e-6) * scale + (shift if bias else 0)
    if np.prod(row) > 1:  # of one element only the rounding of its mean is left
        np.testing.assert_allclose(y, exact, rtol=0, atol=3e-4)


def test_layer_norm_refuses_scales_of_another_shape() -> None:
    g = Builder(9)
    g.input("x", g.random.standard_normal((2, 6)).astype(np.float32))
    g.graph.add_constant("scale", np.ones(2, np.float32))
    g.output("y")
    g.node("layer_norm", ["x", "scale"], ["y"])
    with pytest.raises(GraphError, match=r"the scale \[2\]"):
        shapes.infer(g.graph)
    g.graph.value("y").shape = (2, 6)
    with pytest.raises(zp.Error, match=r"the scale has the shape \[2\], expected \[6\]"):
        zp.Session(g.graph).run(g.feeds)


SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, 1.0, -1.0], np.float32)


@pytest.mark.parametrize(
    "exponent", [0.0, 1.0, 2.0, 3.0, 7.0, 64.0, 65.0, -1.0, -2.0, 0.5, -0.5, 1.7, -2.3]
)
def test_pow(exponent: float) -> None:
    g = Builder(10)
    x = np.abs(g.random.standard_normal(300)).astype(np.float32) + np.float32(0.1)
    g.input("x", np.concatenate([x, SPECIAL]))
    g.output("y")
    g.node("pow", ["x"], ["y"], exponent=exponent)
    y = g.check()["y"][: x.size]
    exact = x.astype(np.float64) ** exponent
    np.testing.assert_allclose(y, exact, rtol=3e-5 if exponent > 32 else 2e-6, atol=1e-37)


@pytest.mark.parametrize("op", ["max", "min"])
def test_max_min(op: str) -> None:
    g = Builder(11)
    a = np.concatenate([g.random.standard_normal(56).astype(np.float32), SPECIAL])
    g.input("a", a)
    g.input("b", np.stack([np.roll(a, 1), np.roll(a, 7)]))
    g.output("y")
    g.node(op, ["a", "b"], ["y"])
    exact = (np.maximum if op == "max" else np.minimum)(g.feeds["a"], g.feeds["b"])
    assert np.array_equal(g.check()["y"], exact, equal_nan=True)


def test_cast() -> None:
    g = Builder(12)
    x = (g.random.standard_normal(500) * np.exp(g.random.uniform(-3, 50, 500))).astype(np.float32)
    x = np.concatenate([x, SPECIAL, np.float32([2.0**31, -(2.0**31), 2.0**63, -(2.0**63)])])
    g.input("f", x)
    g.input("i", g.random.integers(-(2**31), 2**31, 500).astype(np.int32))
    g.input("l", g.random.integers(-(2**62), 2**62, 500))
    for source in ("f", "i", "l"):
        for to in ("float32", "int32", "int64"):
            g.node("cast", [source], [g.output(f"{source}_{to}", to)], to=to)
    y = g.check()
    assert y["f_int32"][-4:].tolist() == [2**31 - 1, -(2**31), 2**31 - 1, -(2**31)]
    assert y["f_int64"][-2:].tolist() == [2**63 - 1, -(2**63)]
    assert np.array_equal(y["i_float32"], g.feeds["i"].astype(np.float32))
