"""The reference executor: any graph, float or quantized, in plain NumPy.

It is slow, and it is the living definition of what a graph means: the engine's answers equal its
answers to the bit, on every ISA and with any number of threads. The operators' semantics are listed
in :mod:`zeropoint.operators`; the arithmetic is in :mod:`zeropoint.reference_float` and
:mod:`zeropoint.reference_int8`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from zeropoint import float_math, reference_float, reference_int8, reference_shape
from zeropoint.errors import Error, GraphError, InputError, UnsupportedError
from zeropoint.graph import Array, Graph, Node, QuantParams
from zeropoint.operators import ACCUMULATES, MOVES, UNARY
from zeropoint.reference_shape import integer, real


def run(
    graph: Graph,
    inputs: Mapping[str, Array],
    fetch: Iterable[str] | None = None,
    *,
    exact: bool = True,
) -> dict[str, Array]:
    """Runs ``graph`` node by node.

    Args:
        graph: any graph whose operators are listed in :mod:`zeropoint.operators`.
        inputs: an array per graph input, of its dtype (uint8 where the graph says so) and, where
            not free, its shape.
        fetch: names of the values to return; the graph's outputs by default. Any activation or
            constant may be named.
        exact: False lets float32 dot products use NumPy's matrix multiplication: much faster, and
            equal to the engine's up to float32 rounding only. Int8 operators are exact either way.

    Returns:
        The fetched arrays by name; int8 values in the file's domain, or as uint8 where they are
        graph inputs or outputs that callers see so.

    Raises:
        InputError: inputs are missing, unknown, or of the wrong dtype or shape; ``fetch`` names
            something that is not there.
        UnsupportedError: an operator that the reference does not know.
    """
    wanted = list(graph.outputs if fetch is None else fetch)
    unknown = [name for name in wanted if name not in graph.values]
    if unknown:
        raise InputError(f"no values named {unknown} in the graph '{graph.name}'")
    values = _check_inputs(graph, inputs)
    last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs if name}
    results = {name: values[name] for name in wanted if name in values}
    for name in wanted:
        data = graph.values[name].data
        if data is not None:
            results[name] = data
    for i, node in enumerate(graph.nodes):
        if len(results) == len(set(wanted)):
            break
        try:
            outputs = _run_node(graph, node, values, exact)
        except Error:
            raise
        except (ValueError, IndexError, TypeError, KeyError) as error:
            raise GraphError(f"node '{node.name}' ({node.op}) cannot run: {error}") from error
        for name, array in zip(node.outputs, outputs, strict=False):
            if name:
                values[name] = array
                if name in wanted:
                    results[name] = array
        for name in node.inputs:
            if name and last_use[name] == i:
                values.pop(name, None)
    return {name: _outside(graph, name, results[name]) for name in wanted}


def _outside(graph: Graph, name: str, array: Array) -> Array:
    """A value as callers see it. NaNs of a float32 output are 0x7FC00000, whatever made them."""
    if name in graph.outputs and array.dtype == np.float32:
        return np.where(np.isnan(array), np.float32(np.nan), array)
    return _flipped(graph, name, array)


def _flipped(graph: Graph, name: str, array: Array) -> Array:
    """int8 to uint8 or back, which differ by 128, where callers see the value as uint8."""
    if name not in graph.unsigned:
        return array
    return (array.view(np.uint8) ^ 0x80).view(np.uint8 if array.dtype == np.int8 else np.int8)


def _check_inputs(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    missing = [name for name in graph.inputs if name not in inputs]
    extra = [name for name in inputs if name not in graph.inputs]
    if missing or extra:
        raise InputError(f"the graph's inputs are {graph.inputs}; missing {missing}, extra {extra}")
    values: dict[str, Array] = {}
    for name in graph.inputs:
        array, value = np.asarray(inputs[name]), graph.value(name)
        expected = "uint8" if name in graph.unsigned else value.dtype
        if str(array.dtype) != expected:
            raise InputError(f"input '{name}' is {array.dtype}; expected {expected}")
        shape = value.shape
        if shape is not None and (
            len(shape) != array.ndim
            or any(d is not None and d != n for d, n in zip(shape, array.shape, strict=True))
        ):
            raise InputError(
                f"input '{name}' has shape {list(array.shape)}; expected "
                f"{['?' if d is None else d for d in shape]}"
            )
        values[name] = _flipped(graph, name, array)
    return values


def _params(graph: Graph, name: str) -> QuantParams:
    quant = graph.value(name).quant
    if quant is None:
        raise GraphError(f"the int8 value '{name}' has no scale and zero point")
    return quant


def _run_node(graph: Graph, node: Node, values: Mapping[str, Array], exact: bool) -> list[Array]:
    arrays: list[Array | None] = []
    for name in node.inputs:
        if not name:
            arrays.append(None)
        elif name in values:
            arrays.append(values[name])
        else:
            arrays.append(graph.constant(name))
    x = arrays[0]
    if x is None:
        raise GraphError(f"node '{node.name}' ({node.op}) has no first input")
    if node.op in MOVES:
        return reference_shape.move(node, x)
    if node.op == "argmax":
        return [reference_shape.argmax(node, x)]
    if node.op == "concat":
        present = [a for a in arrays if a is not None]
        return [np.concatenate(present, integer(node, "axis"))]
    if node.op == "global_max_pool":
        return [reference_float.global_max_pool(x)]
    if node.op == "quantize":
        return [reference_int8.quantize(x, _params(graph, node.outputs[0]))]
    if node.op == "dequantize":
        return [reference_int8.dequantize(x, _params(graph, node.inputs[0]))]
    if node.op == "cast":
        return [reference_float.cast(x, str(node.attrs["to"]))]
    if node.op == "dynamic_quantize":
        return reference_int8.dynamic_quantize(x)
    if node.op == "matmul_integer":
        return [
            reference_int8.matmul_integer(node, x, _second(node, arrays), *_zero_points(arrays))
        ]
    if node.op == "conv_integer":
        return [reference_int8.conv_integer(node, x, _second(node, arrays), *_zero_points(arrays))]
    if node.op == "dynamic_linear":
        bias = arrays[2] if len(arrays) > 2 else None
        weights = _second(node, arrays), bias, _params(graph, node.inputs[1])
        return [reference_int8.dynamic_linear(node, x, *weights)]
    if x.dtype == np.int8:
        return [_run_int8(graph, node, x, arrays)]
    if x.dtype == np.float32:
        return [_run_float(node, x, arrays, exact)]
    raise UnsupportedError(f"node '{node.name}' ({node.op}): no form for {x.dtype}")


def _zero_points(arrays: list[Array | None]) -> tuple[Array | None, Array | None]:
    zero_x, zero_w = [*arrays[2:4], None, None][:2]
    return zero_x, zero_w


def _second(node: Node, arrays: list[Array | None], i: int = 1) -> Array:
    array = arrays[i] if len(arrays) > i else None
    if array is None:
        raise GraphError(f"node '{node.name}' ({node.op}): input {i} is missing")
    return array


def _run_float(node: Node, x: Array, arrays: list[Array | None], exact: bool) -> Array:
    f = reference_float
    bias = arrays[2] if len(arrays) > 2 else None
    if node.op == "conv2d":
        return f.conv2d(node, x, _second(node, arrays), bias, exact)
    if node.op == "conv_transpose2d":
        return f.conv_transpose2d(node, x, _second(node, arrays), bias, exact)
    if node.op == "linear":
        return f.linear(node, x, _second(node, arrays), bias, exact)
    if node.op == "matmul":
        return f.matmul(x, _second(node, arrays), exact)
    if node.op in ("add", "sub", "mul", "div", "max", "min"):
        return f.binary(node, x, _second(node, arrays))
    if node.op == "prelu":
        return float_math.prelu(x, _second(node, arrays))
    if node.op in UNARY:
        return f.unary(node, x)
    if node.op == "pow":
        return f.power(node, x)
    if node.op == "layer_norm":
        return f.layer_norm(node, x, _second(node, arrays), bias)
    if node.op == "max_pool2d":
        return f.max_pool2d(node, x)
    if node.op == "avg_pool2d":
        return f.avg_pool2d(node, x)
    if node.op == "reduce_mean":
        return f.reduce_mean(node, x)
    if node.op == "softmax":
        return f.softmax(x, integer(node, "axis", -1))
    if node.op == "resize":
        return f.resize(node, x)
    if node.op == "pad":
        return reference_shape.pad(node, x, np.float32(real(node, "value", 0.0)))
    raise UnsupportedError(f"node '{node.name}' ({node.op}): no float32 form")


def _run_int8(graph: Graph, node: Node, x: Array, arrays: list[Array | None]) -> Array:
    q = reference_int8
    bias = arrays[2] if len(arrays) > 2 else None
    if node.op == "lookup":
        return q.lookup(x, _second(node, arrays))
    px = _params(graph, node.inputs[0])
    if node.op in ACCUMULATES:
        raw = graph.value(node.outputs[0]).dtype == "int32"
        pw, out = _params(graph, node.inputs[1]), None if raw else _params(graph, node.outputs[0])
        if node.op == "matmul":
            return q.matmul(node, x, _second(node, arrays), px, pw, out)
        product = q.conv2d if node.op == "conv2d" else q.linear
        return product(node, x, _second(node, arrays), bias, px, pw, out)
    py = _params(graph, node.outputs[0])
    if node.op == "conv_transpose2d":
        pw = _params(graph, node.inputs[1])
        return q.conv_transpose2d(node, x, _second(node, arrays), bias, px, pw, py)
    if node.op in ("add", "sub", "mul"):
        pb = _params(graph, node.inputs[1])
        return q.binary(node, x, _second(node, arrays), px, pb, py)
    if node.op == "max_pool2d":
        return q.max_pool2d(node, x)
    if node.op == "avg_pool2d":
        return q.avg_pool2d(node, x, px, py)
    if node.op == "reduce_mean":
        return q.reduce_mean(node, x, px, py)
    if node.op == "softmax":
        return q.softmax(node, x, _second(node, arrays), py)
    if node.op == "resize":
        if node.attrs.get("mode") == "nearest":
            return reference_shape.resize_nearest(node, x)
        return q.resize_linear(node, x, px)
    if node.op == "pad":
        value = q.quantize(np.asarray(real(node, "value", 0.0), np.float32), px)
        return reference_shape.pad(node, x, value)
    raise UnsupportedError(f"node '{node.name}' ({node.op}): no int8 form")
