"""Samples in .npz files: streamed, checked before use, written whole or not at all."""

from __future__ import annotations

import io
import os
import pathlib
import tracemalloc
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from zeropoint.errors import FileError, InputError
from zeropoint.npz import NpzBatches, save_npz
from zeropoint.session import TensorInfo

IMAGE = TensorInfo("image", "float32", (None, 3, 4))
SCALE = TensorInfo("scale", "float32", (None, 1))


def image(n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, 3, 4), dtype=np.float32)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("batch", [1, 3, 7, 100, None])
def test_batches_hold_the_samples_in_order(
    tmp_path: pathlib.Path, save: Callable[..., None], batch: int | None
) -> None:
    x, s = image(7), np.arange(7, dtype=np.float32)[:, None]
    save(tmp_path / "x.npz", image=x, scale=s)
    batches = NpzBatches(tmp_path / "x.npz", [IMAGE, SCALE], batch)
    for _ in range(2):  # it can be iterated again
        parts = list(batches)
        assert len(parts) == len(batches)
        assert all(len(p["image"]) <= (batch or 7) for p in parts)
        np.testing.assert_array_equal(np.concatenate([p["image"] for p in parts]), x)
        np.testing.assert_array_equal(np.concatenate([p["scale"] for p in parts]), s)


def test_arrays_are_native_writable_and_contiguous(tmp_path: pathlib.Path) -> None:
    x = image(4)
    np.savez(tmp_path / "big.npz", image=x.astype(">f4"))
    np.savez(tmp_path / "fortran.npz", image=np.asfortranarray(x))
    for name in ("big", "fortran"):
        parts = [b["image"] for b in NpzBatches(tmp_path / f"{name}.npz", [IMAGE], 3)]
        np.testing.assert_array_equal(np.concatenate(parts), x)
        for part in parts:
            assert part.dtype == np.dtype("=f4")
            assert part.flags.c_contiguous
            assert part.flags.writeable


def test_memory_does_not_grow_with_the_samples(tmp_path: pathlib.Path) -> None:
    spec = TensorInfo("x", "float32", (None, 1024))

    def peak(samples: int) -> int:
        np.savez(tmp_path / "x.npz", x=np.zeros((samples, 1024), np.float32))
        batches = NpzBatches(tmp_path / "x.npz", [spec], 4)
        tracemalloc.start()
        for _ in batches:
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(16)  # imports and caches
    assert peak(2048) < peak(64) + 100_000  # 8 MB of samples against 256 KB


def test_a_fixed_first_dimension_is_the_batch(tmp_path: pathlib.Path) -> None:
    fixed = TensorInfo("image", "float32", (2, 3, 4))
    np.savez(tmp_path / "x.npz", image=image(6))
    assert [b["image"].shape[0] for b in NpzBatches(tmp_path / "x.npz", [fixed])] == [2, 2, 2]
    with pytest.raises(InputError, match="fixed at 2"):
        NpzBatches(tmp_path / "x.npz", [fixed], 3)
    np.savez(tmp_path / "x.npz", image=image(5))
    with pytest.raises(InputError, match="5 samples cannot be split into batches of 2"):
        NpzBatches(tmp_path / "x.npz", [fixed])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"picture": image(2)}, "one array per graph input: 'image'; it has 'picture'"),
        ({"image": image(2), "labels": np.zeros(2)}, "it has 'image', 'labels'"),
        ({"image": image(2).astype(np.float64)}, "is float64, but the input wants float32"),
        ({"image": image(2)[0]}, r"has shape \[3, 4\]"),
        ({"image": image(2)[:, :2]}, r"has shape \[2, 2, 4\].* wants float32 \[\?, 3, 4\]"),
        ({"image": image(2)[:0]}, "has no samples"),
        ({"image": np.array([{}, {}])}, "is object"),
        ({}, "it has none"),
    ],
)
def test_arrays_that_do_not_fit(
    tmp_path: pathlib.Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InputError, match=message):
        NpzBatches(tmp_path / "x.npz", [IMAGE])


def test_different_numbers_of_samples(tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "x.npz", image=image(3), scale=np.ones((2, 1), np.float32))
    with pytest.raises(InputError, match="'image' 3, 'scale' 2"):
        NpzBatches(tmp_path / "x.npz", [IMAGE, SCALE])


def test_files_that_are_no_npz(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileError, match=r"absent\.npz"):
        NpzBatches(tmp_path / "absent.npz", [IMAGE])
    with pytest.raises(FileError, match="cannot be read: Is a directory"):
        NpzBatches(tmp_path, [IMAGE])
    (tmp_path / "x.npz").write_bytes(b"no zip file")
    with pytest.raises(InputError, match=r"not an \.npz file"):
        NpzBatches(tmp_path / "x.npz", [IMAGE])


def npy(data: bytes, header: str = "") -> bytes:
    file = io.BytesIO()
    np.save(file, image(2))
    content = file.getvalue()
    start = content.index(b"\n") + 1
    if header:
        content = content[:10] + header.encode().ljust(start - 11) + b"\n" + content[start:]
    return content[:start] + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"garbage, and no header at all",
        npy(b""),
        npy(b"\0" * 95),
        npy(b"\0" * 96, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,3,4)}"),
        npy(b"\0" * 96, "{'descr': '<f4', 'fortran_order': True, 'shape': (99999999999,3,4)}"),
        npy(b"\0" * 96, "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3, 4)}"),
        npy(b"\0" * 96, "__import__('os')"),
    ],
)
def test_damaged_members(tmp_path: pathlib.Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("image.npy", content)
    with pytest.raises(InputError, match="image"):
        list(NpzBatches(tmp_path / "x.npz", [IMAGE]))


def test_altered_bytes_are_found(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, image=image(50))
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        list(NpzBatches(path, [IMAGE], 8))


def test_save_npz_replaces_whole_files(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "y.npz"
    arrays = {"file": image(2), "a/b": np.arange(3), "scalar": np.float32(2)}
    save_npz(path, arrays)
    with np.load(path) as file:
        assert sorted(file.files) == sorted(arrays)
        for name, value in arrays.items():
            np.testing.assert_array_equal(file[name], value)
    assert os.listdir(tmp_path) == ["y.npz"]
    before = path.read_bytes()
    with pytest.raises(ValueError, match="allow_pickle"):
        save_npz(path, {"objects": np.array([{}])})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["y.npz"]
    with pytest.raises(FileError, match="cannot be written"):
        save_npz(tmp_path / "absent" / "y.npz", arrays)
