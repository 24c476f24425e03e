"""Evaluates nodes whose inputs are all constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from zeropoint.graph import Array, Graph, Node
from zeropoint.operators import VIEWS
from zeropoint.shapes import reshape_result, slice_bounds

_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
}
_UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "neg": np.negative,
    "relu": lambda x: np.maximum(x, 0),
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}


def apply(graph: Graph) -> None:
    """Replaces what can be known by constants of the same names.

    Arithmetic is done in float64 and rounded once; a result that is not finite is left for the
    run to compute.
    """
    kept = []
    for node in graph.nodes:
        constant = all(name and graph.values[name].is_constant for name in node.inputs)
        result = _evaluate(graph, node) if constant and len(node.outputs) == 1 else None
        if result is None:
            kept.append(node)
            continue
        value = graph.values[node.outputs[0]]
        value.data = np.ascontiguousarray(result)
        value.shape = value.data.shape
        value.dtype = str(value.data.dtype)
    graph.nodes = kept
    graph.remove_dead()


def _evaluate(graph: Graph, node: Node) -> Array | None:
    if any(graph.values[name].quant is not None for name in node.inputs):
        return None
    arrays = [graph.constant(name) for name in node.inputs]
    x, attrs = arrays[0], node.attrs
    if node.op in VIEWS:
        return _view(node, x)
    if node.op == "transpose":
        return x.transpose(cast("list[int]", attrs["perm"]))
    if node.op == "concat":
        return np.concatenate(arrays, axis=cast("int", attrs["axis"]))
    if node.op == "slice":
        index: list[slice] = [slice(None)] * x.ndim
        for key in zip(
            *(cast("list[int]", attrs[k]) for k in ("starts", "ends", "axes", "steps")), strict=True
        ):
            start, end, axis, step = key
            start, end, step = slice_bounds(start, end, step, x.shape[axis])
            index[axis] = slice(start, None if end < 0 else end, step)
        return x[tuple(index)]
    if x.dtype != np.float32 or "clip_min" in attrs or "clip_max" in attrs:
        return None
    with np.errstate(all="ignore"):
        if node.op in _BINARY:
            result = _BINARY[node.op](x.astype(np.float64), arrays[1].astype(np.float64))
        elif node.op in _UNARY:
            result = _UNARY[node.op](x.astype(np.float64))
        else:
            return None
        rounded = result.astype(np.float32)
    return rounded if np.all(np.isfinite(rounded)) else None


def _view(node: Node, x: Array) -> Array:
    attrs = node.attrs
    if node.op == "reshape":
        shape = reshape_result(x.shape, cast("list[int]", attrs["shape"]))
        return x.reshape(cast("tuple[int, ...]", shape))
    if node.op == "flatten":
        axis = cast("int", attrs["axis"])
        rows = int(np.prod(x.shape[:axis], dtype=np.int64))
        return x.reshape(rows, x.size // max(rows, 1))
    axes = tuple(cast("list[int]", attrs.get("axes", [])))
    return x.squeeze(axes) if node.op == "squeeze" else np.expand_dims(x, axes)
