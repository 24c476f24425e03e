"""The model file: a GGUF v3 container, written here and read by ``csrc/runtime/model_reader``.

This docstring is the format's specification (format version 1).

Container
    GGUF version 3, little-endian, as published with ggml: magic ``GGUF``, uint32 version 3, uint64
    tensor count, uint64 key-value count, the key-values, the tensor table, padding, tensor data.
    ``general.alignment`` is 64: every tensor's data starts on a multiple of 64 bytes.

Key-values (all required unless marked)
    ``general.architecture``  string, "zeropoint"
    ``general.alignment``     uint32, 64
    ``general.name``          string, the model's name
    ``zeropoint.format_version``   uint32, 1. A reader refuses a larger number.
    ``zeropoint.producer``    string, e.g. "zeropoint 0.1.0"
    ``zeropoint.checksum``    uint64 (optional): ``3 h(head) + h(tail)`` modulo 2^64, where head is
                              every byte before this value, tail every byte behind it, and h the
                              sum of their little-endian 64-bit words w[i] (zeros complete the last
                              one) weighted by 2 i + 1. Weights are odd, so any damage within one
                              word shows. A reader refuses a file whose bytes give another sum.
    ``zeropoint.inputs``      array of string: value names, in order
    ``zeropoint.outputs``     array of string: value names, in order
    ``zeropoint.unsigned``    array of string (optional, absent when empty): graph inputs and
                              outputs of dtype int8 that callers see as uint8. The file's values,
                              zero points included, stay in the int8 domain: the session adds or
                              takes off 128 at the border.

    Values, one entry each in parallel arrays, activations and constants alike:
    ``zeropoint.value.name``        array of string, unique, at most 63 bytes each
    ``zeropoint.value.dtype``       array of string: "float32", "int8", "int32", "int64"
    ``zeropoint.value.rank``        array of uint32, at most 8
    ``zeropoint.value.dims``        array of int64, all dimensions one after the other; -1 is free
                                    (optional when every rank is 0)
    ``zeropoint.value.scale``       array of float32; 0 where there is no per-tensor scale. An int8
                                    activation without one has run-time parameters (see
                                    ``zeropoint.operators``).
    ``zeropoint.value.zero_point``  array of int32, in the int8 domain
    ``zeropoint.value.axis``        array of int32; channel axis of per-channel constants, else -1

    Nodes in execution order, ``i`` counting from 0:
    ``zeropoint.node.count``        uint32
    ``zeropoint.node.<i>.name``     string
    ``zeropoint.node.<i>.op``       string, see ``zeropoint.operators``
    ``zeropoint.node.<i>.inputs``   array of string, "" for an optional input left out (key absent
                                    when there are none)
    ``zeropoint.node.<i>.outputs``  array of string
    ``zeropoint.node.<i>.reason``   string (optional): why the node stayed in float32
    ``zeropoint.node.<i>.attr.<key>``  int64, float64, string, array of int64 or array of float64.
                                    An empty list is written as the absent key.

Tensors
    Each constant value's data, under the value's name, types F32, I8, I32 or I64. GGUF lists
    dimensions fastest first, and has at most four: a constant of higher rank is stored with its
    leading dimensions merged, one of rank 0 as one element; ``zeropoint.value.dims`` has the truth.
    A per-channel constant ``w`` (axis >= 0) is accompanied by tensors ``w.scale`` (F32) and
    ``w.zero_point`` (I32), one element a channel, so the name of such a constant has at most
    50 bytes.

Names longer than the limit, and names that would collide with ``.scale`` or ``.zero_point``
tensors, are replaced by the writer with unique short ones; graph inputs and outputs that are too
long are an error.
"""

from __future__ import annotations

import hashlib
import os
import struct
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from zeropoint.atomic import replacing
from zeropoint.errors import FileError, GraphError, ModelError
from zeropoint.gguf_container import (
    ARRAY,
    CONTAINER_VERSION,
    F32,
    F64,
    I32,
    I64,
    MAGIC,
    STRING,
    TENSOR_DTYPES,
    TENSOR_TYPES,
    TYPE_NAMES,
    U32,
    U64,
    Cursor,
    KeyValues,
    checksum,
    pack_string,
)
from zeropoint.graph import Array, Attribute, Dim, Graph, Node, QuantParams, Value
from zeropoint.model_checks import check_graph

