"""Small quantized ONNX networks for tests, made with ONNX Runtime's own quantization tool."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx_models import model, node, random
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

from exact_onnxruntime import session_options
from zeropoint.graph import Graph

Array = npt.NDArray[Any]


class _Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: Sequence[Mapping[str, Array]]) -> None:
        self._samples: Iterator[Mapping[str, Array]] = iter(samples)

    def get_next(self) -> Mapping[str, Array] | None:
        return next(self._samples, None)


def weights(rng: np.random.Generator, *shape: int) -> Array:
    fan_in = int(np.prod(shape[1:]))
    return np.asarray(rng.standard_normal(shape) * np.sqrt(2 / fan_in), np.float32)


def residual(seed: int) -> onnx.ModelProto:
    """Convolutions with relu, max pooling, a residual add, global average pooling, Gemm."""
    rng = np.random.default_rng(seed)
    constants = {
        "w0": weights(rng, 12, 3, 3, 3),
        "b0": random((12,), seed, 0.3),
        "w1": weights(rng, 12, 12, 3, 3),
        "b1": random((12,), seed + 1, 0.3),
        "w2": weights(rng, 10, 12),
        "b2": random((10,), seed + 2, 0.3),
    }
    nodes = [
        node("Conv", ["x", "w0", "b0"], "c0", pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], "r0"),
        node("MaxPool", ["r0"], "p0", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p0", "w1", "b1"], "c1", pads=[1, 1, 1, 1]),
        node("Add", ["c1", "p0"], "a1"),
        node("Relu", ["a1"], "r1"),
        node("GlobalAveragePool", ["r1"], "g"),
        node("Flatten", ["g"], "f"),
        node("Gemm", ["f", "w2", "b2"], "y", transB=1),
    ]
    return model(nodes, {"x": [1, 3, 14, 14]}, ["y"], constants)


def mobile(seed: int) -> onnx.ModelProto:
    """Depthwise convolution, clip, squeeze and excitation, leaky relu, average pooling."""
    rng = np.random.default_rng(seed)
    constants = {
        "w0": weights(rng, 16, 3, 3, 3),
        "w1": weights(rng, 16, 1, 3, 3),
        "w2": weights(rng, 4, 16, 1, 1),
        "w3": weights(rng, 16, 4, 1, 1),
        "b3": random((16,), seed, 0.3),
        "lo": np.asarray(0.0, np.float32),
        "hi": np.asarray(6.0, np.float32),
    }
    nodes = [
        node("Conv", ["x", "w0"], "c0", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Clip", ["c0", "lo", "hi"], "r0"),
        node("Conv", ["r0", "w1"], "c1", pads=[1, 1, 1, 1], group=16),
        node("LeakyRelu", ["c1"], "r1", alpha=0.1),
        node("GlobalAveragePool", ["r1"], "g"),
        node("Conv", ["g", "w2"], "c2"),
        node("Relu", ["c2"], "r2"),
        node("Conv", ["r2", "w3", "b3"], "c3"),
        node("Sigmoid", ["c3"], "s"),
        node("Mul", ["r1", "s"], "m"),
        node("AveragePool", ["m"], "y", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    return model(nodes, {"x": [1, 3, 16, 16]}, ["y"], constants)


def pyramid(seed: int) -> onnx.ModelProto:
    """Concatenation of different ranges, resizing, splitting, slicing, padding, softmax."""
    rng = np.random.default_rng(seed)
    constants = {
        "w0": weights(rng, 8, 4, 3, 3),
        "w1": 3 * weights(rng, 8, 8, 3, 3),
        "w2": weights(rng, 6, 16, 1, 1),
        "scales": np.asarray([1, 1, 2, 2], np.float32),
        "sizes": np.asarray([2, 4], np.int64),
        "starts": np.asarray([1], np.int64),
        "ends": np.asarray([7], np.int64),
        "axes": np.asarray([2], np.int64),
        "pads": np.asarray([0, 0, 1, 0, 0, 0, 1, 2], np.int64),
    }
    nodes = [
        node("Conv", ["x", "w0"], "c0", pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], "r0"),
        node("MaxPool", ["r0"], "p0", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p0", "w1"], "c1", pads=[1, 1, 1, 1]),
        node("Resize", ["c1", "", "scales"], "u", mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric"),
        node("Concat", ["u", "r0"], "k", axis=1),
        node("Slice", ["k", "starts", "ends", "axes"], "l"),
        node("Pad", ["l", "pads"], "d"),
        node("Conv", ["d", "w2"], "c2"),
        node("Split", ["c2", "sizes"], ["y0", "z"], axis=1),
        node("Transpose", ["z"], "t", perm=[0, 2, 3, 1]),
        node("Softmax", ["t"], "y1", axis=-1),
    ]  # fmt: skip
    return model(nodes, {"x": [1, 4, 10, 8]}, ["y0", "y1"], constants)


def attention(seed: int) -> onnx.ModelProto:
    """One transformer block: projections, products of activations, layer normalization, GELU."""
    rng = np.random.default_rng(seed)
    constants = {f"w{i}": weights(rng, 16, 16) for i in range(4)}
    constants |= {f"b{i}": random((16,), seed + i, 0.1) for i in range(4)}
    constants |= {
        "gamma": np.asarray(rng.uniform(0.5, 1.5, 16), np.float32),
        "beta": random((16,), seed, 0.1),
        "w4": weights(rng, 16, 32),
        "w5": weights(rng, 32, 16),
        "heads": np.asarray([1, 12, 2, 8], np.int64),
        "joined": np.asarray([1, 12, 16], np.int64),
        "root8": np.asarray(np.sqrt(8), np.float32),
        "root2": np.asarray(np.sqrt(2), np.float32),
        "one": np.asarray(1, np.float32),
        "half": np.asarray(0.5, np.float32),
    }

    def project(i: int, x: str, perm: Sequence[int]) -> list[Any]:
        return [
            node("MatMul", [x, f"w{i}"], f"m{i}"),
            node("Add", [f"m{i}", f"b{i}"], f"a{i}"),
            node("Reshape", [f"a{i}", "heads"], f"h{i}"),
            node("Transpose", [f"h{i}"], f"t{i}", perm=perm),
        ]

    nodes = [
        *project(0, "x", [0, 2, 1, 3]),
        *project(1, "x", [0, 2, 3, 1]),
        *project(2, "x", [0, 2, 1, 3]),
        node("MatMul", ["t0", "t1"], "scores"),
        node("Div", ["scores", "root8"], "scaled"),
        node("Softmax", ["scaled"], "p", axis=-1),
        node("MatMul", ["p", "t2"], "mixed"),
        node("Transpose", ["mixed"], "back", perm=[0, 2, 1, 3]),
        node("Reshape", ["back", "joined"], "flat"),
        node("MatMul", ["flat", "w3"], "m3"),
        node("Add", ["m3", "b3"], "a3"),
        node("Add", ["x", "a3"], "sum"),
        node("LayerNormalization", ["sum", "gamma", "beta"], "n"),
        node("MatMul", ["n", "w4"], "f1"),
        node("Div", ["f1", "root2"], "d"),
        node("Erf", ["d"], "e"),
        node("Add", ["e", "one"], "e1"),
        node("Mul", ["f1", "e1"], "g1"),
        node("Mul", ["g1", "half"], "g2"),
        node("MatMul", ["g2", "w5"], "y"),
    ]
    return model(nodes, {"x": [1, 12, 16]}, ["y"], constants)


NETWORKS: dict[str, Callable[[int], onnx.ModelProto]] = {
    "residual": residual,
    "mobile": mobile,
    "pyramid": pyramid,
    "attention": attention,
}


def feeds(proto: onnx.ModelProto, count: int, seed: int) -> list[dict[str, Array]]:
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    return [{"x": random(shape, seed + i)} for i in range(count)]


def quantized(proto: onnx.ModelProto, folder: Path, **options: Any) -> Path:
    """The file that ONNX Runtime's static quantization writes."""
    path = folder / "quantized.onnx"
    (folder / "float.onnx").write_bytes(proto.SerializeToString())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(folder / "float.onnx", path, _Samples(feeds(proto, 4, 1000)), **options)
    return path


