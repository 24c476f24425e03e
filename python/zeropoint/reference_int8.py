"""Int8 operators of the reference executor: the integer semantics of zeropoint.

``csrc/quant/requantize.h`` is the C++ side of the same rules. Quantized values are int8 in the
file's domain; accumulators are exact integers (held in float64 for the matrix products, where every
partial sum stays below 2^53); multipliers are float32, computed in the stated order; rounding is to
nearest, ties to even.

Sources: the affine scheme is that of Jacob et al. 2018 (arXiv:1712.05877); the float32 multiplier
is that of ONNX QLinearConv as ONNX Runtime computes it.
"""

from __future__ import annotations

import numpy as np

from zeropoint.errors import GraphError
from zeropoint.graph import Array, Node, QuantParams
from zeropoint.reference_float import sum_lanes
from zeropoint.reference_shape import (
    TransposedWindow,
    Window,
    integer,
    ints,
    linear_taps,
    pool_counts,
)

_F32 = np.float32


def round_clamp(value: Array, zero_point: int, qmin: int = -128, qmax: int = 127) -> Array:
    """``clamp(round_half_even(value) + zero_point)`` of float32 values; a NaN counts as 0."""
    value = np.where(np.isnan(value), _F32(0), value)
    value = np.clip(value, _F32(qmin - zero_point), _F32(qmax - zero_point))
    return np.asarray((np.rint(value).astype(np.int32) + zero_point).astype(np.int8))


def quantize(x: Array, params: QuantParams) -> Array:
    """ONNX QuantizeLinear: ``round_clamp(x / scale)``."""
    with np.errstate(all="ignore"):
        return round_clamp(x / _scale(params), _zero(params))


def dequantize(q: Array, params: QuantParams) -> Array:
    """ONNX DequantizeLinear: ``float32(q - zero_point) * scale``."""
    zero_point, scale = params.zero_point, params.scale
    if params.axis is not None:
        shape = [1] * q.ndim
        shape[params.axis] = -1
        zero_point, scale = zero_point.reshape(shape), scale.reshape(shape)
    return np.asarray((q.astype(np.int32) - zero_point).astype(np.float32) * scale, np.float32)


def _scale(params: QuantParams) -> np.float32:
    return _F32(params.scale.item())


def _zero(params: QuantParams) -> int:
    return int(params.zero_point.item())


def _clamped(node: Node, value: Array, out: QuantParams) -> Array:
    return round_clamp(value, _zero(out), integer(node, "qmin", -128), integer(node, "qmax", 127))


def _requantize(node: Node, acc: Array, multiplier: Array, out: QuantParams) -> Array:
    with np.errstate(over="ignore"):
        return _clamped(node, acc.astype(np.float32) * multiplier, out)


def centered(q: Array, params: QuantParams) -> Array:
    """``q - zero_point`` as exact integers."""
    return np.asarray(q.astype(np.int32) - _zero(params))


# -- dot products ---------------------------------------------------------------------------


def _weights(w: Array, params: QuantParams) -> Array:
    zero_point = params.zero_point.reshape((-1,) + (1,) * (w.ndim - 1))
    return np.asarray(w.astype(np.float64) - zero_point)


def _finish(
    node: Node, acc: Array, bias: Array | None,
    x: QuantParams, w: QuantParams, out: QuantParams | None,
) -> Array:  # fmt: skip
    """Bias, the bound on the accumulator, and requantization with (s_x * s_w) / s_y.

    Without ``out`` the accumulators themselves are the result.
    """
    acc = _accumulators(node, acc if bias is None else acc + bias)
    if out is None:
        return acc
    multiplier = (_scale(x) * w.scale) / _scale(out)
    return _requantize(node, acc, multiplier, out)


def conv2d(
    node: Node, q: Array, w: Array, bias: Array | None,
    x_params: QuantParams, w_params: QuantParams, out: QuantParams | None,
) -> Array:  # fmt: skip
    groups = integer(node, "groups", 1)
    x, w = centered(q, x_params).astype(np.float64), _weights(w, w_params)
    out_channels, depth = w.shape[0], w.shape[3]
    window = Window.of(node, w.shape[1:3])
    size = window.output_size(x.shape[1], x.shape[2])
    acc = np.zeros((x.shape[0], *size, out_channels))
    n = out_channels // groups
    for ky, kx, patch in window.patches(x, 0):  # padding is the zero point, so 0 here
        if depth == 1 and n == 1:
            acc += patch * w[:, ky, kx, 0]
            continue
        for g in range(groups):
            own = slice(g * n, (g + 1) * n)
            acc[..., own] += patch[..., g * depth : (g + 1) * depth] @ w[own, ky, kx, :].T
    return _finish(node, acc, bias, x_params, w_params, out)