FORMAT_VERSION = 1
ALIGNMENT = 64
MAX_NAME_BYTES = 63
#: A per-channel constant's name must leave room for ".zero_point".
MAX_CHANNEL_NAME_BYTES = 50


# -- names ----------------------------------------------------------------------------------


def short_name(name: str, limit: int = MAX_NAME_BYTES) -> str:
    """``name`` where it fits ``limit`` bytes of UTF-8, else its end after a digest of the whole.

    A pure function of the name, so that values of a model file can be matched with those of the
    graph it was made from.
    """
    if len(name.encode()) <= limit:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=5).hexdigest()
    tail = name.encode()[-(limit - len(digest) - 1) :].decode(errors="ignore")
    return f"{digest}~{tail}"


def _file_names(graph: Graph, where: str) -> dict[str, str]:
    """The name in the file of each value."""
    fixed = set(graph.inputs) | set(graph.outputs)
    names: dict[str, str] = {}
    taken: set[str] = set()

    def take(value: Value, chosen: str) -> None:
        names[value.name] = chosen
        taken.add(chosen)
        if value.quant is not None and value.quant.axis is not None:
            taken.update((f"{chosen}.scale", f"{chosen}.zero_point"))

    for value in graph.values.values():
        try:
            encoded = value.name.encode()
        except UnicodeEncodeError:
            raise GraphError(f"{where}: value name {value.name!r} is not valid Unicode") from None
        if not encoded or b"\0" in encoded:
            raise GraphError(f"{where}: a value has the name {value.name!r}; give it a real name")
        if value.name in fixed:
            if len(encoded) > MAX_NAME_BYTES:
                raise GraphError(
                    f"{where}: the graph input or output '{value.name}' has a name of "
                    f"{len(encoded)} bytes; a model file holds at most {MAX_NAME_BYTES}: rename it"
                )
            take(value, value.name)
    # Per-channel constants first: they also take the names of their .scale and .zero_point.
    rest = [v for v in graph.values.values() if v.name not in fixed]
    rest.sort(key=lambda v: v.quant is None or v.quant.axis is None)
    for value in rest:
        per_channel = value.quant is not None and value.quant.axis is not None
        limit = MAX_CHANNEL_NAME_BYTES if per_channel else MAX_NAME_BYTES
        chosen, attempt = short_name(value.name, limit), 0
        while (
            chosen in taken
            or (per_channel and {f"{chosen}.scale", f"{chosen}.zero_point"} & taken)
            or (chosen != value.name and chosen in graph.values)
        ):
            attempt += 1
            digest = hashlib.blake2b(f"{attempt}:{value.name}".encode(), digest_size=8).hexdigest()
            chosen = f"{digest}~{attempt}"
        take(value, chosen)
    return names


# -- writing --------------------------------------------------------------------------------


def _producer() -> str:
    try:
        return f"zeropoint {metadata.version('zeropoint')}"
    except metadata.PackageNotFoundError:
        return "zeropoint"


def _key_values(graph: Graph, names: dict[str, str], where: str) -> KeyValues:
    values = list(graph.values.values())
    kv = KeyValues()
    kv.string("general.architecture", "zeropoint")
    kv.scalar("general.alignment", U32, ALIGNMENT)
    kv.string("general.name", graph.name)
    kv.scalar("zeropoint.format_version", U32, FORMAT_VERSION)
    kv.string("zeropoint.producer", _producer())
    kv.array("zeropoint.inputs", STRING, (names[n] for n in graph.inputs))
    kv.array("zeropoint.outputs", STRING, (names[n] for n in graph.outputs))
    if graph.unsigned:
        kv.array("zeropoint.unsigned", STRING, (names[n] for n in sorted(graph.unsigned)))

    shapes = [value.shape or () for value in values]
    per_tensor = [v.quant if v.quant is not None and v.quant.axis is None else None for v in values]
    kv.array("zeropoint.value.name", STRING, (names[v.name] for v in values))
    kv.array("zeropoint.value.dtype", STRING, (v.dtype for v in values))
    kv.array("zeropoint.value.rank", U32, (len(shape) for shape in shapes))
    dims = [-1 if d is None else int(d) for shape in shapes for d in shape]
    if dims:
        kv.array("zeropoint.value.dims", I64, dims)
    kv.array(
        "zeropoint.value.scale", F32, (float(q.scale.item()) if q else 0.0 for q in per_tensor)
    )
    kv.array(
        "zeropoint.value.zero_point",
        I32,
        (int(q.zero_point.item()) if q else 0 for q in per_tensor),
    )
    axes = (-1 if v.quant is None or v.quant.axis is None else v.quant.axis for v in values)
    kv.array("zeropoint.value.axis", I32, axes)

    kv.scalar("zeropoint.node.count", U32, len(graph.nodes))
    for i, node in enumerate(graph.nodes):
        prefix = f"zeropoint.node.{i}."
        kv.string(prefix + "name", node.name)
        kv.string(prefix + "op", node.op)
        if node.inputs:
            kv.array(prefix + "inputs", STRING, (names[n] if n else "" for n in node.inputs))
        kv.array(prefix + "outputs", STRING, (names[n] for n in node.outputs))
        if node.reason:
            kv.string(prefix + "reason", node.reason)
        for key in sorted(node.attrs):
            label = f"{where}: node '{node.name}' ({node.op})"
            kv.attribute(f"{prefix}attr.{key}", node.attrs[key], label)
    return kv


