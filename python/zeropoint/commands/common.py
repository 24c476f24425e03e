"""What several commands need: arguments, models, sessions, inputs."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zeropoint.errors import FileError, InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from zeropoint.graph import Graph
    from zeropoint.session import Session, TensorInfo


def positive(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


positive.__name__ = "positive integer"  # argparse names the type in its messages


def add_model(parser: argparse.ArgumentParser, name: str = "model", what: str = "") -> None:
    parser.add_argument(name, metavar="MODEL", help=what or "a .gguf, .onnx or .tflite file")


def add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=positive, default=1, metavar="N", help="threads (default: 1)"
    )
    parser.add_argument(
        "--isa",
        default="",
        metavar="LEVEL",
        help="use kernels up to this ISA level only; 'zeropoint cpu' lists the levels",
    )


def add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache",
        metavar="PATH",
        help="keep packed weights in this file, or in a file in this folder, and reuse them "
        "the next time",
    )


def add_shapes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch", type=positive, metavar="N", help="free first dimensions (default: 1)"
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=D,D,...",
        help="the shape of an input whose other dimensions are free; may be repeated",
    )


def is_model_file(path: str) -> bool:
    """By its name or, where that says nothing, by its first bytes."""
    if os.path.splitext(path)[1].lower() == ".gguf":
        return True
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"GGUF"
    except OSError as e:
        raise FileError(f"{path}: cannot be read: {e.strerror or e}") from None


def load_graph(path: str) -> Graph:
    """The graph of a model file, or of anything that importers read."""
    if is_model_file(path):
        from zeropoint.model_file import read_model

        return read_model(path)
    from zeropoint.importers import load

    return load(path)


def open_session(options: argparse.Namespace) -> Session:
    from zeropoint.session import Session

    path = options.model
    model = path if is_model_file(path) else load_graph(path)
    cache = getattr(options, "cache", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        session = Session(model, threads=options.threads, isa=options.isa, cache=cache)
    for warning in caught:
        print(f"zeropoint: warning: {warning.message}", file=sys.stderr)
    return session


def require_writable(path: str, *sources: str) -> None:
    """Finds out before long work, not after it, that ``path`` cannot be written, or that it is one
    of the files that the command reads."""
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise FileError(f"{path}: cannot be written: it is a folder")
    if not os.path.isdir(folder):
        raise FileError(f"{path}: cannot be written: there is no folder '{folder}'")
    if not os.access(folder, os.W_OK):
        raise FileError(f"{path}: cannot be written: no permission to write into '{folder}'")
    for source in sources:
        if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
            raise InputError(
                f"{path}: the output would replace the input {source}; give it another name"
            )


def graph_inputs(graph: Graph) -> list[TensorInfo]:
    from zeropoint.session import TensorInfo

    specs = []
    for name in graph.inputs:
        value = graph.value(name)
        if value.shape is None:
            raise InputError(f"{graph.source}: the rank of input '{name}' is not known")
        specs.append(TensorInfo(name, value.dtype, value.shape))
    return specs


def example_inputs(session: Session, options: argparse.Namespace) -> dict[str, npt.NDArray[Any]]:
    """Random inputs of the shapes that ``--batch`` and ``--shape`` say."""
    from zeropoint.bench import random_inputs

    return random_inputs(session.inputs, input_shapes(session.inputs, options.batch, options.shape))


def input_shapes(
    specs: Sequence[TensorInfo], batch: int | None, texts: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """A shape for each input; InputError where a free dimension is left open."""
    shapes = _parse_shapes(texts, specs)
    for spec in specs:
        if spec.name in shapes:
            continue
        if any(d is None for d in spec.shape[1:]):
            raise InputError(
                f"input '{spec.name}' wants {spec}, where ? is free; say --shape {spec.name}="
                + ",".join("N" if d is None else str(d) for d in spec.shape)
            )
        if batch is not None and spec.shape and spec.shape[0] not in (None, batch):
            raise InputError(
                f"the first dimension of input '{spec.name}' is fixed at {spec.shape[0]}, so "
                f"--batch cannot be {batch}"
            )
        shapes[spec.name] = tuple((batch or 1) if d is None else d for d in spec.shape)
    return shapes


def _parse_shapes(texts: Sequence[str], specs: Sequence[TensorInfo]) -> dict[str, tuple[int, ...]]:
    by_name = {spec.name: spec for spec in specs}
    shapes = {}
    for text in texts:
        name, _, dims = text.rpartition("=")
        if name not in by_name:
            known = ", ".join(f"'{n}'" for n in by_name)
            raise InputError(f"--shape {text}: no input is named '{name}'; there is {known}")
        try:
            shape = tuple(int(d) for d in dims.split(","))
        except ValueError:
            raise InputError(f"--shape {text}: '{dims}' is no list of integers") from None
        wanted = by_name[name].shape
        if len(shape) != len(wanted) or any(
            d < 1 or w not in (None, d) for d, w in zip(shape, wanted, strict=True)
        ):
            raise InputError(f"--shape {text}: input '{name}' wants {by_name[name]}")
        shapes[name] = shape
    return shapes


def batch_for(specs: Sequence[TensorInfo], batch: int) -> int | None:
    """A command's default batch, which a model with a fixed first dimension overrules."""
    return batch if all(spec.shape[:1] == (None,) for spec in specs) else None
