"""Merges explicit padding of images into the convolution or pooling that follows."""

from __future__ import annotations

from typing import cast

from zeropoint.graph import Graph, Node


def apply(graph: Graph) -> None:
    """A ``pad`` of height and width that only one window operator reads, with the value that the
    operator's own padding has, disappears."""
    producers, consumers = graph.producers(), graph.consumers()
    for node in graph.nodes:
        if node.op not in ("conv2d", "max_pool2d", "avg_pool2d"):
            continue
        pad = producers.get(node.inputs[0])
        if (
            pad is None
            or pad.op != "pad"
            or len(consumers.get(pad.outputs[0], ())) != 1
            or pad.outputs[0] in graph.outputs
            or pad.attrs.get("mode", "constant") != "constant"
        ):
            continue
        pads = cast("list[int]", pad.attrs["pads"])
        if len(pads) != 8 or min(pads) < 0 or any(pads[i] for i in (0, 3, 4, 7)):
            continue
        added = [pads[1], pads[2], pads[5], pads[6]]
        if _fits(node, added, float(cast("float", pad.attrs.get("value", 0.0)))):
            own = cast("list[int]", node.attrs.get("pads", [0, 0, 0, 0]))
            node.attrs["pads"] = [a + b for a, b in zip(own, added, strict=True)]
            if node.op == "avg_pool2d":
                node.attrs["count_include_pad"] = 1
            node.inputs[0] = pad.inputs[0]
    graph.remove_dead()


def _fits(node: Node, added: list[int], value: float) -> bool:
    if node.op == "conv2d":
        return value == 0.0
    own = cast("list[int]", node.attrs.get("pads", [0, 0, 0, 0]))
    kernel = cast("list[int]", node.attrs["kernel"])
    # A window never lies in the padding alone.
    if any(a + b >= kernel[i % 2] for i, (a, b) in enumerate(zip(own, added, strict=True))):
        return False
    if node.op == "max_pool2d":
        return value == float("-inf")
    return value == 0.0 and (not any(own) or bool(node.attrs.get("count_include_pad", 0)))
