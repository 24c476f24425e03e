"""The NumPy executor against independent truths: scalar loops in Python, and ONNX Runtime."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from zeropoint import reference, reference_int8
from zeropoint.errors import GraphError, InputError, UnsupportedError
from zeropoint.float_math import fma32
from zeropoint.graph import Array, Attribute, Graph, Node, QuantParams, Value

F = np.float32


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(*shape: int, seed: int = 0) -> Array:
    return rng(seed).standard_normal(shape).astype(F)


def one_node(op: str, inputs: dict[str, Array], constants: dict[str, Array] | None = None,
             outputs: int = 1, **attrs: Attribute) -> Graph:  # fmt: skip
    """A float graph of one node over ``inputs`` and then ``constants``."""
    graph = Graph("one", list(inputs), [f"y{i}" for i in range(outputs)])
    for name, array in inputs.items():
        graph.add_value(Value(name, str(array.dtype), array.shape))
    for name, array in (constants or {}).items():
        graph.add_constant(name, array)
    for name in graph.outputs:
        graph.add_value(Value(name))
    graph.nodes = [Node("n", op, [*inputs, *(constants or {})], list(graph.outputs), dict(attrs))]
    return graph


def apply(op: str, x: Array, constants: dict[str, Array] | None = None, **attrs: Any) -> Array:
    graph = one_node(op, {"x": x}, constants, **attrs)
    return reference.run(graph, {"x": x})["y0"]


def ort(
    op: str, inputs: list[Array], outputs: int = 1, opset: int = 18, **attrs: Any
) -> list[Array]:
    """The same operator in ONNX Runtime, all inputs constant but the first."""
    names = [f"i{k}" for k in range(len(inputs))]
    rest = list(zip(names, inputs, strict=True))[1:]
    node = helper.make_node(
        op, [n if a.size else "" for n, a in zip(names, inputs, strict=True)],
        ["o0"], **attrs,
    )  # fmt: skip
    kind = helper.np_dtype_to_tensor_dtype(inputs[0].dtype)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("i0", kind, inputs[0].shape)],
        [helper.make_empty_tensor_value_info("o0")],
        [numpy_helper.from_array(a, n) for n, a in rest if a.size],
    )  # fmt: skip
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return list(session.run(None, {"i0": inputs[0]}))


def nchw(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def nhwc(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


# -- float32, to the bit against scalar loops -------------------------------------------------

CONVS = [
    {"i": 3, "o": 4, "k": (3, 3), "pads": [1, 1, 1, 1], "groups": 1},
    {"i": 4, "o": 6, "k": (2, 3), "pads": [0, 2, 1, 0], "groups": 2, "strides": [2, 1]},
    {"i": 5, "o": 5, "k": (3, 3), "pads": [2, 2, 2, 2], "groups": 5, "dilations": [2, 2]},
]


def loop_conv(x: Array, w: Array, bias: Array, case: dict[str, Any]) -> Array:
    """One output at a time, with the products in the order that the contract names."""
    (sh, sw), (dh, dw) = case.get("strides", [1, 1]), case.get("dilations", [1, 1])
    top, left, bottom, right = case["pads"]
    n, height, width, _ = x.shape
    out_c, kh, kw, depth = w.shape
    oh = (height + top + bottom - (kh - 1) * dh - 1) // sh + 1
    ow = (width + left + right - (kw - 1) * dw - 1) // sw + 1
    y = np.zeros((n, oh, ow, out_c), F)
    per_group = out_c // case["groups"]
    for b, r, c, o in np.ndindex(y.shape):
        acc = bias[o]
        for ky in range(kh):
            for kx in range(kw):
                row, column = r * sh + ky * dh - top, c * sw + kx * dw - left
                inside = 0 <= row < height and 0 <= column < width
                for d in range(depth):
                    v = x[b, row, column, o // per_group * depth + d] if inside else F(0)
                    if depth == 1 and per_group == 1:
                        acc = F(acc + F(v * w[o, ky, kx, d]))
                    else:
                        acc = fma32(v, w[o, ky, kx, d], acc)[()]
        y[b, r, c, o] = acc
    return y


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_float_conv_equals_the_loops(case: dict[str, Any]) -> None:
    x = normal(2, 5, 4, case["i"])
    w = normal(case["o"], *case["k"], case["i"] // case["groups"], seed=1)
    bias = normal(case["o"], seed=2)
    attrs = {key: case[key] for key in ("pads", "groups", "strides", "dilations") if key in case}
    y = apply("conv2d", x, {"w": w, "b": bias}, **attrs)
    expected = loop_conv(x, w, bias, case)
    assert y.tobytes() == expected.tobytes()
    clipped = apply("conv2d", x, {"w": w, "b": bias}, clip_min=0.0, clip_max=0.5, **attrs)
    assert clipped.tobytes() == np.clip(expected, F(0), F(0.5)).tobytes()
    fast = reference.run(
        one_node("conv2d", {"x": x}, {"w": w, "b": bias}, **attrs), {"x": x}, exact=False
    )
    np.testing.assert_allclose(fast["y0"], expected, rtol=1e-5, atol=1e-5)


def test_linear_and_matmul_are_chains_of_fma() -> None:
    x, w, bias = normal(3, 7), normal(5, 7, seed=1), normal(5, seed=2)
    expected = np.broadcast_to(bias, (3, 5)).copy()
    product = np.zeros((3, 5), F)
    for k in range(7):
        expected = fma32(x[:, k : k + 1], w[None, :, k], expected)
        product = fma32(x[:, k : k + 1], w[None, :, k], product)
    assert apply("linear", x, {"w": w, "b": bias}).tobytes() == expected.tobytes()
    batched = np.stack([x, x])
    y = apply("matmul", batched, {"b": np.ascontiguousarray(w.T)})
    assert y.tobytes() == np.stack([product, product]).tobytes()


def test_softmax_sums_in_sixteen_lanes() -> None:
    from zeropoint.float_math import exp

    x = normal(1, 37)[0]
    e = exp(x - x.max())
    lanes = [F(0)] * 16
    for i, v in enumerate(e):
        lanes[i % 16] = F(lanes[i % 16] + v)
    width = 8
    while width:
        lanes = [F(lanes[j] + lanes[j + width]) for j in range(width)]
        width //= 2
    assert apply("softmax", x, axis=0).tobytes() == (e / lanes[0]).tobytes()


# -- float32, against ONNX Runtime ------------------------------------------------------------


@pytest.mark.parametrize("case", [
    {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1], "groups": 1},
    {"strides": [3, 2], "pads": [0, 1, 1, 0], "dilations": [2, 1], "groups": 2},
    {"strides": [5, 4], "groups": 1},
], ids=str)  # fmt: skip
def test_float_conv_transpose(case: dict[str, Any]) -> None:
    x, i, o, groups = normal(2, 4, 5, 4), 4, 6, case["groups"]
    w = normal(o, 3, 2, i // groups, seed=1)
    bias = normal(o, seed=2)
    # ONNX: [I, O / groups, kh, kw]
    parts = [p.transpose(3, 0, 1, 2) for p in np.split(w, groups)]
    onnx_w = np.ascontiguousarray(np.concatenate(parts, 0))
    onnx_attrs = {("group" if k == "groups" else k): v for k, v in case.items()}
    expected = nhwc(ort("ConvTranspose", [nchw(x), onnx_w, bias], **onnx_attrs)[0])
    np.testing.assert_allclose(
        apply("conv_transpose2d", x, {"w": w, "b": bias}, **case), expected, rtol=1e-5, atol=1e-5
    )


def test_float_pools() -> None:
    x = normal(2, 7, 6, 3)
    window = {"strides": [2, 2], "pads": [1, 1, 0, 1]}
    y = apply("max_pool2d", x, kernel=[3, 2], **window)
    expected = ort("MaxPool", [nchw(x)], kernel_shape=[3, 2], **window)[0]
    np.testing.assert_array_equal(y, nhwc(expected))
    for include in (0, 1):
        y = apply("avg_pool2d", x, kernel=[3, 2], count_include_pad=include, **window)
        expected = ort(
            "AveragePool", [nchw(x)], kernel_shape=[3, 2], count_include_pad=include, **window
        )[0]
        np.testing.assert_allclose(y, nhwc(expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(apply("global_max_pool", x), x.max(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize(("axes", "keepdims"), [([1, 2], 1), ([3], 0), ([0, 2], 0), ([0], 1)])
def test_float_reduce_mean(axes: list[int], keepdims: int) -> None:
    x = normal(2, 5, 4, 3)
    y = apply("reduce_mean", x, axes=axes, keepdims=keepdims)
    expected = x.astype(np.float64).mean(axis=tuple(axes), keepdims=bool(keepdims))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


RESIZES = [
    {"coordinates": c, "sizes": sizes}
    for c in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
    for sizes in ([9, 4], [3, 11], [1, 1])
] + [{"coordinates": "half_pixel", "scales": [1.75, 0.625]}]


@pytest.mark.parametrize("case", RESIZES, ids=str)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_float_resize(case: dict[str, Any], mode: str) -> None:
    x = normal(1, 5, 6, 2)
    empty = np.zeros(0, F)
    sizes = np.asarray([1, 2, *case["sizes"]], np.int64) if "sizes" in case else empty
    scales = np.asarray([1, 1, *case["scales"]], F) if "scales" in case else empty
    expected = ort(
        "Resize", [nchw(x), empty, scales, sizes], mode=mode,
        coordinate_transformation_mode=case["coordinates"],
        **({"nearest_mode": "floor"} if mode == "nearest" else {}),
    )[0]  # fmt: skip
    y = apply("resize", x, mode=mode, nearest_mode="floor", **case)
    np.testing.assert_allclose(y, nhwc(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("nearest", [
    "round_prefer_floor", "round_prefer_ceil", "floor", "ceil",
])  # fmt: skip
def test_nearest_modes(nearest: str) -> None:
    x = np.arange(20, dtype=F).reshape(1, 4, 5, 1)
    empty = np.zeros(0, F)
    expected = ort(
        "Resize", [nchw(x), empty, empty, np.asarray([1, 1, 6, 10], np.int64)], mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode=nearest,
    )[0]  # fmt: skip
    y = apply("resize", x, mode="nearest", coordinates="asymmetric", nearest_mode=nearest,
              sizes=[6, 10])  # fmt: skip
    np.testing.assert_array_equal(y, nhwc(expected))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pad(mode: str) -> None:
    x = normal(1, 4, 5, 2)
    pads = [0, 1, 2, 0, 0, 2, 3, 0]
    y = apply("pad", x, pads=pads, mode=mode, value=1.5)
    extra = [np.asarray(1.5, F)] if mode == "constant" else []
    expected = ort("Pad", [x, np.asarray(pads, np.int64), *extra], mode=mode)[0]
    np.testing.assert_array_equal(y, expected)
    cropped = apply("pad", x, pads=[0, -1, 0, 0, 0, 1, -2, 0], value=0.0)
    np.testing.assert_array_equal(cropped[:, :-1], x[:, 1:, :3])
    assert not cropped[:, -1].any()


@pytest.mark.parametrize(("starts", "ends", "steps"), [
    ([1, -3], [4, 100], [1, 2]), ([-1, 4], [-100, 0], [-1, -2]), ([3, 0], [1, 5], [-1, 3]),
])  # fmt: skip
def test_slice(starts: list[int], ends: list[int], steps: list[int]) -> None:
    x = normal(5, 6)
    expected = ort("Slice", [x, *(np.asarray(v, np.int64) for v in (starts, ends, [0, 1], steps))])
    y = apply("slice", x, starts=starts, ends=ends, axes=[0, 1], steps=steps)
    np.testing.assert_array_equal(y, expected[0])


def test_data_movement() -> None:
    x = normal(2, 3, 4)
    assert apply("reshape", x, shape=[0, -1]).shape == (2, 12)
    assert apply("flatten", x, axis=2).shape == (6, 4)
    assert apply("flatten", x, axis=0).shape == (1, 24)
    assert apply("unsqueeze", x, axes=[0, 4]).shape == (1, 2, 3, 4, 1)
    assert apply("squeeze", x[:1], axes=[0]).shape == (3, 4)
    np.testing.assert_array_equal(apply("transpose", x, perm=[2, 0, 1]), x.transpose(2, 0, 1))
    graph = one_node("split", {"x": x}, outputs=2, axis=2, sizes=[1, 3])
    parts = reference.run(graph, {"x": x})
    np.testing.assert_array_equal(parts["y0"], x[..., :1])
    np.testing.assert_array_equal(parts["y1"], x[..., 1:])


@pytest.mark.parametrize("last", [0, 1])
def test_argmax(last: int) -> None:
    x = np.asarray([[1, 3, 3], [2, 2, 0]], F)
    y = apply("argmax", x, axis=1, keepdims=0, select_last=last)
    assert y.dtype == np.int64
    assert y.tolist() == ([2, 1] if last else [1, 0])


# -- int8 -------------------------------------------------------------------------------------


def test_round_clamp_rounds_ties_to_even_and_clamps() -> None:
    v = np.asarray([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, np.nan, np.inf, -np.inf, 126.5], F)
    assert reference_int8.round_clamp(v, 0).tolist() == [-2, -2, 0, 0, 2, 2, 0, 127, -128, 126]
    assert reference_int8.round_clamp(v, -100, -102, -98).tolist() == [
        -102, -102, -100, -100, -98, -98, -100, -98, -102, -98,
    ]  # fmt: skip


def exact_requantize(acc: int, m: np.float32, zero_point: int) -> int:
    """By rational arithmetic: float32(acc) * m rounded to float32, then to an integer."""
    product = F(Fraction(float(F(acc))) * Fraction(float(m)))  # one rounding from the exact product
    nearest = round(Fraction(float(product)))  # Python rounds half to even
    return max(-128, min(127, nearest + zero_point))


def int8_layer(groups: int, per_channel: bool, zero_w: int) -> tuple[Graph, Array]:
    r = rng(5)
    x = r.integers(-128, 128, (2, 5, 4, 4), dtype=np.int8)
    w = r.integers(-128, 128, (6, 3, 2, 4 // groups), dtype=np.int8)
    bias = r.integers(-5000, 5000, 6, dtype=np.int32)
    count = 6 if per_channel else 1
    scale_w = r.uniform(0.001, 0.1, count).astype(F)
    zero = np.full(count, zero_w, np.int32)
    quant_w = (
        QuantParams(scale_w, zero, 0)
        if per_channel
        else QuantParams.per_tensor(float(scale_w[0]), zero_w)
    )
    graph = Graph("layer", ["x"], ["y"])
    graph.add_value(Value("x", "int8", x.shape, QuantParams.per_tensor(0.05, 3)))
    graph.add_constant("w", w, quant_w)
    graph.add_constant("b", bias)
    graph.add_value(Value("y", "int8", None, QuantParams.per_tensor(0.9, -20)))
    case = {"pads": [1, 0, 1, 1], "strides": [1, 2], "groups": groups}
    graph.nodes = [Node("conv", "conv2d", ["x", "w", "b"], ["y"], dict(case))]
    return graph, x


@pytest.mark.parametrize(("groups", "per_channel", "zero_w"), [(1, True, 0), (2, False, 0),
                                                               (1, False, 7)])  # fmt: skip
def test_int8_conv_equals_rational_arithmetic(groups: int, per_channel: bool, zero_w: int) -> None:
    graph, x = int8_layer(groups, per_channel, zero_w)
    y = reference.run(graph, {"x": x})["y"]
    w, bias = graph.constant("w"), graph.constant("b")
    quant = graph.value("w").quant
    assert quant is not None
    scales = np.broadcast_to(quant.scale, 6)
    assert y.shape == (2, 5, 2, 6)
    depth, per_group = w.shape[3], 6 // groups
    for b, r, c, o in np.ndindex(y.shape):
        acc = int(bias[o])
        for ky in range(3):
            for kx in range(2):
                row, column = r + ky - 1, 2 * c + kx
                if not (0 <= row < 5 and 0 <= column < 4):
                    continue
                for d in range(depth):
                    q = int(x[b, row, column, o // per_group * depth + d])
                    acc += (q - 3) * (int(w[o, ky, kx, d]) - zero_w)
        m = F(F(F(0.05) * scales[o]) / F(0.9))
        assert y[b, r, c, o] == exact_requantize(acc, m, -20)


def test_int8_conv_agrees_with_onnx_runtime() -> None:
    graph, x = int8_layer(1, True, 0)
    quant = graph.value("w").quant
    assert quant is not None
    w = np.clip(graph.constant("w"), -64, 63)  # its AVX2 kernels saturate on larger weights
    graph.values["w"].data = w
    expected = ort(
        "QLinearConv",
        [
            (nchw(x).astype(np.int16) + 128).astype(np.uint8), np.asarray(0.05, F),
            np.asarray(131, np.uint8), np.ascontiguousarray(w.transpose(0, 3, 1, 2)), quant.scale,
            np.zeros(6, np.int8), np.asarray(0.9, F), np.asarray(108, np.uint8),
            graph.constant("b"),
        ],
        pads=[1, 0, 1, 1], strides=[1, 2],
    )[0]  # fmt: skip
    y = reference.run(graph, {"x": x})["y"]
    np.testing.assert_array_equal(y, nhwc(expected).astype(np.int16) - 128)


def binary_graph(op: str, **attrs: Attribute) -> tuple[Graph, Array, Array]:
    a = np.repeat(np.arange(-128, 128, dtype=np.int8), 256)
    b = np.tile(np.arange(-128, 128, dtype=np.int8), 256)
    graph = Graph("binary", ["a", "b"], ["y"])
    for name, scale, zero in (("a", 0.03, 5), ("b", 0.011, -90), ("y", 0.05, 11)):
        graph.add_value(Value(name, "int8", (65536,), QuantParams.per_tensor(scale, zero)))
    graph.nodes = [Node(op, op, ["a", "b"], ["y"], dict(attrs))]
    return graph, a, b


@pytest.mark.parametrize("op", ["add", "sub", "mul"])
def test_int8_binary_of_all_pairs(op: str) -> None:
    graph, a, b = binary_graph(op, qmin=-100, qmax=90)
    y = reference.run(graph, {"a": a, "b": b})["y"].astype(int)
    da, db = a.astype(np.float64) - 5, b.astype(np.float64) + 90
    real = {
        "add": da * 0.03 + db * 0.011, "sub": da * 0.03 - db * 0.011, "mul": da * db * 0.00033,
    }[op]  # fmt: skip
    exact = np.clip(real / 0.05, -111, 79) + 11
    assert np.abs(y - exact).max() <= 0.5 + 1e-4
    assert y.min() >= -100
    assert y.max() <= 90


def test_int8_pools_and_means() -> None:
    q = rng(1).integers(-128, 128, (2, 6, 5, 3), dtype=np.int8)
    graph = Graph("pool", ["x"], ["y"])
    graph.add_value(Value("x", "int8", q.shape, QuantParams.per_tensor(0.1, 9)))
    graph.add_value(Value("y", "int8", None, QuantParams.per_tensor(0.1, 9)))

    def run(op: str, **attrs: Attribute) -> Array:
        graph.nodes = [Node("pool", op, ["x"], ["y"], dict(attrs))]
        return reference.run(graph, {"x": q})["y"]

    window: dict[str, Attribute] = {"kernel": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    expected = ort("MaxPool", [nchw(q)], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])[0]
    np.testing.assert_array_equal(run("max_pool2d", **window), nhwc(expected))
    x = (q.astype(F) - 9) * F(0.1)
    for op, attrs in (("avg_pool2d", window), ("reduce_mean", {"axes": [1, 2]})):
        real = apply(op, x, **attrs)
        assert np.abs(run(op, **attrs) - (real / 0.1 + 9)).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(run("global_max_pool"), q.max(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize("sizes", [[9, 4], [3, 13]])
def test_int8_linear_resize_stays_within_its_weights(sizes: list[int]) -> None:
    q = rng(2).integers(-128, 128, (1, 5, 6, 2), dtype=np.int8)
    graph = Graph("resize", ["x"], ["y"])
    for name, shape in (("x", q.shape), ("y", None)):
        graph.add_value(Value(name, "int8", shape, QuantParams.per_tensor(0.1, -4)))
    graph.nodes = [Node("r", "resize", ["x"], ["y"], {"mode": "linear", "sizes": sizes})]
    y = reference.run(graph, {"x": q})["y"]
    real = apply("resize", q.astype(F), mode="linear", sizes=sizes)
    # Half a step of rounding, and weights that are off by at most 2^-12 on each axis.
    assert np.abs(y - real).max() <= 0.5 + 255 * 2 * 2.0**-11


def test_int8_softmax_and_lookup() -> None:
    q = rng(3).integers(-128, 128, (4, 33), dtype=np.int8)
    graph = Graph("softmax", ["x"], ["y"])
    graph.add_value(Value("x", "int8", q.shape, QuantParams.per_tensor(0.07, 12)))
    graph.add_value(Value("y", "int8", q.shape, QuantParams.per_tensor(1 / 256, -128)))
    graph.add_constant("t", np.exp(-0.07 * np.arange(256)).astype(F))
    graph.nodes = [Node("s", "softmax", ["x", "t"], ["y"], {"axis": 1})]
    e = np.exp(0.07 * q.astype(np.float64))
    exact = np.minimum(e / e.sum(1, keepdims=True) * 256 - 128, 127)
    assert np.abs(reference.run(graph, {"x": q})["y"] - exact).max() <= 0.5 + 1e-3

    tables = rng(4).integers(-128, 128, (33, 256), dtype=np.int8)
    graph.values["t"] = Value("t", "int8", tables.shape, None, tables)
    graph.nodes = [Node("l", "lookup", ["x", "t"], ["y"])]
    y = reference.run(graph, {"x": q})["y"]
    for i, j in np.ndindex(q.shape):
        assert y[i, j] == tables[j, int(q[i, j]) + 128]


def test_quantize_and_dequantize_agree_with_onnx_runtime() -> None:
    x = np.concatenate([normal(1000) * 40, np.asarray([0.25, 0.75, 1.25, -0.25, 1e30], F)])
    graph = Graph("q", ["x"], ["y", "z"])
    graph.add_value(Value("x", "float32", x.shape))
    graph.add_value(Value("y", "int8", x.shape, QuantParams.per_tensor(0.5, -17)))
    graph.add_value(Value("z", "float32", x.shape))
    graph.nodes = [Node("q", "quantize", ["x"], ["y"]), Node("d", "dequantize", ["y"], ["z"])]
    results = reference.run(graph, {"x": x})
    scale, zero = np.asarray(0.5, F), np.asarray(-17, np.int8)
    q = ort("QuantizeLinear", [x, scale, zero])[0]
    np.testing.assert_array_equal(results["y"], q)
    np.testing.assert_array_equal(results["z"], ort("DequantizeLinear", [q, scale, zero])[0])


# -- the executor itself ----------------------------------------------------------------------


def test_fetch_reaches_every_value() -> None:
    x = normal(3)
    graph = one_node("relu", {"x": x})
    graph.add_value(Value("z"))
    graph.add_constant("unused", np.ones(2, F))
    graph.nodes.append(Node("neg", "neg", ["y0"], ["z"]))
    graph.outputs = ["z"]
    got = reference.run(graph, {"x": x}, fetch=["y0", "x", "unused", "z"])
    assert list(got) == ["y0", "x", "unused", "z"]
    np.testing.assert_array_equal(got["z"], -np.maximum(x, 0))


def test_wrong_use_is_an_error() -> None:
    x = normal(3, 2)
    graph = one_node("relu", {"x": x})
    for inputs in ({}, {"x": x, "more": x}, {"x": x.astype(np.float64)}, {"x": x[0]}, {"x": x[:2]}):
        with pytest.raises(InputError):
            reference.run(graph, inputs)
    with pytest.raises(InputError, match="no values named"):
        reference.run(graph, {"x": x}, fetch=["nothing"])
    graph.nodes[0].op = "lstm"
    with pytest.raises(UnsupportedError, match="lstm"):
        reference.run(graph, {"x": x})
    graph.nodes[0] = Node("n", "transpose", ["x"], ["y0"])
    with pytest.raises(GraphError, match="'perm' is missing"):
        reference.run(graph, {"x": x})
