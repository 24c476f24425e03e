"""TFLite operators with weights or windows, beside LiteRT's reference kernels: within one step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("ai_edge_litert")

from tflite_models import T, check, const, graphs, one, quantized, unsigned

SAME, VALID = 0, 1
RELU, RELU_N1_TO_1, RELU6, TANH = 1, 2, 3, 4
RNG = np.random.default_rng(7)


def weights(shape, kind: str, axis: int = 0, x_scale: float = 0.05, channels: int | None = None):
    """(weights, bias) of a layer: "float", "per_tensor" or "per_channel"."""
    channels = channels or shape[axis]
    if kind == "float":
        w = T("w", shape, "float32", RNG.standard_normal(shape) * 0.3)
        return w, T("b", (channels,), "float32", RNG.standard_normal(channels))
    scale = 0.01 if kind == "per_tensor" else RNG.uniform(0.002, 0.02, channels).tolist()
    w = T("w", shape, "int8", RNG.integers(-127, 128, shape), scale, 0, axis)
    bias = RNG.integers(-2000, 2000, channels)
    b_scale = np.asarray(scale) * x_scale
    return w, T("b", (channels,), "int32", bias, b_scale.tolist(), 0, 0)


def activation(name: str, shape, kind: str, scale: float, zero_point: int) -> T:
    return T(name, shape) if kind == "float" else quantized(name, shape, scale, zero_point)


KINDS = ["float", "per_tensor", "per_channel"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize(
    ("kernel", "strides", "dilations", "groups"),
    [((3, 3), (1, 1), (1, 1), 1), ((3, 2), (2, 1), (1, 1), 1), ((3, 3), (1, 1), (2, 1), 1),
     ((4, 4), (3, 2), (1, 1), 2)],
)  # fmt: skip
def test_conv_2d(kind, padding, kernel, strides, dilations, groups, tmp_path: Path) -> None:
    w, b = weights((8, *kernel, 6 // groups), kind)
    x = activation("x", (1, 10, 9, 6), kind, 0.05, -3)
    size = []
    for n, k, s, d in zip((10, 9), kernel, strides, dilations, strict=True):
        size.append(-(-n // s) if padding == SAME else (n - (k - 1) * d - 1) // s + 1)
    y = activation("y", (1, *size, 8), kind, 0.1, 10)
    content = one(
        "CONV_2D", [x, w, b], y, Padding=padding, StrideH=strides[0], StrideW=strides[1],
        DilationHFactor=dilations[0], DilationWFactor=dilations[1], FusedActivationFunction=RELU6,
    )  # fmt: skip
    graph = check(content, tmp_path)
    assert [node.op for node in graph.nodes] == ["conv2d"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize(("padding", "stride"), [(SAME, 1), (SAME, 2), (VALID, 2)])
def test_depthwise_conv_2d(kind, multiplier, padding, stride, tmp_path: Path) -> None:
    channels = 5 * multiplier
    w, b = weights((1, 3, 3, channels), kind, axis=3)
    x = activation("x", (1, 8, 7, 5), kind, 0.05, 4)
    size = [-(-n // stride) if padding == SAME else (n - 3) // stride + 1 for n in (8, 7)]
    y = activation("y", (1, *size, channels), kind, 0.05, -7)
    content = one(
        "DEPTHWISE_CONV_2D", [x, w, b], y, Padding=padding, StrideH=stride, StrideW=stride,
        DilationHFactor=1, DilationWFactor=1, DepthMultiplier=multiplier,
        FusedActivationFunction=RELU,
    )  # fmt: skip
    check(content, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("padding", "stride", "size"),
    [(SAME, 2, (8, 10)), (SAME, 2, (7, 9)), (VALID, 2, (9, 11)), (VALID, 1, (6, 7)),
     (SAME, 3, (12, 13)), (VALID, 3, (13, 15))],
)  # fmt: skip
def test_transpose_conv(kind, bias, padding, stride, size, tmp_path: Path) -> None:
    w, b = weights((4, 3, 3, 6), kind)
    x = activation("x", (1, 4, 5, 6), kind, 0.05, -3)
    y = activation("y", (1, *size, 4), kind, 0.08, 2)
    shape = const("shape", [1, *size, 4])
    content = one(
        "TRANSPOSE_CONV", [shape, w, x, *([b] if bias else [])], y,
        Padding=padding, StrideH=stride, StrideW=stride, FusedActivationFunction=0,
    )  # fmt: skip
    graph = check(content, tmp_path, tolerance=1e-5)
    assert [node.op for node in graph.nodes] == ["conv_transpose2d"]


@pytest.mark.parametrize("kind", ["float", "per_tensor"])
@pytest.mark.parametrize(
    ("shape", "keep", "out"),
    [((2, 12), False, (2, 7)), ((2, 3, 4), False, (2, 7)), ((2, 5, 12), True, (2, 5, 7)),
     ((4, 6), False, (2, 7))],
)  # fmt: skip
def test_fully_connected(kind, shape, keep, out, tmp_path: Path) -> None:
    w, b = weights((7, 12), kind)
    x = activation("x", shape, kind, 0.05, -3)
    y = activation("y", out, kind, 0.1, -20)
    content = one(
        "FULLY_CONNECTED", [x, w, b], y, FusedActivationFunction=RELU_N1_TO_1, WeightsFormat=0,
        KeepNumDims=keep,
    )  # fmt: skip
    check(content, tmp_path)


def test_a_layer_without_bias(tmp_path: Path) -> None:
    w, _ = weights((7, 12), "per_tensor")
    x, y = quantized("x", (3, 12)), quantized("y", (3, 7), 0.1, 5)
    options = {"FusedActivationFunction": 0, "WeightsFormat": 0, "KeepNumDims": False}
    check(one("FULLY_CONNECTED", [x, w], y, **options), tmp_path)


def test_old_files_in_uint8(tmp_path: Path) -> None:
    """Asymmetric per-tensor weights in uint8, as the first quantized TFLite files had them."""
    w, b = weights((8, 3, 3, 6), "per_tensor")
    w = T("w", w.shape, "int8", w.data, w.scale, 9)
    x, y = quantized("x", (1, 7, 7, 6), 0.05, 30), quantized("y", (1, 7, 7, 8), 0.1, -60)
    content = one(
        "CONV_2D", [unsigned(x), unsigned(w), b], unsigned(y), Padding=SAME, StrideH=1, StrideW=1,
        DilationHFactor=1, DilationWFactor=1, FusedActivationFunction=RELU,
    )  # fmt: skip
    check(content, tmp_path)


def test_dead_channels_keep_their_zero(tmp_path: Path) -> None:
    """A channel that training left empty has a scale of zero, or next to it."""
    w, b = weights((4, 1, 1, 3), "per_channel")
    scale = [0.01, 0.0, 1e-42, 0.02]
    w = T("w", w.shape, "int8", w.data, scale, 0)
    b = T("b", (4,), "int32", b.data, (np.asarray(scale) * 0.05).tolist(), 0)
    x, y = quantized("x", (1, 2, 2, 3)), quantized("y", (1, 2, 2, 4), 0.1, 11)
    content = one(
        "CONV_2D", [x, w, b], y, Padding=SAME, StrideH=1, StrideW=1, DilationHFactor=1,
        DilationWFactor=1, FusedActivationFunction=0,
    )  # fmt: skip
    graph, _ = graphs(content, tmp_path)
    feed = {"x": RNG.integers(-128, 128, (1, 2, 2, 3)).astype(np.int8)}
    import zeropoint as zp

    result = zp.Session(graph).run(feed)["y"]
    assert (result[..., 1:3] == 11).all()
    assert not (result[..., 0] == 11).all()


def test_weights_alone_quantized(tmp_path: Path) -> None:
    """int8 weights of a float layer are read as the floats that they stand for."""
    w, _ = weights((8, 3, 3, 6), "per_channel")
    b = T("b", (8,), "float32", RNG.standard_normal(8))
    content = one(
        "CONV_2D", [T("x", (1, 6, 6, 6)), w, b], T("y", (1, 6, 6, 8)), Padding=SAME, StrideH=1,
        StrideW=1, DilationHFactor=1, DilationWFactor=1, FusedActivationFunction=0,
    )  # fmt: skip
    _, graph = graphs(content, tmp_path)
    weight = graph.constant(graph.nodes[0].inputs[1])
    assert weight.dtype == np.float32
    scale = np.asarray(w.scale, np.float64).astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(weight, (w.data * scale[:, None, None, None]).astype(np.float32))


@pytest.mark.parametrize("kind", ["float", "per_tensor"])
@pytest.mark.parametrize("op", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize("function", [0, RELU6])
def test_pools(kind, op, padding, function, tmp_path: Path) -> None:
    x = activation("x", (1, 9, 8, 5), kind, 0.05, -3)
    size = (5, 4) if padding == SAME else (4, 3)
    y = activation("y", (1, *size, 5), kind, 0.05, -3)
    content = one(
        op, [x], y, Padding=padding, StrideH=2, StrideW=2, FilterHeight=3, FilterWidth=3,
        FusedActivationFunction=function,
    )  # fmt: skip
    check(content, tmp_path, steps=1 if op == "AVERAGE_POOL_2D" else 0)


@pytest.mark.parametrize("kind", ["float", "per_tensor"])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("axes", [[1, 2], [-1], [3, 0]])
def test_mean(kind, keep, axes, tmp_path: Path) -> None:
    shape = (2, 4, 5, 6)
    out = [1 if keep else 0 for _ in shape]
    out = [
        1 if i in {a % 4 for a in axes} else n
        for i, n in enumerate(shape)
        if keep or i not in {a % 4 for a in axes}
    ]
    x = activation("x", shape, kind, 0.05, -3)
    y = activation("y", out, kind, 0.02, 5)
    check(one("MEAN", [x, const("axes", axes)], y, KeepDims=keep), tmp_path, tolerance=1e-5)


@pytest.mark.parametrize(("adj_x", "adj_y"), [(False, False), (True, True)])
def test_batch_matmul(adj_x, adj_y, tmp_path: Path) -> None:
    a = T("a", (2, 5, 4) if adj_x else (2, 4, 5))
    b = T("b", (2, 3, 5) if adj_y else (2, 5, 3))
    content = one("BATCH_MATMUL", [a, b], T("y", (2, 4, 3)), AdjX=adj_x, AdjY=adj_y)
    check(content, tmp_path, tolerance=1e-5)
