"""TFLite operators with weights or windows: convolutions, dense layers, pools, means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zeropoint.errors import ModelError
from zeropoint.graph import Array, Dim, QuantParams
from zeropoint.importers.tflite_context import (
    Context,
    FreeShape,
    Unsupported,
    is_quantized,
    per_tensor_params,
    signed,
)
from zeropoint.importers.tflite_options import PADDINGS
from zeropoint.importers.tflite_reader import Operator, Tensor
from zeropoint.quantization.affine import overflowing_channel

Handler = Callable[[Context, Operator], None]
_TINY = float(np.finfo(np.float32).tiny)


# -- geometry ---------------------------------------------------------------------------------


def positive(op: Operator, *keys: str) -> list[int]:
    values = [int(op.options[key]) for key in keys]
    if any(not 0 < v < 2**31 for v in values):
        raise ModelError(f"{', '.join(keys)} are {values}; they are positive")
    return values


def is_same(op: Operator) -> bool:
    code = op.options["Padding"]
    if not 0 <= code < len(PADDINGS):
        raise ModelError(f"it has the padding {code}, which does not exist")
    return PADDINGS[code] == "SAME"


def same_pads(
    size: tuple[Dim, Dim], kernel: list[int], strides: list[int], dilations: list[int]
) -> list[int]:
    """TensorFlow's SAME: ceil(size / stride) outputs, the odd row of padding at the end."""
    begin, end = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        extent = (k - 1) * d + 1
        if n is None:
            if s != 1:
                raise FreeShape("SAME padding with strides depends on an image size that is free")
            n = 1  # with stride 1 the padding is the same for every size
        total = max((-(-n // s) - 1) * s + extent - n, 0)
        begin.append(total // 2)
        end.append(total - total // 2)
    return begin + end


def image_size(c: Context, name: str) -> tuple[Dim, Dim]:
    shape = c.shape(name)
    if len(shape) != 4:
        raise ModelError(f"'{name}' has {len(shape)} dimensions; an image has 4")
    return shape[1], shape[2]


def window(c: Context, op: Operator, x: str, kernel: list[int], dilated: bool) -> dict[str, Any]:
    strides = positive(op, "StrideH", "StrideW")
    dilations = positive(op, "DilationHFactor", "DilationWFactor") if dilated else [1, 1]
    size = image_size(c, x)
    pads = same_pads(size, kernel, strides, dilations) if is_same(op) else [0, 0, 0, 0]
    return {"strides": strides, "pads": pads, "dilations": dilations}


# -- weights ----------------------------------------------------------------------------------


def weight_params(tensor: Tensor, axis: int) -> tuple[QuantParams, Array]:
    """Parameters of int8 weights whose output channels will lie along axis 0, and which channels
    are dead: a scale of (nearly) nothing makes their weights nothing."""
    quant = tensor.quant
    if quant is None:
        raise ModelError(f"{tensor} is {tensor.dtype} but has no scale")
    if quant.axis not in (None, axis):
        raise Unsupported(f"{tensor} has a scale for each entry of axis {quant.axis}, not {axis}")
    zero_point = quant.zero_point - (128 if tensor.dtype == "uint8" else 0)
    if ((zero_point < -128) | (zero_point > 127)).any():
        raise ModelError(f"{tensor} has a zero point outside of {tensor.dtype}")
    dead = quant.scale < _TINY
    scale = np.where(dead, 1.0, quant.scale).astype(np.float32)
    zeros = zero_point.astype(np.int32)
    if quant.axis is None:
        return QuantParams(scale[0].reshape(()), zeros[0].reshape(()), None), dead
    return QuantParams(scale, zeros, 0), dead


def layer(
    c: Context,
    op: Operator,
    kind: str,
    x: str,
    w_at: int,
    bias_at: int,
    channel_axis: int,
    arrange: Callable[[Array], Array],
    attrs: dict[str, Any],
) -> None:
    """Emits a layer with constant weights.

    Args:
        channel_axis: the axis of the output channels in the file's weights.
        arrange: brings the file's weights to the graph's layout, output channels first.
    """
    w = c.tensor(op, w_at)
    raw = c.need_constant(op, w_at, "the weights")
    if c.is_int8(x) != is_quantized(c.result(op)):
        raise Unsupported(f"its input is {c.tensor(op, 0).dtype}, its output {c.result(op).dtype}")
    inputs = [x]
    if not c.is_int8(x):
        # Weights alone may be quantized; they are then read as the floats that they stand for.
        inputs.append(c.add_constant(w, _contiguous(arrange(c.real(w, raw))), role=kind))
        if c.has(op, bias_at):
            bias = c.floats(op, bias_at, "the bias").reshape(-1)
            inputs.append(c.add_constant(c.tensor(op, bias_at), bias, role="bias"))
    else:
        if w.dtype not in ("int8", "uint8", "int4"):
            raise Unsupported(f"{w} is {w.dtype}; int8 layers take int8 or uint8 weights")
        params, dead = weight_params(w, channel_axis)
        data = _contiguous(arrange(signed(w, raw)))
        int_bias = _int_bias(c, op, bias_at)
        if dead.any():
            data = data.copy()
            data[dead if params.axis == 0 else slice(None)] = 0
            if int_bias is not None:
                int_bias = np.where(dead, 0, int_bias).astype(np.int32)
        zero_x = int(c.params(x).zero_point.item())
        if int_bias is not None and int_bias.shape != data.shape[:1]:
            raise ModelError(f"{c.tensor(op, bias_at)} has not one entry a channel")
        channel = overflowing_channel(data, params, int_bias, zero_x)
        if channel >= 0:
            raise Unsupported(f"output channel {channel} could overflow its 32-bit accumulator")
        inputs.append(c.add_constant(w, data, params, role=kind))
        if int_bias is not None:
            inputs.append(c.add_constant(c.tensor(op, bias_at), int_bias, role="bias"))

    c.fused(op, lambda y, clip: c.emit(kind, inputs, y, **attrs, **clip), clips=True)


def _contiguous(array: Array) -> Array:
    return np.ascontiguousarray(array)


def _int_bias(c: Context, op: Operator, at: int) -> Array | None:
    """The bias in units of scale_x * scale_w, as it is; its own scale only repeats theirs."""
    if not c.has(op, at):
        return None
    tensor, data = c.tensor(op, at), c.need_constant(op, at, "the bias")
    if tensor.dtype != "int32":
        raise Unsupported(f"{tensor} is {tensor.dtype}; the bias of an int8 layer is int32")
    if tensor.quant is not None and tensor.quant.zero_point.any():
        raise ModelError(f"{tensor} is a bias with a zero point")
    return np.ascontiguousarray(data.reshape(-1), np.int32)


def weight_shape(c: Context, op: Operator, at: int, rank: int) -> tuple[int, ...]:
    shape = c.need_constant(op, at, "the weights").shape
    if len(shape) != rank or 0 in shape:
        raise ModelError(f"the weights {c.tensor(op, at)} have the shape {list(shape)}")
    return shape


def conv(c: Context, op: Operator) -> None:
    x = c.value(op, 0)
    _, kh, kw, depth = weight_shape(c, op, 1, 4)
    channels = c.shape(x)[-1] if c.rank(x) else None
    if channels is None:
        raise FreeShape("the number of input channels is free")
    if channels % depth:
        raise ModelError(f"{channels} input channels do not divide by the filters' {depth}")
    attrs = window(c, op, x, [kh, kw], True)
    attrs["groups"] = channels // depth
    layer(c, op, "conv2d", x, 1, 2, 0, lambda w: w, attrs)


def depthwise(c: Context, op: Operator) -> None:
    """Weights [1, kh, kw, C * multiplier]; output channel c * multiplier + m reads channel c."""
    x = c.value(op, 0)
    one, kh, kw, out = weight_shape(c, op, 1, 4)
    channels = c.shape(x)[-1] if c.rank(x) else None
    if channels is None:
        raise FreeShape("the number of input channels is free")
    if one != 1 or out % channels:
        raise ModelError(f"{out} filters for {channels} input channels")
    attrs = window(c, op, x, [kh, kw], True)
    attrs["groups"] = channels
    layer(c, op, "conv2d", x, 1, 2, 3, lambda w: w.transpose(3, 1, 2, 0), attrs)


def transpose_conv(c: Context, op: Operator) -> None:
    """Inputs: output shape, weights [O, kh, kw, I], x, bias. SAME and VALID say which rows of the
    whole result are cut off to reach the output shape."""
    x = c.value(op, 2)
    _, kh, kw, _ = weight_shape(c, op, 1, 4)
    target = c.dims(op, 0, "the output shape")
    size = image_size(c, x)
    if len(target) != 4:
        raise ModelError(f"the output shape has {len(target)} entries; an image has 4")
    strides = positive(op, "StrideH", "StrideW")
    begin, end, extra = [], [], []
    for n, out, k, s in zip(size, target[1:3], (kh, kw), strides, strict=True):
        if n is None or out is None:
            raise FreeShape("the image size is free")
        total = 0
        if is_same(op):
            total = max((-(-out // s) - 1) * s + k - out, 0)
        first = total // 2
        rest = (n - 1) * s + k - first - out
        begin.append(first)
        end.append(max(rest, 0))
        extra.append(max(-rest, 0))
    if any(e >= s for e, s in zip(extra, strides, strict=True)):
        raise Unsupported(f"the output shape {target} is larger than input and strides give")
    attrs = {"strides": strides, "pads": begin + end, "dilations": [1, 1], "groups": 1}
    layer(c, op, "conv_transpose2d", x, 1, 3, 0, lambda w: w, {**attrs, "output_padding": extra})


def fully_connected(c: Context, op: Operator) -> None:
    if op.options["WeightsFormat"] != 0:
        raise Unsupported("weights in a shuffled format")
    x = c.value(op, 0)
    if c.constant(op, 1) is None:
        raise Unsupported("weights that are computed while the model runs")
    n, k = weight_shape(c, op, 1, 2)
    shape = c.shape(x)
    if not (shape and shape[-1] == k and (len(shape) == 2 or op.options["KeepNumDims"])):
        total = 1
        for dim in shape[1:]:
            total = total * dim if dim is not None else 0
        # A free batch stays free where a row is exactly one sample.
        spec = [0, k] if len(shape) > 1 and total == k else [-1, k]
        flat = c.like(x, f"{c.name(op.outputs[0])}/flat")
        x = c.emit("reshape", [x], flat, shape=spec)
    layer(c, op, "linear", x, 1, 2, 0, lambda w: w.reshape(n, k), {})


# -- pools ------------------------------------------------------------------------------------


def _pool(c: Context, op: Operator, kind: str) -> None:
    x = c.value(op, 0)
    c.quantized(op)
    kernel = positive(op, "FilterHeight", "FilterWidth")
    attrs = window(c, op, x, kernel, False)
    del attrs["dilations"]
    attrs["kernel"] = kernel
    if kind == "avg_pool2d":
        attrs["count_include_pad"] = 0
    elif c.is_int8(x):
        x = c.requantized(x, per_tensor_params(c.result(op)))
    c.fused(op, lambda y, clip: c.emit(kind, [x], y, **attrs, **clip), clips=False)


def average_pool(c: Context, op: Operator) -> None:
    _pool(c, op, "avg_pool2d")


def max_pool(c: Context, op: Operator) -> None:
    _pool(c, op, "max_pool2d")


def mean(c: Context, op: Operator) -> None:
    x = c.value(op, 0)
    rank = c.rank(x)
    axes = c.ints(op, 1, "the axes")
    if any(not -rank <= axis < rank for axis in axes):
        raise ModelError(f"the axes {axes} are outside of {rank} dimensions")
    axes = sorted({axis % rank for axis in axes})
    y = c.output(op)
    if c.quantized(op) and not axes:
        c.lookup(x, y, "requantize", lambda real: real)
        return
    c.emit("reduce_mean", [x], y, axes=axes, keepdims=int(bool(op.options["KeepDims"])))


def batch_matmul(c: Context, op: Operator) -> None:
    """Float only."""
    if c.quantized(op):
        raise Unsupported("it has no int8 form")
    names = []
    for i, key in ((0, "AdjX"), (1, "AdjY")):
        name = c.value(op, i)
        if op.options[key]:
            rank = c.rank(name)
            if rank < 2:
                raise ModelError(f"'{name}' is not a matrix")
            perm = [*range(rank - 2), rank - 1, rank - 2]
            turned = c.like(name, f"{name}/transposed")
            name = c.emit("transpose", [name], turned, perm=perm)
        names.append(name)
    c.emit("matmul", names, c.output(op))


HANDLERS: dict[str, Handler] = {
    "AVERAGE_POOL_2D": average_pool,
    "BATCH_MATMUL": batch_matmul,
    "CONV_2D": conv,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": fully_connected,
    "MAX_POOL_2D": max_pool,
    "MEAN": mean,
    "TRANSPOSE_CONV": transpose_conv,
}
