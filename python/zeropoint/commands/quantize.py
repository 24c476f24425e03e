"""Calibrate a float network on samples, quantize it to int8, and write the model file.

The samples are read in small batches: memory does not grow with their number.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter

from zeropoint import report
from zeropoint.commands import common
from zeropoint.commands.inspect import describe
from zeropoint.errors import InputError

NAME = "quantize"
HELP = "calibrate and quantize a float network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_model(parser, what="the float network (.onnx, .tflite)")
    parser.add_argument(
        "--calibration",
        required=True,
        metavar="X.npz",
        help="samples: one array per graph input, samples along the first axis",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="M.gguf", help="where the model goes"
    )
    parser.add_argument(
        "--method",
        default="minmax",
        help="how a value's range is found: minmax (default), moving_average, percentile or mse",
    )
    parser.add_argument(
        "--percentile",
        type=float,
        metavar="P",
        help="for --method percentile: leave 100 - P percent out on either side (default: 99.99)",
    )
    parser.add_argument(
        "--keep-float",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="nodes, values or operator types that stay in float32; * and ? match anything",
    )
    parser.add_argument(
        "--per-tensor", action="store_true", help="one weight scale per tensor, not per channel"
    )
    parser.add_argument("--symmetric", action="store_true", help="activations with zero point 0")
    parser.add_argument(
        "--asymmetric-weights",
        action="store_true",
        help="weights with zero points, too; about twice the multiplications at run time",
    )
    parser.add_argument(
        "--int8-inputs", action="store_true", help="the model takes its float inputs quantized"
    )
    parser.add_argument(
        "--int8-outputs", action="store_true", help="the model gives its float outputs quantized"
    )
    parser.add_argument(
        "--batch", type=common.positive, default=8, metavar="N", help="samples at a time"
    )
    parser.add_argument(
        "--threads", type=common.positive, default=1, metavar="N", help="threads (default: 1)"
    )


def execute(options: argparse.Namespace) -> None:
    from zeropoint.calibration import calibrate
    from zeropoint.npz import NpzBatches
    from zeropoint.quantization import Config, quantize
    from zeropoint.quantization.rewrite import require_float

    began = time.perf_counter()
    common.require_writable(options.output, options.model, options.calibration)
    graph = common.load_graph(options.model)
    require_float(graph)
    specs = common.graph_inputs(graph)
    samples = NpzBatches(options.calibration, specs, common.batch_for(specs, options.batch))
    config = Config(
        weights="per_tensor" if options.per_tensor else "per_channel",
        weight_scheme="asymmetric" if options.asymmetric_weights else "symmetric",
        activations="symmetric" if options.symmetric else "asymmetric",
        input_dtype="int8" if options.int8_inputs else "float32",
        output_dtype="int8" if options.int8_outputs else "float32",
        keep_float=options.keep_float,
    )
    choice = {}
    if options.percentile is not None:
        if options.method != "percentile":
            raise InputError(
                f"--percentile goes with --method percentile, not with {options.method}"
            )
        choice["percentile"] = options.percentile
    with report.progress("calibrating", samples.samples) as advance:
        statistics = calibrate(
            graph,
            samples,
            method=options.method,
            threads=options.threads,
            progress=advance,
            **choice,
        )
    model = quantize(graph, statistics, config)
    model.save(options.output)

    described = describe(model.graph)
    counts = Counter(
        node["precision"]
        for node in described["nodes"]
        if node["op"] not in ("quantize", "dequantize")  # the border between the two
    )
    summary = {
        "output": options.output,
        "bytes": os.path.getsize(options.output),
        "float_bytes": os.path.getsize(options.model),
        "samples": samples.samples,
        "method": options.method,
        "seconds": time.perf_counter() - began,
        "int8_nodes": counts["int8"],
        "float32_nodes": counts["float32"],
        "kept_float": [
            {"node": node["name"], "op": node["op"], "reason": node["reason"]}
            for node in described["nodes"]
            if node["reason"]
        ],
    }
    if options.json:
        report.print_json(summary)
        return
    print(
        f"{options.output}: {report.bytes_text(summary['bytes'])} "
        f"({options.model}: {report.bytes_text(summary['float_bytes'])})"
    )
    print(
        f"{summary['samples']} samples, method {options.method}, {summary['seconds']:.1f} s; "
        f"{counts['int8']} int8 nodes, {counts['float32']} float32 nodes"
    )
    for kept in summary["kept_float"]:
        print(f"  float32: {kept['node']} ({kept['op']}): {kept['reason']}")
