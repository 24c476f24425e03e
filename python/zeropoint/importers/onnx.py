"""ONNX files become float graphs.

The reader (:mod:`~zeropoint.importers.onnx_reader`) checks the file; constant subgraphs and shape
arithmetic are folded (:mod:`~zeropoint.importers.onnx_folding`); then one handler per ONNX operator
emits nodes of :mod:`zeropoint.operators`. Layout-bound operators are wrapped in transposes, which
:mod:`zeropoint.transforms` removes again.
"""

from __future__ import annotations

import os

from zeropoint.errors import GraphError, ModelError, UnsupportedError
from zeropoint.graph import Graph, Node, Value
from zeropoint.importers import (
    onnx_ops_math,
    onnx_ops_microsoft,
    onnx_ops_nn,
    onnx_ops_quant,
    onnx_ops_shape,
)
from zeropoint.importers.onnx_context import Context, OnnxNode, UnknownShape, Unsupported
from zeropoint.importers.onnx_dynamic import fuse_dynamic_linear
from zeropoint.importers.onnx_folding import FOLDABLE, Folder
from zeropoint.importers.onnx_reader import ModelSource, read_model, require_onnx

#: ONNX operator of the ai.onnx domain -> its handler.
HANDLERS = {
    **onnx_ops_math.HANDLERS,
    **onnx_ops_nn.HANDLERS,
    **onnx_ops_shape.HANDLERS,
    **onnx_ops_quant.HANDLERS,
}
#: The same by domain.
DOMAINS = {"": HANDLERS, "com.microsoft": onnx_ops_microsoft.HANDLERS}
#: All operators of the ai.onnx domain that can be imported.
_KNOWN = frozenset(HANDLERS) | FOLDABLE | {"Constant", "Shape", "Size"}

#: The onnx package's "any number" of inputs or outputs.
_VARIADIC = 2**31 - 1


def import_onnx(path: str | os.PathLike[str]) -> Graph:
    """Reads an ONNX file into a graph, not yet canonical: float operators and, where the file is
    quantized, explicit quantize and dequantize nodes between them.

    Raises:
        FileError, ModelError, UnsupportedError, MissingExtraError: see
            :func:`zeropoint.importers.load`.
    """
    source = read_model(os.fspath(path), _KNOWN)
    context = Context(source)
    folder = Folder(context)
    problems: list[str] = []
    for node in _needed(source):
        tainted = any(name in context.tainted for name in node.inputs)
        try:
            if not folder.fold(node):
                _handle(context, node)
        except Unsupported as problem:
            # Behind a node that failed, unknown shapes are its consequence, not news.
            if not (tainted and isinstance(problem, UnknownShape)):
                problems.append(f"node '{node.name}' ({_full_name(node)}): {problem}")
            _give_up(context, node)
        except (ModelError, GraphError):
            if not tainted:
                raise
            _give_up(context, node)
        if tainted:
            context.tainted.update(name for name in node.outputs if name)
    if problems:
        raise UnsupportedError(
            f"{source.path}: {len(problems)} node(s) cannot be imported:\n  "
            + "\n  ".join(problems)
        )
    context.settle_integers()
    try:
        _finish_outputs(context)
    except Unsupported as problem:
        raise UnsupportedError(f"{source.path}: {problem}") from None
    graph = context.graph
    graph.unsigned = context.unsigned & {*graph.inputs, *graph.outputs}
    graph.remove_dead()
    fuse_dynamic_linear(graph)
    return graph


def _handle(context: Context, node: OnnxNode) -> None:
    handler = DOMAINS.get(node.domain, {}).get(node.op_type)
    if handler is None:
        raise Unsupported("this operator is not supported")
    _check_form(context, node)
    first = len(context.graph.nodes)
    try:
        handler(context, node)
    except Unsupported:
        # Nothing half-made stays behind.
        del context.graph.nodes[first:]
        raise


def _check_form(context: Context, node: OnnxNode) -> None:
    """Numbers of inputs and outputs must be the operator's; an attribute that it does not have in
    this opset would be ignored in silence."""
    if node.domain:
        return  # other domains' schemas are not in the onnx package
    onnx = require_onnx()
    try:
        schema = onnx.defs.get_schema(node.proto.op_type, context.opset)
    except onnx.defs.SchemaError:
        raise Unsupported(f"opset {context.opset} does not have this operator") from None
    for what, names, least, most in (
        ("inputs", node.inputs, schema.min_input, schema.max_input),
        ("outputs", node.outputs, schema.min_output, schema.max_output),
    ):
        if not least <= len(names) <= most:
            wanted = f"at least {least}" if most >= _VARIADIC else f"{least} to {most}"
            raise Unsupported(f"it has {len(names)} {what}, and this operator takes {wanted}")
    unknown = [f"'{name}'" for name in node.attrs if name not in schema.attributes]
    if unknown:
        raise Unsupported(
            f"attribute {', '.join(unknown)} is not known to this operator in opset {context.opset}"
        )


def _full_name(node: OnnxNode) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _give_up(context: Context, node: OnnxNode) -> None:
    """Lets the import go on behind a node that failed, to find the other ones that would."""
    for name in node.outputs:
        if not name:
            continue
        context.tainted.add(name)
        if name not in context.graph.values:
            known = context.source.symbols.get(name)
            shape = None
            if known is not None:
                shape = tuple(dim if isinstance(dim, int) else None for dim in known)
            context.graph.add_value(Value(name, "float32", shape))


def _needed(source: ModelSource) -> list[OnnxNode]:
    """The nodes that the outputs depend on, each with a unique name."""
    needed = set(source.outputs)
    kept = []
    for proto in reversed(source.nodes):
        if any(name in needed for name in proto.output):
            needed.update(proto.input)
            kept.append(proto)
    names: set[str] = set()
    nodes = []
    for proto in reversed(kept):
        stem = proto.name or next(name for name in proto.output if name)
        name, i = stem, 1
        while name in names:
            name, i = f"{stem}_{i}", i + 1
        names.add(name)
        nodes.append(OnnxNode(proto, name, source.path))
    return nodes


def _finish_outputs(context: Context) -> None:
    graph = context.graph
    for name in context.source.outputs:
        graph.outputs.append(name)
        if name in graph.values:
            continue
        target = context.resolve(name)
        if target in context.constants:
            context.add_constant(name, context.constants[target])
        elif target in context.partial:
            raise UnsupportedError(
                f"{graph.source}: the output '{name}' is the shape of an input that is free"
            )
        else:
            # An output that is another value under a second name.
            value = graph.value(target)
            graph.add_value(Value(name, value.dtype, value.shape, value.quant))
            if target in context.unsigned:
                context.unsigned.add(name)
            _copy(context, target, name)


def _copy(context: Context, target: str, name: str) -> None:
    rank = len(context.known_shape(target))
    context.graph.nodes.append(
        Node(context.unique(f"{name}/copy"), "reshape", [target], [name], {"shape": [0] * rank})
    )
