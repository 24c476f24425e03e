"""ONNX's integer operators one by one, on random shapes and parameters.

Two oracles: the written definition, in plain integers and float64 (``_written``), and ONNX
Runtime. Both agree to the bit where ONNX Runtime's kernels are exact; where they are not, the
definition wins and the test says what ONNX Runtime does instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import zeropoint as zp
from exact_onnxruntime import saturates, session_options
from zeropoint import reference
from zeropoint.graph import Graph

Array = npt.NDArray[Any]
U8, S8 = np.uint8, np.int8
SEEDS = range(6)


def build(
    operator: str,
    inputs: Mapping[str, Array | None],
    outputs: Sequence[str],
    fed: Sequence[str],
    domain: str = "",
    **attrs: Any,
) -> onnx.ModelProto:
    """One node; the inputs ``fed`` are the graph's, the others initializers, None left out."""
    kind = helper.np_dtype_to_tensor_dtype
    names = [name if array is not None else "" for name, array in inputs.items()]
    arrays = {name: array for name, array in inputs.items() if array is not None}
    graph = helper.make_graph(
        [helper.make_node(operator, names, list(outputs), domain=domain, name="node", **attrs)],
        "test",
        [helper.make_tensor_value_info(n, kind(arrays[n].dtype), arrays[n].shape) for n in fed],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(a, name) for name, a in arrays.items() if name not in fed],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def ours(proto: onnx.ModelProto, feed: Mapping[str, Array], folder: Path) -> tuple[Any, Graph]:
    """The engine's outputs, checked against the reference executor, and the graph."""
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    graph = zp.load(path)
    got = zp.Session(graph).run(feed)
    exact = reference.run(graph, feed)
    for name in got:
        assert got[name].dtype == exact[name].dtype
        assert got[name].tobytes() == exact[name].tobytes()
    return [got[o.name] for o in proto.graph.output], graph


def agree(got: Sequence[Array], want: Sequence[Array], reached: bool) -> None:
    """With ONNX Runtime, where its products are exact. `reached`: by its option for exact ones."""
    if reached or not saturates():
        same(got, want)


def theirs(proto: onnx.ModelProto, feed: Mapping[str, Array], dtypes: Sequence[Any]) -> Any:
    """ONNX Runtime's outputs."""
    typed = onnx.ModelProto()
    typed.CopyFrom(proto)
    for output, dtype in zip(typed.graph.output, dtypes, strict=True):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        output.CopyFrom(helper.make_tensor_value_info(output.name, kind, None))
    exact = all(array.dtype != np.int8 for array in feed.values())
    session = onnxruntime.InferenceSession(
        typed.SerializeToString(), session_options(exact), providers=["CPUExecutionProvider"]
    )
    return session.run(None, dict(feed))


def check(
    operator: str,
    inputs: Mapping[str, Array | None],
    fed: Sequence[str],
    folder: Path,
    dtypes: Sequence[Any],
    domain: str = "",
    **attrs: Any,
) -> tuple[list[Array], list[Array], Graph]:
    """The engine's results, ONNX Runtime's, and the graph."""
    outputs = [f"y{i}" for i in range(len(dtypes))]
    proto = build(operator, inputs, outputs, fed, domain, **attrs)
    feed = {name: array for name, array in inputs.items() if name in fed and array is not None}
    got, graph = ours(proto, feed, folder)
    want = theirs(proto, feed, dtypes)
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
    return got, want, graph


def same(got: Sequence[Array], want: Sequence[Array]) -> None:
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def integers(rng: np.random.Generator, shape: Sequence[int], dtype: Any) -> Array:
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, tuple(shape)).astype(dtype)


def scale(rng: np.random.Generator, *shape: int) -> Array:
    return np.asarray(np.exp(rng.uniform(-6, 0, shape)), np.float32)


def zero(rng: np.random.Generator, dtype: Any, *shape: int) -> Array:
    return integers(rng, shape, dtype)


def clamp(values: Array, dtype: Any) -> Array:
    info = np.iinfo(dtype)
    return np.asarray(np.clip(values, info.min, info.max).astype(dtype))


def centered(q: Array, z: Array) -> Array:
    return np.asarray(q.astype(np.int64) - np.asarray(z, np.int64))


