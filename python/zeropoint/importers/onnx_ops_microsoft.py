"""Quantized operators of the com.microsoft domain, which ONNX Runtime's tools write.

Source of their meaning: the operator documentation of ONNX Runtime (docs/ContribOperators.md).
"""

from __future__ import annotations

from zeropoint.graph import Attribute
from zeropoint.importers import onnx_ops_math, onnx_ops_nn, onnx_ops_quant, onnx_ops_shape
from zeropoint.importers.onnx_context import Context, OnnxNode, Unsupported
from zeropoint.importers.onnx_quantization import (
    Handler,
    float_form,
    read_scale,
    real_input,
)
from zeropoint.transforms.layout import TO_NCHW, TO_NHWC

_FLOAT = {**onnx_ops_math.HANDLERS, **onnx_ops_nn.HANDLERS, **onnx_ops_shape.HANDLERS}


def _binary(op_type: str) -> Handler:
    def handler(context: Context, node: OnnxNode) -> None:
        inputs = [real_input(context, node, i, i + 1, i + 2) for i in (0, 3)]
        float_form(context, node, _FLOAT[op_type], inputs, (6, 7), op_type)

    return handler


def _unary(op_type: str) -> Handler:
    def handler(context: Context, node: OnnxNode) -> None:
        inputs = [real_input(context, node, 0, 1, 2)]
        float_form(context, node, _FLOAT[op_type], inputs, (3, 4), op_type)

    return handler


def _pool(op_type: str) -> Handler:
    pool = _FLOAT[op_type]

    def channels_last(context: Context, node: OnnxNode) -> None:
        x, output = context.value(node, 0), node.outputs[0]
        if len(context.known_shape(x)) != 4:
            raise Unsupported("attribute 'channels_last' with other than two spatial dimensions")
        planes = context.temporary(node, "planes")
        context.emit(node, "transpose", [x], {"perm": list(TO_NCHW)}, planes, "to_nchw")
        pooled = context.temporary(node, "pooled")
        pool(context, node.derived(op_type, [planes], pooled))
        context.emit(node, "transpose", [pooled], {"perm": list(TO_NHWC)}, output, "to_nhwc")

    def handler(context: Context, node: OnnxNode) -> None:
        inputs = [real_input(context, node, 0, 1, 2)]
        form = channels_last if node.get_int("channels_last", 0) else pool
        float_form(context, node, form, inputs, (3, 4), op_type)

    return handler


def _softmax(context: Context, node: OnnxNode) -> None:
    opset = node.get_int("opset", 13)

    def handler(context: Context, node: OnnxNode) -> None:
        onnx_ops_math.softmax(context, node, opset)

    axis = node.get_int("axis", -1 if opset >= 13 else 1)
    inputs = [real_input(context, node, 0, 1, 2)]
    float_form(context, node, handler, inputs, (3, 4), "Softmax", {"axis": axis})


def _concat(context: Context, node: OnnxNode) -> None:
    if len(node.inputs) < 5 or len(node.inputs) % 3 != 2:
        raise Unsupported(f"it has {len(node.inputs)} inputs, not three for each tensor")
    inputs = [real_input(context, node, i, i + 1, i + 2) for i in range(2, len(node.inputs), 3)]
    float_form(context, node, _FLOAT["Concat"], inputs, (0, 1), "Concat")


def _gemm(context: Context, node: OnnxNode) -> None:
    transposed = node.get_int("transB", 0)
    inputs = [
        real_input(context, node, 0, 1, 2),
        real_input(context, node, 3, 4, 5, axis=0 if transposed else 1),
    ]
    if context.has(node, 6):
        weight = context.constant(node, 3)
        if weight is None or weight.ndim != 2:
            raise Unsupported("with a bias, B must be a constant matrix")
        channels = weight.shape[0 if transposed else 1]
        # alpha scales the product and, through the unit of C, the bias as well.
        alpha = node.get_float("alpha", 1.0)
        inputs.append(onnx_ops_quant.quantized_bias(context, node, 6, (1, 4), channels, alpha))
    output = (7, 8) if context.has(node, 7) else None
    float_form(context, node, _FLOAT["Gemm"], inputs, output, "Gemm", {"beta": 1.0})


# -- float results ----------------------------------------------------------------------------


def _column_scale(context: Context, node: OnnxNode, index: int, name: str) -> str:
    """The graph's value for a scale: one number, a vector per column, or computed at run time."""
    if context.constant(node, index) is None:
        return context.value(node, index)
    scale = read_scale(context, node, index)
    return context.add_constant(context.temporary(node, name), scale)


def _scaled_product(
    context: Context, node: OnnxNode, product: str, scales: tuple[str, str], bias: int
) -> None:
    """float32(product) * (scale_a * scale_b) + bias."""

    def step(op: str, inputs: list[str], what: str, last: bool = False) -> str:
        attrs: dict[str, Attribute] = {"to": "float32"} if op == "cast" else {}
        output = node.outputs[0] if last else context.temporary(node, what)
        suffix = "" if last else what
        return context.emit(node, op, inputs, attrs, output, suffix, dtypes=["float32"])

    has_bias = context.has(node, bias)
    unit = step("mul", list(scales), "unit")
    scaled = step("mul", [step("cast", [product], "float32"), unit], "scaled", not has_bias)
    if has_bias:
        array = context.need_floats(node, bias, "the bias")
        step("add", [scaled, context.add_constant(node.inputs[bias], array)], "", True)


def _matmul_integer_to_float(context: Context, node: OnnxNode) -> None:
    product = context.temporary(node, "int32")
    onnx_ops_quant.integer_product(context, node, (0, 1), (4, 5), product)
    scales = (_column_scale(context, node, 2, "a_scale"), _column_scale(context, node, 3, "scale"))
    _scaled_product(context, node, product, scales, 6)


def _dynamic_quantize_matmul(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    parts = [context.temporary(node, what) for what in ("quantized", "x_scale", "x_zero")]
    context.emit(
        node, "dynamic_quantize", [x], {}, parts, "quantize", dtypes=["int8", "float32", "int8"]
    )
    context.unsigned.update((parts[0], parts[2]))
    inputs = [parts[0], node.inputs[1], parts[2], *node.inputs[3:4]]
    product = context.temporary(node, "int32")
    inner = node.derived("MatMulInteger", inputs, product)
    onnx_ops_quant.integer_product(context, inner, (0, 1), (2, 3), product)
    scale = _column_scale(context, node, 2, "scale")
    _scaled_product(context, node, product, (parts[1], scale), 4)


HANDLERS: dict[str, Handler] = {
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearAveragePool": _pool("AveragePool"),
    "QLinearGlobalAveragePool": _pool("GlobalAveragePool"),
    "QLinearConcat": _concat,
    "QLinearSoftmax": _softmax,
    "QGemm": _gemm,
    "MatMulIntegerToFloat": _matmul_integer_to_float,
    "DynamicQuantizeMatMul": _dynamic_quantize_matmul,
    "QuantizeLinear": onnx_ops_quant.HANDLERS["QuantizeLinear"],
    "DequantizeLinear": onnx_ops_quant.HANDLERS["DequantizeLinear"],
}
