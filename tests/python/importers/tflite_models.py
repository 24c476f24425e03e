"""Small TFLite models for tests, written with the schema package's builder, and the check that all
of them must pass: what LiteRT computes is what the imported graph computes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

import zeropoint as zp
from zeropoint import reference
from zeropoint.graph import Graph
from zeropoint.importers.tflite import import_tflite
from zeropoint.importers.tflite_options import OPTIONS
from zeropoint.transforms import canonicalize

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class T:
    """A tensor of a model; a constant where ``data`` is given.

    ``scale`` and ``zero_point`` are numbers, or lists along ``axis``. ``signature`` has -1 where
    the dimension is free.
    """

    name: str
    shape: Sequence[int] = ()
    dtype: str = "float32"
    data: Any = None
    scale: Any = None
    zero_point: Any = 0
    axis: int = 0
    signature: Sequence[int] | None = None


@dataclass(frozen=True)
class Op:
    kind: str
    inputs: Sequence[str | int]  # names, or numbers of tensors; "" where left out
    outputs: Sequence[str | int]
    options: Mapping[str, Any] | None = None


def const(name: str, data: Any, dtype: str = "int32", **quant: Any) -> T:
    data = np.asarray(data, dtype)
    return T(name, data.shape, dtype, data, **quant)


def quantized(name: str, shape: Sequence[int], scale: float = 0.05, zero_point: int = -3) -> T:
    return T(name, tuple(shape), "int8", None, scale, zero_point)


def unsigned(tensor: T) -> T:
    """The same real numbers in uint8, as old files have them."""
    if tensor.dtype != "int8":
        return tensor
    data = None if tensor.data is None else (np.asarray(tensor.data, np.int64) + 128)
    zero_point = (np.asarray(tensor.zero_point) + 128).tolist()
    return replace(
        tensor,
        dtype="uint8",
        data=None if data is None else data.astype(np.uint8),
        zero_point=zero_point,
    )


# -- writing ----------------------------------------------------------------------------------


def _vector(b: flatbuffers.Builder, items: Sequence[int], size: int, write: Callable) -> int:
    b.StartVector(size, len(items), size)
    for item in reversed(items):
        write(item)
    return b.EndVector()


def _offsets(b: flatbuffers.Builder, items: Sequence[int]) -> int:
    return _vector(b, items, 4, b.PrependUOffsetTRelative)


def _int32s(b: flatbuffers.Builder, items: Sequence[int]) -> int:
    return _vector(b, [int(i) for i in items], 4, b.PrependInt32)


def _buffer(b: flatbuffers.Builder, content: bytes | None) -> int:
    data = None
    if content:
        b.StartVector(1, len(content), 16)
        b.head = b.head - len(content)
        b.Bytes[b.head : b.head + len(content)] = content
        data = b.EndVector()
    tflite.BufferStart(b)
    if data is not None:
        tflite.BufferAddData(b, data)
    return tflite.BufferEnd(b)


def _quantization(b: flatbuffers.Builder, tensor: T) -> int | None:
    if tensor.scale is None:
        return None
    scales = np.atleast_1d(np.asarray(tensor.scale, float)).tolist()
    zeros = np.broadcast_to(np.asarray(tensor.zero_point, np.int64), (len(scales),)).tolist()
    scale = _vector(b, scales, 4, b.PrependFloat32)
    zero_point = _vector(b, zeros, 8, b.PrependInt64)
    tflite.QuantizationParametersStart(b)
    tflite.QuantizationParametersAddScale(b, scale)
    tflite.QuantizationParametersAddZeroPoint(b, zero_point)
    tflite.QuantizationParametersAddQuantizedDimension(b, tensor.axis)
    return tflite.QuantizationParametersEnd(b)


def _tensor(b: flatbuffers.Builder, tensor: T, buffer: int) -> int:
    name = b.CreateString(tensor.name)
    shape = _int32s(b, tensor.shape)
    signature = None if tensor.signature is None else _int32s(b, tensor.signature)
    quantization = _quantization(b, tensor)
    tflite.TensorStart(b)
    tflite.TensorAddShape(b, shape)
    tflite.TensorAddType(b, getattr(tflite.TensorType, tensor.dtype.upper()))
    tflite.TensorAddBuffer(b, buffer)
    tflite.TensorAddName(b, name)
    if quantization is not None:
        tflite.TensorAddQuantization(b, quantization)
    if signature is not None:
        tflite.TensorAddShapeSignature(b, signature)
    return tflite.TensorEnd(b)


def _options(b: flatbuffers.Builder, op: Op) -> tuple[str, int] | None:
    if op.options is None or op.kind not in OPTIONS:
        return None
    name = OPTIONS[op.kind][0]
    values = {
        key: _int32s(b, value) if isinstance(value, (list, tuple)) else value
        for key, value in op.options.items()
    }
    getattr(tflite, f"{name}Start")(b)
    for key, value in values.items():
        getattr(tflite, f"{name}Add{key}")(b, value)
    return name, getattr(tflite, f"{name}End")(b)


def build(
    tensors: Sequence[T],
    ops: Sequence[Op],
    inputs: Sequence[str | int],
    outputs: Sequence[str | int],
    *,
    subgraphs: int = 1,
    signatures: Sequence[int] = (),
) -> bytes:
    """The bytes of a file. A kind in lower case is a custom operator.

    Args:
        subgraphs: how many; all are the same.
        signatures: the subgraph that each signature enters.
    """
    b = flatbuffers.Builder(1024)
    number = {tensor.name: i for i, tensor in enumerate(tensors)}
    number[""] = -1

    def indices(names: Sequence[str | int]) -> int:
        return _int32s(b, [n if isinstance(n, int) else number[n] for n in names])

    contents: list[bytes | None] = [None]
    of_tensor = []
    for tensor in tensors:
        if tensor.data is None:
            of_tensor.append(0)
        else:
            of_tensor.append(len(contents))
            contents.append(np.asarray(tensor.data, tensor.dtype).tobytes())
    buffers = _offsets(b, [_buffer(b, content) for content in contents])
    tensor_offsets = _offsets(
        b, [_tensor(b, t, at) for t, at in zip(tensors, of_tensor, strict=True)]
    )
    kinds = list(dict.fromkeys(op.kind for op in ops))
    codes = []
    for kind in kinds:
        custom = b.CreateString(kind) if kind.islower() else None
        code = getattr(tflite.BuiltinOperator, "CUSTOM" if custom else kind)
        tflite.OperatorCodeStart(b)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(code, 127))
        tflite.OperatorCodeAddBuiltinCode(b, code)
        tflite.OperatorCodeAddVersion(b, 1)
        if custom is not None:
            tflite.OperatorCodeAddCustomCode(b, custom)
        codes.append(tflite.OperatorCodeEnd(b))
    code_offsets = _offsets(b, codes)
    operators = []
    for op in ops:
        options = _options(b, op)
        ins = indices(op.inputs)
        outs = indices(op.outputs)
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, kinds.index(op.kind))
        tflite.OperatorAddInputs(b, ins)
        tflite.OperatorAddOutputs(b, outs)
        if options is not None:
            kind = getattr(tflite.BuiltinOptions, options[0])
            tflite.OperatorAddBuiltinOptionsType(b, kind)
            tflite.OperatorAddBuiltinOptions(b, options[1])
        operators.append(tflite.OperatorEnd(b))
    operator_offsets = _offsets(b, operators)
    ins = indices(inputs)
    outs = indices(outputs)
    name = b.CreateString("main")
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, tensor_offsets)
    tflite.SubGraphAddInputs(b, ins)
    tflite.SubGraphAddOutputs(b, outs)
    tflite.SubGraphAddOperators(b, operator_offsets)
    tflite.SubGraphAddName(b, name)
    subgraph_offsets = _offsets(b, [tflite.SubGraphEnd(b)] * subgraphs)
    entries = []
    for entry in signatures:
        tflite.SignatureDefStart(b)
        tflite.SignatureDefAddSubgraphIndex(b, entry)
        entries.append(tflite.SignatureDefEnd(b))
    signature_offsets = _offsets(b, entries)
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    tflite.ModelAddOperatorCodes(b, code_offsets)
    tflite.ModelAddSubgraphs(b, subgraph_offsets)
    tflite.ModelAddSignatureDefs(b, signature_offsets)
    tflite.ModelAddBuffers(b, buffers)
    b.Finish(tflite.ModelEnd(b), b"TFL3")
    return bytes(b.Output())


def one(kind: str, inputs: Sequence[T], outputs: Sequence[T] | T, **options: Any) -> bytes:
    """A model of one operator; its inputs without data are the model's."""
    outputs = [outputs] if isinstance(outputs, T) else list(outputs)
    return build(
        [*inputs, *outputs],
        [Op(kind, [t.name for t in inputs], [t.name for t in outputs], options)],
        [t.name for t in inputs if t.data is None],
        [t.name for t in outputs],
    )