# -- QuantizeLinear, DequantizeLinear ---------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", [U8, S8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantize_linear(seed, dtype, per_channel, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 9, 3)
    channels = [shape[1]] if per_channel else []
    s, z = scale(rng, *channels), zero(rng, dtype, *channels)
    x = rng.standard_normal(shape).astype(np.float32)
    # Ties, and what saturates.
    x.reshape(-1)[::3] = np.rint(x.reshape(-1)[::3] * 50) * s.reshape(-1)[0] / 2
    x.reshape(-1)[::7] *= 1e6
    got, want, _ = check("QuantizeLinear", {"x": x, "s": s, "z": z}, ["x"], tmp_path, [dtype])
    along = (1, -1, 1) if per_channel else ()
    written = clamp(np.rint(x / s.reshape(along)) + z.astype(np.float64).reshape(along), dtype)
    same(got, [written])
    same(got, want)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", [U8, S8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_dequantize_linear(seed, dtype, per_channel, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 9, 3)
    channels = [shape[1]] if per_channel else []
    s, z = scale(rng, *channels), zero(rng, dtype, *channels)
    x = integers(rng, shape, dtype)
    got, want, _ = check(
        "DequantizeLinear", {"x": x, "s": s, "z": z}, ["x"], tmp_path, [np.float32]
    )
    along = (1, -1, 1) if per_channel else ()
    written = centered(x, z.reshape(along)).astype(np.float32) * s.reshape(along)
    same(got, [written])
    same(got, want)


# -- QLinearConv, ConvInteger -----------------------------------------------------------------


