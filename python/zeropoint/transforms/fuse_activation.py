"""Recognizes activation functions that exporters spell out, and fuses clipping into layers.

Products are compared as sets of factors with one constant coefficient, so that the order and the
grouping of multiplications do not matter: ``0.5 * x * (1 + erf(x / sqrt(2)))`` in any form is GELU.
"""

from __future__ import annotations

import math
from typing import cast

from zeropoint.graph import Attribute, Graph, Node

_TOLERANCE = 1e-4
#: Operators with a fused clip in float32.
_CLIPPING = frozenset({"conv2d", "conv_transpose2d", "linear", "add", "sub", "mul"})
_INF = float("inf")


def apply(graph: Graph) -> None:
    """Functions first, before their clips are taken into the layers before them."""
    _merge_clips(graph)
    _recognize(graph)
    _fuse_clips(graph)


class _Matcher:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.consumers = graph.consumers()

    def producer(self, name: str, op: str) -> Node | None:
        """The node of that operator that writes ``name``, without a fused clip."""
        node = self.producers.get(name)
        if node is None or node.op != op or "clip_min" in node.attrs or "clip_max" in node.attrs:
            return None
        return node

    def scalar(self, name: str) -> float | None:
        data = self.graph.values[name].data
        return float(data.reshape(-1)[0]) if data is not None and data.size == 1 else None

    def factors(self, name: str, root: bool = True) -> tuple[float, list[str]]:
        """``name`` as coefficient * product of values; products that only this one reads are
        taken apart."""
        constant = self.scalar(name)
        if constant is not None:
            return constant, []
        node = self.producer(name, "mul")
        alone = len(self.consumers.get(name, ())) == 1 and name not in self.graph.outputs
        if node is None or not (root or alone):
            return 1.0, [name]
        coefficient, names = 1.0, []
        for side in node.inputs:
            c, n = self.factors(side, root=False)
            coefficient *= c
            names += n
        return coefficient, names

    def plus(self, name: str) -> tuple[str, float] | None:
        """(value, constant) of a sum with a constant scalar."""
        node = self.producer(name, "add")
        if node is not None:
            for side in (0, 1):
                constant = self.scalar(node.inputs[1 - side])
                if constant is not None:
                    return node.inputs[side], constant
        return None

    def unary(self, name: str, op: str) -> str | None:
        node = self.producer(name, op)
        return None if node is None else node.inputs[0]

    def scaled(self, name: str, x: str, factor: float) -> bool:
        """``name`` is factor * x."""
        coefficient, names = self.factors(name)
        return names == [x] and _near(coefficient, factor)

    def power(self, name: str, x: str, factor: float, exponent: int) -> bool:
        coefficient, names = self.factors(name)
        return names == [x] * exponent and _near(coefficient, factor)


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE * 1e-3)


def _recognize(graph: Graph) -> None:
    matcher = _Matcher(graph)
    for node in reversed(graph.nodes):
        if node.op != "mul" or "clip_min" in node.attrs or "clip_max" in node.attrs:
            continue
        coefficient, names = matcher.factors(node.outputs[0])
        found: tuple[str, str, dict[str, Attribute]] | None = None
        if len(names) == 2:
            for x, gate in (names, names[::-1]):
                op = _gated(matcher, x, gate, coefficient)
                if op is not None:
                    found = (op, x, {})
                    break
        elif len(names) == 1 and _near(coefficient, 1 / 6):
            x6 = _plus3_clip6(matcher, names[0])
            if x6 is not None:
                found = ("hard_sigmoid", x6, {"alpha": 1 / 6, "beta": 0.5})
        if found is not None and _same_shape(graph, found[1], node.outputs[0]):
            node.op, node.inputs, node.attrs = found[0], [found[1]], found[2]
            matcher = _Matcher(graph)
    graph.remove_dead()


def _same_shape(graph: Graph, a: str, b: str) -> bool:
    return graph.values[a].shape == graph.values[b].shape


