"""Shape inference: the shapes and dtypes of a graph's activations.

One rule per operator of :mod:`zeropoint.operators`. A dimension that cannot be known before the
model runs is None; a value whose rank is unknown has shape None. :func:`infer` walks the whole
graph, :func:`infer_node` one node whose inputs are known already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

from zeropoint.errors import GraphError
from zeropoint.graph import Dim, Graph, Node
from zeropoint.operators import ACCUMULATES, UNARY

Shape = tuple[Dim, ...]
MaybeShape = Shape | None


class _ShapeError(ValueError):
    """What does not fit; the caller adds node and file."""


def infer(graph: Graph) -> None:
    """Fills ``shape`` and ``dtype`` of every activation that a node writes.

    Raises:
        GraphError: a node's inputs, attributes and constants do not fit together, or a node reads
            a value that does not exist.
    """
    for node in graph.nodes:
        infer_node(graph, node)


def infer_node(graph: Graph, node: Node) -> None:
    """Fills the values that ``node`` writes; values that do not exist yet are left alone."""
    for i, shape in enumerate(output_shapes(graph, node)[: len(node.outputs)]):
        name = node.outputs[i]
        if name in graph.values:
            graph.values[name].shape = shape
            graph.values[name].dtype = _output_dtype(graph, node, i)


def output_shapes(graph: Graph, node: Node) -> list[MaybeShape]:
    """The shapes of ``node``'s outputs from its inputs' shapes, constants and attributes."""
    shapes = [graph.value(name).shape if name else None for name in node.inputs]
    where = f"{graph.source or graph.name}: node '{node.name}' ({node.op})"
    try:
        rule = _RULES[node.op]
    except KeyError:
        raise GraphError(f"{where}: not an operator of zeropoint") from None
    try:
        return rule(node, shapes)
    except _ShapeError as error:
        shown = ", ".join(format_shape(shape) for shape in shapes)
        raise GraphError(f"{where}: {error} (input shapes: {shown})") from None
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise GraphError(f"{where}: malformed inputs or attributes: {error!r}") from None


def format_shape(shape: MaybeShape) -> str:
    """``[1, ?, 3]``; ``?`` alone for an unknown rank."""
    if shape is None:
        return "?"
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"


def broadcast(a: Shape, b: Shape) -> Shape:
    """NumPy broadcasting of two shapes; ValueError where they do not fit."""
    rank = max(len(a), len(b))
    result: list[Dim] = []
    for da, db in zip(
        (1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b), strict=True
    ):
        if da == 1:
            result.append(db)
        elif db == 1 or da == db or db is None:
            result.append(da)
        elif da is None:
            result.append(db)
        else:
            raise _ShapeError(f"shapes {format_shape(a)} and {format_shape(b)} do not broadcast")
    return tuple(result)


def product(dims: Sequence[Dim]) -> Dim:
    """The number of elements, None as soon as one dimension is free (unless another is 0)."""
    total = 1
    free = False
    for dim in dims:
        if dim is None:
            free = True
        else:
            total *= dim
    return total if not free or total == 0 else None


# -- attribute access -------------------------------------------------------------------------


def _ints(node: Node, key: str, default: list[int] | None = None) -> list[int]:
    value = node.attrs.get(key, default)
    if value is None:
        raise _ShapeError(f"attribute '{key}' is missing")
    return [int(v) for v in cast("list[int]", value)]


def _int(node: Node, key: str, default: int | None = None) -> int:
    value = node.attrs.get(key, default)
    if value is None:
        raise _ShapeError(f"attribute '{key}' is missing")
    return int(cast("int", value))


def _axis(axis: int, rank: int) -> int:
    if not 0 <= axis < rank:
        raise _ShapeError(f"axis {axis} is outside of a tensor of rank {rank}")
    return axis


def _need_rank(shape: Shape, rank: int, what: str = "x") -> None:
    if len(shape) != rank:
        raise _ShapeError(f"{what} must have rank {rank}, not {len(shape)}")


# -- rules ------------------------------------------------------------------------------------

_Rule = Callable[[Node, list[MaybeShape]], list[MaybeShape]]


def _same(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    return [shapes[0]]


def _elementwise(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    a, b = shapes[0], shapes[1]
    return [None if a is None or b is None else broadcast(a, b)]


def _prelu(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x, slope = shapes[0], shapes[1]
    if x is None or slope is None:
        return [x]
    # The slope is broadcast to x, never the other way round.
    if len(slope) > len(x) or any(
        s not in (1, d) and d is not None
        for s, d in zip(reversed(slope), reversed(x), strict=False)
    ):
        raise _ShapeError(f"the slope {format_shape(slope)} does not broadcast to x")
    return [x]


def window_output(size: Dim, kernel: int, stride: int, pads: int, dilation: int) -> Dim:
    """floor((size + pads - effective kernel) / stride) + 1."""
    if kernel < 1 or stride < 1 or dilation < 1:
        raise _ShapeError("kernel, strides and dilations must be positive")
    if size is None:
        return None
    room = size + pads - (dilation * (kernel - 1) + 1)
    if room < 0:
        raise _ShapeError(f"the window is larger than its padded input ({size} + {pads})")
    return room // stride + 1


def _weights(shapes: list[MaybeShape], groups: int) -> Shape:
    w = shapes[1]
    if w is None:
        raise _ShapeError("the weight's shape is unknown")
    _need_rank(w, 4, "w")
    out_channels = w[0]
    if groups < 1 or out_channels is None or out_channels % groups:
        raise _ShapeError(f"{out_channels} output channels do not divide into {groups} groups")
    bias = shapes[2] if len(shapes) > 2 else None
    if bias is not None and bias != (w[0],):
        raise _ShapeError(f"the bias must have shape [{w[0]}]")
    return w


def _channels(x: Shape, w: Shape, groups: int) -> None:
    if x[3] is not None and w[3] is not None and x[3] != w[3] * groups:
        raise _ShapeError(f"x has {x[3]} channels, the weight expects {w[3] * groups}")


def _conv2d(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    groups = _int(node, "groups", 1)
    w = _weights(shapes, groups)
    if x is None:
        return [(None, None, None, w[0])]
    _need_rank(x, 4)
    _channels(x, w, groups)
    strides, dilations = _ints(node, "strides", [1, 1]), _ints(node, "dilations", [1, 1])
    pads = _ints(node, "pads", [0, 0, 0, 0])
    spatial = tuple(
        window_output(
            x[1 + i], cast("int", w[1 + i]), strides[i], pads[i] + pads[i + 2], dilations[i]
        )
        for i in range(2)
    )
    return [(x[0], *spatial, w[0])]


def _conv_transpose2d(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    groups = _int(node, "groups", 1)
    w = _weights(shapes, groups)
    if x is None:
        return [(None, None, None, w[0])]
    _need_rank(x, 4)
    _channels(x, w, groups)
    strides, dilations = _ints(node, "strides", [1, 1]), _ints(node, "dilations", [1, 1])
    pads, extra = _ints(node, "pads", [0, 0, 0, 0]), _ints(node, "output_padding", [0, 0])
    spatial: list[Dim] = []
    for i in range(2):
        size = x[1 + i]
        if size is None:
            spatial.append(None)
            continue
        kernel = dilations[i] * (cast("int", w[1 + i]) - 1) + 1
        out = strides[i] * (size - 1) + extra[i] + kernel - pads[i] - pads[i + 2]
        if out < 1:
            raise _ShapeError(f"the padding {pads} leaves no output")
        spatial.append(out)
    return [(x[0], *spatial, w[0])]


def _linear(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x, w = shapes[0], shapes[1]
    if w is None:
        raise _ShapeError("the weight's shape is unknown")
    _need_rank(w, 2, "w")
    bias = shapes[2] if len(shapes) > 2 else None
    if bias is not None and bias != (w[0],):
        raise _ShapeError(f"the bias must have shape [{w[0]}]")
    if x is None:
        return [None]
    if not x:
        raise _ShapeError("x must have at least one dimension")
    if x[-1] is not None and x[-1] != w[1]:
        raise _ShapeError(f"x has {x[-1]} features, the weight expects {w[1]}")
    return [(*x[:-1], w[0])]


def _matmul(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    a, b = shapes[0], shapes[1]
    if a is None or b is None:
        return [None]
    if len(a) < 2 or len(b) < 2:
        raise _ShapeError("both operands must have at least two dimensions")
    if a[-1] is not None and b[-2] is not None and a[-1] != b[-2]:
        raise _ShapeError(f"the inner dimensions {a[-1]} and {b[-2]} differ")
    return [(*broadcast(a[:-2], b[:-2]), a[-2], b[-1])]


def _matmul_integer(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    result = _matmul(node, shapes)
    y = result[0]
    for i, (what, dim) in enumerate((("rows of a", -2), ("columns of b", -1))):
        zero_point = shapes[2 + i] if len(shapes) > 2 + i else None
        if y is not None and zero_point is not None:
            _zero_points(zero_point, y[dim], what)
    return result


def _zero_points(shape: Shape, count: Dim, what: str) -> None:
    if shape not in ((), (1,), (None,)) and (
        len(shape) != 1 or (count is not None and shape[0] != count)
    ):
        raise _ShapeError(
            f"the zero points {format_shape(shape)} are not one, nor one for the {what}"
        )


def _conv_integer(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    result = _conv2d(node, shapes[:2])
    w = cast("Shape", shapes[1])
    for i, (what, count) in enumerate((("tensor", 1), ("output channels", w[0]))):
        zero_point = shapes[2 + i] if len(shapes) > 2 + i else None
        if zero_point is not None:
            _zero_points(zero_point, count, what)
    return result


def _dynamic_quantize(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    return [shapes[0], (), ()]


def _layer_norm(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    if x is None:
        return [None]
    axis = _int(node, "axis", -1)
    row = x[_axis(axis + len(x) if axis < 0 else axis, len(x)) :]
    for given, what in zip(shapes[1:], ("scale", "bias"), strict=False):
        if given is not None and (
            len(given) != len(row)
            or any(None not in (g, r) and g != r for g, r in zip(given, row, strict=True))
        ):
            raise _ShapeError(
                f"the {what} {format_shape(given)} has not the shape of the normalized axes, "
                f"{format_shape(row)}"
            )
    return [x]


def _pool(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    if x is None:
        return [None]
    _need_rank(x, 4)
    kernel, strides = _ints(node, "kernel"), _ints(node, "strides", [1, 1])
    pads, dilations = _ints(node, "pads", [0] * 4), _ints(node, "dilations", [1, 1])
    spatial = tuple(
        window_output(x[1 + i], kernel[i], strides[i], pads[i] + pads[i + 2], dilations[i])
        for i in range(2)
    )
    return [(x[0], *spatial, x[3])]


def _global_max_pool(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    if x is None:
        return [None]
    if len(x) < 2:
        raise _ShapeError("x must have at least two dimensions")
    return [(x[0], *(1 for _ in x[1:-1]), x[-1])]


def _reduce(x: MaybeShape, axes: list[int], keepdims: int) -> MaybeShape:
    if x is None:
        return None
    for axis in axes:
        _axis(axis, len(x))
    if keepdims:
        return tuple(1 if i in axes else dim for i, dim in enumerate(x))
    return tuple(dim for i, dim in enumerate(x) if i not in axes)


def _reduce_mean(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    return [_reduce(shapes[0], _ints(node, "axes", []), _int(node, "keepdims", 1))]


def _argmax(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    return [_reduce(shapes[0], [_int(node, "axis")], _int(node, "keepdims", 1))]


def _concat(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    known = [shape for shape in shapes if shape is not None]
    if not known:
        return [None]
    axis = _axis(_int(node, "axis"), len(known[0]))
    result: list[Dim] = list(known[0])
    for shape in known[1:]:
        if len(shape) != len(result):
            raise _ShapeError("the inputs differ in rank")
        for i, dim in enumerate(shape):
            if i == axis or dim is None:
                continue
            if result[i] is None:
                result[i] = dim
            elif result[i] != dim:
                raise _ShapeError(f"the inputs differ in dimension {i}")
    sizes = [None if shape is None else shape[axis] for shape in shapes]
    result[axis] = None if None in sizes else sum(cast("list[int]", sizes))
    return [tuple(result)]


def _pad(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    if x is None:
        return [None]
    pads = _ints(node, "pads")
    if len(pads) != 2 * len(x):
        raise _ShapeError(f"'pads' has {len(pads)} entries for a tensor of rank {len(x)}")
    result: list[Dim] = []
    for dim, begin, end in zip(x, pads, pads[len(x) :], strict=False):
        out = None if dim is None else dim + begin + end
        if out is not None and out < 0:
            raise _ShapeError("the padding crops more than there is")
        result.append(out)
    return [tuple(result)]


def _resize(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    if x is None:
        return [None]
    _need_rank(x, 4)
    if "sizes" in node.attrs:
        height, width = _ints(node, "sizes")
        return [(x[0], height, width, x[3])]
    scales = [float(s) for s in cast("list[float]", node.attrs["scales"])]
    spatial = tuple(
        None if dim is None else math.floor(dim * s) for dim, s in zip(x[1:3], scales, strict=True)
    )
    return [(x[0], *spatial, x[3])]


def reshape_result(x: Shape, shape: Sequence[int]) -> Shape:
    """The shape after ``reshape``: 0 copies the input's dimension, one -1 is inferred."""
    if list(shape).count(-1) > 1 or any(dim < -1 for dim in shape):
        raise _ShapeError(f"{list(shape)} is not a valid shape for reshape")
    result: list[Dim] = []
    copied: set[int] = set()
    for i, dim in enumerate(shape):
        if dim == 0:
            if i >= len(x):
                raise _ShapeError(
                    f"entry {i} of {list(shape)} copies a dimension that is not there"
                )
            copied.add(i)
            result.append(x[i])
        else:
            result.append(dim)
    # Copied dimensions cancel on both sides, so they may be free.
    have = product([dim for i, dim in enumerate(x) if i not in copied])
    want = product([dim for i, dim in enumerate(result) if i not in copied and dim != -1])
    assert want is not None
    if -1 in shape:
        at = list(shape).index(-1)
        if have is None:
            result[at] = None
        elif want == 0 or have % want:
            raise _ShapeError(f"{format_shape(x)} cannot be reshaped to {list(shape)}")
        else:
            result[at] = have // want
    elif have is not None and have != want:
        raise _ShapeError(f"{format_shape(x)} cannot be reshaped to {list(shape)}")
    return tuple(result)


