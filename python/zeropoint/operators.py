"""The operators of a zeropoint graph: what each takes, and what it means.

Layout: activations are channels-last: ``[N, H, W, C]`` for two-dimensional operators. Importers
bring other layouts to this one; an operator has one meaning only. Convolution weights are
``[O, kh, kw, I / groups]``, linear weights ``[N, K]`` (out, in). Spatial attributes are lists
``[vertical, horizontal]``; ``pads`` is ``[top, left, bottom, right]``.

Precision: the same operator name serves float32 and int8; the dtype of the first input decides.
An int8 operator's activations carry per-tensor :class:`~zeropoint.graph.QuantParams`; its weights
are int8 constants with per-tensor or per-channel (axis 0) parameters; its bias is an int32
constant in units of ``scale_x * scale_w[c]``. The arithmetic is that of ``csrc/quant``.

Raw accumulators: conv2d, linear and matmul with int8 inputs and an *int32* output value give
``sum (x - zero_point_x) * (w - zero_point_w) + bias`` as exact int32, without scales and without a
fused activation. The output's Value must be declared "int32"; shape inference leaves it so.

Run-time parameters: an int8 activation without QuantParams has a scale and zero point that are
values themselves, outputs of ``dynamic_quantize`` (or inputs of the graph). Only dynamic_quantize,
matmul_integer, conv_integer and the data-moving operators take part in such values. A zero point
is an int8 value like the data it belongs to, in the int8 domain: an ONNX uint8 tensor and its
uint8 zero point both become the int8 values ``q - 128``, and a zero point that ONNX leaves out
(0, for uint8) becomes a constant -128.

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
matmul                    a [..., M, K], b [..., K,  leading axes broadcast. float32; or int8 with an
                          N]                         int8 output, multiplier (s_a * s_b) / s_y and fused
                                                     qmin, qmax; or int8 with an int32 output
matmul_integer            a int8 [..., M, K],        int32: sum_k (a - a_zero_point) * (b - b_zero_point)
                          b int8 [..., K, N],        (ONNX MatMulInteger). Zero points are int8, run-time
                          [a_zero_point],            values or constants, 0 where left out; a's of shape
                          [b_zero_point]             [] or [1] or [M] (per row), b's [] or [1] or [N]
conv_integer              x int8 [N, H, W, C],       attributes of conv2d; int32 accumulators (ONNX
                          w int8 constant,           ConvInteger); x_zero_point [] or [1], a run-time
                          [x_zero_point],            value or a constant, and what padding holds;
                          [w_zero_point]             w_zero_point a constant [] or [1] or [O]
dynamic_quantize          x float32                  outputs y int8 like x, scale float32 [], zero_point
                                                     int8 []: ONNX DynamicQuantizeLinear, see below
dynamic_linear            x float32 [..., K],        float32: dynamic_quantize(x), exact product, then
                          w int8 [N, K], [bias]      float32(acc) * (scale_x * scale_w[c]) + bias[c],
                                                     each operation rounded; w with per-tensor or
                                                     per-channel (axis 0) QuantParams, zero points too;
                                                     bias float32 [N]
add, sub, mul             a, b                       NumPy broadcasting; either side may be constant
div, max, min             a, b                       NumPy broadcasting; float32 only (a NaN on either
                                                     side of max or min gives NaN)
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
layer_norm                x, scale, [bias]           axis (the first normalized; all from there to the
                                                     last), epsilon (default 1e-5); scale and bias have
                                                     the normalized axes' shape; float32 only, see below
cast                      x                          to: "float32", "int32" or "int64", from any of these
                                                     three; float to integer truncates and saturates, NaN
                                                     gives 0; int64 to int32 keeps the low 32 bits
pow                       x                          exponent (float, a constant); float32 only
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

dynamic_quantize, in float32 and in this order, over all elements of x::

    lo = min(0, min(x));  hi = max(0, max(x))          NaNs count in neither
    scale = (hi - lo) / 255                            1 where lo == hi
    zero_point = clamp(round_half_even(0 - lo / scale), 0, 255)      0 where that is NaN
    y = clamp(round_half_even(x / scale) + zero_point, 0, 255)

and 128 is taken off zero_point and y.

layer_norm of each row of n elements, every operation rounded to float32, sums in the fixed order of
``csrc/quant/reduce_f32.h``::

    mean = sum(x) / n;  d = x - mean;  variance = sum(d * d) / n
    y = (d * (1 / sqrt(variance + epsilon))) * scale + bias

pow: exponents that are integers of [-64, 64] multiply (binary powers from the lowest bit up, the
reciprocal of the result for negative ones); +-0.5 is sqrt and its reciprocal; any other is
``exp(exponent * log(x))``, NaN for x < 0.

Reciprocal is ``div`` with a constant 1.
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
#: Operators whose int8 form has an int32 output where the output value is declared int32.
ACCUMULATES = frozenset({"conv2d", "linear", "matmul"})
#: Integer operators whose zero points are values, and what makes such values.
RUNTIME_PARAMETERS = frozenset({"dynamic_quantize", "matmul_integer", "conv_integer"})
#: Everything, for checks.
ALL = (
    UNARY
    | KEEPS_QUANT
    | WEIGHTED
    | {"matmul", "add", "sub", "mul", "div", "avg_pool2d", "reduce_mean", "argmax", "softmax"}
    | {"lookup", "quantize", "dequantize"}
    | RUNTIME_PARAMETERS
    | {"dynamic_linear", "layer_norm", "cast", "pow", "max", "min"}
)
