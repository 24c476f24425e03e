"""Scales and zero points from ranges, and constants turned into integers.

The scheme is affine, ``real = scale * (q - zero_point)`` with a finite normal float32 scale
(Jacob et al. 2018, arXiv:1712.05877). Everything is computed in float64 and rounded once.
"""

from __future__ import annotations

import math

import numpy as np

from zeropoint.errors import CalibrationError, GraphError
from zeropoint.graph import Array, QuantParams

QMIN, QMAX = -128, 127
_TINY = float(np.finfo(np.float32).tiny)
_LARGEST = float(np.finfo(np.float32).max)
#: A bias may use this much of an int32 accumulator; see :func:`quantize_weights`.
BIAS_LIMIT = 1 << 29


def activation_params(name: str, lo: float, hi: float, *, symmetric: bool = False) -> QuantParams:
    """Per-tensor parameters for activations in ``[lo, hi]``.

    The range is extended to hold 0, so that zero padding and relu are exact. Asymmetric:
    ``scale = (hi - lo) / 255`` with the zero point rounded to an integer of [-128, 127]; symmetric:
    ``scale = max(|lo|, |hi|) / 127`` and zero point 0.

    Args:
        name: the tensor, for messages.
        lo, hi: the range, in real units.

    Raises:
        CalibrationError: the range is not finite, or it is so narrow (all zeros, for example) that
            the scale would be zero or denormal.
    """
    if not (math.isfinite(lo) and math.isfinite(hi)) or lo > hi:
        raise CalibrationError(
            f"the range of '{name}' is [{lo}, {hi}]; calibrate again with finite data"
        )
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    scale = max(-lo, hi) / 127 if symmetric else (hi - lo) / 255
    if not _TINY <= scale <= _LARGEST:
        what = "holds nothing but zeros" if scale == 0 else f"has the range [{lo:g}, {hi:g}]"
        raise CalibrationError(
            f"'{name}' {what} in the calibration data, so its scale would be "
            f"{'zero' if scale == 0 else 'out of float32'}; calibrate with data that is typical "
            "of the model's use, or keep the nodes that write and read it in float32 (keep_float)"
        )
    scale = float(np.float32(scale))
    zero_point = 0 if symmetric else int(np.clip(np.rint(QMIN - lo / scale), QMIN, QMAX))
    return QuantParams.per_tensor(scale, zero_point)


def representable(params: QuantParams) -> tuple[float, float]:
    """The least and greatest real value of per-tensor parameters."""
    scale, zero_point = float(params.scale.item()), int(params.zero_point.item())
    return scale * (QMIN - zero_point), scale * (QMAX - zero_point)


def quantize_value(value: float, params: QuantParams) -> int:
    """The int8 that stands for ``value``, clamped to [-128, 127]; ``value`` may be infinite."""
    q = np.rint(value / float(params.scale.item())) + int(params.zero_point.item())
    return int(np.clip(q, QMIN, QMAX))


def quantize_array(x: Array, params: QuantParams) -> Array:
    """``x`` in int8 by per-tensor parameters, computed in float64."""
    q = np.rint(x.astype(np.float64) / float(params.scale.item())) + int(params.zero_point.item())
    return np.asarray(np.clip(q, QMIN, QMAX).astype(np.int8))


def dequantized_levels(params: QuantParams) -> Array:
    """float64[256]: the real values of q = -128 ... 127."""
    q = np.arange(QMIN, QMAX + 1, dtype=np.float64)
    return np.asarray((q - int(params.zero_point.item())) * float(params.scale.item()))


def constant_params(name: str, x: Array) -> QuantParams:
    """Asymmetric per-tensor parameters of a constant operand; an all-zero one gets scale 1."""
    if not x.any():
        return QuantParams.per_tensor(1.0, 0)
    return activation_params(name, float(x.min()), float(x.max()))


