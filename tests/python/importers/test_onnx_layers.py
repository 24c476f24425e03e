"""Convolutions, pools, resizing, normalization and matrix products against ONNX Runtime."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from onnx_models import check, count, model, node, random

CONVOLUTIONS = [
    # kernel, strides, pads or auto_pad, dilations, groups
    ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    ((3, 2), (2, 1), (0, 1, 2, 0), (1, 1), 1),
    ((3, 3), (2, 2), "SAME_UPPER", (1, 1), 2),
    ((2, 4), (2, 3), "SAME_LOWER", (1, 1), 4),
    ((3, 5), (1, 1), "SAME_UPPER", (1, 1), 1),
    ((3, 3), (2, 2), "VALID", (1, 2), 2),
    ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 4),
]


@pytest.mark.parametrize(("kernel", "strides", "pads", "dilations", "groups"), CONVOLUTIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_conv(kernel, strides, pads, dilations, groups, bias, tmp_path: Path) -> None:
    padding = {"auto_pad": pads} if isinstance(pads, str) else {"pads": pads}
    constants = {"w": random((8, 4 // groups, *kernel), 1)}
    if bias:
        constants["b"] = random((8,), 2)
    proto = model(
        [
            node(
                "Conv",
                ["x", *constants],
                "y",
                strides=strides,
                dilations=dilations,
                group=groups,
                **padding,
            )
        ],
        {"x": ["N", 4, 11, 10]},
        ["y"],
        constants,
    )
    graph = check(proto, {"x": random((2, 4, 11, 10))}, tmp_path)
    assert count(graph, "conv2d") == 1
    assert count(graph, "transpose") == 2


@pytest.mark.parametrize("output_padding", [(0, 0), (1, 0)])
@pytest.mark.parametrize(
    ("kernel", "strides", "pads", "dilations", "groups"),
    [
        ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
        ((2, 3), (2, 1), (0, 1, 1, 0), (1, 2), 2),
        ((4, 4), (2, 3), (0, 0, 0, 0), (1, 1), 4),
    ],
)
def test_conv_transpose(
    kernel, strides, pads, dilations, groups, output_padding, tmp_path: Path
) -> None:
    constants = {"w": random((4, 6 // min(groups, 2), *kernel), 1)}
    constants["b"] = random((constants["w"].shape[1] * groups,), 2)
    proto = model(
        [
            node(
                "ConvTranspose",
                ["x", "w", "b"],
                "y",
                strides=strides,
                pads=pads,
                dilations=dilations,
                group=groups,
                output_padding=output_padding,
            )
        ],
        {"x": [1, 4, 5, 6]},
        ["y"],
        constants,
    )
    check(proto, {"x": random((1, 4, 5, 6))}, tmp_path)


@pytest.mark.parametrize(
    "attrs",
    [
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER"},
        {"output_shape": [10, 11]},
        {"auto_pad": "VALID"},
    ],
)
def test_conv_transpose_resolves_its_padding(attrs, tmp_path: Path) -> None:
    proto = model(
        [node("ConvTranspose", ["x", "w"], "y", strides=[2, 2], **attrs)],
        {"x": [1, 4, 5, 6]},
        ["y"],
        {"w": random((4, 3, 4, 3), 1)},
    )
    check(proto, {"x": random((1, 4, 5, 6))}, tmp_path)


def test_one_dimensional_layers_in_a_row(tmp_path: Path) -> None:
    proto = model(
        [
            node("Conv", ["x", "w"], "a", pads=[1, 1]),
            node("Relu", ["a"], "b"),
            node("MaxPool", ["b"], "c", kernel_shape=[2], strides=[2]),
            node("ConvTranspose", ["c", "v"], "d", strides=[2], output_padding=[1]),
            node("AveragePool", ["d"], "y", kernel_shape=[3], pads=[1, 1]),
        ],
        {"x": ["N", 4, 17]},
        ["y"],
        {"w": random((6, 4, 3), 1), "v": random((6, 5, 3), 2)},
    )
    graph = check(proto, {"x": random((2, 4, 17))}, tmp_path)
    assert count(graph, "relu") == 0
    assert count(graph, "transpose") == 2
    assert count(graph, "squeeze") + count(graph, "unsqueeze") + count(graph, "reshape") <= 2


POOLS = list(
    itertools.product(
        ["MaxPool", "AveragePool"],
        [((3, 3), (2, 2)), ((2, 3), (3, 1)), ((3, 2), (1, 2))],
        [(0, 0, 0, 0), (1, 0, 1, 1), "SAME_UPPER", "SAME_LOWER"],
        [0, 1],
    )
)


@pytest.mark.parametrize(("op", "window", "pads", "ceil_mode"), POOLS)
def test_pools(op, window, pads, ceil_mode, tmp_path: Path) -> None:
    kernel, strides = window
    padding = {"auto_pad": pads} if isinstance(pads, str) else {"pads": pads}
    for extra in [{}] if op == "MaxPool" else [{}, {"count_include_pad": 1}]:
        proto = model(
            [
                node(
                    op,
                    ["x"],
                    "y",
                    kernel_shape=kernel,
                    strides=strides,
                    ceil_mode=ceil_mode,
                    **padding,
                    **extra,
                )
            ],
            {"x": [1, 3, 10, 12]},
            ["y"],
            opset=19,
        )
        check(proto, {"x": random((1, 3, 10, 12))}, tmp_path)


def test_dilated_max_pool(tmp_path: Path) -> None:
    proto = model(
        [node("MaxPool", ["x"], "y", kernel_shape=[3, 2], dilations=[2, 3], strides=[2, 1])],
        {"x": [1, 3, 10, 12]},
        ["y"],
    )
    check(proto, {"x": random((1, 3, 10, 12))}, tmp_path)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 5, 4)])
def test_global_pools(op, shape, tmp_path: Path) -> None:
    check(model([node(op, ["x"], "y")], {"x": shape}, ["y"]), {"x": random(shape)}, tmp_path)


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5)])
def test_batch_normalization(opset, shape, tmp_path: Path) -> None:
    constants = {name: random((3,), i) for i, name in enumerate("sbm")}
    constants["v"] = np.abs(random((3,), 9)) + np.float32(0.1)
    proto = model(
        [node("BatchNormalization", ["x", *constants], "y", epsilon=1e-3)],
        {"x": shape},
        ["y"],
        constants,
        opset,
    )
    check(proto, {"x": random(shape)}, tmp_path)


RESIZES = [
    (mode, coordinates, scales)
    for mode in ("nearest", "linear")
    for coordinates in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
    for scales in ((2.0, 2.0), (0.5, 2.0), (1.4, 0.6))
    # With align_corners ONNX takes the length before rounding down (its own node test
    # resize_downsample_scales_linear_align_corners), onnxruntime the length after.
    if coordinates != "align_corners" or scales != (1.4, 0.6)
]


@pytest.mark.parametrize(("mode", "coordinates", "scales"), RESIZES)
def test_resize_by_scales(mode, coordinates, scales, tmp_path: Path) -> None:
    proto = model(
        [
            node(
                "Resize", ["x", "", "s"], "y", mode=mode, coordinate_transformation_mode=coordinates
            )
        ],
        {"x": [1, 2, 6, 7]},
        ["y"],
        {"s": np.float32([1, 1, *scales])},
        13,
    )
    check(proto, {"x": random((1, 2, 6, 7))}, tmp_path, 1e-4)


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("opset", [11, 13, 18, 19])
def test_resize_by_sizes(nearest, opset, tmp_path: Path) -> None:
    proto = model(
        [node("Resize", ["x", "", "", "s"], "y", nearest_mode=nearest)],
        {"x": [1, 2, 6, 7]},
        ["y"],
        {"s": np.int64([1, 2, 9, 4])},
        opset,
    )
    if opset == 11:
        proto.graph.node[0].input[1] = "roi"
        proto.graph.node[0].input[2] = "none"
        from onnx import numpy_helper

        for name in ("roi", "none"):
            proto.graph.initializer.append(numpy_helper.from_array(np.float32([]), name))
    check(proto, {"x": random((1, 2, 6, 7))}, tmp_path)


@pytest.mark.parametrize(("op", "opset"), [("Upsample", 7), ("Upsample", 9), ("Resize", 10)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(2.0, 3.0), (1.0, 1.5)])
def test_old_resizes(op, opset, mode, scales, tmp_path: Path) -> None:
    full = [1.0, 1.0, *scales]
    if opset == 7:
        proto = model(
            [node(op, ["x"], "y", mode=mode, scales=full)], {"x": [1, 2, 5, 6]}, ["y"], opset=7
        )
    else:
        proto = model(
            [node(op, ["x", "s"], "y", mode=mode)],
            {"x": [1, 2, 5, 6]},
            ["y"],
            {"s": np.float32(full)},
            opset,
        )
    check(proto, {"x": random((1, 2, 5, 6))}, tmp_path)


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("c_shape", [None, (), (1,), (5,), (1, 5), (3, 1), (3, 5)])
@pytest.mark.parametrize("constant", [True, False])
def test_gemm(trans_a, trans_b, c_shape, constant, tmp_path: Path) -> None:
    b = random((5, 4) if trans_b else (4, 5), 1)
    constants, inputs = {}, {"x": (4, 3) if trans_a else (3, 4)}
    feed = {"x": random(inputs["x"])}
    names = ["x", "b"]
    if constant:
        constants["b"] = b
    else:
        inputs["b"], feed["b"] = b.shape, b
    if c_shape is not None:
        constants["c"] = random(c_shape, 2)
        names.append("c")
    proto = model(
        [node("Gemm", names, "y", alpha=0.7, beta=1.3, transA=trans_a, transB=trans_b)],
        inputs,
        ["y"],
        constants,
    )
    check(proto, feed, tmp_path)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 5)),
        ((4,), (4,)),
    ],
)
@pytest.mark.parametrize("constant", [True, False])
def test_matmul(a, b, constant, tmp_path: Path) -> None:
    array = random(b, 1)
    proto = model(
        [node("MatMul", ["a", "b"], "y")],
        {"a": a} if constant else {"a": a, "b": b},
        ["y"],
        {"b": array} if constant else {},
    )
    check(proto, {"a": random(a)} if constant else {"a": random(a), "b": array}, tmp_path)
