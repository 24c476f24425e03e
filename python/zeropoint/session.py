"""Running a model: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from zeropoint import _core
from zeropoint.errors import InputError

if TYPE_CHECKING:
    from zeropoint._core import Memory, NodeRow
    from zeropoint.graph import Graph
    from zeropoint.report import Explanation

Array = npt.NDArray[Any]
#: One array per graph input by name, or the array itself where there is one input.
Inputs = Mapping[str, Array] | Array
MAX_THREADS = 1024


@runtime_checkable
class SupportsToBytes(Protocol):
    """Anything that can write itself as a model file, such as :class:`zeropoint.Model`."""

    def to_bytes(self) -> bytes: ...


@dataclass(frozen=True)
class TensorInfo:
    """A graph input or output.

    Attributes:
        name: as in the model.
        dtype: as callers give or get it: "float32", "int8", "uint8", "int32" or "int64".
        shape: dimensions; None is free, any size of at least 1.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        dims = ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.dtype} [{dims}]"


@dataclass(frozen=True)
class Profile:
    """Median wall-clock times, in seconds.

    Attributes:
        run: of a whole run, without timing its nodes.
        nodes: of each node, in the order of :meth:`Session.nodes`.
    """

    run: float
    nodes: tuple[float, ...]


class Session:
    """A model made ready to run: kernels chosen, weights packed.

    A session may be used from any number of threads at once; weights are in memory once, and the
    GIL is released while it runs. The outputs are the same bytes whatever the number of threads,
    the ISA level, the batch split and whatever else is running.

    Args:
        model: the path of a model file, its bytes, a :class:`zeropoint.Model`, or a
            :class:`zeropoint.Graph` (float graphs run in float32).
        threads: into how many parts work is split; no more CPUs are used than this process may
            run on. Threads start when they are first needed and sleep while idle.
        isa: the highest ISA level to use, as ``zeropoint cpu`` lists them. Default: the environment
            variable ``ZEROPOINT_ISA`` or, where that is unset, the best level of this CPU.
        io: the dtype of quantized inputs and outputs for callers. "as_file": int8, or uint8 where
            the model says so. "float32", "int8", "uint8": all quantized inputs and outputs; float32
            is quantized (ONNX QuantizeLinear) and dequantized with the value's own scale and zero
            point, uint8 is the int8 value plus 128. Or ``{name: dtype}`` for some of them. Inputs
            and outputs that are not quantized stay what they are.
        fuse: join nodes where that saves time, such as a convolution and the residual add behind
            it. Results are the same bytes without; :meth:`observe` always runs the nodes one by
            one.
        cache: a file that keeps the packed weights, so that the next session of this model maps
            them instead of packing them again, or an existing folder in which the session chooses
            the file. Default: none. A file of another model, ISA level or build of zeropoint, or a
            damaged one, is written anew, in one step, so any number of processes may share it.
            Results are the same bytes. It is never a reason to fail: where the file cannot be
            written there is a RuntimeWarning. Whoever can write the file decides what the model
            computes: keep it where you would keep the model, and apart from models of people whom
            you trust less.

    Raises:
        FileError: the file cannot be opened.
        ModelError: the file is not a valid model.
        UnsupportedError: nodes that this build cannot run; the message names all of them.
        IsaError: the ISA level is unknown, or this CPU lacks it.
        InputError: ``threads`` is out of range, ``model`` is none of the above, ``io`` names an
            input or output that does not exist or cannot have that dtype, or ``cache`` is no path.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | SupportsToBytes | Graph,
        *,
        threads: int = 1,
        isa: str | None = None,
        io: str | Mapping[str, str] = "as_file",
        fuse: bool = True,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(threads, bool) or not isinstance(threads, int | np.integer):
            raise InputError(f"threads must be an integer, not {threads!r}")
        if not 1 <= threads <= MAX_THREADS:
            raise InputError(f"threads must be from 1 to {MAX_THREADS}, not {threads}")
        if isa is not None and not isinstance(isa, str):
            raise InputError(f"isa must be the name of an ISA level, not {isa!r}")
        if not isinstance(fuse, bool):
            raise InputError(f"fuse must be True or False, not {fuse!r}")
        level, keep = isa or "", _cache_path(cache)
        everywhere, named = _border(io)
        if isinstance(model, str | os.PathLike):
            self._source = os.fspath(model)
            if "\0" in self._source:
                raise InputError(f"the path {self._source!r} has a zero byte in it")
            path = os.fsencode(self._source)
            self._core = _core.Session.from_file(
                path, int(threads), level, everywhere, named, fuse, keep
            )
        else:
            content, self._source = _model_bytes(model)
            self._core = _core.Session.from_bytes(
                content, self._source, int(threads), level, everywhere, named, fuse, keep
            )
        state, _, problem = self._core.cache
        if state == "failed":
            warnings.warn(os.fsdecode(problem), RuntimeWarning, stacklevel=2)
        self._inputs = tuple(map(_tensor_info, self._core.inputs))
        self._outputs = tuple(map(_tensor_info, self._core.outputs))
        self._dtypes = tuple(np.dtype(info.dtype) for info in self._inputs)
        self._names = {info.name for info in self._inputs}

    # -- what it is -------------------------------------------------------------------------

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The graph's inputs, in order."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The graph's outputs, in order."""
        return self._outputs

    @property
    def name(self) -> str:
        """The model's name."""
        return self._core.name

    @property
    def source(self) -> str:
        """Where the model came from: begins the message of every error."""
        return self._source

    @property
    def threads(self) -> int:
        return self._core.threads

    @property
    def isa(self) -> str:
        """The ISA level in force."""
        return self._core.isa

    @property
    def cache_state(self) -> str:
        """What became of the ``cache``: "off" (none was asked for), "reused", "written" (it was
        missing or did not fit, and is there now) or "failed" (it could not be written)."""
        return self._core.cache[0]

    @property
    def cache_path(self) -> str | None:
        """The file with the packed weights, or None where no ``cache`` was asked for."""
        state, path, _ = self._core.cache
        return None if state == "off" else os.fsdecode(path)

    def __repr__(self) -> str:
        takes = ", ".join(f"{t.name}: {t}" for t in self._inputs)
        gives = ", ".join(f"{t.name}: {t}" for t in self._outputs)
        return f"<Session {self._source}: ({takes}) -> ({gives})>"

    # -- running ----------------------------------------------------------------------------

    def run(self, inputs: Inputs) -> dict[str, Array]:
        """Runs the model once.

        Args:
            inputs: ``{input name: array}``, or the array alone where the model has one input.
                Dtypes must be the model's; nothing is converted silently. Arrays that are not
                C-contiguous are copied.

        Returns:
            ``{output name: array}``: new arrays, in the order of :attr:`outputs`.

        Raises:
            InputError: an input is missing or unknown, or has the wrong dtype or shape.
        """
        return self._named(self._core.run(self._arrays(inputs)))

    def observe(self, inputs: Inputs, callback: Callable[[str, Array], object]) -> dict[str, Array]:
        """Runs the model once and shows every activation on the way.

        Args:
            inputs: as for :meth:`run`.
            callback: called as ``callback(name, array)`` for each graph input, then after each node
                for each of its outputs. The array is a read-only view of the engine's memory,
                int8 as in the model file, and valid during the call only: copy what must stay.
                An exception ends the run and is passed on.

        Returns:
            As :meth:`run`, and the same bytes.

        Raises:
            InputError: as :meth:`run`; or the callback kept an array without copying it.
        """
        return self._named(self._core.observe(self._arrays(inputs), callback))

    def profile(self, inputs: Inputs, repeats: int = 20) -> Profile:
        """Times each node, as medians over ``repeats`` runs after one to warm up."""
        if not isinstance(repeats, int) or not 1 <= repeats < 2**31:
            raise InputError(f"repeats must be an integer of at least 1, not {repeats!r}")
        run, nodes = self._core.profile(self._arrays(inputs), repeats)
        return Profile(run, tuple(nodes))

    # -- explaining -------------------------------------------------------------------------

    def nodes(self, shapes: Mapping[str, Sequence[int]] | None = None) -> list[NodeRow]:
        """What is known about each node without running it.

        Args:
            shapes: ``{input name: shape}`` for inputs with free dimensions; where it is left out,
                a free dimension counts as 1.

        Returns:
            A row a node: ``name``, ``op``, ``precision`` ("int8", "float32" ...: of its first
            activation), ``kernel`` and its ``isa`` ("" where data is only moved), ``macs``
            (multiply-accumulates), ``output_shape``, and the ``reason`` where it stays in float32.
            Nodes that were joined are one row: ``op`` tells which, as in "conv2d+add".
        """
        return self._core.nodes(self._shapes(shapes))

    def memory(self, shapes: Mapping[str, Sequence[int]] | None = None) -> Memory:
        """Bytes in use: ``file_bytes``, ``constant_bytes`` (mapped from the file), ``packed_bytes``
        (weights as the kernels want them), ``arena_bytes`` (activations and scratch of one run).

        Args:
            shapes: as for :meth:`nodes`.
        """
        return self._core.memory(self._shapes(shapes))

    def explain(self, inputs: Inputs | None = None, *, repeats: int = 20) -> Explanation:
        """Node by node: precision, kernel, ISA, time, share of the ceiling, and why it stays float.

        See :func:`zeropoint.report.explain`, which this calls.
        """
        from zeropoint import report

        return report.explain(self, inputs, repeats=repeats)

    # -- checking ---------------------------------------------------------------------------

    def _named(self, results: list[Array]) -> dict[str, Array]:
        return {info.name: array for info, array in zip(self._outputs, results, strict=True)}

    def _expected(self) -> str:
        return ", ".join(f"'{t.name}' {t}" for t in self._inputs) or "no inputs"

    def _arrays(self, inputs: Inputs) -> list[Array]:
        if not isinstance(inputs, (dict, Mapping)):  # a dictionary is told faster
            if len(self._inputs) != 1:
                raise InputError(
                    f"{self._source}: takes {len(self._inputs)} inputs; give a dictionary of "
                    f"{self._expected()}"
                )
            inputs = {self._inputs[0].name: inputs}
        if set(inputs) != self._names:
            faults = [f"missing input '{t.name}'" for t in self._inputs if t.name not in inputs]
            faults += [f"unknown input '{name}'" for name in inputs if name not in self._names]
            raise InputError(
                f"{self._source}: {', '.join(faults)}; the model takes {self._expected()}"
            )
        return [
            self._checked(info, dtype, inputs[info.name])
            for info, dtype in zip(self._inputs, self._dtypes, strict=True)
        ]

    def _checked(self, info: TensorInfo, dtype: np.dtype[Any], array: Array) -> Array:
        # What is as it should be costs microseconds that a small model would notice.
        if type(array) is np.ndarray and array.dtype == dtype and array.shape == info.shape:
            return array if array.flags.c_contiguous else np.asarray(array, order="C")
        where = f"{self._source}: input '{info.name}'"
        if not isinstance(array, np.ndarray):
            raise InputError(
                f"{where} is {type(array).__name__}, not a NumPy array; the model takes {info}"
            )
        if array.dtype != dtype:
            raise InputError(
                f"{where} is {array.dtype}; the model takes {info}: convert it with "
                f".astype(np.{info.dtype})"
            )
        if not _fits(array.shape, info):
            raise InputError(
                f"{where} has shape {list(array.shape)}; the model takes {info}"
                + (" (? is any size of at least 1)" if None in info.shape else "")
            )
        return np.asarray(array, order="C")

    def _shapes(self, shapes: Mapping[str, Sequence[int]] | None) -> list[tuple[int, ...]]:
        given = dict(shapes or {})
        for name in given:
            if name not in self._names:
                raise InputError(
                    f"{self._source}: unknown input '{name}'; the model takes {self._expected()}"
                )
        result = []
        for info in self._inputs:
            default = tuple(1 if d is None else d for d in info.shape)
            shape = tuple(int(d) for d in given.get(info.name, default))
            if not _fits(shape, info):
                raise InputError(
                    f"{self._source}: shape {list(shape)} for input '{info.name}'; the model "
                    f"takes {info}"
                )
            result.append(shape)
        return result