def _reshape(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    shape = _ints(node, "shape", [])
    if shapes[0] is None:
        return [tuple(None if dim < 1 else dim for dim in shape)]
    return [reshape_result(shapes[0], shape)]


def _flatten(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    if x is None:
        return [(None, None)]
    axis = _int(node, "axis", 1)
    if not 0 <= axis <= len(x):
        raise _ShapeError(f"axis {axis} is outside of a tensor of rank {len(x)}")
    return [(product(x[:axis]), product(x[axis:]))]


def _squeeze(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    if x is None:
        return [None]
    axes = _ints(node, "axes", [])
    for axis in axes:
        if x[_axis(axis, len(x))] not in (1, None):
            raise _ShapeError(f"dimension {axis} is {x[axis]}, not 1")
    return [tuple(dim for i, dim in enumerate(x) if i not in axes)]


def _unsqueeze(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    if x is None:
        return [None]
    axes = _ints(node, "axes", [])
    rank = len(x) + len(axes)
    if len(set(axes)) != len(axes):
        raise _ShapeError(f"axes {axes} repeat")
    ones = {_axis(axis, rank) for axis in axes}
    rest = iter(x)
    return [tuple(1 if i in ones else next(rest) for i in range(rank))]


def _transpose(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    perm = _ints(node, "perm")
    if sorted(perm) != list(range(len(perm))) or (x is not None and len(x) != len(perm)):
        raise _ShapeError(f"{perm} is not a permutation of the input's axes")
    return [None if x is None else tuple(x[i] for i in perm)]


def _slice(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    if x is None:
        return [None]
    result = list(x)
    starts, ends, axes = _ints(node, "starts"), _ints(node, "ends"), _ints(node, "axes")
    for start, end, axis, step in zip(
        starts, ends, axes, _ints(node, "steps", [1] * len(axes)), strict=True
    ):
        if step == 0:
            raise _ShapeError("a step is 0")
        dim = x[_axis(axis, len(x))]
        result[axis] = None if dim is None else len(range(*slice_bounds(start, end, step, dim)))
    return [tuple(result)]


def slice_bounds(start: int, end: int, step: int, size: int) -> tuple[int, int, int]:
    """ONNX Slice: negative positions count from the end, then both are clamped to the axis."""
    low, high = (0, size) if step > 0 else (-1, size - 1)
    start = min(max(start + size if start < 0 else start, max(low, 0)), high)
    end = min(max(end + size if end < 0 else end, low), max(high, 0) if step > 0 else high)
    return start, end, step


def _split(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    x = shapes[0]
    sizes = _ints(node, "sizes")
    if len(sizes) != len(node.outputs):
        raise _ShapeError(f"{len(sizes)} sizes for {len(node.outputs)} outputs")
    if x is None:
        return [None] * len(sizes)
    axis = _axis(_int(node, "axis"), len(x))
    if any(size < 0 for size in sizes) or (x[axis] is not None and sum(sizes) != x[axis]):
        raise _ShapeError(f"sizes {sizes} do not add up to dimension {axis}, which is {x[axis]}")
    return [(*x[:axis], size, *x[axis + 1 :]) for size in sizes]


def _softmax(node: Node, shapes: list[MaybeShape]) -> list[MaybeShape]:
    if shapes[0] is not None:
        _axis(_int(node, "axis"), len(shapes[0]))
    return [shapes[0]]


_RULES: dict[str, _Rule] = {
    **dict.fromkeys(UNARY | {"lookup", "quantize", "dequantize", "cast", "pow"}, _same),
    **dict.fromkeys(("add", "sub", "mul", "div", "max", "min"), _elementwise),
    "prelu": _prelu,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "linear": _linear,
    "matmul": _matmul,
    "matmul_integer": _matmul_integer,
    "conv_integer": _conv_integer,
    "dynamic_quantize": _dynamic_quantize,
    "dynamic_linear": _linear,
    "layer_norm": _layer_norm,
    "max_pool2d": _pool,
    "avg_pool2d": _pool,
    "global_max_pool": _global_max_pool,
    "reduce_mean": _reduce_mean,
    "concat": _concat,
    "pad": _pad,
    "resize": _resize,
    "reshape": _reshape,
    "flatten": _flatten,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "transpose": _transpose,
    "slice": _slice,
    "split": _split,
    "argmax": _argmax,
    "softmax": _softmax,
}


_DTYPES = {
    "argmax": "int64",
    "quantize": "int8",
    "dequantize": "float32",
    "matmul_integer": "int32",
    "conv_integer": "int32",
}


def _output_dtype(graph: Graph, node: Node, i: int) -> str:
    """The dtype of output ``i``; where accumulators may come out, a declared int32 stays."""
    if node.op in _DTYPES:
        return _DTYPES[node.op]
    if node.op == "dynamic_quantize":
        return "float32" if i == 1 else "int8"
    if node.op == "cast":
        return str(node.attrs["to"])
    dtype = graph.value(node.inputs[0]).dtype
    if node.op in ACCUMULATES and dtype == "int8" and graph.value(node.outputs[i]).dtype == "int32":
        return "int32"
    return dtype
