"""What must hold of a graph before it is written to, or returned from, a model file."""

from __future__ import annotations

import numpy as np

from zeropoint.errors import GraphError
from zeropoint.gguf_container import TENSOR_TYPES
from zeropoint.graph import Graph, Node, Value
from zeropoint.operators import ALL, MOVES, RUNTIME_PARAMETERS

MAX_RANK = 8
_TINY = float(np.finfo(np.float32).tiny)


def _check_quant(value: Value, where: str) -> None:
    quant = value.quant
    if quant is None:
        return
    scale, zero_point = np.asarray(quant.scale), np.asarray(quant.zero_point)
    if scale.dtype != np.float32 or zero_point.dtype != np.int32:
        raise GraphError(
            f"{where}: '{value.name}' has scales of dtype {scale.dtype} and zero points of dtype "
            f"{zero_point.dtype}; they are float32 and int32"
        )
    if scale.shape != zero_point.shape:
        raise GraphError(f"{where}: '{value.name}' has not as many zero points as scales")
    if quant.axis is None:
        if scale.size != 1:
            raise GraphError(
                f"{where}: '{value.name}' is quantized per tensor but has {scale.size} scales"
            )
    else:
        if not value.is_constant:
            raise GraphError(
                f"{where}: the activation '{value.name}' has one scale a channel; activations "
                "take one scale per tensor"
            )
        shape = value.shape or ()
        if not 0 <= quant.axis < len(shape) or scale.shape != (shape[quant.axis],):
            raise GraphError(
                f"{where}: '{value.name}' of shape {list(shape)} has scales of shape "
                f"{list(scale.shape)} along axis {quant.axis}"
            )
    bad = ~(np.isfinite(scale) & (scale >= _TINY))
    if bad.any():
        raise GraphError(
            f"{where}: a scale of '{value.name}' is {float(scale.reshape(-1)[bad.argmax()])!r}; "
            "scales are finite, positive and not denormal"
        )
    if ((zero_point < -128) | (zero_point > 127)).any():
        raise GraphError(f"{where}: a zero point of '{value.name}' is outside [-128, 127]")


def _check_value(value: Value, where: str) -> None:
    if value.dtype not in TENSOR_TYPES:
        raise GraphError(
            f"{where}: value '{value.name}' has dtype {value.dtype}; a model file holds "
            f"{', '.join(TENSOR_TYPES)}"
        )
    if value.shape is None:
        raise GraphError(
            f"{where}: the rank of value '{value.name}' is not known; run shape inference first"
        )
    if len(value.shape) > MAX_RANK:
        raise GraphError(
            f"{where}: value '{value.name}' has {len(value.shape)} dimensions; at most {MAX_RANK}"
        )
    if any(d is not None and d <= 0 for d in value.shape):
        raise GraphError(
            f"{where}: value '{value.name}' has the shape {list(value.shape)}; dimensions are "
            "positive, or None where free"
        )
    if value.data is not None:
        if str(value.data.dtype) != value.dtype or value.data.shape != value.shape:
            raise GraphError(
                f"{where}: constant '{value.name}' is declared {value.dtype}{list(value.shape)} "
                f"but holds {value.data.dtype}{list(value.data.shape)}"
            )
        if value.dtype == "float32" and not np.isfinite(value.data).all():
            index = [int(i) for i in np.argwhere(~np.isfinite(value.data))[0]]
            raise GraphError(
                f"{where}: constant '{value.name}' holds {value.data[tuple(index)]} at {index}; "
                "weights must be finite: repair or retrain the model"
            )
    _check_quant(value, where)


def _check_parameters(graph: Graph, node: Node, where: str) -> None:
    """Only some operators take part in int8 activations whose parameters are values themselves."""
    if node.op in RUNTIME_PARAMETERS | MOVES:
        return
    for name in (*node.inputs, *node.outputs):
        value = graph.values.get(name)
        if value is None or value.dtype != "int8" or value.is_constant or value.quant is not None:
            continue
        raise GraphError(f"{where}: the int8 value '{name}' has no scale and zero point")


def check_graph(graph: Graph, where: str) -> None:
    for key, value in graph.values.items():
        if key != value.name:
            raise GraphError(f"{where}: value '{value.name}' is filed under the name '{key}'")
        _check_value(value, where)
    for kind, names in (("input", graph.inputs), ("output", graph.outputs)):
        for name in names:
            if name not in graph.values:
                raise GraphError(f"{where}: the graph {kind} '{name}' is not a value of the graph")
    for name in sorted(graph.unsigned):
        if name not in (*graph.inputs, *graph.outputs) or graph.values[name].dtype != "int8":
            raise GraphError(
                f"{where}: '{name}' is to be uint8 for callers, but is not an int8 graph input or "
                "output"
            )
    if not graph.outputs:
        raise GraphError(f"{where}: the graph has no outputs")
    ready = set(graph.inputs) | {v.name for v in graph.values.values() if v.is_constant}
    for node in graph.nodes:
        label = f"{where}: node '{node.name}' ({node.op})"
        if node.op not in ALL:
            raise GraphError(f"{label}: no such operator; see zeropoint.operators")
        if not node.outputs:
            raise GraphError(f"{label} has no outputs")
        _check_parameters(graph, node, label)
        for name in node.inputs:
            if name and name not in graph.values:
                raise GraphError(f"{label} reads '{name}', which is not a value of the graph")
            if name and name not in ready:
                raise GraphError(f"{label} reads '{name}' before any node has written it")
        for name in node.outputs:
            if name not in graph.values:
                raise GraphError(f"{label} writes '{name}', which is not a value of the graph")
            if name in ready:
                raise GraphError(f"{label} writes '{name}', which has a value already")
            ready.add(name)
    for name in graph.outputs:
        if name not in ready:
            raise GraphError(f"{where}: nothing writes the graph output '{name}'")
