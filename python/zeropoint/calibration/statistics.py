"""Statistics: the result of calibration, an observer per value."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from zeropoint.atomic import replacing
from zeropoint.calibration.observers import Observer, make
from zeropoint.errors import CalibrationError, FileError, InputError

_FORMAT = 1
#: What NumPy and zipfile raise over a file that is damaged, or is something else.
_DAMAGED = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError),
    *(RuntimeError, SyntaxError, TypeError, ValueError, zipfile.BadZipFile, zlib.error),
)


class Statistics:
    """Ranges of a graph's values by name.

    Statistics of disjoint calibration sets can be merged; for the min-max, percentile and mse
    methods the result is that of one calibration over all the data.

    Attributes:
        method: "minmax", "moving_average", "percentile" or "mse".
        settings: the method's numbers: percentile, bins, momentum.
        samples: how many samples were seen.
    """

    def __init__(
        self,
        method: str = "minmax",
        *,
        percentile: float = 99.99,
        bins: int = 2048,
        momentum: float = 0.9,
    ) -> None:
        self.method = method
        self.settings: dict[str, Any] = {
            "percentile": float(percentile), "bins": int(bins), "momentum": float(momentum)
        }  # fmt: skip
        self.samples = 0
        self._observers: dict[str, Observer] = {}
        self._new()  # so that bad settings are refused here

    def _new(self) -> Observer:
        return make(self.method, **self.settings)

    def __contains__(self, name: object) -> bool:
        return name in self._observers

    def __iter__(self) -> Iterator[str]:
        return iter(self._observers)

    def __len__(self) -> int:
        return len(self._observers)

    def observer(self, name: str) -> Observer:
        """The observer of ``name``, a new one where there is none yet."""
        if name not in self._observers:
            self._observers[name] = self._new()
        return self._observers[name]

    def range(self, name: str) -> tuple[float, float]:
        """The range that the method chose for a value, in real units.

        Raises:
            CalibrationError: the value was not observed.
        """
        if name not in self._observers:
            raise CalibrationError(f"the value '{name}' was not observed during calibration")
        return self._observers[name].range()

    def merge(self, other: Statistics) -> Statistics:
        """New statistics over what both have seen; neither is changed.

        Raises:
            InputError: methods or settings differ, or the method cannot be merged.
        """
        if self.method != other.method or self.settings != other.settings:
            raise InputError(
                f"statistics of method {self.method} {self.settings} and {other.method} "
                f"{other.settings} cannot be merged; calibrate both alike"
            )
        merged = Statistics(self.method, **self.settings)
        merged.samples = self.samples + other.samples
        for source in (self, other):
            for name, observer in source._observers.items():
                target = merged.observer(name)
                if target.count == 0:
                    target.restore(observer.state())
                else:
                    target.merge(observer)
        return merged

    # -- files ------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a compressed ``.npz``; the suffix is not added.

        Raises:
            FileError: the file cannot be written.
        """
        arrays: dict[str, Any] = {
            "format": np.asarray(_FORMAT),
            "method": np.asarray(self.method),
            "samples": np.asarray(self.samples),
            "names": np.asarray(list(self._observers), dtype=np.str_),
        }
        for key, value in self.settings.items():
            arrays[f"setting.{key}"] = np.asarray(value)
        for i, observer in enumerate(self._observers.values()):
            for key, value in observer.state().items():
                arrays[f"{i}.{key}"] = np.asarray(value)
        with replacing(path) as file:
            np.savez_compressed(file, **arrays)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Statistics:
        """Reads what :meth:`save` wrote.

        Raises:
            FileError: the file cannot be read, or does not hold statistics.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return Statistics._from_arrays(arrays)
        except OSError as error:
            raise FileError(f"cannot read the statistics {path}: {error}") from error
        except _DAMAGED as error:
            raise FileError(
                f"{path} does not hold calibration statistics ({error}); write it with "
                "Statistics.save"
            ) from error

    @staticmethod
    def _from_arrays(arrays: Any) -> Statistics:
        if int(arrays["format"]) != _FORMAT:
            raise ValueError(f"format {int(arrays['format'])}, expected {_FORMAT}")
        settings = {k: arrays[f"setting.{k}"].item() for k in ("percentile", "bins", "momentum")}
        statistics = Statistics(str(arrays["method"]), **settings)
        statistics.samples = int(arrays["samples"])
        for i, name in enumerate(arrays["names"].tolist()):
            observer = statistics.observer(name)
            keys = observer.state().keys()
            observer.restore({key: arrays[f"{i}.{key}"] for key in keys})
        return statistics
