"""The model file: what the writer writes, the public gguf package reads, and the reverse."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from zeropoint.errors import FileError, GraphError, ModelError
from zeropoint.graph import Graph, Node, QuantParams, Value
from zeropoint.model_file import read_model, short_name, to_bytes, write_model


def small_graph() -> Graph:
    """Every dtype, a constant of rank 0 and of rank 5, per-tensor and per-channel parameters."""
    rng = np.random.default_rng(3)
    graph = Graph("small", ["x"], ["y", "best"])
    graph.add_value(Value("x", "float32", (None, 4, 4, 3)))
    graph.add_value(Value("xq", "int8", (None, 4, 4, 3), QuantParams.per_tensor(0.5, -7)))
    graph.add_value(Value("yq", "int8", (None, 4, 4, 5), QuantParams.per_tensor(0.25, 3)))
    graph.add_value(Value("y", "float32", (None, 4, 4, 5)))
    graph.add_value(Value("best", "int64", (None, 4, 4)))
    graph.add_constant(
        "w",
        rng.integers(-127, 128, (5, 1, 1, 3), dtype=np.int8),
        QuantParams(rng.uniform(0.1, 1, 5).astype(np.float32), np.zeros(5, np.int32), 0),
    )
    graph.add_constant("b", rng.integers(-999, 999, 5, dtype=np.int32))
    graph.add_constant("factor", np.asarray(1.5, np.float32))
    graph.add_constant("rank5", rng.standard_normal((2, 1, 3, 1, 5)).astype(np.float32))
    graph.add_constant("indices", np.arange(3, dtype=np.int64))
    graph.add_constant("half", np.asarray([[5, -6]], np.int8), QuantParams.per_tensor(0.125, 1))
    conv = {"strides": [1, 1], "pads": [0, 0, 0, 0], "groups": 1, "qmin": -128, "note": "näme"}
    graph.nodes = [
        Node("q", "quantize", ["x"], ["xq"]),
        Node("conv", "conv2d", ["xq", "w", "b"], ["yq"], conv),
        Node("dq", "dequantize", ["yq"], ["y"], {}, "an output of the graph"),
        Node("top", "argmax", ["yq", ""], ["best"], {"axis": 3, "scales": [2, 0.5], "empty": []}),
    ]
    return graph


def assert_same_graph(a: Graph, b: Graph) -> None:
    assert (a.name, a.inputs, a.outputs) == (b.name, b.inputs, b.outputs)
    assert list(a.values) == list(b.values)
    for name, x in a.values.items():
        y = b.values[name]
        assert (x.name, x.dtype, x.shape) == (y.name, y.dtype, y.shape)
        assert (x.quant is None) == (y.quant is None)
        if x.quant is not None:
            assert x.quant.same(y.quant)
        assert (x.data is None) == (y.data is None)
        if x.data is not None:
            assert y.data is not None
            assert x.data.dtype == y.data.dtype
            assert x.data.tobytes() == y.data.tobytes()
    assert len(a.nodes) == len(b.nodes)
    for m, n in zip(a.nodes, b.nodes, strict=True):
        assert (m.name, m.op, m.inputs, m.outputs, m.reason) == (
            n.name, n.op, n.inputs, n.outputs, n.reason,
        )  # fmt: skip
        assert {k: v for k, v in m.attrs.items() if v != []} == n.attrs


def test_round_trip() -> None:
    graph = small_graph()
    content = to_bytes(graph)
    assert content == to_bytes(graph)
    assert_same_graph(graph, read_model(content))
    assert to_bytes(read_model(content)) == content


def test_public_gguf_package_reads_our_file(tmp_path: Path) -> None:
    graph = small_graph()
    path = tmp_path / "m.gguf"
    write_model(graph, path)
    reader = gguf.GGUFReader(path)

    def field(key: str) -> Any:
        return reader.get_field(key).contents()

    assert field("general.architecture") == "zeropoint"
    assert reader.alignment == 64
    assert field("zeropoint.format_version") == 1
    assert field("zeropoint.producer").startswith("zeropoint")
    assert field("zeropoint.inputs") == ["x"]
    assert field("zeropoint.outputs") == ["y", "best"]
    values = list(graph.values.values())
    assert field("zeropoint.value.name") == [v.name for v in values]
    assert field("zeropoint.value.dtype") == [v.dtype for v in values]
    assert field("zeropoint.value.rank") == [len(v.shape) for v in values]
    assert field("zeropoint.value.dims") == [
        -1 if d is None else d for v in values for d in v.shape
    ]
    assert field("zeropoint.value.axis") == [0 if v.name == "w" else -1 for v in values]
    scales = {"xq": (0.5, -7), "yq": (0.25, 3), "half": (0.125, 1)}
    assert field("zeropoint.value.scale") == [scales.get(v.name, (0, 0))[0] for v in values]
    assert field("zeropoint.value.zero_point") == [scales.get(v.name, (0, 0))[1] for v in values]

    assert field("zeropoint.node.count") == 4
    assert field("zeropoint.node.1.op") == "conv2d"
    assert field("zeropoint.node.1.inputs") == ["xq", "w", "b"]
    assert field("zeropoint.node.1.attr.pads") == [0, 0, 0, 0]
    assert field("zeropoint.node.1.attr.qmin") == -128
    assert field("zeropoint.node.1.attr.note") == "näme"
    assert field("zeropoint.node.2.reason") == "an output of the graph"
    assert field("zeropoint.node.3.attr.scales") == [2.0, 0.5]
    assert reader.get_field("zeropoint.node.3.attr.empty") is None
    assert reader.get_field("zeropoint.node.1.attr.groups").types == [gguf.GGUFValueType.INT64]

    tensors = {t.name: t for t in reader.tensors}
    constants = [v for v in values if v.is_constant]
    assert set(tensors) == {v.name for v in constants} | {"w.scale", "w.zero_point"}
    for value in constants:
        tensor = tensors[value.name]
        assert tensor.data_offset % 64 == 0
        assert tensor.data.dtype == value.data.dtype
        assert tensor.data.tobytes() == value.data.tobytes()
    assert list(tensors["w"].shape) == [3, 1, 1, 5]
    assert list(tensors["rank5"].shape) == [5, 1, 3, 2]
    assert list(tensors["factor"].shape) == [1]
    assert np.array_equal(tensors["w.scale"].data, graph.values["w"].quant.scale)
    assert np.array_equal(tensors["w.zero_point"].data, np.zeros(5))


def write_with_gguf_package(graph: Graph, path: Path) -> None:
    """The specification once more, in calls of the public package."""
    w = gguf.GGUFWriter(path, "zeropoint")
    t = gguf.GGUFValueType
    w.add_custom_alignment(64)
    w.add_name(graph.name)
    w.add_uint32("zeropoint.format_version", 1)
    w.add_string("zeropoint.producer", "a test")

    def array(key: str, items: list[Any], kind: gguf.GGUFValueType) -> None:
        w.add_key_value(key, items, t.ARRAY, kind)

    array("zeropoint.inputs", graph.inputs, t.STRING)
    array("zeropoint.outputs", graph.outputs, t.STRING)
    values = list(graph.values.values())
    plain = [v.quant if v.quant and v.quant.axis is None else None for v in values]
    array("zeropoint.value.name", [v.name for v in values], t.STRING)
    array("zeropoint.value.dtype", [v.dtype for v in values], t.STRING)
    array("zeropoint.value.rank", [len(v.shape) for v in values], t.UINT32)
    array(
        "zeropoint.value.dims",
        [-1 if d is None else d for v in values for d in v.shape],
        t.INT64,
    )
    array("zeropoint.value.scale", [float(q.scale) if q else 0.0 for q in plain], t.FLOAT32)
    array("zeropoint.value.zero_point", [int(q.zero_point) if q else 0 for q in plain], t.INT32)
    axes = [-1 if v.quant is None or v.quant.axis is None else v.quant.axis for v in values]
    array("zeropoint.value.axis", axes, t.INT32)
    w.add_uint32("zeropoint.node.count", len(graph.nodes))
    for i, node in enumerate(graph.nodes):
        prefix = f"zeropoint.node.{i}."
        w.add_string(prefix + "name", node.name)
        w.add_string(prefix + "op", node.op)
        array(prefix + "inputs", node.inputs, t.STRING)
        array(prefix + "outputs", node.outputs, t.STRING)
        if node.reason:
            w.add_string(prefix + "reason", node.reason)
        for key, value in node.attrs.items():
            full = f"{prefix}attr.{key}"
            if isinstance(value, str):
                w.add_string(full, value)
            elif isinstance(value, list) and value:
                real = any(isinstance(item, float) for item in value)
                array(full, value, t.FLOAT64 if real else t.INT64)
            elif isinstance(value, int):
                w.add_key_value(full, value, t.INT64)
    for v in values:
        if v.data is not None:
            w.add_tensor(v.name, v.data.reshape(-1, *v.data.shape[-3:]))
            if v.quant and v.quant.axis is not None:
                w.add_tensor(f"{v.name}.scale", v.quant.scale)
                w.add_tensor(f"{v.name}.zero_point", v.quant.zero_point)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def test_we_read_what_the_public_package_wrote(tmp_path: Path) -> None:
    graph = small_graph()
    write_with_gguf_package(graph, tmp_path / "public.gguf")
    assert_same_graph(graph, read_model(tmp_path / "public.gguf"))


def test_long_and_colliding_names() -> None:
    graph = small_graph()
    long = "encoder/layers/" + "é" * 40 + "/conv/weight"
    per_channel = QuantParams(np.ones(2, np.float32), np.zeros(2, np.int32), 0)
    graph.add_constant(long, np.ones((2, 1), np.int8), per_channel)
    graph.add_constant("w.scale", np.ones(3, np.float32))
    graph.add_value(Value("z" * 64, "int64", ()))
    graph.nodes[3].outputs.append("z" * 64)
    back = read_model(to_bytes(graph))
    assert len(back.values) == len(graph.values)
    assert all(len(name.encode()) <= 63 for name in back.values)
    for (old, a), b in zip(graph.values.items(), back.values.values(), strict=True):
        if len(old.encode()) <= 50 and old != "w.scale":
            assert b.name == old
        if a.data is not None:
            assert b.data is not None
            assert np.array_equal(a.data, b.data)
    shortened = list(back.values)[list(graph.values).index(long)]
    assert shortened == short_name(long, 50)
    assert shortened.endswith("/conv/weight")
    assert back.nodes[3].outputs[1] == short_name("z" * 64)


def broken(what: str) -> Graph:
    graph = small_graph()
    w, half = graph.values["w"], graph.values["half"]
    assert w.quant is not None
    if what == "nan weight":
        graph.values["rank5"].data = np.full((2, 1, 3, 1, 5), np.nan, np.float32)
    elif what == "zero scale":
        graph.values["xq"].quant = QuantParams.per_tensor(0.0, 0)
    elif what == "denormal scale":
        half.quant = QuantParams.per_tensor(1e-39, 0)
    elif what == "infinite scale":
        half.quant = QuantParams.per_tensor(np.inf, 0)
    elif what == "zero point":
        half.quant = QuantParams.per_tensor(1.0, 128)
    elif what == "channel count":
        w.quant = QuantParams(np.ones(4, np.float32), np.zeros(4, np.int32), 0)
    elif what == "no scale":
        graph.values["xq"].quant = None
    elif what == "rank":
        graph.values["xq"].shape = None
    elif what == "dimension":
        graph.values["xq"].shape = (1, 0, 2)
    elif what == "dtype":
        graph.values["y"].dtype = "float16"
    elif what == "data":
        half.shape = (2,)
    elif what == "operator":
        graph.nodes[1].op = "conv9d"
    elif what == "order":
        graph.nodes.reverse()
    elif what == "unknown value":
        graph.nodes[1].inputs[0] = "nowhere"
    elif what == "attribute":
        graph.nodes[1].attrs["pads"] = [0, None]  # type: ignore[list-item]
    elif what == "not a number":
        graph.nodes[1].attrs["alpha"] = float("nan")
    elif what == "big integer":
        graph.nodes[1].attrs["groups"] = 1 << 63
    elif what == "long input":
        graph.values["i" * 64] = Value("i" * 64, "float32", (1,))
        graph.inputs.append("i" * 64)
    elif what == "twice":
        graph.nodes[2].outputs = ["xq"]
    elif what == "no outputs":
        graph.outputs = []
    elif what == "output":
        graph.nodes.pop(2)
    elif what == "name":
        graph.values["a\0b"] = Value("a\0b", "float32", (1,))
    return graph


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nan weight", r"'rank5' holds nan at \[0, 0, 0, 0, 0\]"),
        ("zero scale", "scale of 'xq' is 0.0"),
        ("denormal scale", "scale of 'half' is 1"),
        ("infinite scale", "scale of 'half' is inf"),
        ("zero point", "zero point of 'half'"),
        ("channel count", "'w' of shape"),
        ("no scale", "'xq' has no scale"),
        ("rank", "'xq' is not known"),
        ("dimension", "'xq' has the shape"),
        ("dtype", "'y' has dtype float16"),
        ("data", "'half' is declared"),
        ("operator", r"'conv' \(conv9d\)"),
        ("order", "reads 'yq' before"),
        ("unknown value", "'conv' .* reads 'nowhere'"),
        ("attribute", "'conv' .* 'pads'"),
        ("not a number", "'conv' .* 'alpha'"),
        ("big integer", "'conv' .* 'groups'"),
        ("long input", "64 bytes"),
        ("twice", "'dq' .* writes 'xq'"),
        ("no outputs", "no outputs"),
        ("output", "nothing writes the graph output 'y'"),
        ("name", "real name"),
    ],
)
def test_writer_refuses(what: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        to_bytes(broken(what))


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"old")

    def no_room(_: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(GraphError):
        write_model(broken("zero scale"), path)
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(FileError, match="No space left"):
        write_model(small_graph(), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.gguf"]
    monkeypatch.undo()
    write_model(small_graph(), path)
    assert path.read_bytes() == to_bytes(small_graph())
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_unwritable_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        write_model(small_graph(), tmp_path / "no" / "m.gguf")
    with pytest.raises(FileError, match="cannot be written"):
        write_model(small_graph(), tmp_path)
    with pytest.raises(FileError, match="cannot read"):
        read_model(tmp_path / "absent.gguf")


def test_every_truncation_is_an_error() -> None:
    content = to_bytes(small_graph())
    end = len(content) - len(small_graph().values["half"].data.tobytes().ljust(64, b"\0"))
    for size in range(end + 1):
        with pytest.raises(ModelError):
            read_model(content[:size])


def test_altered_bytes_never_escape_the_error_class() -> None:
    content = to_bytes(small_graph())
    rng = np.random.default_rng(7)
    survived = 0
    for _ in range(3000):
        damaged = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):
            damaged[int(rng.integers(len(content)))] = int(rng.integers(256))
        try:
            read_model(bytes(damaged))
            survived += 1
        except ModelError:
            pass
    assert survived < 3000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"GGUF\x03", b"GGUF\x04", "GGUF version 4"),
        (b"GGUF", b"GGML", "not a GGUF file"),
        (b"\x09\0\0\0\0\0\0\0zeropoint", b"\x09\0\0\0\0\0\0\0llamallam", "architecture"),
    ],
)
def test_foreign_files(old: bytes, new: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_model(to_bytes(small_graph()).replace(old, new, 1))


def test_newer_format_version() -> None:
    key = b"zeropoint.format_version" + struct.pack("<I", 4)
    content = to_bytes(small_graph())
    newer = content.replace(key + struct.pack("<I", 1), key + struct.pack("<I", 2))
    assert newer != content
    with pytest.raises(ModelError, match="upgrade zeropoint"):
        read_model(newer)


def test_huge_counts_cost_nothing() -> None:
    content = bytearray(to_bytes(small_graph()))
    for position in (8, 16):
        damaged = bytearray(content)
        damaged[position : position + 8] = struct.pack("<Q", 1 << 62)
        with pytest.raises(ModelError):
            read_model(bytes(damaged))
