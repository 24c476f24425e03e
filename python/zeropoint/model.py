"""A quantized model: the graph, and the file it lives in."""

from __future__ import annotations

import os
from dataclasses import dataclass

from zeropoint.graph import Graph
from zeropoint.model_file import read_model, to_bytes, write_model


@dataclass(frozen=True)
class ModelSize:
    """What a model consists of.

    Attributes:
        file_bytes: the size of the model file.
        int8_bytes, float_bytes, other_bytes: its constants by dtype (other: int32, int64).
        int8_nodes, float_nodes: nodes that compute in int8, and in float32.
    """

    file_bytes: int
    int8_bytes: int
    float_bytes: int
    other_bytes: int
    int8_nodes: int
    float_nodes: int


@dataclass
class Model:
    """A graph ready for the engine, usually quantized.

    Attributes:
        graph: nodes and values; int8 values carry their quantization parameters.
    """

    graph: Graph

    def to_bytes(self) -> bytes:
        """The model file's bytes; see :mod:`zeropoint.model_file`.

        Raises:
            GraphError: the graph breaks a rule of the format.
        """
        return to_bytes(self.graph)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model file, whole or not at all: an old file survives any failure.

        Raises:
            GraphError: the graph breaks a rule of the format.
            FileError: the file cannot be written.
        """
        write_model(self.graph, path)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Writes an ONNX file in QDQ form, which other runtimes load and run.

        Results are those of this model up to the other runtime's own rounding. Inputs and outputs
        keep their names, dtypes, shapes and layouts.

        Raises:
            UnsupportedError: a node has no ONNX form, or the file would exceed 2 GiB.
            FileError: the file cannot be written.
            MissingExtraError: the onnx package is not installed.
        """
        from zeropoint.exporters.onnx import export_onnx

        export_onnx(self.graph, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Model:
        """Reads a model file.

        Raises:
            FileError: the file cannot be read.
            ModelError: it is not a model, or it is damaged.
        """
        return Model(read_model(path))

    def size(self) -> ModelSize:
        """File size, constants by dtype, and how many nodes run in which precision."""
        by_dtype: dict[str, int] = {}
        for value in self.graph.values.values():
            if value.data is not None:
                by_dtype[value.dtype] = by_dtype.get(value.dtype, 0) + value.data.nbytes
        int8 = by_dtype.pop("int8", 0)
        real = by_dtype.pop("float32", 0)
        dtypes = [
            {self.graph.value(name).dtype for name in (*node.inputs, *node.outputs) if name}
            for node in self.graph.nodes
        ]
        int8_nodes = sum("int8" in found for found in dtypes)
        return ModelSize(
            file_bytes=len(self.to_bytes()),
            int8_bytes=int8,
            float_bytes=real,
            other_bytes=sum(by_dtype.values()),
            int8_nodes=int8_nodes,
            float_nodes=len(dtypes) - int8_nodes,
        )
