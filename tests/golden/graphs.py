"""Graphs beside those of tests/python/networks.py, so that every operator is in a golden model.

Each function returns a graph and inputs for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import networks
from zeropoint.graph import Graph, Node, QuantParams, Value

Array = npt.NDArray[Any]
Case = tuple[Graph, dict[str, Array]]


class Builder(networks.Builder):
    """Adds inputs with data, integer constants, and outputs of any dtype."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name, seed)
        self.feeds: dict[str, Array] = {}

    def feed(self, name: str, data: Array, quant: QuantParams | None = None) -> str:
        """An input whose first dimension is free."""
        dtype = "int8" if data.dtype == np.uint8 else str(data.dtype)
        self.graph.add_value(Value(name, dtype, (None, *data.shape[1:]), quant))
        self.graph.inputs.append(name)
        if data.dtype == np.uint8:
            self.graph.unsigned = {*self.graph.unsigned, name}
        self.feeds[name] = data
        return name

    def value(self, name: str, dtype: str = "float32", quant: QuantParams | None = None) -> str:
        self.graph.add_value(Value(name, dtype, None, quant))
        return name

    def int8(self, *shape: int) -> Array:
        return np.asarray(self.random.integers(-128, 128, shape), np.int8)

    def put(self, op: str, inputs: list[str], outputs: list[str], **attrs: Any) -> None:
        name = self.graph.unique_name(op)
        self.graph.nodes.append(Node(name, op, inputs, outputs, attrs))

    def case(self, *outputs: str) -> Case:
        return self.done(*outputs), self.feeds


def dynamic(seed: int) -> Case:
    """Scales and zero points that are known at run time only: linear, matmul, convolution."""
    b = Builder("dynamic", seed)
    x = b.feed("x", b.random.standard_normal((3, 7, 37)).astype(np.float32))
    image = b.feed("image", b.random.standard_normal((2, 9, 8, 5)).astype(np.float32))
    zeros = b.int8(33).astype(np.int32)
    scales = b.random.uniform(0.001, 0.01, 33).astype(np.float32)
    b.graph.add_constant("w", b.int8(33, 37), QuantParams(scales, zeros, 0))
    b.put("dynamic_linear", [x, "w", b.vector(33)], [b.value("linear_out")])
    second = QuantParams(
        b.random.uniform(0.001, 0.01, 21).astype(np.float32), np.zeros(21, np.int32), 0
    )
    b.graph.add_constant("w2", b.int8(21, 33), second)
    b.put("dynamic_linear", ["linear_out", "w2"], [b.value("linear2_out")])

    for name in ("q", "zero"):
        b.value(name, "int8")
    b.put("dynamic_quantize", [x], ["q", b.value("scale"), "zero"])
    b.graph.add_constant("right", b.int8(37, 19))
    b.graph.add_constant("right_zero", b.int8(19))
    b.put("matmul_integer", ["q", "right", "zero", "right_zero"], [b.value("acc", "int32")])
    b.put("cast", ["acc"], [b.value("real")], to="float32")
    b.put("mul", ["real", "scale"], [b.value("product")])

    for name in ("qi", "zero_i"):
        b.value(name, "int8")
    b.put("dynamic_quantize", [image], ["qi", b.value("scale_i"), "zero_i"])
    b.graph.add_constant("filter", b.int8(18, 3, 3, 5))
    b.graph.add_constant("filter_zero", b.int8(18))
    inputs = ["qi", "filter", "zero_i", "filter_zero"]
    b.put(
        "conv_integer",
        inputs,
        [b.value("conv_acc", "int32")],
        groups=1,
        pads=[1, 0, 2, 1],
        strides=[1, 2],
        dilations=[1, 1],
    )
    b.graph.unsigned = {"q", "zero"}
    return b.case("linear2_out", "product", "q", "scale", "zero", "conv_acc")


