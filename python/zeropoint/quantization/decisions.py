"""Which nodes run in int8, and why each of the others stays in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zeropoint.graph import Graph, Node
from zeropoint.operators import KEEPS_QUANT, UNARY, WEIGHTED

_BINARY = frozenset({"add", "sub", "mul"})
_FOLLOWERS = UNARY | KEEPS_QUANT | _BINARY | {"avg_pool2d", "reduce_mean", "argmax", "softmax"}


@dataclass
class Decisions:
    """``int8`` holds the positions of nodes in the graph; ``reasons`` those of all others."""

    int8: set[int] = field(default_factory=set)
    reasons: dict[int, str] = field(default_factory=dict)


def scalar_operand(graph: Graph, node: Node) -> int | None:
    """The position of a binary node's operand that is one constant number, or None: with it the
    node is a function of the other operand alone, and so a lookup."""
    if node.op not in _BINARY | {"div"}:
        return None
    for i in (1, 0) if node.op != "div" else (1,):
        data = graph.value(node.inputs[i]).data
        other = graph.value(node.inputs[1 - i])
        if data is None or data.size != 1 or other.is_constant:
            continue
        # The constant must not add dimensions to the result.
        if data.ndim == 0 or (other.shape is not None and data.ndim <= len(other.shape)):
            return i
    return None


def _why_not(graph: Graph, node: Node) -> str:
    """Why this node has no int8 form, whatever its neighbours are; "" when it has one."""
    activations = [n for n in node.inputs if n and not graph.value(n).is_constant]
    if not activations:
        return "its inputs are constants"
    for name in activations:
        if graph.value(name).dtype != "float32":
            return f"it works on {graph.value(name).dtype}"
    if node.op in WEIGHTED:
        if graph.value(node.inputs[1]).data is None:
            return "its weights are not constant"
        if len(node.inputs) > 2 and node.inputs[2] and graph.value(node.inputs[2]).data is None:
            return "its bias is not constant"
        return ""
    if node.op == "div":
        if scalar_operand(graph, node) is None:
            return "div has an int8 form only where the divisor is one constant number"
        divisor = graph.constant(node.inputs[1]).item()
        return "" if divisor else "it divides by zero"
    if node.op not in _FOLLOWERS:
        return f"{node.op} has no int8 form"
    if node.op == "prelu":
        slope, x = graph.value(node.inputs[1]).data, graph.value(node.inputs[0]).shape
        if slope is None:
            return "its slope is not constant"
        channels = x[-1] if x else None
        if slope.size != 1 and (slope.shape[-1] != slope.size or slope.size != channels):
            return "its slope differs within a channel"
    return ""


def decide(graph: Graph, kept: Mapping[str, str], refused: Mapping[int, str]) -> Decisions:
    """Chooses int8 or float32 for every node.

    Layers with weights are int8 wherever they can be; everything else follows the data: it runs in
    int8 when all of its inputs are there in int8, and some reader takes the result in int8. So a
    chain that ends in float32 arithmetic (layer normalization, for example) is not quantized in
    between. Graph inputs count as int8, since quantizing them is the first thing to do.

    Args:
        kept: node name -> the entry of ``keep_float`` that names it.
        refused: node position -> why it cannot be int8, found in an earlier attempt.
    """
    decisions = _forward(graph, kept, refused)
    wanted = _wanted(graph, decisions)
    demoted = {
        i: "its result is used in float32 only"
        for i in decisions.int8
        if graph.nodes[i].op not in KEEPS_QUANT | WEIGHTED
        and not any(name in wanted for name in graph.nodes[i].outputs)
    }
    return _forward(graph, kept, {**demoted, **refused}) if demoted else decisions


def _forward(graph: Graph, kept: Mapping[str, str], refused: Mapping[int, str]) -> Decisions:
    decisions = Decisions()
    available = set(graph.inputs)
    for i, node in enumerate(graph.nodes):
        reason = _why_not(graph, node)
        if not reason and node.name in kept:
            reason = f"kept in float32 by request (keep_float: '{kept[node.name]}')"
        if not reason:
            reason = refused.get(i, "")
        if not reason and node.op not in WEIGHTED:
            floats = [
                n
                for n in node.inputs
                if n and n not in available and not graph.value(n).is_constant
            ]
            if floats:
                reason = f"its input '{floats[0]}' is float32"
        if reason:
            decisions.reasons[i] = reason
        else:
            decisions.int8.add(i)
            available.update(node.outputs)
    return decisions


def _wanted(graph: Graph, decisions: Decisions) -> set[str]:
    """The values that somebody reads in int8; graph outputs count as such."""
    wanted = set(graph.outputs)
    for i in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[i]
        if i not in decisions.int8:
            continue
        ends = node.op in WEIGHTED or node.op == "argmax"
        if ends or any(name in wanted for name in node.outputs):
            wanted.update(name for name in node.inputs if name)
    return wanted
