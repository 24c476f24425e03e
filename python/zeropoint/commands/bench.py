"""Time a model on random inputs, beside the machine's multiply-accumulate ceiling.

The ceiling is what the instructions of the ISA level in use reach with all operands in registers,
measured in the same run, times the number of threads. For a model with both int8 and float32
multiply-accumulates it is the speed at which both kinds would run at their own ceilings.
"""

from __future__ import annotations

import argparse

from zeropoint import report
from zeropoint.commands import common

NAME = "bench"
HELP = "time a model against the machine's ceiling"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_model(parser)
    common.add_engine(parser)
    common.add_cache(parser)
    common.add_shapes(parser)
    parser.add_argument(
        "--repeats", type=common.positive, metavar="N", help="runs (default: a second's worth)"
    )


def execute(options: argparse.Namespace) -> None:
    from zeropoint.bench import bench

    session = common.open_session(options)
    inputs = common.example_inputs(session, options)
    result = {"model": options.model, **bench(session, inputs, options.repeats)}
    if options.json:
        report.print_json(result)
        return
    print(f"{options.model}: {result['threads']} thread(s), ISA level {result['isa']}")
    print(
        f"median {result['median_ms']:.3f} ms, min {result['min_ms']:.3f} ms, {result['runs']} runs"
    )
    print(
        f"{result['gmacs']:.4f} GMAC a run: {result['gmacs_per_s']:.1f} GMAC/s, "
        f"{result['share_of_ceiling']:.0%} of the ceiling {result['ceiling_gmacs_per_s']:.1f}"
    )
