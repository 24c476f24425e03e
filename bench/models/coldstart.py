"""What a fresh process pays until its first result: time and memory, for every installed engine.

usage: coldstart.py DIRECTORY [--models a,b] [--engines a,b] [--threads N] [--rounds R]
                    [--json FILE]

Each round starts one process an engine. Reported are medians: importing the package (NumPy is there
already), loading the model, the first run, the sum of the last two, the process's peak memory and
what that is above the same process before the import. Files are in the operating system's cache.
"zeropoint int8 cached" reuses the file of packed weights that a process before the first round
has written.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
from engines import ENGINES, NETWORKS, PACKAGES, is_peer, zeropoint
from results import Case, write_json

Figures = dict[str, float]
CACHED = "zeropoint int8 cached"
#: Seconds. The threads of NumPy's OpenBLAS, new with the process, look for work for longer than a
#: first run takes; they would share the CPUs with every engine's.
NUMPY_SPINS = 0.2
COLUMNS = ("import ms", "load ms", "first run ms", "load + run ms", "peak MiB", "above bare MiB")


def peak_mib() -> float:
    """Of this process since it was started: getrusage() would count its parent's, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def child(
    engine: str, directory: Path, model: str, shape: Sequence[int], threads: int, cache: Path
) -> Figures:
    make = zeropoint(".gguf", cache) if engine == CACHED else ENGINES[engine]
    x = np.zeros(shape, np.float32)
    sleep(NUMPY_SPINS)
    bare = peak_mib()
    start = perf_counter()
    __import__(PACKAGES[engine.split()[0]])
    imported = perf_counter()
    run = make(directory, model, threads)
    loaded = perf_counter()
    run(x)
    done = perf_counter()
    peak = peak_mib()
    milliseconds = (imported - start, loaded - imported, done - loaded, done - imported)
    return dict(zip(COLUMNS, [*(1e3 * t for t in milliseconds), peak, peak - bare], strict=True))


def measure(
    directory: Path, model: str, names: Sequence[str], threads: int, rounds: int, cache: Path
) -> dict[str, list[Figures]]:
    """For each engine that can run the model, its figures round by round."""
    figures: dict[str, list[Figures]] = {name: [] for name in names}
    for turn in range(-1 if CACHED in names else 0, rounds):
        for name in list(figures) if turn >= 0 else [CACHED]:
            command = [sys.executable, __file__, str(directory), "--child", name]
            command += ["--models", model, "--threads", str(threads), "--cache", str(cache)]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode == 0 and turn < 0:
                continue
            if result.returncode == 0:
                figures[name].append(json.loads(result.stdout.splitlines()[-1]))
                continue
            reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"  ({model}: no {name}: {reason})")
            del figures[name]
    return figures


def print_table(title: str, figures: Mapping[str, Sequence[Figures]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("engine", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for name, rounds in figures.items():
        medians = [statistics.median(r[column] for r in rounds) for column in COLUMNS]
        style = None if is_peer(name) else "bold"
        table.add_row(name, *(f"{value:.1f}" for value in medians), style=style)
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--models", default="resnet50")
    parser.add_argument("--engines", help=f"default: all, also '{CACHED}'")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        shape = NETWORKS[args.models]
        figures = child(args.child, args.directory, args.models, shape, args.threads, args.cache)
        print(json.dumps(figures))
        return
    names = args.engines.split(",") if args.engines else [CACHED, *ENGINES]
    cases = []
    for model in args.models.split(","):
        with tempfile.TemporaryDirectory() as cache:
            rows = measure(args.directory, model, names, args.threads, args.rounds, Path(cache))
        print_table(f"{model} from a fresh process", rows)
        for column in COLUMNS:
            rounds = {name: [r[column] for r in figures] for name, figures in rows.items()}
            cases.append(Case(f"{model}, {column}", rounds))
    if args.json:
        write_json(args.json, "coldstart", cases, unit="see case")


if __name__ == "__main__":
    main()