def dynamic_wide(seed: int) -> Case:
    """The same with work enough for several threads."""
    b = Builder("dynamic_wide", seed)
    x = b.feed("x", b.random.standard_normal((2, 16, 64)).astype(np.float32))
    image = b.feed("image", b.random.standard_normal((2, 9, 8, 5)).astype(np.float32))
    x = b.node("concat", [x, b.node("relu", [x])] * 8, axis=1)
    scales = b.random.uniform(0.001, 0.01, 96).astype(np.float32)
    quant = QuantParams(scales, np.zeros(96, np.int32), 0)
    b.graph.add_constant("w", b.int8(96, 64), quant)
    b.put("dynamic_linear", [x, "w", b.vector(96)], [b.value("linear_out")])
    for name in ("q", "zero", "qi", "zero_i"):
        b.value(name, "int8")
    b.put("dynamic_quantize", ["linear_out"], ["q", b.value("scale"), "zero"])
    b.graph.add_constant("right", b.int8(96, 70))
    b.put("matmul_integer", ["q", "right", "zero"], [b.value("acc", "int32")])

    large = b.node(
        "resize",
        [image],
        mode="linear",
        coordinates="half_pixel",
        nearest_mode="floor",
        sizes=[60, 52],
    )
    b.put("dynamic_quantize", [large], ["qi", b.value("scale_i"), "zero_i"])
    b.graph.add_constant("filter", b.int8(24, 3, 3, 5))
    attrs: dict[str, Any] = {"groups": 1, "pads": [1, 1, 1, 1], "strides": [1, 1]}
    b.put("conv_integer", ["qi", "filter", "zero_i"], [b.value("conv_acc", "int32")], **attrs)
    return b.case("linear_out", "acc", "conv_acc")


