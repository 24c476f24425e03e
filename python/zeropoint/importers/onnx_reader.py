"""Reading an ONNX file as a stranger's file: every length, path and reference is checked.

What comes out is a :class:`ModelSource`: nodes in execution order, constants as arrays, inputs with
shapes. Nothing is trusted that the file says about intermediate shapes; those are inferred anew.
"""

from __future__ import annotations

import math
import os
from collections.abc import Container
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zeropoint.errors import FileError, MissingExtraError, ModelError, UnsupportedError
from zeropoint.graph import Array, Dim
from zeropoint.importers.onnx_inference import infer_shapes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

OLDEST_OPSET = 7

#: The types that graph inputs may have, and ONNX's names for them.
_INPUT_KINDS = {"float32": "FLOAT", "int64": "INT64", "int8": "INT8", "uint8": "UINT8"}


@dataclass
class ModelSource:
    """A checked ONNX model.

    Attributes:
        path: for messages, and the folder that external data may come from.
        opset: version of the ai.onnx domain.
        inputs: float32, int64, int8 or uint8 inputs by name: (dtype, shape), None for free
            dimensions.
        outputs: names in order.
        nodes: in topological order.
        constants: the initializers.
        symbols: what ONNX's own shape inference knows of each value: an int for a known
            dimension, a string for a free one (equal strings are equal dimensions).
    """

    path: str
    name: str
    opset: int
    inputs: dict[str, tuple[str, tuple[Dim, ...]]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    symbols: dict[str, tuple[int | str, ...]] = field(default_factory=dict)


def require_onnx() -> Any:
    """The onnx package; MissingExtraError with the command to install it."""
    try:
        import onnx
    except ImportError:
        raise MissingExtraError(
            "reading ONNX files needs the onnx package, which is not installed: "
            'pip install "zeropoint[tools]"'
        ) from None
    return onnx


def read_model(path: str, supported: Container[str]) -> ModelSource:
    """Reads and checks the file; FileError, ModelError or UnsupportedError where it fails.

    ``supported`` are the operators that can be imported: shapes are inferred for these alone.
    """
    onnx = require_onnx()
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: not an ONNX file, or a truncated or damaged one ({error})"
        ) from None
    del content
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise ModelError(f"{path}: not an ONNX file: it holds no graph")
    _check_text(model, path)
    source = ModelSource(
        path, model.graph.name or os.path.basename(path), _opset(onnx, model, path)
    )
    if model.graph.sparse_initializer:
        names = [t.values.name for t in model.graph.sparse_initializer][:5]
        raise UnsupportedError(f"{path}: sparse initializers are not supported: {names}")
    for tensor in model.graph.initializer:
        if not tensor.name or tensor.name in source.constants:
            raise ModelError(f"{path}: initializer '{tensor.name}' has no name or is there twice")
        source.constants[tensor.name] = tensor_array(tensor, path)
    for info in model.graph.input:
        # Old exporters list every initializer among the inputs as well.
        if info.name not in source.constants:
            if not info.name or info.name in source.inputs:
                raise ModelError(f"{path}: input '{info.name}' has no name or is there twice")
            source.inputs[info.name] = _input_type(onnx, info, path)
    source.outputs = [info.name for info in model.graph.output]
    if not source.outputs or len(set(source.outputs)) != len(source.outputs):
        raise ModelError(f"{path}: the graph has no outputs, or one output twice")
    source.nodes = _ordered(list(model.graph.node), source)
    source.symbols = infer_shapes(onnx, model, source, _INPUT_KINDS, supported)
    return source


def _check_text(model: ModelProto, path: str) -> None:
    """Names must be text: where bytes are no UTF-8, protobuf hands out the bytes themselves."""
    graph = model.graph
    texts: list[object] = [graph.name, *(entry.domain for entry in model.opset_import)]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
        texts += [attribute.name for attribute in node.attribute]
    for tensor in graph.initializer:
        texts.append(tensor.name)
        for entry in tensor.external_data:
            texts += [entry.key, entry.value]
    for info in (*graph.input, *graph.output):
        texts.append(info.name)
        texts += [dim.dim_param for dim in info.type.tensor_type.shape.dim]
    for text in texts:
        if not isinstance(text, str):
            raise ModelError(f"{path}: the name {text!r} is not valid UTF-8; the file is damaged")


def _opset(onnx: Any, model: ModelProto, path: str) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        raise ModelError(f"{path}: the model does not say which version of ai.onnx it uses")
    opset, newest = max(versions), onnx.defs.onnx_opset_version()
    if opset < OLDEST_OPSET:
        raise UnsupportedError(
            f"{path}: opset {opset} is too old, {OLDEST_OPSET} is the oldest that is read; "
            "convert the model with onnx.version_converter"
        )
    if opset > newest:
        raise UnsupportedError(
            f"{path}: opset {opset} is newer than the installed onnx package knows ({newest}); "
            "upgrade that package, or export with an older opset"
        )
    return int(opset)


