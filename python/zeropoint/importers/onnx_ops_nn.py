"""ONNX operators that are bound to a layout: convolution, pooling, normalization, resizing.

ONNX means [N, C, H, W]; here they run on [N, H, W, C], between two transposes. One-dimensional
forms run as two-dimensional ones of height 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from zeropoint.graph import Array, Attribute, QuantParams
from zeropoint.importers.onnx_context import Context, OnnxNode, UnknownShape, Unsupported
from zeropoint.shapes import MaybeShape

Handler = Callable[[Context, OnnxNode], None]


class _Spatial:
    """Takes a node's [N, C, L] or [N, C, H, W] input to [N, H, W, C], and its output back."""

    def __init__(self, context: Context, node: OnnxNode) -> None:
        self.context, self.node = context, node
        x = context.value(node, 0)
        self.rank = len(context.known_shape(x)) - 2
        if self.rank not in (1, 2):
            raise Unsupported(f"only one and two spatial dimensions are supported, not {self.rank}")
        if self.rank == 1:
            x = context.emit(
                node, "unsqueeze", [x], {"axes": [2]}, context.temporary(node, "image"), "unsqueeze"
            )
        self.x = context.to_nhwc(node, x)

    @property
    def size(self) -> MaybeShape:
        """Height and width of the input."""
        return self.context.known_shape(self.x)[1:3]

    def pair(self, values: list[int], height: int, what: str) -> list[int]:
        """Two entries, the vertical one filled in where the node has one dimension only."""
        if len(values) != self.rank:
            raise Unsupported(f"attribute '{what}' has {len(values)} entries, not {self.rank}")
        return values if self.rank == 2 else [height, *values]

    def attribute(self, key: str, default: int) -> list[int]:
        values = self.node.get_ints(key)
        values = self.pair([default] * self.rank if values is None else values, default, key)
        if any(value < default for value in values):
            raise Unsupported(f"attribute '{key}' = {values} has an entry below {default}")
        return values

    def explicit_pads(self) -> list[int]:
        pads = self.node.get_ints("pads")
        if pads is None:
            return [0, 0, 0, 0]
        if len(pads) != 2 * self.rank:
            raise Unsupported(f"attribute 'pads' has {len(pads)} entries, not {2 * self.rank}")
        if min(pads, default=0) < 0:
            raise Unsupported(f"attribute 'pads' = {pads} is negative")
        return pads if self.rank == 2 else [0, pads[0], 0, pads[1]]

    def run(
        self, op: str, inputs: list[str], attrs: dict[str, Attribute], dtypes: Sequence[str] = ()
    ) -> None:
        """Emits the operator and brings its result back to the node's own layout."""
        context, node = self.context, self.node
        y = context.emit(node, op, inputs, attrs, context.nhwc_output(node), dtypes=dtypes)
        if self.rank == 2:
            context.from_nhwc(node, y)
            return
        image = context.temporary(node, "image_out")
        context.from_nhwc(node, y, image)
        context.emit(node, "squeeze", [image], {"axes": [2]}, suffix="squeeze")


