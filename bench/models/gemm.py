"""Time the int8 matrix product of every engine, round-robin in one run.

usage: gemm.py [--shapes 128x384x384,...] [--threads N] [--rounds R] [--json FILE]
               [--clock cpu] [--plot FILE.png]

C[M, N] = A[M, K] x B[K, N] with 8-bit activations and int8 weights, one scale per column.
zeropoint, ONNX Runtime and OpenVINO run a model of one layer with 8 bits in and out; "torch
quantized linear" does the same work, "torch int_mm" stops at int32.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from engines import openvino_config
from results import Case, plot, print_table, title, write_json
from workers import CLOCKS, Worker, WorkerError, round_robin

from zeropoint import _core

Run = Callable[[], object]

SHAPES = (
    "1x4096x4096,1x1000x2048,4x4096x4096,49x512x4608,196x1024x256,128x384x384,128x1536x384,"
    "128x384x1536,784x128x1152,3136x64x576,1024x1024x1024,2048x2048x2048"
)
SCALE_X, ZERO_X, SCALE_W, SCALE_Y, ZERO_Y = 0.02, 120, 0.01, 1.3, 128  # zero points of uint8


def operands(m: int, n: int, k: int) -> tuple[Any, Any]:
    """uint8 activations [M, K] and int8 weights [K, N]."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (m, k), dtype=np.uint8)
    return x, generator.integers(-127, 128, (k, n), dtype=np.int8)


def zeropoint_linear(m: int, n: int, k: int, threads: int) -> Run:
    from zeropoint import Session
    from zeropoint.graph import Graph, Node, QuantParams, Value

    x, w = operands(m, n, k)
    graph = Graph("gemm", inputs=["x"], outputs=["y"])
    graph.add_value(Value("x", "int8", (m, k), QuantParams.per_tensor(SCALE_X, ZERO_X - 128)))
    graph.add_value(Value("y", "int8", (m, n), QuantParams.per_tensor(SCALE_Y, ZERO_Y - 128)))
    per_column = QuantParams(np.full(n, SCALE_W, np.float32), np.zeros(n, np.int32), 0)
    graph.add_constant("w", np.ascontiguousarray(w.T), per_column)
    graph.nodes = [Node("linear", "linear", ["x", "w"], ["y"])]
    session = Session(graph, threads=threads)
    inputs = {"x": (x ^ 128).view(np.int8)}
    return lambda: session.run(inputs)


def qdq_model(m: int, n: int, k: int) -> bytes:
    """DequantizeLinear, MatMul, QuantizeLinear: what engines fuse into an integer product."""
    from onnx import TensorProto, helper, numpy_helper

    _, w = operands(m, n, k)
    constants = {
        "scale_x": np.float32(SCALE_X),
        "zero_x": np.uint8(ZERO_X),
        "w": w,
        "scale_w": np.full(n, SCALE_W, np.float32),
        "zero_w": np.zeros(n, np.int8),
        "scale_y": np.float32(SCALE_Y),
        "zero_y": np.uint8(ZERO_Y),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "scale_x", "zero_x"], ["real_x"]),
        helper.make_node("DequantizeLinear", ["w", "scale_w", "zero_w"], ["real_w"], axis=1),
        helper.make_node("MatMul", ["real_x", "real_w"], ["real_y"]),
        helper.make_node("QuantizeLinear", ["real_y", "scale_y", "zero_y"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "gemm",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [m, k])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [m, n])],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def onnxruntime_qdq(m: int, n: int, k: int, threads: int) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(qdq_model(m, n, k), options, providers=["CPUExecutionProvider"])
    inputs = {"x": operands(m, n, k)[0]}
    return lambda: session.run(None, inputs)


def openvino_qdq(m: int, n: int, k: int, threads: int) -> Run:
    import openvino as ov

    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(qdq_model(m, n, k)), "CPU", openvino_config(threads)
    )
    request = compiled.create_infer_request()
    inputs = {0: operands(m, n, k)[0]}
    return lambda: request.infer(inputs, share_inputs=True)


def torch_int_mm(m: int, n: int, k: int, threads: int) -> Run:
    import torch

    torch.set_num_threads(threads)
    x, w = operands(m, n, k)
    a, b = torch.from_numpy((x ^ 128).view(np.int8)), torch.from_numpy(w)
    return lambda: torch._int_mm(a, b)


