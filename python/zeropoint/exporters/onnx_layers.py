"""Convolutions, products, pools and resize as ONNX operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zeropoint.exporters.onnx_writer import CHANNELS_FIRST, Order, Writer, identity
from zeropoint.graph import Node, QuantParams
from zeropoint.reference_shape import integer, ints

# -- weights ------------------------------------------------------------------------------------


def _weights(writer: Writer, name: str, order: Order) -> str:
    """Constant weights in ``order``: float32, or int8 and DequantizeLinear along their channels."""
    value = writer.graph.value(name)
    stored = writer.form(name, order)
    if value.dtype != "int8":
        return stored
    params = writer.params(name)
    axis = None if params.axis is None else order.index(params.axis)
    return writer.dequantized(stored, params, "int8", f"{name}_dequantized", axis)


def _bias(writer: Writer, node: Node) -> list[str]:
    """The bias as a list of one, or of none; int32 in the accumulator's unit is dequantized."""
    if len(node.inputs) < 3 or not node.inputs[2]:
        return []
    name = node.inputs[2]
    stored = writer.form(name)
    if writer.graph.value(name).dtype != "int32":
        return [stored]
    x, w = (writer.params(n) for n in node.inputs[:2])
    scale = np.asarray(np.float32(x.scale.item()) * w.scale, np.float32)
    params = QuantParams(scale, np.zeros(scale.shape, np.int32), None if scale.ndim == 0 else 0)
    return [writer.dequantized(stored, params, "int32", f"{name}_dequantized")]


def _is_raw(writer: Writer, node: Node) -> bool:
    """Are int32 accumulators its result?"""
    return writer.graph.value(node.inputs[0]).dtype == "int8" and (
        writer.graph.value(node.outputs[0]).dtype == "int32"
    )


# -- convolutions -------------------------------------------------------------------------------


def conv2d(writer: Writer, node: Node) -> None:
    kernel = list(writer.shape(node.inputs[1])[1:3])
    attrs = {
        "kernel_shape": kernel,
        "strides": ints(node, "strides", [1, 1]),
        "pads": ints(node, "pads", [0, 0, 0, 0]),
        "dilations": ints(node, "dilations", [1, 1]),
        "group": integer(node, "groups", 1),
    }
    if node.op == "conv_integer" or _is_raw(writer, node):
        x, zero_x = _integer_operand(writer, node, 0, CHANNELS_FIRST)
        w, zero_w = _integer_operand(writer, node, 1, CHANNELS_FIRST)
        _accumulate(writer, node, "ConvInteger", [x, w, zero_x, zero_w], CHANNELS_FIRST, attrs)
        return
    x = writer.real(node.inputs[0], CHANNELS_FIRST)
    w = _weights(writer, node.inputs[1], CHANNELS_FIRST)
    inputs = [x, w, *_bias(writer, node)]
    writer.emit(node, "Conv", inputs, CHANNELS_FIRST, **attrs)