def conv_transpose2d(
    node: Node, q: Array, w: Array, bias: Array | None,
    x_params: QuantParams, w_params: QuantParams, out: QuantParams,
) -> Array:  # fmt: skip
    groups = integer(node, "groups", 1)
    x, w = centered(q, x_params).astype(np.float64), _weights(w, w_params)
    out_channels, depth = w.shape[0], w.shape[3]
    n = out_channels // groups
    scatter = TransposedWindow(node, w.shape[1:3])
    size = scatter.output_size(node, x.shape[1], x.shape[2])
    acc = np.zeros((x.shape[0], *size, out_channels))
    for ky, kx, target, source in scatter.taps(x, size):
        for g in range(groups):
            own = slice(g * n, (g + 1) * n)
            run = source[..., g * depth : (g + 1) * depth]
            acc[(slice(None), *target, own)] += run @ w[own, ky, kx, :].T
    return _finish(node, acc, bias, x_params, w_params, out)


def linear(
    node: Node, q: Array, w: Array, bias: Array | None,
    x_params: QuantParams, w_params: QuantParams, out: QuantParams | None,
) -> Array:  # fmt: skip
    acc = centered(q, x_params).astype(np.float64) @ _weights(w, w_params).T
    return _finish(node, acc, bias, x_params, w_params, out)


def matmul(
    node: Node, a: Array, b: Array, pa: QuantParams, pb: QuantParams, out: QuantParams | None
) -> Array:
    acc = np.matmul(centered(a, pa).astype(np.float64), centered(b, pb).astype(np.float64))
    if out is None:
        return _accumulators(node, acc)
    return _requantize(node, acc, np.asarray((_scale(pa) * _scale(pb)) / _scale(out)), out)


def matmul_integer(
    node: Node, a: Array, b: Array, zero_a: Array | None, zero_b: Array | None
) -> Array:
    rows, columns = _zero_points(zero_a), _zero_points(zero_b)
    if rows.size > 1:
        rows = rows[:, None]
    return _accumulators(node, np.matmul(a - rows, b - columns))


def conv_integer(
    node: Node, q: Array, w: Array, zero_x: Array | None, zero_w: Array | None
) -> Array:
    params = QuantParams(
        np.ones((), np.float32), _zero_points(zero_x).reshape(-1)[:1].astype(np.int32)
    )
    zero = _zero_points(zero_w).reshape(-1).astype(np.int32)
    weights = QuantParams(np.ones(zero.shape, np.float32), zero, 0 if zero.size > 1 else None)
    return conv2d(node, q, w, None, params, weights, None)


def dynamic_params(x: Array) -> QuantParams:
    """ONNX DynamicQuantizeLinear's scale and zero point, in the int8 domain."""
    with np.errstate(all="ignore"):
        lo = np.fmin(_F32(0), np.fmin.reduce(x, axis=None, initial=_F32(0)))
        hi = np.fmax(_F32(0), np.fmax.reduce(x, axis=None, initial=_F32(0)))
        scale = _F32(1) if lo == hi else (hi - lo) / _F32(255)
        zero_point = _F32(0) - lo / scale
        zero_point = np.rint(np.clip(zero_point, 0, 255)) if zero_point > 0 else _F32(0)
    return QuantParams(np.asarray(scale, np.float32), np.asarray(zero_point - 128, np.int32))


def dynamic_quantize(x: Array) -> list[Array]:
    params = dynamic_params(x)
    return [quantize(x, params), params.scale, params.zero_point.astype(np.int8)]


def dynamic_linear(
    node: Node, x: Array, w: Array, bias: Array | None, w_params: QuantParams
) -> Array:
    params = dynamic_params(x)
    acc = centered(quantize(x, params), params).astype(np.float64) @ _weights(w, w_params).T
    with np.errstate(all="ignore"):
        y = _accumulators(node, acc).astype(np.float32) * (_scale(params) * w_params.scale)
        return np.asarray(y if bias is None else y + bias, np.float32)


