"""The ONNX graph under construction: names, initializers, and the forms of each value.

A value of the zeropoint graph has one meaning and, in the ONNX graph, as many *forms* as its
readers ask for: its integers or real numbers, in any order of axes. Operators that ONNX defines for
channels first write that order; a form that nobody wrote is made by a Transpose (or
DequantizeLinear) when a reader first asks for it. So two neighbours that agree on an order have
nothing between them, and peers find DequantizeLinear, operator and QuantizeLinear side by side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zeropoint.errors import GraphError, UnsupportedError
from zeropoint.graph import Array, Graph, Node, QuantParams

#: Axis i of the ONNX tensor is axis ``order[i]`` of the value.
Order = tuple[int, ...]

CHANNELS_FIRST: Order = (0, 3, 1, 2)
#: What has to be added to an int8 value to get the form of that dtype.
_OFFSET = {"int8": 0, "uint8": 128}


def identity(rank: int) -> Order:
    return tuple(range(rank))


@dataclass(frozen=True)
class Tensor:
    """An ONNX tensor: its name, its order of axes, and its dtype ("uint8": the value + 128)."""

    name: str
    order: Order
    dtype: str


class Writer:
    """Collects ONNX nodes and initializers for a graph, in execution order.

    Values with constant scale and zero point are held as uint8 (``q + 128``), which the peers'
    kernels want for activations; graph inputs and outputs have the dtype that callers see.
    """

    def __init__(self, graph: Graph, helper: Any, numpy_helper: Any) -> None:
        self.graph = graph
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._helper, self._numpy_helper = helper, numpy_helper
        self._taken = {"", *graph.values}
        self._node_names = {node.name for node in graph.nodes}
        self._tensors: dict[str, Tensor] = {}
        self._forms: dict[tuple[str, Order, str], str] = {}
        self._reals: dict[tuple[str, Order], str] = {}
        self._constants: dict[tuple[object, ...], str] = {}
        self._own_used: set[str] = set()
        for name in graph.inputs:
            self._tensors[name] = Tensor(name, identity(self.rank(name)), self.seen_dtype(name))

    # -- values -------------------------------------------------------------------------------

    def rank(self, name: str) -> int:
        return len(self.shape(name))

    def shape(self, name: str) -> tuple[int | None, ...]:
        shape = self.graph.value(name).shape
        if shape is None:
            raise UnsupportedError(
                f"{self.graph.source or self.graph.name}: the rank of value '{name}' is not known, "
                "so it has no ONNX form; give the model's inputs their ranks"
            )
        return shape

    def seen_dtype(self, name: str) -> str:
        """The dtype of a graph input or output as callers see it."""
        return "uint8" if name in self.graph.unsigned else self.graph.value(name).dtype

    def is_quantized(self, name: str) -> bool:
        """Is it int8 with scale and zero point of its own?"""
        value = self.graph.value(name)
        return value.dtype == "int8" and value.quant is not None

    def params(self, name: str) -> QuantParams:
        quant = self.graph.value(name).quant
        if quant is None:
            raise GraphError(f"the int8 value '{name}' has no scale and zero point")
        return quant

    def order(self, name: str) -> Order:
        """The order in which a value is at hand; that of constants is their own."""
        found = self._tensors.get(name)
        return identity(self.rank(name)) if found is None else found.order

    def dtype(self, name: str) -> str:
        """The dtype in which a value is at hand."""
        found = self._tensors.get(name)
        return self.graph.value(name).dtype if found is None else found.dtype

    def alias(self, name: str, source: str, order: Order) -> None:
        """Says that value ``name`` is what ``source`` is at hand as, its axes read as ``order``."""
        found = self._tensors[source]
        self._tensors[name] = replace(found, order=order)
        if (source, found.order) in self._reals:
            self._reals[name, order] = self._reals[source, found.order]

    def alias_real(self, name: str, source: str, order: Order) -> None:
        """Says that the float32 value ``name`` is the real numbers of ``source`` in ``order``."""
        self._tensors[name] = Tensor(self.real(source, order), order, "float32")

    def common_order(self, names: Sequence[str], rank: int | None = None) -> Order:
        """The order for operands that meet element by element, in a result of ``rank``: the first
        that is not the values' own, or that one where ranks differ."""
        rank = self.rank(names[0]) if rank is None else rank
        operands = [name for name in names if not self.graph.value(name).is_constant]
        if any(self.rank(name) != rank for name in operands):
            return identity(rank)
        orders = [self.order(name) for name in operands]
        return next((order for order in orders if order != identity(rank)), identity(rank))

    # -- reading ------------------------------------------------------------------------------

    def real(self, name: str, order: Order | None = None) -> str:
        """The name of a value's real numbers (float32), or of its integers where it has no
        parameters of its own, with its axes in ``order`` (their own by default)."""
        order = identity(self.rank(name)) if order is None else order
        if not self.is_quantized(name):
            return self.form(name, order)
        key = (name, order)
        if key not in self._reals:
            integers = self.form(name, order)
            data = self.graph.value(name).data
            dtype = "int8" if data is not None else self._tensors[name].dtype
            self._reals[key] = self.dequantized(
                integers, self.params(name), dtype, self._derived(name, "dequantized")
            )
        return self._reals[key]

    def dequantized(
        self, integers: str, params: QuantParams, dtype: str, stem: str, axis: int | None = None
    ) -> str:
        """DequantizeLinear; ``axis`` says where the channels of per-channel parameters are."""
        attrs: dict[str, Any] = {}
        if params.scale.ndim:
            attrs["axis"] = params.axis if axis is None else axis
        scale, zero = self._parameters(params, dtype)
        return self.add("DequantizeLinear", [integers, scale, zero], stem, **attrs)

    def _parameters(self, params: QuantParams, dtype: str) -> tuple[str, str]:
        zero_point = params.zero_point + _OFFSET.get(dtype, 0)
        return (
            self.constant(params.scale.astype(np.float32), "scale"),
            self.constant(zero_point.astype(dtype), "zero_point"),
        )

    def form(self, name: str, order: Order | None = None, dtype: str = "") -> str:
        """The name of a value's stored numbers with its axes in ``order`` (their own by default),
        as ``dtype`` (uint8 or int8; that at hand by default)."""
        order = identity(self.rank(name)) if order is None else order
        value = self.graph.value(name)
        if value.data is not None:
            data = value.data.transpose(order)
            if dtype == "uint8":
                data = (data.astype(np.int16) + 128).astype(np.uint8)
            return self.constant(data, name, own=name)
        at_hand = self._tensors[name]
        wanted = Tensor("", order, dtype or at_hand.dtype)
        if (at_hand.order, at_hand.dtype) == (order, wanted.dtype):
            return at_hand.name
        key = (name, order, wanted.dtype)
        if key not in self._forms:
            found = at_hand.name
            last = self._own_name(name, wanted)
            if at_hand.dtype != wanted.dtype:
                turn = at_hand.order != order
                stem = self._derived(name, wanted.dtype)
                found = self._converted(
                    found, at_hand.dtype, wanted.dtype, stem, "" if turn else last
                )
            if at_hand.order != order:
                perm = [at_hand.order.index(axis) for axis in order]
                found = self.add(
                    "Transpose", [found], self._derived(name, "transposed"), out=last, perm=perm
                )
            self._forms[key] = found
        return self._forms[key]

    def _own_name(self, name: str, form: Tensor) -> str:
        """The value's own name where ``form`` is what callers see under it, else ""."""
        final = name in self.graph.outputs and form.order == identity(self.rank(name))
        at_hand = self._tensors[name].name
        return name if final and form.dtype == self.seen_dtype(name) and at_hand != name else ""

    def _converted(self, name: str, dtype: str, target: str, stem: str, out: str) -> str:
        """uint8 to int8 or back, which differ by 128."""
        wide = self.add("Cast", [name], f"{stem}_wide", to=self.element_type("int32"))
        shift = self.constant(np.asarray(_OFFSET[target] - _OFFSET[dtype], np.int32), "offset")
        moved = self.add("Add", [wide, shift], f"{stem}_moved")
        return self.add("Cast", [moved], stem, out=out, to=self.element_type(target))

    # -- writing ------------------------------------------------------------------------------

    def fresh(self, stem: str) -> str:
        """``stem``, or with a number: no ONNX tensor's name yet."""
        name, i = stem, 0
        while name in self._taken:
            i += 1
            name = f"{stem}_{i}"
        self._taken.add(name)
        return name

    def _derived(self, name: str, what: str) -> str:
        return f"{name}_{what}"

    def add(
        self, op: str, inputs: Sequence[str], stem: str, *, out: str = "", node: str = "",
        **attrs: Any,
    ) -> str:  # fmt: skip
        """Adds a node with one output, named ``out`` or after ``stem``; returns that name."""
        return self.add_many(op, inputs, [out or self.fresh(stem)], node=node, **attrs)[0]

    def add_many(
        self, op: str, inputs: Sequence[str], outputs: list[str], *, node: str = "", **attrs: Any
    ) -> list[str]:
        name = node or self._node_name(f"{outputs[0]}/{op}")
        self.nodes.append(self._helper.make_node(op, list(inputs), outputs, name=name, **attrs))
        return outputs

    def _node_name(self, stem: str) -> str:
        name, i = stem, 0
        while name in self._node_names:
            i += 1
            name = f"{stem}_{i}"
        self._node_names.add(name)
        return name

    def constant(self, data: Array, stem: str, own: str = "") -> str:
        """An initializer; equal ones are stored once. ``own`` is the name of the graph's constant
        that it holds, taken where it is still free."""
        data = np.ascontiguousarray(data).reshape(data.shape)
        digest = hashlib.sha256(data.tobytes()).digest()
        key = (str(data.dtype), data.shape, digest, own)
        if key not in self._constants:
            name = own if own and own not in self._own_used else self.fresh(stem)
            self._own_used.add(name)
            self.initializers.append(self._numpy_helper.from_array(data, name))
            self._constants[key] = name
        return self._constants[key]

    def scalar(self, value: float) -> str:
        return self.constant(np.asarray(value, np.float32), "value")

    def integers(self, values: Sequence[int], stem: str) -> str:
        """An int64 initializer: axes, shapes, bounds."""
        return self.constant(np.asarray(values, np.int64), stem)

    def element_type(self, dtype: str) -> int:
        return int(self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    # -- results ------------------------------------------------------------------------------

    def emit(
        self, node: Node, op: str, inputs: Sequence[str], order: Order | None = None, **attrs: Any
    ) -> None:
        """The ONNX operator that computes ``node``'s one output, written in ``order``; the fused
        clamp and quantization follow it."""
        name, clamp = node.outputs[0], self._clamp(node)
        if clamp is None:
            self.emit_many(node, op, inputs, [order], **attrs)
            return
        raw = self.add(op, inputs, f"{name}_unclamped", node=node.name, **attrs)
        out, quantize = self.open(name, order)
        self.clip(raw, *clamp, out=out)
        if quantize:
            self.close(name, out)

    def emit_many(
        self, node: Node, op: str, inputs: Sequence[str], orders: Sequence[Order | None],
        **attrs: Any,
    ) -> None:  # fmt: skip
        """As :meth:`emit`, for a node with several outputs and without a fused clamp."""
        opened = []
        for name, order in zip(node.outputs, orders, strict=True):
            value = self.graph.value(name)
            # Integers without parameters of their own stay what they are at the node's input.
            moved = value.dtype == "int8" and value.quant is None
            opened.append(self.open(name, order, self.dtype(node.inputs[0]) if moved else ""))
        self.add_many(op, inputs, [out for out, _ in opened], node=node.name, **attrs)
        for name, (out, quantize) in zip(node.outputs, opened, strict=True):
            if quantize:
                self.close(name, out)

    def stored(self, name: str) -> str:
        """The ONNX name under which a declared value is stored."""
        return self._tensors[name].name

    def open(self, name: str, order: Order | None = None, dtype: str = "") -> tuple[str, bool]:
        """Declares an activation in ``order``: the name for an operator to write its results to,
        and whether :meth:`close` must then quantize them.

        ``dtype`` is that of integers without parameters of their own.
        """
        order = identity(self.rank(name)) if order is None else order
        quantized = self.is_quantized(name)
        is_output = name in self.graph.outputs
        if not dtype:
            dtype = self.graph.value(name).dtype
            if quantized:
                dtype = self.seen_dtype(name) if is_output else "uint8"
        own = not is_output or (
            order == identity(self.rank(name)) and dtype == self.seen_dtype(name)
        )
        stored = name if own else self.fresh(self._derived(name, "unordered"))
        self._tensors[name] = Tensor(stored, order, dtype)
        return (self.fresh(self._derived(name, "real")), True) if quantized else (stored, False)

    def close(self, name: str, real: str, node: str = "") -> None:
        """QuantizeLinear of ``real`` to the value that :meth:`open` declared."""
        tensor = self._tensors[name]
        scale, zero = self._parameters(self.params(name), tensor.dtype)
        self.add("QuantizeLinear", [real, scale, zero], "", out=tensor.name, node=node)

    def finish(self) -> None:
        """Gives the graph's outputs their names, dtypes and orders of axes."""
        graph = self.graph
        fixed = {*graph.inputs, *graph.outputs}
        for name in graph.outputs:
            if graph.value(name).is_constant:
                value = self.constant(graph.constant(name), self._derived(name, "value"))
                self._tensors[name] = Tensor(value, identity(self.rank(name)), self.dtype(name))
                fixed.add(value)
            found = self.form(name, None, self.seen_dtype(name))
            if found == name or any(name in node.output for node in self.nodes):
                continue
            if found in fixed:
                self.add("Identity", [found], "", out=name)
                continue
            for node in self.nodes:
                for names in (node.input, node.output):
                    for i, old in enumerate(names):
                        if old == found:
                            names[i] = name

    # -- clamps -------------------------------------------------------------------------------

    def _clamp(self, node: Node) -> tuple[float, float] | None:
        """The real bounds of a fused activation that quantization alone does not enforce."""
        lo, hi = -np.inf, np.inf
        value = self.graph.value(node.outputs[0])
        if value.dtype == "int8" and value.quant is not None:
            scale, zero = np.float32(value.quant.scale.item()), int(value.quant.zero_point.item())
            qmin, qmax = int(_number(node, "qmin", -128)), int(_number(node, "qmax", 127))
            if qmin > -128:
                lo = float((qmin - zero) * scale)
            if qmax < 127:
                hi = float((qmax - zero) * scale)
        else:
            lo, hi = _number(node, "clip_min", lo), _number(node, "clip_max", hi)
        return None if np.isneginf(lo) and np.isposinf(hi) else (lo, hi)

    def clip(self, x: str, lo: float, hi: float, out: str) -> str:
        """Relu, or Clip with the bounds that are finite."""
        if lo == 0 and np.isposinf(hi):
            return self.add("Relu", [x], "", out=out)
        bounds = ["" if np.isinf(bound) else self.scalar(bound) for bound in (lo, hi)]
        return self.add("Clip", [x, *bounds] if bounds[1] else [x, bounds[0]], "", out=out)


def _number(node: Node, key: str, default: float) -> float:
    value = node.attrs.get(key, default)
    if isinstance(value, (str, list)):
        raise GraphError(f"node '{node.name}' ({node.op}): attribute '{key}' must be a number")
    return float(value)