def quantize_weights(
    name: str,
    w: Array,
    bias: Array | None,
    x_scale: float,
    *,
    per_channel: bool = True,
    symmetric: bool = True,
) -> tuple[Array, QuantParams]:
    """Weights ``[O, ...]`` in int8, one scale per output channel (axis 0) or one for all.

    Symmetric: ``scale = max|w| / 127``, zero point 0, values in [-127, 127]. Asymmetric: the range
    is extended to hold 0 and spread over [-128, 127].

    The bias is stored in units of ``x_scale * scale``. Where that unit is so small that the bias
    would need more than 2^29 of them (a channel whose weights are nearly nothing, as batch
    normalization leaves behind dead channels), the scale grows to ``|bias| / (x_scale * 2^29)``:
    rounding the weights then costs at most 2^-22 of the bias for each weight. A channel of zeros
    without bias gets scale 1.

    Raises:
        GraphError: a weight or bias is not finite, or a scale would exceed float32.
    """
    if not np.isfinite(w).all() or (bias is not None and not np.isfinite(bias).all()):
        raise GraphError(
            f"the weights or bias of '{name}' hold NaN or infinity; repair or retrain the model"
        )
    rows = w.reshape(w.shape[0] if per_channel else 1, -1).astype(np.float64)
    if symmetric:
        lo = hi = np.zeros(len(rows))
        scale = np.abs(rows).max(axis=1) / 127
    else:
        lo, hi = np.minimum(rows.min(axis=1), 0), np.maximum(rows.max(axis=1), 0)
        scale = (hi - lo) / 255
    if bias is not None:
        magnitude = np.abs(bias.astype(np.float64))
        if not per_channel:
            magnitude = magnitude.max(keepdims=True)
        scale = np.maximum(scale, magnitude / (x_scale * BIAS_LIMIT))
    scale = np.where(scale == 0, 1.0, np.maximum(scale, _TINY))
    if (scale > _LARGEST).any():
        raise GraphError(f"the weights of '{name}' are too large for a float32 scale")
    scale = scale.astype(np.float32).astype(np.float64)
    if symmetric:
        zero_point = np.zeros(len(rows))
    else:
        zero_point = np.clip(np.rint(QMIN - lo / scale), QMIN, QMAX)
    q = np.rint(rows / scale[:, None]) + zero_point[:, None]
    q = np.clip(q, -127 if symmetric else QMIN, QMAX).astype(np.int8).reshape(w.shape)
    params = QuantParams(scale.astype(np.float32), zero_point.astype(np.int32), 0)
    if not per_channel:
        params = QuantParams.per_tensor(float(scale[0]), int(zero_point[0]))
    return q, params


def quantize_bias(bias: Array, x_scale: float, w_params: QuantParams) -> Array:
    """int32 ``round(bias / (x_scale * w_scale[c]))``, the product in float32 as the engine has it.

    :func:`quantize_weights` has made the scales large enough for the result to fit.
    """
    unit = (np.float32(x_scale) * w_params.scale).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.where(unit > 0, np.rint(bias.astype(np.float64) / unit), 0)
    return np.asarray(np.clip(q, -(2**31) + 1, 2**31 - 1).astype(np.int32))


def overflowing_channel(w: Array, params: QuantParams, bias: Array | None, zero_x: int) -> int:
    """The first output channel whose accumulator could exceed int32, or -1.

    The bound is ``sum|w| * 255 + |folded bias| < 2^31``, where the bias has the input's zero point
    folded in; it is taken over both domains in which a session may hold activations (int8, and
    uint8 with 128 added), so that a model that is sound here is sound on every machine.
    """
    rows = w.reshape(w.shape[0], -1).astype(np.int64) - params.zero_point.reshape(-1, 1)
    magnitude, total = np.abs(rows).sum(axis=1), rows.sum(axis=1)
    base = np.zeros(len(rows), np.int64) if bias is None else bias.astype(np.int64)
    folded = np.maximum(np.abs(base - zero_x * total), np.abs(base - (zero_x + 128) * total))
    over = magnitude * 255 + np.maximum(folded, np.abs(base)) >= 2**31
    return int(over.argmax()) if over.any() else -1
