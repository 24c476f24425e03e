"""What several commands need: arguments, models, sessions, inputs."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from zeropoint import report
from zeropoint.errors import FileError, InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from zeropoint.graph import Graph
    from zeropoint.npz import InputSpec
    from zeropoint.session import Session


def positive(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


positive.__name__ = "positive integer"  # argparse names the type in its messages


def add_model(parser: argparse.ArgumentParser, name: str = "model", what: str = "") -> None:
    parser.add_argument(name, metavar="MODEL", help=what or "a .gguf or .onnx file")


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
    return Session(model, threads=options.threads, isa=options.isa)


def require_writable(path: str) -> None:
    """Finds out before long work, not after it, that ``path`` cannot be written."""
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise FileError(f"{path}: cannot be written: it is a folder")
    if not os.path.isdir(folder):
        raise FileError(f"{path}: cannot be written: there is no folder '{folder}'")
    if not os.access(folder, os.W_OK):
        raise FileError(f"{path}: cannot be written: no permission to write into '{folder}'")


def graph_inputs(graph: Graph) -> list[InputSpec]:
    from zeropoint.npz import InputSpec

    specs = []
    for name in graph.inputs:
        value = graph.value(name)
        if value.shape is None:
            raise InputError(f"{graph.source}: the rank of input '{name}' is not known")
        specs.append(InputSpec(name, value.dtype, value.shape))
    return specs


def example_inputs(
    specs: list[InputSpec], batch: int | None, shapes: list[str]
) -> dict[str, npt.NDArray[Any]]:
    """Random inputs (normal, fixed seed) for timing: what they hold does not change the time."""
    import numpy as np

    given = _parse_shapes(shapes, specs)
    generator = np.random.default_rng(0)
    inputs: dict[str, npt.NDArray[Any]] = {}
    for spec in specs:
        shape = given.get(spec.name)
        if shape is None:
            free = [i for i, d in enumerate(spec.shape) if d is None]
            if any(i > 0 for i in free):
                raise InputError(
                    f"input '{spec.name}' wants {spec}: dimensions marked ? are free; say "
                    f"--shape {spec.name}="
                    + ",".join("N" if d is None else str(d) for d in spec.shape)
                )
            shape = tuple((batch or 1) if d is None else d for d in spec.shape)
            if batch is not None and spec.shape and spec.shape[0] not in (None, batch):
                raise InputError(
                    f"the first dimension of input '{spec.name}' is fixed at {spec.shape[0]}, so "
                    f"--batch cannot be {batch}"
                )
        inputs[spec.name] = _random(generator, shape, spec.dtype)
    return inputs


def _random(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    if dtype == "float32":
        return generator.standard_normal(shape, dtype="float32")
    # Small integers: they may be indices.
    return generator.integers(0, 2, shape).astype(dtype)


def _parse_shapes(texts: list[str], specs: list[InputSpec]) -> dict[str, tuple[int, ...]]:
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


def session_inputs(session: Session) -> list[InputSpec]:
    from zeropoint.npz import InputSpec

    return [InputSpec(info.name, info.dtype, tuple(info.shape)) for info in session.inputs]


def batch_for(specs: list[InputSpec], batch: int) -> int | None:
    """A command's default batch, which a model with a fixed first dimension overrules."""
    return batch if all(spec.shape[:1] == (None,) for spec in specs) else None


EXPLAIN_COLUMNS = (
    report.Column("node", "node"),
    report.Column("op", "op"),
    report.Column("precision", "precision"),
    report.Column("kernel", "kernel"),
    report.Column("isa", "isa"),
    report.Column("time_ms", "ms", ".4f", right=True),
    report.Column("share", "share", ".1%", right=True),
    report.Column("share_of_ceiling", "of ceiling", ".1%", right=True),
    report.Column("reason", "why float"),
)


def print_explanation(explanation: dict[str, Any]) -> None:
    report.table(
        EXPLAIN_COLUMNS,
        explanation["nodes"],
        f"{explanation['run_ms']:.4f} ms a run, {explanation['threads']} thread(s), "
        f"ISA level {explanation['isa']}",
    )
