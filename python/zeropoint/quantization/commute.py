"""Exact rewrites of graphs with explicit quantize and dequantize nodes.

Data movement, maxima and clipping give the same result before a quantize node as behind it, and
data movement the same behind a dequantize node as before it. In int8 they are cheaper, and the
nodes that compute come next to the quantize and dequantize nodes that say how.
"""

from __future__ import annotations

import numpy as np

from zeropoint import reference_int8
from zeropoint.graph import Array, Graph, Node, QuantParams, Value
from zeropoint.operators import MOVES
from zeropoint.quantization import functions

_MAXIMA = frozenset({"max_pool2d", "global_max_pool"})
_CLIPS = frozenset({"relu", "clip"})
#: A clip behind one of these is worth a table of its own; behind others it is part of a table.
_BEFORE_CLIPS = MOVES | _MAXIMA | {"avg_pool2d", "concat", "matmul", "pad", "reduce_mean", "resize"}


def _commutes(node: Node) -> bool:
    """Does the node's int8 form give the quantized result of its float form?"""
    if node.op == "resize":
        return node.attrs.get("mode") == "nearest"
    return node.op in MOVES | _MAXIMA | {"concat", "pad"}


def _keeps_grid(node: Node) -> bool:
    """Are all of its results values of its input, or 0?"""
    if node.op == "pad" and node.attrs.get("mode", "constant") == "constant":
        return not node.attrs.get("value", 0.0)
    return _commutes(node)


def _params(graph: Graph, name: str) -> QuantParams | None:
    return graph.value(name).quant


def _int8_twin(graph: Graph, name: str, params: QuantParams, names: dict[str, str]) -> str:
    twin = graph.unique_name(f"{name}_int8")
    graph.add_value(Value(twin, "int8", graph.value(name).shape, params))
    names[twin] = name
    return twin


def _quantized_constant(graph: Graph, name: str, params: QuantParams) -> str:
    data = reference_int8.quantize(graph.constant(name), params)
    return graph.add_constant(graph.unique_name(f"{name}_int8"), data, params).name


# -- dequantize moves down --------------------------------------------------------------------


def sink_dequantize(graph: Graph, names: dict[str, str]) -> None:
    """Lets data movement run on int8, and dequantizes what it gives.

    Args:
        names: is told which float value each new int8 value stands for.
    """
    producers, consumers = graph.producers(), graph.consumers()
    result: list[Node] = []
    for node in graph.nodes:
        result.append(node)
        sources = [producers.get(name) for name in node.inputs if name]
        if node.op == "relu" and not _read_in_float(graph, node, consumers):
            continue
        if not (_keeps_grid(node) or node.op == "relu") or not node.inputs:
            continue
        if any(source is None or source.op != "dequantize" for source in sources):
            continue
        inputs = [source.inputs[0] for source in sources if source is not None]
        params = _params(graph, inputs[0])
        if params is None or any(not params.same(_params(graph, name)) for name in inputs):
            continue
        if any(graph.value(name).is_constant for name in inputs):
            continue
        outputs = list(node.outputs)
        node.inputs = inputs
        node.outputs = [_int8_twin(graph, name, params, names) if name else "" for name in outputs]
        if node.op == "relu":
            _make_table(graph, node, params)
        for name, twin in zip(outputs, node.outputs, strict=True):
            if name:
                back = Node(graph.unique_name(f"{name}_dequantize"), "dequantize", [twin], [name])
                producers[name] = back
                result.append(back)
    graph.nodes = result
    graph.remove_dead()


def _read_in_float(graph: Graph, node: Node, consumers: dict[str, list[Node]]) -> bool:
    name = node.outputs[0]
    return name in graph.outputs or any(n.op != "quantize" for n in consumers.get(name, ()))


def _make_table(graph: Graph, node: Node, params: QuantParams) -> None:
    """Turns a relu or clip between two int8 values of the same parameters into a lookup."""
    table = functions.unary_table(node, params, params)
    _make_lookup(graph, node, node.op, table)