def _zero_points(given: Array | None) -> Array:
    return np.zeros(()) if given is None else given.astype(np.float64)


def _accumulators(node: Node, acc: Array) -> Array:
    if acc.size and np.abs(acc).max() >= 2**31:
        raise GraphError(f"node '{node.name}' ({node.op}): an accumulator exceeds int32")
    return np.asarray(acc.astype(np.int32))


# -- elementwise ----------------------------------------------------------------------------


def binary(
    node: Node, a: Array, b: Array, pa: QuantParams, pb: QuantParams, out: QuantParams
) -> Array:
    sa, sb, sy = _scale(pa), _scale(pb), _scale(out)
    da, db = centered(a, pa), centered(b, pb)
    if node.op == "mul":
        return _requantize(node, da * db, np.asarray((sa * sb) / sy), out)
    ma, mb = sa / sy, sb / sy
    if node.op == "sub":
        mb = -mb
    with np.errstate(over="ignore", invalid="ignore"):
        total = da.astype(np.float32) * ma + db.astype(np.float32) * mb
    return _clamped(node, total, out)


def lookup(q: Array, table: Array) -> Array:
    index = q.astype(np.int64) + 128
    if table.ndim == 1:
        return np.asarray(table[index])
    return np.asarray(table[np.arange(table.shape[0]), index])


def softmax(node: Node, q: Array, table: Array, out: QuantParams) -> Array:
    """``e = table[max(q) - q]``; ``round_clamp(e * ((1 / sum(e)) / scale_y))``."""
    axis = integer(node, "axis", -1)
    x = np.moveaxis(q.astype(np.int64), axis, -1)
    e = table[x.max(axis=-1, keepdims=True) - x]
    multiplier = (_F32(1) / sum_lanes(e)) / _scale(out)
    return np.moveaxis(round_clamp(e * multiplier[..., None], _zero(out)), -1, axis)


# -- pools and reductions -------------------------------------------------------------------


def mean_multiplier(x: QuantParams, counts: Array, out: QuantParams) -> Array:
    """``(s_x * (1 / count)) / s_y`` in float32."""
    return np.asarray((_scale(x) * (_F32(1) / counts.astype(np.float32))) / _scale(out))


def max_pool2d(node: Node, q: Array) -> Array:
    window = Window.of(node, ints(node, "kernel"))
    y: Array | None = None
    for _, _, patch in window.patches(q, -128):
        y = patch if y is None else np.maximum(y, patch)
    return np.asarray(y)


def avg_pool2d(node: Node, q: Array, x_params: QuantParams, out: QuantParams) -> Array:
    window = Window.of(node, ints(node, "kernel"))
    x = centered(q, x_params)
    total = np.sum([patch for _, _, patch in window.patches(x, 0)], axis=0)
    counts = pool_counts(node, window, x.shape[1], x.shape[2])
    return _requantize(node, total, mean_multiplier(x_params, counts, out)[..., None], out)


def reduce_mean(node: Node, q: Array, x_params: QuantParams, out: QuantParams) -> Array:
    axes = tuple(ints(node, "axes", []))
    total = centered(q, x_params).sum(
        axis=axes, keepdims=bool(integer(node, "keepdims", 1)), dtype=np.int64
    )
    count = np.asarray(np.prod([q.shape[a] for a in axes], dtype=np.int64))
    return _requantize(node, total, mean_multiplier(x_params, count, out), out)


def resize_linear(node: Node, q: Array, params: QuantParams) -> Array:
    """Weights of 11 fraction bits along each axis, so the sum of products is an exact integer."""
    x = centered(q, params).astype(np.int64)
    for axis in (1, 2):
        low, high, t = linear_taps(node, axis - 1, q.shape[axis])
        shape = [1, 1, 1, 1]
        shape[axis] = -1
        upper = np.rint(t * 2048).astype(np.int64).reshape(shape)
        x = np.take(x, low, axis) * (2048 - upper) + np.take(x, high, axis) * upper
    return round_clamp(x.astype(np.float32) * _F32(2.0**-22), _zero(params))
