"""Float32 operators of the reference executor, operation for operation as the engine does them.

The contracts are the headers of ``csrc/kernels/*_f32``: dot products are chains of fused
multiply-adds over k in order, starting from the bias; depthwise convolutions and pools round every
product and sum on its own, taps in order; reductions use 16 lanes and one tree
(``csrc/quant/reduce_f32.h``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zeropoint import float_math
from zeropoint.graph import Array, Node
from zeropoint.reference_shape import (
    TransposedWindow,
    Window,
    integer,
    ints,
    linear_taps,
    pool_counts,
    real,
    resize_nearest,
)

_LANES = 16


def clip(x: Array, lo: float, hi: float) -> Array:
    """``x < lo ? lo : x``, then ``x > hi ? hi : x``: a NaN passes through."""
    x = np.where(x < np.float32(lo), np.float32(lo), x)
    return np.where(x > np.float32(hi), np.float32(hi), x).astype(np.float32, copy=False)


def fused_clip(node: Node, x: Array) -> Array:
    return clip(x, real(node, "clip_min", -np.inf), real(node, "clip_max", np.inf))


def sum_lanes(x: Array) -> Array:
    """The sum over the last axis in the order of ``csrc/quant/reduce_f32.h``."""
    n = x.shape[-1]
    lanes = np.zeros((*x.shape[:-1], _LANES), np.float32)
    for start in range(0, n, _LANES):
        run = x[..., start : start + _LANES]
        lanes[..., : run.shape[-1]] += run
    width = _LANES // 2
    while width >= 1:
        lanes = lanes[..., :width] + lanes[..., width : 2 * width]
        width //= 2
    return np.asarray(lanes[..., 0])


def _bias(bias: Array | None, n: int) -> Array:
    return np.zeros(n, np.float32) if bias is None else bias


# -- dot products ---------------------------------------------------------------------------


def _dot(acc: Array, a: Array, b: Array, exact: bool) -> Array:
    """acc[..., n] + sum_k a[..., k] * b[n, k], as fma(a, b, acc) over k in order."""
    if not exact:
        return np.asarray(acc + a @ b.T, np.float32)
    for k in range(a.shape[-1]):
        acc = float_math.fma32(a[..., k, None], b[:, k], acc)
    return acc


def conv2d(node: Node, x: Array, w: Array, bias: Array | None, exact: bool) -> Array:
    groups = int(node.attrs.get("groups", 1))  # type: ignore[arg-type]
    out_channels, depth = w.shape[0], w.shape[3]
    window = Window.of(node, w.shape[1:3])
    out_h, out_w = window.output_size(x.shape[1], x.shape[2])
    acc = np.broadcast_to(_bias(bias, out_channels), (x.shape[0], out_h, out_w, out_channels))
    if depth == 1 and groups == out_channels:
        for ky, kx, patch in window.patches(x, 0.0):
            acc = acc + patch * w[:, ky, kx, 0]
        return fused_clip(node, acc)
    acc = acc.copy()
    n = out_channels // groups
    for g in range(groups):
        own = slice(g * n, (g + 1) * n)
        part = acc[..., own]
        for ky, kx, patch in window.patches(x[..., g * depth : (g + 1) * depth], 0.0):
            part = _dot(part, patch, w[own, ky, kx, :], exact)
        acc[..., own] = part
    return fused_clip(node, acc)


def conv_transpose2d(node: Node, x: Array, w: Array, bias: Array | None, exact: bool) -> Array:
    """Each output pixel sums the taps that reach it in the order of (ky, kx); taps that reach it
    from outside the input count as zeros."""
    groups = int(node.attrs.get("groups", 1))  # type: ignore[arg-type]
    out_channels, depth = w.shape[0], w.shape[3]
    n = out_channels // groups
    scatter = TransposedWindow(node, w.shape[1:3])
    size = scatter.output_size(node, x.shape[1], x.shape[2])
    acc = np.empty((x.shape[0], *size, out_channels), np.float32)
    acc[...] = _bias(bias, out_channels)
    reached = np.zeros(size, bool)
    for ky, kx, out, source in scatter.taps(x, size):
        reached[out] = True
        for g in range(groups):
            own = (slice(None), *out, slice(g * n, (g + 1) * n))
            run = source[..., g * depth : (g + 1) * depth]
            acc[own] = _dot(acc[own], run, w[g * n : (g + 1) * n, ky, kx, :], exact)
    # A pixel that no tap reaches (a stride above the kernel) gets one product of zeros.
    acc[:, ~reached] += np.float32(0)
    return fused_clip(node, acc)


def linear(node: Node, x: Array, w: Array, bias: Array | None, exact: bool) -> Array:
    acc = np.broadcast_to(_bias(bias, w.shape[0]), (*x.shape[:-1], w.shape[0]))
    return fused_clip(node, _dot(acc, x, w, exact))


def matmul(a: Array, b: Array, exact: bool) -> Array:
    if not exact:
        return np.asarray(np.matmul(a, b), np.float32)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    acc = np.zeros((*lead, a.shape[-2], b.shape[-1]), np.float32)
    for k in range(a.shape[-1]):
        acc = float_math.fma32(a[..., :, k, None], b[..., k, None, :], acc)
    return acc


# -- elementwise ----------------------------------------------------------------------------


def binary(node: Node, a: Array, b: Array) -> Array:
    if node.op in ("max", "min"):
        first = a >= b if node.op == "max" else a <= b
        return np.where(first | np.isnan(a), a, b)
    operation = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[node.op]
    y = np.asarray(operation(a, b), np.float32)
    return y if node.op == "div" else fused_clip(node, y)


def unary(node: Node, x: Array) -> Array:
    """The functions of :data:`zeropoint.operators.UNARY`, prelu apart."""
    if node.op == "clip":
        return clip(x, real(node, "min", -np.inf), real(node, "max", np.inf))
    if node.op == "elu":
        return float_math.elu(x, real(node, "alpha", 1.0))
    if node.op == "leaky_relu":
        return float_math.leaky_relu(x, real(node, "alpha", 0.01))
    if node.op == "hard_sigmoid":
        return float_math.hard_sigmoid(x, real(node, "alpha", 0.2), real(node, "beta", 0.5))
    if node.op == "neg":
        return np.asarray(np.negative(x))
    if node.op == "abs":
        return np.asarray(np.abs(x))
    if node.op == "relu":
        return clip(x, 0.0, np.inf)
    if node.op == "sqrt":
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sqrt(x))
    function: Callable[[Array], Array] = getattr(float_math, node.op)
    return function(x)


def power(node: Node, x: Array) -> Array:
    """Binary powers from the lowest bit up, square roots, or ``exp(exponent * log(x))``."""
    exponent = np.float32(real(node, "exponent", 1.0))
    size = np.abs(exponent)
    with np.errstate(all="ignore"):
        if size == 0.5:
            y = np.sqrt(x)
        elif size <= 64 and size == np.floor(size):
            y, square, rest = np.ones_like(x), x, int(size)
            while rest:
                if rest & 1:
                    y = y * square
                square, rest = square * square, rest >> 1
        else:
            return float_math.exp(exponent * float_math.log(x))
        return np.asarray(np.float32(1) / y if exponent < 0 else y, np.float32)


def layer_norm(node: Node, x: Array, scale: Array, bias: Array | None) -> Array:
    axis = integer(node, "axis", -1)
    axis = axis + x.ndim if axis < 0 else axis
    rows = x.reshape(*x.shape[:axis], -1)
    n = np.float32(rows.shape[-1])
    with np.errstate(all="ignore"):
        d = rows - (sum_lanes(rows) / n)[..., None]
        variance = sum_lanes(d * d) / n
        factor = np.float32(1) / np.sqrt(variance + np.float32(real(node, "epsilon", 1e-5)))
        y = (d * factor[..., None]) * scale.reshape(-1)
        if bias is not None:
            y = y + bias.reshape(-1)
    return np.asarray(y.reshape(x.shape), np.float32)


def cast(x: Array, to: str) -> Array:
    """Floats to integers toward zero, saturating, NaN to 0; all else as NumPy converts."""
    dtype = np.dtype(to)
    if x.dtype != np.float32 or dtype == np.float32:
        return x.astype(dtype)
    bounds = np.iinfo(dtype)
    above, below = x >= np.float32(2.0 ** (bounds.bits - 1)), x < np.float32(bounds.min)
    safe = np.where(above | below | np.isnan(x), np.float32(0), x).astype(dtype)
    return np.where(above, bounds.max, np.where(below, bounds.min, safe)).astype(dtype)


def softmax(x: Array, axis: int) -> Array:
    x = np.moveaxis(x, axis, -1)
    e = float_math.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(np.moveaxis(e / sum_lanes(e)[..., None], -1, axis))


# -- pools and reductions -------------------------------------------------------------------


def max_pool2d(node: Node, x: Array) -> Array:
    """From -inf on, ``tap > y ? tap : y``: NaNs are skipped."""
    window = Window.of(node, ints(node, "kernel"))
    y: Array = np.asarray(-np.inf, np.float32)
    for _, _, patch in window.patches(x, -np.inf):
        y = np.where(patch > y, patch, y)
    return y


def avg_pool2d(node: Node, x: Array) -> Array:
    window = Window.of(node, ints(node, "kernel"))
    out_h, out_w = window.output_size(x.shape[1], x.shape[2])
    total = np.zeros((x.shape[0], out_h, out_w, x.shape[3]), np.float32)
    for _, _, patch in window.patches(x, 0.0):
        total = total + patch
    counts = pool_counts(node, window, x.shape[1], x.shape[2]).astype(np.float32)
    return np.asarray(total * (np.float32(1) / counts)[..., None])


def global_max_pool(x: Array) -> Array:
    positions = x.reshape(x.shape[0], -1, x.shape[-1])
    lowest = -np.inf if x.dtype == np.float32 else -128  # as max_pool2d
    y: Array = np.full_like(positions[:, 0], lowest)
    for i in range(positions.shape[1]):
        y = np.where(positions[:, i] > y, positions[:, i], y)
    return np.asarray(y.reshape(x.shape[0], *[1] * (x.ndim - 2), x.shape[-1]))


def reduce_mean(node: Node, x: Array) -> Array:
    """Summed from 0 in row-major order of the reduced axes, then multiplied by 1 / count."""
    axes = sorted(ints(node, "axes", []))
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    shape = [x.shape[axis] for axis in kept]
    rows = x.transpose(axes + kept).reshape(-1, *shape)
    total = np.zeros(shape, np.float32)
    for row in rows:
        total = total + row
    mean = np.asarray(total * (np.float32(1) / np.float32(len(rows))))
    return np.expand_dims(mean, axes) if node.attrs.get("keepdims", 1) else mean


def resize_linear(node: Node, x: Array) -> Array:
    """Horizontally, then vertically: ``a * (1 - t) + b * t``, each operation rounded."""
    low, high, t = linear_taps(node, 1, x.shape[2])
    upper = t.astype(np.float32)[:, None]
    x = x[:, :, low] * (np.float32(1) - upper) + x[:, :, high] * upper
    low, high, t = linear_taps(node, 0, x.shape[1])
    upper = t.astype(np.float32)[:, None, None]
    return np.asarray(x[:, low] * (np.float32(1) - upper) + x[:, high] * upper)


def resize(node: Node, x: Array) -> Array:
    if node.attrs.get("mode") == "nearest":
        return resize_nearest(node, x)
    return resize_linear(node, x)
