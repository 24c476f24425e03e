"""Moves squeezes behind element-wise operators, so that those meet the layer that feeds them.

One-dimensional convolutions run on images of height 1: unsqueeze, convolution, squeeze. Moving the
squeeze down lets an activation be fused into the convolution, and two layers in a row drop the
squeeze and unsqueeze between them.
"""

from __future__ import annotations

from typing import cast

from zeropoint.graph import Graph, Node, Value
from zeropoint.operators import UNARY
from zeropoint.transforms.layout import view_name

_SINKABLE = (UNARY - {"prelu"}) | {"add", "sub", "mul"}


def apply(graph: Graph) -> None:
    """Shapes must be inferred."""
    while _sink_one(graph):
        pass


def _sink_one(graph: Graph) -> bool:
    """Makes the first change that can be made; False when there is none."""
    producers, consumers = graph.producers(), graph.consumers()
    return any(
        _sink(graph, node, producers, consumers)
        for node in list(graph.nodes)
        if node.op in _SINKABLE
    )


def _sink(
    graph: Graph, node: Node, producers: dict[str, Node], consumers: dict[str, list[Node]]
) -> bool:
    activations = [n for n in node.inputs if not graph.values[n].is_constant]
    constants = [n for n in node.inputs if graph.values[n].is_constant]
    views = [producers.get(name) for name in activations]
    first = views[0] if views else None
    if first is None or first.op != "squeeze":
        return False
    wide = graph.values[first.inputs[0]].shape
    out = graph.values[node.outputs[0]].shape
    flat = graph.values[first.outputs[0]].shape
    axes = cast("list[int]", first.attrs["axes"])
    # Constants of one entry per channel broadcast over any leading axes.
    if wide is None or out is None or any(graph.constant(c).ndim > 1 for c in constants):
        return False
    if constants and len(wide) - 1 in axes:
        return False
    for name, view in zip(activations, views, strict=True):
        if (
            view is None
            or view.op != "squeeze"
            or view.attrs["axes"] != axes
            or graph.values[view.inputs[0]].shape != wide
            or out != flat
            or any(reader is not node for reader in consumers[name])
            or name in graph.outputs
        ):
            return False
    source = {view.outputs[0]: view.inputs[0] for view in views if view is not None}
    target = node.outputs[0]
    image = graph.unique_name(view_name(target))
    graph.add_value(Value(image, graph.values[target].dtype, wide, graph.values[target].quant))
    node.inputs = [source.get(name, name) for name in node.inputs]
    node.outputs = [image]
    at = graph.nodes.index(node)
    name = graph.unique_name(f"{node.name}/squeeze")
    graph.nodes.insert(at + 1, Node(name, "squeeze", [image], [target], {"axes": list(axes)}))
    graph.remove_dead()
    return True
