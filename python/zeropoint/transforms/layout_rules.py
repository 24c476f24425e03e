"""How each operator behaves under a permutation of its activations' axes.

``orders`` maps values to permutations: the value ``v`` is to be held as
``transpose(v, orders[v])``. An operator *allows* a permutation when it can compute permuted outputs
from permuted inputs by remapping its attributes and permuting its constants; convolutions, pools
and reshapes do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from zeropoint.graph import Array, Graph, Node
from zeropoint.operators import UNARY
from zeropoint.transforms.layout import inverse

Order = tuple[int, ...]

_BINARY = frozenset({"add", "sub", "mul", "div"})
#: All activations have one rank, and take one order.
_ALIKE = (
    UNARY
    | _BINARY
    | {"softmax", "concat", "split", "slice", "pad", "quantize", "dequantize", "lookup"}
)


def allowed_orders(graph: Graph, node: Node, at: str, order: Order) -> dict[str, Order] | None:
    """The orders of all of the node's activations when its value ``at`` takes ``order``; None when
    the operator does not allow that."""
    activations = [name for name in node.inputs if name and not graph.values[name].is_constant]
    outputs = [name for name in node.outputs if name]
    if any(graph.values[name].shape is None for name in activations + outputs):
        return None
    if node.op in _ALIKE or (node.op in ("reduce_mean", "argmax") and _keeps_dims(node)):
        rank = len(order)
        if any(_rank(graph, name) != rank for name in activations + outputs):
            return None
        if node.op == "lookup" and graph.constant(node.inputs[1]).ndim != 1:
            return None
        if any(
            graph.values[name].is_constant and graph.constant(name).ndim > rank
            for name in node.inputs
            if name and node.op != "lookup"
        ):
            return None
        return dict.fromkeys(activations + outputs, order)
    if node.op == "linear" and at in (node.inputs[0], node.outputs[0]):
        last = len(order) - 1
        return {node.inputs[0]: order, node.outputs[0]: order} if order[last] == last else None
    if at != node.inputs[0]:
        # Which place removed or added axes had cannot be told from the output's side.
        return None
    if node.op in ("reduce_mean", "argmax", "squeeze"):
        return {at: order, node.outputs[0]: _without(order, _removed(node))}
    if node.op == "unsqueeze":
        return {at: order, node.outputs[0]: _with(order, cast("list[int]", node.attrs["axes"]))}
    return None


def permute_node(graph: Graph, node: Node, orders: dict[str, Order]) -> None:
    """Rewrites attributes and constants of an operator that allows ``orders``; names of
    activations stay."""
    order = orders[next(name for name in node.inputs if name in orders)]
    place = inverse(order)
    attrs = node.attrs
    if node.op in ("softmax", "concat", "split", "argmax"):
        attrs["axis"] = place[cast("int", attrs["axis"])]
    elif node.op in ("reduce_mean", "squeeze"):
        attrs["axes"] = sorted(place[axis] for axis in cast("list[int]", attrs["axes"]))
    elif node.op == "slice":
        attrs["axes"] = [place[axis] for axis in cast("list[int]", attrs["axes"])]
    elif node.op == "pad":
        pads, rank = cast("list[int]", attrs["pads"]), len(order)
        attrs["pads"] = [pads[a] for a in order] + [pads[a + rank] for a in order]
    elif node.op == "unsqueeze":
        out = inverse(orders[node.outputs[0]])
        attrs["axes"] = sorted(out[axis] for axis in cast("list[int]", attrs["axes"]))
    if node.op in _BINARY or node.op in ("prelu", "concat"):
        node.inputs = [_permuted_constant(graph, name, order) for name in node.inputs]


def _permuted_constant(graph: Graph, name: str, order: Order) -> str:
    """A constant operand brought to the order; scalars stay as they are."""
    array = graph.value(name).data
    if array is None or array.size == 1:
        return name
    wide = array.reshape((1,) * (len(order) - array.ndim) + array.shape)
    result: Array = np.ascontiguousarray(wide.transpose(order))
    while result.ndim > 1 and result.shape[0] == 1:
        result = result[0]
    return graph.add_constant(graph.unique_name(name), result, graph.value(name).quant).name


def _rank(graph: Graph, name: str) -> int:
    shape = graph.values[name].shape
    assert shape is not None
    return len(shape)


def _keeps_dims(node: Node) -> bool:
    return bool(node.attrs.get("keepdims", 1))


def _removed(node: Node) -> list[int]:
    if node.op == "argmax":
        return [cast("int", node.attrs["axis"])]
    return cast("list[int]", node.attrs["axes"])


def _without(order: Order, axes: Sequence[int]) -> Order:
    """The order of the dimensions that are left."""
    left = [axis for axis in range(len(order)) if axis not in axes]
    return tuple(left.index(axis) for axis in order if axis not in axes)


def _with(order: Order, axes: Sequence[int]) -> Order:
    """The order after ``axes`` (of the output) were added, each before its right neighbour."""
    rank = len(order) + len(axes)
    old = [axis for axis in range(rank) if axis not in axes]
    result = [old[axis] for axis in order]
    for axis in sorted(axes, reverse=True):
        if axis + 1 in result:
            result.insert(result.index(axis + 1), axis)
        else:
            result.append(axis)
    return tuple(result)
