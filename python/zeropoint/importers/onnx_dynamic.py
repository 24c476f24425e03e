"""Dynamically quantized layers: the chain of operators that exporters write becomes one node.

DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul (by the product of both scales) -> Add is
``dynamic_linear``, with the same roundings in the same order.
"""

from __future__ import annotations

import numpy as np

from zeropoint.graph import Array, Graph, Node, QuantParams

_TINY = float(np.finfo(np.float32).tiny)


def fuse_dynamic_linear(graph: Graph) -> None:
    """Fuses every such chain with a constant matrix on its right side."""
    producers, consumers = graph.producers(), graph.consumers()

    def alone(name: str) -> Node | None:
        """The one reader of a value that is not an output."""
        readers = consumers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in graph.outputs else None

    for node in list(graph.nodes):
        quantizer = producers.get(node.inputs[0]) if node.op == "matmul_integer" else None
        if quantizer is None or quantizer.op != "dynamic_quantize":
            continue
        convert = alone(node.outputs[0])
        scaled = alone(convert.outputs[0]) if convert is not None else None
        if (
            convert is None
            or convert.op != "cast"
            or convert.attrs["to"] != "float32"
            or scaled is None
            or scaled.op != "mul"
            or len(node.inputs) < 3
            or node.inputs[2] != quantizer.outputs[2]
        ):
            continue
        unit = next(name for name in (*scaled.inputs, "") if name != convert.outputs[0])
        scale = _weight_scale(graph, producers.get(unit), quantizer.outputs[1])
        weights = None if scale is None else _weights(graph, node, scale)
        if weights is None:
            continue
        last, inputs = scaled, [quantizer.inputs[0], *weights]
        add = alone(scaled.outputs[0])
        bias = _bias(graph, add, scaled.outputs[0], len(graph.constant(weights[0])))
        if add is not None and bias:
            last, inputs = add, [*inputs, bias]
        fused = Node(last.name, "dynamic_linear", inputs, list(last.outputs))
        graph.nodes[graph.nodes.index(last)] = fused
        producers[fused.outputs[0]] = fused
    graph.remove_dead()


def _weight_scale(graph: Graph, product: Node | None, x_scale: str) -> Array | None:
    """The constant factor of ``x_scale * scale``."""
    if product is None or product.op != "mul" or x_scale not in product.inputs:
        return None
    other = product.inputs[1 - product.inputs.index(x_scale)]
    return graph.value(other).data


def _weights(graph: Graph, node: Node, scale: Array) -> list[str] | None:
    """Adds the weights as [N, K] with parameters; None where they do not fit that form."""
    w = graph.value(node.inputs[1]).data
    zero = np.zeros((), np.int8)
    if len(node.inputs) > 3:
        constant = graph.value(node.inputs[3]).data
        if constant is None:
            return None
        zero = constant
    if w is None or w.ndim != 2 or scale.dtype != np.float32 or not (scale >= _TINY).all():
        return None
    columns = w.shape[1]
    if scale.size not in (1, columns) or zero.size not in (1, columns):
        return None
    if scale.ndim and scale.shape[-1] != scale.size:
        return None
    name = graph.unique_name(f"{node.inputs[1].removesuffix('/int8')}")
    params = (
        QuantParams(scale.reshape(()), zero.astype(np.int32).reshape(()))
        if (scale.size == zero.size == 1)
        else QuantParams(
            np.broadcast_to(scale.reshape(-1), (columns,)).copy(),
            np.broadcast_to(zero.astype(np.int32).reshape(-1), (columns,)).copy(),
            0,
        )
    )
    graph.add_constant(name, np.ascontiguousarray(w.T), params)
    return [name]


def _bias(graph: Graph, add: Node | None, product: str, columns: int) -> str:
    """The constant vector that is added to the product; "" where there is none."""
    if add is None or add.op != "add" or product not in add.inputs:
        return ""
    name = add.inputs[1 - add.inputs.index(product)]
    data = graph.value(name).data
    return name if data is not None and data.shape == (columns,) else ""
