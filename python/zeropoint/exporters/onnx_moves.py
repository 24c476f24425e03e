"""Operators that move data, as ONNX operators: in whatever order of axes their input is at hand."""

from __future__ import annotations

from zeropoint.exporters.onnx_layers import without
from zeropoint.exporters.onnx_writer import Order, Writer, identity
from zeropoint.graph import Node
from zeropoint.reference_shape import integer, ints, real


def transpose(writer: Writer, node: Node) -> None:
    """No node: the same tensor, its axes read in another order."""
    perm = ints(node, "perm")
    order = tuple(perm.index(axis) for axis in writer.order(node.inputs[0]))
    if writer.graph.value(node.inputs[0]).is_constant:
        x = writer.real(node.inputs[0])
        writer.emit(node, "Transpose", [x], perm=perm)
        return
    writer.alias(node.outputs[0], node.inputs[0], order)


def _same_memory(writer: Writer, name: str, order: Order) -> bool:
    """Does ``order`` move axes of length 1 only?"""
    shape = writer.shape(name)
    kept = [axis for axis in order if shape[axis] != 1]
    return kept == sorted(kept)


def reshape(writer: Writer, node: Node) -> None:
    name = node.inputs[0]
    shape, order = ints(node, "shape", []), writer.order(name)
    result = [-1 if dim is None else dim for dim in writer.shape(node.outputs[0])]
    if order != identity(len(order)):
        if _same_memory(writer, name, order) and result.count(-1) <= 1:
            shape = result
        else:
            order = identity(len(order))
    target = writer.integers(shape, f"{node.name}_shape")
    writer.emit(node, "Reshape", [writer.real(name, order), target])


def flatten(writer: Writer, node: Node) -> None:
    name, axis = node.inputs[0], integer(node, "axis", 1)
    order, shape = writer.order(name), writer.shape(node.inputs[0])
    head = {a for a in order[:axis] if shape[a] != 1}
    if not _same_memory(writer, name, order) or head != {a for a in range(axis) if shape[a] != 1}:
        order = identity(len(order))
    writer.emit(node, "Flatten", [writer.real(name, order)], axis=axis)


def squeeze(writer: Writer, node: Node) -> None:
    name, axes = node.inputs[0], ints(node, "axes")
    order = writer.order(name)
    moved = writer.integers(sorted(order.index(axis) for axis in axes), f"{node.name}_axes")
    writer.emit(node, "Squeeze", [writer.real(name, order), moved], without(order, axes))


def unsqueeze(writer: Writer, node: Node) -> None:
    axes = writer.integers(ints(node, "axes"), f"{node.name}_axes")
    writer.emit(node, "Unsqueeze", [writer.real(node.inputs[0]), axes])


def slice_(writer: Writer, node: Node) -> None:
    name, starts = node.inputs[0], ints(node, "starts")
    order = writer.order(name)
    axes = ints(node, "axes", list(range(len(starts))))
    bounds = {
        "starts": starts,
        "ends": ints(node, "ends"),
        "axes": [order.index(axis) for axis in axes],
        "steps": ints(node, "steps", [1] * len(starts)),
    }
    operands = [writer.integers(values, f"{node.name}_{what}") for what, values in bounds.items()]
    writer.emit(node, "Slice", [writer.real(name, order), *operands], order)


def split(writer: Writer, node: Node) -> None:
    name = node.inputs[0]
    order = writer.order(name)
    sizes = writer.integers(ints(node, "sizes"), f"{node.name}_sizes")
    inputs, axis = [writer.real(name, order), sizes], order.index(integer(node, "axis", 0))
    writer.emit_many(node, "Split", inputs, [order] * len(node.outputs), axis=axis)


def concat(writer: Writer, node: Node) -> None:
    present = [name for name in node.inputs if name]
    order = writer.common_order(present)
    inputs = [
        writer.real(name, order)
        if writer.is_quantized(name)
        else writer.form(name, order, writer.dtype(present[0]))
        for name in present
    ]
    writer.emit(node, "Concat", inputs, order, axis=order.index(integer(node, "axis")))


def pad(writer: Writer, node: Node) -> None:
    name, pads = node.inputs[0], ints(node, "pads")
    order = writer.order(name)
    rank = len(order)
    moved = [pads[axis] for axis in order] + [pads[rank + axis] for axis in order]
    inputs = [writer.real(name, order), writer.integers(moved, f"{node.name}_pads")]
    mode = str(node.attrs.get("mode", "constant"))
    if mode == "constant":
        inputs.append(writer.scalar(real(node, "value", 0.0)))
    writer.emit(node, "Pad", inputs, order, mode=mode)
