"""Whole files: shape arithmetic, old exporters, real networks, and files that mean harm."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import check, count, data_folder, model, node, random, save

import zeropoint.importers as importers
from zeropoint import reference
from zeropoint.errors import FileError, MissingExtraError, ModelError, UnsupportedError
from zeropoint.importers import load


def conv_model(**changes) -> onnx.ModelProto:
    return model(
        [node("Conv", ["x", "w"], "a", **changes), node("Relu", ["a"], "y")],
        {"x": ["N", 3, 8, 8]},
        ["y"],
        {"w": random((4, 3, 3, 3))},
    )


# -- shapes -----------------------------------------------------------------------------------


def test_a_shape_computed_from_a_free_batch(tmp_path: Path) -> None:
    """What exporters write for x.reshape(x.shape[0], -1) and its kin."""
    nodes = [
        node("Shape", ["x"], "shape"),
        node("Gather", ["shape", "zero"], "n"),
        node("Unsqueeze", ["n", "axes"], "n1"),
        node("Concat", ["n1", "rest"], "target", axis=0),
        node("Reshape", ["x", "target"], "y"),
        node("Slice", ["shape", "zero1", "one1"], "front"),
        node("Cast", ["front"], "cast", to=7),
        node("Concat", ["cast", "six"], "target2", axis=0),
        node("Reshape", ["x", "target2"], "z"),
    ]
    proto = model(
        nodes,
        {"x": ["batch", 2, 3]},
        ["y", "z"],
        {
            "zero": np.int64(0),
            "axes": np.int64([0]),
            "rest": np.int64([-1]),
            "zero1": np.int64([0]),
            "one1": np.int64([1]),
            "six": np.int64([6]),
        },
    )
    graph = check(proto, {"x": random((5, 2, 3))}, tmp_path)
    assert graph.outputs == ["y", "z"]
    assert [n.op for n in graph.nodes] == ["reshape", "reshape"]
    assert [n.attrs["shape"] for n in graph.nodes] == [[0, -1], [0, 6]]
    assert graph.values["y"].shape == (None, 6)


def test_a_free_dimension_in_the_middle(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], "shape"),
        node("Gather", ["shape", "one"], "length"),
        node("Mul", ["length", "two"], "double"),
        node("Concat", ["batch", "double", "rest"], "target", axis=0),
        node("Reshape", ["x", "target"], "y"),
    ]
    proto = model(
        nodes,
        {"x": [2, "length", 4]},
        ["y"],
        {
            "one": np.int64([1]),
            "two": np.int64([2]),
            "batch": np.int64([2]),
            "rest": np.int64([2]),
        },
    )
    check(proto, {"x": random((2, 5, 4))}, tmp_path)


def test_constants_are_folded(tmp_path: Path) -> None:
    nodes = [
        node("ConstantOfShape", ["shape"], "zeros", value=numpy_helper.from_array(np.float32([2]))),
        node("Sqrt", ["zeros"], "roots"),
        node("Transpose", ["roots"], "turned"),
        node("Add", ["x", "turned"], "y"),
    ]
    proto = model(nodes, {"x": [4, 3]}, ["y"], {"shape": np.int64([3, 4])})
    graph = check(proto, {"x": random((4, 3))}, tmp_path)
    assert [n.op for n in graph.nodes] == ["add"]


def test_missing_dimensions_are_free(tmp_path: Path) -> None:
    proto = conv_model()
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value = -1
    dims[2].Clear()
    graph = load(save(proto, tmp_path))
    assert graph.values["x"].shape == (None, 3, None, 8)
    assert graph.values["y"].shape == (None, 4, None, 6)


def test_same_padding_of_a_free_size_says_what_to_do(tmp_path: Path) -> None:
    proto = conv_model(auto_pad="SAME_UPPER", strides=[2, 2])
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "h"
    with pytest.raises(UnsupportedError, match=r"Conv_a.*auto_pad.*fixed input size"):
        load(save(proto, tmp_path))


# -- real networks ----------------------------------------------------------------------------


def test_a_network_of_an_old_exporter_reads_digits() -> None:
    path = data_folder() / "models" / "mnist_cntk.onnx"
    if not path.exists():
        pytest.skip(f"the project's data are not there ({path})")
    graph = load(path)
    assert graph.inputs == ["Input3"]
    assert count(graph, "transpose") == 0
    folder = data_folder() / "mnist"
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(16 + 784 * 100)[16:], np.uint8).reshape(-1, 1, 1, 28, 28)
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(108)[8:], np.uint8)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    right = 0
    for image, label in zip(images.astype(np.float32), labels, strict=True):
        feed = {"Input3": image}
        (got,) = reference.run(graph, feed, exact=False).values()
        (want,) = session.run(None, feed)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3 * np.abs(want).max())
        right += int(got.argmax() == label)
    assert right >= 95


def test_the_same_file_gives_the_same_graph(tmp_path: Path) -> None:
    path = save(conv_model(), tmp_path)
    first, second = load(path), load(path)
    assert repr(first.nodes) == repr(second.nodes)
    assert list(first.values) == list(second.values)


def test_initializers_among_the_inputs_are_constants(tmp_path: Path) -> None:
    proto = conv_model()
    proto.graph.input.append(helper.make_tensor_value_info("w", 1, [4, 3, 3, 3]))
    assert load(save(proto, tmp_path)).inputs == ["x"]


def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    proto = conv_model()
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    assert [n.op for n in load(save(proto, tmp_path)).nodes].count("conv2d") == 1


# -- what cannot be imported ------------------------------------------------------------------


def test_all_unsupported_nodes_are_named_at_once(tmp_path: Path) -> None:
    proto = model(
        [
            node("LRN", ["x"], "a", size=3),
            node("Conv", ["a", "x"], "b"),
            node("Relu", ["b"], "c"),
            node("Resize", ["c", "", "s"], "d", mode="cubic"),
            node("MaxPool", ["d"], ["y", "indices"], kernel_shape=[2, 2]),
            node("Mystery", ["y"], "z", domain="my.domain"),
        ],
        {"x": [1, 3, 8, 8]},
        ["z", "indices"],
        {"s": np.float32([1, 1, 2, 2])},
    )
    proto.opset_import.append(helper.make_opsetid("my.domain", 1))
    with pytest.raises(UnsupportedError) as caught:
        load(save(proto, tmp_path))
    message = str(caught.value)
    for part in (
        "model.onnx",
        "LRN_a",
        "Conv_b",
        "weight must be a constant",
        "Resize_d",
        "'mode'",
        "cubic",
        "MaxPool_y",
        "Indices",
        "my.domain.Mystery",
    ):
        assert part in message
    assert "Relu" not in message


def test_unused_nodes_do_no_harm(tmp_path: Path) -> None:
    proto = conv_model()
    proto.graph.node.append(node("LRN", ["y"], "unused", size=3))
    assert count(load(save(proto, tmp_path)), "conv2d") == 1


@pytest.mark.parametrize(("element", "name"), [(10, "FLOAT16"), (11, "DOUBLE")])
def test_inputs_of_another_precision(element, name, tmp_path: Path) -> None:
    proto = conv_model()
    proto.graph.input[0].type.tensor_type.elem_type = element
    with pytest.raises(UnsupportedError, match=f"'x' is {name}.*float32"):
        load(save(proto, tmp_path))


def test_weights_of_another_precision(tmp_path: Path) -> None:
    proto = conv_model()
    proto.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(random((4, 3, 3, 3)).astype(np.float64), "w")
    )
    with pytest.raises(UnsupportedError, match="'w' is float64"):
        load(save(proto, tmp_path))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(bad, tmp_path: Path) -> None:
    w = random((4, 3, 3, 3))
    w[1, 2, 0, 1] = bad
    proto = conv_model()
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(w, "w"))
    with pytest.raises(ModelError, match=r"model.onnx.*'w' holds NaN or Inf"):
        load(save(proto, tmp_path))


def test_empty_tensors(tmp_path: Path) -> None:
    proto = model([node("Slice", ["x"], "y", starts=[4], ends=[9])], {"x": [3]}, ["y"], opset=9)
    with pytest.raises(UnsupportedError, match=r"Slice_y.*no elements"):
        load(save(proto, tmp_path))


def test_a_constant_output_of_another_precision(tmp_path: Path) -> None:
    proto = model(
        [node("Cast", ["c"], "y", to=11), node("Relu", ["x"], "z")],
        {"x": [3]},
        ["z", "y"],
        {"c": random((3,))},
    )
    with pytest.raises(UnsupportedError, match="float64"):
        load(save(proto, tmp_path))


def test_three_dimensional_convolution(tmp_path: Path) -> None:
    proto = model(
        [node("Conv", ["x", "w"], "y")],
        {"x": [1, 2, 5, 5, 5]},
        ["y"],
        {"w": random((3, 2, 3, 3, 3))},
    )
    with pytest.raises(UnsupportedError, match="not 3"):
        load(save(proto, tmp_path))


@pytest.mark.parametrize("opset", [6, 10_000])
def test_opsets_that_are_too_old_or_too_new(opset, tmp_path: Path) -> None:
    proto = conv_model()
    proto.opset_import[0].version = opset
    with pytest.raises(UnsupportedError, match=f"opset {opset}"):
        load(save(proto, tmp_path))


def test_without_the_onnx_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(conv_model(), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r'pip install "zeropoint\[tools\]"'):
        importers.load(path)


# -- hostile files ----------------------------------------------------------------------------


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    content = conv_model().SerializeToString()
    path = tmp_path / "model.onnx"
    for size in [*range(0, 200, 3), *range(200, len(content) - 20, 37)]:
        path.write_bytes(content[:size])
        with pytest.raises((ModelError, UnsupportedError)):
            load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello, this is not a model", "not an ONNX file"),
        (b"GGUF" + bytes(40), "Session"),
        (bytes(4) + b"TFL3" + bytes(40), "TFLite"),
        (b"PK\3\4" + bytes(40), "torch.onnx.export"),
    ],
)
def test_other_files(content, message, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises((ModelError, UnsupportedError), match=message):
        load(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(FileError, match="cannot be read"):
            load(path)


def test_cycles(tmp_path: Path) -> None:
    proto = model([node("Add", ["x", "b"], "a"), node("Relu", ["a"], "b")], {"x": [2]}, ["b"])
    with pytest.raises(ModelError, match="cycle through node 'Add_a'"):
        load(save(proto, tmp_path))


def test_missing_and_doubled_values(tmp_path: Path) -> None:
    proto = model([node("Add", ["x", "ghost"], "y")], {"x": [2]}, ["y"])
    with pytest.raises(ModelError, match=r"Add_y.*reads 'ghost'"):
        load(save(proto, tmp_path))
    proto = model([node("Relu", ["x"], "y"), node("Tanh", ["x"], "y")], {"x": [2]}, ["y"])
    with pytest.raises(ModelError, match="'y' is written twice"):
        load(save(proto, tmp_path))
    proto = model([node("Relu", ["x"], "y")], {"x": [2]}, ["y", "z"])
    with pytest.raises(ModelError, match="output 'z'"):
        load(save(proto, tmp_path))


def test_data_that_do_not_fit_their_shape(tmp_path: Path) -> None:
    for dims in ([4, 3, 3, 30000], [2**40, 2**40], [-4, 3, 3, 3], [4, 3, 3]):
        proto = conv_model()
        del proto.graph.initializer[0].dims[:]
        proto.graph.initializer[0].dims.extend(dims)
        with pytest.raises(ModelError, match="'w'"):
            load(save(proto, tmp_path))


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("ConstantOfShape", ["s"], "big")], {"s": np.int64([2**40])}),
        (
            [node("Expand", ["one", "s"], "big")],
            {"one": np.float32([1]), "s": np.int64([2**20, 2**20])},
        ),
        (
            [node("Range", ["a", "b", "c"], "big")],
            {"a": np.int64(0), "b": np.int64(2**50), "c": np.int64(1)},
        ),
        ([node("Tile", ["one", "s"], "big")], {"one": np.float32([1]), "s": np.int64([2**40])}),
    ],
)
def test_absurd_constants_are_not_computed(nodes, constants, tmp_path: Path) -> None:
    proto = model([*nodes, node("Add", ["x", "big"], "y")], {"x": [1]}, ["y"], constants)
    with pytest.raises(UnsupportedError, match="too large"):
        load(save(proto, tmp_path))


def external(proto: onnx.ModelProto, **entries: str) -> onnx.ModelProto:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return proto


def test_external_data_inside_the_folder(tmp_path: Path) -> None:
    w = random((4, 3, 3, 3))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "weights.bin").write_bytes(bytes(64) + w.tobytes())
    proto = external(conv_model(), location="data/weights.bin", offset="64", length=str(w.nbytes))
    graph = load(save(proto, tmp_path))
    np.testing.assert_array_equal(graph.constant("w"), w.transpose(0, 2, 3, 1))


def test_external_data_that_reach_outside(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(1000))
    (folder / "link.bin").symlink_to(secret)
    for location in (
        str(secret),
        "../secret.bin",
        "x/../../secret.bin",
        "link.bin",
        "",
        "a\0b",
        "C:\\secret.bin",
        "..\\secret.bin",
    ):
        with pytest.raises(ModelError, match="outside of the model's folder"):
            load(save(external(conv_model(), location=location), folder))


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "-4"},
        {"offset": "900"},
        {"length": "12"},
        {"offset": "many"},
        {"offset": str(2**70)},
    ],
)
def test_external_data_of_the_wrong_size(entries, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(1000))
    with pytest.raises(ModelError, match="'w'"):
        load(save(external(conv_model(), location="w.bin", **entries), tmp_path))


def test_external_data_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not there"):
        load(save(external(conv_model(), location="absent.bin"), tmp_path))