def quantized_dynamically(proto: onnx.ModelProto, folder: Path, **options: Any) -> Path:
    path = folder / "dynamic.onnx"
    (folder / "float.onnx").write_bytes(proto.SerializeToString())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_dynamic(folder / "float.onnx", path, **options)
    return path


def peer(
    path: Path, feed: Mapping[str, Array], outputs: Sequence[str] = (), unfused: str = ""
) -> dict[str, Array]:
    """What ONNX Runtime computes, with its integer kernels.

    Args:
        outputs: uint8 values to return beside the model's own outputs.
        unfused: an operator that is kept in float32, between dequantization and quantization as
            the file says, because its result is an output as well.
    """
    proto = onnx.load(path)
    own = [output.name for output in proto.graph.output]
    kinds = dict.fromkeys(outputs, onnx.TensorProto.UINT8)
    for each in proto.graph.node:
        if each.op_type == unfused:
            kinds[each.output[0]] = onnx.TensorProto.FLOAT
    for name, kind in kinds.items():
        if name not in own:
            proto.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
    )
    names = [*own, *outputs]
    return dict(zip(names, session.run(names, feed), strict=True))


def file_params(path: Path) -> set[tuple[bytes, int]]:
    """Every per-tensor (scale, zero point in the int8 domain) that the file holds."""
    proto = onnx.load(path)
    arrays = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    found = set()
    for each in proto.graph.node:
        for scale, zero in zip(each.input, each.input[1:], strict=False):
            s, z = arrays.get(scale), arrays.get(zero)
            if s is None or z is None or s.dtype != np.float32 or s.size != 1 or z.size != 1:
                continue
            if z.dtype in (np.int8, np.uint8):
                shift = 128 if z.dtype == np.uint8 else 0
                found.add((s.tobytes(), int(z.reshape(-1)[0]) - shift))
    return found


def graph_params(graph: Graph) -> set[tuple[bytes, int]]:
    """The same of a graph's int8 activations."""
    return {
        (np.asarray(v.quant.scale).tobytes(), int(v.quant.zero_point))
        for v in graph.activations()
        if v.dtype == "int8" and v.quant is not None
    }


def output_step(graph: Graph, name: str) -> float | None:
    """The scale of an output that is dequantized from int8."""
    maker = graph.producers()[name]
    while maker.op in ("transpose", "reshape"):
        maker = graph.producers()[maker.inputs[0]]
    quant = graph.value(maker.inputs[0]).quant
    return None if maker.op != "dequantize" or quant is None else float(quant.scale)
