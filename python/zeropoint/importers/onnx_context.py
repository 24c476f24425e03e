"""What the operator handlers work with: the graph under construction and the ONNX side of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zeropoint import shapes
from zeropoint.errors import GraphError, ModelError
from zeropoint.graph import Array, Attribute, Dim, Graph, Node, QuantParams, Value
from zeropoint.importers.onnx_reader import ModelSource, require_onnx, tensor_array
from zeropoint.model_checks import MAX_RANK
from zeropoint.operators import KEEPS_QUANT, RUNTIME_PARAMETERS
from zeropoint.transforms.layout import TO_NCHW, TO_NHWC, twin_name

if TYPE_CHECKING:
    from onnx import NodeProto


class Unsupported(Exception):
    """A node that cannot be imported; collected, so that all are reported at once."""


class UnknownShape(Unsupported):
    """Something must be known before the model runs, and is not."""


class OnnxNode:
    """A NodeProto with its attributes as Python values."""

    def __init__(self, proto: NodeProto, name: str, path: str) -> None:
        self.proto = proto
        self.name = name
        self.op_type: str = proto.op_type
        self.domain: str = "" if proto.domain == "ai.onnx" else proto.domain
        self.inputs = list(proto.input)
        self.outputs = list(proto.output)
        self.attrs: dict[str, Any] = {}
        onnx = require_onnx()
        for attribute in proto.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                self.attrs[attribute.name] = tensor_array(attribute.t, path)
                continue
            try:
                value = onnx.helper.get_attribute_value(attribute)
            except ValueError:
                raise ModelError(
                    f"{path}: node '{name}': attribute '{attribute.name}' has no known type"
                ) from None
            self.attrs[attribute.name] = (
                value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            )

    def derived(self, op_type: str, inputs: list[str], output: str, **attrs: Any) -> OnnxNode:
        """A node of the ai.onnx domain with this one's name and its attributes, changed."""
        other = copy.copy(self)
        other.op_type, other.domain = op_type, ""
        other.inputs, other.outputs = inputs, [output]
        other.attrs = {**self.attrs, **attrs}
        return other

    def get_int(self, key: str, default: int | None = None) -> int:
        value = self.attrs.get(key, default)
        if not isinstance(value, int):
            raise Unsupported(f"attribute '{key}' is missing or not an integer")
        return value

    def get_float(self, key: str, default: float) -> float:
        value = self.attrs.get(key, default)
        if not isinstance(value, (float, int)):
            raise Unsupported(f"attribute '{key}' is not a number")
        return float(value)

    def get_str(self, key: str, default: str) -> str:
        value = self.attrs.get(key, default)
        if not isinstance(value, str):
            raise Unsupported(f"attribute '{key}' is not a string")
        return value

    def get_ints(self, key: str) -> list[int] | None:
        value = self.attrs.get(key)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, int) for v in value):
            raise Unsupported(f"attribute '{key}' is not a list of integers")
        return [int(v) for v in value]

    def refuse(self, *keys: str) -> None:
        """Unsupported when one of these attributes is set to something that is not zero."""
        for key in keys:
            if self.attrs.get(key):
                raise Unsupported(f"attribute '{key}' = {self.attrs[key]!r} is not supported")

    def only_output(self, *, what: str) -> None:
        """Unsupported when an output after the first is used."""
        if any(self.outputs[1:]):
            raise Unsupported(f"the output {what} is not supported")


