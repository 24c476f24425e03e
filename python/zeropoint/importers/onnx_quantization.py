"""Quantization parameters as ONNX writes them, and the float form of integer operators.

An operator that computes in integers (QLinearConv and its kin) is imported as what it stands for:
dequantize, the float operator, quantize. :mod:`zeropoint.quantization.integerize` makes one integer
node of it again, by the same rules as for files that spell the three steps out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from zeropoint import reference_int8
from zeropoint.errors import ModelError
from zeropoint.graph import Array, QuantParams
from zeropoint.importers.onnx_context import Context, OnnxNode, Unsupported
from zeropoint.importers.onnx_reader import require_onnx

Handler = Callable[[Context, OnnxNode], None]

_TINY = float(np.finfo(np.float32).tiny)
_OFFSET = {"int8": 0, "uint8": 128, "int32": 0}


def is_unsigned(array: Array) -> bool:
    return array.dtype == np.uint8


def type_name(kind: int) -> str:
    """The name of an ONNX data type."""
    types = require_onnx().TensorProto.DataType
    return str(types.Name(kind)) if kind in types.values() else f"type {kind}"


def to_int8(array: Array, what: str) -> Array:
    """8-bit integers of either kind in the int8 domain: 128 is taken off uint8."""
    if array.dtype == np.int8:
        return array
    if array.dtype != np.uint8:
        raise Unsupported(f"{what} is {array.dtype}; only int8 and uint8 are supported")
    return (array.astype(np.int16) - 128).astype(np.int8)


def read_scale(context: Context, node: OnnxNode, index: int) -> Array:
    """A constant float32 scale, per tensor () or per channel (C,)."""
    scale = context.need_constant(node, index, "the scale")
    name = node.inputs[index]
    if scale.dtype != np.float32:
        raise Unsupported(f"the scale '{name}' is {scale.dtype}, not float32")
    if not np.all(np.isfinite(scale)) or np.any(scale < 0):
        raise ModelError(
            f"{context.source.path}: the scale '{name}' of node '{node.name}' is negative or not "
            "finite; scales are positive numbers"
        )
    return scale.reshape(()) if scale.size == 1 else scale


def read_params(
    context: Context,
    node: OnnxNode,
    scale_index: int,
    zero_index: int,
    dtype: str,
    axis: int | None = None,
) -> QuantParams:
    """The parameters at two inputs of a node, in the int8 domain.

    Args:
        dtype: of the integers that they belong to: "int8", "uint8" or "int32".
        axis: the channel axis, where they are per channel.
    """
    scale = read_scale(context, node, scale_index)
    zero = (
        context.need_constant(node, zero_index, "the zero point")
        if (context.has(node, zero_index))
        else np.zeros((), dtype)
    )
    if str(zero.dtype) != dtype:
        raise Unsupported(f"the zero point is {zero.dtype}, and what it belongs to {dtype}")
    if scale.ndim > 1 or zero.ndim > 1:
        raise Unsupported("blocked quantization is not supported: scales have one axis at most")
    if zero.size not in (1, scale.size):
        raise Unsupported(f"{zero.size} zero points for {scale.size} scales")
    zero = np.asarray(zero.astype(np.int32) - _OFFSET[dtype])
    if scale.ndim == 0:
        return QuantParams(scale, zero.reshape(()))
    scale, zero = (np.ascontiguousarray(a) for a in np.broadcast_arrays(scale, zero.reshape(-1)))
    return QuantParams(scale, zero, axis)


def usable(params: QuantParams) -> bool:
    """Are all scales positive and normal?"""
    return bool(np.all(params.scale >= _TINY))


def activation_params(
    context: Context, node: OnnxNode, scale_index: int, zero_index: int, dtype: str
) -> QuantParams:
    """Per-tensor parameters of something that is computed while the model runs."""
    params = read_params(context, node, scale_index, zero_index, dtype)
    if params.scale.ndim:
        raise Unsupported("activations take one scale and zero point per tensor here")
    return checked(params)


def checked(params: QuantParams) -> QuantParams:
    if not usable(params):
        raise Unsupported(f"the scale {float(params.scale.min())} is zero or denormal")
    return params


def zero_dtype(context: Context, node: OnnxNode, index: int) -> str:
    """The integer type that a zero point names; uint8 where it is left out."""
    zero = context.constant(node, index)
    if zero is None:
        if context.has(node, index):
            raise Unsupported("the zero point must be a constant")
        return "uint8"
    if str(zero.dtype) not in ("int8", "uint8"):
        raise Unsupported(f"quantization to {zero.dtype} is not supported, only int8 and uint8")
    return str(zero.dtype)


# -- between integers and floats --------------------------------------------------------------


def dequantized_constant(context: Context, name: str, integers: Array, params: QuantParams) -> None:
    """Makes the float32 constant ``name`` of integers (int8 domain, or int32) and remembers them.

    Where a scale is zero or denormal, the result is an ordinary float32 constant.
    """
    if params.axis is not None and (
        params.axis >= integers.ndim or params.scale.shape != (integers.shape[params.axis],)
    ):
        raise Unsupported(
            f"{params.scale.size} scales do not fit axis {params.axis} of {list(integers.shape)}"
        )
    with np.errstate(over="ignore"):
        context.constants[name] = reference_int8.dequantize(integers, params)
    if not usable(params):
        return
    if integers.dtype == np.int8:
        context.quants[name] = params
    elif integers.ndim == 1 and not params.zero_point.any():
        context.biases[name] = (integers, params)


def real_input(
    context: Context, node: OnnxNode, index: int, scale_index: int, zero_index: int, axis: int = 0
) -> str:
    """The ONNX name of the float form of a quantized input.

    Args:
        axis: the channel axis of a constant with several scales.
    """
    if not context.has(node, index):
        raise Unsupported(f"input {index} is missing")
    array = context.constant(node, index)
    if array is not None:
        target = context.temporary(node, f"input{index}")
        integers = to_int8(array, f"the input '{node.inputs[index]}'")
        axis += integers.ndim if axis < 0 else 0
        params = read_params(context, node, scale_index, zero_index, str(array.dtype), axis)
        dequantized_constant(context, target, integers, params)
        return target
    x = context.value(node, index)
    dtype = onnx_dtype(context, x)
    if dtype not in ("int8", "uint8"):
        raise Unsupported(f"the input '{x}' is {dtype}, not int8 or uint8")
    params = activation_params(context, node, scale_index, zero_index, dtype)
    return dequantize(context, node, x, params)


def dequantize(context: Context, node: OnnxNode, x: str, params: QuantParams) -> str:
    x = context.with_params(x, params)
    target = context.temporary(node, "dequantized")
    return context.emit(node, "dequantize", [x], {}, target, "dequantize", dtypes=["float32"])


def quantize(
    context: Context, node: OnnxNode, x: str, params: QuantParams, dtype: str, output: str
) -> None:
    """Writes the node's integer output from its float form."""
    context.emit(node, "quantize", [x], {}, output, "quantize", params, ["int8"])
    if dtype == "uint8":
        context.unsigned.add(output)


def onnx_dtype(context: Context, name: str) -> str:
    dtype = context.graph.value(name).dtype
    return "uint8" if dtype == "int8" and name in context.unsigned else dtype


def float_form(
    context: Context,
    node: OnnxNode,
    handler: Handler,
    inputs: list[str],
    output: tuple[int, int] | None,
    op_type: str,
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Imports an integer operator as its float operator on dequantized inputs.

    Args:
        handler: of the float operator.
        inputs: ONNX names of float values, see :func:`real_input`.
        output: the inputs that hold the output's scale and zero point; None where the output is
            float32.
    """
    if output is None:
        handler(context, node.derived(op_type, inputs, node.outputs[0], **(attrs or {})))
        return
    dtype = zero_dtype(context, node, output[1])
    params = activation_params(context, node, *output, dtype)
    result = context.temporary(node, "real")
    handler(context, node.derived(op_type, inputs, result, **(attrs or {})))
    quantize(context, node, context.resolve(result), params, dtype, node.outputs[0])
