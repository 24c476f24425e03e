"""ONNX arithmetic: matrix products, element-wise operators, activation functions, reductions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from zeropoint.graph import Attribute, QuantParams
from zeropoint.importers.onnx_context import Context, OnnxNode, UnknownShape, Unsupported
from zeropoint.shapes import product

_TINY = float(np.finfo(np.float32).tiny)

Handler = Callable[[Context, OnnxNode], None]


# -- matrix products --------------------------------------------------------------------------


def _matmul(context: Context, node: OnnxNode) -> None:
    a = context.value(node, 0)
    rank_a = len(context.known_shape(a))
    weight = context.constant(node, 1)
    if weight is not None and weight.ndim == 2 and rank_a >= 2:
        w = context.add_constant(
            node.inputs[1], np.ascontiguousarray(weight.T), context.quant_of(node, 1, (1, 0))
        )
        context.emit(node, "linear", [a, w])
        return
    b = context.value(node, 1)
    rank_b = len(context.known_shape(b))
    if rank_a == 0 or rank_b == 0:
        raise Unsupported("a scalar operand is not allowed")
    # One-dimensional operands become matrices, as in NumPy.
    drop = []
    if rank_a == 1:
        a = context.emit(
            node, "unsqueeze", [a], {"axes": [0]}, context.temporary(node, "row"), "row"
        )
        drop.append(-2)
    if rank_b == 1:
        b = context.emit(
            node, "unsqueeze", [b], {"axes": [1]}, context.temporary(node, "column"), "column"
        )
        drop.append(-1)
    if not drop:
        context.emit(node, "matmul", [a, b])
        return
    out = context.emit(node, "matmul", [a, b], outputs=context.temporary(node, "matrix"))
    rank = len(context.known_shape(out))
    axes = sorted(rank + axis for axis in drop)
    context.emit(node, "squeeze", [out], {"axes": axes}, suffix="squeeze")


def _gemm(context: Context, node: OnnxNode) -> None:
    alpha, beta = node.get_float("alpha", 1.0), node.get_float("beta", 1.0)
    a = context.value(node, 0)
    if node.get_int("transA", 0):
        a = context.emit(
            node, "transpose", [a], {"perm": [1, 0]}, context.temporary(node, "a"), "transpose_a"
        )
    has_c = context.has(node, 2) and beta != 0.0
    weight, c = context.constant(node, 1), context.constant(node, 2)
    inputs = [a]
    if weight is not None:
        context.finite(weight, node.inputs[1])
        if weight.ndim != 2:
            raise Unsupported("B must be a matrix")
        # [N, K] in float64, so that alpha costs one rounding.
        w = (weight if node.get_int("transB", 0) else weight.T).astype(np.float64) * alpha
        outputs = w.shape[0]
        quant = context.quant_of(node, 1, (0, 1) if node.get_int("transB", 0) else (1, 0))
        if quant is not None and alpha != 1.0:
            scaled = (quant.scale * np.float32(alpha)).astype(np.float32)
            usable = alpha > 0 and np.isfinite(scaled).all() and scaled.min() >= _TINY
            quant = QuantParams(scaled, quant.zero_point, quant.axis) if usable else None
        inputs.append(context.add_constant(node.inputs[1], w.astype(np.float32), quant))
        if (
            has_c
            and c is not None
            and (c.size == 1 or (c.shape[-1] == outputs and c.size == outputs))
        ):
            context.finite(c, node.inputs[2])
            if beta == 1.0 and c.shape == (outputs,):
                inputs.append(context.layer_bias(node, 2, c))
            else:
                bias = np.broadcast_to(c.astype(np.float64).reshape(-1) * beta, (outputs,))
                inputs.append(context.add_constant(node.inputs[2], bias.astype(np.float32)))
            has_c = False
        op = "linear"
    else:
        b = context.value(node, 1)
        if node.get_int("transB", 0):
            b = context.emit(
                node,
                "transpose",
                [b],
                {"perm": [1, 0]},
                context.temporary(node, "b"),
                "transpose_b",
            )
        inputs.append(b)
        op = "matmul"
    scale = alpha if op == "matmul" else 1.0
    steps = (scale != 1.0) + has_c
    out = context.emit(
        node, op, inputs, outputs=None if not steps else context.temporary(node, "product")
    )
    if scale != 1.0:
        factor = context.add_constant(
            context.temporary(node, "alpha"), np.asarray(scale, np.float32)
        )
        steps -= 1
        out = context.emit(
            node,
            "mul",
            [out, factor],
            outputs=None if not steps else context.temporary(node, "scaled"),
            suffix="alpha",
        )
    if has_c:
        addend = context.value(node, 2)
        if beta != 1.0:
            factor = context.add_constant(
                context.temporary(node, "beta"), np.asarray(beta, np.float32)
            )
            addend = context.emit(
                node, "mul", [addend, factor], outputs=context.temporary(node, "c"), suffix="beta"
            )
        context.emit(node, "add", [out, addend], suffix="add")


# -- element-wise -----------------------------------------------------------------------------


def _binary(op: str) -> Handler:
    def handler(context: Context, node: OnnxNode) -> None:
        context.emit(node, op, [context.value(node, 0), context.value(node, 1)])

    return handler


def _div(context: Context, node: OnnxNode) -> None:
    divisor = context.constant(node, 1)
    if divisor is not None:
        context.finite(divisor, node.inputs[1])
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            factor = (1.0 / divisor.astype(np.float64)).astype(np.float32)
        tiny = np.finfo(np.float32).tiny
        if np.all(np.isfinite(factor)) and np.all(np.abs(factor) >= tiny):
            # Within one unit in the last place of the division, and it can be merged into weights.
            name = context.add_constant(f"{node.inputs[1]}/reciprocal", factor)
            context.emit(node, "mul", [context.value(node, 0), name])
            return
    context.emit(node, "div", [context.value(node, 0), context.value(node, 1)])


def _sum(context: Context, node: OnnxNode) -> None:
    total = context.value(node, 0)
    count = len(node.inputs)
    if count == 1:
        context.alias(node.outputs[0], total)
    for i in range(1, count):
        last = i == count - 1
        total = context.emit(
            node,
            "add",
            [total, context.value(node, i)],
            outputs=None if last else context.temporary(node, f"sum{i}"),
            suffix="" if last else f"sum{i}",
        )


def _reciprocal(context: Context, node: OnnxNode) -> None:
    one = context.add_constant(context.temporary(node, "one"), np.asarray(1.0, np.float32))
    context.emit(node, "div", [one, context.value(node, 0)])


def _pow(context: Context, node: OnnxNode) -> None:
    exponent = context.need_floats(node, 1, "the exponent").reshape(-1)
    if exponent.size != 1 or float(exponent[0]) not in (0.5, 1.0, 2.0, 3.0):
        raise Unsupported("only the exponents 0.5, 1, 2 and 3 are supported")
    x = context.value(node, 0)
    power = float(exponent[0])
    if power == 1.0:
        context.alias(node.outputs[0], x)
    elif power == 0.5:
        context.emit(node, "sqrt", [x])
    elif power == 2.0:
        context.emit(node, "mul", [x, x])
    else:
        square = context.emit(
            node, "mul", [x, x], outputs=context.temporary(node, "square"), suffix="square"
        )
        context.emit(node, "mul", [square, x])


def _extremum(bound: str) -> Handler:
    """Min and Max of an activation and a constant scalar are a clip."""

    def handler(context: Context, node: OnnxNode) -> None:
        constants = [context.constant(node, i) for i in range(len(node.inputs))]
        limits = [c for c in constants if c is not None]
        others = [i for i, c in enumerate(constants) if c is None]
        if len(others) != 1 or any(limit.size != 1 or limit.ndim > 1 for limit in limits):
            raise Unsupported("only one activation against constant scalars is supported")
        if len(context.known_shape(context.value(node, others[0]))) < 1:
            raise Unsupported("a scalar activation is not supported")
        x = context.value(node, others[0])
        if not limits:
            context.alias(node.outputs[0], x)
            return
        choose = min if bound == "max" else max
        limit = choose(float(context.finite(c, node.name).reshape(-1)[0]) for c in limits)
        context.emit(node, "clip", [x], {bound: limit})

    return handler


# -- activation functions ---------------------------------------------------------------------


def _unary(op: str, **defaults: float) -> Handler:
    def handler(context: Context, node: OnnxNode) -> None:
        attrs: dict[str, Attribute] = {
            key: node.get_float(key, default) for key, default in defaults.items()
        }
        context.emit(node, op, [context.value(node, 0)], attrs)

    return handler


def _clip(context: Context, node: OnnxNode) -> None:
    attrs: dict[str, Attribute] = {}
    for i, key in ((1, "min"), (2, "max")):
        if context.opset < 11:
            bound = node.attrs.get(key)
        else:
            array = None
            if context.has(node, i):
                array = context.need_constant(node, i, f"the bound '{key}'")
                if array.size != 1:
                    raise Unsupported(f"the bound '{key}' must be a scalar")
            bound = None if array is None else float(array.reshape(-1)[0])
        if bound is None:
            continue
        if math.isnan(bound):
            raise Unsupported(f"the bound '{key}' is NaN")
        # The widest float32 is how old exporters write "no bound".
        if abs(bound) < float(np.finfo(np.float32).max):
            attrs[key] = float(bound)
        elif (bound > 0) == (key == "min"):
            raise Unsupported(f"the bound '{key}' = {bound} leaves no values")
    if attrs:
        context.emit(node, "clip", [context.value(node, 0)], attrs)
    else:
        context.alias(node.outputs[0], context.value(node, 0))


def _prelu(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    slope = context.need_floats(node, 1, "the slope")
    context.emit(node, "prelu", [x, context.add_constant(node.inputs[1], slope)])


def _gelu(context: Context, node: OnnxNode) -> None:
    kind = node.get_str("approximate", "none")
    if kind not in ("none", "tanh"):
        raise Unsupported(f"attribute 'approximate' = '{kind}' is not supported")
    context.emit(node, "gelu" if kind == "none" else "gelu_tanh", [context.value(node, 0)])


def _swish(context: Context, node: OnnxNode) -> None:
    if node.get_float("alpha", 1.0) != 1.0:
        raise Unsupported(f"attribute 'alpha' = {node.attrs['alpha']} is not supported, only 1")
    context.emit(node, "silu", [context.value(node, 0)])


def _softmax(context: Context, node: OnnxNode) -> None:
    softmax(context, node, context.opset)


def softmax(context: Context, node: OnnxNode, opset: int) -> None:
    """Softmax as it is defined in version ``opset``."""
    x = context.value(node, 0)
    shape = context.known_shape(x)
    rank = len(shape)
    if opset >= 13:
        context.emit(node, "softmax", [x], {"axis": context.axis(node.get_int("axis", -1), rank)})
        return
    # Before opset 13: softmax over all the dimensions from axis on, taken as one.
    axis = context.axis(node.get_int("axis", 1), rank)
    wide = [i for i in range(axis, rank) if shape[i] != 1]
    if len(wide) <= 1:
        only = wide[0] if wide else axis
        context.emit(node, "softmax", [x], {"axis": only})
        return
    if product(shape[axis:]) is None:
        raise UnknownShape(f"softmax over the dimensions from {axis} on needs their sizes")
    flat = context.emit(
        node, "flatten", [x], {"axis": axis}, context.temporary(node, "flat"), "flatten"
    )
    soft = context.emit(node, "softmax", [flat], {"axis": 1}, context.temporary(node, "softmax"))
    back = [0 if dim is None and i == 0 else dim for i, dim in enumerate(shape)]
    if back.count(None) > 1:
        raise UnknownShape("softmax over several dimensions of an input with free ones")
    context.emit(
        node,
        "reshape",
        [soft],
        {"shape": [-1 if d is None else d for d in back]},
        suffix="reshape",
    )


def _log_softmax(context: Context, node: OnnxNode) -> None:
    """x - max - log(sum(exp(x - max))) over the last axis.

    The maximum is a global max pooling over a view [rows, K, 1] of x; the sum is K times the mean.
    """
    x = context.value(node, 0)
    shape = context.known_shape(x)
    rank = len(shape)
    axis = context.axis(node.get_int("axis", -1 if context.opset >= 13 else 1), rank)
    size = shape[axis]
    if rank != 2 or axis != 1 or size is None:
        raise Unsupported("only matrices are supported, over their second, known dimension")

    def step(op: str, inputs: list[str], what: str, attrs: dict[str, Attribute]) -> str:
        return context.emit(node, op, inputs, attrs, context.temporary(node, what), what)

    view = step("unsqueeze", [x], "view", {"axes": [2]})
    pooled = step("global_max_pool", [view], "pooled", {})
    top = step("squeeze", [pooled], "max", {"axes": [2]})
    shifted = step("sub", [x, top], "shifted", {})
    mean = step(
        "reduce_mean", [step("exp", [shifted], "exp", {})], "mean", {"axes": [1], "keepdims": 1}
    )
    count = context.add_constant(context.temporary(node, "count"), np.asarray(size, np.float32))
    total = step("log", [step("mul", [mean, count], "sum", {})], "log", {})
    context.emit(node, "sub", [shifted, total])


# -- reductions -------------------------------------------------------------------------------


def _reduce_mean(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    rank = len(context.known_shape(x))
    axes = node.get_ints("axes") if context.opset < 18 else context.int_list(node, 1, "axes")
    if not axes:
        if node.get_int("noop_with_empty_axes", 0):
            context.alias(node.outputs[0], x)
            return
        axes = list(range(rank))
    context.emit(
        node,
        "reduce_mean",
        [x],
        {
            "axes": sorted({context.axis(a, rank, "the axis") for a in axes}),
            "keepdims": int(bool(node.get_int("keepdims", 1))),
        },
    )


def _argmax(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    context.emit(
        node,
        "argmax",
        [x],
        {
            "axis": context.axis(node.get_int("axis", 0), len(context.known_shape(x))),
            "keepdims": int(bool(node.get_int("keepdims", 1))),
            "select_last": int(bool(node.get_int("select_last_index", 0))),
        },
    )


HANDLERS: dict[str, Handler] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Add": _binary("add"),
    "Sub": _binary("sub"),
    "Mul": _binary("mul"),
    "Div": _div,
    "Sum": _sum,
    "Reciprocal": _reciprocal,
    "Pow": _pow,
    "Min": _extremum("max"),
    "Max": _extremum("min"),
    "Clip": _clip,
    "PRelu": _prelu,
    "Gelu": _gelu,
    "Swish": _swish,
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
    "ReduceMean": _reduce_mean,
    "ArgMax": _argmax,
    "LeakyRelu": _unary("leaky_relu", alpha=0.01),
    "Elu": _unary("elu", alpha=1.0),
    "HardSigmoid": _unary("hard_sigmoid", alpha=0.2, beta=0.5),
    "HardSwish": _unary("hard_swish"),
    "Relu": _unary("relu"),
    "Sigmoid": _unary("sigmoid"),
    "Tanh": _unary("tanh"),
    "Softplus": _unary("softplus"),
    "Mish": _unary("mish"),
    "Exp": _unary("exp"),
    "Log": _unary("log"),
    "Sqrt": _unary("sqrt"),
    "Abs": _unary("abs"),
    "Neg": _unary("neg"),
    "Erf": _unary("erf"),
}
