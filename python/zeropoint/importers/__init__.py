"""Importers: trained models of other frameworks become graphs.

``load(path)`` looks at the file's content, not only at its name, reads it with the importer of its
format and brings the result to the canonical form of :mod:`zeropoint.transforms`.
"""

from __future__ import annotations

import os

from zeropoint.errors import FileError, ModelError, UnsupportedError
from zeropoint.graph import Graph

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> Graph:
    """Reads a trained model, float or quantized, and returns its canonical graph.

    Args:
        path: an ONNX file (opset 7 or newer) or a TFLite file (float32, or quantized to int8 or
            uint8).

    Returns:
        A graph in channels-last form with constants folded, batch normalizations merged into
        weights and activations fused. The names, order, shapes and layouts of the model's inputs
        and outputs are kept. The same file gives the same graph each time.

    Raises:
        FileError: the file cannot be read.
        ModelError: the file is not a valid model.
        UnsupportedError: the model uses operators or attributes that zeropoint cannot run; the
            message lists all of them.
        MissingExtraError: the package that reads this format is not installed.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not head:
        raise ModelError(f"{path}: the file is empty")
    if head[:4] == b"GGUF":
        raise ModelError(
            f"{path}: this is a finished model file, not a trained float model; "
            "open it with zeropoint.Session"
        )
    if head[:2] == b"PK":
        raise UnsupportedError(
            f"{path}: this looks like a PyTorch or zip archive; export the model with "
            "torch.onnx.export and load the .onnx file"
        )

    # Imported late: reading models is author's work, running them needs none of this.
    from zeropoint.transforms import canonicalize

    if head[4:8] == b"TFL3" or path.lower().endswith(".tflite"):
        from zeropoint.importers.tflite import import_tflite

        graph = import_tflite(path)
        canonicalize(graph)
        return graph

    from zeropoint.importers.onnx import import_onnx
    from zeropoint.quantization.integerize import integerize

    graph = import_onnx(path)
    canonicalize(graph)
    return integerize(graph)
