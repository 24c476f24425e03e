"""TFLite operators that move data, and shapes that stay free, beside LiteRT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("ai_edge_litert")

from tflite_models import Op, T, build, check, const, graphs, one, quantized, unsigned

import zeropoint as zp
from zeropoint.errors import UnsupportedError

INT8 = pytest.mark.parametrize("int8", [False, True])


def face(name: str, shape, int8: bool) -> T:
    return quantized(name, shape) if int8 else T(name, tuple(shape))


@INT8
@pytest.mark.parametrize("target", [[2, 12], [-1, 3], [4, 2, 3, 1]])
def test_reshape(int8, target, tmp_path: Path) -> None:
    x = face("x", (2, 3, 4), int8)
    y = face("y", np.zeros((2, 3, 4)).reshape(target).shape, int8)
    check(one("RESHAPE", [x, const("s", target)], y, NewShape=target), tmp_path, steps=0)
    check(one("RESHAPE", [x], y, NewShape=target), tmp_path, steps=0)


@INT8
def test_squeeze_and_expand_dims(int8, tmp_path: Path) -> None:
    x = face("x", (1, 3, 1, 4), int8)
    check(one("SQUEEZE", [x], face("y", (1, 3, 4), int8), SqueezeDims=[2]), tmp_path, steps=0)
    check(one("SQUEEZE", [x], face("y", (3, 4), int8), SqueezeDims=[]), tmp_path, steps=0)
    for axis, shape in ((0, (1, 2, 3)), (-1, (2, 3, 1)), (1, (2, 1, 3))):
        content = one("EXPAND_DIMS", [face("x", (2, 3), int8), const("a", axis)],
                      face("y", shape, int8))  # fmt: skip
        check(content, tmp_path, steps=0)


@INT8
def test_transpose(int8, tmp_path: Path) -> None:
    perm = [2, 0, 3, 1]
    x, y = face("x", (2, 3, 4, 5), int8), face("y", (4, 2, 5, 3), int8)
    check(one("TRANSPOSE", [x, const("p", perm)], y), tmp_path, steps=0)


@INT8
def test_slice(int8, tmp_path: Path) -> None:
    x, y = face("x", (5, 6, 7), int8), face("y", (2, 6, 4), int8)
    inputs = [x, const("b", [1, 0, 3]), const("s", [2, -1, 4])]
    check(one("SLICE", inputs, y), tmp_path, steps=0)


STRIDED = {
    "plain": ([1, 0, 2], [4, 6, 7], [2, 1, 3], {}, (2, 6, 2)),
    "negative": ([-2, 5, -1], [5, 0, -8], [1, -2, -1], {}, (2, 3, 7)),
    "masks": ([1, 2, 3], [4, 2, 5], [1, 1, 1], {"BeginMask": 2, "EndMask": 6}, (3, 6, 4)),
    "backwards": ([0, 0, 0], [0, 0, 0], [1, -1, 1], {"BeginMask": 7, "EndMask": 7}, (5, 6, 7)),
    "shrink": ([1, -1, 0], [2, 0, 7], [1, 1, 2], {"ShrinkAxisMask": 3}, (4,)),
    "ellipsis": ([0, 1], [0, 3], [1, 1], {"EllipsisMask": 1}, (5, 6, 2)),
    "new axis": ([1, 0, 2], [3, 0, 5], [1, 1, 1], {"NewAxisMask": 2}, (2, 1, 3, 7)),
}


@INT8
@pytest.mark.parametrize("case", STRIDED)
def test_strided_slice(int8, case, tmp_path: Path) -> None:
    begin, end, strides, masks, shape = STRIDED[case]
    inputs = [
        face("x", (5, 6, 7), int8), const("b", begin), const("e", end), const("s", strides)
    ]  # fmt: skip
    check(one("STRIDED_SLICE", inputs, face("y", shape, int8), **masks), tmp_path, steps=0)


@INT8
def test_splits(int8, tmp_path: Path) -> None:
    x = face("x", (2, 6, 4), int8)
    parts = [face(f"y{i}", (2, 2, 4), int8) for i in range(3)]
    check(one("SPLIT", [const("a", 1), x], parts, NumSplits=3), tmp_path, steps=0)
    uneven = [face(f"y{i}", (2, n, 4), int8) for i, n in enumerate((1, 3, 2))]
    inputs = [x, const("s", [1, -1, 2]), const("a", -2)]
    check(one("SPLIT_V", inputs, uneven, NumSplits=3), tmp_path, steps=0)


@INT8
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_pack_and_unpack(int8, axis, tmp_path: Path) -> None:
    items = [face(f"x{i}", (3, 4), int8) for i in range(2)]
    shape = np.stack([np.zeros((3, 4))] * 2, axis).shape
    whole = face("y", shape, int8)
    check(one("PACK", items, whole, ValuesCount=2, Axis=axis), tmp_path, steps=0)
    check(one("UNPACK", [whole], items, Num=2, Axis=axis), tmp_path, steps=0)


@INT8
def test_concatenation(int8, tmp_path: Path) -> None:
    items = [face(f"x{i}", (2, n, 4), int8) for i, n in enumerate((1, 3, 2))]
    out = face("y", (2, 6, 4), int8)
    content = one("CONCATENATION", items, out, Axis=1, FusedActivationFunction=0)
    check(content, tmp_path, steps=0)


def test_concatenation_of_different_scales(tmp_path: Path) -> None:
    items = [
        unsigned(quantized("a", (2, 3), 0.02, 7)), unsigned(quantized("b", (2, 3), 0.05, -9))
    ]  # fmt: skip
    out = unsigned(quantized("y", (4, 3), 0.06, 3))
    check(one("CONCATENATION", items, out, Axis=0, FusedActivationFunction=0), tmp_path)


@INT8
def test_pad(int8, tmp_path: Path) -> None:
    x, y = face("x", (1, 3, 4, 2), int8), face("y", (1, 6, 5, 2), int8)
    margins = const("p", [[0, 0], [1, 2], [0, 1], [0, 0]])
    check(one("PAD", [x, margins], y), tmp_path, steps=0)
    if int8:
        value = T("v", (1,), "int8", [-77], x.scale, x.zero_point)
    else:
        value = const("v", -1.5, "float32")
    check(one("PADV2", [x, margins, value], y), tmp_path, steps=0)


@INT8
@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("margins", [[[0, 0], [1, 1], [0, 1], [0, 0]],
                                     [[0, 0], [2, 1], [2, 3], [0, 0]]])  # fmt: skip
def test_mirror_pad(int8, mode, margins, tmp_path: Path) -> None:
    x = face("x", (1, 3, 4, 2), int8)
    shape = [n + sum(m) for n, m in zip(x.shape, margins, strict=True)]
    content = one("MIRROR_PAD", [x, const("p", margins)], face("y", shape, int8), Mode=mode)
    check(content, tmp_path, steps=0)


@INT8
@pytest.mark.parametrize("size", [(10, 9), (3, 4), (5, 6), (1, 1)])
@pytest.mark.parametrize("corners", ["asymmetric", "align", "half"])
@pytest.mark.parametrize("op", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
def test_resize(int8, size, corners, op, tmp_path: Path) -> None:
    x, y = face("x", (2, 5, 6, 3), int8), face("y", (2, *size, 3), int8)
    options = {"AlignCorners": corners == "align", "HalfPixelCenters": corners == "half"}
    content = one(op, [x, const("s", size)], y, **options)
    check(content, tmp_path, steps=int(op == "RESIZE_BILINEAR"), tolerance=1e-5)


@INT8
@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("axis", [1, -1])
def test_arg_max(int8, dtype, axis, tmp_path: Path) -> None:
    x = face("x", (2, 5, 4), int8)
    y = T("y", (2, 4) if axis == 1 else (2, 5), dtype)
    kind = {"int32": 2, "int64": 4}[dtype]
    check(one("ARG_MAX", [x, const("a", axis)], y, OutputType=kind), tmp_path, steps=0)


# -- shapes -----------------------------------------------------------------------------------


def chain(signature, *, target=None) -> bytes:
    """SHAPE -> STRIDED_SLICE -> PACK -> RESHAPE: what converters write for a free batch."""
    x = T("x", (1, 2, 3), signature=signature)
    free = signature is not None and signature[0] == -1
    y = T("y", (1, 6), signature=(-1, 6) if free else None)
    tensors = [
        x, T("shape", (3,), "int32"), const("zero", [0]), const("one", [1]), T("n", (), "int32"),
        const("six", 6), T("target", (2,), "int32"), y,
    ]  # fmt: skip
    ops = [
        Op("SHAPE", ["x"], ["shape"], {"OutType": 2}),
        Op("STRIDED_SLICE", ["shape", "zero", "one", "one"], ["n"], {"ShrinkAxisMask": 1}),
        Op("PACK", ["n", "six"], ["target"], {"ValuesCount": 2, "Axis": 0}),
        Op("RESHAPE", ["x", "target"], ["y"], {}),
    ]
    return build(tensors, ops, ["x"], ["y"])


def test_shape_arithmetic(tmp_path: Path) -> None:
    graph = check(chain(None), tmp_path)
    assert graph.value("x").shape == (1, 2, 3)
    assert [node.op for node in graph.nodes] == ["reshape"]
    graph = check(chain((-1, 2, 3)), tmp_path)
    assert graph.value("y").shape == (None, 6)
    x = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    np.testing.assert_array_equal(zp.Session(graph).run({"x": x})["y"], x.reshape(4, 6))


def test_a_batch_that_an_operator_fixes_is_not_free(tmp_path: Path) -> None:
    x = T("x", (1, 4), signature=(-1, 4))
    y = T("y", (4, 1), signature=(4, 1))
    graph = check(one("RESHAPE", [x, const("s", [4, 1])], y, NewShape=[4, 1]), tmp_path)
    assert graph.value("x").shape == (1, 4)


def test_an_image_size_that_must_be_known(tmp_path: Path) -> None:
    x = T("x", (1, 8, 8, 1), signature=(1, -1, -1, 1))
    y = T("y", (1, 4, 4, 1), signature=(1, -1, -1, 1))
    content = one("MAX_POOL_2D", [x], y, Padding=0, StrideH=2, StrideW=2, FilterHeight=2,
                  FilterWidth=2, FusedActivationFunction=0)  # fmt: skip
    with pytest.raises(UnsupportedError, match="fixed input shapes"):
        graphs(content, tmp_path)


def test_names(tmp_path: Path) -> None:
    """Tensors without names, with one name twice, and with all the names that were fused."""
    long = "model/relu/Relu;" + "model/batch_normalization/FusedBatchNormV3;" * 3
    x, y = T("same", (1, 4)), T(long, (1, 4))
    content = one("RELU", [x], y)
    graph, _ = graphs(content, tmp_path)
    assert graph.inputs == ["same"]
    assert graph.outputs == ["model/relu/Relu"]
    tensors = [replace(x, name=""), replace(x, name="h"), replace(y, name="h")]
    content = build(tensors, [Op("RELU", [0], [1]), Op("ABS", [1], [2])], [0], [2])
    graph, _ = graphs(content, tmp_path)
    assert (graph.inputs, graph.outputs) == (["tensor_0"], ["h"])
    assert [node.outputs for node in graph.nodes] == [["h_1"], ["h"]]


# -- canonical form of int8 graphs ------------------------------------------------------------


def test_views_sink_behind_int8_arithmetic(tmp_path: Path) -> None:
    b = T("b", (4,), "int8", [1, -2, 30, -40], 0.03, 2)
    tensors = [quantized("x", (2, 1, 4)), quantized("s", (2, 4)), b, quantized("y", (2, 4), 0.1, 9)]
    ops = [
        Op("SQUEEZE", ["x"], ["s"], {"SqueezeDims": [1]}),
        Op("ADD", ["s", "b"], ["y"], {"FusedActivationFunction": 0}),
    ]
    graph = check(build(tensors, ops, ["x"], ["y"]), tmp_path)
    assert [node.op for node in graph.nodes] == ["add", "squeeze"]


def test_a_transpose_folds_into_int8_weights_that_two_layers_share(tmp_path: Path) -> None:
    data = np.random.default_rng(5).integers(-127, 128, (3, 60))
    dense = {"FusedActivationFunction": 0, "WeightsFormat": 0, "KeepNumDims": False}
    tensors = [
        quantized("x", (1, 4, 5, 3)), const("p", [0, 3, 1, 2]), quantized("t", (1, 3, 4, 5)),
        const("s", [1, 60]), quantized("f", (1, 60)), T("w", data.shape, "int8", data, 0.01),
        quantized("y", (1, 3), 0.2, 4), quantized("x2", (1, 60)), quantized("y2", (1, 3), 0.2, 4),
    ]  # fmt: skip
    ops = [
        Op("TRANSPOSE", ["x", "p"], ["t"]),
        Op("RESHAPE", ["t", "s"], ["f"], {}),
        Op("FULLY_CONNECTED", ["f", "w"], ["y"], dense),
        Op("FULLY_CONNECTED", ["x2", "w"], ["y2"], dense),
    ]
    graph = check(build(tensors, ops, ["x", "x2"], ["y", "y2"]), tmp_path)
    assert "transpose" not in [node.op for node in graph.nodes]


def test_a_pad_merges_into_an_int8_convolution(tmp_path: Path) -> None:
    data = np.random.default_rng(5).integers(-127, 128, (4, 3, 3, 2))
    options = {"Padding": 1, "StrideH": 2, "StrideW": 2, "DilationHFactor": 1,
               "DilationWFactor": 1, "FusedActivationFunction": 1}  # fmt: skip
    tensors = [
        quantized("x", (1, 8, 8, 2)), const("m", [[0, 0], [0, 1], [1, 1], [0, 0]]),
        quantized("p", (1, 9, 10, 2)), T("w", data.shape, "int8", data, 0.01),
        T("b", (4,), "int32", [5, -6, 700, 0], 0.0005), quantized("y", (1, 4, 4, 4), 0.05, -20),
    ]  # fmt: skip
    ops = [Op("PAD", ["x", "m"], ["p"]), Op("CONV_2D", ["p", "w", "b"], ["y"], options)]
    graph = check(build(tensors, ops, ["x"], ["y"]), tmp_path)
    assert [node.op for node in graph.nodes] == ["conv2d"]
    assert graph.nodes[0].attrs["pads"] == [0, 1, 1, 1]
