"""One way to run a model on each engine that is installed: zeropoint and its peers.

An engine is a function of (directory, model name, threads) that returns another: from a float32
input array to the first output. It raises ImportError where the peer is not installed,
FileNotFoundError where it has no file of that model.

Files of a model ``m`` in the directory: ``m.onnx`` (float32), ``m.int8.onnx`` (quantized by ONNX
Runtime's tool), ``m.gguf`` (quantized by zeropoint). ``prepare.py`` makes the last two.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Any]
Engine = Callable[[Path, str, int], Run]


def existing(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(path)
    return str(path)


def zeropoint(suffix: str, isa: str | None = None) -> Engine:
    def make(directory: Path, model: str, threads: int) -> Run:
        import zeropoint as zp

        path = existing(directory / (model + suffix))
        source = path if suffix == ".gguf" else zp.load(path)
        session = zp.Session(source, threads=threads, isa=isa)
        name, output = session.inputs[0].name, session.outputs[0].name
        return lambda x: session.run({name: x})[output]

    return make


def onnxruntime(suffix: str) -> Engine:
    def make(directory: Path, model: str, threads: int) -> Run:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        session = ort.InferenceSession(
            existing(directory / (model + suffix)), options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        return lambda x: session.run(None, {name: x})[0]

    return make


def openvino(suffix: str, precision: str | None = None) -> Engine:
    def make(directory: Path, model: str, threads: int) -> Run:
        import openvino as ov

        config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }
        if precision:
            config["INFERENCE_PRECISION_HINT"] = precision
        compiled = ov.Core().compile_model(existing(directory / (model + suffix)), "CPU", config)
        request = compiled.create_infer_request()
        return lambda x: request.infer({0: x}, share_inputs=True)[0]

    return make


ENGINES: dict[str, Engine] = {
    "zeropoint int8": zeropoint(".gguf"),
    "zeropoint f32": zeropoint(".onnx"),
    "onnxruntime int8": onnxruntime(".int8.onnx"),
    "onnxruntime f32": onnxruntime(".onnx"),
    "openvino int8": openvino(".int8.onnx"),
    "openvino bf16": openvino(".onnx", "bf16"),
    "openvino f32": openvino(".onnx", "f32"),
}


def installed(directory: Path, model: str, threads: int, names: list[str]) -> dict[str, Run]:
    """The engines of ``names`` that can run ``model`` here, each tried once on zeros."""
    runs: dict[str, Run] = {}
    for name in names:
        try:
            runs[name] = ENGINES[name](directory, model, threads)
        except (ImportError, FileNotFoundError) as error:
            print(f"  ({model}: no {name}: {error})")
    return runs


def input_shape(path: Path) -> list[int]:
    """The shape of an ONNX model's only input; free dimensions count as 1."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    return [d.dim_value or 1 for d in dims]


def calibration_samples(shape: list[int], count: int = 8) -> list[Array]:
    """The random normal samples that both tools are calibrated with."""
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape, dtype=np.float32) for _ in range(count)]
