"""Samples in ``.npz`` files, read in batches: memory does not grow with the number of samples."""

from __future__ import annotations

import contextlib
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from zeropoint.atomic import replacing
from zeropoint.errors import FileError, InputError
from zeropoint.session import TensorInfo

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Member:
    """One array of the file, as its header describes it."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool


class NpzBatches:
    """The samples of an ``.npz`` file, as a sequence of ``{input name: array}`` batches.

    The file has one array per graph input, samples along the first axis. Names, dtypes and shapes
    are checked here, before anything is read; iterating reads each array once, from its beginning,
    a batch at a time. It can be iterated again.

    Args:
        path: the file, as ``numpy.savez`` or ``numpy.savez_compressed`` writes it.
        inputs: the graph's inputs.
        batch: samples a batch where the first dimension is free; the last batch may be smaller.
            A fixed first dimension decides by itself, and must divide the number of samples.

    Raises:
        FileError: the file cannot be opened.
        InputError: it is no ``.npz`` file, or its arrays do not fit the inputs.
    """

    def __init__(
        self, path: str | os.PathLike[str], inputs: Sequence[TensorInfo], batch: int | None = None
    ) -> None:
        if batch is not None and batch < 1:
            raise InputError(f"the batch must be at least 1, not {batch}")
        self.path = os.fspath(path)
        with _opened(self.path) as archive:
            members = _members(self.path, archive, inputs)
        samples = {spec.name: members[spec.name].shape[0] for spec in inputs}
        if len(set(samples.values())) > 1:
            counts = ", ".join(f"'{name}' {n}" for name, n in samples.items())
            raise InputError(
                f"{self.path}: the arrays have different numbers of samples (first axis): {counts}"
            )
        self._members = [members[spec.name] for spec in inputs]
        self.samples: int = next(iter(samples.values()))
        self.batch = _batch_size(self.path, inputs, batch, self.samples)

    def __len__(self) -> int:
        """The number of batches."""
        return -(-self.samples // self.batch)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        with contextlib.ExitStack() as stack:
            archive = stack.enter_context(_opened(self.path))
            readers = {
                m.name: stack.enter_context(_Reader(self.path, archive, m)) for m in self._members
            }
            for begin in range(0, self.samples, self.batch):
                count = min(self.batch, self.samples - begin)
                yield {name: reader.rows(count) for name, reader in readers.items()}


class _Reader:
    """Reads one array of the archive row by row."""

    def __init__(self, path: str, archive: zipfile.ZipFile, member: _Member) -> None:
        self._path, self._member = path, member
        self._file: IO[bytes] = archive.open(member.name + ".npy")
        self._whole: Array | None = None
        self._next = 0
        if member.fortran and len(member.shape) > 1:
            # Column-major data has the samples interleaved: it can only be read as a whole.
            with _reading(path, member.name):
                self._whole = np.lib.format.read_array(self._file, allow_pickle=False)
        else:
            _read_header(path, member.name, self._file)

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def rows(self, count: int) -> Array:
        member = self._member
        if self._whole is not None:
            self._next += count
            return np.ascontiguousarray(self._whole[self._next - count : self._next])
        shape = (count, *member.shape[1:])
        wanted = math.prod(shape) * member.dtype.itemsize
        with _reading(self._path, member.name):
            data = self._file.read(wanted)
        if len(data) != wanted:
            raise InputError(
                f"{self._path}: array '{member.name}' ends early; the file is truncated"
            )
        # A copy: arrays handed out are writable and in native byte order.
        values = np.frombuffer(data, member.dtype).reshape(shape)
        return values.astype(member.dtype.newbyteorder("="))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except OSError as e:
        raise FileError(f"{path}: cannot be read: {e.strerror or e}") from None
    except zipfile.BadZipFile:
        raise InputError(
            f"{path}: not an .npz file; write it with numpy.savez(path, <input name>=<array>, ...)"
        ) from None
    with archive:
        yield archive


@contextlib.contextmanager
def _reading(path: str, name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as e:
        # RuntimeError: an encrypted archive, or an unknown compression.
        raise InputError(f"{path}: array '{name}' cannot be read: {e}") from None


def _read_header(path: str, name: str, file: IO[bytes]) -> _Member:
    with _reading(path, name):
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"its format version {version} is for arrays with named fields")
        if any(d < 0 for d in shape):
            raise ValueError(f"its header has the shape {shape}")
    return _Member(name, dtype, shape, fortran)


def _members(
    path: str, archive: zipfile.ZipFile, inputs: Sequence[TensorInfo]
) -> dict[str, _Member]:
    present = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
    wanted = [spec.name for spec in inputs]
    missing = [name for name in wanted if name not in present]
    extra = [name for name in present if name not in wanted]
    if missing or extra:
        raise InputError(
            f"{path}: the file must have one array per graph input: {_names(wanted)}; "
            f"it has {_names(present)}"
        )
    members = {}
    for spec in inputs:
        with _reading(path, spec.name), archive.open(spec.name + ".npy") as file:
            member = _read_header(path, spec.name, file)
        _check(path, member, spec)
        stored = archive.getinfo(spec.name + ".npy").file_size
        if math.prod(member.shape) * member.dtype.itemsize > stored:
            raise InputError(
                f"{path}: array '{spec.name}' is shorter than its header says; the file is damaged"
            )
        members[spec.name] = member
    return members


def _check(path: str, member: _Member, spec: TensorInfo) -> None:
    dtype, shape = member.dtype, member.shape
    if dtype.newbyteorder("=") != np.dtype(spec.dtype):
        raise InputError(
            f"{path}: array '{spec.name}' is {dtype}, but the input wants {spec.dtype}; "
            f"convert it with .astype(numpy.{spec.dtype})"
        )
    if not spec.shape:
        raise InputError(
            f"input '{spec.name}' is a scalar: an .npz file with samples along the first axis "
            "cannot provide it; run this model from Python"
        )
    # The first axis counts samples; _batch_size() holds it against a fixed first dimension.
    fits = len(shape) == len(spec.shape) and all(
        want is None or want == have for want, have in zip(spec.shape[1:], shape[1:], strict=True)
    )
    if not fits:
        raise InputError(
            f"{path}: array '{spec.name}' has shape {list(shape)}, but the input wants {spec}, "
            "samples along the first axis"
        )
    if shape[0] == 0:
        raise InputError(f"{path}: array '{spec.name}' has no samples (its first axis is 0)")


def _batch_size(path: str, inputs: Sequence[TensorInfo], batch: int | None, samples: int) -> int:
    fixed = {spec.name: spec.shape[0] for spec in inputs if spec.shape[0] is not None}
    if not fixed:
        return min(batch or samples, samples)
    if len(set(fixed.values())) > 1:
        sizes = ", ".join(f"'{name}' {n}" for name, n in fixed.items())
        raise InputError(
            f"the model's inputs have different first dimensions ({sizes}), so samples cannot be "
            "paired along the first axis; run this model from Python"
        )
    name, size = next(iter(fixed.items()))
    if batch is not None and batch != size:
        raise InputError(
            f"the first dimension of input '{name}' is fixed at {size}, so the batch cannot be "
            f"{batch}; leave the option out"
        )
    if samples % size:
        raise InputError(
            f"{path}: {samples} samples cannot be split into batches of {size}, the fixed first "
            f"dimension of input '{name}'"
        )
    return size


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:8])
    return (shown or "none") + (", ..." if len(names) > 8 else "")


def save_npz(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Writes ``arrays`` as an uncompressed ``.npz`` file, whole or not at all.

    A file that exists is replaced only once the new one is complete.

    Raises:
        FileError: the file cannot be written.
    """
    # Not numpy.savez: there an array named "file" would collide with its parameter.
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(name + ".npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
