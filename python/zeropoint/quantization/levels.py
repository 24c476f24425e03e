"""Chains of element-wise operators as functions of one int8 value: 256 levels, or 256 a channel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zeropoint.graph import Array, Graph, Node
from zeropoint.operators import UNARY
from zeropoint.quantization import functions
from zeropoint.quantization.affine import dequantized_levels
from zeropoint.reference_shape import real

_BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


@dataclass(frozen=True)
class Levelled:
    """A value as a function of ``root``, a float value that came out of int8.

    Attributes:
        root: its name.
        values: float64 [256], or [C, 256] with the channels of the last axis.
        functions: the operators on the way, for people: "div+erf".
    """

    root: str
    values: Array
    functions: str


class Levels:
    """Finds and evaluates such chains, in float64."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._producers = graph.producers()
        self._found: dict[str, Levelled | None] = {}

    def of(self, name: str) -> Levelled | None:
        """``name`` as a function of one int8 value; None where it is not one."""
        # Nodes are in topological order, and asked for in it: the recursion stays shallow.
        if name not in self._found:
            node = self._producers.get(name)
            self._found[name] = None if node is None else self._evaluate(node)
        return self._found[name]

    def _evaluate(self, node: Node) -> Levelled | None:
        if node.op == "dequantize":
            quant = self._graph.value(node.inputs[0]).quant
            if quant is None or quant.scale.ndim or self._graph.value(node.inputs[0]).is_constant:
                return None
            return Levelled(node.outputs[0], dequantized_levels(quant), "")
        if node.op in UNARY:
            x = self.of(node.inputs[0])
            if x is None:
                return None
            return self._checked(node, x, self._unary(node, x))
        return self._binary(node) if node.op in _BINARY else None

    def _unary(self, node: Node, x: Levelled) -> Array | None:
        if node.op != "prelu":
            return functions.evaluate(node, x.values)
        slope = self._per_channel(node.inputs[1], x.root)
        return None if slope is None else np.where(x.values < 0, slope * x.values, x.values)

    def _binary(self, node: Node) -> Levelled | None:
        operands: list[Levelled | Array] = []
        levelled: list[Levelled] = []
        for name in node.inputs:
            if self._graph.value(name).is_constant:
                continue
            found = self.of(name)
            if found is None or (levelled and found.root != levelled[0].root):
                return None
            levelled.append(found)
        if not levelled:
            return None
        for name in node.inputs:
            if self._graph.value(name).is_constant:
                constant = self._per_channel(name, levelled[0].root)
                if constant is None:
                    return None
                operands.append(constant)
            else:
                operands.append(levelled[0] if not operands else levelled[-1])
        a, b = (x.values if isinstance(x, Levelled) else x for x in operands)
        with np.errstate(all="ignore"):
            y = _BINARY[node.op](a, b)
        y = np.clip(y, real(node, "clip_min", -math.inf), real(node, "clip_max", math.inf))
        return self._checked(node, levelled[0], y)

    def _checked(self, node: Node, x: Levelled, y: Array | None) -> Levelled | None:
        same = self._graph.value(node.outputs[0]).shape == self._graph.value(x.root).shape
        if y is None or not same or not np.all(np.isfinite(y)):
            return None
        y = np.asarray(y, np.float64).reshape(-1, 256)
        steps = f"{x.functions}+{node.op}" if x.functions else node.op
        return Levelled(x.root, y[0] if len(y) == 1 else y, steps)

    def _per_channel(self, name: str, root: str) -> Array | None:
        """A constant operand as [1, 1] or [C, 1]; None where it differs within a channel."""
        data, shape = self._graph.value(name).data, self._graph.value(root).shape
        if data is None or not shape or data.ndim > len(shape) or data.dtype != np.float32:
            return None
        if data.size != 1 and (data.shape[-1] != data.size or data.size != shape[-1]):
            return None
        return data.astype(np.float64).reshape(-1, 1)
