"""What calibration costs: time against plain float inference, and peak memory.

usage: calibration.py MODEL.onnx [--samples N] [--method percentile]

Two sample counts, each in a fresh process, so that peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from coldstart import peak_mib
from engines import Array, input_shape


def samples(shape: list[int], count: int) -> Iterator[Array]:
    generator = np.random.default_rng(0)
    for _ in range(count):
        yield generator.standard_normal(shape, dtype=np.float32)


def measure(path: Path, count: int, method: str) -> dict[str, float]:
    import zeropoint as zp

    shape = input_shape(path)
    graph = zp.load(path)
    name = graph.inputs[0]
    start = time.perf_counter()
    session = zp.Session(graph)
    for x in samples(shape, count):
        session.run({name: x})
    plain = time.perf_counter() - start
    start = time.perf_counter()
    zp.calibrate(graph, ({name: x} for x in samples(shape, count)), method=method)
    calibrated = time.perf_counter() - start
    return {
        "samples": count,
        "inference_s": plain,
        "calibration_s": calibrated,
        "ratio": calibrated / plain,
        "peak_mib": peak_mib(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--method", default="percentile")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.model, args.samples, args.method)))
        return
    for count in (max(1, args.samples // 4), args.samples):
        command = [sys.executable, __file__, str(args.model), "--child"]
        command += ["--samples", str(count), "--method", args.method]
        result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(
            f"{args.model.name} {args.method}, {count} samples: {result['calibration_s']:.2f} s, "
            f"{result['ratio']:.2f} x float inference, peak {result['peak_mib']:.0f} MiB"
        )


if __name__ == "__main__":
    main()
