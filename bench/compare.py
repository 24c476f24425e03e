"""Hold two result files of the same benchmark against each other.

usage: compare.py BEFORE.json AFTER.json [--relative-to ENGINE] [--threshold 0.02]
                  [--fail-on-slower]

Reads what bench/models writes (--json) and what the kernel microbenchmarks write
(--benchmark_format=json, best with --benchmark_repetitions=9). For each series that both files
have: the medians, their ratio, and the range the ratio may have by the noise of the rounds: each
median lies, with a confidence of at least 95 %, between two of its sorted rounds (binomial order
statistics; with fewer than six rounds, between the least and the greatest). A series has moved when
that whole range is on one side of 1 and the ratio is off by more than the threshold.

Rounds know nothing of a machine that was slower for the whole of one run. ``--relative-to`` divides
each round by the same round of an engine that did not change, a peer, and so removes that.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIDENCE = 0.95
Key = tuple[str, str]  # case, engine
Series = dict[Key, list[float]]


def read(document: dict[str, Any]) -> Series:
    """The rounds of every series; less is better.

    Raises:
        ValueError: this is no result file.
    """
    if "series" in document:
        return {(s["case"], s["engine"]): list(map(float, s["rounds"])) for s in document["series"]}
    if "benchmarks" in document:  # Google Benchmark
        rounds: Series = {}
        for run in document["benchmarks"]:
            if run.get("run_type", "iteration") == "iteration" and "cpu_time" in run:
                name = run.get("run_name", run["name"])
                kernel, _, layer = name.partition("/")
                rounds.setdefault((layer, kernel), []).append(float(run["cpu_time"]))
        return rounds
    raise ValueError("neither a result of bench/models nor of Google Benchmark")


def relative(series: Series, engine: str) -> Series:
    """Each round divided by the same round of ``engine``; cases without it are left out."""
    return {
        (case, name): [a / b for a, b in zip(rounds, series[case, engine], strict=True)]
        for (case, name), rounds in series.items()
        if name != engine and (case, engine) in series
    }


def median_range(rounds: Sequence[float]) -> tuple[float, float]:
    """An interval that holds the median with at least 95 % confidence, if the rounds allow."""
    ordered, n = sorted(rounds), len(rounds)
    cut, outside = 0, 1 / 2**n  # outside: the chance that the median is below ordered[cut]
    while 2 * (cut + 1) < n:
        outside += math.comb(n, cut + 1) / 2**n
        if 2 * outside > 1 - CONFIDENCE:
            break
        cut += 1
    return ordered[cut], ordered[n - 1 - cut]


@dataclass(frozen=True)
class Change:
    case: str
    engine: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    verdict: str  # "faster", "slower" or ""


def compare(before: Series, after: Series, threshold: float = 0.02) -> list[Change]:
    """What became of each series that both have, in the order of ``after``."""
    changes = []
    for (case, engine), rounds in after.items():
        if (case, engine) not in before:
            continue
        old, new = statistics.median(before[case, engine]), statistics.median(rounds)
        old_low, old_high = median_range(before[case, engine])
        new_low, new_high = median_range(rounds)
        ratio, low, high = new / old, new_low / old_high, new_high / old_low
        verdict = ""
        if high < 1 and ratio < 1 - threshold:
            verdict = "faster"
        elif low > 1 and ratio > 1 + threshold:
            verdict = "slower"
        changes.append(Change(case, engine, old, new, ratio, low, high, verdict))
    return changes


def print_changes(changes: Sequence[Change]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("case", "engine"):
        table.add_column(heading)
    for heading in ("before", "after", "ratio", "by noise", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    styles = {"faster": "green", "slower": "red", "": None}
    for c in changes:
        noise = f"{c.low:.3f} - {c.high:.3f}"
        table.add_row(
            c.case, c.engine, f"{c.before:.4g}", f"{c.after:.4g}", f"{c.ratio:.3f}", noise,
            c.verdict, style=styles[c.verdict],
        )  # fmt: skip
    console = Console()
    console.width = max(console.width, 120)
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--relative-to", metavar="ENGINE")
    parser.add_argument("--threshold", type=float, default=0.02)
    parser.add_argument("--fail-on-slower", action="store_true", help="exit status 1 when any is")
    args = parser.parse_args(arguments)
    both: list[Series] = []
    for path in (args.before, args.after):
        try:
            series = read(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            parser.error(f"{path}: cannot be read as results: {error}")
        both.append(relative(series, args.relative_to) if args.relative_to else series)
    changes = compare(both[0], both[1], args.threshold)
    if not changes:
        parser.error("the two files have no series in common")
    print_changes(changes)
    moved = [change.verdict for change in changes]
    slower, faster = moved.count("slower"), moved.count("faster")
    print(f"{len(changes)} series: {faster} faster, {slower} slower, the others within the noise")
    return 1 if args.fail_on_slower and slower else 0


if __name__ == "__main__":
    sys.exit(main())
