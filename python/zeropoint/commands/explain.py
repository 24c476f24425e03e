"""Show what each node of a model runs on: precision, kernel, ISA level, time, and why if float.

Times are medians on random inputs. A node's share is of the sum of all nodes' times; its share of
the ceiling is its speed beside what the instructions of the ISA level in use reach with all
operands in registers, measured in the same run. Work is counted as the operator defines it, so
convolutions that need fewer products (kernels named winograd) may pass the ceiling.
"""

from __future__ import annotations

import argparse

from zeropoint import report
from zeropoint.commands import common

NAME = "explain"
HELP = "precision, kernel, ISA level and time of each node"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_model(parser)
    common.add_engine(parser)
    common.add_cache(parser)
    common.add_shapes(parser)
    parser.add_argument(
        "--repeats", type=common.positive, default=20, metavar="N", help="runs (default: 20)"
    )


def execute(options: argparse.Namespace) -> None:
    session = common.open_session(options)
    explanation = report.explain(
        session, common.example_inputs(session, options), repeats=options.repeats
    )
    if options.json:
        report.print_json({"model": options.model, **explanation.as_dict()})
    else:
        explanation.print()
