"""The operators of a zeropoint graph: what each takes, and what it means.

Layout: activations are channels-last: ``[N, H, W, C]`` for two-dimensional operators. Importers
bring other layouts to this one; an operator has one meaning only. Convolution weights are
``[O, kh, kw, I / groups]``, linear weights ``[N, K]`` (out, in). Spatial attributes are lists
``[vertical, horizontal]``; ``pads`` is ``[top, left, bottom, right]``.

Precision: the same operator name serves float32 and int8; the dtype of the first input decides.
An int8 operator's activations carry per-tensor :class:`~zeropoint.graph.QuantParams`; its weights
are int8 constants with per-tensor or per-channel (axis 0) parameters; its bias is an int32
constant in units of ``scale_x * scale_w[c]``. The arithmetic is that of ``csrc/quant``.

Fused activations: float32 conv2d, conv_transpose2d, linear, add, sub and mul take ``clip_min`` and
``clip_max`` (floats; absent: unbounded). Their int8 forms take ``qmin`` and ``qmax`` instead
(integers in the int8 domain; default -128 and 127). In int8 every other unary function is a
``lookup`` with a table that was computed in float64 when the model was written.

========================  =========================  =====================================================
operator                  inputs                     attributes and meaning
========================  =========================  =====================================================
conv2d                    x, w, [bias]               strides, pads, dilations (lists), groups
conv_transpose2d          x, w, [bias]               strides, pads, dilations, output_padding, groups;
                                                     w is [O, kh, kw, I / groups]
linear                    x [..., K], w [N, K],      y = x w^T + bias over the last axis
                          [bias]
matmul                    a [..., M, K], b [..., K,  float32 only; leading axes broadcast
                          N]
add, sub, mul             a, b                       NumPy broadcasting; either side may be constant
div                       a, b                       float32 only
max_pool2d                x                          kernel, strides, pads, dilations
avg_pool2d                x                          kernel, strides, pads, count_include_pad (0 or 1)
global_max_pool           x [N, ..., C]              [N, 1, ..., C]
reduce_mean               x                          axes (>= 0, sorted), keepdims; global average
                                                     pooling is reduce_mean over the spatial axes
concat                    x0, x1, ...                axis (>= 0)
pad                       x                          pads [begin per axis..., end per axis...] (>= 0 or
                                                     negative to crop), mode constant | reflect | edge,
                                                     value (float; real units, also for int8)
resize                    x [N, H, W, C]             mode nearest | linear; coordinates half_pixel |
                                                     pytorch_half_pixel | asymmetric | align_corners;
                                                     nearest_mode round_prefer_floor | round_prefer_ceil
                                                     | floor | ceil; either sizes [h, w] or scales
                                                     [sh, sw] (floats, output = floor(input * scale))
reshape                   x                          shape (0 copies the dimension, one -1 is inferred)
flatten                   x                          axis
squeeze, unsqueeze        x                          axes (>= 0, of the input / of the output)
transpose                 x                          perm
slice                     x                          starts, ends, axes, steps (ONNX Slice semantics,
                                                     negative steps included)
split                     x                          axis, sizes; as many outputs as sizes
argmax                    x                          axis, keepdims, select_last (0 or 1); int64
softmax                   x, [table f32[256]]        axis; the table is exp(-scale_x * d), int8 only
abs, erf, exp, gelu,      x                          as ONNX defines them; float32 only
gelu_tanh, hard_swish,
log, mish, neg, relu,
sigmoid, silu, softplus,
sqrt, tanh
clip                      x                          min, max (floats; absent: unbounded); float32 only
elu, leaky_relu           x                          alpha; float32 only
hard_sigmoid              x                          alpha, beta; float32 only
prelu                     x, slope                   slope broadcasts; float32 only
lookup                    x, table int8 [256] or     int8 only: y = table[x + 128] (per channel of the
                          [C, 256]                   last axis for a [C, 256] table); function (string)
                                                     names what it computes ("relu", "requantize", ...)
quantize                  x float32                  int8 by the output's scale and zero point
dequantize                x int8                     float32
========================  =========================  =====================================================

pad, concat, max pooling, resize and the data-moving operators keep scale and zero point in int8:
quantization puts a requantizing ``lookup`` before those inputs whose parameters differ.
"""

from __future__ import annotations

#: Unary float functions without attributes; in int8 each becomes a ``lookup``.
UNARY_SIMPLE = frozenset(
    "abs erf exp gelu gelu_tanh hard_swish log mish neg relu sigmoid silu softplus sqrt tanh".split()
)
#: All unary float functions that act on each element alone (prelu acts per channel).
UNARY = UNARY_SIMPLE | {"clip", "elu", "leaky_relu", "hard_sigmoid", "prelu"}
#: Operators that only move data: the same bytes, elsewhere.
VIEWS = frozenset({"reshape", "flatten", "squeeze", "unsqueeze"})
MOVES = VIEWS | {"transpose", "slice", "split"}
#: Operators whose int8 form keeps its input's scale and zero point.
KEEPS_QUANT = MOVES | {"concat", "pad", "max_pool2d", "global_max_pool", "resize"}
#: Operators with weights that int8 quantizes per channel.
WEIGHTED = frozenset({"conv2d", "conv_transpose2d", "linear"})
#: Everything, for checks.
ALL = (
    UNARY
    | KEEPS_QUANT
    | WEIGHTED
    | {"matmul", "add", "sub", "mul", "div", "avg_pool2d", "reduce_mean", "argmax", "softmax"}
    | {"lookup", "quantize", "dequantize"}
)
