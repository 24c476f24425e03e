"""Calibration: from a float graph and samples to the range of every value."""

from zeropoint.calibration.run import calibrate
from zeropoint.calibration.statistics import Statistics
from zeropoint.calibration.targets import observed_values

__all__ = ["Statistics", "calibrate", "observed_values"]
