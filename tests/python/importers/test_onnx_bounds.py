"""Hostile ONNX files cannot make the importer use much memory or time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import model, node, random, save

from zeropoint.errors import ModelError, UnsupportedError
from zeropoint.importers import load

_MIB = 1 << 20
#: Loads the files under a limit on address space; prints each one's error.
_LOAD_LIMITED = """
import resource, sys
import zeropoint as zp
import zeropoint.importers.onnx
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), resource.RLIM_INFINITY))
for path in sys.argv[2:]:
    try:
        zp.load(path)
        print("loaded")
    except zp.UnsupportedError as error:
        print(" ".join(str(error).split()))
"""


def constant(name: str, array: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))


def branch(nodes: list[onnx.NodeProto], output: str) -> onnx.GraphProto:
    return helper.make_graph(
        nodes, "branch", [], [helper.make_tensor_value_info(output, onnx.TensorProto.INT64, None)]
    )


def multiplied(first: str, levels: int, ways: int = 8) -> tuple[list[onnx.NodeProto], str]:
    """Concat nodes, each of several copies of the one before."""
    nodes = [
        node("Concat", [f"{first}{i or ''}"] * ways, f"{first}{i + 1}", axis=0)
        for i in range(levels)
    ]
    return nodes, f"{first}{levels}"


def bombs() -> dict[str, tuple[onnx.ModelProto, str]]:
    """Name -> a small file that asks for a great deal of memory, and what its error says."""
    found = {}
    counted = branch(
        [
            constant("from", np.int64(0)),
            constant("to", np.int64(10**9)),
            constant("by", np.int64(1)),
            node("Range", ["from", "to", "by"], "range"),
        ],
        "range",
    )
    choice = helper.make_node(
        "If", ["yes"], ["r"], name="If_r", then_branch=counted, else_branch=counted
    )
    found["range in a branch"] = (
        model([choice, node("Add", ["x", "r"], "y")], {"x": [1]}, ["y"], {"yes": np.bool_(True)}),
        "If_r",
    )
    nodes, last = multiplied("c", 30)
    found["constants"] = (
        model([*nodes, node("Add", ["x", last], "y")], {"x": [1]}, ["y"], {"c": random((4,))}),
        "too large",
    )
    for batch in (2, "N"):
        nodes, last = multiplied("s", 30)
        found[f"shape arithmetic on {batch}"] = (
            model(
                [node("Shape", ["x"], "s"), *nodes, node("Reshape", ["x", last], "y")],
                {"x": [batch, 4]},
                ["y"],
            ),
            "too large",
        )
    squares = [node("Mul", [f"v{i}", f"v{i}"], f"v{i + 1}") for i in range(60)]
    found["large integers"] = (
        model(
            [
                node("Shape", ["x"], "s"),
                node("Concat", ["s", "big"], "v0", axis=0),
                *squares,
                node("Reshape", ["x", "v60"], "y"),
            ],
            {"x": ["N", 4]},
            ["y"],
            {"big": np.int64([10**18])},
        ),
        "Reshape_y",
    )
    gathers = [node("Gather", [f"g{i}", f"g{i}"], f"g{i + 1}") for i in range(40)]
    found["dimensions"] = (
        model(
            [node("ArgMax", ["x"], "g0"), *gathers, node("Relu", ["g40"], "y")],
            {"x": [2, 2]},
            ["y"],
        ),
        "Gather_g1",
    )
    found["parts"] = (
        model(
            [
                node("Split", ["x"], ["a", "b"], num_outputs=2**31 - 1),
                node("Split", ["k"], ["c", "d"], num_outputs=2**31 - 1),
                *[node("Add", ["a", "c"], "e"), node("Add", ["b", "d"], "f")],
                node("Add", ["e", "f"], "y"),
            ],
            {"x": [6]},
            ["y"],
            {"k": random((6,))},
            opset=18,
        ),
        "num_outputs",
    )
    found["strings"] = (
        model(
            [
                node("ConstantOfShape", ["n"], "k"),
                node("Cast", ["k"], "t", to=onnx.TensorProto.STRING),
                node("Cast", ["t"], "f", to=1),
                node("Add", ["x", "f"], "y"),
            ],
            {"x": [1]},
            ["y"],
            {"n": np.int64([1 << 25])},
        ),
        "strings",
    )
    return found


def test_memory_is_bounded(tmp_path: Path) -> None:
    paths, messages = [], []
    for i, (proto, message) in enumerate(bombs().values()):
        (tmp_path / str(i)).mkdir()
        paths.append(str(save(proto, tmp_path / str(i))))
        messages.append(message)
    ran = subprocess.run(
        [sys.executable, "-c", _LOAD_LIMITED, str(2048 * _MIB), *paths],
        capture_output=True,
        text=True,
        timeout=100,
    )
    lines = ran.stdout.splitlines()
    assert len(lines) == len(paths), ran.stdout + ran.stderr
    for name, line, message in zip(bombs(), lines, messages, strict=True):
        assert message in line, f"{name}: {line}"


def test_many_nodes_take_little_time(tmp_path: Path) -> None:
    """Time grows with the number of nodes, not with its square: minutes, were it so."""
    nodes = [node("Add", [f"v{i}", f"v{i}"], f"v{i + 1}") for i in range(6000)]
    path = save(model(nodes, {"v0": [3]}, ["v6000"]), tmp_path)
    began = time.process_time()
    assert len(load(path).nodes) == 6000
    assert time.process_time() - began < 30


def test_many_axes(tmp_path: Path) -> None:
    axes = np.arange(100_000)
    path = save(
        model([node("Unsqueeze", ["x", "a"], "y")], {"x": [3]}, ["y"], {"a": axes}), tmp_path
    )
    began = time.process_time()
    with pytest.raises((ModelError, UnsupportedError), match="dimensions"):
        load(path)
    assert time.process_time() - began < 30


@pytest.mark.parametrize("what", ["node", "value", "input", "graph", "attribute"])
def test_names_that_are_no_text(what: str, tmp_path: Path) -> None:
    """Protobuf hands out bytes where a string is not UTF-8."""
    relu = node("Elu", ["in_put"], "out_put", alpha=2.0)
    content = model([relu], {"in_put": [2]}, ["out_put"]).SerializeToString()
    good = {
        "node": b"Elu_out_put",
        "value": b"out_put",
        "input": b"in_put",
        "graph": b"test",
        "attribute": b"alpha",
    }[what]
    path = tmp_path / "model.onnx"
    path.write_bytes(content.replace(good, b"\xff" + good[1:]))
    with pytest.raises(ModelError, match="UTF-8"):
        load(path)


@pytest.mark.parametrize(
    ("made", "attributes"),
    [("Relu", {"alpha": 0.5}), ("Conv", {"dilation": [2, 2]}), ("Softmax", {"axes": [1]})],
)
def test_attributes_that_the_operator_does_not_have(made, attributes, tmp_path: Path) -> None:
    inputs = ["x", "w"] if made == "Conv" else ["x"]
    proto = model(
        [node(made, inputs, "y", **attributes)],
        {"x": [1, 3, 8, 8]},
        ["y"],
        {"w": random((4, 3, 3, 3))} if made == "Conv" else {},
    )
    with pytest.raises(UnsupportedError, match=rf"{made}_y.*'{next(iter(attributes))}'.*opset 17"):
        load(save(proto, tmp_path))


@pytest.mark.parametrize("inputs", [[], ["x"] * 4])
def test_numbers_of_inputs_that_the_operator_does_not_have(inputs, tmp_path: Path) -> None:
    made = "Concat" if not inputs else "Conv"
    proto = model([helper.make_node(made, inputs, ["y"], axis=0)], {"x": [2]}, ["y"])
    with pytest.raises(UnsupportedError, match=f"it has {len(inputs)} inputs"):
        load(save(proto, tmp_path))


def test_shape_arithmetic_that_does_not_fit(tmp_path: Path) -> None:
    for second in (node("Gather", ["s", "i"], "t"), node("Slice", ["s", "none", "none"], "t")):
        proto = model(
            [node("Shape", ["x"], "s"), second, node("Reshape", ["x", "t"], "y")],
            {"x": ["N", 4]},
            ["y"],
            {"i": np.int64([7]), "none": np.int64([])},
        )
        with pytest.raises(UnsupportedError, match="_t"):
            load(save(proto, tmp_path))
