"""Explicit quantization becomes integer arithmetic: ``dequantize -> float node -> quantize``
becomes one int8 node with the scales, zero points and integers of the file.

Quantized files say with pairs of quantize and dequantize nodes which values exist in int8. A float
node whose operands all come out of dequantize nodes, and whose results go into quantize nodes only,
has the int8 form that :mod:`zeropoint.quantization.rewrite` gives it; instead of calibration, the
nodes around it say the parameters. Everything else keeps its float form, with its quantize and
dequantize nodes, and a ``Node.reason``. What is done first brings more nodes between such pairs and
changes no result: data movement and maxima commute with both.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from zeropoint import reference_int8
from zeropoint.graph import Array, Graph, Node, QuantParams, Value
from zeropoint.operators import MOVES, RUNTIME_PARAMETERS, UNARY, WEIGHTED
from zeropoint.quantization import affine
from zeropoint.quantization.commute import hoist_quantize, join_pairs, sink_dequantize
from zeropoint.quantization.config import Config
from zeropoint.quantization.decisions import Decisions
from zeropoint.quantization.functions import table
from zeropoint.quantization.levels import Levels
from zeropoint.quantization.rewrite import Refused, Rewrite
from zeropoint.transforms.layout import rename

#: A bias whose unit differs from the accumulator's by less than this is in the same unit.
_SAME_UNIT = 1e-5
_NOT_QUANTIZED = "its result is not quantized"
_INT8_FORM = frozenset({"add", "sub", "mul", "avg_pool2d", "reduce_mean", "argmax", "softmax"})
_DYNAMIC = RUNTIME_PARAMETERS | {"dynamic_linear"}


def integerize(graph: Graph) -> Graph:
    """The graph with int8 nodes wherever its quantize and dequantize nodes allow them.

    Args:
        graph: canonical, with float nodes between quantize and dequantize nodes. Float32 constants
            with ``quant`` are weights and operands that the file holds in int8; a bias that it
            holds in int32 is a dequantize node of an int32 constant. It is not changed; a graph
            without any of these is returned as it is.

    Returns:
        A graph in which no float32 constant has parameters any more.

    Raises:
        GraphError: the graph breaks its own rules.
    """
    ops = {node.op for node in graph.nodes}
    if not ops & ({"quantize", "dequantize"} | _DYNAMIC):
        return graph
    graph = graph.copy()
    names: dict[str, str] = {}
    sink_dequantize(graph, names)
    hoist_quantize(graph, names)
    join_pairs(graph)
    refused: dict[int, str] = {}
    while True:
        boundary = _Boundary(graph)
        decisions = boundary.decide(refused)
        try:
            result = _Integerize(graph, boundary, decisions).run()
        except Refused as refusal:
            # Each turn adds a node, so this ends.
            refused[refusal.index] = refusal.reason
        else:
            break
    _restore_names(result, {**names, **boundary.names()})
    return result


def _restore_names(graph: Graph, names: dict[str, str]) -> None:
    """Gives int8 values the names of the float values that they stand for, where those are gone."""
    fixed = {*graph.inputs, *graph.outputs}
    taken, renamed = set(graph.values), {}
    for name, base in names.items():
        while base in names and base not in graph.values:
            base = names[base]
        if name in graph.values and name not in fixed and base not in taken:
            renamed[name] = base
            taken.add(base)
    rename(graph, renamed)


class _Boundary:
    """What the quantize and dequantize nodes say about the values between them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers, self.consumers = graph.producers(), graph.consumers()
        self.levels = Levels(graph)
        #: Tables of nodes that are functions of one int8 value: (root, functions, table).
        self.tables: dict[int, tuple[str, str, Array]] = {}

    def of(self, name: str) -> QuantParams:
        """The parameters of the int8 form of a float value (see ``ParametersOf``)."""
        found = self.source(name) or self.target(name)
        assert found is not None, name
        return found

    def source(self, name: str) -> QuantParams | None:
        """The parameters of a value that came out of int8; None for all others."""
        value = self.graph.value(name)
        if value.is_constant:
            return value.quant
        node = self.producers.get(name)
        if node is None or node.op != "dequantize":
            return None
        return self.graph.value(node.inputs[0]).quant

    def quantizers(self, name: str) -> list[Node]:
        return [node for node in self.consumers.get(name, ()) if node.op == "quantize"]

    def target(self, name: str) -> QuantParams | None:
        """The parameters of a value that goes into int8 and nowhere else; None for all others."""
        return None if self.why_no_target(name) else self._quantized(name)

    def _quantized(self, name: str) -> QuantParams | None:
        quantizers = self.quantizers(name)
        return self.graph.value(quantizers[0].outputs[0]).quant if quantizers else None

    def why_no_target(self, name: str) -> str:
        """Why a value has no int8 form; "" when it has one."""
        quantizers = self.quantizers(name)
        if not quantizers:
            readers = self.consumers.get(name, [])
            if len(readers) == 1 and readers[0].op in MOVES and name not in self.graph.outputs:
                # Moved only: what it would take is a quantize node behind that.
                return self.why_no_target(readers[0].outputs[0]) or _NOT_QUANTIZED
            return _NOT_QUANTIZED
        if len(quantizers) < len(self.consumers[name]) or name in self.graph.outputs:
            return "its result is used in float32 as well"
        return "its result is quantized in several ways" if len(quantizers) > 1 else ""

    def names(self) -> dict[str, str]:
        """The float value that each quantize node's int8 value stands for."""
        return {n.outputs[0]: n.inputs[0] for n in self.graph.nodes if n.op == "quantize"}

    # -- decisions --------------------------------------------------------------------------

    def decide(self, refused: dict[int, str]) -> Decisions:
        decisions = Decisions()
        for i, node in enumerate(self.graph.nodes):
            if node.op in ("quantize", "dequantize", "lookup") or node.op in _DYNAMIC:
                continue
            first = self.graph.value(node.inputs[0])
            if first.dtype != "float32":
                continue
            reason = refused.get(i) or self._why_not(i, node)
            if reason:
                decisions.reasons[i] = reason
            else:
                decisions.int8.add(i)
        return decisions

    def _why_not(self, index: int, node: Node) -> str:
        """Why this float node has no int8 form here; "" when it has one."""
        for name in node.outputs:
            if node.op == "argmax":
                break
            reason = self.why_no_target(name) if name else ""
            if reason:
                return reason
        if node.op in WEIGHTED:
            return self._why_no_layer(node)
        if len(node.outputs) == 1 and node.op != "argmax":
            found = self.levels.of(node.outputs[0])
            if found is not None and found.root != node.outputs[0]:
                out = self.of(node.outputs[0])
                self.tables[index] = (found.root, found.functions, table(found.values, out))
                return ""
        if node.op not in _INT8_FORM and not self._same_grid(node) and node.op != "matmul":
            return f"{node.op} has no int8 form" + (" here" if node.op in UNARY else "")
        for name in node.inputs:
            params = self.source(name)
            if params is None:
                return f"its input '{name}' is not quantized"
            if params.scale.ndim:
                return f"its input '{name}' has more than one scale"
        return ""

    def _same_grid(self, node: Node) -> bool:
        """Linear resizing, which in int8 keeps the parameters."""
        if node.op != "resize":
            return False
        source = self.source(node.inputs[0])
        return source is not None and source.same(self.target(node.outputs[0]))

    def _why_no_layer(self, node: Node) -> str:
        if self.source(node.inputs[0]) is None or self.graph.value(node.inputs[0]).is_constant:
            return f"its input '{node.inputs[0]}' is not quantized"
        weight = self.graph.value(node.inputs[1])
        if weight.quant is None or weight.data is None:
            return "its weights are not quantized"
        if weight.quant.axis not in (None, 0):
            return "its weights have a scale per input, not per output channel"
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = self.graph.value(node.inputs[2])
            if bias.data is None and self.integers(node.inputs[2]) is None:
                return "its bias is not constant"
        return ""

    def integers(self, name: str) -> Value | None:
        """The int32 constant that a bias is dequantized from."""
        node = self.producers.get(name)
        if node is None or node.op != "dequantize":
            return None
        value = self.graph.value(node.inputs[0])
        return value if value.is_constant and value.dtype == "int32" else None