def convolution(x: Array, w: Array, attrs: Mapping[str, Any]) -> Array:
    """ONNX Conv in exact integers: one product of matrices a tap."""
    top, left, bottom, right = attrs["pads"]
    (sy, sx), (dy, dx), group = attrs["strides"], attrs["dilations"], attrs["group"]
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))).astype(np.int64)
    n, channels, height, width = padded.shape
    outputs, _, kh, kw = w.shape
    oh, ow = (height - dy * (kh - 1) - 1) // sy + 1, (width - dx * (kw - 1) - 1) // sx + 1
    grouped = w.astype(np.int64).reshape(group, outputs // group, channels // group, kh, kw)
    y = np.zeros((n, group, outputs // group, oh, ow), np.int64)
    for ky, kx in np.ndindex(kh, kw):
        tap = padded[:, :, ky * dy :: sy, kx * dx :: sx][:, :, :oh, :ow]
        tap = tap.reshape(n, group, channels // group, oh, ow)
        y += np.einsum("ngchw,goc->ngohw", tap, grouped[..., ky, kx])
    return y.reshape(n, outputs, oh, ow)


def random_convolution(rng: np.random.Generator, x: Any, w: Any) -> tuple[Array, Array, Any]:
    group = int(rng.choice([1, 1, 2, 4]))
    channels, outputs = group * int(rng.integers(1, 6)), group * int(rng.integers(1, 9))
    kernel = rng.integers(1, 4, 2)
    attrs = {
        "pads": [int(v) for v in rng.integers(0, 2, 4)],
        "strides": [int(v) for v in rng.integers(1, 3, 2)],
        "dilations": [int(v) for v in rng.integers(1, 3, 2)],
        "group": group,
    }
    size = rng.integers(6, 13, 2)
    return (
        integers(rng, (2, channels, *size), x),
        integers(rng, (outputs, channels // group, *kernel), w),
        attrs,
    )


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("x_type", "w_type"), [(U8, S8), (S8, S8), (U8, U8)])
def test_qlinear_conv(seed, x_type, w_type, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    x, w, attrs = random_convolution(rng, x_type, w_type)
    outputs = w.shape[0]
    per_channel = [outputs] if seed % 2 else []
    inputs: dict[str, Array | None] = {
        "x": x,
        "xs": scale(rng),
        "xz": zero(rng, x_type),
        "w": w,
        "ws": scale(rng, *per_channel),
        # ONNX Runtime wants one zero point for all channels.
        "wz": np.zeros(per_channel, w_type) if w_type == S8 else zero(rng, w_type),
        "ys": np.asarray(rng.uniform(20, 200), np.float32),
        "yz": zero(rng, x_type),
    }
    if per_channel and w_type == U8:
        inputs["wz"] = np.full(outputs, inputs["wz"])
    if seed % 3:
        bias = rng.integers(-(2**20), 2**20, outputs)
        inputs["b"] = bias.astype(np.int32)
    xs, ws, ys = (inputs[name] for name in ("xs", "ws", "ys"))
    assert xs is not None
    inputs["ys"] = ys = np.asarray(ys * xs * np.max(ws) * 10, np.float32)
    got, want, graph = check("QLinearConv", inputs, ["x"], tmp_path, [x_type], **attrs)
    wz = np.asarray(inputs["wz"], np.int64).reshape(-1, 1, 1, 1)
    acc = convolution(centered(x, inputs["xz"]), w.astype(np.int64) - wz, attrs)
    if "b" in inputs:
        acc = acc + inputs["b"].reshape(-1, 1, 1)
    multiplier = ((xs * ws) / ys).astype(np.float32).reshape(-1, 1, 1)
    written = np.rint(acc.astype(np.float32) * multiplier) + int(inputs["yz"])
    same(got, [clamp(written, x_type)])
    agree(got, want, reached=x_type == U8)
    assert sorted(n.op for n in graph.nodes if n.op not in ("transpose", "reshape")) == ["conv2d"]


def test_qlinear_conv_bias_of_more_than_24_bits(tmp_path: Path) -> None:
    bias = np.asarray([2**24 + 1, -(2**28) - 5, 2**27 + 3], np.int32)
    rng = np.random.default_rng(0)
    inputs = {
        "x": integers(rng, (1, 2, 4, 4), U8),
        "xs": np.float32(0.5),
        "xz": U8(128),
        "w": integers(rng, (3, 2, 1, 1), S8),
        "ws": np.float32(0.25),
        "wz": S8(0),
        "ys": np.float32(2**19),
        "yz": S8(0).astype(U8),
        "b": bias,
    }
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    got, want, graph = check("QLinearConv", arrays, ["x"], tmp_path, [U8])
    same(got, want)
    conv = next(n for n in graph.nodes if n.op == "conv2d")
    assert graph.constant(conv.inputs[2]).tolist() == bias.tolist()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("x_type", "w_type"), [(U8, U8), (U8, S8), (S8, S8)])
@pytest.mark.parametrize("zeros", [True, False])
def test_conv_integer(seed, x_type, w_type, zeros, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    x, w, attrs = random_convolution(rng, x_type, w_type)
    xz, wz = (zero(rng, x_type), zero(rng, w_type)) if zeros else (None, None)
    inputs = {"x": x, "w": w, "xz": xz, "wz": wz}
    while inputs and list(inputs.values())[-1] is None:
        inputs.popitem()
    proto = build("ConvInteger", inputs, ["y0"], ["x"], **attrs)
    got, _ = ours(proto, {"x": x}, tmp_path)
    zx, zw = (0 if z is None else int(z) for z in (xz, wz))
    same(got, [convolution(x.astype(np.int64) - zx, w.astype(np.int64) - zw, attrs)])
    assert got[0].dtype == np.int32
    if x_type == U8 and w_type == U8:  # the only types that ONNX Runtime takes here
        same(got, theirs(proto, {"x": x}, [np.int32]))


# -- QLinearMatMul, MatMulInteger -------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("a_type", "b_type"), [(U8, S8), (S8, S8), (U8, U8)])
@pytest.mark.parametrize("constant", [True, False])
def test_qlinear_matmul(seed, a_type, b_type, constant, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    m, k, n = (int(v) for v in rng.integers(1, 40, 3))
    lead = [] if seed % 2 else [int(rng.integers(1, 4))]
    per_column = [n] if constant and seed % 3 == 0 else []
    a = integers(rng, (*lead, m, k), a_type)
    b = integers(rng, (k, n) if constant else (*lead, k, n), b_type)
    a_scale, b_scale = scale(rng), scale(rng, *per_column)
    y_scale = np.asarray(a_scale * np.max(b_scale) * 80 * np.sqrt(k), np.float32)
    inputs = {
        "a": a,
        "as": a_scale,
        "az": zero(rng, a_type),
        "b": b,
        "bs": b_scale,
        "bz": zero(rng, b_type, *per_column),
        "ys": y_scale,
        "yz": zero(rng, a_type),
    }
    fed = ["a"] if constant else ["a", "b"]
    if per_column:
        inputs["bz"] = np.zeros(per_column, b_type)
    got, want, graph = check("QLinearMatMul", inputs, fed, tmp_path, [a_type])
    acc = centered(a, inputs["az"]) @ centered(b, inputs["bz"])
    multiplier = ((a_scale * b_scale) / y_scale).astype(np.float32)
    written = np.rint(acc.astype(np.float32) * multiplier) + int(inputs["yz"])
    same(got, [clamp(written, a_type)])
    agree(got, want, reached=constant and a_type == U8)
    assert [n.op for n in graph.nodes] == ["linear" if constant else "matmul"]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("a_type", "b_type"), [(U8, S8), (S8, S8), (U8, U8)])
@pytest.mark.parametrize("constant", [True, False])
def test_matmul_integer(seed, a_type, b_type, constant, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    m, k, n = (int(v) for v in rng.integers(1, 40, 3))
    lead = [] if seed % 2 else [int(rng.integers(1, 4))]
    a = integers(rng, (*lead, m, k), a_type)
    b = integers(rng, (k, n) if constant else (*lead, k, n), b_type)
    per_column = [n] if constant and seed % 3 == 0 else []
    inputs: dict[str, Array | None] = {"a": a, "b": b}
    if seed % 4:
        inputs |= {"az": zero(rng, a_type), "bz": zero(rng, b_type, *per_column)}
    fed = ["a"] if constant else ["a", "b"]
    got, want, _ = check("MatMulInteger", inputs, fed, tmp_path, [np.int32])
    za, zb = inputs.get("az", np.int64(0)), inputs.get("bz", np.int64(0))
    same(got, [centered(a, za) @ centered(b, zb)])
    agree(got, want, reached=constant and a_type == U8)


# -- DynamicQuantizeLinear --------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_dynamic_quantize_linear(seed, shift, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal(rng.integers(1, 30, 2)) + shift).astype(np.float32)
    got, want, _ = check("DynamicQuantizeLinear", {"x": x}, ["x"], tmp_path, [U8, np.float32, U8])
    lo, hi = min(np.float32(0), x.min()), max(np.float32(0), x.max())
    s = np.float32((hi - lo) / np.float32(255))
    z = np.clip(np.rint(np.float32(0) - lo / s), 0, 255)
    same(got, [clamp(np.rint(x / s) + z, U8), np.asarray(s), np.asarray(z, U8)])
    same(got, want)


# -- com.microsoft ----------------------------------------------------------------------------

MICROSOFT = "com.microsoft"


def near(got: Array, real: Array, want: Array, least: float) -> None:
    """``got`` is ``real``, exact in float64, rounded: but where that is next to a tie, which
    float32 cannot tell. ONNX Runtime's result is at most one step away, and equal in at least
    the share ``least``."""
    off_tie = np.abs(real - np.floor(real) - 0.5) > 1e-3
    info = np.iinfo(got.dtype)
    rounded = np.clip(np.rint(real), info.min, info.max)
    np.testing.assert_array_equal(got[off_tie], rounded[off_tie])
    assert np.abs(got - rounded).max() <= 1
    assert np.abs(got.astype(np.int64) - want.astype(np.int64)).max() <= 1
    assert np.mean(got == want) >= least


def operand(rng: np.random.Generator, prefix: str, array: Array) -> dict[str, Array | None]:
    s, z = scale(rng), zero(rng, array.dtype)
    return {prefix: array, f"{prefix}s": s, f"{prefix}z": z}


def real(inputs: Mapping[str, Array | None], prefix: str) -> Array:
    q, s, z = (inputs[prefix + suffix] for suffix in ("", "s", "z"))
    assert q is not None
    assert s is not None
    assert z is not None
    return np.asarray(centered(q, z) * s.astype(np.float64))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", [U8, S8])
@pytest.mark.parametrize("operator", ["QLinearAdd", "QLinearMul"])
def test_qlinear_add_and_mul(seed, dtype, operator, tmp_path: Path) -> None:
    """ONNX Runtime folds both zero points of an addition into one float32 number, which moves
    sums that lie next to a tie."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 20, 3)
    other = shape if seed % 2 else [*shape[:-1], 1]
    inputs = operand(rng, "a", integers(rng, shape, dtype))
    inputs |= operand(rng, "b", integers(rng, other, dtype))
    exact = np.add if operator == "QLinearAdd" else np.multiply
    total = exact(real(inputs, "a"), real(inputs, "b"))
    inputs["ys"] = np.asarray(np.abs(total).max() / 150, np.float32)
    inputs["yz"] = zero(rng, dtype)
    fed = ["a"] if seed % 3 == 0 else ["a", "b"]
    got, want, graph = check(operator, inputs, fed, tmp_path, [dtype], MICROSOFT)
    near(got[0], total / inputs["ys"].astype(np.float64) + int(inputs["yz"]), want[0], 0.98)
    assert [n.op for n in graph.nodes] == [operator[7:].lower()]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", [U8, S8])
@pytest.mark.parametrize("operator", ["QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"])
def test_qlinear_functions(seed, dtype, operator, tmp_path: Path) -> None:
    """QLinearSoftmax rounds down in ONNX Runtime; the definition is QuantizeLinear's rounding."""
    rng = np.random.default_rng(seed)
    inputs = operand(rng, "x", integers(rng, rng.integers(2, 12, 3), dtype))
    inputs["xs"] = np.asarray(rng.uniform(0.01, 0.1), np.float32)
    x = real(inputs, "x")
    if operator == "QLinearSigmoid":
        y, attrs = 1 / (1 + np.exp(-x)), {}
    elif operator == "QLinearLeakyRelu":
        y, attrs = np.where(x < 0, np.float64(np.float32(0.2)) * x, x), {"alpha": 0.2}
    else:
        e = np.exp(x - x.max(-1, keepdims=True))
        y, attrs = e / e.sum(-1, keepdims=True), {"axis": -1, "opset": 13}
    info = np.iinfo(dtype)
    inputs["ys"] = np.asarray(np.abs(y).max() / 255, np.float32)
    inputs["yz"] = np.asarray((info.min + info.max) // 2 if y.min() < 0 else info.min, dtype)
    got, want, graph = check(operator, inputs, ["x"], tmp_path, [dtype], MICROSOFT, **attrs)
    least = 0.2 if operator == "QLinearSoftmax" else 0.98
    near(got[0], y / inputs["ys"].astype(np.float64) + int(inputs["yz"]), want[0], least)
    assert not any(n.reason for n in graph.nodes)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("channels_last", [0, 1])
@pytest.mark.parametrize("operator", ["QLinearAveragePool", "QLinearGlobalAveragePool"])
def test_qlinear_average_pools(seed, channels_last, operator, tmp_path: Path) -> None:
    """ONNX Runtime averages float32 numbers, whose noise decides ties."""
    rng = np.random.default_rng(seed)
    shape = [2, int(rng.integers(1, 7)), 8, 9]
    image = integers(rng, shape, U8)
    axes = (0, 2, 3, 1) if channels_last else (0, 1, 2, 3)
    inputs = operand(rng, "x", np.ascontiguousarray(image.transpose(axes)))
    x = np.asarray(centered(image, inputs["xz"]) * inputs["xs"].astype(np.float64))
    attrs: dict[str, Any] = {"channels_last": channels_last}
    if operator == "QLinearAveragePool":
        attrs |= {"kernel_shape": [2, 3], "strides": [2, 3]}
        y = x.reshape(*shape[:2], 4, 2, 3, 3).mean((3, 5))
    else:
        y = x.mean((2, 3), keepdims=True)
    inputs["ys"] = np.asarray(inputs["xs"] * rng.uniform(0.5, 1.5), np.float32)
    inputs["yz"] = zero(rng, U8)
    got, want, graph = check(operator, inputs, ["x"], tmp_path, [U8], MICROSOFT, **attrs)
    y = (y / inputs["ys"].astype(np.float64) + int(inputs["yz"])).transpose(axes)
    near(got[0], y, want[0], 0.9)
    assert not any(n.reason for n in graph.nodes)
    if channels_last:
        assert not any(n.op == "transpose" for n in graph.nodes)


@pytest.mark.parametrize("seed", SEEDS)
def test_qlinear_concat(seed, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    inputs: dict[str, Array | None] = {"ys": scale(rng), "yz": zero(rng, U8)}
    for name, width in (("a", 3), ("b", 5), ("c", 2)):
        inputs |= operand(rng, name, integers(rng, (2, width, 4), U8))
    proto = build("QLinearConcat", inputs, ["y"], ["a", "b"], MICROSOFT, axis=1)
    feed = {name: np.asarray(inputs[name]) for name in ("a", "b")}
    (got,), _ = ours(proto, feed, tmp_path)
    (want,) = theirs(proto, feed, [U8])
    joined = np.concatenate([real(inputs, name) for name in "abc"], axis=1)
    near(got, joined / inputs["ys"].astype(np.float64) + int(inputs["yz"]), want, 0.98)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("quantized", [True, False])
def test_qgemm(seed, quantized, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    m, k, n = (int(v) for v in rng.integers(1, 30, 3))
    transposed, alpha = seed % 2, 1.0 if seed % 3 else 0.5
    a, b = integers(rng, (m, k), U8), integers(rng, (k, n), S8)
    inputs = operand(rng, "a", a)
    inputs |= {"b": b.T.copy() if transposed else b, "bs": scale(rng), "bz": np.asarray(0, S8)}
    bias = rng.integers(-(2**14), 2**14, n).astype(np.int32)
    inputs["c"] = bias if seed % 3 else None
    unit = (np.float32(alpha) * inputs["as"] * inputs["bs"]).astype(np.float32)
    if quantized:
        inputs |= {"ys": np.asarray(unit * 80 * np.sqrt(k), np.float32), "yz": zero(rng, U8)}
    if inputs["c"] is None and not quantized:
        del inputs["c"]
    attrs = {"transB": transposed, "alpha": alpha}
    dtype = U8 if quantized else np.float32
    got, want, graph = check("QGemm", inputs, ["a"], tmp_path, [dtype], MICROSOFT, **attrs)
    acc = centered(a, inputs["az"]) @ b.astype(np.int64) + (bias if seed % 3 else 0)
    if quantized:
        y = acc * (unit.astype(np.float64) / inputs["ys"]) + int(inputs["yz"])
        near(got[0], y, want[0], 0.99)
        assert [node.op for node in graph.nodes] == ["linear"]
    else:
        np.testing.assert_allclose(got[0], acc * unit.astype(np.float64), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("b_type", [U8, S8])
def test_matmul_integer_to_float(seed, b_type, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    m, k, n = (int(v) for v in rng.integers(1, 30, 3))
    columns = [n] if seed % 2 else []
    inputs: dict[str, Array | None] = {
        "a": integers(rng, (m, k), U8),
        "b": integers(rng, (k, n), b_type),
        "as": scale(rng),
        "bs": scale(rng, *columns),
        "az": zero(rng, U8),
        "bz": zero(rng, b_type, *columns),
        "c": rng.standard_normal(n).astype(np.float32) if seed % 3 else None,
    }
    if inputs["c"] is None:
        del inputs["c"]
    got, want, _ = check("MatMulIntegerToFloat", inputs, ["a"], tmp_path, [np.float32], MICROSOFT)
    acc = centered(inputs["a"], inputs["az"]) @ centered(inputs["b"], inputs["bz"])
    y = acc.astype(np.float32) * (inputs["as"] * inputs["bs"])
    same(got, [y + inputs["c"] if "c" in inputs else y])
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6, atol=1e-6 * np.abs(want[0]).max())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("b_type", [U8, S8])
def test_dynamic_quantize_matmul(seed, b_type, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    m, k, n = (int(v) for v in rng.integers(1, 30, 3))
    columns = [n] if seed % 2 else []
    inputs: dict[str, Array | None] = {
        "a": rng.standard_normal((m, k)).astype(np.float32),
        "b": integers(rng, (k, n), b_type),
        "bs": scale(rng, *columns),
        "bz": zero(rng, b_type, *columns),
    }
    if seed % 3:
        inputs["c"] = rng.standard_normal(n).astype(np.float32)
    got, want, graph = check(
        "DynamicQuantizeMatMul", inputs, ["a"], tmp_path, [np.float32], MICROSOFT
    )
    assert [node.op for node in graph.nodes] == ["dynamic_linear"]
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-6 * np.abs(want[0]).max())
