"""The engine's reader against files of other writers, and against damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import networks
from test_session import sample, small_graph
from zeropoint.errors import Error, ModelError
from zeropoint.model_file import read_model, to_bytes
from zeropoint.session import Session

CONTENT = to_bytes(small_graph())


def try_to_run(content: bytes) -> str:
    """The message of the Error, "" without one; anything else, a crash above all, fails."""
    try:
        Session(content).run(sample(1))
    except Error as error:
        return str(error) or "an error without a message"
    return ""


def rewritten(path: Path, *, version: int = 1, alignment: int = 32) -> None:
    """Writes the small model anew with the public gguf package."""
    gguf = pytest.importorskip("gguf")
    source = path.with_suffix(".source")
    source.write_bytes(CONTENT)
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, "zeropoint")
    writer.data_alignment = alignment
    writer.add_uint32("general.alignment", alignment)
    kept = [f for f in reader.fields.values() if not f.name.startswith("GGUF.")]
    for field in reversed(kept):  # the order of keys must not matter
        if field.name in ("general.architecture", "general.alignment", "zeropoint.checksum"):
            continue
        if field.name == "zeropoint.format_version":
            writer.add_uint32(field.name, version)
        else:
            inner = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    writer.add_string("general.description", "a key that zeropoint does not know")
    for tensor in reader.tensors:
        data = np.array(tensor.data).reshape([int(d) for d in tensor.shape[::-1]])
        writer.add_tensor(tensor.name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("alignment", [32, 64, 128])
def test_a_file_of_the_public_package(tmp_path: Path, alignment: int) -> None:
    path = tmp_path / "theirs.gguf"
    rewritten(path, alignment=alignment)
    ours, theirs = Session(CONTENT).run(sample()), Session(path).run(sample())
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_a_file_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "newer.gguf"
    rewritten(path, version=2)
    with pytest.raises(ModelError, match=r"format version 2.*upgrade"):
        Session(path)


def test_the_public_package_reads_our_files(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "ours.gguf"
    path.write_bytes(CONTENT)
    reader = gguf.GGUFReader(path)
    assert reader.fields["general.architecture"].contents() == "zeropoint"
    assert {t.name for t in reader.tensors} == {"w", "w.scale", "w.zero_point", "b"}


def test_a_file_cut_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    end = len(CONTENT) - 64  # the last 64 bytes may be padding
    for size in range(end):
        with pytest.raises(ModelError):
            Session(CONTENT[:size])
    for size in range(0, end, 97):
        path.write_bytes(CONTENT[:size])
        with pytest.raises(ModelError, match=r"cut\.gguf"):
            Session(path)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), max_size=4))
def test_altered_bytes(changes: list[tuple[int, int]]) -> None:
    content = bytearray(CONTENT)
    for at, byte in changes:
        content[at] = byte
    try_to_run(bytes(content))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(CONTENT) - 1), st.integers(0, len(CONTENT) - 1), st.integers(1, 64))
def test_moved_pieces(source: int, target: int, size: int) -> None:
    content = bytearray(CONTENT)
    piece = CONTENT[source : source + size]
    content[target : target + len(piece)] = piece
    try_to_run(bytes(content))


def test_wrong_words_in_place() -> None:
    """Operators, dtypes and keys exchanged for others of the same length."""
    words = [b"float32", b"int8", b"conv2d", b"flatten", b"quantize", b"dequantize", b"pads"]
    others = [b"int64\0\0", b"int9", b"linear", b"squeeze", b"softmax_", b"avg_pool2d", b"dapz"]
    errors = 0
    for word, other in zip(words, others, strict=True):
        at = CONTENT.find(word)
        while at >= 0:
            errors += try_to_run(CONTENT[:at] + other + CONTENT[at + len(word) :]) != ""
            at = CONTENT.find(word, at + 1)
    assert errors >= 10


def test_every_altered_bit_is_an_error_or_harmless() -> None:
    """Both readers check the checksum; a flip in its own key's name or type only hides it."""
    graph = networks.residual(seed=3)
    x = networks.samples(graph, 1)
    content = to_bytes(graph)
    key = content.index(b"zeropoint.checksum")
    random = np.random.default_rng(5)
    positions = {*range(256), *random.integers(0, len(content), 300).tolist()}
    expected = Session(content).run(x)
    for position in sorted(positions):
        altered = bytearray(content)
        altered[position] ^= 1 << int(random.integers(8))
        if key <= position < key + 30:
            continue
        with pytest.raises(ModelError):
            Session(bytes(altered))
        with pytest.raises(ModelError):
            read_model(bytes(altered))
    for position in range(key, key + len("zeropoint.checksum")):
        altered = bytearray(content)
        altered[position] ^= 1
        actual = Session(bytes(altered)).run(x)
        assert all(np.array_equal(expected[name], actual[name]) for name in expected)