class _Integerize(Rewrite):
    """Emits int8 nodes between the graph's own int8 values; copies everything else."""

    def __init__(self, graph: Graph, boundary: _Boundary, decisions: Decisions) -> None:
        super().__init__(graph, boundary, Config(), decisions)
        self.boundary = boundary
        self.graph.unsigned = set(graph.unsigned)
        #: Values that int8 nodes write already, so that nothing is left to quantize.
        self.written: set[str] = set()

    def _add_input(self, name: str) -> None:
        self._take(name)

    def _finish_output(self, name: str) -> None:
        """Outputs are values of the source graph, and are written as such."""
        if self.source.value(name).is_constant:
            self._take(name)

    def _take(self, name: str) -> str:
        """The source's own value, float32 constants without parameters."""
        if name and name not in self.graph.values:
            value = dataclasses.replace(self.source.value(name))
            if value.is_constant and value.dtype != "int8":
                value.quant = None
            self.graph.add_value(value)
        return name

    def _emit_float(self, node: Node) -> None:
        if node.op == "quantize" and node.outputs[0] in self.written:
            return
        if node.op == "dequantize":
            source = self.source.value(node.inputs[0])
            if source.data is not None and source.quant is not None:
                data = reference_int8.dequantize(source.data, source.quant)
                self.graph.add_constant(node.outputs[0], data)
                return
            self.ints[node.outputs[0]] = node.inputs[0]
        for name in (*node.inputs, *node.outputs):
            self._take(name)
        reason = self.decisions.reasons.get(self.index, node.reason)
        self.graph.nodes.append(
            dataclasses.replace(
                node, inputs=list(node.inputs), outputs=list(node.outputs), reason=reason
            )
        )

    def _int8_output(self, name: str) -> str:
        (quantizer,) = self.boundary.quantizers(name)
        target = quantizer.outputs[0]
        self.written.add(target)
        return self._take(target)

    def _float_output(self, name: str) -> str:
        return self._take(name)

    def _constant_name(self, name: str) -> str:
        return self._unique(f"{name}_int8") if name in self.graph.values else name

    def _emit_int8(self, node: Node) -> None:
        if self.index in self.boundary.tables:
            root, function, values = self.boundary.tables[self.index]
            self._lookup(node.name, function, root, values, self._int8_output(node.outputs[0]))
        elif node.op == "matmul":
            a, b = (self.parameters.of(name) for name in node.inputs)
            self._check_multiplier(a, b, node.outputs[0])
            inputs = [self._as_int8(name) for name in node.inputs]
            self._node(node.name, node.op, inputs, [self._int8_output(node.outputs[0])])
        else:
            super()._emit_int8(node)

    def _layer_constants(
        self, node: Node, x_scale: float
    ) -> tuple[Array, QuantParams, Array | None]:
        weight = self.source.value(node.inputs[1])
        assert weight.data is not None
        assert weight.quant is not None
        params = weight.quant
        w = quantized_integers(weight.data, params)
        if len(node.inputs) < 3 or not node.inputs[2]:
            return w, params, None
        unit = (np.float32(x_scale) * params.scale).astype(np.float32)
        integers = self.boundary.integers(node.inputs[2])
        if integers is None:
            bias = self.source.constant(node.inputs[2])
        else:
            assert integers.data is not None
            assert integers.quant is not None
            scale = integers.quant.scale.astype(np.float64)
            if np.all(np.abs(scale / unit - 1) < _SAME_UNIT):
                return w, params, integers.data
            bias = integers.data * scale
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            units = np.abs(bias.astype(np.float64) / unit.astype(np.float64))
        if not np.all(units < 2**31 - 1):
            raise Refused(self.index, "its bias exceeds 32 bits in units of its scales")
        return w, params, affine.quantize_bias(bias, x_scale, params)


def quantized_integers(data: Array, params: QuantParams) -> Array:
    """The int8 integers that a float32 constant was dequantized from; exact, since the rounding of
    ``scale * (q - zero_point)`` is far smaller than the scale."""
    scale, zero_point = params.scale, params.zero_point
    if params.axis is not None:
        shape = [1] * data.ndim
        shape[params.axis] = -1
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    q = np.rint(data.astype(np.float64) / scale.astype(np.float64)) + zero_point
    return np.asarray(np.clip(q, affine.QMIN, affine.QMAX).astype(np.int8))