class Context:
    """The graph that is being built, and what is known about the ONNX values.

    Attributes:
        constants: ONNX constants by name: initializers, and results of folding.
        partial: int64 vectors of shape arithmetic with free entries: object arrays of integers
            and symbols (strings; equal symbols are equal dimensions).
        tainted: values behind a node that could not be imported.
        quants: the parameters of float32 ``constants`` that were dequantized, axes as in ONNX; the
            floats are exactly those that the parameters make of the file's 8-bit integers.
        biases: the file's integers and scales, where a float32 constant was dequantized from int32.
        unsigned: int8 values of the graph that are uint8 in ONNX: ``q - 128``.
    """

    def __init__(self, source: ModelSource) -> None:
        self.source = source
        self.opset = source.opset
        self.graph = Graph(name=source.name, source=source.path)
        self.constants: dict[str, Array] = dict(source.constants)
        self.partial: dict[str, Array] = {}
        self.tainted: set[str] = set()
        self.quants: dict[str, QuantParams] = {}
        self.biases: dict[str, tuple[Array, QuantParams]] = {}
        self.unsigned: set[str] = set()
        self._alias: dict[str, str] = {}
        self._taken = set(source.constants) | set(source.inputs)
        for node in source.nodes:
            self._taken.update(node.output)
            self._taken.add(node.name)
        self._suffix: dict[str, int] = {}
        self._reread: dict[tuple[str, bytes], str] = {}
        #: int8 values that data movement joins, and those with run-time parameters.
        self._moved: dict[str, list[str]] = {}
        self._dynamic: set[str] = set()
        for name, (dtype, shape) in source.inputs.items():
            if dtype == "uint8":
                self.unsigned.add(name)
                dtype = "int8"
            self.graph.add_value(Value(name, dtype, shape))
            self.graph.inputs.append(name)

    # -- names ------------------------------------------------------------------------------

    def unique(self, stem: str) -> str:
        """``stem``, or the first free ``stem_1``, ``stem_2`` ..."""
        name = stem
        while not name or name in self._taken or name in self.graph.values:
            self._suffix[stem] = self._suffix.get(stem, 0) + 1
            name = f"{stem}_{self._suffix[stem]}"
        self._taken.add(name)
        return name

    def alias(self, name: str, target: str) -> None:
        """``name`` is the same value as ``target``."""
        target = self.resolve(target)
        if target in self.constants:
            self.constants[name] = self.constants[target]
            self.copy_quant(target, name)
        elif target in self.partial:
            self.partial[name] = self.partial[target]
        else:
            self._alias[name] = target

    def resolve(self, name: str) -> str:
        return self._alias.get(name, name)

    # -- reading ----------------------------------------------------------------------------

    def has(self, node: OnnxNode, index: int) -> bool:
        return index < len(node.inputs) and bool(node.inputs[index])

    def constant(self, node: OnnxNode, index: int) -> Array | None:
        """The constant at that input; None for an activation or an input left out."""
        if not self.has(node, index):
            return None
        return self.constants.get(self.resolve(node.inputs[index]))

    def need_constant(self, node: OnnxNode, index: int, what: str) -> Array:
        """The constant at that input, which must be there and be known before the model runs."""
        array = self.constant(node, index)
        if array is None:
            raise Unsupported(f"{what} must be a constant, not computed while the model runs")
        return array

    def need_floats(self, node: OnnxNode, index: int, what: str) -> Array:
        """A float32 weight: constant, and free of NaN and Inf."""
        array = self.need_constant(node, index, what)
        return self.finite(array, node.inputs[index])

    def int_list(self, node: OnnxNode, index: int, what: str) -> list[int] | None:
        """A constant int vector; None where the input is left out."""
        if not self.has(node, index):
            return None
        array = self.need_constant(node, index, what)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise Unsupported(f"{what} must be a vector of integers")
        return [int(v) for v in array.reshape(-1)]

    def value(self, node: OnnxNode, index: int) -> str:
        """The graph's value for that input; a constant is added to the graph."""
        if not self.has(node, index):
            raise Unsupported(f"input {index} is missing")
        name = self.resolve(node.inputs[index])
        if name in self.constants:
            return self.add_constant(name, self.constants[name], self.quants.get(name))
        if name in self.partial:
            raise Unsupported(f"input '{name}' is computed from the shape of an input that is free")
        return name

    def finite(self, array: Array, name: str) -> Array:
        if array.dtype != np.float32:
            raise Unsupported(
                f"constant '{name}' is {array.dtype}; only float32 networks are supported, "
                "convert the model to float32 first"
            )
        if not np.all(np.isfinite(array)):
            raise ModelError(
                f"{self.source.path}: initializer '{name}' holds NaN or Inf; "
                "check the training or the export of the model"
            )
        return array

    def shape(self, name: str) -> shapes.MaybeShape:
        return self.graph.value(name).shape

    def known_shape(self, name: str) -> shapes.Shape:
        """The shape, of known rank."""
        shape = self.shape(name)
        if shape is None:
            raise UnknownShape(f"the rank of '{name}' is not known")
        return shape

    def symbols(self, name: str) -> list[int | str]:
        """The dimensions, with a symbol for each free one."""
        shape = self.known_shape(name)
        known = self.source.symbols.get(name, ())
        result: list[int | str] = []
        for i, dim in enumerate(shape):
            symbol = known[i] if len(known) == len(shape) else f"{name}.{i}"
            result.append(dim if dim is not None else symbol)
        return result

    def axis(self, axis: int, rank: int, what: str = "axis") -> int:
        """The axis counted from 0; Unsupported when it is outside of the tensor."""
        if not -rank <= axis < rank:
            raise Unsupported(f"{what} {axis} is outside of a tensor of rank {rank}")
        return axis % rank if rank else 0

    # -- quantized values -------------------------------------------------------------------

    def copy_quant(self, source: str, target: str) -> None:
        """The constant ``target`` holds the same elements as ``source``."""
        if source in self.quants:
            self.quants[target] = self.quants[source]
        if source in self.biases:
            self.biases[target] = self.biases[source]

    def quant_of(
        self, node: OnnxNode, index: int, axes: Sequence[int | None]
    ) -> QuantParams | None:
        """The parameters of a dequantized constant whose axes were rearranged: its axis ``i`` is
        now what ``axes[i]`` was in ONNX (None: a new one)."""
        quant = self.quants.get(self.resolve(node.inputs[index]))
        if quant is None or quant.axis is None:
            return quant
        return QuantParams(quant.scale, quant.zero_point, list(axes).index(quant.axis))

    def layer_bias(self, node: OnnxNode, index: int, bias: Array) -> str:
        """The graph's value for a layer's bias. One that was dequantized from int32 stays so,
        because float32 holds only the first 24 bits of it."""
        name = self.resolve(node.inputs[index])
        if name not in self.biases:
            return self.add_constant(node.inputs[index], bias)
        integers, quant = self.biases[name]
        held = self.add_constant(f"{name}/int32", integers, quant)
        target = f"{held}/dequantized"
        if target in self.graph.values:
            return target
        return self.emit(node, "dequantize", [held], {}, target, "bias", dtypes=["float32"])

    def with_params(self, name: str, params: QuantParams) -> str:
        """The int8 value ``name`` under per-tensor parameters. Integers of the file have no
        parameters of their own: whoever reads them says what they mean."""
        value = self.graph.value(name)
        if value.quant is None:
            self._assume(name, params)
        if params.same(value.quant):
            return name
        key = (name, params.scale.tobytes() + params.zero_point.tobytes())
        if key not in self._reread:
            table = self.add_constant(
                self.unique(f"{name}/bytes"), np.arange(-128, 128).astype(np.int8)
            )
            twin = self.unique(f"{name}/reread")
            self.graph.add_value(Value(twin, "int8", value.shape, params))
            attrs: dict[str, Attribute] = {"function": "reinterpret"}
            self.graph.nodes.append(Node(twin, "lookup", [name, table], [twin], attrs))
            self._reread[key] = twin
        return self._reread[key]

    def _is_bare(self, name: str) -> bool:
        """Is it an int8 activation without parameters?"""
        value = self.graph.value(name)
        return value.dtype == "int8" and value.quant is None and not value.is_constant

    def _assume(self, name: str, params: QuantParams) -> None:
        """Gives parameters to an integer graph input, and to what was moved out of it."""
        joined = self._joined(name)
        if not joined.isdisjoint(self._dynamic):
            raise Unsupported(f"'{name}' has a scale that is computed while the model runs")
        for n in joined:
            self.graph.value(n).quant = params

    def _joined(self, name: str) -> set[str]:
        """The int8 values without parameters that hold the same data as ``name``, moved."""
        waiting, seen = [name], {name}
        while waiting:
            for other in self._moved.get(waiting.pop(), ()):
                if other not in seen and self._is_bare(other):
                    seen.add(other)
                    waiting.append(other)
        return seen

    def settle_integers(self) -> None:
        """Integer inputs that are only moved get parameters under which they mean themselves."""
        raw = {n for node in self.graph.nodes if node.op in RUNTIME_PARAMETERS for n in node.inputs}
        for name in self.graph.inputs:
            if self._is_bare(name) and self._joined(name).isdisjoint(raw):
                self._assume(name, QuantParams.per_tensor(1.0, -128 * (name in self.unsigned)))

    # -- writing ----------------------------------------------------------------------------

    def add_constant(self, name: str, array: Array, quant: QuantParams | None = None) -> str:
        """Adds a constant under ``name``, or under a name made from it where that is taken by
        another array. Returns the name."""
        if array.dtype not in (np.dtype(np.int64), np.dtype(np.int32), np.dtype(np.int8)):
            self.finite(array, name)
        held = self.graph.values.get(name)
        if held is not None and held.data is not None:
            alike = held.quant is None if quant is None else quant.same(held.quant)
            if alike and (
                held.data is array
                or (
                    held.data.shape == array.shape
                    and held.data.dtype == array.dtype
                    and held.data.tobytes() == array.tobytes()
                )
            ):
                return name
            name = self.unique(name)
        elif held is not None:
            name = self.unique(name)
        self._taken.add(name)
        return self.graph.add_constant(name, array, quant).name

    def emit(
        self,
        node: OnnxNode,
        op: str,
        inputs: list[str],
        attrs: dict[str, Attribute] | None = None,
        outputs: list[str] | str | None = None,
        suffix: str = "",
        quant: QuantParams | None = None,
        dtypes: Sequence[str] = (),
    ) -> str:
        """Adds a node; returns the name of its first output.

        ``outputs`` are names (default: the ONNX node's own first output); ``suffix`` tells the
        helper nodes of one ONNX node apart; ``quant`` and ``dtypes`` are the outputs' where they
        are not the first input's.
        """
        if outputs is None:
            outputs = node.outputs[0]
        if isinstance(outputs, str):
            outputs = [outputs]
        # Outputs that the model does not use still need a name.
        outputs = [name or self.unique(f"{node.name}_unused") for name in outputs]
        name = node.name if not suffix else self.unique(f"{node.name}/{suffix}")
        inputs = self._integers(op, inputs)
        first = self.graph.value(inputs[0])
        if op in KEEPS_QUANT:
            quant = first.quant
        made = Node(name, op, inputs, outputs, dict(attrs or {}))
        try:
            inferred = shapes.output_shapes(self.graph, made)
        except GraphError as error:
            raise ModelError(str(error)) from None
        if any(shape is not None and 0 in shape for shape in inferred):
            raise Unsupported("an output has no elements; empty tensors are not supported")
        most = max((len(shape) for shape in inferred if shape is not None), default=0)
        if most > MAX_RANK:
            raise Unsupported(f"an output has {most} dimensions; at most {MAX_RANK} are supported")
        dtypes = dtypes or ["int64" if op == "argmax" else first.dtype] * len(outputs)
        for output, shape, dtype in zip(outputs, inferred, dtypes, strict=True):
            shape = self._refined(output, shape)
            self.graph.add_value(Value(output, dtype, shape, quant if dtype == "int8" else None))
            if op in KEEPS_QUANT and inputs[0] in self.unsigned:
                self.unsigned.add(output)
        self.graph.nodes.append(made)
        if first.dtype == "int8" and op in KEEPS_QUANT:
            for name in (*inputs[1:], *outputs):
                self._moved.setdefault(inputs[0], []).append(name)
                self._moved.setdefault(name, []).append(inputs[0])
        elif op in RUNTIME_PARAMETERS:
            self._dynamic.update(outputs)
        return outputs[0]

    def _integers(self, op: str, inputs: list[str]) -> list[str]:
        """Checks that integers of the file go where they can; joins those that meet."""
        first = self.graph.value(inputs[0])
        if first.dtype != "int8" or op in RUNTIME_PARAMETERS | {"dequantize", "lookup"}:
            return inputs
        if op not in KEEPS_QUANT:
            kind = "uint8" if inputs[0] in self.unsigned else "int8"
            raise Unsupported(f"it computes with the {kind} tensor '{inputs[0]}' as it is")
        if first.quant is None:
            return inputs
        return [self.with_params(name, first.quant) for name in inputs]

    def _refined(self, name: str, shape: shapes.MaybeShape) -> shapes.MaybeShape:
        """Adds what ONNX's inference knows and this package's does not."""
        known = self.source.symbols.get(name)
        if known is None:
            return shape
        official: list[Dim] = [d if isinstance(d, int) and d > 0 else None for d in known]
        if shape is None:
            return tuple(official)
        if len(shape) != len(official):
            return shape
        return tuple(
            dim if dim is not None else other for dim, other in zip(shape, official, strict=True)
        )

    def temporary(self, node: OnnxNode, what: str) -> str:
        """A name for an intermediate value of ``node``."""
        return self.unique(f"{node.outputs[0]}/{what}")

    def to_nhwc(self, node: OnnxNode, name: str) -> str:
        """The channels-last twin of a [N, C, H, W] value."""
        self.known_shape(name)
        twin = self.unique(twin_name(name, TO_NHWC))
        return self.emit(node, "transpose", [name], {"perm": list(TO_NHWC)}, twin, "to_nhwc")

    def nhwc_output(self, node: OnnxNode) -> str:
        """A name for the channels-last twin of ``node``'s output."""
        return self.unique(twin_name(node.outputs[0], TO_NHWC))

    def from_nhwc(self, node: OnnxNode, name: str, output: str | None = None) -> None:
        """Writes the [N, C, H, W] form of ``name`` as the node's output."""
        self.emit(
            node, "transpose", [name], {"perm": list(TO_NCHW)}, output or node.outputs[0], "to_nchw"
        )
