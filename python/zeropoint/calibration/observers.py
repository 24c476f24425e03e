"""Observers: what is remembered of a tensor's values while calibration data stream past.

An observer's memory is fixed, whatever the number of samples. All but the moving average give a
result that depends neither on the order of the data nor on how they were split into batches, so
observers of disjoint data merge into the observer of all of them, exactly.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from zeropoint.errors import CalibrationError, InputError
from zeropoint.graph import Array

_State = dict[str, Any]


def min_max(x: Array) -> tuple[float, float] | None:
    """Smallest and largest of a float32 array; None where any is NaN or infinite."""
    from zeropoint import _core

    return _core.min_max(x)


def count_bins(x: Array, width: float, bins: int) -> Array:
    """int64[bins]: how many x lie in [i * width, (i + 1) * width); those below 0 are counted in
    bin 0. ``width`` is a power of two, so the division is exact and no edge is blurred."""
    from zeropoint import _core

    counts = np.zeros(bins, np.int64)
    _core.histogram(x, 0.0, width, counts)
    return counts


class Observer(ABC):
    """Watches one tensor.

    Attributes:
        lo, hi: smallest and largest value seen; inf and -inf before the first.
        count: how many values were seen.
    """

    kind: ClassVar[str]

    def __init__(self) -> None:
        self.lo, self.hi, self.count = math.inf, -math.inf, 0

    def update(self, x: Array) -> None:
        """Takes in a float32 array of any shape.

        Raises:
            CalibrationError: it holds NaN or infinity. Nothing was taken in then.
        """
        if x.size == 0:
            return
        x = np.ascontiguousarray(x, np.float32).reshape(-1)
        found = min_max(x)
        if found is None:
            bad = int(np.count_nonzero(~np.isfinite(x)))
            raise CalibrationError(f"{bad} of {x.size} values are NaN or infinite")
        lo, hi = found
        self._take(x, lo, hi)
        self.lo, self.hi = min(self.lo, lo), max(self.hi, hi)
        self.count += x.size

    def merge(self, other: Observer) -> None:
        """Takes in what ``other``, of the same kind and settings, has seen."""
        if type(other) is not type(self) or self._settings() != other._settings():
            raise InputError(
                f"a {self.kind} observer {self._settings()} cannot take in a {other.kind} observer "
                f"{other._settings()}; calibrate both with the same method and settings"
            )
        if other.count == 0:
            return
        self._merge(other)
        self.lo, self.hi = min(self.lo, other.lo), max(self.hi, other.hi)
        self.count += other.count

    def range(self) -> tuple[float, float]:
        """The range to quantize for.

        Raises:
            CalibrationError: nothing has been seen.
        """
        if self.count == 0:
            raise CalibrationError("no values have been observed")
        return self._range()

    def state(self) -> _State:
        """Everything needed to go on later, as numbers and arrays."""
        return {"lo": self.lo, "hi": self.hi, "count": self.count, **self._state()}

    def restore(self, state: _State) -> None:
        """Takes over what :meth:`state` returned.

        Raises:
            ValueError: no observer has such a state.
        """
        self.lo, self.hi = float(state["lo"]), float(state["hi"])
        self.count = int(state["count"])
        seen = math.isfinite(self.lo) and math.isfinite(self.hi) and self.lo <= self.hi
        if self.count < 0 or (self.count > 0 and not seen):
            raise ValueError(f"{self.count} values in the range [{self.lo}, {self.hi}]")
        self._restore(state)

    def _take(self, x: Array, lo: float, hi: float) -> None:
        """Sees x before lo, hi and count are updated."""
        return

    def _merge(self, other: Any) -> None:
        return

    @abstractmethod
    def _range(self) -> tuple[float, float]: ...

    def _settings(self) -> dict[str, float]:
        return {}

    def _state(self) -> _State:
        return {}

    def _restore(self, state: _State) -> None:
        return


class MinMax(Observer):
    """The smallest and the largest value ever seen."""

    kind = "minmax"

    def _range(self) -> tuple[float, float]:
        return self.lo, self.hi


class MovingAverage(Observer):
    """Exponential moving averages of each batch's smallest and largest value:
    ``average = momentum * average + (1 - momentum) * new``, starting from the first batch
    (Jacob et al. 2018, section 3.1)."""

    kind = "moving_average"

    def __init__(self, momentum: float = 0.9) -> None:
        super().__init__()
        if not 0.0 <= momentum < 1.0:
            raise InputError(f"momentum is {momentum}; it must be in [0, 1)")
        self.momentum = momentum
        self._average = (0.0, 0.0)

    def _take(self, x: Array, lo: float, hi: float) -> None:
        if self.count == 0:
            self._average = (lo, hi)
        else:
            m = self.momentum
            old_lo, old_hi = self._average
            self._average = (m * old_lo + (1 - m) * lo, m * old_hi + (1 - m) * hi)

    def _merge(self, other: MovingAverage) -> None:
        raise InputError(
            "moving averages depend on the order of the batches and cannot be merged; calibrate "
            "over all data at once, or use minmax or percentile"
        )

    def _range(self) -> tuple[float, float]:
        return self._average

    def _settings(self) -> dict[str, float]:
        return {"momentum": self.momentum}

    def _state(self) -> _State:
        return {"average": np.asarray(self._average)}

    def _restore(self, state: _State) -> None:
        lo, hi = (float(v) for v in state["average"])
        if not (math.isfinite(lo) and math.isfinite(hi) and lo <= hi):
            raise ValueError(f"an average range of [{lo}, {hi}]")
        self._average = (lo, hi)


class Histogram(Observer):
    """Counts in bins of equal width, the width a power of two.

    Bin k holds ``trunc(x / width) == k`` for -bins < k < bins, so bin 0 spans both sides of zero.
    When a value exceeds ``bins * width`` the width doubles and bins merge in pairs (k // 2 in
    magnitude). The width follows from the largest magnitude seen and nothing else, and pairs merge
    without splitting: the result is the same for every order and every split of the data.

    Args:
        bins: bins on each side of zero.
    """

    kind = "histogram"
    _MIN_EXPONENT = -126  # a narrower bin would divide denormals

    def __init__(self, bins: int = 2048) -> None:
        super().__init__()
        if not 16 <= bins <= 1 << 20 or bins & (bins - 1):
            raise InputError(f"bins is {bins}; it must be a power of two from 16 to {1 << 20}")
        self.bins = bins
        self.exponent = self._MIN_EXPONENT
        #: int64[2 * bins - 1]; index k + bins - 1 is bin k.
        self.counts = np.zeros(2 * bins - 1, np.int64)

    @property
    def width(self) -> float:
        return math.ldexp(1.0, self.exponent)

    def _take(self, x: Array, lo: float, hi: float) -> None:
        largest = max(-lo, hi)
        if largest > 0:
            # frexp: largest < 2^k, so bins of 2^(k - log2(bins)) suffice.
            self._widen(math.frexp(largest)[1] - (self.bins.bit_length() - 1))
        middle = self.bins - 1
        above = count_bins(x, self.width, self.bins) if hi > 0 else None
        below = count_bins(np.negative(x), self.width, self.bins) if lo < 0 else None
        center = x.size
        if above is not None:
            self.counts[middle + 1 :] += above[1:]
            center -= int(above[1:].sum())
        if below is not None:
            self.counts[:middle] += below[:0:-1]
            center -= int(below[1:].sum())
        self.counts[middle] += center

    def _widen(self, exponent: int) -> None:
        shift = exponent - self.exponent
        if shift <= 0:
            return
        self.exponent = exponent
        k = np.arange(1 - self.bins, self.bins)
        target = np.sign(k) * (np.abs(k) >> min(shift, 62)) + self.bins - 1
        merged = np.zeros_like(self.counts)
        np.add.at(merged, target, self.counts)
        self.counts = merged

    def _merge(self, other: Histogram) -> None:
        mine = self
        theirs = Histogram(other.bins)
        theirs.exponent, theirs.counts = other.exponent, other.counts
        mine._widen(theirs.exponent)
        theirs._widen(mine.exponent)
        mine.counts = mine.counts + theirs.counts

    def edges(self) -> tuple[Array, Array]:
        """Lower and upper edge of each bin, float64[2 * bins - 1], never outside [lo, hi]."""
        k = np.arange(1 - self.bins, self.bins, dtype=np.float64)
        lower = np.where(k <= 0, k - 1, k) * self.width
        upper = np.where(k >= 0, k + 1, k) * self.width
        return np.clip(lower, self.lo, self.hi), np.clip(upper, self.lo, self.hi)

    def quantile(self, share: float) -> float:
        """The value below which ``share`` (0 to 1) of all values lie, linear within a bin."""
        if share <= 0.0:
            return self.lo
        if share >= 1.0:
            return self.hi
        lower, upper = self.edges()
        total = np.cumsum(self.counts)
        rank = share * self.count
        i = int(np.searchsorted(total, rank))
        before = float(total[i] - self.counts[i])
        return float(lower[i] + (upper[i] - lower[i]) * (rank - before) / float(self.counts[i]))

    def _range(self) -> tuple[float, float]:
        return self.lo, self.hi

    def _settings(self) -> dict[str, float]:
        return {"bins": self.bins}

    def _state(self) -> _State:
        # Few bins of a wide tail are in use, and the npz is compressed: store them all.
        return {"exponent": self.exponent, "counts": self.counts}

    def _restore(self, state: _State) -> None:
        self.exponent = int(state["exponent"])
        counts = np.asarray(state["counts"], np.int64).copy()
        if (
            counts.shape != self.counts.shape
            or (counts < 0).any()
            or int(counts.sum()) != self.count
            or not self._MIN_EXPONENT <= self.exponent <= 128
        ):
            raise ValueError("a histogram that does not add up")
        self.counts = counts


class Percentile(Histogram):
    """The range that leaves ``100 - percentile`` percent of the values out on either side."""

    kind = "percentile"

    def __init__(self, percentile: float = 99.99, bins: int = 2048) -> None:
        super().__init__(bins)
        if not 50.0 < percentile <= 100.0:
            raise InputError(f"percentile is {percentile}; it must be in (50, 100]")
        self.percentile = percentile

    def _range(self) -> tuple[float, float]:
        share = self.percentile / 100
        return self.quantile(1.0 - share), self.quantile(share)

    def _settings(self) -> dict[str, float]:
        return {"percentile": self.percentile, "bins": self.bins}


class MeanSquaredError(Histogram):
    """The range whose 8-bit quantization has the least mean squared error on the histogram.

    Values within the range cost step^2 / 12 (uniform rounding error), values outside the square of
    their distance to it. All pairs of 128 candidates on either side are tried.
    """

    kind = "mse"
    _CANDIDATES = 128

    def _range(self) -> tuple[float, float]:
        lower, upper = self.edges()
        x = (lower + upper) / 2
        shares = np.linspace(1 / self._CANDIDATES, 1.0, self._CANDIDATES)
        lows = shares * min(self.lo, 0.0) if self.lo < 0 else np.zeros(1)
        highs = shares * max(self.hi, 0.0) if self.hi > 0 else np.zeros(1)
        total = float(self.count)
        below = np.asarray([(self.counts * np.minimum(x - v, 0) ** 2).sum() for v in lows])
        above = np.asarray([(self.counts * np.maximum(x - v, 0) ** 2).sum() for v in highs])
        step = (highs[None, :] - lows[:, None]) / 255
        error = (below[:, None] + above[None, :]) / total + step**2 / 12
        i, j = np.unravel_index(int(error.argmin()), error.shape)
        return float(lows[i]), float(highs[j])


KINDS: dict[str, type[Observer]] = {
    kind.kind: kind for kind in (MinMax, MovingAverage, Percentile, MeanSquaredError)
}


def make(method: str, *, percentile: float, bins: int, momentum: float) -> Observer:
    """A new observer for a calibration method.

    Raises:
        InputError: the method does not exist, or a setting is out of range.
    """
    if method == "minmax":
        return MinMax()
    if method == "moving_average":
        return MovingAverage(momentum)
    if method == "percentile":
        return Percentile(percentile, bins)
    if method == "mse":
        return MeanSquaredError(bins)
    raise InputError(f"unknown calibration method '{method}'; choose one of {sorted(KINDS)}")
