"""ONNX operators that move data: reshape, transpose, slice, split, concat, pad and their kin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zeropoint.graph import Array, QuantParams
from zeropoint.importers.onnx_context import Context, OnnxNode, UnknownShape, Unsupported
from zeropoint.importers.onnx_folding import slice_inputs
from zeropoint.importers.onnx_quantization import type_name
from zeropoint.importers.onnx_reader import require_onnx

Handler = Callable[[Context, OnnxNode], None]


def _identity(context: Context, node: OnnxNode) -> None:
    context.alias(node.outputs[0], context.value(node, 0))


def _dropout(context: Context, node: OnnxNode) -> None:
    node.only_output(what="'mask'")
    if context.opset >= 12 and context.has(node, 2):
        training = context.need_constant(node, 2, "training_mode")
        if training.any():
            raise Unsupported("training_mode is set; export the model for inference")
    context.alias(node.outputs[0], context.value(node, 0))


def _cast(context: Context, node: OnnxNode) -> None:
    onnx = require_onnx()
    kinds = {
        onnx.TensorProto.FLOAT: "float32",
        onnx.TensorProto.INT64: "int64",
        onnx.TensorProto.INT32: "int32",
    }
    x = context.value(node, 0)
    have, to = context.graph.value(x).dtype, node.get_int("to")
    wanted = kinds.get(to)
    if have == wanted:
        context.alias(node.outputs[0], x)
    elif have == "int8" and wanted == "float32":
        # The integers themselves: scale 1, and the zero point that uint8 has in int8.
        params = QuantParams.per_tensor(1.0, -128 if x in context.unsigned else 0)
        x = context.with_params(x, params)
        context.emit(node, "dequantize", [x], dtypes=["float32"])
    elif have != "int8" and wanted is not None:
        context.emit(node, "cast", [x], {"to": wanted}, dtypes=[wanted])
    else:
        raise Unsupported(f"a cast from {have} to {type_name(to)} is not supported")


def _reshape(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    name = context.resolve(node.inputs[1]) if context.has(node, 1) else ""
    entries: Array | None = context.partial.get(name)
    if entries is None:
        entries = context.need_constant(node, 1, "the shape")
    context.emit(node, "reshape", [x], {"shape": _target(context, node, x, entries)})


def _target(context: Context, node: OnnxNode, x: str, entries: Array) -> list[int]:
    """The shape attribute: free entries that copy a dimension of x become 0, one other -1."""
    wanted: list[int | str] = [e if isinstance(e, str) else int(e) for e in entries.reshape(-1)]
    if all(isinstance(e, int) and e != 0 for e in wanted):
        return [e for e in wanted if isinstance(e, int)]
    have = context.symbols(x)
    result: list[int] = []
    for i, entry in enumerate(wanted):
        if isinstance(entry, int):
            if entry == 0 and node.get_int("allowzero", 0):
                raise Unsupported("attribute 'allowzero' with a dimension of 0 is not supported")
            result.append(entry)
        elif i < len(have) and have[i] == entry:
            result.append(0)
        else:
            result.append(-1)
    if result.count(-1) > 1:
        raise UnknownShape(
            "the shape has more than one entry that is computed from free dimensions; "
            "give the model a fixed input shape"
        )
    return result


def _flatten(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    rank = len(context.known_shape(x))
    axis = node.get_int("axis", 1)
    if not -rank <= axis <= rank:
        raise Unsupported(f"axis {axis} is outside of a tensor of rank {rank}")
    context.emit(node, "flatten", [x], {"axis": axis + rank if axis < 0 else axis})


def _transpose(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    rank = len(context.known_shape(x))
    perm = node.get_ints("perm") or list(range(rank))[::-1]
    context.emit(node, "transpose", [x], {"perm": perm})


def _axes(context: Context, node: OnnxNode) -> list[int] | None:
    return node.get_ints("axes") if context.opset < 13 else context.int_list(node, 1, "axes")


def _squeeze(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    shape = context.known_shape(x)
    axes = _axes(context, node)
    if axes is None:
        if None in shape:
            raise UnknownShape("without 'axes' every dimension of the input must be known")
        axes = [i for i, dim in enumerate(shape) if dim == 1]
    axes = sorted({context.axis(axis, len(shape)) for axis in axes})
    context.emit(node, "squeeze", [x], {"axes": axes})


def _unsqueeze(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    axes = _axes(context, node)
    if axes is None:
        raise Unsupported("'axes' is missing")
    rank = len(context.known_shape(x)) + len(axes)
    context.emit(
        node, "unsqueeze", [x], {"axes": sorted(context.axis(axis, rank) for axis in axes)}
    )


def _slice(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    rank = len(context.known_shape(x))
    bounds = slice_inputs(context, node)
    if bounds is None:
        raise Unsupported("starts, ends, axes and steps must be constants")
    starts, ends, axes, steps = bounds
    axes = list(range(len(starts))) if axes is None else axes
    axes = [context.axis(axis, rank) for axis in axes]
    if 0 in steps or len(set(axes)) != len(axes):
        raise Unsupported("a step is 0, or an axis is there twice")
    # Beyond any tensor's size; int64's own limits overflow when a size is added to them.
    far = 1 << 62
    context.emit(
        node,
        "slice",
        [x],
        {
            "starts": [max(-far, min(far, s)) for s in starts],
            "ends": [max(-far, min(far, e)) for e in ends],
            "axes": axes,
            "steps": steps,
        },
    )


def _split(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    shape = context.known_shape(x)
    axis = context.axis(node.get_int("axis", 0), len(shape))
    sizes = node.get_ints("split") if context.opset < 13 else context.int_list(node, 1, "split")
    count = len(node.outputs)
    if sizes is None:
        size = shape[axis]
        if size is None:
            raise UnknownShape(f"an equal split of dimension {axis} needs its size")
        if node.get_int("num_outputs", count) != count:
            raise Unsupported("'num_outputs' is not the number of outputs")
        each = -(-size // count)
        sizes = [each] * (count - 1) + [size - each * (count - 1)]
        if sizes[-1] < 0 or (sizes[-1] != each and context.opset < 18):
            raise Unsupported(f"dimension {axis} of size {size} does not split into {count}")
    if len(sizes) != count:
        raise Unsupported(f"{len(sizes)} sizes for {count} outputs")
    context.emit(node, "split", [x], {"axis": axis, "sizes": sizes}, node.outputs)


def _concat(context: Context, node: OnnxNode) -> None:
    inputs = [context.value(node, i) for i in range(len(node.inputs))]
    axis = context.axis(node.get_int("axis"), len(context.known_shape(inputs[0])))
    if len(inputs) == 1:
        context.alias(node.outputs[0], inputs[0])
    else:
        context.emit(node, "concat", inputs, {"axis": axis})


def _pad(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    rank = len(context.known_shape(x))
    mode = node.get_str("mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise Unsupported(f"attribute 'mode' = '{mode}' is not supported")
    value = 0.0
    axes: list[int] | None = None
    if context.opset < 11:
        pads = node.get_ints("pads")
        value = node.get_float("value", 0.0)
    else:
        pads = context.int_list(node, 1, "pads")
        if context.has(node, 2):
            array = context.need_constant(node, 2, "the constant value")
            if array.size != 1:
                raise Unsupported("the constant value must be a scalar")
            value = float(array.reshape(-1)[0])
        axes = context.int_list(node, 3, "axes")
    if np.isnan(value):
        raise Unsupported("the constant value is NaN")
    if pads is None:
        raise Unsupported("'pads' is missing")
    if axes is not None:
        axes = [context.axis(axis, rank) for axis in axes]
        if len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
            raise Unsupported("'pads' and 'axes' do not fit together")
        full = [0] * (2 * rank)
        for i, axis in enumerate(axes):
            full[axis], full[axis + rank] = pads[i], pads[i + len(axes)]
        pads = full
    if len(pads) != 2 * rank:
        raise Unsupported(f"'pads' has {len(pads)} entries for a tensor of rank {rank}")
    context.emit(node, "pad", [x], {"pads": pads, "mode": mode, "value": value})


HANDLERS: dict[str, Handler] = {
    "Identity": _identity,
    "Dropout": _dropout,
    "Cast": _cast,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Split": _split,
    "Concat": _concat,
    "Pad": _pad,
}
