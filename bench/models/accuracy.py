"""Signal-to-quantization-noise ratio of quantized models against their float originals.

usage: accuracy.py DIRECTORY [--models a,b] [--samples N]

    SQNR = 10 log10(sum f^2 / sum (f - q)^2) dB over the first output of fresh random samples,

with f from onnxruntime in float32, q from every engine of engines.py that has int8 files of the
model; all of them were calibrated with the same data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from engines import ENGINES, input_shape, installed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--models", default="resnet18,resnet50,mobilenet_v2,mobilenet_v3_large")
    parser.add_argument("--samples", type=int, default=16)
    args = parser.parse_args()
    reference = "onnxruntime f32"
    names = [reference, *(n for n in ENGINES if n.endswith("int8")), "zeropoint f32"]
    for model in args.models.split(","):
        shape = input_shape(args.directory / f"{model}.onnx")
        runs = installed(args.directory, model, 1, names)
        generator = np.random.default_rng(7)
        signal, noise = 0.0, dict.fromkeys(runs, 0.0)
        for _ in range(args.samples):
            x = generator.standard_normal(shape, dtype=np.float32)
            outputs = {name: np.array(run(x), np.float64) for name, run in runs.items()}
            signal += float(np.sum(outputs[reference] ** 2))
            for name, y in outputs.items():
                noise[name] += float(np.sum((outputs[reference] - y) ** 2))
        print(model)
        for name in runs:
            if name != reference:
                print(f"  {name:18} {10 * np.log10(signal / max(noise[name], 1e-300)):6.2f} dB")


if __name__ == "__main__":
    main()
