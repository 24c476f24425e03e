"""The options of TFLite operators that the importer reads: schema class and fields."""

from __future__ import annotations


def _fields(text: str) -> tuple[tuple[str, bool], ...]:
    """(name, whether it is a vector); vectors end in ``[]``."""
    return tuple((name.removesuffix("[]"), name.endswith("[]")) for name in text.split())


_CONV = "Padding StrideW StrideH DilationWFactor DilationHFactor FusedActivationFunction"
_POOL = "Padding StrideW StrideH FilterWidth FilterHeight FusedActivationFunction"
_TABLE = {
    "ADD": ("AddOptions", "FusedActivationFunction"),
    "ARG_MAX": ("ArgMaxOptions", "OutputType"),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "BATCH_MATMUL": ("BatchMatMulOptions", "AdjX AdjY"),
    "CAST": ("CastOptions", "InDataType OutDataType"),
    "CONCATENATION": ("ConcatenationOptions", "Axis FusedActivationFunction"),
    "CONV_2D": ("Conv2DOptions", _CONV),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", f"{_CONV} DepthMultiplier"),
    "DIV": ("DivOptions", "FusedActivationFunction"),
    "FULLY_CONNECTED": (
        "FullyConnectedOptions",
        "FusedActivationFunction WeightsFormat KeepNumDims",
    ),
    "GATHER": ("GatherOptions", "Axis BatchDims"),
    "GELU": ("GeluOptions", "Approximate"),
    "LEAKY_RELU": ("LeakyReluOptions", "Alpha"),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "MEAN": ("ReducerOptions", "KeepDims"),
    "MIRROR_PAD": ("MirrorPadOptions", "Mode"),
    "MUL": ("MulOptions", "FusedActivationFunction"),
    "PACK": ("PackOptions", "ValuesCount Axis"),
    "RESHAPE": ("ReshapeOptions", "NewShape[]"),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", "AlignCorners HalfPixelCenters"),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", "AlignCorners HalfPixelCenters"),
    "SHAPE": ("ShapeOptions", "OutType"),
    "SOFTMAX": ("SoftmaxOptions", "Beta"),
    "SPLIT": ("SplitOptions", "NumSplits"),
    "SPLIT_V": ("SplitVOptions", "NumSplits"),
    "SQUEEZE": ("SqueezeOptions", "SqueezeDims[]"),
    "STRIDED_SLICE": (
        "StridedSliceOptions",
        "BeginMask EndMask EllipsisMask NewAxisMask ShrinkAxisMask Offset",
    ),
    "SUB": ("SubOptions", "FusedActivationFunction"),
    "TRANSPOSE_CONV": ("TransposeConvOptions", "Padding StrideW StrideH FusedActivationFunction"),
    "UNPACK": ("UnpackOptions", "Num Axis"),
}
#: Operator -> (schema class, its fields and whether each is a vector).
OPTIONS = {kind: (name, _fields(text)) for kind, (name, text) in _TABLE.items()}
#: Operators whose options may be left out: every field is then 0, or empty.
NULLABLE = frozenset({"RESHAPE", "SQUEEZE", "SHAPE", "CAST", "GELU", "ADD", "SUB", "MUL", "DIV"})

#: The schema's enumerations that options refer to.
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
PADDINGS = ("SAME", "VALID")