def _tensors(graph: Graph, names: dict[str, str]) -> list[tuple[str, Array]]:
    tensors: list[tuple[str, Array]] = []
    for value in graph.values.values():
        if value.data is None:
            continue
        name = names[value.name]
        tensors.append((name, value.data))
        if value.quant is not None and value.quant.axis is not None:
            tensors.append((f"{name}.scale", value.quant.scale))
            tensors.append((f"{name}.zero_point", value.quant.zero_point.astype(np.int32)))
    return tensors


def to_bytes(graph: Graph) -> bytes:
    """The bytes of ``graph``'s model file: the same graph gives the same bytes.

    Raises:
        GraphError: the graph breaks a rule of the format: an unknown operator or value, a
            constant that is not finite, a scale that is not a positive normal float32, a graph
            input whose name is too long. The message names the value or node.
    """
    where = graph.source or graph.name
    check_graph(graph, where)
    names = _file_names(graph, where)
    kv = _key_values(graph, names, where)
    tensors = _tensors(graph, names)

    table: list[bytes] = []
    data: list[bytes] = []
    offset = 0
    for name, array in tensors:
        stored = np.ascontiguousarray(array)
        shape = stored.shape
        if len(shape) > 4:
            shape = (int(np.prod(shape[:-3])), *shape[-3:])
        dims = shape[::-1] or (1,)
        table.append(
            pack_string(name)
            + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
            + struct.pack("<IQ", TENSOR_TYPES[str(array.dtype)], offset)
        )
        raw = stored.astype(stored.dtype.newbyteorder("<"), copy=False).tobytes()
        raw += bytes(-len(raw) % ALIGNMENT)
        data.append(raw)
        offset += len(raw)

    # The checksum's value ends the key-values; it covers what is before and what is behind it.
    kv.scalar("zeropoint.checksum", U64, 0)
    head = MAGIC + struct.pack("<IQQ", CONTAINER_VERSION, len(tensors), kv.count)
    head = (head + kv.to_bytes())[:-8]
    tail = b"".join(table)
    tail += bytes(-(len(head) + 8 + len(tail)) % ALIGNMENT)
    tail = b"".join([tail, *data])
    return b"".join([head, struct.pack("<Q", checksum(head, tail)), tail])