# -- checking ---------------------------------------------------------------------------------


def litert(model: bytes | Path, *, resolver: str = "BUILTIN_REF", all_tensors: bool = False) -> Any:
    """A LiteRT interpreter, single-threaded. Resolvers: BUILTIN_REF has TFLite's plain reference
    kernels, BUILTIN_WITHOUT_DEFAULT_DELEGATES its optimized ones, BUILTIN XNNPACK."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    source = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    interpreter = Interpreter(
        **source,
        experimental_op_resolver_type=getattr(OpResolverType, resolver),
        experimental_preserve_all_tensors=all_tensors,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    return interpreter


def run_litert(interpreter: Any, feed: Mapping[str, Array]) -> dict[str, Array]:
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], feed[detail["name"]])
    interpreter.invoke()
    return {
        detail["name"]: interpreter.get_tensor(detail["index"])
        for detail in interpreter.get_output_details()
    }


def random_feed(interpreter: Any, seed: int = 0, scale: float = 2.0) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    feed: dict[str, Array] = {}
    for detail in interpreter.get_input_details():
        shape, dtype = tuple(detail["shape"]), np.dtype(detail["dtype"])
        if dtype == np.float32:
            feed[detail["name"]] = np.asarray(generator.standard_normal(shape) * scale, dtype)
        else:
            info = np.iinfo(dtype)
            feed[detail["name"]] = generator.integers(info.min, info.max + 1, shape).astype(dtype)
    return feed


def graphs(content: bytes, folder: Path) -> tuple[Graph, Graph]:
    """The graph as imported, and its canonical form."""
    path = folder / "model.tflite"
    path.write_bytes(content)
    imported = import_tflite(path)
    canonical = imported.copy()
    canonicalize(canonical)
    return imported, canonical


def check(
    content: bytes,
    folder: Path,
    *,
    steps: int = 1,
    tolerance: float = 2e-6,
    resolver: str = "BUILTIN_REF",
    positive: bool = False,
    scale: float = 2.0,
) -> Graph:
    """Compares with LiteRT: the imported and the canonical graph, by the NumPy executor and the
    engine. Integers may differ by ``steps``; returns the canonical graph."""
    interpreter = litert(content, resolver=resolver)
    feed = random_feed(interpreter, scale=scale)
    if positive:
        feed = {name: np.abs(array) for name, array in feed.items()}
    wanted = run_litert(interpreter, feed)
    imported, canonical = graphs(content, folder)
    for graph in (imported, canonical):
        runs = [functools.partial(reference.run, graph), zp.Session(graph).run]
        for run in runs:
            got = run(feed)
            assert set(got) == set(wanted)
            for name, want in wanted.items():
                _compare(name, got[name], want, steps, tolerance)
    return canonical


def _compare(name: str, got: Array, want: Array, steps: int, tolerance: float) -> None:
    assert got.shape == want.shape, name
    if want.dtype == np.float32:
        assert got.dtype == np.float32, name
        limit = tolerance * max(1.0, float(np.abs(want).max()))
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=limit, err_msg=name)
        return
    assert got.dtype == want.dtype or want.dtype == np.int32, name  # indices are int64 here
    difference = np.abs(got.astype(np.int64) - want.astype(np.int64))
    assert difference.max(initial=0) <= steps, (name, difference.max(), got, want)
