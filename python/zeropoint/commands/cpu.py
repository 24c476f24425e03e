"""Show this CPU: ISA levels built in, detected and in use, CPUs, multiply-accumulate ceilings.

A ceiling is what one thread reaches with all operands in registers, in billions of
multiply-accumulates a second, at the level in use.
"""

from __future__ import annotations

import argparse
from typing import Any

from zeropoint import report

NAME = "cpu"
HELP = "ISA levels and ceilings of this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--isa", default="", metavar="LEVEL", help="the level in use (default: the best)"
    )


def execute(options: argparse.Namespace) -> None:
    summary = describe(options.isa)
    if options.json:
        report.print_json(summary)
        return
    report.table(
        [
            report.Column("name", "ISA level"),
            report.Column("features", "needs"),
            report.Column("state", "state"),
        ],
        [
            {
                **level,
                "state": "in use"
                if level["name"] == summary["in_use"]
                else ("detected" if level["detected"] else "not on this CPU"),
            }
            for level in summary["levels"]
        ],
    )
    print(f"\n{summary['cpus']} CPU(s) for this process")
    for precision in ("int8", "float32"):
        ceiling = summary["ceilings"][precision]
        print(
            f"{precision} ceiling, one thread: {ceiling['gmacs_per_s']:.1f} GMAC/s "
            f"({ceiling['instruction']})"
        )


def describe(isa: str) -> dict[str, Any]:
    from zeropoint import _core

    in_use = _core.resolve_isa(isa)  # first: an unknown level is an error
    measured = _core.measure_ceilings(isa)
    return {
        "levels": _core.isa_levels(),
        "detected": _core.detected_isa_levels(),
        "in_use": in_use,
        "cpus": _core.usable_cpus(),
        "ceilings": {
            precision: {
                "gmacs_per_s": measured[precision]["macs_per_s"] / 1e9,
                "instruction": measured[precision]["instruction"],
                "isa": measured[precision]["isa"],
            }
            for precision in ("int8", "float32")
        },
        "build": _core.build_info(),
    }
