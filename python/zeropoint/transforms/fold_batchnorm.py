"""Merges constant per-channel factors and shifts into the weights before them.

Batch normalization arrives as ``mul`` and ``add`` with constants; so do many biases and
preprocessing steps. Behind a convolution, transposed convolution or linear layer that nobody else
reads, ``(x w + b) * f + s`` is ``x (w f) + (b f + s)``. The products are computed in float64.
"""

from __future__ import annotations

import numpy as np

from zeropoint.graph import Array, Graph, Node
from zeropoint.operators import WEIGHTED

_FUSED = ("clip_min", "clip_max")


def apply(graph: Graph) -> None:
    """Repeats until no factor or shift is left behind a layer with constant float weights.

    Weights that a file holds in int8 keep their integers: they take shifts, but no factors.
    """
    producers, consumers = graph.producers(), graph.consumers()
    for node in list(graph.nodes):
        if node.op not in ("add", "sub", "mul") or any(key in node.attrs for key in _FUSED):
            continue
        found = _layer_before(graph, node, producers, consumers)
        if found is None:
            continue
        layer, side = found
        weight = graph.constant(layer.inputs[1])
        shifts = node.op == "add" or (node.op == "sub" and side == 0)
        if graph.value(layer.inputs[1]).quant is not None and not shifts:
            continue
        operand = _per_channel(graph, node, 1 - side, weight.shape[0])
        if operand is None:
            continue
        bias = (
            graph.constant(layer.inputs[2]).astype(np.float64)
            if len(layer.inputs) > 2 and layer.inputs[2]
            else np.zeros(weight.shape[0])
        )
        w = weight.astype(np.float64)
        if node.op == "mul":
            w = w * operand.reshape((-1,) + (1,) * (w.ndim - 1))
            bias = bias * operand
        elif node.op == "add":
            bias = bias + operand
        elif side == 0:
            bias = bias - operand
        else:
            w, bias = -w, operand - bias
        new_w, new_bias = _rounded(w), _rounded(bias)
        if new_w is None or new_bias is None:
            continue
        _rewrite(graph, layer, weight if shifts else new_w, new_bias)
        # The layer writes the value that the arithmetic wrote.
        old, layer.outputs = layer.outputs[0], [node.outputs[0]]
        producers[node.outputs[0]] = layer
        consumers.pop(old, None)
        graph.nodes.remove(node)
    graph.remove_dead()


def _layer_before(
    graph: Graph, node: Node, producers: dict[str, Node], consumers: dict[str, list[Node]]
) -> tuple[Node, int] | None:
    """The layer whose result the node's other operand is added to, and which side that is."""
    for side in (0, 1):
        name = node.inputs[side]
        layer = producers.get(name)
        if (
            layer is not None
            and layer.op in WEIGHTED
            and len(consumers.get(name, ())) == 1
            and name not in graph.outputs
            and node.inputs[1 - side] != name
            and not any(key in layer.attrs for key in _FUSED)
            and graph.values[layer.inputs[1]].data is not None
            and graph.constant(layer.inputs[1]).dtype == np.float32
            and (
                len(layer.inputs) < 3
                or not layer.inputs[2]
                or graph.values[layer.inputs[2]].is_constant
            )
        ):
            return layer, side
    return None


def _per_channel(graph: Graph, node: Node, side: int, channels: int) -> Array | None:
    """The constant operand as a float64 vector of ``channels``; None when it is something else."""
    array = graph.values[node.inputs[side]].data
    shape = graph.values[node.inputs[1 - side]].shape
    if array is None or array.dtype != np.float32 or shape is None or array.ndim > len(shape):
        return None
    if array.size != 1 and (array.shape[-1] != channels or array.size != channels):
        return None
    return np.broadcast_to(array.astype(np.float64).reshape(-1), (channels,))


def _rounded(array: Array) -> Array | None:
    with np.errstate(over="ignore"):
        result = array.astype(np.float32)
    return result if np.all(np.isfinite(result)) else None


def _rewrite(graph: Graph, layer: Node, weight: Array, bias: Array) -> None:
    """Gives the layer new constants, under the old names where nobody else reads those."""
    readers = graph.consumers()

    def place(name: str, array: Array) -> str:
        if graph.values[name].data is array:
            return name
        if len(readers.get(name, ())) == 1 and name not in graph.outputs:
            value = graph.values[name]
            value.data, value.shape = np.ascontiguousarray(array), array.shape
            value.quant = None
            return name
        return graph.add_constant(graph.unique_name(name), array).name

    layer.inputs[1] = place(layer.inputs[1], weight)
    if len(layer.inputs) > 2 and layer.inputs[2]:
        layer.inputs[2] = place(layer.inputs[2], bias)
    else:
        name = graph.unique_name(f"{layer.name}/bias")
        layer.inputs = [*layer.inputs[:2], graph.add_constant(name, bias).name]
