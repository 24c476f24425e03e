"""Shapes, windows and data movement of the reference executor: the same for every dtype."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeropoint.errors import GraphError
from zeropoint.graph import Array, Node
from zeropoint.shapes import slice_bounds


def ints(node: Node, key: str, default: list[int] | None = None) -> list[int]:
    """A list-of-integers attribute; GraphError where it is required and absent."""
    value = node.attrs.get(key, default)
    if value is None:
        raise GraphError(f"node '{node.name}' ({node.op}): attribute '{key}' is missing")
    if isinstance(value, (str, float, int)):
        raise GraphError(f"node '{node.name}' ({node.op}): attribute '{key}' must be a list")
    return [int(v) for v in value]


def integer(node: Node, key: str, default: int | None = None) -> int:
    value = node.attrs.get(key, default)
    if not isinstance(value, (int, np.integer)):
        raise GraphError(f"node '{node.name}' ({node.op}): attribute '{key}' must be an integer")
    return int(value)


def real(node: Node, key: str, default: float) -> float:
    value = node.attrs.get(key, default)
    if isinstance(value, (str, list)):
        raise GraphError(f"node '{node.name}' ({node.op}): attribute '{key}' must be a number")
    return float(value)


# -- windows --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution or pooling window over [N, H, W, C]."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]

    @staticmethod
    def of(node: Node, kernel: tuple[int, ...] | list[int]) -> Window:
        s = ints(node, "strides", [1, 1])
        p = ints(node, "pads", [0, 0, 0, 0])
        d = ints(node, "dilations", [1, 1])
        return Window((kernel[0], kernel[1]), (s[0], s[1]), (p[0], p[1], p[2], p[3]), (d[0], d[1]))

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(size + pads - extent) / stride + 1 along both axes."""
        sizes = []
        for axis, size in enumerate((height, width)):
            extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            padded = size + self.pads[axis] + self.pads[axis + 2]
            if extent > padded:
                raise GraphError(f"a window of {extent} does not fit an input of {padded}")
            sizes.append((padded - extent) // self.strides[axis] + 1)
        return sizes[0], sizes[1]

    def patches(self, x: Array, pad_value: float) -> Iterator[tuple[int, int, Array]]:
        """(ky, kx, [N, OH, OW, C] of the inputs that this tap reads), taps in order."""
        top, left, bottom, right = self.pads
        out_h, out_w = self.output_size(x.shape[1], x.shape[2])
        padded = np.pad(
            x,
            ((0, 0), (top, bottom), (left, right), (0, 0)),
            constant_values=x.dtype.type(pad_value),
        )
        (sh, sw), (dh, dw) = self.strides, self.dilations
        for ky in range(self.kernel[0]):
            for kx in range(self.kernel[1]):
                rows = slice(ky * dh, ky * dh + (out_h - 1) * sh + 1, sh)
                columns = slice(kx * dw, kx * dw + (out_w - 1) * sw + 1, sw)
                yield ky, kx, padded[:, rows, columns, :]

    def inside_taps(self, height: int, width: int) -> Array:
        """[OH, OW]: how many taps of each output pixel lie inside the input."""
        ones = np.ones((1, height, width, 1), np.int64)
        counts = [patch[0, :, :, 0] for _, _, patch in self.patches(ones, 0)]
        return np.asarray(np.sum(counts, axis=0))


class TransposedWindow:
    """Which outputs each tap of a transposed convolution adds to, and from which inputs:
    output o and input i meet at tap k where ``o = i * stride + k * dilation - pad``."""

    def __init__(self, node: Node, kernel: tuple[int, ...]) -> None:
        self.window = Window.of(node, kernel)
        self.output_padding = ints(node, "output_padding", [0, 0])

    def output_size(self, node: Node, height: int, width: int) -> tuple[int, int]:
        window, sizes = self.window, []
        for axis, size in enumerate((height, width)):
            extent = (window.kernel[axis] - 1) * window.dilations[axis] + 1
            whole = (size - 1) * window.strides[axis] + extent + self.output_padding[axis]
            sizes.append(whole - window.pads[axis] - window.pads[axis + 2])
        if min(sizes) < 1:
            raise GraphError(f"node '{node.name}' ({node.op}): the pads leave no output")
        return sizes[0], sizes[1]

    def _axis(self, axis: int, tap: int, size: int, out: int) -> tuple[slice, Array]:
        """The outputs that ``tap`` reaches, and their inputs; ``size`` stands for outside."""
        window = self.window
        shift = tap * window.dilations[axis] - window.pads[axis]
        outputs = slice(shift % window.strides[axis], out, window.strides[axis])
        inputs = (np.arange(outputs.start, out, outputs.step) - shift) // outputs.step
        return outputs, np.where((inputs < 0) | (inputs >= size), size, inputs)

    def taps(
        self, x: Array, size: tuple[int, int]
    ) -> Iterator[tuple[int, int, tuple[slice, slice], Array]]:
        """(ky, kx, slices of the outputs, [N, rows, columns, C] of their inputs), in order."""
        padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
        for ky in range(self.window.kernel[0]):
            rows, from_rows = self._axis(0, ky, x.shape[1], size[0])
            for kx in range(self.window.kernel[1]):
                columns, from_columns = self._axis(1, kx, x.shape[2], size[1])
                yield ky, kx, (rows, columns), padded[:, from_rows][:, :, from_columns]


def pool_counts(node: Node, window: Window, height: int, width: int) -> Array:
    """[OH, OW]: the divisor of an average pool at each output pixel."""
    if integer(node, "count_include_pad", 0):
        return np.full(window.output_size(height, width), window.taps, np.int64)
    return window.inside_taps(height, width)


# -- resize ---------------------------------------------------------------------------------


def _resize_axis(node: Node, axis: int, size: int) -> tuple[int, Array]:
    """The output size along ``axis`` (0 vertical, 1 horizontal) and the input coordinate of each
    output position, in float64, as ONNX Resize defines them."""
    if node.attrs.get("sizes"):
        out = ints(node, "sizes")[axis]
        scale = out / size
    else:
        scales = node.attrs.get("scales")
        if not isinstance(scales, list):
            raise GraphError(f"node '{node.name}' (resize): neither 'sizes' nor 'scales' is given")
        scale = float(scales[axis])
        out = math.floor(size * scale)
    o = np.arange(out, dtype=np.float64)
    coordinates = node.attrs.get("coordinates", "half_pixel")
    if coordinates == "half_pixel" or (coordinates == "pytorch_half_pixel" and out > 1):
        return out, (o + 0.5) / scale - 0.5
    if coordinates == "pytorch_half_pixel":
        return out, np.zeros(out)
    if coordinates == "asymmetric":
        return out, o / scale
    if coordinates == "align_corners":
        # Of the length before rounding down, where scales are given.
        length = float(out) if node.attrs.get("sizes") else size * scale
        return out, o * (size - 1) / (length - 1) if length > 1 else np.zeros(out)
    raise GraphError(f"node '{node.name}' (resize): unknown coordinates '{coordinates}'")


def nearest_indices(node: Node, axis: int, size: int) -> Array:
    """The input position that each output position copies."""
    _, x = _resize_axis(node, axis, size)
    mode = node.attrs.get("nearest_mode", "round_prefer_floor")
    rounding: dict[Any, Any] = {
        "round_prefer_floor": lambda v: np.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: np.floor(v + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if mode not in rounding:
        raise GraphError(f"node '{node.name}' (resize): unknown nearest_mode '{mode}'")
    return np.asarray(np.clip(rounding[mode](x), 0, size - 1).astype(np.int64))


def linear_taps(node: Node, axis: int, size: int) -> tuple[Array, Array, Array]:
    """(lower index, upper index, fraction in float64) of each output position."""
    _, x = _resize_axis(node, axis, size)
    x = np.clip(x, 0, size - 1)
    low = np.floor(x).astype(np.int64)
    return low, np.minimum(low + 1, size - 1), x - low


def resize_nearest(node: Node, x: Array) -> Array:
    rows = nearest_indices(node, 0, x.shape[1])
    columns = nearest_indices(node, 1, x.shape[2])
    return np.asarray(x[:, rows][:, :, columns])


# -- data movement --------------------------------------------------------------------------


def _reshape(node: Node, x: Array) -> list[Array]:
    wanted = ints(node, "shape", [])
    shape = [x.shape[i] if d == 0 else d for i, d in enumerate(wanted)]
    return [x.reshape(shape)]


def _flatten(node: Node, x: Array) -> list[Array]:
    axis = integer(node, "axis", 1)
    return [x.reshape(math.prod(x.shape[:axis]), -1)]


def _unsqueeze(node: Node, x: Array) -> list[Array]:
    for axis in sorted(ints(node, "axes")):
        x = np.expand_dims(x, axis)
    return [x]


def slice_index(node: Node, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """ONNX Slice: starts and ends are clamped, negative ones count from the end."""
    starts, ends = ints(node, "starts"), ints(node, "ends")
    axes = ints(node, "axes", list(range(len(starts))))
    steps = ints(node, "steps", [1] * len(starts))
    index = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        start, end, step = slice_bounds(start, end, step, shape[axis])
        index[axis] = slice(start, end if end >= 0 else None, step)
    return tuple(index)


def _split(node: Node, x: Array) -> list[Array]:
    ends = np.cumsum(ints(node, "sizes"))[:-1]
    return [np.asarray(part) for part in np.split(x, ends, integer(node, "axis", 0))]


def move(node: Node, x: Array) -> list[Array]:
    """reshape, flatten, squeeze, unsqueeze, transpose, slice and split."""
    if node.op == "reshape":
        return _reshape(node, x)
    if node.op == "flatten":
        return _flatten(node, x)
    if node.op == "squeeze":
        return [x.squeeze(tuple(ints(node, "axes")))]
    if node.op == "unsqueeze":
        return _unsqueeze(node, x)
    if node.op == "transpose":
        return [x.transpose(ints(node, "perm"))]
    if node.op == "slice":
        return [x[slice_index(node, x.shape)]]
    return _split(node, x)


def pad(node: Node, x: Array, value: Any) -> Array:
    """ONNX Pad; ``value`` is in the array's own domain. Negative pads crop."""
    pads = ints(node, "pads")
    begins, ends = pads[: x.ndim], pads[x.ndim :]
    mode = node.attrs.get("mode", "constant")
    grow = [(max(b, 0), max(e, 0)) for b, e in zip(begins, ends, strict=True)]
    if mode == "constant":
        x = np.pad(x, grow, constant_values=value)
    elif mode == "reflect":
        x = np.pad(x, grow, mode="reflect")
    elif mode == "edge":
        x = np.pad(x, grow, mode="edge")
    else:
        raise GraphError(f"node '{node.name}' (pad): unknown mode '{mode}'")
    crop = [
        slice(max(-b, 0), size - max(-e, 0))
        for b, e, size in zip(begins, ends, x.shape, strict=True)
    ]
    return np.asarray(x[tuple(crop)])


def argmax(node: Node, x: Array) -> Array:
    """The scan of ``csrc/ops/argmax.cpp``: a NaN neither wins nor is replaced."""
    axis = integer(node, "axis", 0)
    last = bool(integer(node, "select_last", 0))
    slices = np.moveaxis(x, axis, 0)
    maximum, best = slices[0], np.zeros(slices.shape[1:], np.int64)
    for i, candidate in enumerate(slices[1:], 1):
        wins = candidate >= maximum if last else candidate > maximum
        maximum, best = np.where(wins, candidate, maximum), np.where(wins, i, best)
    if integer(node, "keepdims", 1):
        best = np.expand_dims(best, axis)
    return np.asarray(best, np.int64)
