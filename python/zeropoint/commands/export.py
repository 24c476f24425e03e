"""Write a model as an ONNX file, so that it runs in other runtimes.

Quantized models are written in QDQ form: float operators between QuantizeLinear and
DequantizeLinear nodes with the model's own scales and zero points, which runtimes fuse.
"""

from __future__ import annotations

import argparse
import os

from zeropoint import report
from zeropoint.commands import common

NAME = "export"
HELP = "write a model as ONNX"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_model(parser)
    parser.add_argument("-o", "--output", required=True, metavar="M.onnx", help="the file to write")


def execute(options: argparse.Namespace) -> None:
    from zeropoint.model import Model

    common.require_writable(options.output, options.model)
    graph = common.load_graph(options.model)
    Model(graph).to_onnx(options.output)
    size = os.path.getsize(options.output)
    if options.json:
        report.print_json(
            {"model": options.model, "output": options.output, "format": "onnx",
             "file_bytes": size, "nodes": len(graph.nodes)}
        )  # fmt: skip
    else:
        print(f"{options.output}: {len(graph.nodes)} nodes, {size} bytes of ONNX")
