"""Quantize every float model of a directory, by zeropoint and by ONNX Runtime's own tool.

usage: prepare.py DIRECTORY    (m.onnx -> m.gguf and m.int8.onnx; existing files are kept)

Both are calibrated with the same 8 random normal samples (min-max); ONNX Runtime writes QDQ with
uint8 activations and per-channel int8 weights.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from engines import Array, calibration_samples, input_shape

import zeropoint as zp


def quantize_with_onnxruntime(source: Path, target: Path, samples: list[Array]) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.samples = iter(samples)

        def get_next(self) -> dict[str, Array] | None:
            sample = next(self.samples, None)
            return None if sample is None else {"input": sample}

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    directory: Path = parser.parse_args().directory
    for source in sorted(p for p in directory.glob("*.onnx") if p.name.count(".") == 1):
        samples = calibration_samples(input_shape(source))
        target = source.with_suffix(".int8.onnx")
        if not target.exists():
            quantize_with_onnxruntime(source, target, samples)
            print("wrote", target.name)
        target = source.with_suffix(".gguf")
        if target.exists():
            continue
        try:
            graph = zp.load(source)
        except zp.UnsupportedError as error:
            print(error)
            continue
        statistics = zp.calibrate(graph, ({graph.inputs[0]: x} for x in samples))
        zp.quantize(graph, statistics).save(target)
        print("wrote", target.name)


if __name__ == "__main__":
    main()
