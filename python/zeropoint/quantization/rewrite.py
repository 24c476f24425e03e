"""The rewrite: a float graph and statistics in, an int8 graph out."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Protocol

import numpy as np

from zeropoint.calibration.statistics import Statistics
from zeropoint.calibration.targets import takes_input_params
from zeropoint.errors import GraphError
from zeropoint.graph import Array, Graph, Node, QuantParams, Value
from zeropoint.model import Model
from zeropoint.operators import UNARY, WEIGHTED
from zeropoint.quantization import affine, functions
from zeropoint.quantization.config import Config
from zeropoint.quantization.decisions import Decisions, decide, scalar_operand
from zeropoint.quantization.parameters import Parameters
from zeropoint.reference_shape import real


class Refused(Exception):
    """A node turns out to have no exact int8 form; it stays in float32."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index, self.reason = index, reason


def require_float(graph: Graph) -> None:
    """Raises GraphError when ``graph`` has int8 values: it is quantized already."""
    for value in graph.values.values():
        if value.quant is not None or value.dtype == "int8":
            raise GraphError(
                f"{graph.source or graph.name}: is quantized already (value '{value.name}' is "
                "int8) and runs as it is; quantize takes the float model that it was made from"
            )


def quantize(graph: Graph, statistics: Statistics, config: Config | None = None) -> Model:
    """Turns a float graph into an int8 model.

    Layers with weights become int8; everything between them follows where it has an int8 form
    (:mod:`zeropoint.operators`), the rest stays in float32 between dequantize and quantize nodes,
    and its ``Node.reason`` says why. Unary functions become lookup tables. Int8 values keep the
    names of the float values that they stand for, wherever those are gone.

    Args:
        graph: the float graph, as :func:`zeropoint.load` returned it. It is not changed.
        statistics: what :func:`zeropoint.calibrate` found out about that graph.
        config: see :class:`Config`; the default is per-channel symmetric weights and per-tensor
            asymmetric activations.

    Raises:
        CalibrationError: the statistics lack a value of the graph, or a tensor's range gives no
            usable scale (a tensor of nothing but zeros, for example).
        InputError: ``config.keep_float`` names something that is not there.
        GraphError: the graph is quantized already, or has weights that are not finite.
    """
    config = Config() if config is None else config
    require_float(graph)
    kept = config.kept(graph)
    refused: dict[int, str] = {}
    while True:
        decisions = decide(graph, kept, refused)
        try:
            parameters = Parameters(graph, decisions, statistics, config)
            return Model(Rewrite(graph, parameters, config, decisions).run())
        except Refused as refusal:
            # Each turn adds a node, so this ends.
            refused[refusal.index] = refusal.reason


class ParametersOf(Protocol):
    """Knows scale and zero point of the int8 form of every value that has one."""

    def of(self, name: str) -> QuantParams: ...