def _auto_pads(
    spatial: _Spatial, kernel: list[int], strides: list[int], dilations: list[int]
) -> list[int]:
    """Resolves auto_pad; [top, left, bottom, right]."""
    node = spatial.node
    kind = node.get_str("auto_pad", "NOTSET")
    if kind == "NOTSET":
        return spatial.explicit_pads()
    if kind == "VALID":
        return [0, 0, 0, 0]
    if kind not in ("SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"attribute 'auto_pad' = '{kind}' is not known")
    begin, end = [], []
    for i in range(2):
        size = spatial.size[i] if spatial.size is not None else None
        window = dilations[i] * (kernel[i] - 1) + 1
        if size is None and strides[i] != 1:
            raise UnknownShape(
                f"attribute 'auto_pad' = '{kind}' needs a known input height and width; "
                "give the model a fixed input size"
            )
        # With stride 1 the padding does not depend on the size.
        size = 1 if size is None else size
        total = max((-(-size // strides[i]) - 1) * strides[i] + window - size, 0)
        small, large = total // 2, total - total // 2
        begin.append(small if kind == "SAME_UPPER" else large)
        end.append(large if kind == "SAME_UPPER" else small)
    return begin + end


# -- convolution ------------------------------------------------------------------------------


def _weights(context: Context, node: OnnxNode, spatial: _Spatial) -> tuple[Array, list[int]]:
    """The weights with two spatial dimensions, and the kernel's size."""
    w = context.need_floats(node, 1, "the weight")
    if w.ndim != spatial.rank + 2:
        raise Unsupported(f"the weight has rank {w.ndim}, not {spatial.rank + 2}")
    if spatial.rank == 1:
        w = w[:, :, np.newaxis, :]
    kernel = [int(w.shape[2]), int(w.shape[3])]
    given = node.get_ints("kernel_shape")
    if given is not None and spatial.pair(given, 1, "kernel_shape") != kernel:
        raise Unsupported(f"attribute 'kernel_shape' = {given} is not the weight's")
    if 0 in w.shape:
        raise Unsupported("the weight is empty")
    return w, kernel


def _bias(context: Context, node: OnnxNode, channels: int) -> list[str]:
    if not context.has(node, 2):
        return []
    bias = context.need_floats(node, 2, "the bias")
    if bias.shape != (channels,):
        raise Unsupported(f"the bias has shape {list(bias.shape)}, not [{channels}]")
    return [context.layer_bias(node, 2, bias)]


def _groups(node: OnnxNode) -> int:
    groups = node.get_int("group", 1)
    if groups < 1:
        raise Unsupported(f"attribute 'group' = {groups} is not positive")
    return groups


def _conv(context: Context, node: OnnxNode) -> None:
    spatial = _Spatial(context, node)
    w, kernel = _weights(context, node, spatial)
    strides, dilations = spatial.attribute("strides", 1), spatial.attribute("dilations", 1)
    pads = _auto_pads(spatial, kernel, strides, dilations)
    axes = (0, 2, 3, 1) if spatial.rank == 2 else (0, None, 2, 1)
    name = context.add_constant(
        node.inputs[1],
        np.ascontiguousarray(w.transpose(0, 2, 3, 1)),
        context.quant_of(node, 1, axes),
    )
    spatial.run(
        "conv2d",
        [spatial.x, name, *_bias(context, node, w.shape[0])],
        {"strides": strides, "pads": pads, "dilations": dilations, "groups": _groups(node)},
    )


def conv_integer(context: Context, node: OnnxNode, x: str, w: Array, zeros: Sequence[str]) -> None:
    """int32 convolution of integers; ``zeros``: the zero points of x and w, "" for 0."""
    pseudo = node.derived("Conv", [x, ""], node.outputs[0])
    spatial = _Spatial(context, pseudo)
    if w.ndim != spatial.rank + 2 or 0 in w.shape:
        raise Unsupported(f"the weight has the shape {list(w.shape)}")
    if spatial.rank == 1:
        w = w[:, :, np.newaxis, :]
    kernel = [int(w.shape[2]), int(w.shape[3])]
    given = node.get_ints("kernel_shape")
    if given is not None and spatial.pair(given, 1, "kernel_shape") != kernel:
        raise Unsupported(f"attribute 'kernel_shape' = {given} is not the weight's")
    strides, dilations = spatial.attribute("strides", 1), spatial.attribute("dilations", 1)
    pads = _auto_pads(spatial, kernel, strides, dilations)
    name = context.add_constant(
        f"{node.inputs[1]}/int8", np.ascontiguousarray(w.transpose(0, 2, 3, 1))
    )
    inputs = [spatial.x, name, *zeros]
    while not inputs[-1]:
        inputs.pop()
    spatial.run(
        "conv_integer",
        inputs,
        {"strides": strides, "pads": pads, "dilations": dilations, "groups": _groups(node)},
        ["int32"],
    )


def _conv_transpose(context: Context, node: OnnxNode) -> None:
    spatial = _Spatial(context, node)
    w, kernel = _weights(context, node, spatial)
    groups = _groups(node)
    if w.shape[0] % groups:
        raise Unsupported(f"{w.shape[0]} input channels do not divide into {groups} groups")
    strides, dilations = spatial.attribute("strides", 1), spatial.attribute("dilations", 1)
    extra = spatial.attribute("output_padding", 0)
    pads = _transposed_pads(spatial, kernel, strides, dilations, extra)
    # [I, O / g, kh, kw] -> [g, I / g, O / g, kh, kw] -> [g, O / g, kh, kw, I / g]
    inputs, outputs = w.shape[0] // groups, w.shape[1]
    grouped = w.reshape(groups, inputs, outputs, *kernel).transpose(0, 2, 3, 4, 1)
    grouped = np.ascontiguousarray(grouped.reshape(groups * outputs, *kernel, inputs))
    quant = context.quant_of(node, 1, (1, 2, 3, 0) if spatial.rank == 2 else (1, None, 2, 0))
    if quant is not None and quant.axis == 0 and groups > 1:
        # Every group has the same scales.
        quant = QuantParams(np.tile(quant.scale, groups), np.tile(quant.zero_point, groups), 0)
    elif quant is not None and quant.axis == 3 and groups > 1:
        quant = None
    name = context.add_constant(node.inputs[1], grouped, quant)
    spatial.run(
        "conv_transpose2d",
        [spatial.x, name, *_bias(context, node, groups * outputs)],
        {
            "strides": strides,
            "pads": pads,
            "dilations": dilations,
            "output_padding": extra,
            "groups": groups,
        },
    )


def _transposed_pads(
    spatial: _Spatial,
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    extra: list[int],
) -> list[int]:
    node = spatial.node
    kind = node.get_str("auto_pad", "NOTSET")
    wanted = node.get_ints("output_shape")
    if kind not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"attribute 'auto_pad' = '{kind}' is not known")
    if wanted is None and kind in ("NOTSET", "VALID"):
        return spatial.explicit_pads() if kind == "NOTSET" else [0, 0, 0, 0]
    if wanted is not None:
        wanted = spatial.pair(wanted[-spatial.rank :], 1, "output_shape")
    begin, end = [], []
    for i in range(2):
        size = spatial.size[i] if spatial.size is not None else None
        window = dilations[i] * (kernel[i] - 1) + 1
        if wanted is None:
            # SAME: the output is stride times the input, whatever the input's size.
            total = window + extra[i] - strides[i]
        elif size is None:
            raise UnknownShape("attribute 'output_shape' needs a known input height and width")
        else:
            total = strides[i] * (size - 1) + extra[i] + window - wanted[i]
        if total < 0:
            raise Unsupported("the wanted output is larger than the convolution gives")
        small, large = total // 2, total - total // 2
        begin.append(small if kind == "SAME_UPPER" else large)
        end.append(large if kind == "SAME_UPPER" else small)
    return begin + end


# -- pooling ----------------------------------------------------------------------------------


def _pool_window(
    context: Context, node: OnnxNode
) -> tuple[_Spatial, list[int], list[int], list[int], list[int], list[int]]:
    """The input, kernel, strides, dilations, the pads that the node gives, and how far ceil_mode
    lets the last windows reach beyond those: [bottom, right]."""
    spatial = _Spatial(context, node)
    if node.get_ints("kernel_shape") is None:
        raise Unsupported("attribute 'kernel_shape' is missing")
    kernel = spatial.attribute("kernel_shape", 1)
    strides, dilations = spatial.attribute("strides", 1), spatial.attribute("dilations", 1)
    pads = _auto_pads(spatial, kernel, strides, dilations)
    beyond = [0, 0]
    automatic = node.get_str("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
    if node.get_int("ceil_mode", 0) and not automatic:
        for i in range(2):
            if strides[i] == 1:
                continue
            size = spatial.size[i] if spatial.size is not None else None
            if size is None:
                raise UnknownShape("attribute 'ceil_mode' needs a known input height and width")
            window = dilations[i] * (kernel[i] - 1) + 1
            room = size + pads[i] + pads[i + 2] - window
            last = -(-room // strides[i])
            # A window that would start in the padding at the end is left out.
            if last * strides[i] >= size + pads[i]:
                last -= 1
            beyond[i] = max(0, last * strides[i] + window - (size + pads[i] + pads[i + 2]))
    for i in range(4):
        if pads[i] >= dilations[i % 2] * (kernel[i % 2] - 1) + 1:
            raise Unsupported(f"'pads' {pads} are not smaller than the kernel {kernel}")
    return spatial, kernel, strides, dilations, pads, beyond


def _max_pool(context: Context, node: OnnxNode) -> None:
    node.only_output(what="'Indices'")
    node.refuse("storage_order")
    spatial, kernel, strides, dilations, pads, beyond = _pool_window(context, node)
    pads = [pads[0], pads[1], pads[2] + beyond[0], pads[3] + beyond[1]]
    spatial.run(
        "max_pool2d",
        [spatial.x],
        {"kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations},
    )


def _average_pool(context: Context, node: OnnxNode) -> None:
    spatial, kernel, strides, dilations, pads, beyond = _pool_window(context, node)
    if dilations != [1, 1]:
        raise Unsupported(f"attribute 'dilations' = {dilations} is not supported")
    include = int(bool(node.get_int("count_include_pad", 0)))
    x = spatial.x
    if include and any(beyond) and any(pads):
        # The padding counts, what ceil_mode adds does not: the padding becomes an operator.
        x = context.emit(
            node,
            "pad",
            [x],
            {
                "pads": [0, *pads[:2], 0, 0, *pads[2:], 0],
                "mode": "constant",
                "value": 0.0,
            },
            context.temporary(node, "padded"),
            "pad",
        )
        pads = [0, 0, 0, 0]
    if any(beyond):
        include = 0
    pads = [pads[0], pads[1], pads[2] + beyond[0], pads[3] + beyond[1]]
    spatial.run(
        "avg_pool2d",
        [x],
        {"kernel": kernel, "strides": strides, "pads": pads, "count_include_pad": include},
    )


def _global_average_pool(context: Context, node: OnnxNode) -> None:
    x = context.value(node, 0)
    rank = len(context.known_shape(x))
    if rank < 3:
        raise Unsupported(f"the input has rank {rank}: there is nothing to average")
    context.emit(node, "reduce_mean", [x], {"axes": list(range(2, rank)), "keepdims": 1})


def _global_max_pool(context: Context, node: OnnxNode) -> None:
    spatial = _Spatial(context, node)
    spatial.run("global_max_pool", [spatial.x], {})


# -- batch normalization ----------------------------------------------------------------------


def _batch_normalization(context: Context, node: OnnxNode) -> None:
    """y = x * factor + shift per channel; merged into a convolution by the transforms."""
    node.only_output(what="of running statistics")
    node.refuse("training_mode")
    if context.opset < 9 and not node.get_int("spatial", 1):
        raise Unsupported("attribute 'spatial' = 0 is not supported")
    x = context.value(node, 0)
    shape = context.known_shape(x)
    if len(shape) < 2:
        raise Unsupported("the input has no channel dimension")
    scale, bias, mean, variance = (
        context.need_floats(node, i, what).astype(np.float64)
        for i, what in enumerate(("the scale", "the bias", "the mean", "the variance"), 1)
    )
    channels = scale.shape
    if len(channels) != 1 or not bias.shape == mean.shape == variance.shape == channels:
        raise Unsupported("scale, bias, mean and variance must be vectors of one length")
    if shape[1] not in (None, channels[0]):
        raise Unsupported(f"the input has {shape[1]} channels, the statistics {channels[0]}")
    deviation = variance + node.get_float("epsilon", 1e-5)
    if np.any(deviation <= 0):
        raise Unsupported("variance + epsilon is not positive")
    factor = scale / np.sqrt(deviation)
    shift = bias - mean * factor
    column = (channels[0],) + (1,) * (len(shape) - 2)
    names = [
        context.add_constant(
            context.temporary(node, what), array.astype(np.float32).reshape(column)
        )
        for what, array in (("factor", factor), ("shift", shift))
    ]
    scaled = context.emit(
        node, "mul", [x, names[0]], outputs=context.temporary(node, "scaled"), suffix="factor"
    )
    context.emit(node, "add", [scaled, names[1]])


def _layer_normalization(context: Context, node: OnnxNode) -> None:
    if node.get_int("stash_type", 1) != 1:
        raise Unsupported(f"attribute 'stash_type' = {node.attrs['stash_type']} is not supported")
    x = context.value(node, 0)
    shape = context.known_shape(x)
    axis = context.axis(node.get_int("axis", -1), len(shape))
    wanted = shape[axis:]
    inputs = [x]
    for i, what in ((1, "the scale"), (2, "the bias")):
        if i == 2 and not context.has(node, i):
            continue
        array = context.need_floats(node, i, what)
        if None in wanted and array.shape != wanted:
            raise UnknownShape("the sizes of the normalized dimensions must be known")
        try:
            array = np.broadcast_to(array, tuple(d or 0 for d in wanted))
        except ValueError:
            raise Unsupported(
                f"{what} has shape {list(array.shape)}, the normalized dimensions {list(wanted)}"
            ) from None
        inputs.append(context.add_constant(node.inputs[i], np.ascontiguousarray(array)))
    epsilon = node.get_float("epsilon", 1e-5)
    if any(node.outputs[1:]):
        _moments(context, node, x, list(range(axis, len(shape))), epsilon)
    context.emit(node, "layer_norm", inputs, {"axis": axis, "epsilon": epsilon})


def _moments(context: Context, node: OnnxNode, x: str, axes: list[int], epsilon: float) -> None:
    """LayerNormalization's other outputs: the mean, and 1 / sqrt(variance + epsilon)."""
    outputs = [*node.outputs, "", ""][1:3]

    def step(op: str, inputs: list[str], what: str, output: str = "", **attrs: Attribute) -> str:
        return context.emit(node, op, inputs, attrs, output or context.temporary(node, what), what)

    def number(value: float, what: str) -> str:
        return context.add_constant(context.temporary(node, what), np.asarray(value, np.float32))

    mean = step("reduce_mean", [x], "mean", outputs[0], axes=axes, keepdims=1)
    if not outputs[1]:
        return
    centered = step("sub", [x, mean], "centered")
    square = step("mul", [centered, centered], "square")
    variance = step("reduce_mean", [square], "variance", axes=axes, keepdims=1)
    shifted = step("add", [variance, number(epsilon, "epsilon")], "shifted")
    deviation = step("sqrt", [shifted], "deviation")
    step("div", [number(1.0, "one"), deviation], "inverse", outputs[1])


# -- resizing ---------------------------------------------------------------------------------

_COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def _resize(context: Context, node: OnnxNode) -> None:
    modern = context.opset >= 11
    if modern:
        node.refuse("antialias")
        policy = node.get_str("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            raise Unsupported(f"attribute 'keep_aspect_ratio_policy' = '{policy}' is not supported")
    mode = node.get_str("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise Unsupported(f"attribute 'mode' = '{mode}' is not supported")
    coordinates = node.get_str("coordinate_transformation_mode", "half_pixel")
    coordinates = coordinates if modern else "asymmetric"
    if coordinates not in _COORDINATES:
        raise Unsupported(
            f"attribute 'coordinate_transformation_mode' = '{coordinates}' is not supported"
        )
    nearest = node.get_str("nearest_mode", "round_prefer_floor") if modern else ""
    if modern and nearest not in _NEAREST:
        raise Unsupported(f"attribute 'nearest_mode' = '{nearest}' is not supported")

    x = context.value(node, 0)
    rank = len(context.known_shape(x))
    scales, sizes = _resize_factors(context, node, x)
    if not modern and mode == "nearest":
        # Before opset 11 the rounding is not written down; this is what ONNX Runtime does.
        shrinks = {scale < 1 for scale in scales or [] if scale != 1}
        if len(shrinks) == 2:
            raise Unsupported("enlarging one dimension and shrinking another is not supported")
        nearest = "ceil" if True in shrinks else "floor"

    changed = _changed_axes(context, x, scales, sizes)
    if not changed:
        context.alias(node.outputs[0], x)
        return
    attrs: dict[str, Attribute] = {"mode": mode, "coordinates": coordinates}
    if mode == "nearest":
        attrs["nearest_mode"] = nearest
    # [N, C, L], [N, C, H, W], or [N, H, W, C] as other frameworks' converters leave it.
    plane = {(3, 1): [2], (4, 1): [2, 3], (4, 3): [1, 2]}
    for (of_rank, channel), axes in plane.items():
        if rank == of_rank and set(changed) <= set(axes):
            channels_last = channel == 3
            break
    else:
        raise Unsupported(f"resizing the dimensions {changed} of a rank {rank} input")
    if scales is not None:
        attrs["scales"] = [1.0] * (2 - len(axes)) + [scales[axis] for axis in axes]
    else:
        assert sizes is not None
        wanted = [sizes[axis] for axis in axes]
        known = [size for size in wanted if isinstance(size, int)]
        if len(known) != len(wanted):
            raise UnknownShape(
                "a free height or width cannot be kept while the other is resized; "
                "give the model a fixed input size"
            )
        attrs["sizes"] = [1] * (2 - len(axes)) + known
    if channels_last:
        context.emit(node, "resize", [x], attrs)
        return
    spatial = _Spatial(context, node)
    spatial.run("resize", [spatial.x], attrs)


def _changed_axes(
    context: Context, x: str, scales: list[float] | None, sizes: list[int | str] | None
) -> list[int]:
    if scales is not None:
        return [i for i, scale in enumerate(scales) if scale != 1.0]
    assert sizes is not None
    return [
        i
        for i, (size, dim) in enumerate(zip(sizes, context.symbols(x), strict=True))
        if size != dim
    ]


def _resize_factors(
    context: Context, node: OnnxNode, x: str
) -> tuple[list[float] | None, list[int | str] | None]:
    """The scale of every dimension, or the size of every dimension."""
    rank = len(context.known_shape(x))
    at = 2 if context.opset >= 11 and node.op_type == "Resize" else 1
    axes = node.get_ints("axes") if context.opset >= 18 else None
    axes = list(range(rank)) if axes is None else [context.axis(a, rank) for a in axes]
    if node.op_type == "Upsample" and context.opset < 9:
        given = node.attrs.get("scales")
    else:
        name = node.inputs[at] if context.has(node, at) else ""
        constant = context.need_constant(node, at, "scales") if name else None
        given = None if constant is None or constant.size == 0 else constant.reshape(-1).tolist()
    if given is not None:
        scales = [1.0] * rank
        if len(given) != len(axes):
            raise Unsupported(f"{len(given)} scales for {len(axes)} dimensions")
        for axis, scale in zip(axes, given, strict=True):
            scales[axis] = float(scale)
        if not all(math.isfinite(s) and s > 0 for s in scales):
            raise Unsupported(f"the scales {scales} are not positive")
        return scales, None
    if at == 1 or not context.has(node, 3):
        raise Unsupported("there are neither scales nor sizes")
    name = context.resolve(node.inputs[3])
    entries = context.partial.get(name)
    if entries is None:
        entries = context.need_constant(node, 3, "sizes")
    sizes = context.symbols(x)
    if entries.size != len(axes):
        raise Unsupported(f"{entries.size} sizes for {len(axes)} dimensions")
    for axis, size in zip(axes, entries.reshape(-1), strict=True):
        sizes[axis] = size if isinstance(size, str) else int(size)
    for have, want in zip(context.symbols(x), sizes, strict=True):
        if have != want and (isinstance(want, str) or want < 1):
            raise UnknownShape(
                "a size is computed from a free dimension; give the model a fixed input size"
            )
    return None, sizes


HANDLERS: dict[str, Handler] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "Resize": _resize,
    "Upsample": _resize,
}
