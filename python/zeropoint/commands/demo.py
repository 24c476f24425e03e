"""Quantize and run a small digit classifier that the package carries, and show what came of it.

Calibrates on digits of the training set, quantizes, saves and loads the model file, runs it on
held-out digits, and prints accuracy, size and latency, float32 against int8, and what each node
ran on.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from typing import TYPE_CHECKING, Any

from zeropoint import report
from zeropoint.commands import common

if TYPE_CHECKING:
    import numpy.typing as npt

    from zeropoint.demo import Digits

NAME = "demo"
HELP = "quantize and run a digit classifier that the package carries"

BATCH = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="M.gguf", help="keep the model file")
    common.add_engine(parser)


def execute(options: argparse.Namespace) -> None:
    if options.output:
        common.require_writable(options.output)
        result, explanation = demonstrate(options.output, options.threads, options.isa)
    else:
        with tempfile.TemporaryDirectory(prefix="zeropoint-demo-") as folder:
            path = os.path.join(folder, "digits.gguf")
            result, explanation = demonstrate(path, options.threads, options.isa)
    if options.json:
        report.print_json({**result, **explanation.as_dict()})
    else:
        _print(result)
        explanation.print()


def demonstrate(path: str, threads: int, isa: str) -> tuple[dict[str, Any], report.Explanation]:
    """The whole job, with the model file at ``path``: figures, and the int8 model explained."""
    import numpy as np

    import zeropoint as zp
    from zeropoint.bench import time_runs
    from zeropoint.demo import NETWORK, digits

    graph = zp.load(NETWORK)
    calibration, test = digits("calibration"), digits("test")
    stats = zp.calibrate(graph, _batches(calibration))
    zp.quantize(graph, stats, zp.Config()).save(path)

    session = zp.Session(path, threads=threads, isa=isa)
    reference = zp.Session(graph, threads=threads, isa=isa)
    float_logits = reference.run({"image": test.images})["logits"]
    int8_logits = session.run({"image": test.images})["logits"]
    noise = float(np.square(int8_logits.astype(np.float64) - float_logits).sum())
    signal = float(np.square(float_logits.astype(np.float64)).sum())
    one = {"image": test.images[:1]}
    return {
        "calibration_samples": len(calibration.labels),
        "test_samples": len(test.labels),
        "float_accuracy": _accuracy(float_logits, test),
        "int8_accuracy": _accuracy(int8_logits, test),
        "sqnr_db": 10 * float(np.log10(signal / noise)),
        "float_bytes": os.path.getsize(NETWORK),
        "int8_bytes": os.path.getsize(path),
        "float_ms": time_runs(reference, one).median_ms,
        "int8_ms": time_runs(session, one).median_ms,
    }, report.explain(session, one)


def _batches(part: Digits) -> list[dict[str, Any]]:
    return [
        {"image": part.images[begin : begin + BATCH]} for begin in range(0, len(part.images), BATCH)
    ]


def _accuracy(logits: npt.NDArray[Any], part: Digits) -> float:
    """The share of the digits whose largest logit is the right one."""
    return float((logits.argmax(1) == part.labels).mean())


def _print(result: dict[str, Any]) -> None:
    print(
        f"a digit classifier, calibrated on {result['calibration_samples']} digits, "
        f"tested on {result['test_samples']} others\n"
    )
    report.table(
        [
            report.Column("what", ""),
            report.Column("float", "float32", right=True),
            report.Column("int8", "int8", right=True),
        ],
        [
            {
                "what": "accuracy",
                "float": f"{result['float_accuracy']:.2%}",
                "int8": f"{result['int8_accuracy']:.2%}",
            },
            {
                "what": "file size",
                "float": report.bytes_text(result["float_bytes"]),
                "int8": report.bytes_text(result["int8_bytes"]),
            },
            {
                "what": "latency of one image",
                "float": f"{result['float_ms']:.4f} ms",
                "int8": f"{result['int8_ms']:.4f} ms",
            },
        ],
    )
    print(f"\nlogits, int8 against float32: SQNR {result['sqnr_db']:.1f} dB\n")
