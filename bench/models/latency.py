"""Time whole models on every installed engine, round-robin in one run.

usage: latency.py DIRECTORY [--models a,b] [--threads 1,2] [--rounds R] [--engines a,b]
                  [--hold-to avx2] [--clock cpu] [--json FILE] [--plot FILE.png]

Each engine runs in a child process of its own, and gives one slice of time a round. Reported: the
median over rounds, the least, the spread between the quartiles, and the median of the ratios to the
best peer of any precision, round by round. With several thread counts, also the speed-up of each
engine over the first of them. ``--hold-to avx2`` compares engines that can be kept from using
anything newer. ``--clock cpu`` counts CPU time, for one thread on a machine with other work.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import ExitStack
from pathlib import Path

from engines import ENGINES, NETWORKS, input_shape
from results import Case, Rounds, plot, print_table, title, write_json
from workers import CLOCKS, Worker, WorkerError, round_robin

from zeropoint import Session, _core

#: How to hold engines to AVX2; ONNX Runtime and LiteRT cannot be held.
HOLD_TO_AVX2 = {
    "zeropoint": {"ZEROPOINT_ISA": "avx2"},
    "openvino": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "torch": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}


def measure(args: argparse.Namespace, model: str, names: list[str], threads: int) -> Case:
    directory: Path = args.directory
    held = HOLD_TO_AVX2 if args.hold_to else {}
    shape = input_shape(directory / f"{model}.onnx")
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name in names:
            spec: dict[str, object] = {"engine": name, "directory": str(directory), "model": model}
            spec |= {"shape": shape, "threads": threads}
            try:
                worker = Worker("engines", spec, held.get(name.split()[0]), args.clock)
            except WorkerError as error:
                print(f"  ({model}: no {name}: {error})")
                continue
            workers[name] = stack.enter_context(worker)
        times = round_robin(workers, args.rounds)
    ceiling = _core.measure_ceilings(args.hold_to or "")["int8"]["macs_per_s"] * threads
    quantized, macs = directory / f"{model}.gguf", 0
    if quantized.exists():
        macs = sum(row["macs"] for row in Session(quantized).nodes())
    name = title(model, threads, args.clock, args.hold_to)
    return Case(name, times, float(macs), ceiling)


def print_scaling(model: str, by_threads: dict[int, Rounds]) -> None:
    """How many times faster each engine is than with the first number of threads."""
    base, *others = by_threads
    print(f"{model}: speed-up over {base} thread{'s' * (base > 1)}")
    for engine, times in by_threads[base].items():
        speedups = [
            f"{n} threads {statistics.median(times) / statistics.median(by_threads[n][engine]):.2f}"
            for n in others
            if engine in by_threads[n]
        ]
        print(f"  {engine:26}{', '.join(speedups)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--models", default=",".join(NETWORKS))
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--threads", default="1")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--hold-to", choices=["avx2"])
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    names = args.engines.split(",")
    if unknown := set(names) - set(ENGINES):
        parser.error(f"unknown engines {sorted(unknown)}; there are {', '.join(ENGINES)}")
    if args.hold_to:
        names = [n for n in names if n.split()[0] in HOLD_TO_AVX2 and not n.endswith("bf16")]

    cases = []
    for model in args.models.split(","):
        by_threads: dict[int, Rounds] = {}
        for threads in map(int, args.threads.split(",")):
            case = measure(args, model, names, threads)
            cases.append(case)
            by_threads[threads] = case.rounds
            print_table(case)
        if len(by_threads) > 1:
            print_scaling(model, by_threads)
    if args.json:
        write_json(args.json, "latency", cases)
    if args.plot:
        plot(args.plot, cases)


if __name__ == "__main__":
    main()
