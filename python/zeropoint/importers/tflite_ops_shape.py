"""TFLite operators that move data: reshapes, slices, joins, padding, resizing."""

from __future__ import annotations

import math
from typing import Any

from zeropoint.errors import ModelError
from zeropoint.graph import Dim
from zeropoint.importers.tflite_context import (
    Context,
    FreeShape,
    Unsupported,
    is_quantized,
    per_tensor_params,
    signed,
)
from zeropoint.importers.tflite_ops_layers import Handler
from zeropoint.importers.tflite_reader import Operator
from zeropoint.quantization.affine import dequantized_levels

_LAST = 2**31 - 1


def _move(c: Context, op: Operator, kind: str, x: str, **attrs: Any) -> None:
    """Emits an operator whose int8 form keeps scale and zero point."""
    y = c.output(op)
    if c.quantized(op):
        x = c.requantized(x, c.params(y))
    c.emit(kind, [x], y, **attrs)


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ModelError(f"the axis {axis} is outside of {rank} dimensions")
    return axis % rank


def _scalar(c: Context, op: Operator, i: int, what: str) -> int:
    found = c.ints(op, i, what)
    if len(found) != 1:
        raise ModelError(f"{what} has {len(found)} entries; it is one number")
    return found[0]


# -- shapes -----------------------------------------------------------------------------------


def _reshape(c: Context, op: Operator) -> None:
    x = c.value(op, 0)
    if c.has(op, 1):
        target = c.dims(op, 1, "the new shape")
    else:
        target = [int(v) for v in op.options["NewShape"]]
    if any(dim is not None and dim != -1 and dim < 1 for dim in target):
        raise ModelError(f"the new shape is {target}; dimensions are positive")
    _move(c, op, "reshape", x, shape=_spec(c.shape(x), target))


def _spec(x: tuple[Dim, ...], target: list[int | None]) -> list[int]:
    """The graph's ``shape`` attribute: 0 copies a dimension, -1 is what is left."""
    spec = [-1 if dim is None else dim for dim in target]
    if x and x[0] is None and None not in x[1:] and spec:
        known = math.prod(dim for dim in x[1:] if dim is not None)
        rest = [dim for dim in spec[1:] if dim != -1]
        # [1, ...] for a batch of 1 is what a free batch of single samples becomes too.
        if (target[0] is None or spec[0] == 1) and (-1 in spec[1:] or math.prod(rest) == known):
            spec[0] = 0
    if spec.count(-1) > 1:
        raise FreeShape(f"the new shape {target} depends on dimensions that are free")
    if None in x and -1 not in spec and 0 not in spec:
        raise FreeShape(f"the new shape {target} fixes a dimension that is free")
    return spec


def _squeeze(c: Context, op: Operator) -> None:
    x = c.value(op, 0)
    shape = c.shape(x)
    axes = [_axis(axis, len(shape)) for axis in op.options["SqueezeDims"]]
    if not axes:
        if None in shape:
            raise FreeShape("which dimensions are 1 depends on one that is free")
        axes = [i for i, dim in enumerate(shape) if dim == 1]
    _move(c, op, "squeeze", x, axes=sorted(set(axes)))


def _expand_dims(c: Context, op: Operator) -> None:
    x = c.value(op, 0)
    axis = _axis(_scalar(c, op, 1, "the axis"), c.rank(x) + 1)
    _move(c, op, "unsqueeze", x, axes=[axis])


def _transpose(c: Context, op: Operator) -> None:
    x = c.value(op, 0)
    perm = c.ints(op, 1, "the permutation")
    rank = c.rank(x)
    _move(c, op, "transpose", x, perm=[_axis(axis, rank) for axis in perm])


# -- slices -----------------------------------------------------------------------------------


def _slice(c: Context, op: Operator) -> None:
    x = c.value(op, 0)
    begin, size = c.ints(op, 1, "the begin"), c.dims(op, 2, "the size")
    rank = c.rank(x)
    if len(begin) != rank or len(size) != rank or any(b < 0 for b in begin):
        raise ModelError(f"begin {begin} and size {size} for {rank} dimensions")
    ends = []
    for b, s, dim in zip(begin, size, c.shape(x), strict=True):
        if s is None and b:
            raise FreeShape("the size depends on a dimension that is free")
        if s is not None and s != -1 and (s < 1 or (dim is not None and b + s > dim)):
            raise ModelError(f"begin {begin} and size {size} leave the input")
        ends.append(_LAST if s is None or s == -1 else b + s)
    _move(c, op, "slice", x, starts=begin, ends=ends, axes=list(range(rank)), steps=[1] * rank)


