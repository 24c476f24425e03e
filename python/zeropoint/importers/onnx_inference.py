"""The onnx package's own shape inference, run on a stranger's model within bounds on memory.

That inference follows the contents of small integer vectors, too (shape arithmetic), and computes
whatever a node asks for: a Range of 10^12 entries in the branch of an If, or a vector that forty
Concat nodes double forty times. So each node is shown to it only when its result is known to be
small; what is left out, the operators' handlers find out by themselves or refuse with a message
that names the node.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, Any

from zeropoint.graph import Array

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from zeropoint.importers.onnx_reader import ModelSource

#: Initializers above this many elements are shown to shape inference by shape alone; no vector of
#: shape arithmetic may have more.
_SMALL = 4096
#: Far more dimensions than any tensor has that can be imported.
_MOST_DIMENSIONS = 64
#: Dimensions and entries of all values together.
_LIMIT_ALL = 1 << 22
#: Operators whose result is as large as the contents of their input say.
_UNBOUNDED = frozenset({"ConstantOfShape", "Expand", "Range", "Tile"})


def infer_shapes(
    onnx: Any,
    model: ModelProto,
    source: ModelSource,
    kinds: dict[str, str],
    supported: Container[str],
) -> dict[str, tuple[int | str, ...]]:
    """What ONNX's inference knows of each value, without weights and without the file's claims.

    Args:
        onnx: the package.
        model: the file, for the names of free dimensions.
        source: the same, checked.
        kinds: dtype -> ONNX's name for it.
        supported: operators of the ai.onnx domain that can be imported. Others are shown as well,
            so that what is wrong behind them is found, but not those that are made of others.

    Returns:
        As :attr:`ModelSource.symbols`.
    """
    slim = onnx.ModelProto()
    slim.ir_version = model.ir_version
    slim.opset_import.extend(model.opset_import)
    slim.graph.name = "shapes"
    slim.graph.node.extend(_bounded(onnx, source, supported))
    declared = {info.name: info for info in model.graph.input}
    for name, (dtype, shape) in source.inputs.items():
        kind = getattr(onnx.TensorProto, kinds[dtype])
        protos = declared[name].type.tensor_type.shape.dim
        dims: list[int | str] = []
        for i, (dim, proto) in enumerate(zip(shape, protos, strict=True)):
            dims.append(dim if dim is not None else proto.dim_param or f"{name}.{i}")
        slim.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, dims))
    for name, array in source.constants.items():
        try:
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        except (KeyError, ValueError):
            continue
        if array.size <= _SMALL:
            slim.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        else:
            slim.graph.input.append(
                onnx.helper.make_tensor_value_info(name, kind, list(array.shape))
            )
    for name in source.outputs:
        slim.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    try:
        inferred = onnx.shape_inference.infer_shapes(slim, strict_mode=False, data_prop=True)
    except (ValueError, RuntimeError, TypeError, onnx.shape_inference.InferenceError):
        # Not fatal: each operator's shape is checked again when it is imported, with a message
        # that names the node.
        return {}
    symbols: dict[str, tuple[int | str, ...]] = {}
    graph = inferred.graph
    for info in [*graph.input, *graph.value_info, *graph.output]:
        if info.type.HasField("tensor_type") and info.type.tensor_type.HasField("shape"):
            symbols[info.name] = tuple(
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"{info.name}.{i}"
                for i, dim in enumerate(info.type.tensor_type.shape.dim)
            )
    return symbols


def _bounded(onnx: Any, source: ModelSource, supported: Container[str]) -> Iterator[NodeProto]:
    """The nodes whose inference stays small, as far as an upper bound tells."""
    known = {name: (len(shape), 0) for name, (_, shape) in source.inputs.items()}
    known.update((name, _size_of(array)) for name, array in source.constants.items())
    spent = 0
    for node in source.nodes:
        if (
            node.domain not in ("", "ai.onnx")
            or node.op_type in _UNBOUNDED
            or _other_number_of_outputs(node)
        ):
            continue
        inputs = [known.get(name, (0, 0)) for name in node.input]
        if node.op_type in supported:
            rank, entries = _bound(node, inputs)
        elif _has_body(onnx, node, source.opset):
            continue
        else:
            rank, entries = sum(r for r, _ in inputs), sum(e for _, e in inputs)
        spent += (rank + entries + 1) * len(node.output)
        if rank > _MOST_DIMENSIONS or entries > _SMALL or spent > _LIMIT_ALL:
            continue
        known.update((name, (rank, entries)) for name in node.output)
        yield node


def _size_of(array: Array) -> tuple[int, int]:
    followed = array.ndim <= 1 and array.size <= _SMALL
    return array.ndim, array.size if followed else 0


def _bound(node: NodeProto, inputs: list[tuple[int, int]]) -> tuple[int, int]:
    """Upper bounds of the result's rank, and of its entries if its contents are followed (0: they
    are not, since those of an input are not)."""
    if node.op_type == "Constant":
        return max((_literal(attribute) for attribute in node.attribute), default=(0, 0))
    if not inputs:
        return 0, 0
    ranks, entries = [r for r, _ in inputs], [e for _, e in inputs]
    followed = all(entries)
    if node.op_type == "Shape":
        return 1, ranks[0]
    if node.op_type == "Size":
        return 0, 1
    if node.op_type == "Concat":
        return max(ranks), sum(entries) if followed else 0
    if node.op_type == "Gather":
        return sum(ranks), max(entries) if followed else 0
    if node.op_type == "Unsqueeze":
        axes = sum(len(a.ints) for a in node.attribute) + sum(entries[1:])
        return ranks[0] + axes, entries[0]
    if node.op_type == "Reshape":
        return max(ranks + entries[1:]), entries[0]
    return max(ranks), max(entries) if followed else 0


def _literal(attribute: Any) -> tuple[int, int]:
    if attribute.HasField("t"):
        dims = [max(int(d), 0) for d in attribute.t.dims]
        return len(dims), math.prod(dims) if len(dims) <= 1 else 0
    return 1, max(len(attribute.ints), len(attribute.floats), 1)


def _has_body(onnx: Any, node: NodeProto, opset: int) -> bool:
    """Would inference go through other nodes: of a subgraph, or of the operator's definition?"""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return True
    return bool(
        schema.has_function
        or schema.has_context_dependent_function
        or any(a.HasField("g") or a.graphs for a in node.attribute)
    )


def _other_number_of_outputs(node: NodeProto) -> bool:
    """Does a Split ask for more parts than it names?"""
    return any(a.name == "num_outputs" and a.i != len(node.output) for a in node.attribute)