def conv_transpose2d(writer: Writer, node: Node) -> None:
    """ONNX keeps the weights as [I, O / groups, kh, kw], input channels group after group."""
    name, groups = node.inputs[1], integer(node, "groups", 1)
    out_channels, kh, kw, depth = writer.graph.constant(name).shape
    if groups == 1:
        w = _weights(writer, name, (3, 0, 1, 2))
    else:
        # Channels of several groups share an index there, so scales are applied before.
        w = _weights(writer, name, identity(4))
        split = writer.integers([groups, out_channels // groups, kh, kw, depth], f"{name}_groups")
        w = writer.add("Reshape", [w, split], f"{name}_grouped")
        w = writer.add("Transpose", [w], f"{name}_turned", perm=[0, 4, 1, 2, 3])
        whole = writer.integers([groups * depth, out_channels // groups, kh, kw], f"{name}_shape")
        w = writer.add("Reshape", [w, whole], f"{name}_input_first")
    x = writer.real(node.inputs[0], CHANNELS_FIRST)
    inputs = [x, w, *_bias(writer, node)]
    writer.emit(
        node, "ConvTranspose", inputs, CHANNELS_FIRST,
        kernel_shape=[kh, kw],
        strides=ints(node, "strides", [1, 1]),
        pads=ints(node, "pads", [0, 0, 0, 0]),
        dilations=ints(node, "dilations", [1, 1]),
        output_padding=ints(node, "output_padding", [0, 0]),
        group=groups,
    )  # fmt: skip


# -- products -----------------------------------------------------------------------------------


def linear(writer: Writer, node: Node) -> None:
    if _is_raw(writer, node):
        x, zero_x = _integer_operand(writer, node, 0, identity(writer.rank(node.inputs[0])))
        w, zero_w = _integer_operand(writer, node, 1, (1, 0))
        _accumulate(writer, node, "MatMulInteger", [x, w, zero_x, zero_w], None, {})
        return
    x, bias = writer.real(node.inputs[0]), _bias(writer, node)
    if writer.rank(node.inputs[0]) == 2:
        w = _weights(writer, node.inputs[1], (0, 1))
        writer.emit(node, "Gemm", [x, w, *bias], transB=1)
        return
    product = [x, _weights(writer, node.inputs[1], (1, 0))]
    if not bias:
        writer.emit(node, "MatMul", product)
        return
    y = writer.add("MatMul", product, f"{node.outputs[0]}_product")
    writer.emit(node, "Add", [y, *bias])


def matmul(writer: Writer, node: Node) -> None:
    if node.op == "matmul_integer" or _is_raw(writer, node):
        a, zero_a = _integer_operand(writer, node, 0, identity(writer.rank(node.inputs[0])))
        b, zero_b = _integer_operand(writer, node, 1, identity(writer.rank(node.inputs[1])))
        _accumulate(writer, node, "MatMulInteger", [a, b, zero_a, zero_b], None, {})
        return
    writer.emit(node, "MatMul", [writer.real(name) for name in node.inputs])


def _integer_operand(writer: Writer, node: Node, i: int, order: Order) -> tuple[str, str]:
    """The integers of an operand, and their zero point, as integer products want them.

    The first operand goes as uint8, which is the one type that all of them take. A zero point is
    that of the value's parameters, or an input of the node.
    """
    name, value = node.inputs[i], writer.graph.value(node.inputs[i])
    dtype = "uint8" if i == 0 else writer.dtype(name)
    stored = writer.form(name, order, dtype)
    if value.quant is not None:
        zero = value.quant.zero_point + (128 if dtype == "uint8" else 0)
        return stored, writer.constant(zero.astype(dtype), "zero_point")
    given = node.inputs[2 + i] if len(node.inputs) > 2 + i else ""
    if given:
        return stored, writer.form(given, None, dtype)
    return stored, writer.constant(np.asarray(128 if dtype == "uint8" else 0, dtype), "zero_point")


def _accumulate(
    writer: Writer, node: Node, op: str, inputs: list[str], order: Order | None,
    attrs: dict[str, Any],
) -> None:  # fmt: skip
    """An integer product, and its int32 bias where conv2d and linear have one."""
    has_bias = node.op in ("conv2d", "linear") and len(node.inputs) > 2 and node.inputs[2]
    if not has_bias:
        writer.emit(node, op, inputs, order, **attrs)
        return
    bias = writer.graph.constant(node.inputs[2])
    shape = [-1, 1, 1] if order == CHANNELS_FIRST else [-1]
    y = writer.add(op, inputs, f"{node.outputs[0]}_product", **attrs)
    writer.emit(node, "Add", [y, writer.constant(bias.reshape(shape), node.inputs[2])], order)


def dynamic_linear(writer: Writer, node: Node) -> None:
    """DynamicQuantizeLinear, MatMulInteger, and the scales in the order of the definition."""
    out = node.outputs[0]
    names = [writer.fresh(f"{out}_{what}") for what in ("quantized", "scale", "zero_point")]
    x, scale, zero = writer.add_many("DynamicQuantizeLinear", [writer.real(node.inputs[0])], names)
    params = writer.params(node.inputs[1])
    w_zero = writer.constant(params.zero_point.astype(np.int8), "zero_point")
    w = writer.form(node.inputs[1], (1, 0))
    y = writer.add("MatMulInteger", [x, w, zero, w_zero], f"{out}_accumulator")
    y = writer.add("Cast", [y], f"{out}_cast", to=writer.element_type("float32"))
    scales = [scale, writer.constant(params.scale.astype(np.float32), "scale")]
    unit = writer.add("Mul", scales, f"{out}_unit")
    bias = [writer.form(name) for name in node.inputs[2:] if name]
    if not bias:
        writer.emit(node, "Mul", [y, unit])
        return
    y = writer.add("Mul", [y, unit], f"{out}_product")
    writer.emit(node, "Add", [y, *bias])


def dynamic_quantize(writer: Writer, node: Node) -> None:
    """The integers and their zero point are uint8 in ONNX."""
    order = writer.order(node.inputs[0])
    x = writer.real(node.inputs[0], order)
    opened = [
        writer.open(name, own, dtype)[0] if name else writer.fresh(f"{node.name}_unused")
        for name, own, dtype in zip(
            [*node.outputs, "", ""][:3], (order, (), ()), ("uint8", "float32", "uint8"), strict=True
        )
    ]
    writer.add_many("DynamicQuantizeLinear", [x], opened, node=node.name)


# -- pools and resize ---------------------------------------------------------------------------


def pool(writer: Writer, node: Node) -> None:
    attrs: dict[str, Any] = {
        "kernel_shape": ints(node, "kernel"),
        "strides": ints(node, "strides", [1, 1]),
        "pads": ints(node, "pads", [0, 0, 0, 0]),
    }
    if node.op == "max_pool2d":
        op, attrs["dilations"] = "MaxPool", ints(node, "dilations", [1, 1])
    else:
        op, attrs["count_include_pad"] = "AveragePool", integer(node, "count_include_pad", 0)
    x = writer.real(node.inputs[0], CHANNELS_FIRST)
    writer.emit(node, op, [x], CHANNELS_FIRST, **attrs)


def global_max_pool(writer: Writer, node: Node) -> None:
    rank = writer.rank(node.inputs[0])
    order = (0, rank - 1, *range(1, rank - 1))
    writer.emit(node, "GlobalMaxPool", [writer.real(node.inputs[0], order)], order)


def resize(writer: Writer, node: Node) -> None:
    name = node.inputs[0]
    x = writer.real(name, CHANNELS_FIRST)
    n, height, width, channels = writer.shape(name)
    scales, sizes = node.attrs.get("scales"), ints(node, "sizes", [])
    if sizes:
        scales = _exact_scales(sizes, [height, width])
    if isinstance(scales, list) and (n is None or channels is None or not sizes):
        factors = np.asarray([1, 1, *scales], np.float32)
        target = [writer.constant(factors, f"{node.name}_scales")]
    elif n is not None and channels is not None:
        target = ["", writer.integers([n, channels, *sizes], f"{node.name}_sizes")]
    else:
        target = ["", _sizes(writer, node, x, sizes)]
    writer.emit(
        node, "Resize", [x, "", *target], CHANNELS_FIRST,
        mode=str(node.attrs.get("mode", "nearest")),
        coordinate_transformation_mode=str(node.attrs.get("coordinates", "half_pixel")),
        nearest_mode=str(node.attrs.get("nearest_mode", "round_prefer_floor")),
    )  # fmt: skip


def _exact_scales(sizes: list[int], dims: list[int | None]) -> list[float] | None:
    """Scales that float32 holds exactly, and that give these sizes."""
    scales = []
    for size, dim in zip(sizes, dims, strict=True):
        if dim is None or not math.log2(dim / math.gcd(size, dim)).is_integer():
            return None
        scales.append(size / dim)
    return scales


def _sizes(writer: Writer, node: Node, x: str, sizes: list[int]) -> str:
    """The sizes after resizing of an ``x`` whose batch is free: computed when the model runs."""
    shape = writer.add("Shape", [x], f"{node.name}_shape")
    bounds = [writer.integers([i], "bound") for i in (0, 2)]
    head = writer.add("Slice", [shape, *bounds], f"{node.name}_head")
    tail = writer.integers(sizes, f"{node.name}_tail")
    return writer.add("Concat", [head, tail], f"{node.name}_sizes", axis=0)


def reduce_mean(writer: Writer, node: Node) -> None:
    name, axes = node.inputs[0], ints(node, "axes", [])
    order, keep = writer.order(name), bool(integer(node, "keepdims", 1))
    x = writer.real(name, order)
    if keep and len(order) == 4 and order == CHANNELS_FIRST and sorted(axes) == [1, 2]:
        writer.emit(node, "GlobalAveragePool", [x], order)
        return
    moved = sorted(order.index(axis) for axis in axes)
    writer.emit(
        node, "ReduceMean", [x], order if keep else without(order, axes),
        axes=moved, keepdims=int(keep),
    )  # fmt: skip


def without(order: Order, axes: list[int]) -> Order:
    """The order of what is left when ``axes`` are taken out."""
    left = sorted(axis for axis in order if axis not in axes)
    return tuple(left.index(axis) for axis in order if axis not in axes)


def argmax(writer: Writer, node: Node) -> None:
    name, axis = node.inputs[0], integer(node, "axis", 0)
    order, keep = writer.order(name), integer(node, "keepdims", 1)
    writer.emit(
        node, "ArgMax", [writer.real(name, order)], order if keep else without(order, [axis]),
        axis=order.index(axis), keepdims=keep, select_last_index=integer(node, "select_last", 0),
    )  # fmt: skip
