"""The node tests of the ONNX project, run against the engine; as a script, the table of results.

usage: python conformance.py > table.md

A test belongs to zeropoint when the importer has a handler for every operator in it, or when it
has a quantization operator. It then passes, or raises UnsupportedError, whose message is the reason
in the table.
"""

from __future__ import annotations

import functools
import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx.backend.test.loader import load_model_tests

import zeropoint as zp
from zeropoint import onnx_backend
from zeropoint.importers.onnx import HANDLERS

#: The operators under test; others (Cast, Shape, Constant ...) may appear beside them.
OPERATORS = (
    "Abs Add ArgMax AveragePool BatchNormalization Clip Concat Conv ConvInteger ConvTranspose "
    "DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Erf Exp Flatten Gelu Gemm "
    "GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity LayerNormalization LeakyRelu "
    "Log LogSoftmax MatMul MatMulInteger Max MaxPool Min Mish Mul Neg PRelu Pad Pow QLinearConv "
    "QLinearMatMul QuantizeLinear Reciprocal ReduceMean Relu Reshape Resize Sigmoid Slice "
    "Softmax Softplus Split Sqrt Squeeze Sub Sum Swish Tanh Transpose Unsqueeze Upsample"
).split()

#: The tests of these are in the table whatever stands beside them.
QUANTIZATION = {
    "ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv",
    "QLinearMatMul", "QuantizeLinear",
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    name: str
    operators: tuple[str, ...]
    status: str  # "passed", "unsupported" or "failed"
    reason: str = ""


@functools.cache
def cases() -> dict[str, Any]:
    """Every node test of OPERATORS that is zeropoint's, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    operators = {t.name: {n.op_type for n in t.model.graph.node} for t in tests}
    return {
        t.name: t
        for t in tests
        if operators[t.name] & QUANTIZATION
        or (operators[t.name] <= set(HANDLERS) and operators[t.name] & set(OPERATORS))
    }


def same(expected: Any, actual: np.ndarray, rtol: float, atol: float) -> str:
    """What is wrong with ``actual``; "" when it is right within the suite's own tolerance."""
    expected = np.asarray(expected)
    if expected.dtype != actual.dtype:
        return f"dtype is {actual.dtype}, expected {expected.dtype}"
    if expected.shape != actual.shape:
        return f"shape is {actual.shape}, expected {expected.shape}"
    if not np.allclose(expected, actual, rtol=rtol, atol=atol, equal_nan=True):
        return f"values differ by up to {np.nanmax(np.abs(expected - actual))}"
    return ""


def run(name: str) -> Result:
    case = cases()[name]
    operators = tuple(sorted({node.op_type for node in case.model.graph.node}))
    try:
        rep = onnx_backend.prepare(case.model)
        for inputs, expected in case.data_sets:
            for e, actual in zip(expected, rep.run(inputs), strict=True):
                wrong = same(e, actual, case.rtol, case.atol)
                if wrong:
                    return Result(name, operators, "failed", wrong)
    except zp.UnsupportedError as error:
        reason = re.sub(r"\s+", " ", str(error).split(": ", 1)[-1])
        return Result(name, operators, "unsupported", reason)
    return Result(name, operators, "passed")


def main() -> None:
    results = [run(name) for name in sorted(cases())]
    passed = sum(r.status == "passed" for r in results)
    print(f"# ONNX node tests: {passed} of {len(results)} pass\n")
    print("| test | operators | result | reason |\n|---|---|---|---|")
    for r in results:
        print(f"| {r.name} | {', '.join(r.operators)} | {r.status} | {r.reason} |")


if __name__ == "__main__":
    main()
