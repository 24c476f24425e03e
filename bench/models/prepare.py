"""Quantize every float model of a directory, by zeropoint and by ONNX Runtime's own tool.

usage: prepare.py DIRECTORY

For every m.onnx it writes m.gguf, m.int8.onnx and, where m has no convolutions, m.dyn.onnx (weights
quantized, activations at run time). Existing files are kept. The first two are calibrated with the
same 8 random normal samples (min-max); ONNX Runtime writes QDQ with uint8 activations and
per-channel int8 weights.
"""

from __future__ import annotations

import argparse
import shutil
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
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        shutil.move(quantized, target)


def quantize_dynamically(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        quantized = Path(folder) / "quantized.onnx"
        quantize_dynamic(source, quantized, weight_type=QuantType.QInt8, per_channel=True)
        shutil.move(quantized, target)


def has_convolutions(path: Path) -> bool:
    import onnx

    return any(node.op_type == "Conv" for node in onnx.load(str(path)).graph.node)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    directory: Path = parser.parse_args().directory
    for source in sorted(p for p in directory.glob("*.onnx") if p.name.count(".") == 1):
        samples = calibration_samples(input_shape(source))
        target = source.with_suffix(".int8.onnx")
        if not target.exists():
            quantize_with_onnxruntime(source, target, samples)
            print("wrote", target.name)
        target = source.with_suffix(".dyn.onnx")
        if not target.exists() and not has_convolutions(source):
            quantize_dynamically(source, target)
            print("wrote", target.name)
        target = source.with_suffix(".gguf")
        if target.exists():
            continue
        try:
            graph = zp.load(source)
            statistics = zp.calibrate(graph, ({graph.inputs[0]: x} for x in samples))
            zp.quantize(graph, statistics).save(target)
        except zp.Error as error:
            print(error)
            continue
        print("wrote", target.name)


if __name__ == "__main__":
    main()
