"""Calibrate and quantize an ONNX network, and see what int8 costs in accuracy.

    pip install "zeropoint[tools]"
    python examples/quantize_model.py model.onnx samples.npz model.gguf

``samples.npz`` has one float32 array per input of the network, samples along the first axis.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

import zeropoint as zp


def batches(path: str, size: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches of ``size`` samples. Anything that yields such dictionaries will do: calibration
    streams, so samples may come from a generator that never holds them all."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    count = len(next(iter(arrays.values())))
    for begin in range(0, count - size + 1, size):
        yield {name: array[begin : begin + size] for name, array in arrays.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibrate and quantize an ONNX network.")
    parser.add_argument("network", help="float32 .onnx file")
    parser.add_argument("samples", help=".npz file, one array per input")
    parser.add_argument("model", help="the .gguf file to write")
    parser.add_argument("--batch", type=int, default=1, help="samples at a time")
    options = parser.parse_args()

    graph = zp.load(options.network)
    stats = zp.calibrate(graph, batches(options.samples, options.batch))
    model = zp.quantize(graph, stats, zp.Config())
    model.save(options.model)

    comparison = zp.compare(graph, model, batches(options.samples, options.batch))
    for name, deviation in comparison.outputs.items():
        print(f"output '{name}': {deviation.sqnr_db:.1f} dB over {comparison.samples} samples")
    int8 = [layer for layer in comparison.layers if layer.alone is not None]
    if int8:
        worst = min(int8, key=lambda layer: layer.alone.sqnr_db if layer.alone else 0.0)
        print(f"the layer that loses most by itself: {worst.node} ({worst.op})")


if __name__ == "__main__":
    main()
