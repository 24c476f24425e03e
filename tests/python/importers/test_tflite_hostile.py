"""TFLite files that are damaged, that mean harm, or that use what is not supported: an error that
names the place, in bounded time and memory."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")

import tflite
from onnx_models import data_folder
from tflite_models import Op, T, build, const, one, quantized

from mutations import mutated
from zeropoint.errors import MissingExtraError, ModelError, UnsupportedError
from zeropoint.importers import load

SHAPE = (1, 4, 4, 2)
RNG = np.random.default_rng(3)
CONV = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1,
        "FusedActivationFunction": 0}  # fmt: skip
FC = {"FusedActivationFunction": 0, "WeightsFormat": 0, "KeepNumDims": False}


def refused(content: bytes, folder: Path) -> str:
    path = folder / "model.tflite"
    path.write_bytes(content)
    with pytest.raises((ModelError, UnsupportedError)) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message


def weight(**changes: object) -> T:
    data = RNG.integers(-127, 128, (3, 1, 1, 2))
    return replace(T("w", data.shape, "int8", data, 0.01, 0), **changes)


def conv(w: T, x: T | None = None, y: T | None = None, **options: int) -> bytes:
    x, y = x or quantized("x", SHAPE), y or quantized("y", (1, 4, 4, 3), 0.1)
    return one("CONV_2D", [x, w], y, **{**CONV, **options})


# -- what is not supported --------------------------------------------------------------------


def test_all_unsupported_operators_are_listed_at_once(tmp_path: Path) -> None:
    tensors = [T("x", SHAPE), T("a", SHAPE), T("b", SHAPE), T("c", SHAPE), T("y", SHAPE)]
    ops = [
        Op("COS", ["x"], ["a"]),
        Op("my_kernel", ["a"], ["b"]),
        Op("RELU", ["b"], ["c"]),
        Op("ADD", ["c", "c"], ["y"], {"FusedActivationFunction": 5}),
    ]
    message = refused(build(tensors, ops, ["x"], ["y"]), tmp_path)
    assert "3 operator(s)" in message
    assert "operator 0 (COS): this operator is not supported" in message
    assert "operator 1 (custom operator 'my_kernel')" in message
    assert "operator 3 (ADD): the fused activation SIGN_BIT" in message


def test_operators_that_no_output_needs_do_not_matter(tmp_path: Path) -> None:
    tensors = [T("x", SHAPE), T("a", SHAPE), T("y", SHAPE)]
    ops = [Op("COS", ["x"], ["a"]), Op("RELU", ["x"], ["y"])]
    path = tmp_path / "model.tflite"
    path.write_bytes(build(tensors, ops, ["x"], ["y"]))
    assert [node.op for node in load(path).nodes] == ["relu"]


def test_int16_activations(tmp_path: Path) -> None:
    x, y = T("x", SHAPE, "int16", None, 0.1, 0), T("y", SHAPE, "int16", None, 0.1, 0)
    message = refused(one("RELU", [x], y), tmp_path)
    assert "tensor 0 'x' is an activation of type int16" in message
    assert "int8 activations" in message


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (lambda: one("DIV", [quantized("x", SHAPE), quantized("b", SHAPE)], quantized("y", SHAPE),
                     FusedActivationFunction=0), "division has no int8 form"),
        (lambda: one("RELU", [quantized("x", SHAPE)], T("y", SHAPE)), "input is int8 but"),
        (lambda: one("FULLY_CONNECTED", [T("x", (1, 4)), T("w", (3, 4))], T("y", (1, 3)), **FC),
         "weights that are computed while the model runs"),
        (lambda: one("RESHAPE", [T("x", SHAPE), T("s", (2,), "int32")], T("y", (4, 8)),
                     NewShape=[]), "the new shape must be a constant"),
        (lambda: one("SOFTMAX", [T("x", (1, 4))], T("y", (1, 4)), Beta=-1.0), "beta -1.0"),
        (lambda: one("RESIZE_BILINEAR", [T("x", SHAPE), const("s", [2, 2])], T("y", (1, 2, 2, 2)),
                     AlignCorners=True, HalfPixelCenters=True), "align_corners together"),
        (lambda: conv(weight(scale=[0.1, 0.2], axis=3)), "each entry of axis 3, not 0"),
        (lambda: conv(weight(shape=(3, 1, 1, 2), dtype="int16")), "int16"),
        (lambda: build([T("x", (1, 2**15)), T("w", (1, 2**15), "int8", np.full((1, 2**15), -128),
                                              0.1), T("b", (1,), "int32", [2**31 - 1]),
                        quantized("y", (1, 1))],
                       [Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], FC)], ["x"], ["y"]),
         "input is float32, its output int8"),
        (lambda: build([quantized("x", (1, 2**17)),
                        T("w", (1, 2**17), "int8", np.full((1, 2**17), -128), 0.1),
                        quantized("y", (1, 1))],
                       [Op("FULLY_CONNECTED", ["x", "w"], ["y"], FC)], ["x"], ["y"]),
         "channel 0 could overflow its 32-bit accumulator"),
    ],
)  # fmt: skip
def test_unsupported(content, text, tmp_path: Path) -> None:
    message = refused(content(), tmp_path)
    assert text in message
    assert "operator 0 (" in message


# -- what is wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (lambda: conv(weight(scale=-0.01)), "tensor 1 'w' has a scale that is negative"),
        (lambda: conv(weight(scale=float("nan"))), "tensor 1 'w' has a scale"),
        (lambda: conv(weight(scale=None)), "has no scale"),
        (lambda: conv(weight(zero_point=300)), "zero point outside of int8"),
        (lambda: conv(weight(), x=quantized("x", SHAPE, 0.0)), "has the scale 0.0"),
        (lambda: conv(weight(), x=T("x", SHAPE, "int8")), "has no scale and zero point"),
        (lambda: conv(weight(shape=(3, 1, 1, 4))), "takes 12 bytes, but its buffer 1 holds 6"),
        (lambda: conv(weight(scale=[0.1] * 3 + [0.2], axis=0)), "4 scales of tensor 1 'w'"),
        (lambda: conv(weight(), Padding=7), "the padding 7"),
        (lambda: conv(weight(), StrideH=0), "they are positive"),
        (lambda: conv(weight(), DilationWFactor=-2), "they are positive"),
        (lambda: conv(weight(), FusedActivationFunction=77), "fused activation 77"),
        (lambda: one("PAD", [quantized("x", SHAPE)], quantized("y", SHAPE)),
         "input 1, the padding, is missing"),
        (lambda: one("TRANSPOSE", [T("x", SHAPE), const("p", [0, 1, 2, 9])], T("y", SHAPE)),
         "axis 9"),
        (lambda: one("RESHAPE", [T("x", SHAPE)], T("y", (5,)), NewShape=[5]), "cannot be reshaped"),
        (lambda: one("PAD", [T("x", SHAPE), const("p", [[0, 0]])], T("y", SHAPE)), "the padding"),
        (lambda: one("RELU", [T("x", (2**20, 2**20))], T("y", (2**20, 2**20))), "too large"),
        (lambda: one("RELU", [T("x", (1, -4))], T("y", (1, 4))), "has the shape [1, -4]"),
        (lambda: one("RELU", [T("x", SHAPE, signature=(1, 4, 4, 9))], T("y", SHAPE)),
         "the shape signature"),
        (lambda: one("ADD", [T("x", SHAPE), const("b", np.inf, "float32")], T("y", SHAPE),
                     FusedActivationFunction=0), "NaN or infinity"),
    ],
)  # fmt: skip
def test_invalid(content, text, tmp_path: Path) -> None:
    assert text in refused(content(), tmp_path)


def test_cycles_and_missing_tensors(tmp_path: Path) -> None:
    tensors = [T(name, SHAPE) for name in "xaby"]
    add = {"FusedActivationFunction": 0}

    def message(*ops: Op, inputs=("x",), outputs=("y",)) -> str:
        return refused(build(tensors, ops, inputs, outputs), tmp_path)

    cycle = message(Op("ADD", ["x", "b"], ["a"], add), Op("RELU", ["a"], ["b"]),
                    Op("RELU", ["b"], ["y"]))  # fmt: skip
    assert "operator 0 (ADD) reads tensor 2 'b'" in cycle
    assert "cycle" in cycle
    assert "writes tensor 1 'a', which has a value" in message(
        Op("RELU", ["x"], ["a"]), Op("RELU", ["x"], ["a"]), Op("RELU", ["a"], ["y"])
    )
    assert "writes tensor 0 'x'" in message(Op("RELU", ["x"], ["x"]), Op("RELU", ["x"], ["y"]))
    assert "nothing computes the output tensor 3 'y'" in message(Op("RELU", ["x"], ["a"]))
    assert "inputs name tensor 99; there are 4" in message(Op("RELU", [99], ["y"]))
    assert "outputs name tensor -7" in message(Op("RELU", ["x"], [-7]))
    assert "no outputs" in message(Op("RELU", ["x"], ["y"]), outputs=())
    assert "twice" in message(Op("RELU", ["x"], ["y"]), inputs=("x", "x"))


def test_several_subgraphs(tmp_path: Path) -> None:
    """The first is the model where nothing enters another one."""

    def content(*signatures: int) -> bytes:
        return build([T("x", SHAPE), T("y", SHAPE)], [Op("RELU", ["x"], ["y"])], ["x"], ["y"],
                     subgraphs=2, signatures=signatures)  # fmt: skip

    path = tmp_path / "model.tflite"
    for signatures in ((), (0,)):
        path.write_bytes(content(*signatures))
        assert [node.op for node in load(path).nodes] == ["relu"]
    assert "several entry points" in refused(content(0, 1), tmp_path)
    assert "a subgraph that is not there" in refused(content(7), tmp_path)


def test_files_cut_short(tmp_path: Path) -> None:
    whole = one("RELU", [T("x", SHAPE)], T("y", SHAPE))
    for size in (1, 5, 8, 15, len(whole) // 2, len(whole) - 20):
        assert "TFLite" in refused(whole[:size], tmp_path) or size > 15


def test_a_small_file_cannot_describe_a_huge_model(tmp_path: Path) -> None:
    """Doubling a constant forty times; one weight read by very many layers."""
    names = ["c0"] + [f"c{i}" for i in range(1, 41)]
    tensors = [T("x", (1,)), const("c0", np.ones(1 << 16), "float32")]
    tensors += [T(name, (1,)) for name in names[1:]] + [T("y", (1,))]
    join = {"Axis": 0, "FusedActivationFunction": 0}
    ops = [Op("CONCATENATION", [a, a], [b], join) for a, b in itertools.pairwise(names)]
    ops.append(Op("ADD", ["x", names[-1]], ["y"], {"FusedActivationFunction": 0}))
    refused(build(tensors, ops, ["x"], ["y"]), tmp_path)

    count = 3000
    data = np.ones((1024, 1024), np.int8)
    tensors = [quantized("v0", (1, 1024)), T("w", data.shape, "int8", data, 0.01)]
    tensors += [quantized(f"v{i}", (1, 1024)) for i in range(1, count + 1)]
    ops = [Op("FULLY_CONNECTED", [f"v{i}", "w"], [f"v{i + 1}"], FC) for i in range(count)]
    message = refused(build(tensors, ops, ["v0"], [f"v{count}"]), tmp_path)
    assert "more often than any model would" in message


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(one("RELU", [T("x", SHAPE)], T("y", SHAPE)))
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(MissingExtraError, match=r'pip install "zeropoint\[tools\]"'):
        load(path)


# -- mutations --------------------------------------------------------------------------------


def structure(content: bytes) -> np.ndarray:
    """The positions that are not large constants: what a file is made of."""
    start = np.frombuffer(content, np.uint8).ctypes.data
    keep = np.ones(len(content), bool)
    model = tflite.Model.GetRootAs(content, 0)
    for i in range(model.BuffersLength()):
        data = model.Buffers(i).DataAsNumpy()
        if not isinstance(data, int) and data.size > 64:
            at = data.ctypes.data - start
            keep[at : at + data.size] = False
    return np.flatnonzero(keep)


FILES = sorted(data_folder().glob("**/*.tflite"))


@pytest.mark.parametrize("path", [None, *FILES], ids=lambda p: p.stem if p else "small")
def test_mutations(path: Path | None, tmp_path: Path) -> None:
    """A thousand of each file: loaded, or refused by name."""
    if path is None:
        bias = T("b", (3,), "int32", [1, 2, 3])
        content = one("CONV_2D", [quantized("x", SHAPE), weight(), bias],
                      quantized("y", (1, 4, 4, 3), 0.1), **CONV)  # fmt: skip
    else:
        content = path.read_bytes()
    places, target = structure(content), tmp_path / "model.tflite"
    refusals = 0
    for seed in range(1000):
        target.write_bytes(mutated(content, places, np.random.default_rng(seed)))
        try:
            load(target)
        except (ModelError, UnsupportedError) as error:
            message = str(error)
        except BaseException as error:
            raise AssertionError(f"mutation {seed} gives {error!r}") from error
        else:
            continue
        assert message.startswith(str(target)), seed
        refusals += 1
    assert refusals > 100
