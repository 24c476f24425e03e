"""ONNX's own quantization operators: QuantizeLinear, DequantizeLinear, QLinear* and *Integer."""

from __future__ import annotations

import numpy as np

from zeropoint import reference_int8
from zeropoint.graph import Array, Attribute, QuantParams
from zeropoint.importers import onnx_ops_math, onnx_ops_nn
from zeropoint.importers.onnx_context import Context, OnnxNode, Unsupported
from zeropoint.importers.onnx_quantization import (
    Handler,
    checked,
    dequantize,
    dequantized_constant,
    float_form,
    is_unsigned,
    onnx_dtype,
    read_params,
    read_scale,
    real_input,
    to_int8,
    type_name,
    zero_dtype,
)
from zeropoint.importers.onnx_reader import require_onnx

#: Adding and taking off 1.5 * 2^23 rounds a float32 below 2^22 to an integer, ties to even.
_ROUNDER = np.float32(12582912.0)


def _refuse_blocks(node: OnnxNode) -> None:
    if node.attrs.get("block_size"):
        raise Unsupported(f"attribute 'block_size' = {node.attrs['block_size']} is not supported")


def _along(values: Array, axis: int, rank: int) -> Array:
    shape = [1] * rank
    shape[axis] = -1
    return np.asarray(values, np.float32).reshape(shape)


# -- QuantizeLinear ---------------------------------------------------------------------------


def _target_dtype(context: Context, node: OnnxNode) -> str:
    if context.has(node, 2) or not node.attrs.get("output_dtype"):
        return zero_dtype(context, node, 2)
    kinds = require_onnx().TensorProto
    names = {kinds.INT8: "int8", kinds.UINT8: "uint8"}
    kind = node.get_int("output_dtype")
    if kind not in names:
        raise Unsupported(
            f"quantization to {type_name(kind)} is not supported, only int8 and uint8"
        )
    return names[kind]


def _quantize_linear(context: Context, node: OnnxNode) -> None:
    _refuse_blocks(node)
    dtype = _target_dtype(context, node)
    constant = context.constant(node, 0)
    if constant is not None:
        if constant.dtype != np.float32:
            raise Unsupported(f"the input '{node.inputs[0]}' is {constant.dtype}, not float32")
        params = read_params(
            context, node, 1, 2, dtype, _channel_axis(context, node, constant.ndim)
        )
        integers = _quantized(context.finite(constant, node.inputs[0]), checked(params))
        if dtype == "uint8":
            integers = (integers.astype(np.int16) + 128).astype(np.uint8)
        context.constants[node.outputs[0]] = integers
        return
    x = context.value(node, 0)
    if context.graph.value(x).dtype != "float32":
        raise Unsupported(f"the input '{x}' is {onnx_dtype(context, x)}, not float32")
    rank = len(context.known_shape(x))
    params = checked(read_params(context, node, 1, 2, dtype, _channel_axis(context, node, rank)))
    if params.axis is not None:
        x, params = _quantize_channels(context, node, x, params, rank)
    context.emit(node, "quantize", [x], quant=params, dtypes=["int8"])
    if dtype == "uint8":
        context.unsigned.add(node.outputs[0])


def _channel_axis(context: Context, node: OnnxNode, rank: int) -> int | None:
    scale = context.constant(node, 1)
    if scale is None or scale.size == 1:
        return None
    return context.axis(node.get_int("axis", 1), rank)


def _quantized(x: Array, params: QuantParams) -> Array:
    if params.axis is None:
        return reference_int8.quantize(x, params)
    parts = [
        reference_int8.quantize(part, QuantParams(params.scale[i], params.zero_point[i]))
        for i, part in enumerate(np.moveaxis(x, params.axis, 0))
    ]
    return np.ascontiguousarray(np.moveaxis(np.stack(parts), 0, params.axis))


def _quantize_channels(
    context: Context, node: OnnxNode, x: str, params: QuantParams, rank: int
) -> tuple[str, QuantParams]:
    """An activation with a scale per channel: the division, the rounding and the zero points in
    float32, where all of them are exact; what is left is quantization with scale 1."""
    assert params.axis is not None

    def step(op: str, x: str, what: str, operand: Array | None, **attrs: Attribute) -> str:
        inputs = [x]
        if operand is not None:
            inputs.append(context.add_constant(context.temporary(node, what), operand))
        return context.emit(node, op, inputs, attrs, context.temporary(node, f"{what}_done"), what)

    scales = _along(params.scale, params.axis, rank)
    x = step("div", x, "scales", scales)
    if not np.all(params.zero_point == params.zero_point[0]):
        # Beyond 1024 everything saturates, whatever the zero point.
        x = step("clip", x, "bounded", None, min=-1024.0, max=1024.0)
        x = step("add", x, "rounder", np.asarray(_ROUNDER))
        x = step("sub", x, "rounded", np.asarray(_ROUNDER))
        x = step("add", x, "zero_points", _along(params.zero_point, params.axis, rank))
        return x, QuantParams.per_tensor(1.0, 0)
    return x, QuantParams.per_tensor(1.0, int(params.zero_point[0]))