def _fits(shape: tuple[int, ...], info: TensorInfo) -> bool:
    return len(shape) == len(info.shape) and all(
        1 <= d < 2**40 and w in (None, d) for d, w in zip(shape, info.shape, strict=True)
    )


def _border(io: object) -> tuple[str, list[tuple[str, str]]]:
    """What to ask of all inputs and outputs, and of some by name."""
    if isinstance(io, str):
        return io, []
    if isinstance(io, Mapping) and all(isinstance(s, str) for pair in io.items() for s in pair):
        return "as_file", list(io.items())
    raise InputError(
        f"io must be 'as_file', 'float32', 'int8', 'uint8' or {{name: one of these}}, not {io!r}"
    )


def _cache_path(cache: object) -> bytes:
    """As the engine wants it: "" for none."""
    if cache is None:
        return b""
    path = os.fspath(cache) if isinstance(cache, str | os.PathLike) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise InputError(f"cache must be the path of a file or folder, or None, not {cache!r}")
    return os.fsencode(path)


def _tensor_info(info: tuple[str, str, tuple[int, ...]]) -> TensorInfo:
    name, dtype, shape = info
    return TensorInfo(name, dtype, tuple(None if d < 0 else d for d in shape))


def _model_bytes(model: object) -> tuple[bytes, str]:
    """A model's bytes, and what to call it in messages."""
    from zeropoint.graph import Graph

    if isinstance(model, bytes):
        return model, "model"
    if isinstance(model, Graph):
        from zeropoint.model_file import to_bytes

        return to_bytes(model), model.source or model.name
    if isinstance(model, SupportsToBytes) and not isinstance(model, int):  # it has to_bytes, too
        content = model.to_bytes()
        graph = cast("Graph | None", getattr(model, "graph", None))
        if isinstance(graph, Graph):
            return bytes(content), graph.source or graph.name
        return bytes(content), "model"
    raise InputError(
        f"cannot make a session of {type(model).__name__}; give a path, the bytes of a model file, "
        "a Model or a Graph"
    )
