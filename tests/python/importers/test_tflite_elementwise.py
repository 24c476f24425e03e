"""TFLite operators on single elements, beside LiteRT's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("ai_edge_litert")

from tflite_models import Op, T, build, check, const, graphs, one, quantized, unsigned

SHAPE = (2, 3, 4, 5)
RNG = np.random.default_rng(11)
FLOAT_X, FLOAT_Y = T("x", SHAPE), T("y", SHAPE)


# -- arithmetic -------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL", "DIV"])
@pytest.mark.parametrize("other", [SHAPE, (1, 1, 1, 5), (2, 1, 4, 1), ()])
@pytest.mark.parametrize("function", [0, 1])
def test_float_arithmetic(op, other, function, tmp_path: Path) -> None:
    if op == "DIV":
        b = T("b", other, "float32", np.abs(RNG.standard_normal(other)) + 0.5)
    else:
        b = T("b", other)
    check(one(op, [FLOAT_X, b], FLOAT_Y, FusedActivationFunction=function), tmp_path)


def test_a_fused_function_that_is_not_a_clip(tmp_path: Path) -> None:
    """LiteRT does not run these; the schema has them."""
    content = one("ADD", [FLOAT_X, T("b", SHAPE)], FLOAT_Y, FusedActivationFunction=4)
    _, graph = graphs(content, tmp_path)
    assert [node.op for node in graph.nodes] == ["add", "tanh"]


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("other", [SHAPE, (1, 1, 1, 5), (2, 1, 4, 1)])
@pytest.mark.parametrize("function", [0, 1, 3])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_int8_arithmetic(op, other, function, dtype, tmp_path: Path) -> None:
    tensors = [quantized("x", SHAPE, 0.03, 7), quantized("b", other, 0.05, -20)]
    out = quantized("y", SHAPE, 0.07, 12)
    if dtype == "uint8":
        tensors, out = [unsigned(t) for t in tensors], unsigned(out)
    check(one(op, tensors, out, FusedActivationFunction=function), tmp_path)


@pytest.mark.parametrize("op", ["ADD", "MUL"])
def test_int8_arithmetic_with_a_constant(op, tmp_path: Path) -> None:
    data = RNG.integers(-128, 128, 5)
    b = T("b", (5,), "int8", data, 0.02, 3)
    x, y = quantized("x", SHAPE, 0.03, 7), quantized("y", SHAPE, 0.07, 12)
    check(one(op, [x, b], y, FusedActivationFunction=0), tmp_path)


def test_a_value_added_to_itself(tmp_path: Path) -> None:
    content = build(
        [FLOAT_X, FLOAT_Y],
        [Op("ADD", ["x", "x"], ["y"], {"FusedActivationFunction": 0})],
        ["x"],
        ["y"],
    )
    check(content, tmp_path)


@pytest.mark.parametrize("op", ["MINIMUM", "MAXIMUM"])
def test_bounds(op, tmp_path: Path) -> None:
    check(one(op, [FLOAT_X, const("b", 0.5, "float32")], FLOAT_Y), tmp_path)


# -- functions --------------------------------------------------------------------------------

FUNCTIONS = {
    "ABS": {}, "ELU": {}, "EXP": {}, "GELU": {"Approximate": False}, "HARD_SWISH": {},
    "LEAKY_RELU": {"Alpha": 0.2}, "LOGISTIC": {}, "NEG": {}, "RELU": {}, "RELU6": {},
    "RELU_0_TO_1": {}, "RELU_N1_TO_1": {}, "SQUARE": {}, "TANH": {},
}  # fmt: skip


@pytest.mark.parametrize("op", FUNCTIONS)
def test_float_functions(op, tmp_path: Path) -> None:
    content = one(op, [FLOAT_X], FLOAT_Y, **FUNCTIONS[op])
    check(content, tmp_path, tolerance=2e-5, resolver=_resolver(op))


def _resolver(op: str) -> str:
    """The reference kernels lack ELU."""
    return "BUILTIN_WITHOUT_DEFAULT_DELEGATES" if op == "ELU" else "BUILTIN_REF"


def test_gelu_with_tanh(tmp_path: Path) -> None:
    check(one("GELU", [FLOAT_X], FLOAT_Y, Approximate=True), tmp_path, tolerance=2e-5)


@pytest.mark.parametrize("op", ["SQRT", "RSQRT", "LOG"])
def test_float_functions_of_positive_numbers(op, tmp_path: Path) -> None:
    check(one(op, [FLOAT_X], FLOAT_Y), tmp_path, positive=True, tolerance=2e-5)


#: Output scale and zero point of each int8 function, and by how many steps LiteRT's fixed-point
#: arithmetic may stray from the function itself.
INT8_FUNCTIONS = {
    "ABS": (0.05, -128, 1), "ELU": (0.05, -100, 1), "EXP": (0.5, -128, 1),
    "GELU": (0.03, -100, 1), "HARD_SWISH": (0.03, -100, 1), "LEAKY_RELU": (0.04, -30, 1),
    "LOGISTIC": (1 / 256, -128, 1), "RELU": (0.04, -128, 1), "RELU6": (6 / 255, -128, 1),
    "RELU_0_TO_1": (1 / 255, -128, 1), "RELU_N1_TO_1": (2 / 255, 0, 1), "RSQRT": (0.05, -128, 1),
    "SQRT": (0.01, -128, 1), "TANH": (1 / 128, 0, 1),
}  # fmt: skip


@pytest.mark.parametrize("op", INT8_FUNCTIONS)
def test_int8_functions(op, tmp_path: Path) -> None:
    scale, zero_point, steps = INT8_FUNCTIONS[op]
    x = quantized("x", SHAPE, 0.05, -128 if op in ("SQRT", "RSQRT") else -3)
    y = quantized("y", SHAPE, scale, zero_point)
    options = FUNCTIONS.get(op, {})
    graph = check(one(op, [x], y, **options), tmp_path, steps=steps, resolver=_resolver(op))
    assert [node.op for node in graph.nodes] == ["lookup"]


@pytest.mark.parametrize("slope", [(1, 1, 5), (1,), (5,)])
@pytest.mark.parametrize("int8", [True, False])
def test_prelu(slope, int8, tmp_path: Path) -> None:
    if int8:
        alpha = T("a", slope, "int8", RNG.integers(-128, 128, slope), 0.01, 5)
        x, y = quantized("x", SHAPE, 0.05, -3), quantized("y", SHAPE, 0.04, 9)
    else:
        alpha, x, y = T("a", slope, "float32", RNG.standard_normal(slope)), FLOAT_X, FLOAT_Y
    check(one("PRELU", [x, alpha], y), tmp_path)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_softmax(beta, tmp_path: Path) -> None:
    check(one("SOFTMAX", [T("x", (3, 7))], T("y", (3, 7)), Beta=beta), tmp_path, tolerance=1e-5)


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_int8_softmax(beta, dtype, tmp_path: Path) -> None:
    x, y = quantized("x", (3, 7), 0.1, 5), quantized("y", (3, 7), 1 / 256, -128)
    if dtype == "uint8":
        x, y = unsigned(x), unsigned(y)
    check(one("SOFTMAX", [x], y, Beta=beta), tmp_path)


# -- quantization -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantize_and_dequantize(dtype, tmp_path: Path) -> None:
    middle = quantized("q", SHAPE, 0.04, 12)
    middle = unsigned(middle) if dtype == "uint8" else middle
    content = build(
        [FLOAT_X, middle, FLOAT_Y],
        [Op("QUANTIZE", ["x"], ["q"]), Op("DEQUANTIZE", ["q"], ["y"])],
        ["x"],
        ["y"],
    )
    check(content, tmp_path)


@pytest.mark.parametrize("source", ["int8", "uint8"])
@pytest.mark.parametrize("target", ["int8", "uint8"])
def test_requantize(source, target, tmp_path: Path) -> None:
    x, y = quantized("x", SHAPE, 0.05, -3), quantized("y", SHAPE, 0.04, 20)
    x = unsigned(x) if source == "uint8" else x
    y = unsigned(y) if target == "uint8" else y
    check(one("QUANTIZE", [x], y), tmp_path)


def test_float16_weights_are_folded(tmp_path: Path) -> None:
    half = RNG.standard_normal((4, 5)).astype(np.float16)
    content = build(
        [T("x", (2, 5)), T("h", (4, 5), "float16", half), T("w", (4, 5)), T("y", (2, 4))],
        [
            Op("DEQUANTIZE", ["h"], ["w"]),
            Op(
                "FULLY_CONNECTED",
                ["x", "w"],
                ["y"],
                {"FusedActivationFunction": 0, "WeightsFormat": 0, "KeepNumDims": False},
            ),
        ],
        ["x"],
        ["y"],
    )
    graph = check(content, tmp_path)
    assert [node.op for node in graph.nodes] == ["linear"]
    np.testing.assert_array_equal(graph.constant(graph.nodes[0].inputs[1]), half.astype(np.float32))