def _input_type(onnx: Any, info: ValueInfoProto, path: str) -> tuple[str, tuple[Dim, ...]]:
    if not info.type.HasField("tensor_type"):
        raise UnsupportedError(f"{path}: input '{info.name}' is not a tensor")
    tensor = info.type.tensor_type
    dtypes = {getattr(onnx.TensorProto, kind): dtype for dtype, kind in _INPUT_KINDS.items()}
    if tensor.elem_type not in dtypes:
        try:
            kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        except ValueError:
            raise ModelError(f"{path}: input '{info.name}' has an unknown type") from None
        hint = (
            "; convert the model to float32 first"
            if kind in ("FLOAT16", "BFLOAT16", "DOUBLE")
            else ""
        )
        raise UnsupportedError(
            f"{path}: input '{info.name}' is {kind}, not float32, int64, int8 or uint8{hint}"
        )
    if not tensor.HasField("shape"):
        raise UnsupportedError(
            f"{path}: input '{info.name}' has no shape; its rank must be known "
            "(set it with onnx.tools.update_model_dims)"
        )
    # Old exporters write a free dimension as 0 or -1.
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in tensor.shape.dim
    )
    return dtypes[tensor.elem_type], shape


def _ordered(nodes: list[NodeProto], source: ModelSource) -> list[NodeProto]:
    """Checks that every value is written once and before it is read; sorts where it is not."""
    path = source.path
    writer: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for name in node.output:
            if name in writer or name in source.constants or name in source.inputs:
                raise ModelError(f"{path}: value '{name}' is written twice ({describe(node)})")
            if name:
                writer[name] = i
    known = set(source.constants) | set(source.inputs)
    waits: list[int] = []
    readers: dict[str, list[int]] = {}
    for i, node in enumerate(nodes):
        missing = {name for name in node.input if name and name not in known}
        for name in sorted(missing):
            if name not in writer:
                raise ModelError(
                    f"{path}: {describe(node)} reads '{name}', which no node, input or "
                    "initializer provides"
                )
            readers.setdefault(name, []).append(i)
        waits.append(len(missing))
    for name in source.outputs:
        if name not in writer and name not in known:
            raise ModelError(f"{path}: nothing computes the output '{name}'")
    order: list[NodeProto] = []
    # A heap would keep the file's order exactly; files in order never reach the second pass.
    ready = [i for i, count in enumerate(waits) if count == 0]
    done = set(ready)
    while ready:
        later: list[int] = []
        for i in ready:
            order.append(nodes[i])
            for name in nodes[i].output:
                for reader in readers.get(name, ()):
                    waits[reader] -= 1
                    if waits[reader] == 0:
                        later.append(reader)
                        done.add(reader)
        ready = later
    if len(order) != len(nodes):
        stuck = next(nodes[i] for i in range(len(nodes)) if i not in done)
        raise ModelError(f"{path}: the graph has a cycle through {describe(stuck)}")
    position = {id(node): i for i, node in enumerate(nodes)}
    if all(_before(node, position[id(node)], writer) for node in nodes):
        return nodes
    return order


def _before(node: NodeProto, at: int, writer: dict[str, int]) -> bool:
    return all(writer[name] < at for name in node.input if name in writer)


def describe(node: NodeProto) -> str:
    """``node 'conv1' (Conv)``; a node without a name is called by its first output."""
    name = node.name or next((o for o in node.output if o), "")
    return f"node '{name}' ({node.op_type})"


# -- tensors ----------------------------------------------------------------------------------


def tensor_array(tensor: TensorProto, path: str) -> Array:
    """A tensor's array, its size checked against what the file holds."""
    onnx = require_onnx()
    what = f"{path}: initializer '{tensor.name}'"
    if tensor.data_type == onnx.TensorProto.STRING:
        raise UnsupportedError(f"{what} holds strings")
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"{what} has a negative dimension")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _external_array(onnx, tensor, path)
    try:
        array: Array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise ModelError(f"{what}: its data do not fit its shape or type ({error})") from None
    if list(array.shape) != list(tensor.dims):
        raise ModelError(f"{what}: its data do not fit its shape")
    return array


def _external_array(onnx: Any, tensor: TensorProto, path: str) -> Array:
    what = f"{path}: initializer '{tensor.name}'"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    parts = location.replace("\\", "/").split("/")
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    target = os.path.realpath(os.path.join(folder, location)) if "\0" not in location else ""
    if (
        not location
        or os.path.isabs(location)
        or ":" in parts[0]
        or ".." in parts
        or os.path.commonpath([folder, target or os.sep]) != folder
    ):
        raise ModelError(
            f"{what}: its external data '{location}' are outside of the model's folder; "
            "only files inside that folder are read"
        )
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        offset = int(entries.get("offset", "0"))
        length = int(entries["length"]) if "length" in entries else None
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{what}: malformed type or description of external data") from None
    need = math.prod(tensor.dims) * dtype.itemsize
    try:
        if not os.path.isfile(target):
            raise ModelError(f"{what}: its external data file '{location}' is not there")
        size = os.path.getsize(target)
        if offset < 0 or offset + need > size or (length is not None and length != need):
            raise ModelError(
                f"{what}: needs {need} bytes at offset {offset} of '{location}', which has {size}"
                + ("" if length is None else f", and says that it has {length}")
            )
        with open(target, "rb") as file:
            file.seek(offset)
            content = file.read(need)
    except OSError as error:
        raise FileError(f"{what}: '{location}' cannot be read: {error}") from None
    if len(content) != need:
        raise ModelError(f"{what}: '{location}' ended early")
    return np.frombuffer(content, dtype).reshape(tuple(tensor.dims))
