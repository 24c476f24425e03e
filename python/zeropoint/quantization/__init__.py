"""Quantization: from a float graph and statistics to an int8 model."""

from zeropoint.quantization.config import Config
from zeropoint.quantization.rewrite import quantize

__all__ = ["Config", "quantize"]