def write_model(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Writes ``graph`` to ``path``, whole or not at all.

    The bytes go to a temporary file in the same folder, reach the disk, and then take the name:
    whatever fails, a file that was there before stays as it was.

    Raises:
        GraphError: as :func:`to_bytes`.
        FileError: the folder or the file cannot be written.
    """
    content = to_bytes(graph)
    with replacing(path) as file:
        file.write(content)


# -- reading --------------------------------------------------------------------------------


class _Reader:
    """Turns checked key-values and tensors back into a graph."""

    def __init__(self, content: bytes, where: str) -> None:
        self.where = where
        cursor = self.cursor = Cursor(content, where)
        if cursor.take(4) != MAGIC:
            raise ModelError(f"{where}: not a GGUF file (the first bytes are not 'GGUF')")
        version = cursor.scalar(U32)
        if version != CONTAINER_VERSION:
            raise ModelError(f"{where}: GGUF version {version}; only version 3 is supported")
        tensor_count, kv_count = cursor.scalar(U64), cursor.scalar(U64)
        self.kv: dict[str, tuple[int | tuple[int, int], Any]] = {}
        for _ in range(kv_count):
            key = cursor.string()
            if key in self.kv:
                raise cursor.fail(f"key '{key}' occurs twice")
            self.kv[key] = cursor.value()
            if key == "zeropoint.checksum":
                checksum_end = cursor.position
        self._check_header()
        if "zeropoint.checksum" in self.kv:
            found = self.get("zeropoint.checksum", U64)
            if found != checksum(cursor.content[: checksum_end - 8], cursor.content[checksum_end:]):
                raise ModelError(
                    f"{where}: the checksum does not fit the content; the file was altered or "
                    "damaged: fetch or write it again"
                )
        self.attributes = self._read_attributes()
        self.tensors = self._read_tensors(tensor_count)

    def get(self, key: str, kind: int | tuple[int, int], default: Any = None) -> Any:
        if key not in self.kv:
            if default is not None:
                return default
            raise ModelError(f"{self.where}: the key '{key}' is missing; the file is damaged")
        found, value = self.kv[key]
        if found != kind:
            item = kind if isinstance(kind, int) else kind[1]
            wanted = TYPE_NAMES[item] if isinstance(kind, int) else f"array of {TYPE_NAMES[item]}"
            raise ModelError(f"{self.where}: the key '{key}' is not of type {wanted}")
        return value

    def _check_header(self) -> None:
        if self.get("general.architecture", STRING) != "zeropoint":
            raise ModelError(
                f"{self.where}: a GGUF file of the architecture "
                f"'{self.get('general.architecture', STRING)}', not a zeropoint model"
            )
        version = self.get("zeropoint.format_version", U32)
        if not 1 <= version <= FORMAT_VERSION:
            raise ModelError(
                f"{self.where}: format version {version}; this zeropoint reads version "
                f"{FORMAT_VERSION}: upgrade zeropoint, or write the model again"
            )
        if self.get("general.alignment", U32) != ALIGNMENT:
            raise ModelError(f"{self.where}: general.alignment must be {ALIGNMENT}")

    def _read_tensors(self, count: int) -> dict[str, Array]:
        cursor = self.cursor
        entries: list[tuple[str, tuple[int, ...], int, int]] = []
        for _ in range(count):
            name = cursor.string()
            rank = cursor.scalar(U32)
            if not 1 <= rank <= 4:
                raise cursor.fail(f"tensor '{name}' has {rank} dimensions")
            dims = tuple(cursor.scalar(U64) for _ in range(rank))
            entries.append((name, dims[::-1], cursor.scalar(U32), cursor.scalar(U64)))
        start = -(-cursor.position // ALIGNMENT) * ALIGNMENT
        tensors: dict[str, Array] = {}
        for name, shape, kind, offset in entries:
            if name in tensors:
                raise cursor.fail(f"tensor '{name}' occurs twice")
            dtype = TENSOR_DTYPES.get(kind)
            if dtype is None:
                raise cursor.fail(f"tensor '{name}' has the unknown type {kind}")
            elements = 1
            for dim in shape:
                elements *= dim  # Python integers: no overflow
            size = elements * dtype.itemsize
            if elements == 0 or offset % ALIGNMENT:
                raise cursor.fail(f"tensor '{name}' is empty or not aligned")
            if start + offset + size > len(cursor.content):
                raise ModelError(
                    f"{self.where}: tensor '{name}' ends at byte {start + offset + size}, the file "
                    f"at byte {len(cursor.content)}; the file is truncated"
                )
            data = np.frombuffer(cursor.content, dtype, elements, start + offset)
            tensors[name] = data.astype(dtype.newbyteorder("="), copy=False).reshape(shape)
        return tensors

    def graph(self) -> Graph:
        graph = Graph(self.get("general.name", STRING), source=self.where)
        for value in self._values():
            graph.add_value(value)
        graph.inputs = self.get("zeropoint.inputs", (ARRAY, STRING))
        graph.outputs = self.get("zeropoint.outputs", (ARRAY, STRING))
        graph.unsigned = set(self.get("zeropoint.unsigned", (ARRAY, STRING), []))
        graph.nodes = [self._node(i) for i in range(self.get("zeropoint.node.count", U32))]
        try:
            check_graph(graph, self.where)
        except GraphError as error:
            raise ModelError(str(error)) from None
        return graph

    def _values(self) -> list[Value]:
        names = self.get("zeropoint.value.name", (ARRAY, STRING))
        columns = [
            self.get(f"zeropoint.value.{key}", (ARRAY, kind))
            for key, kind in (
                ("dtype", STRING), ("rank", U32), ("scale", F32), ("zero_point", I32),
                ("axis", I32),
            )
        ]  # fmt: skip
        dims = self.get("zeropoint.value.dims", (ARRAY, I64), [])
        if any(len(column) != len(names) for column in columns) or sum(columns[1]) != len(dims):
            raise ModelError(f"{self.where}: the zeropoint.value arrays do not match in length")
        if len(set(names)) != len(names):
            raise ModelError(f"{self.where}: two values have the same name")
        values, first = [], 0
        for name, dtype, rank, scale, zero_point, axis in zip(names, *columns, strict=True):
            shape: tuple[Dim, ...] = tuple(
                None if d == -1 else d for d in dims[first : first + rank]
            )
            first += rank
            values.append(self._value(name, dtype, shape, scale, zero_point, axis))
        return values

    def _value(
        self,
        name: str,
        dtype: str,
        shape: tuple[Dim, ...],
        scale: float,
        zero_point: int,
        axis: int,
    ) -> Value:
        quant = None
        if axis >= 0:
            channel = [self.tensors.get(f"{name}.{part}") for part in ("scale", "zero_point")]
            if channel[0] is None or channel[1] is None:
                raise ModelError(f"{self.where}: the scales of constant '{name}' are missing")
            quant = QuantParams(channel[0], channel[1], axis)
        elif scale != 0.0:
            quant = QuantParams.per_tensor(scale, zero_point)
        data = self.tensors.get(name)
        if data is not None:
            concrete = [d for d in shape if d is not None]
            elements = 1
            for dim in concrete:
                elements *= dim
            if len(concrete) != len(shape) or elements != data.size:
                raise ModelError(
                    f"{self.where}: constant '{name}' has {data.size} elements, which does not "
                    f"match its shape {list(shape)}"
                )
            data = data.reshape(concrete)
        return Value(name, dtype, shape, quant, data)

    def _node(self, i: int) -> Node:
        prefix = f"zeropoint.node.{i}."
        node = Node(
            self.get(prefix + "name", STRING),
            self.get(prefix + "op", STRING),
            self.get(prefix + "inputs", (ARRAY, STRING), []),
            self.get(prefix + "outputs", (ARRAY, STRING)),
            reason=self.get(prefix + "reason", STRING, ""),
        )
        node.attrs = self.attributes.get(i, {})
        return node

    def _read_attributes(self) -> dict[int, dict[str, Attribute]]:
        """Attributes by node number, in one pass over the key-values."""
        found: dict[int, dict[str, Attribute]] = {}
        allowed = {I64, F64, STRING, (ARRAY, I64), (ARRAY, F64)}
        for key, (kind, value) in self.kv.items():
            parts = key.split(".", 4)
            if parts[:2] != ["zeropoint", "node"] or len(parts) != 5 or parts[3] != "attr":
                continue
            if kind not in allowed:
                raise ModelError(
                    f"{self.where}: the attribute '{key}' is not an int64, float64, string or list"
                )
            if parts[2].isdecimal():
                found.setdefault(int(parts[2]), {})[parts[4]] = value
        return found


def read_model(source: str | os.PathLike[str] | bytes) -> Graph:
    """The graph in a model file (a path, or the file's bytes), in plain NumPy.

    Constants are read-only arrays over the file's bytes. Values keep the names they have in the
    file (see :func:`short_name`).

    Raises:
        FileError: the file cannot be read.
        ModelError: it is not a zeropoint model of this format version, or it is damaged.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        content, where = bytes(source), "model"
    else:
        where = os.fspath(source)
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise FileError(
                f"cannot read the model file {where}: {error.strerror or error}"
            ) from error
    return _Reader(content, where).graph()
