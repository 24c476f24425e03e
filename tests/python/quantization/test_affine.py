"""Scales, zero points and integer constants: properties that must hold for any range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zeropoint.errors import CalibrationError, GraphError
from zeropoint.graph import Array, QuantParams
from zeropoint.quantization import affine

F = np.float32
real = st.floats(-1e30, 1e30, allow_subnormal=False)
weights = hnp.arrays(F, (3, 5), elements=st.floats(-100, 100, width=32, allow_subnormal=False))


@given(a=real, b=real, symmetric=st.booleans())
@settings(max_examples=300, deadline=None)
def test_activation_params_cover_the_range_and_hold_zero(
    a: float, b: float, symmetric: bool
) -> None:
    lo, hi = min(a, b), max(a, b)
    try:
        params = affine.activation_params("t", lo, hi, symmetric=symmetric)
    except CalibrationError:
        assert max(-lo, hi) < 4e-36
        return
    scale, zero = float(params.scale), int(params.zero_point)
    assert np.isfinite(params.scale)
    assert params.scale >= np.finfo(F).tiny
    assert -128 <= zero <= 127
    assert affine.quantize_value(0.0, params) == zero  # zero is exact
    least, most = affine.representable(params)
    # Rounding the zero point to an integer may move the ends by half a step.
    assert least <= min(lo, 0) + 0.5001 * scale
    assert most >= max(hi, 0) - 0.5001 * scale
    if symmetric:
        assert zero == 0


def test_activation_params_are_those_of_the_textbook() -> None:
    params = affine.activation_params("t", -1.0, 3.0)
    assert float(params.scale) == F(4 / 255)
    assert int(params.zero_point) == -64
    relu = affine.activation_params("t", 0.0, 6.0)
    assert int(relu.zero_point) == -128
    assert affine.quantize_value(6.0, relu) == 127
    assert int(affine.activation_params("t", 2.0, 6.0).zero_point) == -128
    symmetric = affine.activation_params("t", -1.0, 3.0, symmetric=True)
    assert float(symmetric.scale) == F(3 / 127)


@pytest.mark.parametrize(("lo", "hi", "message"), [
    (0.0, 0.0, "'layer/y' holds nothing but zeros"),
    (0.0, 1e-37, "'layer/y' has the range"),
    (-np.inf, 1.0, "range of 'layer/y' is"),
    (0.0, np.nan, "range of 'layer/y' is"),
    (2.0, 1.0, "range of 'layer/y' is"),
])  # fmt: skip
def test_unusable_ranges_name_the_tensor(lo: float, hi: float, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        affine.activation_params("layer/y", lo, hi)


@given(w=weights, per_channel=st.booleans(), symmetric=st.booleans())
@settings(max_examples=200, deadline=None)
def test_weights_come_back_within_half_a_step(w: Array, per_channel: bool, symmetric: bool) -> None:
    q, params = affine.quantize_weights(
        "w", w, None, 0.1, per_channel=per_channel, symmetric=symmetric
    )
    assert q.dtype == np.int8
    assert params.axis == (0 if per_channel else None)
    assert params.scale.shape == ((3,) if per_channel else ())
    if symmetric:
        assert not params.zero_point.any()
        assert q.min() >= -127
    scale = params.scale.astype(np.float64).reshape(-1, 1)
    back = (q - params.zero_point.reshape(-1, 1)) * scale
    # Half a step, and as much again where rounding the zero point moved the range.
    assert (np.abs(back - w) <= scale * (0.5001 if symmetric else 1.0001)).all()
    if symmetric and per_channel:
        largest, codes = np.abs(w).max(axis=1), np.abs(q).max(axis=1)
        # Scales stay normal numbers: rows of tiny weights need not reach the last code.
        assert (codes[largest > 1e-30] == 127).all()
        assert (codes[largest == 0] == 0).all()


@given(
    w=weights,
    bias=hnp.arrays(F, 3, elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)),
    x_scale=st.floats(1e-6, 10.0),
    per_channel=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_biases_fit_and_are_accurate(
    w: Array, bias: Array, x_scale: float, per_channel: bool
) -> None:
    q, params = affine.quantize_weights("w", w, bias, x_scale, per_channel=per_channel)
    b = affine.quantize_bias(bias, x_scale, params)
    assert b.dtype == np.int32
    assert (np.abs(b.astype(np.int64)) <= affine.BIAS_LIMIT * 1.001).all()
    unit = F(x_scale) * params.scale
    usable = unit >= np.finfo(F).tiny
    error = np.abs(b * unit.astype(np.float64) - bias)
    assert (error <= np.where(usable, 0.5001 * unit + 1e-6 * np.abs(bias), np.inf)).all()
    assert affine.overflowing_channel(q, params, b, -128) == -1


def test_a_dead_channel_keeps_its_bias() -> None:
    w = np.zeros((3, 4), F)
    w[1] = 1e-30
    w[2] = 0.5
    bias = np.asarray([0.7, -0.3, 0.1], F)
    q, params = affine.quantize_weights("w", w, bias, 0.02)
    b = affine.quantize_bias(bias, 0.02, params)
    np.testing.assert_allclose(b * (F(0.02) * params.scale), bias, rtol=1e-6)
    np.testing.assert_allclose(q * params.scale[:, None], w, atol=1e-7)
    _, alone = affine.quantize_weights("w", np.zeros((2, 2), F), None, 0.02)
    assert alone.scale.tolist() == [1, 1]


def test_overflow_is_found_to_the_last_unit() -> None:
    one = QuantParams.per_tensor(1.0, 0)
    w = np.full((2, 33025), 127, np.int8)
    limit = 2**31 - 1 - 127 * 33025 * 255
    for zero in (-128, 0, 127):
        fold = max(abs(zero), abs(zero + 128)) * 127 * 33025
        inside = np.asarray([0, 0], np.int64)
        assert (affine.overflowing_channel(w, one, inside, zero) >= 0) == (fold > limit)
    w = np.zeros((2, 4), np.int8)
    w[1, 0], w[1, 1] = 100, -100  # the zero point folds to nothing
    room = 2**31 - 1 - 200 * 255
    assert affine.overflowing_channel(w, one, np.asarray([0, room]), -5) == -1
    assert affine.overflowing_channel(w, one, np.asarray([0, room + 1]), -5) == 1


def test_weights_that_are_not_finite() -> None:
    for w, bias in (
        (np.full((1, 1), np.nan, F), None),
        (np.ones((1, 1), F), np.full(1, np.inf, F)),
    ):
        with pytest.raises(GraphError, match="'conv1' hold NaN"):
            affine.quantize_weights("conv1", w, bias, 1.0)