def _gated(m: _Matcher, x: str, gate: str, coefficient: float) -> str | None:
    """The function that coefficient * x * gate is."""
    if _near(coefficient, 1.0):
        if m.unary(gate, "sigmoid") == x:
            return "silu"
        inner = m.unary(gate, "tanh")
        if inner is not None and m.unary(inner, "softplus") == x:
            return "mish"
        hard = m.producer(gate, "hard_sigmoid")
        if (
            hard is not None
            and hard.inputs[0] == x
            and _near(float(cast("float", hard.attrs.get("alpha", 0.2))), 1 / 6)
            and _near(float(cast("float", hard.attrs.get("beta", 0.5))), 0.5)
        ):
            return "hard_swish"
    if _near(coefficient, 1 / 6) and _plus3_clip6(m, gate) == x:
        return "hard_swish"
    # 0.5 * x * (f + 1), or x * (0.5 * f + 0.5)
    total = m.plus(gate)
    if total is None or not _near(coefficient * total[1], 0.5):
        return None
    scale, names = m.factors(total[0])
    if len(names) != 1 or not _near(scale, total[1]):
        return None
    erf = m.unary(names[0], "erf")
    if erf is not None and m.scaled(erf, x, math.sqrt(0.5)):
        return "gelu"
    tanh = m.unary(names[0], "tanh")
    if tanh is not None and _gelu_polynomial(m, tanh, x):
        return "gelu_tanh"
    return None


def _plus3_clip6(m: _Matcher, name: str) -> str | None:
    """x of clip(x + 3, 0, 6)."""
    clip = m.producer(name, "clip")
    if clip is None or clip.attrs.get("min") != 0.0 or clip.attrs.get("max") != 6.0:
        return None
    total = m.plus(clip.inputs[0])
    return total[0] if total is not None and _near(total[1], 3.0) else None


def _gelu_polynomial(m: _Matcher, name: str, x: str) -> bool:
    """sqrt(2 / pi) * (x + 0.044715 x^3), also as sqrt(2 / pi) * x * (1 + 0.044715 x^2)."""
    coefficient, names = m.factors(name)
    if not _near(coefficient, math.sqrt(2 / math.pi)):
        return False
    if len(names) == 1:
        add = m.producer(names[0], "add")
        if add is not None:
            for side in (0, 1):
                if add.inputs[side] == x and m.power(add.inputs[1 - side], x, 0.044715, 3):
                    return True
    elif len(names) == 2 and x in names:
        rest = names[1] if names[0] == x else names[0]
        total = m.plus(rest)
        return total is not None and _near(total[1], 1.0) and m.power(total[0], x, 0.044715, 2)
    return False


# -- clipping ---------------------------------------------------------------------------------


def _bounds(node: Node) -> tuple[float, float] | None:
    """The interval that a relu or clip keeps."""
    if node.op == "relu":
        return 0.0, _INF
    if node.op == "clip":
        low = float(cast("float", node.attrs.get("min", -_INF)))
        high = float(cast("float", node.attrs.get("max", _INF)))
        return (low, high) if low <= high else None
    return None


def _then(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """The interval of one clip after another."""
    low, high = (min(max(bound, second[0]), second[1]) for bound in first)
    return low, high


def _merge_clips(graph: Graph) -> None:
    """clip of clip is one clip; a clip at zero without upper bound is relu."""
    producers, consumers = graph.producers(), graph.consumers()
    for node in graph.nodes:
        bounds = _bounds(node)
        if bounds is None:
            continue
        before = producers.get(node.inputs[0])
        inner = _bounds(before) if before is not None else None
        alone = len(consumers.get(node.inputs[0], ())) == 1
        if before is not None and inner is not None and alone:
            bounds = _then(inner, bounds)
            node.inputs = list(before.inputs)
        low, high = bounds
        if low == 0.0 and high == _INF:
            node.op, node.attrs = "relu", {}
        else:
            node.op = "clip"
            node.attrs = {k: v for k, v in (("min", low), ("max", high)) if abs(v) != _INF}
    graph.remove_dead()


def _fuse_clips(graph: Graph) -> None:
    producers, consumers = graph.producers(), graph.consumers()
    for node in list(graph.nodes):
        bounds = _bounds(node)
        layer = producers.get(node.inputs[0]) if bounds is not None else None
        if (
            bounds is None
            or layer is None
            or layer.op not in _CLIPPING
            or len(consumers.get(node.inputs[0], ())) != 1
            or node.inputs[0] in graph.outputs
            or graph.values[node.inputs[0]].dtype != "float32"
        ):
            continue
        fused = (
            float(cast("float", layer.attrs.get("clip_min", -_INF))),
            float(cast("float", layer.attrs.get("clip_max", _INF))),
        )
        for key, bound in zip(("clip_min", "clip_max"), _then(fused, bounds), strict=True):
            layer.attrs.pop(key, None)
            if abs(bound) != _INF:
                layer.attrs[key] = bound
        # The layer writes what the activation wrote, under its name.
        layer.outputs = [node.outputs[0]]
        producers[node.outputs[0]] = layer
        graph.nodes.remove(node)
    graph.remove_dead()
