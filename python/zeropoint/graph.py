"""The graph: the one data structure that importers fill, transforms rewrite and the engine runs.

A :class:`Graph` holds *values* (activations and constants) by name and *nodes* in execution order.
Operators, their attributes and their channels-last semantics are listed in
:mod:`zeropoint.operators`; every graph at every stage obeys that one meaning, float or quantized.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from zeropoint.errors import GraphError

Array = npt.NDArray[Any]
#: A dimension: a positive integer, or None where it is free until the model runs.
Dim = int | None
Attribute = int | float | str | list[int] | list[float]


@dataclass(frozen=True)
class QuantParams:
    """``real = scale * (q - zero_point)``.

    Attributes:
        scale: float32, shape () for per-tensor or (C,) for per-channel; finite and > 0.
        zero_point: int32, the same shape as ``scale``, in the int8 domain [-128, 127].
        axis: the channel axis for per-channel parameters, None for per-tensor.
    """

    scale: Array
    zero_point: Array
    axis: int | None = None

    @staticmethod
    def per_tensor(scale: float, zero_point: int) -> QuantParams:
        return QuantParams(np.asarray(scale, np.float32), np.asarray(zero_point, np.int32))

    def same(self, other: QuantParams | None) -> bool:
        return (
            other is not None
            and self.axis == other.axis
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


@dataclass
class Value:
    """An activation, or a constant where ``data`` is set.

    Attributes:
        name: unique in the graph.
        dtype: "float32", "int8", "int32" or "int64".
        shape: dimensions, None for free ones; None as a whole where it is not known yet.
        quant: quantization parameters of an int8 value (int32 biases carry none). An int8
            activation without them has run-time parameters, see :mod:`zeropoint.operators`.
        data: the constant's array.
    """

    name: str
    dtype: str = "float32"
    shape: tuple[Dim, ...] | None = None
    quant: QuantParams | None = None
    data: Array | None = None

    @property
    def is_constant(self) -> bool:
        return self.data is not None


@dataclass
class Node:
    """One operator application.

    ``inputs`` names values, "" where an optional input is left out. ``reason`` says why the node
    stays in float32 when the rest of the graph is quantized; "" otherwise.
    """

    name: str
    op: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Attribute] = field(default_factory=dict)
    reason: str = ""


@dataclass
class Graph:
    """Nodes in topological order over named values."""

    name: str = "graph"
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    #: Graph inputs and outputs of dtype int8 that callers see as uint8: ``q + 128``.
    unsigned: set[str] = field(default_factory=set)
    #: Where it came from, for messages ("model.onnx").
    source: str = ""

    # -- building ---------------------------------------------------------------------------

    def add_value(self, value: Value) -> Value:
        if value.name in self.values:
            raise GraphError(f"{self.source or self.name}: value '{value.name}' exists already")
        self.values[value.name] = value
        return value

    def add_constant(self, name: str, data: Array, quant: QuantParams | None = None) -> Value:
        data = np.ascontiguousarray(data)
        return self.add_value(Value(name, str(data.dtype), data.shape, quant, data))

    def unique_name(self, stem: str) -> str:
        """``stem``, or ``stem_1``, ``stem_2`` ... : not a value's nor a node's name yet."""
        taken = {node.name for node in self.nodes}
        if stem not in self.values and stem not in taken:
            return stem
        i = 1
        while f"{stem}_{i}" in self.values or f"{stem}_{i}" in taken:
            i += 1
        return f"{stem}_{i}"

    def copy(self) -> Graph:
        """A copy that shares constant arrays (they are never written in place)."""
        other = Graph(self.name, list(self.inputs), list(self.outputs), source=self.source)
        other.unsigned = set(self.unsigned)
        other.values = {name: copy.copy(value) for name, value in self.values.items()}
        other.nodes = [
            Node(n.name, n.op, list(n.inputs), list(n.outputs), dict(n.attrs), n.reason)
            for n in self.nodes
        ]
        return other

    # -- asking -----------------------------------------------------------------------------

    def value(self, name: str) -> Value:
        try:
            return self.values[name]
        except KeyError:
            raise GraphError(f"{self.source or self.name}: no value named '{name}'") from None

    def constant(self, name: str) -> Array:
        """The array of a constant; GraphError when ``name`` is an activation."""
        data = self.value(name).data
        if data is None:
            raise GraphError(f"{self.source or self.name}: value '{name}' is not a constant")
        return data

    def producers(self) -> dict[str, Node]:
        """The node that writes each activation."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each value, in order; a graph output adds no entry."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                if name:
                    readers.setdefault(name, []).append(node)
        return readers

    def activations(self) -> Iterator[Value]:
        return (value for value in self.values.values() if not value.is_constant)

    # -- changing ---------------------------------------------------------------------------

    def replace_uses(self, old: str, new: str) -> None:
        """Lets every reader of ``old``, the graph's outputs included, read ``new``."""
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
        if old in self.unsigned and old in self.outputs:
            self.unsigned.add(new)
        self.outputs = [new if name == old else name for name in self.outputs]
        self.unsigned &= {*self.inputs, *self.outputs}

    def remove_dead(self) -> None:
        """Drops nodes whose results nobody needs, and values that nobody mentions."""
        needed = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if any(name in needed for name in node.outputs):
                kept.append(node)
                needed.update(name for name in node.inputs if name)
        self.nodes = kept[::-1]
        mentioned = set(self.inputs) | needed
        mentioned.update(name for node in self.nodes for name in node.outputs if name)
        self.values = {name: v for name, v in self.values.items() if name in mentioned}

    def sort(self) -> None:
        """Puts nodes in topological order (stable); GraphError on a cycle or an unknown value."""
        ready = set(self.inputs) | {n for n, v in self.values.items() if v.is_constant}
        waiting, order = list(self.nodes), []
        while waiting:
            later = []
            for node in waiting:
                if all(name in ready for name in node.inputs if name):
                    order.append(node)
                    ready.update(name for name in node.outputs if name)
                else:
                    later.append(node)
            if len(later) == len(waiting):
                node = later[0]
                missing = [n for n in node.inputs if n and n not in ready]
                raise GraphError(
                    f"{self.source or self.name}: node '{node.name}' ({node.op}) reads "
                    f"{missing}, which no earlier node, input or constant provides (a cycle?)"
                )
            waiting = later
        self.nodes = order
