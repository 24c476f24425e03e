"""float_math against float64 functions within stated bounds, and fma32 against rationals."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from zeropoint import float_math

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

TINIEST = 2.0**-149


def points() -> F32:
    """Every exponent and sign with spread significands, then the values that networks see."""
    patterns = np.arange(0, 2**32, 65_521, dtype=np.uint64).astype(np.uint32).view(np.float32)
    dense = np.linspace(-110, 110, 100_001, dtype=np.float32)
    return np.concatenate([patterns[np.isfinite(patterns)], dense])


def ulps(y: F32, exact: F64) -> F64:
    """Distance in units in the last place of `exact` as a float32."""
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(exact)
        unit = np.ldexp(1.0, np.maximum(exponent - 24, -149))
        error: F64 = np.abs(y.astype(np.float64) - exact) / unit
        rounded = exact.astype(np.float32)
    same = (y == rounded) | (np.isnan(y) & np.isnan(exact))
    return np.where(same & ~np.isfinite(rounded), 0.0, error)


def softplus64(x: F64) -> F64:
    y: F64 = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return y


erf64 = np.vectorize(math.erf, otypes=[np.float64])
erfc64 = np.vectorize(math.erfc, otypes=[np.float64])


@pytest.mark.parametrize(
    ("function", "exact", "bound"),
    [
        (float_math.exp, np.exp, 1.0),
        (float_math.log, np.log, 1.0),
        (float_math.tanh, np.tanh, 1.5),
        (float_math.erf, erf64, 1.5),
        (float_math.sigmoid, lambda x: 1 / (1 + np.exp(-x)), 2.5),
        (float_math.softplus, softplus64, 2.5),
        (lambda x: float_math.elu(x, 1.0), lambda x: np.where(x < 0, np.expm1(x), x), 1.5),
    ],
    ids=["exp", "log", "tanh", "erf", "sigmoid", "softplus", "elu"],
)
def test_relative_error(
    function: Callable[[F32], F32], exact: Callable[[F64], F64], bound: float
) -> None:
    x = points()
    with np.errstate(all="ignore"):
        error = ulps(function(x), exact(x.astype(np.float64)))
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    assert error[worst] <= bound, f"{error[worst]} ulp at {x[worst]!r}"


@pytest.mark.parametrize(
    ("function", "exact"),
    [
        (float_math.silu, lambda x: x / (1 + np.exp(-x))),
        (float_math.mish, lambda x: x * np.tanh(softplus64(x))),
        (float_math.gelu, lambda x: 0.5 * x * erfc64(-x * math.sqrt(0.5))),
        (
            float_math.gelu_tanh,
            lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        ),
        (float_math.hard_swish, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
        (lambda x: float_math.hard_sigmoid(x, 0.2, 0.5), lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
        (lambda x: float_math.leaky_relu(x, 0.01), lambda x: np.where(x < 0, 0.01 * x, x)),
    ],
    ids=["silu", "mish", "gelu", "gelu_tanh", "hard_swish", "hard_sigmoid", "leaky_relu"],
)
def test_error_relative_to_x(function: Callable[[F32], F32], exact: Callable[[F64], F64]) -> None:
    x = points()
    x = x[np.abs(x) < 1e30]
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(function(x) - exact(wide)) / np.maximum(1, np.abs(wide))
    assert np.max(error) <= 2e-7, f"at {x[np.argmax(error)]!r}"


def test_values_at_the_ends() -> None:
    inf, nan = np.inf, np.nan
    np.testing.assert_array_equal(float_math.exp([inf, -inf, -104, 89, 0]), [inf, 0, 0, inf, 1])
    assert float_math.exp(-103.0) == np.float32(TINIEST)
    np.testing.assert_array_equal(
        float_math.log([inf, 0.0, -0.0, -1.0, -inf, 1.0]), [inf, -inf, -inf, nan, nan, 0]
    )
    np.testing.assert_array_equal(float_math.tanh([inf, -inf, 20]), [1, -1, 1])
    np.testing.assert_array_equal(float_math.erf([inf, -inf, 20]), [1, -1, 1])
    assert np.signbit(float_math.tanh(-0.0))
    np.testing.assert_array_equal(float_math.sigmoid([inf, -inf]), [1, 0])
    assert float_math.sigmoid(-100.0) > 0
    np.testing.assert_array_equal(float_math.softplus([inf, -inf]), [inf, 0])
    for function in (
        float_math.exp,
        float_math.log,
        float_math.tanh,
        float_math.erf,
        float_math.sigmoid,
        float_math.silu,
        float_math.gelu,
        float_math.gelu_tanh,
        float_math.softplus,
        float_math.mish,
        float_math.hard_swish,
    ):
        assert np.isnan(function(nan)), function.__name__


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_shape_and_dtype_are_kept(shape: tuple[int, ...]) -> None:
    x = np.full(shape, 0.25, np.float32)
    for y in (float_math.exp(x), float_math.elu(x, 1.0), float_math.fma32(x, x, x)):
        assert y.shape == shape
        assert y.dtype == np.float32


def test_prelu_broadcasts_its_slope() -> None:
    x = np.array([[-1, 2], [3, -4]], np.float32)
    y = float_math.prelu(x, np.array([0.5, 0.25], np.float32))
    np.testing.assert_array_equal(y, np.array([[-0.5, 2], [3, -1]], np.float32))


def round_to_float32(value: Fraction) -> np.float32:
    """The float32 nearest to a rational, ties to even, by integer arithmetic."""
    if value == 0:
        return np.float32(0)
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > magnitude:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - 23, -149)
    steps = round(magnitude / unit)  # Python rounds ties to even
    with np.errstate(over="ignore"):
        return np.float32(math.copysign(float(steps * unit), value))


def check_fma(a: F32, b: F32, c: F32) -> None:
    y = float_math.fma32(a, b, c)
    for i in range(a.size):
        exact = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
        assert y[i] == round_to_float32(exact), (a[i], b[i], c[i])


@pytest.mark.parametrize("seed", range(3))
def test_fma32_rounds_once(seed: int) -> None:
    g = np.random.default_rng(seed)
    n = 1500

    def values(exponents: tuple[int, int]) -> F32:
        # Few significant bits now and then: ties and cancellation.
        significand = g.integers(1, 2 ** g.integers(1, 25, n)) * g.choice([-1, 1], n)
        wide: F64 = np.ldexp(significand.astype(np.float64), g.integers(*exponents, n))
        return wide.astype(np.float32)

    check_fma(values((-30, 5)), values((-30, 5)), values((-60, 10)))
    check_fma(values((-90, -70)), values((-90, -70)), values((-149, -140)))  # denormal results


def test_fma32_where_float64_rounds_twice() -> None:
    half_less = np.float32((1 - 2.0**-20) * 2.0**-24)
    b = np.float32(1 + 2.0**-20)
    c = np.float32(1 + 2.0**-23)
    twice = np.float32(np.float64(half_less) * np.float64(b) + np.float64(c))
    assert twice != c  # what plain float64 gives
    for sign in (1, -1):
        y = float_math.fma32(sign * half_less, b, sign * c)
        assert y == sign * c
    denormal = np.array([0x00400001], np.uint32).view(np.float32)
    check_fma(
        np.array([(1 - 2.0**-20) * 2.0**-100], np.float32),
        np.array([(1 + 2.0**-20) * 2.0**-50], np.float32),
        denormal,
    )


def test_fma32_infinities_and_nan() -> None:
    inf, nan = np.float32(np.inf), np.float32(np.nan)
    big = np.float32(3e38)
    a = np.array([inf, inf, big, 0, nan, 1], np.float32)
    b = np.array([1, 1, 10, inf, 1, 1], np.float32)
    c = np.array([0, -inf, 0, 0, 0, inf], np.float32)
    np.testing.assert_array_equal(float_math.fma32(a, b, c), [inf, nan, inf, nan, nan, inf])