def strided_slice(
    op: Operator, rank: int, begin: list[int], end: list[int | None], strides: list[int]
) -> tuple[list[tuple[int, int, int, int]], list[int], list[int]]:
    """The masks of STRIDED_SLICE resolved: (axis, start, end, step) for each axis that is sliced,
    axes to squeeze afterwards, and axes of the final result to insert."""
    masks = {
        key: int(op.options[f"{key}Mask"])
        for key in ("Begin", "End", "Ellipsis", "NewAxis", "ShrinkAxis")
    }
    count = len(begin)
    if len(end) != count or len(strides) != count or count > 16:
        raise ModelError(f"begin, end and strides have {count}, {len(end)}, {len(strides)} entries")

    def bit(key: str, i: int) -> bool:
        return bool(masks[key] >> i & 1)

    new = sum(bit("NewAxis", i) and not bit("Ellipsis", i) for i in range(count))
    dots = sum(bit("Ellipsis", i) for i in range(count))
    if dots > 1 or count - new - dots > rank:
        raise ModelError(f"{count} slices for {rank} dimensions")
    cuts: list[tuple[int, int, int, int]] = []
    shrunk: list[int] = []
    inserted: list[int] = []
    axis = position = 0  # of the input, of the result
    for i in range(count):
        if bit("Ellipsis", i):
            skipped = rank - (count - new - 1)
            axis, position = axis + skipped, position + skipped
        elif bit("NewAxis", i):
            inserted.append(position)
            position += 1
        elif bit("ShrinkAxis", i):
            cuts.append((axis, begin[i], begin[i] + 1 or _LAST, 1))
            shrunk.append(axis)
            axis += 1
        else:
            step = strides[i]
            if step == 0 or abs(step) > _LAST:
                raise ModelError("a stride is 0")
            start = begin[i]
            if bit("Begin", i):
                start = 0 if step > 0 else _LAST
            stop = end[i]
            if stop is None and not bit("End", i):
                raise FreeShape("the end of the slice depends on a dimension that is free")
            if stop is None or bit("End", i):
                stop = _LAST if step > 0 else -_LAST
            elif op.options["Offset"]:
                stop += start
            if (start, stop, step) != (0, _LAST, 1):
                cuts.append((axis, start, stop, step))
            axis, position = axis + 1, position + 1
    return cuts, shrunk, inserted


def _strided_slice(c: Context, op: Operator) -> None:
    x = c.value(op, 0)
    begin, strides = c.ints(op, 1, "the begin"), c.ints(op, 3, "the strides")
    cuts, shrunk, inserted = strided_slice(op, c.rank(x), begin, c.dims(op, 2, "the end"), strides)
    y = c.output(op)
    if c.quantized(op):
        x = c.requantized(x, c.params(y))
    steps: list[tuple[str, dict[str, Any]]] = []
    if cuts:
        keys = ("axes", "starts", "ends", "steps")
        lists = [list(column) for column in zip(*cuts, strict=True)]
        steps.append(("slice", dict(zip(keys, lists, strict=True))))
    if shrunk:
        steps.append(("squeeze", {"axes": shrunk}))
    if inserted:
        steps.append(("unsqueeze", {"axes": inserted}))
    if not steps:
        steps.append(("reshape", {"shape": [0] * c.rank(x)}))
    for i, (kind, attrs) in enumerate(steps):
        target = y if i == len(steps) - 1 else c.like(x, f"{y}/{kind}")
        x = c.emit(kind, [x], target, **attrs)


# -- splits and joins -------------------------------------------------------------------------