# -- DequantizeLinear -------------------------------------------------------------------------


def _dequantize_linear(context: Context, node: OnnxNode) -> None:
    _refuse_blocks(node)
    constant = context.constant(node, 0)
    if constant is not None:
        _dequantize_constant(context, node, constant)
        return
    x = context.value(node, 0)
    dtype = onnx_dtype(context, x)
    if dtype == "int32":
        _dequantize_accumulator(context, node, x)
        return
    if dtype not in ("int8", "uint8"):
        raise Unsupported(f"the input '{x}' is {dtype}, not int8, uint8 or int32")
    rank = len(context.known_shape(x))
    params = checked(read_params(context, node, 1, 2, dtype, _channel_axis(context, node, rank)))
    if params.axis is None:
        x = context.with_params(x, params)
        context.emit(node, "dequantize", [x], dtypes=["float32"])
        return
    # float32(q) is exact, and so is taking the zero points off.
    real = dequantize(context, node, x, QuantParams.per_tensor(1.0, 0))
    zero = context.add_constant(
        context.temporary(node, "zero_points"), _along(params.zero_point, params.axis, rank)
    )
    scale = context.add_constant(
        context.temporary(node, "scales"), _along(params.scale, params.axis, rank)
    )
    centered = context.emit(
        node, "sub", [real, zero], {}, context.temporary(node, "centered"), "zero_points"
    )
    context.emit(node, "mul", [centered, scale])


def _dequantize_constant(context: Context, node: OnnxNode, integers: Array) -> None:
    dtype = str(integers.dtype)
    if dtype != "int32":
        integers = to_int8(integers, f"the constant '{node.inputs[0]}'")
    axis = _channel_axis(context, node, integers.ndim)
    params = read_params(context, node, 1, 2, dtype, axis)
    dequantized_constant(context, node.outputs[0], integers, params)


def _dequantize_accumulator(context: Context, node: OnnxNode, x: str) -> None:
    rank = len(context.known_shape(x))
    params = checked(read_params(context, node, 1, 2, "int32", _channel_axis(context, node, rank)))
    if params.zero_point.any():
        raise Unsupported("a zero point of int32 values other than 0 is not supported")
    real = context.emit(
        node,
        "cast",
        [x],
        {"to": "float32"},
        context.temporary(node, "float32"),
        "cast",
        dtypes=["float32"],
    )
    scale = params.scale if params.axis is None else _along(params.scale, params.axis, rank)
    name = context.add_constant(context.temporary(node, "scales"), np.asarray(scale))
    context.emit(node, "mul", [real, name])


# -- QLinearConv, QLinearMatMul ---------------------------------------------------------------


def quantized_bias(
    context: Context,
    node: OnnxNode,
    index: int,
    scales: tuple[int, int],
    channels: int,
    factor: float = 1.0,
) -> str:
    """The ONNX name of the float form of an int32 bias, whose unit is ``factor`` times the product
    of two scales."""
    integers = context.need_constant(node, index, "the bias")
    if integers.dtype != np.int32 or integers.size not in (1, channels):
        raise Unsupported(
            f"the bias is {integers.dtype}{list(integers.shape)}, not int32[{channels}]"
        )
    integers = np.broadcast_to(integers.reshape(-1), (channels,)).copy()
    a, b = (read_scale(context, node, i).reshape(-1) for i in scales)
    if a.size != 1 or b.size not in (1, channels):
        raise Unsupported(f"{b.size} scales of weights do not fit {channels} output channels")
    unit = np.broadcast_to((a * b * np.float32(factor)).astype(np.float32), (channels,)).copy()
    target = context.temporary(node, "bias")
    params = QuantParams(unit, np.zeros(channels, np.int32), 0)
    dequantized_constant(context, target, integers, params)
    return target


def _qlinear_conv(context: Context, node: OnnxNode) -> None:
    inputs = [real_input(context, node, 0, 1, 2), real_input(context, node, 3, 4, 5)]
    if context.has(node, 8):
        weight = context.need_constant(node, 3, "the weight")
        channels = weight.shape[0] if weight.ndim else 0
        inputs.append(quantized_bias(context, node, 8, (1, 4), channels))
    float_form(context, node, onnx_ops_nn.HANDLERS["Conv"], inputs, (6, 7), "Conv")


