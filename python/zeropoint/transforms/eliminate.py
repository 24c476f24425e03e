"""Removes what computes nothing: no-ops, dead code, duplicates, chains of views and transposes."""

from __future__ import annotations

from typing import cast

import numpy as np

from zeropoint import shapes
from zeropoint.graph import Graph, Node
from zeropoint.operators import VIEWS
from zeropoint.transforms.layout import is_identity, rename, reshape_spec


def apply(graph: Graph) -> None:
    """Repeats until nothing changes. Shapes must be inferred."""
    changed = True
    while changed:
        graph.remove_dead()
        changed = _merge_duplicates(graph) or _merge_chains(graph) or _remove_no_ops(graph)


def bypass(graph: Graph, node: Node) -> bool:
    """Removes a node whose first output is its first input, keeping the names of the graph's
    inputs and outputs; False where both names must stay."""
    source, target = node.inputs[0], node.outputs[0]
    if target in graph.outputs:
        value = graph.values[source]
        if value.is_constant or source in graph.inputs or source in graph.outputs:
            return False
        graph.nodes.remove(node)
        del graph.values[target]
        rename(graph, {source: target})
        return True
    graph.nodes.remove(node)
    graph.replace_uses(target, source)
    return True


# -- no-ops -----------------------------------------------------------------------------------


def _remove_no_ops(graph: Graph) -> bool:
    changed = False
    for node in list(graph.nodes):
        if _is_no_op(graph, node):
            changed = bypass(graph, node) or changed
    return changed


def _is_no_op(graph: Graph, node: Node) -> bool:
    x = graph.values[node.inputs[0]].shape
    y = graph.values[node.outputs[0]].shape
    attrs = node.attrs
    if node.op == "transpose":
        return is_identity(cast("list[int]", attrs["perm"]))
    if node.op in VIEWS:
        return x is not None and x == y and _keeps_order(node, x)
    if node.op == "pad":
        return not any(cast("list[int]", attrs["pads"]))
    if node.op == "clip":
        return "min" not in attrs and "max" not in attrs
    if node.op in ("concat", "split"):
        return len(node.inputs) == len(node.outputs) == 1
    if node.op == "reduce_mean":
        return not attrs.get("axes")
    if node.op == "slice" and x is not None:
        return x == y and None not in x and all(s == 1 for s in cast("list[int]", attrs["steps"]))
    if (
        node.op in ("add", "sub", "mul", "div")
        and "clip_min" not in attrs
        and ("clip_max" not in attrs)
    ):
        other = graph.values[node.inputs[1]].data
        neutral = 0.0 if node.op in ("add", "sub") else 1.0
        return (
            other is not None
            and other.dtype == np.float32
            and x is not None
            and x == y
            and bool(np.all(other == neutral))
            # x + (+0.0) would turn -0.0 into 0.0, which nobody can tell apart downstream.
        )
    return False


def _keeps_order(node: Node, x: shapes.Shape) -> bool:
    """Equal shapes of a view mean equal dimensions, unless free ones changed places."""
    free = x.count(None)
    if free <= 1:
        return True
    if node.op == "reshape":
        spec = cast("list[int]", node.attrs["shape"])
        return all(spec[i] == 0 for i, dim in enumerate(x) if dim is None)
    return not node.attrs.get("axes") and node.op != "flatten"


# -- chains -----------------------------------------------------------------------------------


def _merge_chains(graph: Graph) -> bool:
    """transpose of transpose, view of view: one of them."""
    producers = graph.producers()
    changed = False
    for node in graph.nodes:
        before = producers.get(node.inputs[0]) if node.inputs else None
        if before is None:
            continue
        if node.op == "transpose" and before.op == "transpose":
            first = cast("list[int]", before.attrs["perm"])
            second = cast("list[int]", node.attrs["perm"])
            node.attrs["perm"] = [first[axis] for axis in second]
        elif node.op in VIEWS and before.op in VIEWS:
            x = graph.values[before.inputs[0]].shape
            y = graph.values[node.outputs[0]].shape
            if x is None or y is None or (x.count(None) > 1 and x == y):
                continue
            spec = reshape_spec(x, y)
            if spec is None:
                continue
            node.op, node.attrs = "reshape", {"shape": spec}
        else:
            continue
        node.inputs = [before.inputs[0]]
        changed = True
    return changed


# -- duplicates -------------------------------------------------------------------------------


def _merge_duplicates(graph: Graph) -> bool:
    """Nodes that compute the same from the same inputs become one."""
    seen: dict[object, Node] = {}
    changed = False
    renamed: dict[str, str] = {}
    for node in list(graph.nodes):
        node.inputs = [renamed.get(name, name) for name in node.inputs]
        key = (node.op, tuple(node.inputs), repr(sorted(node.attrs.items())))
        first = seen.setdefault(key, node)
        if first is node or len(first.outputs) != len(node.outputs):
            continue
        if any(name in graph.outputs for name in node.outputs):
            continue
        if any(
            not _same_quant(graph, a, b) for a, b in zip(first.outputs, node.outputs, strict=True)
        ):
            continue
        renamed.update(zip(node.outputs, first.outputs, strict=True))
        graph.nodes.remove(node)
        changed = True
    return changed


def _same_quant(graph: Graph, a: str, b: str) -> bool:
    qa, qb = graph.values[a].quant, graph.values[b].quant
    return qb is None if qa is None else qa.same(qb)