def _split(c: Context, op: Operator) -> None:
    """Equal parts; the axis comes first."""
    if is_quantized(c.tensor(op, 1)) != is_quantized(c.result(op)):
        raise Unsupported("it changes the type")
    x = c.value(op, 1)
    shape = c.shape(x)
    axis = _axis(_scalar(c, op, 0, "the axis"), len(shape))
    size, parts = shape[axis], len(op.outputs)
    if size is None:
        raise FreeShape("it splits a dimension that is free")
    if size % parts:
        raise ModelError(f"{size} does not split into {parts} parts")
    _split_into(c, op, x, axis, [size // parts] * parts)


def _split_into(c: Context, op: Operator, x: str, axis: int, sizes: list[int]) -> None:
    if len(sizes) != len(op.outputs):
        raise ModelError(f"{len(sizes)} parts for {len(op.outputs)} outputs")
    outputs = [c.output(op, i) for i in range(len(sizes))]
    parts = []
    for y in outputs:
        alike = not c.is_int8(x) or c.params(y).same(c.params(x))
        parts.append(y if alike else c.like(x, f"{y}/part"))
    c.emit("split", [x], parts, axis=axis, sizes=sizes)
    for part, y in zip(parts, outputs, strict=True):
        if part != y:
            c.lookup(part, y, "requantize", lambda real: real)


def _split_v(c: Context, op: Operator) -> None:
    c.quantized(op)
    x = c.value(op, 0)
    shape = c.shape(x)
    axis = _axis(_scalar(c, op, 2, "the axis"), len(shape))
    sizes, dim = c.ints(op, 1, "the sizes"), shape[axis]
    if sizes.count(-1) == 1 and dim is not None:
        sizes[sizes.index(-1)] = dim - (sum(sizes) + 1)
    if any(size < 1 for size in sizes):
        raise ModelError(f"sizes {sizes} of a dimension of {dim}")
    _split_into(c, op, x, axis, sizes)


def _unpack(c: Context, op: Operator) -> None:
    c.quantized(op)
    x = c.value(op, 0)
    shape = c.shape(x)
    axis = _axis(int(op.options["Axis"]), len(shape))
    count = len(op.outputs)
    if shape[axis] not in (None, count):
        raise ModelError(f"{shape[axis]} slices for {count} outputs")
    outputs = [c.output(op, i) for i in range(count)]
    parts = [c.like(x, f"{y}/slice") for y in outputs]
    c.emit("split", [x], parts, axis=axis, sizes=[1] * count)
    for part, y in zip(parts, outputs, strict=True):
        if c.is_int8(part):
            part = c.requantized(part, c.params(y))
        c.emit("squeeze", [part], y, axes=[axis])


def _joined(c: Context, op: Operator) -> list[str]:
    """The operands of a join, all with the parameters of the result."""
    if not op.inputs:
        raise ModelError("it has no inputs")
    quantized = is_quantized(c.result(op))
    names = []
    for i in range(len(op.inputs)):
        if is_quantized(c.tensor(op, i)) != quantized:
            raise Unsupported(f"it mixes {c.tensor(op, i).dtype} and {c.result(op).dtype}")
        name = c.value(op, i)
        names.append(c.requantized(name, per_tensor_params(c.result(op))) if quantized else name)
    return names


def _concat(c: Context, op: Operator) -> None:
    names = _joined(c, op)
    axis = _axis(int(op.options["Axis"]), c.rank(names[0]))
    c.fused(op, lambda y, clip: c.emit("concat", names, y, axis=axis, **clip), clips=False)


def _pack(c: Context, op: Operator) -> None:
    names = _joined(c, op)
    y = c.output(op)
    axis = _axis(int(op.options["Axis"]), c.rank(names[0]) + 1)
    wide = [
        c.emit("unsqueeze", [name], c.like(name, f"{y}/operand"), axes=[axis]) for name in names
    ]
    c.emit("concat", wide, y, axis=axis)


# -- padding and resizing ---------------------------------------------------------------------


def _margins(c: Context, op: Operator, rank: int) -> list[int]:
    """[begin per axis ..., end per axis ...] from the file's [rank, 2]."""
    array = c.need_constant(op, 1, "the padding")
    if array.dtype.kind not in "iu" or array.shape != (rank, 2):
        raise ModelError(f"the padding has the shape {list(array.shape)} for {rank} dimensions")
    pads = [int(v) for v in array.T.reshape(-1)]
    if any(not 0 <= pad < 2**31 for pad in pads):
        raise ModelError(f"the padding is {pads}; it is never negative")
    return pads


def _pad(c: Context, op: Operator) -> None:
    x = c.value(op, 0)
    value = 0.0
    if op.kind == "PADV2" and c.has(op, 2):
        array = c.need_constant(op, 2, "the value of the padding")
        tensor = c.tensor(op, 2)
        if array.size != 1:
            raise ModelError(f"the value of the padding has {array.size} entries")
        if is_quantized(tensor) and c.quantized(op):
            # The value is in units of the input: TFLite copies its integer as it is.
            q = int(signed(tensor, array).reshape(()))
            value = float(dequantized_levels(per_tensor_params(c.tensor(op, 0)))[q + 128])
        else:
            value = float(c.floats(op, 2, "the value of the padding").reshape(()))
    _move(c, op, "pad", x, pads=_margins(c, op, c.rank(x)), mode="constant", value=value)


def _mirror_pad(c: Context, op: Operator) -> None:
    x = c.value(op, 0)
    shape, mode = c.shape(x), int(op.options["Mode"])
    pads = _margins(c, op, len(shape))
    if mode not in (0, 1):
        raise ModelError(f"the mode {mode} does not exist")
    for axis, dim in enumerate(shape):
        for pad in (pads[axis], pads[axis + len(shape)]):
            if dim is not None and pad > dim - 1 + mode:
                raise ModelError(f"a mirrored margin of {pad} at a dimension of {dim}")
    if mode == 0:
        _move(c, op, "pad", x, pads=pads, mode="reflect")
        return
    # SYMMETRIC repeats the edge itself. A margin of 1 is the edge; wider ones are slices read
    # backwards.
    if max(pads, default=0) <= 1:
        _move(c, op, "pad", x, pads=pads, mode="edge")
        return
    y = c.output(op)
    if c.quantized(op):
        x = c.requantized(x, c.params(y))
    padded = [axis for axis in range(len(shape)) if pads[axis] or pads[axis + len(shape)]]
    for axis in padded:
        before, after, dim = pads[axis], pads[axis + len(shape)], shape[axis]
        if dim is None:
            raise FreeShape("it mirrors a dimension that is free")
        parts = [x]
        if before:
            parts.insert(0, _mirrored(c, x, y, axis, before - 1, 0))
        if after:
            parts.append(_mirrored(c, x, y, axis, dim - 1, dim - after))
        target = y if axis == padded[-1] else c.like(x, f"{y}/padded")
        x = c.emit("concat", parts, target, axis=axis)


def _mirrored(c: Context, x: str, y: str, axis: int, first: int, last: int) -> str:
    """``x[first], x[first - 1], ..., x[last]`` along the axis."""
    end = last - 1 if last else -_LAST
    target = c.like(x, f"{y}/mirrored")
    return c.emit("slice", [x], target, axes=[axis], starts=[first], ends=[end], steps=[-1])


def _resize(c: Context, op: Operator) -> None:
    x = c.value(op, 0)
    sizes = c.ints(op, 1, "the size")
    if len(sizes) != 2 or min(sizes) < 1:
        raise ModelError(f"the size is {sizes}; height and width are positive")
    if c.rank(x) != 4:
        raise ModelError(f"'{x}' has {c.rank(x)} dimensions; an image has 4")
    align, half = bool(op.options["AlignCorners"]), bool(op.options["HalfPixelCenters"])
    if align and half:
        raise Unsupported("align_corners together with half_pixel_centers")
    coordinates = "align_corners" if align else "half_pixel" if half else "asymmetric"
    attrs: dict[str, Any] = {"sizes": sizes, "coordinates": coordinates}
    if op.kind == "RESIZE_BILINEAR":
        attrs["mode"] = "linear"
    else:
        # floor((i + 0.5) * scale) is the half-pixel coordinate, rounded with ties upwards.
        attrs["mode"] = "nearest"
        attrs["nearest_mode"] = "floor" if coordinates == "asymmetric" else "round_prefer_ceil"
    _move(c, op, "resize", x, **attrs)


def _arg_max(c: Context, op: Operator) -> None:
    """The graph's indices are int64, also where the file says int32."""
    x = c.value(op, 0)
    if c.result(op).dtype not in ("int32", "int64"):
        raise ModelError(f"the index is {c.result(op).dtype}")
    axis = _axis(_scalar(c, op, 1, "the axis"), c.rank(x))
    c.emit("argmax", [x], c.output(op), axis=axis, keepdims=0, select_last=0)


HANDLERS: dict[str, Handler] = {
    "ARG_MAX": _arg_max,
    "CONCATENATION": _concat,
    "EXPAND_DIMS": _expand_dims,
    "MIRROR_PAD": _mirror_pad,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SLICE": _slice,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
