"""Element-wise operators, activations, reductions and data movement against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import check, model, node, random

UNARY = [
    ("Relu", {}),
    ("LeakyRelu", {"alpha": 0.2}),
    ("Sigmoid", {}),
    ("HardSigmoid", {}),
    ("HardSigmoid", {"alpha": 1 / 6}),
    ("HardSwish", {}),
    ("Tanh", {}),
    ("Elu", {"alpha": 0.7}),
    ("Softplus", {}),
    ("Mish", {}),
    ("Exp", {}),
    ("Abs", {}),
    ("Neg", {}),
    ("Erf", {}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("Identity", {}),
    ("Reciprocal", {}),
]


@pytest.mark.parametrize(("op", "attrs"), UNARY)
def test_unary(op, attrs, tmp_path: Path) -> None:
    proto = model([node(op, ["x"], "y", **attrs)], {"x": ["N", 3, 4]}, ["y"], opset=20)
    check(proto, {"x": random((2, 3, 4), scale=3)}, tmp_path)


@pytest.mark.parametrize("op", ["Log", "Sqrt"])
def test_unary_of_positive_numbers(op, tmp_path: Path) -> None:
    proto = model([node(op, ["x"], "y")], {"x": [2, 3]}, ["y"])
    check(proto, {"x": np.abs(random((2, 3))) + np.float32(0.1)}, tmp_path)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (4,), (3, 1), (2, 3, 4), (1, 1, 1)])
@pytest.mark.parametrize("side", ["constant left", "constant right", "activation"])
def test_binary(op, shape, side, tmp_path: Path) -> None:
    other = np.asarray(np.abs(random(shape, 1)) + np.float32(0.3))
    constant = side != "activation"
    names = ["c", "x"] if side == "constant left" else ["x", "c"]
    proto = model(
        [node(op, names, "y")],
        {"x": (2, 3, 4)} if constant else {"x": (2, 3, 4), "c": shape},
        ["y"],
        {"c": other} if constant else {},
    )
    x = np.abs(random((2, 3, 4))) + np.float32(0.5)
    check(proto, {"x": x} if constant else {"x": x, "c": other}, tmp_path)


def test_sum_of_many(tmp_path: Path) -> None:
    proto = model([node("Sum", ["a", "b", "c"], "y")], {n: [2, 3] for n in "abc"}, ["y"])
    check(proto, {n: random((2, 3), i) for i, n in enumerate("abc")}, tmp_path)


@pytest.mark.parametrize("opset", [7, 11, 13])
@pytest.mark.parametrize("bounds", [(0.0, 6.0), (-1.0, None), (None, 0.5)])
def test_clip(opset, bounds, tmp_path: Path) -> None:
    low, high = bounds
    if opset < 11:
        attrs = {k: v for k, v in (("min", low), ("max", high)) if v is not None}
        proto = model([node("Clip", ["x"], "y", **attrs)], {"x": [3, 4]}, ["y"], opset=opset)
    else:
        constants = {k: np.float32(v) for k, v in (("lo", low), ("hi", high)) if v is not None}
        names = ["x", "lo" if low is not None else "", "hi" if high is not None else ""]
        while not names[-1]:
            names.pop()
        proto = model([node("Clip", names, "y")], {"x": [3, 4]}, ["y"], constants, opset)
    check(proto, {"x": random((3, 4), scale=5)}, tmp_path)


@pytest.mark.parametrize("shape", [(1,), (3, 1, 1), (3, 4, 5)])
def test_prelu(shape, tmp_path: Path) -> None:
    proto = model(
        [node("PRelu", ["x", "s"], "y")], {"x": ["N", 3, 4, 5]}, ["y"], {"s": random(shape, 1)}
    )
    check(proto, {"x": random((2, 3, 4, 5))}, tmp_path)


@pytest.mark.parametrize("opset", [7, 11, 13])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_softmax(opset, axis, tmp_path: Path) -> None:
    if opset < 11 and axis < 0:
        pytest.skip("negative axes came with opset 11")
    proto = model([node("Softmax", ["x"], "y", axis=axis)], {"x": [2, 3, 4]}, ["y"], opset=opset)
    check(proto, {"x": random((2, 3, 4), scale=3)}, tmp_path)


def test_log_softmax(tmp_path: Path) -> None:
    proto = model([node("LogSoftmax", ["x"], "y", axis=1)], {"x": ["N", 10]}, ["y"])
    # A distance of 200 underflows in exp: the logarithm of the softmax would be -inf.
    check(proto, {"x": random((3, 10), scale=100)}, tmp_path)


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("axes", [None, [1], [-1, 1], [2, 3]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduce_mean(opset, axes, keepdims, tmp_path: Path) -> None:
    if opset < 18:
        attrs = {} if axes is None else {"axes": axes}
        proto = model(
            [node("ReduceMean", ["x"], "y", keepdims=keepdims, **attrs)],
            {"x": [2, 3, 4, 5]},
            ["y"],
            opset=opset,
        )
    else:
        names = ["x"] if axes is None else ["x", "a"]
        constants = {} if axes is None else {"a": np.int64(axes)}
        proto = model(
            [node("ReduceMean", names, "y", keepdims=keepdims)],
            {"x": [2, 3, 4, 5]},
            ["y"],
            constants,
            opset,
        )
    check(proto, {"x": random((2, 3, 4, 5))}, tmp_path)


@pytest.mark.parametrize("axis", [0, 2, -1])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("last", [0, 1])
def test_argmax(axis, keepdims, last, tmp_path: Path) -> None:
    proto = model(
        [node("ArgMax", ["x"], "y", axis=axis, keepdims=keepdims, select_last_index=last)],
        {"x": [2, 3, 4]},
        ["y"],
        output_dtypes={"y": "int64"},
    )
    check(proto, {"x": np.round(random((2, 3, 4)))}, tmp_path)


@pytest.mark.parametrize("opset", [7, 11, 13, 18, 21])
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pad(opset, mode, tmp_path: Path) -> None:
    pads = [0, 0, 1, 2, 0, 1 if mode == "constant" else 0, 2, 0]
    x = {"x": [1, 2, 4, 5]}
    value = {"value": 1.5} if mode == "constant" else {}
    if opset < 11:
        proto = model(
            [node("Pad", ["x"], "y", mode=mode, pads=pads, **value)], x, ["y"], opset=opset
        )
    elif opset < 18:
        proto = model(
            [node("Pad", ["x", "p", "v"], "y", mode=mode)],
            x,
            ["y"],
            {"p": np.int64(pads), "v": np.float32(1.5)},
            opset,
        )
    else:
        proto = model(
            [node("Pad", ["x", "p", "", "a"], "y", mode=mode)],
            x,
            ["y"],
            {"p": np.int64([1, 2, 2, 0]), "a": np.int64([-2, 3])},
            opset,
        )
    check(proto, {"x": random((1, 2, 4, 5))}, tmp_path)


SLICES = [
    ([1], [3], [0], [1]),
    ([-3, 0], [2**63 - 1, 2], [1, 2], [1, 1]),
    ([5], [-(2**63)], [1], [-2]),
    ([-1], [0], [2], [-1]),
    ([2, 1], [4, 6], [0, 1], [2, 3]),
]


@pytest.mark.parametrize(("starts", "ends", "axes", "steps"), SLICES)
def test_slice(starts, ends, axes, steps, tmp_path: Path) -> None:
    constants = {"s": starts, "e": ends, "a": axes, "t": steps}
    proto = model(
        [node("Slice", ["x", *constants], "y")],
        {"x": [4, 6, 3]},
        ["y"],
        {k: np.int64(v) for k, v in constants.items()},
        13,
    )
    check(proto, {"x": random((4, 6, 3))}, tmp_path)


def test_old_slice(tmp_path: Path) -> None:
    proto = model(
        [node("Slice", ["x"], "y", starts=[1, -3], ends=[9, -1])], {"x": [4, 6]}, ["y"], opset=7
    )
    check(proto, {"x": random((4, 6))}, tmp_path)


@pytest.mark.parametrize("opset", [7, 13, 18])
@pytest.mark.parametrize("sizes", [None, [1, 5]])
def test_split(opset, sizes, tmp_path: Path) -> None:
    attrs, names, constants = {}, ["x"], {}
    if sizes is not None and opset < 13:
        attrs["split"] = sizes
    elif sizes is not None:
        names, constants = ["x", "s"], {"s": np.int64(sizes)}
    elif opset >= 18:
        attrs["num_outputs"] = 2
    proto = model(
        [node("Split", names, ["a", "b"], axis=1, **attrs)],
        {"x": [2, 6]},
        ["a", "b"],
        constants,
        opset,
    )
    check(proto, {"x": random((2, 6))}, tmp_path)


def test_uneven_split(tmp_path: Path) -> None:
    proto = model(
        [node("Split", ["x"], ["a", "b", "c"], axis=0, num_outputs=3)],
        {"x": [7]},
        ["a", "b", "c"],
        opset=18,
    )
    check(proto, {"x": random((7,))}, tmp_path)


@pytest.mark.parametrize("opset", [7, 13])
def test_squeeze_and_unsqueeze(opset, tmp_path: Path) -> None:
    if opset < 13:
        nodes = [node("Squeeze", ["x"], "a", axes=[1]), node("Unsqueeze", ["a"], "y", axes=[0, 3])]
        constants = {}
    else:
        nodes = [node("Squeeze", ["x", "s"], "a"), node("Unsqueeze", ["a", "u"], "y")]
        constants = {"s": np.int64([-3]), "u": np.int64([0, -1])}
    proto = model(nodes, {"x": [3, 1, 2, 4]}, ["y"], constants, opset)
    check(proto, {"x": random((3, 1, 2, 4))}, tmp_path)


@pytest.mark.parametrize("shape", [[4, 6], [-1, 3], [0, -1], [0, 0, 2, 2], [1, -1, 1]])
def test_reshape(shape, tmp_path: Path) -> None:
    proto = model(
        [node("Reshape", ["x", "s"], "y")], {"x": [2, 3, 4]}, ["y"], {"s": np.int64(shape)}
    )
    check(proto, {"x": random((2, 3, 4))}, tmp_path)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_flatten(axis, tmp_path: Path) -> None:
    proto = model([node("Flatten", ["x"], "y", axis=axis)], {"x": [2, 3, 4]}, ["y"], opset=13)
    check(proto, {"x": random((2, 3, 4))}, tmp_path)


def test_transposes_without_permutation_reverse(tmp_path: Path) -> None:
    proto = model([node("Transpose", ["x"], "y")], {"x": [2, 3, 4]}, ["y"])
    check(proto, {"x": random((2, 3, 4))}, tmp_path)


def test_concat_of_activations_and_constants(tmp_path: Path) -> None:
    proto = model(
        [node("Concat", ["a", "c", "b"], "y", axis=-1)],
        {"a": [2, 3], "b": [2, 1]},
        ["y"],
        {"c": random((2, 2), 1)},
    )
    check(proto, {"a": random((2, 3)), "b": random((2, 1), 2)}, tmp_path)


def test_min_and_max_with_constants_are_one_clip(tmp_path: Path) -> None:
    proto = model(
        [node("Max", ["x", "zero"], "a"), node("Min", ["six", "a"], "y")],
        {"x": [3, 4]},
        ["y"],
        {"zero": np.float32(0), "six": np.float32([6])},
    )
    graph = check(proto, {"x": random((3, 4), scale=5)}, tmp_path)
    assert [n.op for n in graph.nodes] == ["clip"]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0])
def test_pow(exponent, tmp_path: Path) -> None:
    proto = model([node("Pow", ["x", "e"], "y")], {"x": [3, 4]}, ["y"], {"e": np.float32(exponent)})
    check(proto, {"x": np.abs(random((3, 4)))}, tmp_path)


def test_dropout_and_same_type_casts_vanish(tmp_path: Path) -> None:
    proto = model(
        [
            node("Relu", ["x"], "a"),
            node("Dropout", ["a"], "b"),
            node("Cast", ["b"], "c", to=1),
            node("Identity", ["c"], "d"),
            node("Tanh", ["d"], "y"),
        ],
        {"x": [3, 4]},
        ["y", "a"],
    )
    graph = check(proto, {"x": random((3, 4))}, tmp_path)
    assert [n.op for n in graph.nodes] == ["relu", "tanh"]


def test_an_output_under_two_names(tmp_path: Path) -> None:
    proto = model(
        [node("Relu", ["x"], "a"), node("Identity", ["a"], "y"), node("Identity", ["x"], "z")],
        {"x": ["N", 4]},
        ["y", "a", "z"],
    )
    check(proto, {"x": random((3, 4))}, tmp_path)
