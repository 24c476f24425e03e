"""Float32 functions with the bits of the engine's own.

The engine calls no math library: ``csrc/kernels/elementwise_f32/math_f32.h`` writes exp, log, tanh
and erf as polynomials of separately rounded float32 operations. This module repeats them in NumPy,
operation by operation and constant by constant, so that the reference executor gives the same bytes
as every ISA level. It also has the fused multiply-add of ``gemm_f32``, which NumPy lacks.

All functions take arrays of any shape (converted to float32), return a new float32 array of that
shape, raise nothing and warn of nothing; NaNs pass through. Errors against the exact value, in
units in the last place: exp and log 1, tanh and erf 1.5, sigmoid and softplus 2.5; gelu, silu, mish
and their kin are within 2e-7 * max(1, abs(x)).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import numpy.typing as npt

from zeropoint.graph import Array

_f = np.float32
_u = np.uint32

_HALF = _f(0.5)
_ONE = _f(1)
_TWO = _f(2)
_ZERO = _f(0)
_INF = _f(np.inf)
_NAN = _f(np.nan)

# ln 2 in two parts; k times the first (9 significant bits) is exact for every exponent k.
_LN2_HIGH = _f(0.693359375)
_LN2_LOW = _f(-2.12194440e-4)
_LOG2_E = _f(1.44269502)
_ROUND = _f(12582912.0)  # 1.5 * 2^23: adding it rounds to an integer
_ROUND_BITS = _u(0x4B400000)

# Minimax polynomials, highest power first.
_EXPM1 = (1.38142193e-3, 8.36889911e-3, 4.16684076e-2, 1.66665196e-1, 4.99999940e-1)
_LOG = (
    -7.64603764e-2,
    1.27790883e-1,
    -1.31641984e-1,
    1.41996995e-1,
    -1.66227639e-1,
    2.00012922e-1,
    -2.50008374e-1,
    3.33333313e-1,
)
_TANH = (-5.70452213e-3, 2.06386875e-2, -5.37395962e-2, 1.33314416e-1, -3.33332807e-1)
_ERF = (
    8.67538984e-5,
    -8.21110327e-4,
    5.20674745e-3,
    -2.68615838e-2,
    1.12837330e-1,
    -3.76126349e-1,
    1.28379166e-1,
)
_LOG_ERFC = (
    -2.04514618e-5,
    4.27084102e-4,
    -4.13565012e-3,
    2.50271540e-2,
    -1.08139046e-1,
    -6.33473456e-1,
    -1.12945318,
    1.62025972e-4,
)


def _elementwise(function: Callable[..., Array]) -> Callable[..., Array]:
    """Gives `function` float32 operands of at least one dimension, and silence."""

    @wraps(function)
    def wrapped(*operands: Any) -> Array:
        with np.errstate(all="ignore"):
            arrays = [np.asarray(operand, np.float32) for operand in operands]
            shape = np.broadcast_shapes(*(array.shape for array in arrays))
            y = function(*(np.atleast_1d(array) for array in arrays))
        return np.asarray(y, np.float32).reshape(shape)

    return wrapped


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    p = np.full_like(x, _f(coefficients[0]))
    for c in coefficients[1:]:
        p = p * x + _f(c)
    return p


def _min(x: Array, hi: np.float32) -> Array:
    return np.where(x > hi, hi, x)


def _max(x: Array, lo: np.float32) -> Array:
    return np.where(x < lo, lo, x)


def _power_of_two(k: Array) -> Array:
    return np.asarray((k + _u(127)) << _u(23)).view(np.float32)


def _reduce_exp(x: Array) -> tuple[Array, Array]:
    """x = k ln 2 + r with abs(r) <= 0.3475; k as wrapping uint32."""
    shifted = x * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    return r, shifted.view(np.uint32) - _ROUND_BITS


def _expm1_reduced(r: Array) -> Array:
    return np.asarray(_polynomial(r, _EXPM1) * (r * r) + r)


def _exp(x: Array) -> Array:
    r, k = _reduce_exp(_max(_min(x, _f(89)), _f(-104)))
    p = _expm1_reduced(r) + _ONE
    half = (k.view(np.int32) >> np.int32(1)).view(np.uint32)
    return (p * _power_of_two(half)) * _power_of_two(k - half)


def _expm1_nonpositive(x: Array) -> Array:
    r, k = _reduce_exp(_max(_min(x, _ZERO), _f(-30)))
    two_k = _power_of_two(k)
    return two_k * _expm1_reduced(r) + (two_k - _ONE)


def _log(x: Array) -> Array:
    denormal = x < _f(2.0**-126)
    u = np.where(denormal, x * _f(2.0**23), x).view(np.uint32)
    k = (u - _u(0x3F3504F3)).view(np.int32) >> np.int32(23)
    f = (u - (k.view(np.uint32) << _u(23))).view(np.float32) - _ONE
    n = k.astype(np.float32) - np.where(denormal, _f(23), _ZERO)
    f2 = f * f
    tail = (_polynomial(f, _LOG) * (f * f2) + n * _LN2_LOW) - _HALF * f2
    result = (f + tail) + n * _LN2_HIGH
    finite = np.where(x < _INF, result, x)
    return np.where(x > _ZERO, finite, np.where(x == _ZERO, -_INF, _NAN))


def _log1p_unit(x: Array) -> Array:
    u = _ONE + x
    return np.asarray(_log(u) + (x - (u - _ONE)) / u)


def _tanh(x: Array) -> Array:
    a = np.abs(x)
    z = a * a
    near_zero = (_polynomial(z, _TANH) * z) * a + a
    away = _ONE - _TWO / (_exp(a + a) + _ONE)
    return np.copysign(np.where(a < _f(0.625), near_zero, away), x)


def _erf(x: Array) -> Array:
    a = np.abs(x)
    near_zero = _polynomial(a * a, _ERF) * a + a
    away = _ONE - _exp(_polynomial(_min(a, _f(4)), _LOG_ERFC))
    return np.copysign(np.where(a < _f(0.875), near_zero, away), x)


def _sigmoid(x: Array) -> Array:
    e = _exp(-np.abs(x))
    return np.where(x < _ZERO, e, _ONE) / (_ONE + e)


def _hard_sigmoid(x: Array, alpha: Array, beta: Array) -> Array:
    return _max(_min(alpha * x + beta, _ONE), _ZERO)


@_elementwise
def exp(x: Array) -> Array:
    """e^x; inf above ln(FLT_MAX), denormals and then 0 below."""
    return _exp(x)


@_elementwise
def log(x: Array) -> Array:
    """Natural logarithm; -inf at 0, NaN below."""
    return _log(x)


@_elementwise
def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return _tanh(x)


@_elementwise
def erf(x: Array) -> Array:
    """The error function."""
    return _erf(x)


@_elementwise
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return _sigmoid(x)


@_elementwise
def silu(x: Array) -> Array:
    """x * sigmoid(x)."""
    return x * _sigmoid(x)


@_elementwise
def gelu(x: Array) -> Array:
    """x * (1 + erf(x / sqrt(2))) / 2."""
    return (_HALF * x) * (_ONE + _erf(x * _f(0.707106769)))


@_elementwise
def gelu_tanh(x: Array) -> Array:
    """x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2."""
    inner = _f(0.797884583) * (x + _f(0.044715) * ((x * x) * x))
    return (_HALF * x) * (_ONE + _tanh(inner))


@_elementwise
def softplus(x: Array) -> Array:
    """log(1 + exp(x))."""
    return np.where(x > _ZERO, x, _ZERO) + _log1p_unit(_exp(-np.abs(x)))


@_elementwise
def mish(x: Array) -> Array:
    """x * tanh(softplus(x))."""
    e = _exp(_min(x, _f(20)))
    n = e * (e + _TWO)
    return x * (n / (n + _TWO))


@_elementwise
def elu(x: Array, alpha: Array) -> Array:
    """``x < 0 ? alpha * (exp(x) - 1) : x``; `alpha` is one number."""
    return np.where(x < _ZERO, alpha * _expm1_nonpositive(x), x)


@_elementwise
def hard_sigmoid(x: Array, alpha: Array, beta: Array) -> Array:
    """max(0, min(1, alpha * x + beta)); `alpha` and `beta` are numbers."""
    return _hard_sigmoid(x, alpha, beta)


@_elementwise
def hard_swish(x: Array) -> Array:
    """x * hard_sigmoid(x) with alpha 1/6 (rounded to float32) and beta 1/2."""
    return x * _hard_sigmoid(x, np.atleast_1d(_f(0.166666672)), np.atleast_1d(_HALF))


@_elementwise
def leaky_relu(x: Array, alpha: Array) -> Array:
    """``x < 0 ? alpha * x : x``; `alpha` is one number."""
    return np.where(x < _ZERO, alpha * x, x)


@_elementwise
def prelu(x: Array, slope: Array) -> Array:
    """``x < 0 ? slope * x : x``; `slope` broadcasts against `x`."""
    return np.where(x < _ZERO, slope * x, x)


def fma32(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> Array:
    """a * b + c rounded once to float32; operands are float32 and broadcast.

    The product of two float32 is exact in float64. Their sum with `c` is not always, and rounding
    it again to float32 then rounds twice, which matters in two cases only: the float64 sum lies
    exactly between two float32 (its 29 dropped bits are 100...0), or the result is denormal and
    drops more bits. There the sum is first rounded to odd: where it is inexact (its error is exact,
    by two-sum) and its last bit is 0, it moves to the odd neighbour on the error's side.
    """
    with np.errstate(all="ignore"):
        wide = [np.asarray(operand, np.float32).astype(np.float64) for operand in (a, b, c)]
        product = wide[0] * wide[1]
        total = np.asarray(product + wide[2])
        result = total.astype(np.float32)
        dropped = total.view(np.uint64) & np.uint64(0x1FFFFFFF)
        doubtful = dropped == np.uint64(0x10000000)
        doubtful |= (np.abs(total) < 2.0**-126) & (total != 0)
        if doubtful.any():
            p = np.broadcast_to(product, total.shape)[doubtful]
            addend = np.broadcast_to(wide[2], total.shape)[doubtful]
            result[doubtful] = _sum_to_odd(p, addend).astype(np.float32)
    return result


def _sum_to_odd(p: Array, c: Array) -> Array:
    """p + c in float64, rounded to odd."""
    s = p + c
    part = s - p
    error = (p - (s - part)) + (c - part)
    bits = s.view(np.int64)
    inexact = (error < 0) | (error > 0)  # False for inf and NaN
    outward = (error > 0) == (s > 0)  # away from 0
    step = np.where(outward, np.int64(1), np.int64(-1))
    even = (bits & np.int64(1)) == 0
    return np.asarray(np.where(inexact & even, bits + step, bits).view(np.float64))
