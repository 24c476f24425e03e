"""Measure the quantization error of a model against the float network it was made from.

A row per layer: its error alone (fed with the float values of its inputs) and accumulated (the
quantized model's own value), as the signal-to-quantization-noise ratio in dB: 20 dB is an error of
a tenth of the signal, 40 dB of a hundredth.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from zeropoint import report
from zeropoint.commands import common

if TYPE_CHECKING:
    from zeropoint.comparison import Comparison, Deviation

NAME = "compare"
HELP = "quantization error per layer and at the outputs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_model(parser, "float_model", "the float network (.onnx, .tflite)")
    common.add_model(parser, "model", "the quantized model (.gguf)")
    parser.add_argument("--data", required=True, metavar="X.npz", help="samples to compare on")
    parser.add_argument(
        "--batch", type=common.positive, default=8, metavar="N", help="samples at a time"
    )
    common.add_engine(parser)


def execute(options: argparse.Namespace) -> None:
    from zeropoint.comparison import compare
    from zeropoint.npz import NpzBatches

    graph = common.load_graph(options.float_model)
    quantized = common.load_graph(options.model)
    specs = common.graph_inputs(graph)
    samples = NpzBatches(options.data, specs, common.batch_for(specs, options.batch))
    with report.progress("comparing", samples.samples) as advance:
        result = compare(
            graph,
            quantized,
            samples,
            threads=options.threads,
            isa=options.isa,
            progress=advance,
        )
    if options.json:
        report.print_json(
            {"float_model": options.float_model, "model": options.model, **result.as_dict()}
        )
    else:
        print_comparison(result)


def print_comparison(result: Comparison) -> None:
    rows = [
        {
            "node": layer.node,
            "op": layer.op,
            "precision": layer.precision,
            "alone": None if layer.alone is None else _decibels(layer.alone),
            "accumulated": _decibels(layer.accumulated),
        }
        for layer in result.layers
    ]
    report.table(
        [
            report.Column("node", "node"),
            report.Column("op", "op"),
            report.Column("precision", "precision"),
            report.Column("alone", "alone dB", right=True),
            report.Column("accumulated", "accumulated dB", right=True),
        ],
        rows,
        f"SQNR over {result.samples} samples",
    )
    for name, deviation in result.outputs.items():
        print(f"output '{name}': {_decibels(deviation)} dB, rms error {deviation.rms:.4g}")


def _decibels(deviation: Deviation) -> str:
    db = deviation.sqnr_db
    return "exact" if db == math.inf else f"{db:.1f}"
