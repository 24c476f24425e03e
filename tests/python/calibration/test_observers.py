"""Observers: exact merging, flat memory, and percentiles held against NumPy's own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zeropoint.calibration.observers import (
    Histogram,
    MeanSquaredError,
    MinMax,
    MovingAverage,
    Observer,
    Percentile,
    make,
)
from zeropoint.errors import CalibrationError, InputError
from zeropoint.graph import Array

F = np.float32
values = hnp.arrays(
    F, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
)
MERGEABLE: list[Callable[[], Observer]] = [MinMax, Percentile, MeanSquaredError]


def observed(observer: Observer, *arrays: Array) -> Observer:
    for array in arrays:
        observer.update(array)
    return observer


def same(a: Observer, b: Observer) -> bool:
    x, y = a.state(), b.state()
    return x.keys() == y.keys() and all(np.array_equal(x[key], y[key]) for key in x)


@pytest.mark.parametrize("make_one", MERGEABLE)
@given(parts=st.lists(values, min_size=1, max_size=5))
@example(parts=[np.zeros(1, F), np.full(1, 0.25, F)])
@settings(max_examples=60, deadline=None)
def test_merging_and_streaming_equal_the_whole(
    make_one: Callable[[], Observer], parts: list[Array]
) -> None:
    whole = observed(make_one(), np.concatenate(parts))
    streamed = observed(make_one(), *parts)
    backwards = observed(make_one(), *parts[::-1])
    left, right = make_one(), make_one()
    for part in parts:
        left.merge(observed(make_one(), part))
    for part in parts[::-1]:
        other = observed(make_one(), part)
        other.merge(right)
        right = other
    assert all(same(whole, other) for other in (streamed, backwards, left, right))
    assert whole.range() == right.range()


@given(x=values)
@settings(max_examples=100, deadline=None)
def test_histogram_counts_each_value_in_its_bin(x: Array) -> None:
    histogram = Histogram(bins=64)
    histogram.update(x)
    bins = np.trunc(x.astype(np.float64) / histogram.width).astype(int)
    expected = np.zeros(127, int)
    np.add.at(expected, bins + 63, 1)
    np.testing.assert_array_equal(histogram.counts, expected)
    largest = np.abs(x).max()
    assert largest < 64 * histogram.width
    if largest == 0:
        assert histogram.exponent == -126
    else:
        assert largest >= 32 * histogram.width or histogram.exponent == -126
    lower, upper = histogram.edges()
    assert (lower[bins + 63] <= x).all()
    assert (upper[bins + 63] >= x).all()


@given(x=values, percentile=st.floats(50.1, 100))
@settings(max_examples=100, deadline=None)
def test_percentile_is_within_a_bin_of_the_order_statistics(x: Array, percentile: float) -> None:
    observer = Percentile(percentile, bins=256)
    observer.update(x)
    ordered = np.sort(x.astype(np.float64))
    for got, share in zip(observer.range(), (1 - percentile / 100, percentile / 100), strict=True):
        # The quantile lies between its two neighbours in the sorted data.
        low = ordered[max(0, math.floor(share * len(x)) - 1)]
        high = ordered[min(len(x) - 1, math.ceil(share * len(x)))]
        assert low - 2 * observer.width <= got <= high + 2 * observer.width


def test_percentile_of_many_values_is_numpys_within_a_bin() -> None:
    x = np.random.default_rng(4).standard_normal(200_000).astype(F)
    x[:20] *= 50
    observer = Percentile(99.9)
    for part in np.array_split(x, 7):
        observer.update(part)
    lo, hi = observer.range()
    assert abs(lo - np.percentile(x, 0.1)) <= observer.width
    assert abs(hi - np.percentile(x, 99.9)) <= observer.width
    assert observer.hi == x.max()
    assert hi < 0.2 * observer.hi


def test_least_squared_error_cuts_outliers_and_beats_its_neighbours() -> None:
    x = np.random.default_rng(5).laplace(size=400_000).astype(F)
    x[0] = 25

    def error(lo: float, hi: float) -> float:
        scale = (hi - lo) / 255
        q = np.clip(np.rint(x / scale), np.rint(lo / scale), np.rint(hi / scale))
        return float(np.square(x - q * scale).mean())

    observer = MeanSquaredError()
    observer.update(x)
    lo, hi = observer.range()
    best = error(lo, hi)
    assert best < 0.8 * error(float(x.min()), float(x.max()))
    for factor in (0.7, 1.4):
        assert best < error(lo * factor, hi)
        assert best < error(lo, hi * factor)


@pytest.mark.parametrize("make_one", [MinMax, MovingAverage, Percentile, MeanSquaredError])
def test_constant_and_zero_data(make_one: Callable[[], Observer]) -> None:
    lo, hi = observed(make_one(), np.zeros(10, F), np.full(3, -0.0, F)).range()
    assert (lo, hi) == (0, 0)
    if make_one is not MovingAverage:
        lo, hi = observed(make_one(), np.zeros(4, F), np.full(1000, 5, F)).range()
        assert lo == pytest.approx(0, abs=5)
        assert hi == pytest.approx(5, rel=1e-2)


def test_extreme_magnitudes() -> None:
    histogram = Histogram()
    tiny, huge = F(1e-45), np.finfo(F).max
    observed(histogram, np.asarray([tiny, -tiny]), np.asarray([huge, 1], F), np.asarray([-huge]))
    assert histogram.counts.sum() == 5
    assert (histogram.counts[0], histogram.counts[-1]) == (1, 1)
    assert histogram.counts[histogram.bins - 1] == 3


def test_moving_average() -> None:
    observer = observed(MovingAverage(0.5), np.asarray([0, 8], F), np.asarray([-4, 4], F))
    assert observer.range() == (-2, 6)
    with pytest.raises(InputError, match="cannot be merged"):
        observer.merge(observed(MovingAverage(0.5), np.ones(1, F)))


def test_memory_is_flat() -> None:
    observer = Percentile()
    size = observer.counts.nbytes
    for i in range(50):
        observer.update(np.full(1000, 2.0**i, F))
    assert observer.counts.nbytes == size
    assert observer.count == 50_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    observer = Percentile()
    observer.update(np.ones(3, F))
    before = observer.state()
    with pytest.raises(CalibrationError, match="1 of 2 values"):
        observer.update(np.asarray([1, bad], F))
    assert all(np.array_equal(before[key], value) for key, value in observer.state().items())


def test_nothing_observed() -> None:
    observer = MinMax()
    observer.update(np.zeros(0, F))
    with pytest.raises(CalibrationError, match="no values"):
        observer.range()


@pytest.mark.parametrize(
    "make_bad",
    [
        lambda: Percentile(50),
        lambda: Percentile(100.5),
        lambda: Histogram(1000),
        lambda: Histogram(8),
        lambda: MovingAverage(1.0),
        lambda: make("median", percentile=99, bins=2048, momentum=0.9),
        lambda: MinMax().merge(Percentile()),
        lambda: Percentile(99).merge(Percentile(98)),
    ],
)
def test_bad_settings(make_bad: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        make_bad()