def torch_quantized_linear(m: int, n: int, k: int, threads: int) -> Run:
    import torch

    torch.set_num_threads(threads)
    x, w = operands(m, n, k)
    layer = torch.ao.nn.quantized.Linear(k, n)
    weights = torch.from_numpy(np.ascontiguousarray(w.T).astype(np.float32) * SCALE_W)
    # Zero points of another type than int64 would choose another scheme, and wrong products.
    scales, zeros = torch.full((n,), SCALE_W), torch.zeros(n, dtype=torch.int64)
    layer.set_weight_bias(
        torch.quantize_per_channel(weights, scales, zeros, 0, torch.qint8), torch.zeros(n)
    )
    layer.scale, layer.zero_point = SCALE_Y, ZERO_Y
    quantized = torch._make_per_tensor_quantized_tensor(torch.from_numpy(x), SCALE_X, ZERO_X)
    return lambda: layer(quantized)


ENGINES: dict[str, Callable[[int, int, int, int], Run]] = {
    "zeropoint": zeropoint_linear,
    "onnxruntime": onnxruntime_qdq,
    "openvino": openvino_qdq,
    "torch int_mm": torch_int_mm,
    "torch quantized linear": torch_quantized_linear,
}


def expected(m: int, n: int, k: int) -> tuple[Any, Any]:
    """The exact product in int8 domains, and the requantized one as uint8, both as float64."""
    x, w = operands(m, n, k)
    signed = (x.astype(np.float64) - 128) @ w.astype(np.float64)  # whole numbers below 2^53
    acc = signed + (128 - ZERO_X) * w.sum(0, dtype=np.int64)
    return signed, np.clip(np.rint(acc * (SCALE_X * SCALE_W / SCALE_Y)) + ZERO_Y, 0, 255)


def check(engine: str, result: Any, m: int, n: int, k: int) -> None:
    """A wrong product is no product, however fast.

    Raises:
        ValueError: the result is more than one step away from the exact one.
    """
    if isinstance(result, dict):
        result = result["y"]
    elif isinstance(result, list):
        result = result[0]
    elif getattr(result, "is_quantized", False):
        result = result.int_repr()
    elif engine == "openvino":
        result = result[0]
    y = np.asarray(result)
    signed, requantized = expected(m, n, k)
    exact = signed if y.dtype == np.int32 else requantized
    stored = y.astype(np.float64) + (128 if y.dtype == np.int8 else 0)
    if stored.shape != exact.shape:
        raise ValueError(f"wrong result: shape {stored.shape}, not {exact.shape}")
    error = float(np.abs(stored - exact).max())
    if error > (0 if y.dtype == np.int32 else 1):
        raise ValueError(f"wrong result: {error:g} away from the exact product")


def prepare(engine: str, m: int, n: int, k: int, threads: int) -> Run:
    """For workers.py; checks the result first."""
    run = ENGINES[engine](m, n, k, threads)
    check(engine, run(), m, n, k)
    return run


def measure(m: int, n: int, k: int, threads: int, rounds: int, clock: str) -> Case:
    shape = f"{m}x{n}x{k}"
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name in ENGINES:
            spec = {"engine": name, "m": m, "n": n, "k": k, "threads": threads}
            try:
                workers[name] = stack.enter_context(Worker("gemm", spec, clock=clock))
            except WorkerError as error:
                print(f"  ({shape}: no {name}: {error})")
        times = round_robin(workers, rounds)
    ceiling = _core.measure_ceilings()["int8"]["macs_per_s"] * threads
    return Case(title(f"GEMM {shape}", threads, clock), times, float(m * n * k), ceiling)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", default=SHAPES, help="MxNxK,...")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    cases = []
    for shape in args.shapes.split(","):
        m, n, k = map(int, shape.split("x"))
        cases.append(measure(m, n, k, args.threads, args.rounds, args.clock))
        print_table(cases[-1])
    if args.json:
        write_json(args.json, "gemm", cases)
    if args.plot:
        plot(args.plot, cases)


if __name__ == "__main__":
    main()