class Rewrite:
    """One attempt with fixed decisions: the int8 form of a graph, node by node."""

    def __init__(
        self, graph: Graph, parameters: ParametersOf, config: Config, decisions: Decisions
    ) -> None:
        self.source = graph
        self.config = config
        self.decisions = decisions
        self.parameters = parameters
        self.graph = Graph(graph.name, list(graph.inputs), list(graph.outputs), source=graph.source)
        #: Names that the source graph uses mean the same in the result, so new ones avoid them.
        self.taken = set(graph.values) | {node.name for node in graph.nodes}
        self.readers = graph.consumers()
        # The names of each source value's forms in the result.
        self.floats: dict[str, str] = {}
        self.ints: dict[str, str] = {}
        self.requantized: dict[tuple[str, bytes], str] = {}
        self.index = 0

    def run(self) -> Graph:
        for name in self.source.inputs:
            self._add_input(name)
        for index, node in enumerate(self.source.nodes):
            self.index = index
            if self.index in self.decisions.int8:
                self._emit_int8(node)
            else:
                self._emit_float(node)
        for name in self.source.outputs:
            self._finish_output(name)
        self.graph.remove_dead()
        return self.graph

    # -- names and values -------------------------------------------------------------------

    def _unique(self, stem: str) -> str:
        name, i = stem, 0
        while name in self.taken:
            i += 1
            name = f"{stem}_{i}"
        self.taken.add(name)
        return name

    def _add(self, name: str, like: str, dtype: str, quant: QuantParams | None = None) -> str:
        self.graph.add_value(Value(name, dtype, self.source.value(like).shape, quant))
        return name

    def _add_constant(self, name: str, data: Array, quant: QuantParams | None = None) -> str:
        self.graph.add_constant(name, data, quant)
        return name

    def _node(
        self, name: str, op: str, inputs: list[str], outputs: list[str], **attrs: Any
    ) -> None:
        self.graph.nodes.append(Node(name, op, inputs, outputs, attrs))

    def _wants_int8(self, name: str) -> bool:
        """Must the graph output ``name`` itself be int8?"""
        return name in self.source.outputs and self.config.output_dtype == "int8"

    # -- the two forms of a value -----------------------------------------------------------

    def _add_input(self, name: str) -> None:
        value = self.source.value(name)
        if value.dtype == "float32" and self.config.input_dtype == "int8":
            self.ints[name] = self._add(name, name, "int8", self.parameters.of(name))
        else:
            self.floats[name] = self._add(name, name, value.dtype)

    def _float_output(self, name: str) -> str:
        """Adds the value that a float node writes for source value ``name``."""
        dtype = self.source.value(name).dtype
        own = not (dtype == "float32" and self._wants_int8(name))
        self.floats[name] = self._add(name if own else self._unique(f"{name}_float"), name, dtype)
        return self.floats[name]

    def _int8_output(self, name: str) -> str:
        """Adds the value that an int8 node writes for source value ``name``."""
        own = name not in self.source.outputs or self._wants_int8(name)
        self.ints[name] = self._add(
            name if own else self._unique(f"{name}_quantized"),
            name,
            "int8",
            self.parameters.of(name),
        )
        return self.ints[name]

    def _as_float(self, name: str) -> str:
        value = self.source.value(name)
        if name not in self.floats:
            if value.data is not None:
                self.floats[name] = self._add_constant(name, value.data)
            else:
                own = name in self.source.outputs and not self._wants_int8(name)
                # An int8 value that goes by its own name leaves the float one another.
                own = own and self.ints[name] != name
                target = name if own else self._unique(f"{name}_dequantized")
                self._add(target, name, "float32")
                self._node(
                    self._unique(f"{name}_dequantize"), "dequantize", [self.ints[name]], [target]
                )
                self.floats[name] = target
        return self.floats[name]

    def _as_int8(self, name: str, params: QuantParams | None = None) -> str:
        """The int8 form, in its own parameters or in the ones that a reader asks for."""
        value = self.source.value(name)
        if value.data is not None:
            params = params or value.quant or affine.constant_params(name, value.data)
            data = affine.quantize_array(value.data, params)
            return self._add_constant(self._constant_name(name), data, params)
        if name not in self.ints:
            own = self._wants_int8(name) and self.floats[name] != name
            target = name if own else self._unique(f"{name}_quantized")
            self._add(target, name, "int8", self.parameters.of(name))
            self._node(self._unique(f"{name}_quantize"), "quantize", [self.floats[name]], [target])
            self.ints[name] = target
        mine = self.parameters.of(name)
        if params is None or mine.same(params):
            return self.ints[name]
        key = (name, params.scale.tobytes() + params.zero_point.tobytes())
        if key not in self.requantized:
            target = self._unique(f"{name}_requantized")
            self._add(target, name, "int8", params)
            table = functions.table(affine.dequantized_levels(mine), params)
            self._lookup(self._unique(f"{name}_requantize"), "requantize", name, table, target)
            self.requantized[key] = target
        return self.requantized[key]

    def _constant_name(self, name: str) -> str:
        """The float constant's own name where this is its only use."""
        if len(self.readers.get(name, [])) == 1 and name not in self.graph.values:
            return name
        return self._unique(f"{name}_int8")

    def _finish_output(self, name: str) -> None:
        value = self.source.value(name)
        if name in self.source.inputs or value.dtype != "float32":
            return
        if self._wants_int8(name):
            self._as_int8(name)
        else:
            self._as_float(name)

    # -- nodes ------------------------------------------------------------------------------

    def _emit_float(self, node: Node) -> None:
        inputs = [self._as_float(name) if name else "" for name in node.inputs]
        outputs = [self._float_output(name) if name else "" for name in node.outputs]
        reason = self.decisions.reasons[self.index]
        self.graph.nodes.append(
            dataclasses.replace(
                node, inputs=inputs, outputs=outputs, attrs=dict(node.attrs), reason=reason
            )
        )

    def _emit_int8(self, node: Node) -> None:
        if node.op in WEIGHTED:
            self._emit_weighted(node)
        elif scalar_operand(self.source, node) is not None:
            self._emit_scalar(node)
        elif node.op in ("add", "sub", "mul"):
            inputs = [self._as_int8(name) for name in node.inputs]
            output = self._int8_output(node.outputs[0])
            self._node(node.name, node.op, inputs, [output], **self._clamp(node))
        elif node.op == "prelu":
            x, out = (self.parameters.of(n) for n in (node.inputs[0], node.outputs[0]))
            slope = self.source.constant(node.inputs[1])
            self._emit_lookup(node, node.inputs[0], functions.prelu_table(slope, x, out))
        elif node.op in UNARY:
            x, out = (self.parameters.of(n) for n in (node.inputs[0], node.outputs[0]))
            self._emit_lookup(node, node.inputs[0], functions.unary_table(node, x, out))
        elif node.op == "softmax":
            x_name = self._as_int8(node.inputs[0])
            table = functions.softmax_table(self.parameters.of(node.inputs[0]))
            constant = self._add_constant(self._unique(f"{node.name}_table"), table)
            output = self._int8_output(node.outputs[0])
            self._node(node.name, node.op, [x_name, constant], [output], **node.attrs)
        elif node.op == "argmax":
            inputs = [self._as_int8(node.inputs[0])]
            self._node(
                node.name, node.op, inputs, [self._float_output(node.outputs[0])], **node.attrs
            )
        else:
            self._emit_plain(node)

    def _emit_plain(self, node: Node) -> None:
        """Data movement, pools and means: the same attributes over int8."""
        shared = None
        if node.op == "concat" or (node.op == "pad" and not takes_input_params(node)):
            shared = self.parameters.of(node.outputs[0])
        inputs = [self._as_int8(name, shared) for name in node.inputs if name]
        outputs = [self._int8_output(name) if name else "" for name in node.outputs]
        self._node(node.name, node.op, inputs, outputs, **node.attrs)

    def _emit_weighted(self, node: Node) -> None:
        x = self.parameters.of(node.inputs[0])
        w, params, bias = self._layer_constants(node, float(x.scale.item()))
        channel = affine.overflowing_channel(w, params, bias, int(x.zero_point.item()))
        if channel >= 0:
            raise Refused(
                self.index, f"output channel {channel} could overflow its 32-bit accumulator"
            )
        self._check_multiplier(x, params, node.outputs[0])
        inputs = [
            self._as_int8(node.inputs[0]),
            self._add_constant(self._constant_name(node.inputs[1]), w, params),
        ]
        if bias is not None:
            inputs.append(self._add_constant(self._constant_name(node.inputs[2]), bias))
        attrs = {k: v for k, v in node.attrs.items() if k not in ("clip_min", "clip_max")}
        output = self._int8_output(node.outputs[0])
        self._node(node.name, node.op, inputs, [output], **attrs, **self._clamp(node))

    def _layer_constants(
        self, node: Node, x_scale: float
    ) -> tuple[Array, QuantParams, Array | None]:
        """A layer's int8 weights, their parameters, and its int32 bias."""
        bias_name = node.inputs[2] if len(node.inputs) > 2 else ""
        bias = self.source.constant(bias_name) if bias_name else None
        w, params = affine.quantize_weights(
            node.name,
            self.source.constant(node.inputs[1]),
            bias,
            x_scale,
            per_channel=self.config.weights == "per_channel",
            symmetric=self.config.weight_scheme == "symmetric",
        )
        return w, params, None if bias is None else affine.quantize_bias(bias, x_scale, params)

    def _check_multiplier(self, a: QuantParams, b: QuantParams, output: str) -> None:
        with np.errstate(over="ignore"):
            multiplier = (a.scale * b.scale) / self.parameters.of(output).scale
        if not np.isfinite(multiplier).all():
            raise Refused(self.index, "the ratio of its scales exceeds float32")

    def _clamp(self, node: Node) -> dict[str, int]:
        """qmin and qmax of the fused clip; absent where they would be -128 and 127."""
        out, found = self.parameters.of(node.outputs[0]), {}
        lo, hi = (
            affine.quantize_value(real(node, key, default), out)
            for key, default in (("clip_min", -math.inf), ("clip_max", math.inf))
        )
        if lo != affine.QMIN:
            found["qmin"] = lo
        if hi != affine.QMAX:
            found["qmax"] = hi
        return found

    def _emit_scalar(self, node: Node) -> None:
        """A binary operator with one constant number is a function of its other operand."""
        constant = scalar_operand(self.source, node)
        assert constant is not None
        name = node.inputs[1 - constant]
        number = float(self.source.constant(node.inputs[constant]).item())
        x = affine.dequantized_levels(self.parameters.of(name))
        a, b = (x, number) if constant == 1 else (number, x)
        operation = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
        y = np.clip(
            operation[node.op](a, b),
            real(node, "clip_min", -math.inf),
            real(node, "clip_max", math.inf),
        )
        self._emit_lookup(node, name, functions.table(y, self.parameters.of(node.outputs[0])))

    def _emit_lookup(self, node: Node, x: str, table: Array) -> None:
        self._as_int8(x)
        self._lookup(node.name, node.op, x, table, self._int8_output(node.outputs[0]))

    def _lookup(self, name: str, function: str, x: str, table: Array, output: str) -> None:
        constant = self._add_constant(self._unique(f"{name}_table"), table)
        self._node(name, "lookup", [self.ints[x], constant], [output], function=function)
