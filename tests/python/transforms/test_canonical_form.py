"""What canonical graphs look like: transposes left, activations fused, weights merged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import check, count, model, node, random

from zeropoint.transforms import canonicalize


def norm(x: str, y: str, channels: int, constants: dict) -> object:
    names = [f"{y}.{part}" for part in "sbmv"]
    for i, name in enumerate(names):
        array = random((channels,), i + len(constants))
        constants[name] = np.abs(array) + np.float32(0.5) if name.endswith("v") else array
    return node("BatchNormalization", [x, *names], y)


def conv(x: str, y: str, shape: tuple[int, ...], constants: dict, **attrs) -> object:
    constants[f"{y}.w"] = random(shape, len(constants), 0.3)
    return node("Conv", [x, f"{y}.w"], y, **attrs)


def test_residual_network(tmp_path: Path) -> None:
    c: dict = {}
    nodes = [
        conv("x", "c0", (8, 3, 3, 3), c, strides=[2, 2], pads=[1] * 4),
        norm("c0", "n0", 8, c),
        node("Relu", ["n0"], "r0"),
        node("MaxPool", ["r0"], "p0", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        conv("p0", "c1", (8, 8, 3, 3), c, pads=[1] * 4),
        norm("c1", "n1", 8, c),
        node("Relu", ["n1"], "r1"),
        conv("r1", "c2", (8, 8, 3, 3), c, pads=[1] * 4),
        norm("c2", "n2", 8, c),
        node("Add", ["n2", "p0"], "a2"),
        node("Relu", ["a2"], "r2"),
        conv("r2", "c3", (12, 8, 1, 1), c, strides=[2, 2]),
        norm("c3", "n3", 12, c),
        conv("r2", "c4", (12, 8, 3, 3), c, strides=[2, 2], pads=[1] * 4),
        norm("c4", "n4", 12, c),
        node("Add", ["n3", "n4"], "a5"),
        node("Relu", ["a5"], "r5"),
        node("GlobalAveragePool", ["r5"], "g"),
        node("Flatten", ["g"], "f"),
        node("Gemm", ["f", "fc.w", "fc.b"], "y", transB=1),
    ]
    c["fc.w"], c["fc.b"] = random((10, 12), 98), random((10,), 99)
    graph = check(
        model(nodes, {"x": ["N", 3, 32, 32]}, ["y"], c),
        {"x": random((2, 3, 32, 32))},
        tmp_path,
        1e-4,
    )
    assert [n.op for n in graph.nodes] == [
        "transpose",
        "conv2d",
        "max_pool2d",
        "conv2d",
        "conv2d",
        "add",
        "conv2d",
        "conv2d",
        "add",
        "reduce_mean",
        "reshape",
        "linear",
    ]
    # Layers write what their activations wrote; values keep the names of the file.
    assert {"r0", "p0", "r1", "n2", "r2", "n3", "n4", "r5"} <= set(graph.values)
    adds = [n for n in graph.nodes if n.op == "add"]
    assert all(n.attrs == {"clip_min": 0.0} for n in adds)
    before = repr(graph.nodes)
    canonicalize(graph)
    assert repr(graph.nodes) == before


def test_inverted_residual_with_squeeze_and_excitation(tmp_path: Path) -> None:
    c: dict = {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)}
    nodes = [
        conv("x", "c0", (8, 3, 3, 3), c, pads=[1] * 4),
        node("HardSwish", ["c0"], "h0"),
        conv("h0", "c1", (8, 1, 3, 3), c, group=8, pads=[1] * 4),
        node("Clip", ["c1", "zero", "six"], "r1"),
        node("ReduceMean", ["r1"], "m", axes=[2, 3], keepdims=0),
        node("MatMul", ["m", "fc"], "l"),
        node("HardSigmoid", ["l"], "s", alpha=1 / 6),
        node("Reshape", ["s", "shape"], "s4"),
        node("Mul", ["r1", "s4"], "e"),
        conv("e", "c2", (8, 8, 1, 1), c),
        node("Add", ["c2", "h0"], "y"),
    ]
    c["fc"], c["shape"] = random((8, 8), 50), np.int64([0, 8, 1, 1])
    graph = check(
        model(nodes, {"x": ["N", 3, 6, 6]}, ["y"], c), {"x": random((2, 3, 6, 6))}, tmp_path
    )
    assert count(graph, "transpose") == 2
    assert count(graph, "clip") == 0
    (depthwise,) = [n for n in graph.nodes if n.attrs.get("groups") == 8]
    assert depthwise.attrs["clip_max"] == 6.0


def test_branches_that_split_slice_pad_and_meet_again(tmp_path: Path) -> None:
    c: dict = {
        "bias": random((4, 1, 1), 70),
        "slope": random((4, 1, 1), 71),
        "pads": np.int64([0, 0, 1, 0, 0, 0, 0, 2]),
        "st": np.int64([1]),
        "en": np.int64([9]),
        "ax": np.int64([2]),
    }
    nodes = [
        conv("x", "c0", (8, 3, 3, 3), c),
        node("Split", ["c0"], ["a", "b"], axis=1),
        node("PRelu", ["a", "slope"], "a1"),
        node("Mul", ["b", "bias"], "b1"),
        node("Softmax", ["b1"], "b2", axis=1),
        node("Concat", ["b2", "a1"], "j", axis=1),
        node("Slice", ["j", "st", "en", "ax"], "k"),
        node("Pad", ["k", "pads"], "p"),
        conv("p", "c1", (4, 8, 3, 3), c),
        node("ReduceMean", ["c1"], "y", axes=[1, 3], keepdims=0),
        node("ArgMax", ["c1"], "z", axis=1, keepdims=0),
    ]
    proto = model(nodes, {"x": [2, 3, 10, 10]}, ["y", "z"], c, output_dtypes={"z": "int64"})
    graph = check(proto, {"x": random((2, 3, 10, 10))}, tmp_path)
    assert count(graph, "transpose") == 1
    assert count(graph, "pad") == 0


def test_flattened_image_permutes_the_weights(tmp_path: Path) -> None:
    c: dict = {"w": random((4 * 3 * 5, 7), 9)}
    nodes = [
        conv("x", "c", (4, 2, 3, 3), c),
        node("Flatten", ["c"], "f"),
        node("Relu", ["f"], "r"),
        node("MatMul", ["r", "w"], "y"),
    ]
    graph = check(
        model(nodes, {"x": ["N", 2, 5, 7]}, ["y"], c), {"x": random((3, 2, 5, 7))}, tmp_path
    )
    assert count(graph, "transpose") == 1
    assert graph.nodes[0].op == "transpose"


def test_channels_last_model_of_a_converter_needs_no_transpose(tmp_path: Path) -> None:
    c: dict = {}
    nodes = [
        node("Transpose", ["x"], "x1", perm=[0, 3, 1, 2]),
        conv("x1", "c", (4, 3, 3, 3), c),
        node("Transpose", ["c"], "c1", perm=[0, 2, 3, 1]),
        node("Relu", ["c1"], "y"),
    ]
    graph = check(
        model(nodes, {"x": ["N", 6, 6, 3]}, ["y"], c), {"x": random((2, 6, 6, 3))}, tmp_path
    )
    assert [n.op for n in graph.nodes] == ["conv2d"]


def test_one_channel_input_is_reshaped(tmp_path: Path) -> None:
    c: dict = {}
    graph = check(
        model([conv("x", "y", (4, 1, 3, 3), c)], {"x": ["N", 1, 6, 6]}, ["y"], c),
        {"x": random((2, 1, 6, 6))},
        tmp_path,
    )
    assert [n.op for n in graph.nodes] == ["reshape", "conv2d", "transpose"]


ACTIVATIONS = {
    "hard_swish": [
        [
            ("Add", "x", "three", "a"),
            ("Clip", "a", "zero", "six", "b"),
            ("Mul", "x", "b", "c"),
            ("Div", "c", "six", "y"),
        ],
        [
            ("Add", "three", "x", "a"),
            ("Relu", "a", "r"),
            ("Min", "r", "six", "b"),
            ("Mul", "b", "sixth", "c"),
            ("Mul", "c", "x", "y"),
        ],
        [("HardSigmoid", "x", "a", {"alpha": 1 / 6}), ("Mul", "a", "x", "y")],
    ],
    "hard_sigmoid": [
        [("Add", "x", "three", "a"), ("Clip", "a", "zero", "six", "b"), ("Div", "b", "six", "y")],
    ],
    "silu": [[("Sigmoid", "x", "a"), ("Mul", "x", "a", "y")]],
    "mish": [[("Softplus", "x", "a"), ("Tanh", "a", "b"), ("Mul", "b", "x", "y")]],
    "gelu": [
        [
            ("Div", "x", "sqrt2", "a"),
            ("Erf", "a", "b"),
            ("Add", "b", "one", "c"),
            ("Mul", "x", "c", "d"),
            ("Mul", "d", "half", "y"),
        ],
        [
            ("Mul", "x", "half", "h"),
            ("Mul", "x", "rsqrt2", "a"),
            ("Erf", "a", "b"),
            ("Add", "one", "b", "c"),
            ("Mul", "h", "c", "y"),
        ],
        [
            ("Mul", "x", "rsqrt2", "a"),
            ("Erf", "a", "b"),
            ("Mul", "b", "half", "c"),
            ("Add", "c", "half", "d"),
            ("Mul", "d", "x", "y"),
        ],
    ],
    "gelu_tanh": [
        [
            ("Pow", "x", "three", "p"),
            ("Mul", "p", "k", "q"),
            ("Add", "x", "q", "r"),
            ("Mul", "r", "s2pi", "t"),
            ("Tanh", "t", "u"),
            ("Add", "u", "one", "v"),
            ("Mul", "x", "v", "w"),
            ("Mul", "w", "half", "y"),
        ],
        [
            ("Mul", "x", "x", "p"),
            ("Mul", "p", "k", "q"),
            ("Add", "q", "one", "r"),
            ("Mul", "x", "s2pi", "s"),
            ("Mul", "s", "r", "t"),
            ("Tanh", "t", "u"),
            ("Add", "u", "one", "v"),
            ("Mul", "x", "half", "w"),
            ("Mul", "w", "v", "y"),
        ],
    ],
    "relu": [[("Clip", "x", "zero", "", "y")], [("Max", "x", "zero", "y")]],
}
NUMBERS = {
    "zero": 0,
    "half": 0.5,
    "one": 1,
    "three": 3,
    "six": 6,
    "sixth": 1 / 6,
    "sqrt2": 2**0.5,
    "rsqrt2": 0.5**0.5,
    "k": 0.044715,
    "s2pi": (2 / np.pi) ** 0.5,
}


@pytest.mark.parametrize(
    ("op", "form"), [(op, form) for op, forms in ACTIVATIONS.items() for form in forms]
)
def test_spelled_out_activations(op, form, tmp_path: Path) -> None:
    nodes = []
    for step in form:
        attrs = step[-1] if isinstance(step[-1], dict) else {}
        names = [part for part in step[1:] if isinstance(part, str)]
        nodes.append(node(step[0], names[:-1], names[-1], **attrs))
    proto = model(nodes, {"x": ["N", 5]}, ["y"], {k: np.float32(v) for k, v in NUMBERS.items()})
    graph = check(proto, {"x": random((4, 5), scale=4)}, tmp_path, 1e-4)
    assert [n.op for n in graph.nodes] == [op]


def test_what_only_looks_like_an_activation_stays(tmp_path: Path) -> None:
    proto = model(
        [node("Sigmoid", ["x"], "a"), node("Mul", ["b", "a"], "y")], {"x": [4], "b": [4]}, ["y"]
    )
    graph = check(proto, {"x": random((4,)), "b": random((4,), 1)}, tmp_path)
    assert [n.op for n in graph.nodes] == ["sigmoid", "mul"]


def test_a_value_with_two_readers_is_not_fused_away(tmp_path: Path) -> None:
    c: dict = {"two": np.float32(2)}
    nodes = [
        conv("x", "c", (4, 3, 1, 1), c),
        node("Relu", ["c"], "r"),
        node("Mul", ["c", "two"], "m"),
        node("Add", ["r", "m"], "y"),
    ]
    graph = check(
        model(nodes, {"x": [1, 3, 4, 4]}, ["y", "c"], c), {"x": random((1, 3, 4, 4))}, tmp_path
    )
    assert count(graph, "relu") == 1


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("flip", [False, True])
def test_factors_and_shifts_merge_into_weights(op, flip, tmp_path: Path) -> None:
    c: dict = {"k": np.abs(random((4, 1, 1), 30)) + np.float32(0.5)}
    operands = ["k", "c"] if flip else ["c", "k"]
    proto = model(
        [conv("x", "c", (4, 3, 3, 3), c), node(op, operands, "y")], {"x": [1, 3, 5, 5]}, ["y"], c
    )
    graph = check(proto, {"x": random((1, 3, 5, 5))}, tmp_path, 1e-3)
    # A constant divided by a convolution is no linear function of it.
    assert count(graph, "conv2d") == 1
    assert len(graph.nodes) == (4 if op == "Div" and flip else 3)


@pytest.mark.parametrize(
    ("op", "attrs", "value", "merged"),
    [
        ("Conv", {}, 0.0, True),
        ("Conv", {}, 1.0, False),
        ("AveragePool", {"kernel_shape": [3, 3]}, 0.0, True),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, 0.0, False),
        ("MaxPool", {"kernel_shape": [3, 3]}, float("-inf"), True),
        ("MaxPool", {"kernel_shape": [3, 3]}, 0.0, False),
    ],
)
def test_padding_merges_into_windows(op, attrs, value, merged, tmp_path: Path) -> None:
    c = {"p": np.int64([0, 0, 1, 0, 0, 0, 1, 2]), "v": np.float32(value)}
    names = ["p0"]
    if op == "Conv":
        c["w"] = random((4, 3, 3, 3), 3)
        names.append("w")
    proto = model(
        [node("Pad", ["x", "p", "v"], "p0"), node(op, names, "y", **attrs)],
        {"x": [1, 3, 6, 6]},
        ["y"],
        c,
    )
    graph = check(proto, {"x": random((1, 3, 6, 6))}, tmp_path)
    assert count(graph, "pad") == (0 if merged else 1)