def _qlinear_matmul(context: Context, node: OnnxNode) -> None:
    inputs = [
        real_input(context, node, 0, 1, 2, axis=-2),
        real_input(context, node, 3, 4, 5, axis=-1),
    ]
    float_form(context, node, onnx_ops_math.HANDLERS["MatMul"], inputs, (6, 7), "MatMul")


# -- products of integers ---------------------------------------------------------------------


def raw_input(context: Context, node: OnnxNode, index: int) -> str:
    """The graph's value for an integer input, without any parameters."""
    if not context.has(node, index):
        raise Unsupported(f"input {index} is missing")
    array = context.constant(node, index)
    if array is not None:
        return context.add_constant(
            f"{node.inputs[index]}/int8", to_int8(array, f"the input '{node.inputs[index]}'")
        )
    x = context.value(node, index)
    if context.graph.value(x).dtype != "int8":
        raise Unsupported(f"the input '{x}' is {onnx_dtype(context, x)}, not int8 or uint8")
    return x


def raw_zero(context: Context, node: OnnxNode, index: int, operand: int) -> str:
    """The graph's value for the zero point of an integer operand; "" for 0 in int8."""
    array = context.constant(node, operand)
    if array is not None:
        unsigned = is_unsigned(array)
    else:
        unsigned = context.resolve(node.inputs[operand]) in context.unsigned
    if context.has(node, index):
        zero = context.constant(node, index)
        if zero is None:
            return raw_input(context, node, index)
        if zero.ndim > 1 and zero.size != max(zero.shape):
            raise Unsupported("zero points that differ between batches are not supported")
        zero = to_int8(zero.reshape(-1) if zero.ndim else zero, "the zero point")
        return context.add_constant(f"{node.inputs[index]}/int8", zero)
    if not unsigned:
        return ""
    return context.add_constant(context.temporary(node, "zero"), np.asarray(-128, np.int8))


def _matmul_integer(context: Context, node: OnnxNode) -> None:
    integer_product(context, node, (0, 1), (2, 3), node.outputs[0])


def integer_product(
    context: Context, node: OnnxNode, operands: tuple[int, int], zeros: tuple[int, int], output: str
) -> str:
    """int32 product of two integer matrices; the values' name."""
    inputs = [raw_input(context, node, i) for i in operands]
    inputs += [
        raw_zero(context, node, zero, operand)
        for zero, operand in zip(zeros, operands, strict=True)
    ]
    ranks = [len(context.known_shape(name)) for name in inputs[:2]]
    if 0 in ranks:
        raise Unsupported("a scalar operand is not allowed")
    drop = []
    for i, axis in ((0, 0), (1, 1)):
        if ranks[i] == 1:
            inputs[i] = context.emit(
                node,
                "unsqueeze",
                [inputs[i]],
                {"axes": [axis]},
                context.temporary(node, f"matrix{i}"),
                f"unsqueeze{i}",
            )
            drop.append(-2 + i)
    while not inputs[-1]:
        inputs.pop()
    if not drop:
        return context.emit(node, "matmul_integer", inputs, {}, output, dtypes=["int32"])
    product = context.temporary(node, "product")
    context.emit(node, "matmul_integer", inputs, {}, product, dtypes=["int32"])
    rank = len(context.known_shape(product))
    axes: Attribute = sorted(rank + axis for axis in drop)
    return context.emit(node, "squeeze", [product], {"axes": axes}, output, "squeeze")


def _conv_integer(context: Context, node: OnnxNode) -> None:
    weight = context.need_constant(node, 1, "the weight")
    to_int8(weight, "the weight")
    x = raw_input(context, node, 0)
    zeros = [raw_zero(context, node, 2, 0), raw_zero(context, node, 3, 1)]
    onnx_ops_nn.conv_integer(context, node, x, to_int8(weight, "the weight"), zeros)


def _dynamic_quantize_linear(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    if context.graph.value(x).dtype != "float32":
        raise Unsupported(f"the input '{x}' is {onnx_dtype(context, x)}, not float32")
    outputs = [*node.outputs, "", ""][:3]
    context.emit(node, "dynamic_quantize", [x], {}, outputs, dtypes=["int8", "float32", "int8"])
    made = context.graph.nodes[-1].outputs
    context.unsigned.update((made[0], made[2]))


HANDLERS: dict[str, Handler] = {
    "QuantizeLinear": _quantize_linear,
    "DequantizeLinear": _dequantize_linear,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "MatMulInteger": _matmul_integer,
    "ConvInteger": _conv_integer,
    "DynamicQuantizeLinear": _dynamic_quantize_linear,
}
