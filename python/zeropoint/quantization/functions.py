"""The functions behind lookup tables, in float64: what an int8 node computes at author time.

Math libraries differ between machines in the last bits, so a table is computed once, when the model
is written, and stored in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from zeropoint.graph import Array, Node, QuantParams
from zeropoint.quantization.affine import QMAX, QMIN, dequantized_levels
from zeropoint.reference_shape import real

_Function = Callable[[Array], Array]


def _each(function: Callable[[float], float]) -> _Function:
    return lambda x: np.asarray([function(float(v)) for v in x.reshape(-1)]).reshape(x.shape)


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


def _softplus(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


_erf = _each(math.erf)
_SIMPLE: dict[str, _Function] = {
    "abs": np.abs,
    "erf": _erf,
    "exp": np.exp,
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "log": np.log,
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "neg": np.negative,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "softplus": _softplus,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}


def evaluate(node: Node, x: Array) -> Array:
    """A unary node (prelu apart) on float64 values, as ONNX defines the operator.

    Outside a function's domain (the square root or logarithm of a negative number) the result is
    that at the domain's edge; a table has to hold something there, and calibrated data never ask.
    """
    if node.op == "clip":
        return np.asarray(np.clip(x, real(node, "min", -np.inf), real(node, "max", np.inf)))
    if node.op == "elu":
        return np.where(x < 0, real(node, "alpha", 1.0) * np.expm1(np.minimum(x, 0)), x)
    if node.op == "leaky_relu":
        return np.where(x < 0, real(node, "alpha", 0.01) * x, x)
    if node.op == "hard_sigmoid":
        return np.asarray(np.clip(real(node, "alpha", 0.2) * x + real(node, "beta", 0.5), 0, 1))
    if node.op in ("sqrt", "log"):
        x = np.maximum(x, 0)
    with np.errstate(divide="ignore", over="ignore"):
        return _SIMPLE[node.op](x)


def table(levels: Array, out: QuantParams) -> Array:
    """int8: real results (float64, [256] or [C, 256]) quantized by ``out``."""
    q = np.rint(levels / float(out.scale.item())) + int(out.zero_point.item())
    return np.asarray(np.clip(q, QMIN, QMAX).astype(np.int8))


def unary_table(node: Node, x: QuantParams, out: QuantParams) -> Array:
    return table(evaluate(node, dequantized_levels(x)), out)


def prelu_table(slope: Array, x: QuantParams, out: QuantParams) -> Array:
    """[256] for one slope, [C, 256] for a slope per channel."""
    levels = dequantized_levels(x)
    slopes = slope.astype(np.float64).reshape(-1, 1)
    results = np.where(levels < 0, slopes * levels, levels)
    return table(results[0] if len(slopes) == 1 else results, out)


def softmax_table(x: QuantParams) -> Array:
    """float32[256]: ``exp(-scale_x * d)`` for d = 0 ... 255."""
    return np.exp(-float(x.scale.item()) * np.arange(256, dtype=np.float64)).astype(np.float32)
