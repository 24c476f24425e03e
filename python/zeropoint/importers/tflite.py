"""TFLite files become graphs: float ones float graphs, quantized ones int8 graphs.

The reader (:mod:`~zeropoint.importers.tflite_reader`) checks the file; constant subgraphs and shape
arithmetic are folded (:mod:`~zeropoint.importers.tflite_folding`); then one handler per TFLite
operator emits nodes of :mod:`zeropoint.operators`. TFLite is channels-last, so nothing is
transposed.

A quantized file keeps its own scales and zero points. Tensors of uint8 become int8 by subtracting
128 from numbers and zero points, which changes no real value. What TFLite computes with fixed-point
multipliers is computed by the rules of zeropoint here (float32 multiplier, one rounding), so
results may differ from TFLite's by one step, as those of its own back ends do from each other.

Dimensions that the file's shape signatures declare free stay free where every operator allows it;
otherwise the shapes are the file's.
"""

from __future__ import annotations

import os

from zeropoint.errors import GraphError, ModelError, UnsupportedError
from zeropoint.graph import Graph
from zeropoint.importers import tflite_ops_layers, tflite_ops_math, tflite_ops_shape
from zeropoint.importers.tflite_context import Context, FreeShape, Unsupported
from zeropoint.importers.tflite_folding import fold
from zeropoint.importers.tflite_reader import Operator, TfliteModel, read_model

#: TFLite operator -> its handler.
HANDLERS = {
    **tflite_ops_layers.HANDLERS,
    **tflite_ops_math.HANDLERS,
    **tflite_ops_shape.HANDLERS,
}


class _NotFree(Exception):
    """A dimension that the file declares free is not free for every operator."""


def import_tflite(path: str | os.PathLike[str]) -> Graph:
    """Reads a TFLite file into a graph, not yet canonical.

    Raises:
        FileError, ModelError, UnsupportedError, MissingExtraError: see
            :func:`zeropoint.importers.load`.
    """
    model = read_model(os.fspath(path))
    signatures = [model.tensors[i].signature for i in model.inputs]
    if any(None in signature for signature in signatures):
        try:
            return _build(model, free=True)
        except _NotFree:
            if any(None in signature[1:] for signature in signatures):
                raise UnsupportedError(
                    f"{model.path}: an operator depends on an input size that the file leaves "
                    "free; convert the model with fixed input shapes"
                ) from None
    return _build(model, free=False)


def _build(model: TfliteModel, *, free: bool) -> Graph:
    try:
        context = Context(model, free=free)
    except Unsupported as problem:
        raise UnsupportedError(f"{model.path}: {problem}") from None
    except ModelError as problem:
        raise ModelError(f"{model.path}: {problem}") from None
    problems: list[str] = []
    for op in _needed(model):
        tainted = any(i in context.tainted for i in op.inputs)
        first = len(context.graph.nodes)
        try:
            _handle(context, op)
            if free:
                _check_signature(context, op)
        except FreeShape as problem:
            if free:
                raise _NotFree from None
            if not tainted:
                problems.append(f"{op}: {problem}")
        except Unsupported as problem:
            problems.append(f"{op}: {problem}")
        except (ModelError, GraphError) as problem:
            if free:
                raise _NotFree from None
            if not tainted:
                raise ModelError(f"{model.path}: {op}: {problem}") from None
        else:
            if tainted:
                context.tainted.update(op.outputs)
            continue
        # Nothing half-made stays behind.
        del context.graph.nodes[first:]
        context.give_up(op)
    if problems:
        raise UnsupportedError(
            f"{model.path}: {len(problems)} operator(s) cannot be imported:\n  "
            + "\n  ".join(problems)
        )
    _finish_outputs(context)
    graph = context.graph
    graph.remove_dead()
    return graph


def _handle(context: Context, op: Operator) -> None:
    handler = HANDLERS.get(op.kind)
    if fold(context, op):
        return
    if handler is None:
        raise Unsupported("this operator is not supported")
    handler(context, op)


def _needed(model: TfliteModel) -> list[Operator]:
    """The operators that the outputs depend on."""
    needed = set(model.outputs)
    kept = []
    for op in reversed(model.operators):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
            kept.append(op)
    return kept[::-1]


def _check_signature(context: Context, op: Operator) -> None:
    """Free dimensions must come out where the file says so: a reshape to fixed numbers, for
    example, ends them."""
    for i in op.outputs:
        value = context.graph.values.get(context.name(i))
        signature = context.model.tensors[i].signature
        if value is None or value.shape is None or i in context.folded:
            continue
        if len(value.shape) != len(signature):
            raise _NotFree
        for wanted, found in zip(signature, value.shape, strict=True):
            if found is not None and found != wanted:
                raise _NotFree


def _finish_outputs(context: Context) -> None:
    graph, model = context.graph, context.model
    for i in model.outputs:
        name, tensor = context.name(i), model.tensors[i]
        graph.outputs.append(name)
        if name in graph.values:
            continue
        array = context.folded.get(i, tensor.data)
        if array is None or array.dtype.kind == "O":
            raise UnsupportedError(f"{model.path}: the output {tensor} is the shape of an input")
        try:
            graph.add_constant(name, context.real(tensor, array))
        except Unsupported as problem:
            raise UnsupportedError(f"{model.path}: the output {problem}") from None


__all__ = ["HANDLERS", "import_tflite"]
