"""Time whole models on every installed engine, round-robin in one run.

usage: latency.py DIRECTORY [--models a,b] [--threads N] [--rounds R] [--engines a,b] [--json FILE]

Each engine is warmed up, then every round gives each engine one slice of time in turn, so that a
slow spell of the machine falls on all of them. Reported: the median over rounds, in ms, and its
ratio to the best peer of any precision.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from engines import ENGINES, Array, Run, input_shape, installed


def time_slice(run: Run, x: Array, seconds: float) -> float:
    """Milliseconds per run over a slice of at least ``seconds``."""
    run(x)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        run(x)
        count += 1
    return elapsed / count * 1e3


def round_robin(runs: dict[str, Run], x: Array, rounds: int) -> dict[str, list[float]]:
    for run in runs.values():
        time_slice(run, x, 0.3)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(time_slice(run, x, 0.15))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--models", default="resnet18,resnet50,mobilenet_v2,mobilenet_v3_large")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    report = {}
    for model in args.models.split(","):
        shape = input_shape(args.directory / f"{model}.onnx")
        x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
        runs = installed(args.directory, model, args.threads, args.engines.split(","))
        times = round_robin(runs, x, args.rounds)
        medians = {name: statistics.median(t) for name, t in times.items()}
        peers = [ms for name, ms in medians.items() if not name.startswith("zeropoint")]
        best = min(peers, default=float("nan"))
        print(f"{model}, {args.threads} thread(s)")
        for name, ms in sorted(medians.items(), key=lambda item: item[1]):
            low = min(times[name])
            print(f"  {name:18} {ms:8.2f} ms  (min {low:.2f})  {ms / best:5.2f} x best peer")
        report[model] = {"threads": args.threads, "median_ms": medians, "rounds_ms": times}
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
