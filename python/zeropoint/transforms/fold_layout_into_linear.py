"""transpose -> flatten -> linear: the linear layer's weights take the permutation.

Networks that flatten an image before a fully connected layer number its inputs in the order of
[C, H, W]. The image lies in another order here; permuting the constant weights once saves
transposing every input. Weights that a file holds in int8 keep their integers and scales.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from zeropoint.graph import Graph, Node
from zeropoint.operators import UNARY
from zeropoint.transforms.layout import inverse, reshape_spec

_ELEMENTWISE = (UNARY - {"prelu"}) | {"quantize", "dequantize"}


def apply(graph: Graph) -> None:
    """Shapes must be inferred; between the view and the layer only functions of each element alone
    may stand."""
    producers, consumers = graph.producers(), graph.consumers()
    for layer in graph.nodes:
        if layer.op != "linear" or graph.values[layer.inputs[1]].data is None:
            continue
        view = _view_before(graph, layer, producers, consumers)
        turn = producers.get(view.inputs[0]) if view is not None else None
        if view is None or turn is None or turn.op != "transpose":
            continue
        perm = tuple(cast("list[int]", turn.attrs["perm"]))
        held = graph.values[turn.inputs[0]].shape
        seen = graph.values[turn.outputs[0]].shape
        flat = graph.values[view.outputs[0]].shape
        weight = graph.constant(layer.inputs[1])
        if (
            held is None
            or seen is None
            or flat is None
            or len(flat) != 2
            or len(perm) < 2
            or perm[0] != 0
            or None in held[1:]
            or flat[1] != weight.shape[1]
            or (flat[0] != seen[0])
        ):
            continue
        sizes = cast("tuple[int, ...]", seen[1:])
        if int(np.prod(sizes)) != weight.shape[1]:
            continue
        spec = reshape_spec(held, flat)
        if spec is None:
            continue
        quant = graph.values[layer.inputs[1]].quant
        if quant is not None and quant.axis == 1:
            continue
        # Axis j of the held order is axis inverse(perm)[j] of the order that the weights count in.
        back = inverse(perm)
        wide = weight.reshape(weight.shape[0], *sizes).transpose(0, *back[1:])
        new = np.ascontiguousarray(wide.reshape(weight.shape))
        name = graph.unique_name(layer.inputs[1])
        if len(consumers[layer.inputs[1]]) == 1:
            name = layer.inputs[1]
            graph.values[name].data = new
        else:
            graph.add_constant(name, new, graph.values[layer.inputs[1]].quant)
        layer.inputs[1] = name
        view.op, view.attrs = "reshape", {"shape": spec}
        view.inputs = [turn.inputs[0]]
    graph.remove_dead()


def _view_before(
    graph: Graph, layer: Node, producers: dict[str, Node], consumers: dict[str, list[Node]]
) -> Node | None:
    """The reshape or flatten before the layer, through element-wise functions that nobody else
    reads."""
    name = layer.inputs[0]
    while True:
        node = producers.get(name)
        if node is None or name in graph.outputs or len(consumers.get(name, ())) != 1:
            return None
        if node.op in ("reshape", "flatten"):
            return node
        if node.op not in _ELEMENTWISE:
            return None
        name = node.inputs[0]
