"""Reading a TFLite file as a stranger's file: every offset, count, index and size is checked.

The accessors of the schema package follow the file's offsets without looking: they raise low-level
errors or read nonsense. Everything is therefore read once, here, into plain objects; each step
knows what it is reading, so that a failure names the place, and a budget in proportion to the
file's size bounds how much a file can make us read (tables may share storage: a small file can
describe a huge model).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zeropoint.errors import FileError, MissingExtraError, ModelError, UnsupportedError
from zeropoint.graph import Array, Dim
from zeropoint.importers.tflite_options import NULLABLE, OPTIONS

#: What damaged offsets make the accessors raise.
_BROKEN = (
    struct.error,
    IndexError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
    AttributeError,
    MemoryError,
)
MAX_RANK = 8
#: Of one tensor; the engine has the same limit on dimensions.
MAX_ELEMENTS = 2**31 - 1
#: Entries of one operator's list of inputs or outputs.
_MAX_OPERANDS = 4096
_MAX_NAME = 1024

_NUMPY = {
    "float32": "<f4",
    "float16": "<f2",
    "float64": "<f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
    "bool": "?",
}


@dataclass(frozen=True)
class Quantization:
    """Scales (float64), zero points (int64, as many), and the axis of per-channel ones."""

    scale: Array
    zero_point: Array
    axis: int | None


@dataclass(frozen=True)
class Tensor:
    """A tensor as the file has it; ``shape`` has -1 nowhere, ``signature`` None where free."""

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    signature: tuple[Dim, ...]
    quant: Quantization | None
    data: Array | None
    sparse: bool = False
    variable: bool = False

    def __str__(self) -> str:
        return f"tensor {self.index} '{self.name}'"


@dataclass(frozen=True)
class Operator:
    """An operator; ``inputs`` and ``outputs`` are tensor indices, -1 where left out."""

    index: int
    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"operator {self.index} ({self.kind})"


@dataclass
class TfliteModel:
    """The main subgraph of a checked file. Only tensors that something uses are there."""

    path: str
    name: str
    size: int  # bytes of the file
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: dict[int, Tensor]
    operators: list[Operator]


def require_schema() -> Any:
    """The schema package; MissingExtraError with the command to install it."""
    try:
        import tflite
    except ImportError:
        raise MissingExtraError(
            "reading TFLite files needs the tflite package (the schema, not TensorFlow), which is "
            'not installed: pip install "zeropoint[tools]"'
        ) from None
    return tflite


def read_model(path: str) -> TfliteModel:
    """Reads and checks the file; FileError, ModelError or UnsupportedError where it fails."""
    schema = require_schema()
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from None
    return _Reader(schema, path, content).run()


def _constants(enum: Any) -> dict[int, str]:
    """Number -> name of a schema enumeration."""
    return {v: k for k, v in vars(enum).items() if isinstance(v, int) and not k.startswith("_")}


class _Reader:
    def __init__(self, schema: Any, path: str, content: bytes) -> None:
        self.schema, self.path, self.content = schema, path, content
        self.kinds = _constants(schema.BuiltinOperator)
        self.types = {v: k.lower() for v, k in _constants(schema.TensorType).items()}
        self.option_types = _constants(schema.BuiltinOptions)
        # Honest files share little; see the module's first lines.
        self.entries_left = 16 * len(content) + 2**16
        self.bytes_left = 16 * len(content) + 2**26

    def run(self) -> TfliteModel:
        with self._at("header"):
            if len(self.content) < 16 or self.content[4:8] != b"TFL3":
                raise ModelError(f"{self.path}: not a TFLite file, or a truncated one")
            self.model = self.schema.Model.GetRootAs(self.content, 0)
            version = self.model.Version()
            if version != 3:
                raise UnsupportedError(
                    f"{self.path}: TFLite schema version {version}; only version 3 is in use"
                )
            count = self._count(self.model.SubgraphsLength(), "subgraphs")
            if count < 1:
                raise ModelError(f"{self.path}: the file holds no subgraph")
            self._check_entries(count)
            self.buffers = self._count(self.model.BuffersLength(), "buffers")
        codes = self._operator_codes()
        with self._at("subgraph 0"):
            self.graph = self.model.Subgraphs(0)
            name = self._text(self.graph.Name())
            self.tensor_count = self._count(self.graph.TensorsLength(), "tensors")
            operator_count = self._count(self.graph.OperatorsLength(), "operators")
            inputs = self._indices(self.graph.InputsAsNumpy(), "inputs")
            outputs = self._indices(self.graph.OutputsAsNumpy(), "outputs")
        if -1 in inputs + outputs or not outputs:
            raise ModelError(f"{self.path}: subgraph 0 has no outputs, or inputs without tensors")
        if len(set(inputs)) != len(inputs) or len(set(outputs)) != len(outputs):
            raise ModelError(f"{self.path}: subgraph 0 lists an input or output twice")
        operators = [self._operator(i, codes) for i in range(operator_count)]
        used = {*inputs, *outputs}
        for operator in operators:
            used.update(operator.inputs)
            used.update(operator.outputs)
        tensors = {i: self._tensor(i) for i in sorted(used) if i >= 0}
        model = TfliteModel(
            self.path, name or "main", len(self.content), inputs, outputs, tensors, operators
        )
        self._check_order(model)
        return model

    # -- the guard --------------------------------------------------------------------------

    @contextmanager
    def _at(self, place: str) -> Iterator[None]:
        try:
            yield
        except _BROKEN as error:
            raise ModelError(
                f"{self.path}: {place}: the file is truncated or damaged here ({error})"
            ) from None

    def _count(self, count: int, what: str) -> int:
        """A vector's length; each of its entries takes four bytes of the file."""
        if not 0 <= count <= len(self.content) // 4:
            raise ModelError(
                f"{self.path}: {count} {what} in a file of {len(self.content)} bytes; it is damaged"
            )
        self._spend(count)
        return count

    def _spend(self, entries: int) -> None:
        self.entries_left -= entries
        if self.entries_left < 0:
            raise ModelError(
                f"{self.path}: the file describes more than its size allows; it is damaged"
            )

    def _numbers(self, vector: Any, limit: int, what: str) -> list[Any]:
        """A vector of numbers; absent ones arrive as the integer 0."""
        if isinstance(vector, int):
            return []
        if len(vector) > limit:
            raise ModelError(f"{self.path}: {len(vector)} {what}; at most {limit} make sense")
        self._spend(len(vector))
        return list(vector.tolist())

    def _indices(self, vector: Any, what: str) -> tuple[int, ...]:
        indices = self._numbers(vector, _MAX_OPERANDS, what)
        for i in indices:
            if not -1 <= i < self.tensor_count:
                raise ModelError(
                    f"{self.path}: {what} name tensor {i}; there are {self.tensor_count}"
                )
        return tuple(indices)

    def _text(self, raw: bytes | None) -> str:
        raw = raw or b""
        self._spend(len(raw))
        if len(raw) > _MAX_NAME:
            raise ModelError(f"{self.path}: a name of {len(raw)} bytes; the file is damaged")
        return raw.decode("utf-8", "replace").replace("\0", "")

    # -- parts ------------------------------------------------------------------------------

    def _check_entries(self, count: int) -> None:
        """Several subgraphs are fine where the others are bodies of operators of the first
        (control flow, which is refused as such), but not where each is an entry of its own."""
        entries = set()
        signatures = self._count(self.model.SignatureDefsLength(), "signatures")
        for i in range(signatures):
            entries.add(self.model.SignatureDefs(i).SubgraphIndex())
        if any(not 0 <= entry < count for entry in entries):
            raise ModelError(f"{self.path}: a signature names a subgraph that is not there")
        if entries - {0}:
            raise UnsupportedError(
                f"{self.path}: the file has several entry points (signatures of subgraphs "
                f"{sorted(entries)}); convert each one to a file of its own"
            )

    def _operator_codes(self) -> list[tuple[str, int]]:
        codes = []
        with self._at("operator codes"):
            for i in range(self._count(self.model.OperatorCodesLength(), "operator codes")):
                code = self.model.OperatorCodes(i)
                # Old files have the byte only; new ones keep it at 127 for larger numbers.
                number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
                kind = self.kinds.get(number, f"BUILTIN_{number}")
                if kind == "CUSTOM":
                    kind = f"custom operator '{self._text(code.CustomCode())}'"
                codes.append((kind, code.Version()))
        return codes

    def _operator(self, index: int, codes: list[tuple[str, int]]) -> Operator:
        with self._at(f"subgraph 0, operator {index}"):
            raw = self.graph.Operators(index)
            opcode = raw.OpcodeIndex()
            if not 0 <= opcode < len(codes):
                raise ModelError(
                    f"{self.path}: operator {index} has code {opcode}; there are {len(codes)}"
                )
            kind, version = codes[opcode]
            where = f"operator {index} ({kind})"
            inputs = self._indices(raw.InputsAsNumpy(), f"{where}: inputs")
            outputs = self._indices(raw.OutputsAsNumpy(), f"{where}: outputs")
            if not outputs or -1 in outputs:
                raise ModelError(f"{self.path}: {where} has no outputs, or one without a tensor")
            return Operator(index, kind, version, inputs, outputs, self._options(raw, kind, where))

    def _options(self, raw: Any, kind: str, where: str) -> dict[str, Any]:
        if kind not in OPTIONS:
            return {}
        class_name, fields = OPTIONS[kind]
        found = self.option_types.get(raw.BuiltinOptionsType(), "unknown")
        table = raw.BuiltinOptions()
        options = getattr(self.schema, class_name)()
        if table is None or found == "NONE":
            if kind not in NULLABLE:
                raise ModelError(f"{self.path}: {where} has no options; it needs {class_name}")
            return {name: [] if is_list else 0 for name, is_list in fields}
        if found != class_name:
            raise ModelError(f"{self.path}: {where} has {found} where {class_name} belong")
        options.Init(table.Bytes, table.Pos)
        values: dict[str, Any] = {}
        for name, is_list in fields:
            if is_list:
                vector = getattr(options, f"{name}AsNumpy")()
                values[name] = self._numbers(vector, MAX_RANK, f"entries of {where}'s {name}")
            else:
                value = getattr(options, name)()
                if isinstance(value, float) and not math.isfinite(value):
                    raise ModelError(f"{self.path}: {where}: {name} is {value}")
                values[name] = value
        return values

    def _tensor(self, index: int) -> Tensor:
        with self._at(f"subgraph 0, tensor {index}"):
            raw = self.graph.Tensors(index)
            name = self._text(raw.Name())
            where = f"tensor {index} '{name}'"
            dtype = self.types.get(raw.Type(), f"type {raw.Type()}")
            shape = tuple(self._numbers(raw.ShapeAsNumpy(), MAX_RANK, f"dimensions of {where}"))
            if any(dim < 0 for dim in shape):
                raise ModelError(f"{self.path}: {where} has the shape {list(shape)}")
            if math.prod(shape) > MAX_ELEMENTS:
                raise ModelError(
                    f"{self.path}: {where} has the shape {list(shape)}, which is too large"
                )
            given = self._numbers(
                raw.ShapeSignatureAsNumpy(), MAX_RANK, f"signature entries of {where}"
            )
            signature: tuple[Dim, ...] = shape
            if given:
                if len(given) != len(shape) or any(
                    g not in (-1, dim) for g, dim in zip(given, shape, strict=True)
                ):
                    raise ModelError(
                        f"{self.path}: {where} has the shape {list(shape)} but the shape "
                        f"signature {given}"
                    )
                signature = tuple(None if g == -1 else g for g in given)
            quant = self._quantization(raw.Quantization(), shape, where)
            sparse = raw.Sparsity() is not None
            data = None
            if not sparse:
                data = self._data(raw.Buffer(), dtype, shape, where)
            return Tensor(
                index, name, dtype, shape, signature, quant, data, sparse, raw.IsVariable()
            )

    def _quantization(self, raw: Any, shape: tuple[int, ...], where: str) -> Quantization | None:
        if raw is None:
            return None
        limit = max(shape, default=1)
        scale = np.asarray(self._numbers(raw.ScaleAsNumpy(), limit, f"scales of {where}"), float)
        if not scale.size:
            return None  # ranges observed in training, and nothing else
        zeros = self._numbers(raw.ZeroPointAsNumpy(), limit, f"zero points of {where}")
        zero_point = np.asarray(zeros or [0], np.int64)
        if zero_point.size == 1:
            zero_point = np.repeat(zero_point, scale.size)
        axis = int(raw.QuantizedDimension())
        if zero_point.size != scale.size:
            raise ModelError(
                f"{self.path}: {where} has {scale.size} scales but {zero_point.size} zero points"
            )
        if scale.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scale.size):
            raise ModelError(
                f"{self.path}: {where} of shape {list(shape)} has {scale.size} scales along "
                f"axis {axis}"
            )
        if not np.isfinite(scale).all() or (scale < 0).any():
            raise ModelError(f"{self.path}: {where} has a scale that is negative or not finite")
        return Quantization(scale, zero_point, axis if scale.size > 1 else None)

    def _data(self, index: int, dtype: str, shape: tuple[int, ...], where: str) -> Array | None:
        if not 0 <= index < max(self.buffers, 1):
            raise ModelError(f"{self.path}: {where} is in buffer {index}; there are {self.buffers}")
        raw = self._bytes(index, where) if self.buffers else None
        count = math.prod(shape)
        if raw is None and count == 0:
            raw = np.zeros(0, np.uint8)  # the shape of a scalar, for example
        if raw is None:
            return None
        packed = dtype == "int4"
        if not packed and dtype not in _NUMPY:
            return raw  # of no use here; whoever reads it is refused by its dtype
        size = (count + 1) // 2 if packed else count * np.dtype(_NUMPY[dtype]).itemsize
        if raw.size != size:
            raise ModelError(
                f"{self.path}: {where} of shape {list(shape)} and type {dtype} takes {size} bytes, "
                f"but its buffer {index} holds {raw.size}"
            )
        self.bytes_left -= max(size, count)
        if self.bytes_left < 0:
            raise ModelError(
                f"{self.path}: the constants are many times larger than the file; it is damaged"
            )
        if packed:
            return _unpack_int4(raw, count).reshape(shape)
        array = raw.copy().view(_NUMPY[dtype]).reshape(shape)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError(
                f"{self.path}: {where} holds NaN or infinity; repair or retrain the model"
            )
        return np.asarray(array)

    def _bytes(self, index: int, where: str) -> Array | None:
        """A buffer's bytes, without copying; None for an empty one."""
        buffer = self.model.Buffers(index)
        if buffer.DataLength():
            return np.asarray(buffer.DataAsNumpy())
        # Files above 2 GiB keep data behind the flatbuffer; 0 and 1 mean that there is none.
        offset, size = buffer.Offset(), buffer.Size()
        if offset <= 1 or size == 0:
            return None
        if offset + size > len(self.content):
            raise ModelError(
                f"{self.path}: {where}: buffer {index} lies at {offset} + {size}, outside the file"
            )
        return np.frombuffer(self.content, np.uint8, size, offset)

    def _check_order(self, model: TfliteModel) -> None:
        """Every tensor is written once, and before it is read."""
        known = set(model.inputs)
        for i in model.inputs:
            if model.tensors[i].data is not None:
                raise ModelError(f"{self.path}: input {model.tensors[i]} is a constant")
        constants = {i for i, tensor in model.tensors.items() if tensor.data is not None}
        for operator in model.operators:
            for i in operator.inputs:
                tensor = model.tensors.get(i)
                readable = tensor is None or tensor.sparse or tensor.variable
                if not readable and i not in known and i not in constants:
                    raise ModelError(
                        f"{self.path}: {operator} reads {tensor}, which no input, constant or "
                        "earlier operator provides (a cycle?)"
                    )
            for i in operator.outputs:
                if i in known or i in constants:
                    raise ModelError(
                        f"{self.path}: {operator} writes {model.tensors[i]}, which has a value "
                        "already"
                    )
                known.add(i)
        for i in model.outputs:
            if i not in known and i not in constants:
                raise ModelError(f"{self.path}: nothing computes the output {model.tensors[i]}")


def _unpack_int4(raw: Array, count: int) -> Array:
    """Two numbers of [-8, 7] a byte, the lower half first."""
    halves = np.stack([raw & 15, raw >> 4], axis=1).reshape(-1)[:count].astype(np.int8)
    return np.asarray((halves ^ 8) - 8, np.int8)
