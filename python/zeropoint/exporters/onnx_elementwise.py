"""Elementwise functions, lookup tables, softmax and normalization as ONNX operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from zeropoint import reference_float, reference_int8
from zeropoint.exporters.onnx_writer import Order, Writer, identity
from zeropoint.graph import Array, Attribute, Node, QuantParams
from zeropoint.operators import UNARY
from zeropoint.reference_shape import integer, real

#: An ONNX operator with its inputs and attributes, yet to be written.
_Step = tuple[str, list[str], dict[str, Any]]

_NAMES = {
    "abs": "Abs", "erf": "Erf", "exp": "Exp", "hard_swish": "HardSwish", "log": "Log",
    "neg": "Neg", "relu": "Relu", "sigmoid": "Sigmoid", "softplus": "Softplus", "sqrt": "Sqrt",
    "tanh": "Tanh", "elu": "Elu", "leaky_relu": "LeakyRelu", "hard_sigmoid": "HardSigmoid",
}  # fmt: skip
_ATTRIBUTES = {
    "elu": {"alpha": 1.0},
    "leaky_relu": {"alpha": 0.01},
    "hard_sigmoid": {"alpha": 0.2, "beta": 0.5},
}


# -- functions ----------------------------------------------------------------------------------


def unary(writer: Writer, node: Node) -> None:
    order = writer.order(node.inputs[0])
    op, inputs, attrs = _function(writer, node, writer.real(node.inputs[0], order))
    writer.emit(node, op, inputs, order, **attrs)


def _function(writer: Writer, node: Node, x: str) -> _Step:
    """The last ONNX operator of a unary function of ``x``; those before it are written."""
    if node.op in _NAMES:
        attrs = {key: real(node, key, v) for key, v in _ATTRIBUTES.get(node.op, {}).items()}
        return _NAMES[node.op], [x], attrs
    if node.op == "clip":
        bounds = (real(node, "min", -np.inf), real(node, "max", np.inf))
        low, high = ("" if np.isinf(bound) else writer.scalar(bound) for bound in bounds)
        return "Clip", [x, low, high] if high else [x, low], {}

    def step(op: str, inputs: list[str], what: str) -> str:
        return writer.add(op, inputs, f"{node.name}_{what}")

    if node.op == "silu":
        return "Mul", [x, step("Sigmoid", [x], "sigmoid")], {}
    if node.op == "mish":
        return "Mul", [x, step("Tanh", [step("Softplus", [x], "softplus")], "tanh")], {}
    if node.op == "gelu":
        # The sequence of operators that runtimes know as GELU.
        inner = step("Erf", [step("Div", [x, writer.scalar(math.sqrt(2))], "scaled")], "erf")
    else:
        cube = step("Mul", [step("Mul", [x, x], "square"), x], "cube")
        sum_ = step("Add", [x, step("Mul", [cube, writer.scalar(0.044715)], "term")], "sum")
        scaled = step("Mul", [sum_, writer.scalar(math.sqrt(2 / math.pi))], "scaled")
        inner = step("Tanh", [scaled], "tanh")
    gate = step("Add", [inner, writer.scalar(1.0)], "gate")
    return "Mul", [step("Mul", [x, gate], "gated"), writer.scalar(0.5)], {}


def power(writer: Writer, node: Node) -> None:
    order = writer.order(node.inputs[0])
    exponent = writer.scalar(real(node, "exponent", 1.0))
    writer.emit(node, "Pow", [writer.real(node.inputs[0], order), exponent], order)


def cast(writer: Writer, node: Node) -> None:
    order = writer.order(node.inputs[0])
    to = writer.element_type(str(node.attrs["to"]))
    writer.emit(node, "Cast", [writer.form(node.inputs[0], order)], order, to=to)


_BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min",
           "prelu": "PRelu"}  # fmt: skip


def binary(writer: Writer, node: Node) -> None:
    order = writer.common_order(node.inputs[:2], writer.rank(node.outputs[0]))
    inputs = [_broadcast(writer, name, order) for name in node.inputs[:2]]
    writer.emit(node, _BINARY[node.op], inputs, order)


def _broadcast(writer: Writer, name: str, order: Order) -> str:
    """An operand that broadcasts against values in ``order``."""
    rank = writer.rank(name)
    if rank == len(order):
        return writer.real(name, order)
    if order == identity(len(order)) or all(dim == 1 for dim in writer.shape(name)):
        return writer.real(name)
    # A constant of lower rank: common_order lets no other have one here.
    value = writer.graph.value(name)
    data = writer.graph.constant(name)
    data = data.reshape((1,) * (len(order) - rank) + data.shape).transpose(order)
    stored = writer.constant(data, f"{name}_broadcast")
    if value.quant is None:
        return stored
    return writer.dequantized(stored, value.quant, "int8", f"{name}_dequantized")


# -- tables -------------------------------------------------------------------------------------


def lookup(writer: Writer, node: Node) -> None:
    """The function between DequantizeLinear and QuantizeLinear where float32 arithmetic gives the
    table with it; else the table itself, read by Gather."""
    name, result = node.inputs[0], node.outputs[0]
    table = writer.graph.constant(node.inputs[1])
    order = writer.order(name)
    if writer.is_quantized(name) and writer.is_quantized(result):
        x, y = writer.params(name), writer.params(result)
        if node.attrs.get("function") == "requantize" and np.array_equal(
            table, reference_int8.quantize(_levels(x), y)
        ):
            source = writer.real(name, order)
            writer.open(result, order)
            writer.close(result, source, node=node.name)
            return
        if table.ndim == 2:
            slopes = _slopes(table, x, y)
            if node.attrs.get("function") == "prelu" and slopes is not None:
                shape = [len(slopes) if axis == len(order) - 1 else 1 for axis in order]
                slope = writer.constant(slopes.reshape(shape), f"{node.name}_slope")
                writer.emit(node, "PRelu", [writer.real(name, order), slope], order)
                return
        else:
            for candidate in _candidates(node, table, x, y):
                levels = reference_float.unary(candidate, _levels(x))
                if np.array_equal(table, reference_int8.quantize(levels, y)):
                    op, inputs, attrs = _function(writer, candidate, writer.real(name, order))
                    writer.emit(node, op, inputs, order, **attrs)
                    return
    _gather(writer, node, table, order)


def _levels(params: QuantParams) -> Array:
    """The real numbers of all int8 values, as DequantizeLinear computes them."""
    return reference_int8.dequantize(np.arange(-128, 128).astype(np.int8), params)


def _candidates(node: Node, table: Array, x: QuantParams, y: QuantParams) -> Iterator[Node]:
    """Functions that a table may hold: its name is known, its attributes are not."""
    function = str(node.attrs.get("function", ""))

    def candidate(op: str, **attrs: Attribute) -> Node:
        return Node(node.name, op, [], [], attrs)

    if function == "clip":
        low, high = (float(v) for v in reference_int8.dequantize(_ends(table), y))
        yield candidate("clip", min=low, max=high)
    elif function in ("leaky_relu", "prelu"):
        slopes = _slopes(table[None], x, y)
        if slopes is not None:
            yield candidate("leaky_relu", alpha=float(slopes[0]))
    elif function == "elu":
        levels = _levels(x)
        factors = _factors(table[None], levels, np.expm1(np.minimum(levels, 0.0)), y)
        yield candidate(function, alpha=float(factors[0]))
    elif function == "hard_sigmoid":
        yield candidate(function, alpha=1 / 6, beta=0.5)
        yield candidate(function, alpha=0.2, beta=0.5)
    elif function in UNARY:
        yield candidate(function)


def _ends(table: Array) -> Array:
    return np.asarray([table.min(), table.max()])


def _slopes(table: Array, x: QuantParams, y: QuantParams) -> Array | None:
    """float32[C]: slopes for negative values that give the rows of ``table`` [C, 256], or None."""
    levels = _levels(x)
    slopes = _factors(table, levels, np.asarray(levels, np.float64), y)
    results = np.where(levels < 0, slopes[:, None] * levels, levels).astype(np.float32)
    return slopes if np.array_equal(table, reference_int8.quantize(results, y)) else None


def _factors(table: Array, levels: Array, basis: Array, y: QuantParams) -> Array:
    """float32[C]: the middle of the range of factors f for which ``f * basis`` rounds to each row
    of ``table`` [C, 256], for the negative ``levels``; entries that saturate bound one side."""
    below = levels < 0
    found = table[:, below]
    steps = found.astype(np.float64) - float(y.zero_point.item())
    lower = np.where(found == -128, -np.inf, steps - 0.5)
    upper = np.where(found == 127, np.inf, steps + 0.5)
    edges = np.stack([lower, upper]) * float(y.scale.item()) / basis[below]
    low = edges.min(axis=0).max(axis=1, initial=-1e3)
    high = edges.max(axis=0).min(axis=1, initial=1e3)
    return np.asarray((low + high) / 2, np.float32)


def _gather(writer: Writer, node: Node, table: Array, order: Order) -> None:
    name, result = node.inputs[0], node.outputs[0]
    index = writer.add(
        "Cast", [writer.form(name, order, "uint8")], f"{node.name}_index",
        to=writer.element_type("int32"),
    )  # fmt: skip
    if table.ndim == 2:
        channels = len(table)
        shape = [channels if axis == len(order) - 1 else 1 for axis in order]
        rows = (256 * np.arange(channels, dtype=np.int32)).reshape(shape)
        offsets = writer.constant(rows, f"{node.name}_rows")
        index = writer.add("Add", [index, offsets], f"{node.name}_place")
    writer.open(result, order)
    entries = table.reshape(-1)
    if writer.dtype(result) == "uint8":
        entries = (entries.astype(np.int16) + 128).astype(np.uint8)
    stored = writer.constant(entries, f"{node.inputs[1]}_entries")
    writer.add("Gather", [stored, index], "", out=writer.stored(result), node=node.name, axis=0)


# -- softmax and normalization ------------------------------------------------------------------


def softmax(writer: Writer, node: Node) -> None:
    name, axis = node.inputs[0], integer(node, "axis", -1)
    order = writer.order(name)
    moved = order.index(axis % len(order))
    writer.emit(node, "Softmax", [writer.real(name, order)], order, axis=moved)


def layer_norm(writer: Writer, node: Node) -> None:
    inputs = [writer.real(name) for name in node.inputs if name]
    writer.emit(
        node, "LayerNormalization", inputs,
        axis=integer(node, "axis", -1), epsilon=real(node, "epsilon", 1e-5),
    )  # fmt: skip


def quantize(writer: Writer, node: Node) -> None:
    order = writer.order(node.inputs[0])
    source = writer.real(node.inputs[0], order)
    writer.open(node.outputs[0], order)
    writer.close(node.outputs[0], source, node=node.name)


def dequantize(writer: Writer, node: Node) -> None:
    """The reading of the integers that other readers share."""
    name = node.inputs[0]
    order = writer.order(name)
    writer.real(name, order)
    writer.alias_real(node.outputs[0], name, order)


EXPORTERS: dict[str, Callable[[Writer, Node], None]] = {
    **dict.fromkeys(UNARY - {"prelu"}, unary),
    **dict.fromkeys(_BINARY, binary),
    "pow": power,
    "cast": cast,
    "lookup": lookup,
    "softmax": softmax,
    "layer_norm": layer_norm,
    "quantize": quantize,
    "dequantize": dequantize,
}
