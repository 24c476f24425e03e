"""TFLite operators on single elements: arithmetic, activation functions, (de)quantization."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zeropoint.errors import ModelError
from zeropoint.graph import Array, Node
from zeropoint.importers.tflite_context import Context, Unsupported, is_quantized
from zeropoint.importers.tflite_ops_layers import Handler
from zeropoint.importers.tflite_reader import Operator
from zeropoint.quantization import functions

# -- arithmetic -------------------------------------------------------------------------------


def _binary(kind: str) -> Handler:
    def handler(c: Context, op: Operator) -> None:
        kinds = {c.tensor(op, i).dtype for i in (0, 1) if c.constant(op, i) is None}
        quantized = is_quantized(c.result(op))
        if any((dtype in ("int8", "uint8")) != quantized for dtype in kinds):
            raise Unsupported(f"it mixes {sorted(kinds)} and {c.result(op).dtype}")
        if not quantized and c.result(op).dtype != "float32":
            raise Unsupported(f"it works on {c.result(op).dtype}")
        if quantized and kind == "div":
            raise Unsupported("division has no int8 form")
        names = [c.value(op, 0), c.value(op, 1)]
        c.fused(op, lambda y, clip: c.emit(kind, names, y, **clip), clips=kind != "div")

    return handler


def _bound(kind: str) -> Handler:
    """MINIMUM and MAXIMUM with one constant number: a clip."""

    def handler(c: Context, op: Operator) -> None:
        for i in (1, 0):
            array = c.constant(op, i)
            if array is not None and array.size == 1 and c.constant(op, 1 - i) is None:
                bound = float(c.floats(op, i, "the bound").reshape(()))
                x, y = c.value(op, 1 - i), c.output(op)
                if array.ndim > c.rank(x) or c.is_int8(x) != c.is_int8(y):
                    break
                c.clip(x, y, (-math.inf, bound) if kind == "MINIMUM" else (bound, math.inf))
                return
        raise Unsupported("it is supported with one constant number only")

    return handler


# -- functions of one tensor ------------------------------------------------------------------


def _unary(kind: str, **defaults: Any) -> Handler:
    """A function that the graph has as well: a node in float, a table in int8."""

    def handler(c: Context, op: Operator) -> None:
        attrs = dict(defaults)
        name = kind
        if op.kind == "LEAKY_RELU":
            attrs["alpha"] = float(op.options["Alpha"])
        elif op.kind == "GELU" and op.options["Approximate"]:
            name = "gelu_tanh"
        x, y = c.value(op, 0), c.output(op)
        if not c.quantized(op):
            c.emit(name, [x], y, **attrs)
            return
        node = Node(name, name, [], [], attrs)
        c.lookup(x, y, name, lambda real: functions.evaluate(node, real))

    return handler


def _clip(low: float, high: float) -> Handler:
    def handler(c: Context, op: Operator) -> None:
        c.quantized(op)
        c.clip(c.value(op, 0), c.output(op), (low, high))

    return handler


def _square(c: Context, op: Operator) -> None:
    x, y = c.value(op, 0), c.output(op)
    if c.quantized(op):
        c.lookup(x, y, "square", np.square)
    else:
        c.emit("mul", [x, x], y)


def _rsqrt(c: Context, op: Operator) -> None:
    x, y = c.value(op, 0), c.output(op)
    if c.quantized(op):

        def inverse_root(real: Array) -> Array:
            # What lies outside the domain is clipped to the greatest number that fits.
            with np.errstate(divide="ignore"):
                return np.asarray(np.minimum(1 / np.sqrt(np.maximum(real, 0)), 1e30))

        c.lookup(x, y, "rsqrt", inverse_root)
        return
    root = c.like(x, f"{y}/sqrt")
    c.emit("sqrt", [x], root)
    one = c.new_constant(f"{y}/one", np.ones((), np.float32))
    c.emit("div", [one, root], y)


def _prelu(c: Context, op: Operator) -> None:
    x, y = c.value(op, 0), c.output(op)
    slope = c.floats(op, 1, "the slope")
    while slope.ndim > 1 and slope.shape[0] == 1:
        slope = slope[0]
    if not c.quantized(op):
        c.emit("prelu", [x, c.add_constant(c.tensor(op, 1), slope, role="slope")], y)
        return
    channels = c.shape(x)[-1] if c.rank(x) else None
    if slope.size != 1 and (slope.ndim != 1 or slope.size != channels):
        raise Unsupported("an int8 slope that differs within a channel")
    table = functions.prelu_table(slope, c.params(x), c.params(y))
    c.emit("lookup", [x, c.new_constant(f"{y}/table", table)], y, function="prelu")


def _softmax(c: Context, op: Operator) -> None:
    """Over the last axis; TFLite fixes the scale 1/256 of an int8 result, and the file says it."""
    x, y = c.value(op, 0), c.output(op)
    beta = float(op.options["Beta"])
    if beta <= 0:
        raise Unsupported(f"softmax with beta {beta}")
    axis = c.rank(x) - 1
    if axis < 0:
        raise ModelError("softmax of a single number")
    if c.quantized(op):
        steps = float(c.params(x).scale.item()) * beta * np.arange(256, dtype=np.float64)
        table = c.new_constant(f"{y}/table", np.exp(-steps).astype(np.float32))
        c.emit("softmax", [x, table], y, axis=axis)
        return
    if beta != 1.0:
        factor = c.new_constant(f"{y}/beta", np.asarray(beta, np.float32))
        x = c.emit("mul", [x, factor], c.like(x, f"{y}/scaled"))
    c.emit("softmax", [x], y, axis=axis)


# -- quantization -----------------------------------------------------------------------------


def _quantize(c: Context, op: Operator) -> None:
    """Float to integers, or integers with one scale to integers with another."""
    if not is_quantized(c.result(op)):
        raise Unsupported(f"it writes {c.result(op).dtype}; int8 and uint8 are supported")
    x, y = c.value(op, 0), c.output(op)
    dtype = c.graph.value(x).dtype
    if dtype == "int8":
        c.lookup(x, y, "requantize", lambda real: real)
    elif dtype == "float32":
        c.emit("quantize", [x], y)
    else:
        raise Unsupported(f"it reads {dtype}")


def _dequantize(c: Context, op: Operator) -> None:
    if c.result(op).dtype != "float32":
        raise Unsupported(f"it writes {c.result(op).dtype}, not float32")
    array = c.constant(op, 0)
    if array is not None:
        # float16 or integer weights of a float model
        c.folded[op.outputs[0]] = c.real(c.tensor(op, 0), array)
        return
    x = c.value(op, 0)
    if not c.is_int8(x):
        raise Unsupported(f"it reads {c.tensor(op, 0).dtype}; int8 and uint8 are supported")
    c.emit("dequantize", [x], c.output(op))


HANDLERS: dict[str, Handler] = {
    **{kind.upper(): _binary(kind) for kind in ("add", "sub", "mul", "div")},
    **{kind: _bound(kind) for kind in ("MINIMUM", "MAXIMUM")},
    **{kind.upper(): _unary(kind) for kind in ("abs", "exp", "log", "neg", "sqrt", "tanh")},
    "DEQUANTIZE": _dequantize,
    "ELU": _unary("elu", alpha=1.0),
    "GELU": _unary("gelu"),
    "HARD_SWISH": _unary("hard_swish"),
    "LEAKY_RELU": _unary("leaky_relu"),
    "LOGISTIC": _unary("sigmoid"),
    "PRELU": _prelu,
    "QUANTIZE": _quantize,
    "RELU": _clip(0.0, math.inf),
    "RELU6": _clip(0.0, 6.0),
    "RELU_0_TO_1": _clip(0.0, 1.0),
    "RELU_N1_TO_1": _clip(-1.0, 1.0),
    "RSQRT": _rsqrt,
    "SOFTMAX": _softmax,
    "SQUARE": _square,
}
