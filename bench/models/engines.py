"""One way to run a model on each engine that is installed: zeropoint and its peers.

An engine is a function of (directory, model name, threads) that returns another: from a float32
input array to the first output. It raises ImportError where the peer is not installed,
FileNotFoundError where it has no file of that model.

Files of a model ``m`` in the directory; ``networks.py`` writes those that need PyTorch, and
``prepare.py`` the rest:

    m.onnx                    float32                 networks.py
    m.int8.onnx, m.dyn.onnx   by ONNX Runtime's tool  prepare.py  (static QDQ; dynamic)
    m.gguf                    by zeropoint            prepare.py
    m.pt, m.int8.pt           by PyTorch              networks.py
    m.tflite, m.int8.tflite   by LiteRT's tools       networks.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Any]
Engine = Callable[[Path, str, int], Run]

#: Input shapes of the networks that networks.py writes.
NETWORKS = {
    "resnet18": (1, 3, 224, 224),
    "resnet50": (1, 3, 224, 224),
    "mobilenet_v2": (1, 3, 224, 224),
    "mobilenet_v3_large": (1, 3, 224, 224),
    "minilm_encoder_128": (1, 128, 384),
}


def existing(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    return str(path)


def zeropoint(suffix: str, cache: Path | None = None) -> Engine:
    def make(directory: Path, model: str, threads: int) -> Run:
        import zeropoint as zp

        path = existing(directory / (model + suffix))
        source = path if suffix == ".gguf" else zp.load(path)
        session = zp.Session(source, threads=threads, cache=cache)
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


def openvino_config(threads: int, precision: str | None = None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    return config


def openvino(suffix: str, precision: str | None = None) -> Engine:
    def make(directory: Path, model: str, threads: int) -> Run:
        import openvino as ov

        path = existing(directory / (model + suffix))
        compiled = ov.Core().compile_model(path, "CPU", openvino_config(threads, precision))
        request = compiled.create_infer_request()
        return lambda x: request.infer({0: x}, share_inputs=True)[0]

    return make


def litert(suffix: str) -> Engine:
    """Where the model takes int8, the input is quantized when it is another array than the last
    time: timing, which repeats one array, leaves that step out, in favour of LiteRT."""

    def make(directory: Path, model: str, threads: int) -> Run:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(existing(directory / (model + suffix)), num_threads=threads)
        interpreter.allocate_tensors()
        takes, gives = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        last: list[Any] = [None, None]

        def stored(x: Array) -> Any:
            if takes["dtype"] == np.float32:
                return x
            if x is not last[0]:
                scale, zero = takes["quantization"]
                last[:] = x, np.clip(np.rint(x / scale) + zero, -128, 127).astype(np.int8)
            return last[1]

        def run(x: Array) -> Any:
            interpreter.set_tensor(takes["index"], stored(x))
            interpreter.invoke()
            y = interpreter.get_tensor(gives["index"])
            if gives["dtype"] == np.float32:
                return y
            scale, zero = gives["quantization"]
            return (y.astype(np.float32) - np.float32(zero)) * np.float32(scale)

        return run

    return make


def pytorch(suffix: str) -> Engine:
    def make(directory: Path, model: str, threads: int) -> Run:
        import torch

        torch.set_num_threads(threads)
        module = torch.jit.load(existing(directory / (model + suffix)))
        if suffix == ".pt":
            module = torch.jit.optimize_for_inference(module)

        def run(x: Array) -> Any:
            with torch.inference_mode():
                return module(torch.from_numpy(x)).numpy()

        return run

    return make


ENGINES: dict[str, Engine] = {
    "zeropoint int8": zeropoint(".gguf"),
    "zeropoint f32": zeropoint(".onnx"),
    "onnxruntime int8": onnxruntime(".int8.onnx"),
    "onnxruntime dynamic int8": onnxruntime(".dyn.onnx"),
    "onnxruntime f32": onnxruntime(".onnx"),
    "openvino int8": openvino(".int8.onnx"),
    "openvino bf16": openvino(".onnx", "bf16"),
    "openvino f32": openvino(".onnx", "f32"),
    "litert int8": litert(".int8.tflite"),
    "litert f32": litert(".tflite"),
    "torch int8": pytorch(".int8.pt"),
    "torch f32": pytorch(".pt"),
}

#: What has to be imported before an engine can load anything.
PACKAGES = {
    "zeropoint": "zeropoint.session",  # zeropoint itself imports its parts when they are used
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "litert": "ai_edge_litert.interpreter",
    "torch": "torch",
}


def is_peer(engine: str) -> bool:
    return not engine.startswith("zeropoint")


def prepare(
    engine: str, directory: str, model: str, shape: Sequence[int], threads: int
) -> Callable[[], object]:
    """For workers.py: one run of the model on a fixed random input."""
    run = ENGINES[engine](Path(directory), model, threads)
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    return lambda: run(x)


def installed(directory: Path, model: str, threads: int, names: list[str]) -> dict[str, Run]:
    """The engines of ``names`` that can run ``model`` here, in this process."""
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
    """The random normal samples that all tools are calibrated with."""
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape, dtype=np.float32) for _ in range(count)]