def wide(seed: int) -> Graph:
    """A float network whose nodes have work enough for several threads, from a small input."""
    b = Builder("wide", seed)
    x = b.input(None, 12, 12, 8)
    x = b.node(
        "resize",
        [x],
        mode="nearest",
        coordinates="asymmetric",
        nearest_mode="floor",
        sizes=[48, 48],
    )
    x = b.node("hard_swish", [b.conv(x, 8, 40, 3)])
    y = b.conv(x, 40, 40, 5, 1, 40, clip_min=0.0, clip_max=6.0)
    y = b.conv(y, 40, 40, 1)
    x = b.node("add", [x, y], clip_min=0.0)
    x = b.node("pad", [x], pads=[0, 1, 1, 0, 0, 1, 1, 0], mode="reflect", value=0.0)
    window: dict[str, Any] = {"kernel": [3, 3], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    a = b.node("max_pool2d", [x], dilations=[1, 1], **window)
    c = b.node("avg_pool2d", [x], count_include_pad=0, **window)
    x = b.node("concat", [a, c], axis=3)
    left, right = b.node("split", [x], 2, axis=3, sizes=[33, 47])
    t = b.node(
        "conv_transpose2d",
        [b.conv(right, 47, 24, 3, 2), b.weights(33, 3, 3, 24), b.vector(33)],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        dilations=[1, 1],
        output_padding=[1, 1],
        groups=1,
    )
    x = b.node("mul", [b.node("sub", [left, t]), b.vector(33, 1.0)])
    shares = b.node("softmax", [x], axis=3)
    rows = b.node("linear", [x, b.weights(70, 33), b.vector(70)])
    turned = b.node("transpose", [shares], perm=[0, 3, 1, 2])
    pooled = b.node("reduce_mean", [x], axes=[1, 2], keepdims=0)
    best = b.node("argmax", [x], axis=3, keepdims=0, select_last=0)
    return b.done(turned, rows, pooled, best)


def planes(seed: int) -> Graph:
    """An image whose channels come first, as ONNX files have it."""
    b = Builder("planes", seed)
    x = b.node("transpose", [b.input(None, 3, 26, 37)], perm=[0, 2, 3, 1])
    x = b.conv(x, 3, 24, 5, 2, clip_min=0.0)
    x = b.conv(x, 24, 24, 3, 2, 24)
    return b.done(b.node("transpose", [x], perm=[0, 3, 1, 2]))


def accumulators(seed: int) -> Case:
    """Products of two activations and raw int32 accumulators, with uint8 at the border."""
    b = Builder("accumulators", seed)
    left, right = QuantParams.per_tensor(0.03, 17), QuantParams.per_tensor(0.05, -128)
    b.feed("a", b.random.integers(0, 256, (3, 7, 65)).astype(np.uint8), left)
    b.feed("b", b.int8(3, 65, 19), right)
    b.put(
        "matmul",
        ["a", "b"],
        [b.value("y", "int8", QuantParams.per_tensor(0.4, 3))],
        qmin=-100,
        qmax=90,
    )
    b.put("matmul", ["a", "b"], [b.value("acc", "int32")])
    b.graph.add_constant("w", b.int8(21, 65), QuantParams.per_tensor(0.02, 9))
    bias = b.random.integers(-(2**20), 2**20, 21).astype(np.int32)
    b.graph.add_constant("bias", bias)
    b.put("linear", ["a", "w", "bias"], [b.value("linear_acc", "int32")])
    b.put("cast", ["acc"], [b.value("wide", "int64")], to="int64")
    b.put("cast", ["linear_acc"], [b.value("real")], to="float32")
    b.graph.unsigned = {*b.graph.unsigned, "y"}
    return b.case("y", "acc", "linear_acc", "wide", "real")


def requantized(seed: int) -> Case:
    """int8 from end to end, each side of every operator with parameters of its own."""
    b = Builder("requantized", seed)
    b.feed("x", b.int8(2, 11, 9, 20), QuantParams.per_tensor(0.04, -11))
    b.feed("z", b.int8(2, 11, 9, 20), QuantParams.per_tensor(0.07, 25))

    def out(name: str, scale: float, zero_point: int) -> list[str]:
        return [b.value(name, "int8", QuantParams.per_tensor(scale, zero_point))]

    b.put("add", ["x", "z"], out("sum", 0.09, 1), qmin=-90, qmax=100)
    b.put("sub", ["sum", "x"], out("difference", 0.1, -5))
    b.put("mul", ["difference", "z"], out("product", 0.5, 7))
    b.put(
        "avg_pool2d",
        ["product"],
        out("mean", 0.45, 3),
        kernel=[2, 3],
        strides=[2, 1],
        pads=[1, 1, 0, 1],
        count_include_pad=1,
    )
    b.put(
        "max_pool2d",
        ["mean"],
        out("most", 0.45, 3),
        kernel=[3, 3],
        strides=[1, 1],
        pads=[1, 1, 1, 1],
        dilations=[1, 1],
    )
    b.graph.add_constant("table", b.int8(20, 256))
    b.put("lookup", ["most", "table"], out("mapped", 0.02, 0), function="prelu")
    scales = b.random.uniform(0.005, 0.02, 20).astype(np.float32)
    b.graph.add_constant(
        "dw", b.int8(20, 3, 3, 1), QuantParams(scales, b.int8(20).astype(np.int32), 0)
    )
    b.put(
        "conv2d",
        ["mapped", "dw"],
        out("deep", 1.5, -20),
        groups=20,
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        dilations=[1, 1],
    )
    table = np.exp(-1.5 * np.arange(256)).astype(np.float32)
    b.graph.add_constant("exp_table", table)
    b.put("softmax", ["deep", "exp_table"], out("share", 1 / 256, -128), axis=3)
    b.put("global_max_pool", ["deep"], out("peak", 1.5, -20))
    b.put("dequantize", ["peak"], [b.value("peak_real")])
    b.put("argmax", ["deep"], [b.value("best", "int64")], axis=3, keepdims=1, select_last=1)
    return b.case("sum", "share", "peak_real", "best")


SPECIAL_BITS = [
    0x00000000, 0x80000000,  # zeros
    0x00000001, 0x80000001, 0x007FFFFF, 0x807FFFFF,  # denormal
    0x00800000, 0x80800000, 0x7F7FFFFF, 0xFF7FFFFF,  # the least and the greatest normal ones
    0x7F800000, 0xFF800000,  # infinities
    0x7FC00000, 0xFFC00000, 0x7FC12345, 0xFFC54321, 0x7F800001, 0xFF812345,  # NaNs, quiet or not
    0x3F800000, 0xBF800000, 0x3F000000, 0xBF000000, 0x3FC00000, 0xC0200000, 0x42B20000, 0xC2D00000,
]  # fmt: skip


def special_values(n: int, seed: int) -> Array:
    """The values above, each several times and in any order, among ordinary ones."""
    random = np.random.default_rng(seed)
    bits = np.array(SPECIAL_BITS, np.uint32)
    x = random.standard_normal(n).astype(np.float32).view(np.uint32)
    places = random.permutation(n)[: n // 2]
    x[places] = bits[np.arange(len(places)) % len(bits)]
    return x.view(np.float32)


def specials(seed: int) -> Case:
    """Every float operator on zeros of both signs, denormals, infinities and NaNs."""
    b = Builder("specials", seed)
    x = b.feed("x", special_values(2 * 6 * 5 * 37, seed).reshape(2, 6, 5, 37))
    z = b.feed("z", special_values(2 * 6 * 5 * 37, seed + 1).reshape(2, 6, 5, 37))
    outputs = []
    for op in "add sub mul div max min".split():
        outputs.append(b.node(op, [x, z]))
    outputs.append(b.node("add", [x, b.vector(37)], clip_min=0.0))
    outputs.append(b.node("mul", [x, b.vector(37)], clip_min=-0.5, clip_max=6.0))
    plain = (
        "abs erf exp gelu gelu_tanh hard_swish log mish neg relu sigmoid silu softplus sqrt tanh"
    )
    for op in plain.split():
        outputs.append(b.node(op, [x]))
    outputs.append(b.node("clip", [x], min=-1.0, max=1.0))
    outputs.append(b.node("elu", [x], alpha=0.5))
    outputs.append(b.node("leaky_relu", [x], alpha=0.1))
    outputs.append(b.node("hard_sigmoid", [x], alpha=0.2, beta=0.5))
    outputs.append(b.node("prelu", [x, b.vector(37)]))
    for exponent in (2.0, -3.0, 0.5, -0.5, 1.7):
        outputs.append(b.node("pow", [x], exponent=exponent))
    outputs.append(b.node("softmax", [x], axis=3))
    outputs.append(b.node("layer_norm", [x, b.vector(37, 1.0), b.vector(37)], axis=3))
    outputs.append(b.node("reduce_mean", [x], axes=[1, 2], keepdims=1))
    outputs.append(b.node("reduce_mean", [x], axes=[3], keepdims=0))
    window: dict[str, Any] = {"kernel": [2, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}
    outputs.append(b.node("max_pool2d", [x], dilations=[1, 1], **window))
    outputs.append(b.node("avg_pool2d", [x], count_include_pad=0, **window))
    outputs.append(b.node("global_max_pool", [x]))
    outputs.append(b.conv(x, 37, 9, 3, clip_min=0.0))
    outputs.append(b.conv(x, 37, 37, 3, groups=37))
    outputs.append(b.node("linear", [x, b.weights(11, 37), b.vector(11)]))
    outputs.append(b.node("matmul", [x, b.node("transpose", [z], perm=[0, 1, 3, 2])]))
    outputs.append(b.node("argmax", [x], axis=3, keepdims=0, select_last=0))
    for to in ("int32", "int64"):
        name = b.value(f"cast_{to}", to)
        b.put("cast", [x], [name], to=to)
        outputs.append(name)
    q = b.value("q", "int8", QuantParams.per_tensor(0.05, -3))
    b.put("quantize", [x], [q])
    outputs.append(q)
    outputs.append(
        b.node(
            "resize",
            [x],
            mode="linear",
            coordinates="half_pixel",
            nearest_mode="floor",
            sizes=[9, 7],
        )
    )
    return b.case(*outputs)


def moves(seed: int) -> Case:
    """What only moves data, on int8 and on float32, one tensor seen from both sides."""
    b = Builder("moves", seed)
    x = b.feed("x", b.random.standard_normal((2, 5, 6, 12)).astype(np.float32))
    quant = QuantParams.per_tensor(0.03, 4)
    b.put("quantize", [x], [b.value("q", "int8", quant)])
    outputs = []
    for source, dtype in ((x, "float32"), ("q", "int8")):
        params = quant if dtype == "int8" else None
        serial = iter(range(99))

        def step(
            op: str,
            inputs: list[str],
            count: int = 1,
            dtype: str = dtype,
            params: QuantParams | None = params,
            serial: Any = serial,
            **attrs: Any,
        ) -> list[str]:
            names = [b.value(f"{dtype}_{op}_{next(serial)}", dtype, params) for _ in range(count)]
            b.put(op, inputs, names, **attrs)
            return names

        (t,) = step("transpose", [source], perm=[0, 3, 1, 2])
        (u,) = step("unsqueeze", [t], axes=[1])
        (v,) = step("squeeze", [u], axes=[1])
        left, right = step("split", [v], 2, axis=1, sizes=[5, 7])
        (r,) = step("slice", [right], starts=[-1, 0], ends=[-6, 6], axes=[1, 3], steps=[-1, 2])
        (p,) = step("pad", [left], pads=[0, 0, 1, 0, 0, 0, 0, 2], mode="constant", value=0.75)
        (e,) = step("pad", [p], pads=[0, 1, 0, 0, 0, 0, 2, 0], mode="edge", value=0.0)
        (c,) = step("concat", [left, right], axis=1)
        (n,) = step(
            "resize",
            [source],
            mode="nearest",
            coordinates="align_corners",
            nearest_mode="round_prefer_floor",
            sizes=[7, 9],
        )
        (m,) = step(
            "resize",
            [source],
            mode="linear",
            coordinates="pytorch_half_pixel",
            nearest_mode="floor",
            sizes=[3, 11],
        )
        (f,) = step("flatten", [c], axis=2)
        (s,) = step("reshape", [n], shape=[0, -1])
        outputs += [r, e, f, s, m]
    return b.case(*outputs)


CASES = {
    "dynamic": dynamic,
    "dynamic_wide": dynamic_wide,
    "accumulators": accumulators,
    "requantized": requantized,
    "specials": specials,
    "moves": moves,
}
