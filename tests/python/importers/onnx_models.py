"""Small ONNX models for tests, and the check that all of them must pass: what ONNX Runtime computes
is what the imported graph computes, as imported and in canonical form."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from exact_onnxruntime import session_options
from zeropoint import reference
from zeropoint.graph import Graph
from zeropoint.importers.onnx import import_onnx
from zeropoint.transforms import canonicalize

Array = npt.NDArray[Any]
Shape = Sequence[int | str | None]
_ELEMENT = {"float32": onnx.TensorProto.FLOAT, "int64": onnx.TensorProto.INT64}


def data_folder() -> Path:
    """The folder of real models and data sets: $ZEROPOINT_DATA, or beside the repository."""
    default = Path(__file__).resolve().parents[4] / "shared" / "data"
    return Path(os.environ.get("ZEROPOINT_DATA", default))


def random(shape: Sequence[int], seed: int = 0, scale: float = 1.0) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape) * scale, np.float32)


def node(op: str, inputs: Sequence[str], outputs: Sequence[str] | str, **attrs: Any) -> Any:
    outputs = [outputs] if isinstance(outputs, str) else list(outputs)
    return helper.make_node(op, list(inputs), outputs, name=f"{op}_{outputs[0]}", **attrs)


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Shape],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
    output_dtypes: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """A float32 model; outputs are declared without shapes."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape))
            for name, shape in inputs.items()
        ],
        [
            helper.make_tensor_value_info(
                name, _ELEMENT[(output_dtypes or {}).get(name, "float32")], None
            )
            for name in outputs
        ],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=min(10, 8)
    )


def save(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def graphs(proto: onnx.ModelProto, folder: Path) -> tuple[Graph, Graph]:
    """The graph as imported, and its canonical form."""
    imported = import_onnx(save(proto, folder))
    canonical = imported.copy()
    canonicalize(canonical)
    return imported, canonical


def expected(proto: onnx.ModelProto, feed: Mapping[str, Array]) -> list[Array]:
    """What ONNX Runtime computes, without its own graph rewriting."""
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(feed)))


def check(
    proto: onnx.ModelProto,
    feed: Mapping[str, Array],
    folder: Path,
    tolerance: float = 2e-5,
) -> Graph:
    """Compares with ONNX Runtime; returns the canonical graph."""
    imported, canonical = graphs(proto, folder)
    wanted = expected(proto, feed)
    for graph in (imported, canonical):
        got = reference.run(graph, feed, exact=False)
        assert list(got) == [info.name for info in proto.graph.output]
        for name, want in zip(got, wanted, strict=True):
            assert got[name].shape == want.shape, name
            assert got[name].dtype == want.dtype, name
            np.testing.assert_allclose(
                got[name],
                want,
                rtol=tolerance,
                atol=tolerance * max(1.0, float(np.abs(want).max())),
                err_msg=name,
            )
    shapes_agree(canonical, feed)
    return canonical


def shapes_agree(graph: Graph, feed: Mapping[str, Array]) -> None:
    """Inferred shapes are the shapes of what is computed."""
    names = [value.name for value in graph.activations()]
    for name, array in reference.run(graph, feed, names, exact=False).items():
        shape = graph.values[name].shape
        assert shape is not None, name
        assert len(shape) == array.ndim, name
        assert all(s in (None, d) for s, d in zip(shape, array.shape, strict=True)), name


def count(graph: Graph, op: str) -> int:
    return sum(n.op == op for n in graph.nodes)
