"""What a measurement leaves behind: summaries, a table, a JSON file, a plot.

A *series* is one figure a round of one engine in one case: milliseconds as a rule, and less is
better always. The series of a case come from the same rounds, so their ratios are taken round by
round.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from engines import is_peer

Rounds = dict[str, list[float]]  # engine -> milliseconds, one a round
DISTRIBUTIONS = ("zeropoint", "onnxruntime", "openvino", "ai-edge-litert", "torch", "numpy")


@dataclass(frozen=True)
class Row:
    engine: str
    median: float
    minimum: float
    #: (third quartile - first quartile) / median: how noisy the rounds were.
    spread: float
    #: Median over rounds of (this engine / best peer); the best peer has the least median.
    ratio: float | None


def summarize(rounds: Mapping[str, Sequence[float]]) -> list[Row]:
    """A row an engine, fastest first."""
    medians = {engine: statistics.median(times) for engine, times in rounds.items()}
    peers = {engine: ms for engine, ms in medians.items() if is_peer(engine)}
    best = min(peers, key=lambda engine: peers[engine]) if peers else None
    rows = []
    for engine, times in rounds.items():
        spread = 0.0
        if len(times) > 1:
            quartiles = statistics.quantiles(times, n=4, method="inclusive")
            spread = (quartiles[2] - quartiles[0]) / medians[engine]
        ratio = None
        if best is not None:
            ratio = statistics.median(a / b for a, b in zip(times, rounds[best], strict=True))
        rows.append(Row(engine, medians[engine], min(times), spread, ratio))
    return sorted(rows, key=lambda row: row.median)


@dataclass
class Case:
    """One thing that several engines were timed on."""

    name: str
    rounds: Rounds
    #: Multiply-accumulates of one run, and how many a second the machine can do with all the
    #: threads used, measured in the same run; 0 where unknown.
    macs: float = 0.0
    ceiling: float = 0.0

    def speed(self, milliseconds: float) -> float:
        """Multiply-accumulates a second."""
        return self.macs / milliseconds * 1e3


def title(subject: str, threads: int, clock: str, held_to: str | None = None) -> str:
    """The name of a case: what was timed, and under which conditions."""
    parts = [subject, f"{threads} thread{'s' * (threads > 1)}"]
    if clock == "cpu":
        parts.append("CPU time")
    if held_to:
        parts.append(f"held to {held_to.upper()}")
    return ", ".join(parts)


def print_table(case: Case) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=case.name, title_justify="left")
    table.add_column("engine", no_wrap=True)
    for heading in ("median ms", "min ms", "spread", "x best peer", "GMAC/s", "of ceiling"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in summarize(case.rounds):
        speed = case.speed(row.median)
        table.add_row(
            row.engine,
            f"{row.median:.3f}",
            f"{row.minimum:.3f}",
            f"{row.spread:.0%}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            f"{speed / 1e9:.1f}" if case.macs else "",
            f"{speed / case.ceiling:.0%}" if case.macs and case.ceiling else "",
            style=None if is_peer(row.engine) else "bold",
        )
    console = Console()
    console.width = max(console.width, 100)  # whole columns in files and pipes, too
    console.print(table)


def machine() -> dict[str, Any]:
    """What the figures depend on besides the engines' code."""
    versions = {}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    cpu = platform.processor()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "CPU part")):
                cpu = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {"cpu": cpu, "system": platform.platform(), "versions": versions}


def to_json(benchmark: str, cases: Sequence[Case], unit: str = "ms") -> dict[str, Any]:
    series = [
        {"case": case.name, "engine": engine, "rounds": rounds}
        for case in cases
        for engine, rounds in case.rounds.items()
    ]
    work = {c.name: {"macs": c.macs, "ceiling_macs_per_s": c.ceiling} for c in cases if c.macs}
    return {
        "benchmark": benchmark,
        "unit": unit,
        "machine": machine(),
        "work": work,
        "series": series,
    }


def write_json(path: Path, benchmark: str, cases: Sequence[Case], unit: str = "ms") -> None:
    path.write_text(json.dumps(to_json(benchmark, cases, unit), indent=1) + "\n")


def plot(path: Path, cases: Sequence[Case]) -> None:
    """Bars of the medians with lines from the first to the third quartile, a panel a case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    height = sum(0.7 + 0.25 * len(case.rounds) for case in cases)
    figure, axes = pyplot.subplots(
        len(cases), 1, figsize=(8, height), squeeze=False, layout="constrained",
        height_ratios=[0.7 + 0.25 * len(case.rounds) for case in cases],
    )  # fmt: skip
    for axis, case in zip(axes[:, 0], cases, strict=True):
        rows = summarize(case.rounds)
        for y, row in enumerate(rows):
            color = "tab:gray" if is_peer(row.engine) else "tab:blue"
            half = row.spread * row.median / 2
            axis.barh(y, row.median, xerr=half, color=color, ecolor="black", capsize=2)
            axis.text(row.median + half, y, f"  {row.median:.3g}", va="center", fontsize=8)
        if case.macs and case.ceiling:
            axis.axvline(case.macs / case.ceiling * 1e3, color="tab:red", linestyle=":")
        axis.set_yticks(range(len(rows)), [row.engine for row in rows], fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.set_title(f"{case.name}: ms (dotted: int8 ceiling)", loc="left", fontsize=9)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