def _make_lookup(graph: Graph, node: Node, function: str, table: Array) -> None:
    constant = graph.add_constant(graph.unique_name(f"{node.name}_table"), table)
    node.inputs = [node.inputs[0], constant.name]
    node.op, node.attrs = "lookup", {"function": function}


# -- quantize moves up ------------------------------------------------------------------------


def hoist_quantize(graph: Graph, names: dict[str, str]) -> None:
    """Quantizes what data movement, maxima and clips take, instead of what they give.

    Args:
        names: is told which float value each new int8 value stands for.
    """
    producers, consumers = graph.producers(), graph.consumers()
    waiting = [node for node in graph.nodes if node.op == "quantize"]
    while waiting:
        quantizer = waiting.pop()
        node = producers.get(quantizer.inputs[0])
        if node is None or not _may_hoist(graph, node, producers, consumers):
            continue
        quantizers = [consumers[name][0] for name in node.outputs]
        params = _params(graph, quantizers[0].outputs[0])
        assert params is not None
        for done in quantizers:
            graph.nodes.remove(done)
            if done in waiting:
                waiting.remove(done)
        for old, done in zip(node.outputs, quantizers, strict=True):
            del producers[old], consumers[old]
            names[done.outputs[0]] = old
            producers[done.outputs[0]] = node
        node.outputs = [done.outputs[0] for done in quantizers]
        at = graph.nodes.index(node)
        inputs = []
        for name in node.inputs:
            if graph.value(name).is_constant:
                inputs.append(_quantized_constant(graph, name, params))
                continue
            consumers[name] = [reader for reader in consumers[name] if reader is not node]
            twin = _int8_twin(graph, name, params, names)
            new = Node(graph.unique_name(f"{name}_quantize"), "quantize", [name], [twin])
            graph.nodes.insert(at, new)
            at += 1
            consumers[name].append(new)
            consumers[twin] = [node]
            producers[twin] = new
            waiting.append(new)
            inputs.append(twin)
        node.inputs = inputs
        if node.op in _CLIPS:
            _make_table(graph, node, params)
    graph.remove_dead()


def _may_hoist(
    graph: Graph, node: Node, producers: dict[str, Node], consumers: dict[str, list[Node]]
) -> bool:
    if graph.value(node.inputs[0]).dtype != "float32":
        return False
    if node.op in _CLIPS:
        before = producers.get(node.inputs[0])
        if before is None or before.op not in _BEFORE_CLIPS:
            return False
        if len(consumers[node.inputs[0]]) != 1 or node.inputs[0] in graph.outputs:
            return False
    elif not _commutes(node):
        return False
    params: QuantParams | None = None
    for name in node.outputs:
        readers = consumers.get(name, [])
        if len(readers) != 1 or readers[0].op != "quantize" or name in graph.outputs:
            return False
        found = _params(graph, readers[0].outputs[0])
        if found is None or (params is not None and not params.same(found)):
            return False
        params = found
    return True


# -- pairs ------------------------------------------------------------------------------------


def join_pairs(graph: Graph) -> None:
    """dequantize -> quantize: nothing where the parameters are the same, else a lookup."""
    producers = graph.producers()
    for node in list(graph.nodes):
        source = producers.get(node.inputs[0]) if node.op == "quantize" else None
        if source is None or source.op != "dequantize":
            continue
        origin, target = graph.value(source.inputs[0]), graph.value(node.outputs[0])
        if origin.quant is None or target.quant is None or origin.is_constant:
            continue
        if origin.quant.same(target.quant) and target.name not in graph.outputs:
            graph.nodes.remove(node)
            graph.replace_uses(target.name, origin.name)
            continue
        levels = np.arange(-128, 128).astype(np.int8)
        table = reference_int8.quantize(
            reference_int8.dequantize(levels, origin.quant), target.quant
        )
        node.inputs = [origin.name]
        _make_lookup(graph, node, "requantize", table)
    graph.remove_dead()
