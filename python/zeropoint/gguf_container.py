"""GGUF, the container of model files: key-values and tensors as bytes.

Source: the GGUF specification published with ggml (docs/gguf.md in ggml-org/ggml), version 3,
little-endian. What zeropoint stores in it is specified in :mod:`zeropoint.model_file`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from zeropoint.errors import GraphError, ModelError
from zeropoint.graph import Attribute

MAGIC = b"GGUF"
CONTAINER_VERSION = 3

# GGUF's type numbers: key-values ...
U32, I32, F32, STRING, ARRAY, U64, I64, F64 = 4, 5, 6, 8, 9, 10, 11, 12
_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", U32: "I", I32: "i", F32: "f", 7: "?", U64: "Q",
    I64: "q", F64: "d",
}  # fmt: skip
TYPE_NAMES = {
    U32: "uint32", I32: "int32", F32: "float32", STRING: "string", I64: "int64",
    U64: "uint64", F64: "float64",
}  # fmt: skip
# ... and tensors.
TENSOR_TYPES = {"float32": 0, "int8": 24, "int32": 26, "int64": 27}
TENSOR_DTYPES = {number: np.dtype(name).newbyteorder("<") for name, number in TENSOR_TYPES.items()}
#: Attributes that are real numbers whatever Python type a graph holds them in.
_REAL_ATTRIBUTES = frozenset(
    "alpha beta clip_max clip_min epsilon exponent max min scales value".split()
)


class KeyValues:
    """Key-values as they are laid out in the file."""

    def __init__(self) -> None:
        self.count = 0
        self._parts: list[bytes] = []

    def _key(self, key: str, kind: int) -> None:
        self.count += 1
        self._parts.append(pack_string(key) + struct.pack("<I", kind))

    def scalar(self, key: str, kind: int, value: float) -> None:
        self._key(key, kind)
        self._parts.append(struct.pack("<" + _SCALARS[kind], value))

    def string(self, key: str, value: str) -> None:
        self._key(key, STRING)
        self._parts.append(pack_string(value))

    def array(self, key: str, kind: int, items: Iterable[Any]) -> None:
        items = list(items)
        self._key(key, ARRAY)
        self._parts.append(struct.pack("<IQ", kind, len(items)))
        if kind == STRING:
            self._parts.extend(pack_string(item) for item in items)
        else:
            self._parts.append(struct.pack(f"<{len(items)}{_SCALARS[kind]}", *items))

    def attribute(self, key: str, value: Attribute, label: str) -> None:
        try:
            self._attribute(key, value)
        except (TypeError, ValueError, OverflowError, struct.error):
            raise GraphError(
                f"{label}: attribute '{key.rsplit('.', 1)[1]}' is {value!r}; a model file holds "
                "int64, float64 (not NaN), string and lists of these numbers"
            ) from None

    def _attribute(self, key: str, value: Attribute) -> None:
        real = key.rsplit(".", 1)[1] in _REAL_ATTRIBUTES
        if isinstance(value, str):
            self.string(key, value)
        elif isinstance(value, (list, tuple, np.ndarray)):
            items = list(value)
            if not items:
                return
            if real or any(isinstance(item, (float, np.floating)) for item in items):
                self.array(key, F64, [_real(item) for item in items])
            else:
                self.array(key, I64, [_integer(item) for item in items])
        elif real or isinstance(value, (float, np.floating)):
            self.scalar(key, F64, _real(value))
        else:
            self.scalar(key, I64, _integer(value))

    def to_bytes(self) -> bytes:
        return b"".join(self._parts)


def pack_string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _real(value: Any) -> float:
    number = float(value)
    if number != number:
        raise ValueError("NaN")
    return number


def _integer(value: Any) -> int:
    if not isinstance(value, (int, np.integer)):
        raise TypeError(type(value))
    return int(value)


def checksum(head: bytes, tail: bytes) -> int:
    """``3 h(head) + h(tail)`` modulo 2^64, with h as in :mod:`zeropoint.model_file`."""

    def weighted(part: bytes) -> int:
        words = np.frombuffer(part + bytes(-len(part) % 8), "<u8").astype(np.uint64)
        return int(np.sum(words * np.arange(1, 2 * len(words), 2, dtype=np.uint64)))

    return (3 * weighted(head) + weighted(tail)) % 2**64


class Cursor:
    """Reads little-endian items, never past the end."""

    def __init__(self, content: bytes, where: str) -> None:
        self.content = content
        self.where = where
        self.position = 0

    def fail(self, what: str) -> ModelError:
        return ModelError(f"{self.where}: {what}; the file is damaged or not a zeropoint model")

    def take(self, size: int) -> bytes:
        if size > len(self.content) - self.position:
            raise self.fail(f"the file ends inside its header (at byte {len(self.content)})")
        self.position += size
        return self.content[self.position - size : self.position]

    def scalar(self, kind: int) -> Any:
        layout = "<" + _SCALARS[kind]
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def string(self) -> str:
        raw = self.take(self.scalar(U64))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.fail(f"a string before byte {self.position} is not UTF-8") from None

    def value(self) -> tuple[int | tuple[int, int], Any]:
        """A key-value's type (``(ARRAY, item type)`` for an array) and content."""
        kind = self.scalar(U32)
        if kind == STRING:
            return kind, self.string()
        if kind in _SCALARS:
            return kind, self.scalar(kind)
        if kind != ARRAY:
            raise self.fail(f"unknown key-value type {kind} at byte {self.position}")
        item, count = self.scalar(U32), self.scalar(U64)
        if item == STRING:
            # At least a length of 8 bytes each, so a huge count fails before it costs anything.
            if count > (len(self.content) - self.position) // 8:
                raise self.fail(f"an array at byte {self.position} is longer than the file")
            return (ARRAY, item), [self.string() for _ in range(count)]
        if item not in _SCALARS:
            raise self.fail(f"unknown array type {item} at byte {self.position}")
        size = struct.calcsize("<" + _SCALARS[item])
        if count > (len(self.content) - self.position) // size:
            raise self.fail(f"an array at byte {self.position} is longer than the file")
        return (ARRAY, item), list(
            struct.unpack(f"<{count}{_SCALARS[item]}", self.take(size * count))
        )
