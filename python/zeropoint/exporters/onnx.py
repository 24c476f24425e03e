"""Graphs as ONNX files, quantized ones in QDQ form.

Operators compute in float32 between DequantizeLinear and QuantizeLinear nodes that carry the
scales and zero points of the graph; runtimes fuse the three into integer operators. Weights are
int8 initializers, biases int32 ones in units of ``scale_x * scale_w[c]``. Run-time parameters and
raw accumulators use ONNX's integer operators.

The standard is ONNX with opset 17 and IR version 8, which runtimes since 2022 read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from zeropoint.atomic import replacing
from zeropoint.errors import Error, GraphError, MissingExtraError, UnsupportedError
from zeropoint.exporters import onnx_elementwise, onnx_layers, onnx_moves
from zeropoint.exporters.onnx_writer import Writer
from zeropoint.graph import Graph, Node

OPSET, IR_VERSION = 17, 8
#: A protocol-buffers message, and so an ONNX file, ends here.
_MAX_BYTES = 2**31 - 1

_EXPORTERS: dict[str, Callable[[Writer, Node], None]] = {
    **onnx_elementwise.EXPORTERS,
    "conv2d": onnx_layers.conv2d,
    "conv_integer": onnx_layers.conv2d,
    "conv_transpose2d": onnx_layers.conv_transpose2d,
    "linear": onnx_layers.linear,
    "matmul": onnx_layers.matmul,
    "matmul_integer": onnx_layers.matmul,
    "dynamic_linear": onnx_layers.dynamic_linear,
    "dynamic_quantize": onnx_layers.dynamic_quantize,
    "max_pool2d": onnx_layers.pool,
    "avg_pool2d": onnx_layers.pool,
    "global_max_pool": onnx_layers.global_max_pool,
    "resize": onnx_layers.resize,
    "reduce_mean": onnx_layers.reduce_mean,
    "argmax": onnx_layers.argmax,
    "transpose": onnx_moves.transpose,
    "reshape": onnx_moves.reshape,
    "flatten": onnx_moves.flatten,
    "squeeze": onnx_moves.squeeze,
    "unsqueeze": onnx_moves.unsqueeze,
    "slice": onnx_moves.slice_,
    "split": onnx_moves.split,
    "concat": onnx_moves.concat,
    "pad": onnx_moves.pad,
}


def to_model_proto(graph: Graph) -> Any:
    """``graph`` as an ``onnx.ModelProto``; errors as :func:`export_onnx`."""
    onnx = _require_onnx()
    helper, where = onnx.helper, graph.source or graph.name
    writer = Writer(graph, helper, onnx.numpy_helper)
    for node in graph.nodes:
        export = _EXPORTERS.get(node.op)
        if export is None:
            raise UnsupportedError(
                f"{where}: node '{node.name}' ({node.op}) has no ONNX form; keep this model in "
                "its own file format"
            )
        try:
            export(writer, node)
        except Error:
            raise
        except (ValueError, IndexError, TypeError, KeyError) as error:
            raise GraphError(
                f"{where}: node '{node.name}' ({node.op}) cannot be exported: {error!r}"
            ) from error
    writer.finish()

    def info(name: str) -> Any:
        dims = [_dim_name(name, i) if d is None else d for i, d in enumerate(writer.shape(name))]
        kind = writer.element_type(writer.seen_dtype(name))
        return helper.make_tensor_value_info(name, kind, dims)

    return helper.make_model(
        helper.make_graph(
            writer.nodes,
            graph.name or "graph",
            [info(name) for name in graph.inputs],
            [info(name) for name in graph.outputs],
            writer.initializers,
        ),
        producer_name="zeropoint",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _dim_name(name: str, axis: int) -> str:
    """What a free dimension is called: the first is the batch, of all inputs and outputs."""
    return "batch" if axis == 0 else f"{name}_dim_{axis}"


def export_onnx(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Writes ``graph`` as an ONNX file, whole or not at all: an old file survives any failure.

    Args:
        graph: float or quantized, as :mod:`zeropoint.operators` defines it. Inputs and outputs keep
            their names, dtypes (int8 values that callers see as uint8 are uint8), shapes and
            layouts; nodes keep their names.

    Raises:
        UnsupportedError: a node has no ONNX form, or the file would exceed the 2 GiB of the format.
        GraphError: the graph breaks its own rules.
        FileError: the file cannot be written.
        MissingExtraError: the onnx package is not installed.
    """
    model = to_model_proto(graph)
    size = model.ByteSize()
    if not 0 <= size <= _MAX_BYTES:
        raise UnsupportedError(
            f"{graph.source or graph.name}: as ONNX it would exceed 2 GiB, the limit of the format"
        )
    with replacing(path) as file:
        file.write(model.SerializeToString())


def _require_onnx() -> Any:
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise MissingExtraError(
            "writing ONNX files needs the onnx package, which is not installed: "
            'pip install "zeropoint[tools]"'
        ) from None
    return onnx
