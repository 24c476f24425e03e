"""The extension module: the engine behind :mod:`zeropoint.session`. Not a public interface."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

__version__: str

Array = npt.NDArray[Any]

class BuildInfo(TypedDict):
    version: str
    compiler: str
    flags: str
    build_type: str
    isa_levels: list[str]

class IsaLevel(TypedDict):
    name: str
    features: str
    detected: bool

class Ceiling(TypedDict):
    kernel: str
    instruction: str
    isa: str
    macs_per_s: float

class Ceilings(TypedDict):
    int8: Ceiling
    float32: Ceiling

class NodeRow(TypedDict):
    name: str
    op: str
    precision: str
    kernel: str
    isa: str
    macs: int
    output_shape: tuple[int, ...]
    reason: str

class Memory(TypedDict):
    file_bytes: int
    constant_bytes: int
    packed_bytes: int
    arena_bytes: int

class Session:
    """A model ready to run. Arrays are C-contiguous, one for each graph input, in order."""

    @staticmethod
    def from_file(
        path: bytes,
        threads: int,
        isa: str,
        io: str = "as_file",
        named_io: Sequence[tuple[str, str]] = (),
        fuse: bool = True,
        cache: bytes = b"",
    ) -> Session: ...
    @staticmethod
    def from_bytes(
        content: bytes,
        source: str,
        threads: int,
        isa: str,
        io: str = "as_file",
        named_io: Sequence[tuple[str, str]] = (),
        fuse: bool = True,
        cache: bytes = b"",
    ) -> Session: ...
    @property
    def inputs(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, dtype as callers see it, and shape of each graph input; -1 is a free dimension."""
    @property
    def outputs(self) -> list[tuple[str, str, tuple[int, ...]]]: ...
    @property
    def name(self) -> str: ...
    @property
    def producer(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str: ...
    @property
    def cache(self) -> tuple[str, bytes, bytes]:
        """Of the cache file: "off", "reused", "written" or "failed"; its path; what failed."""
    def run(self, inputs: Sequence[Array]) -> list[Array]: ...
    def observe(
        self, inputs: Sequence[Array], callback: Callable[[str, Array], object]
    ) -> list[Array]: ...
    def profile(self, inputs: Sequence[Array], repeats: int) -> tuple[float, list[float]]:
        """Medians in seconds: of a whole run, and of each node."""
    def nodes(self, shapes: Sequence[Sequence[int]]) -> list[NodeRow]: ...
    def memory(self, shapes: Sequence[Sequence[int]]) -> Memory: ...

def build_info() -> BuildInfo:
    """What this library was built from and with."""

def isa_levels() -> list[IsaLevel]:
    """Every ISA level built in, lowest first."""

def detected_isa_levels() -> list[str]:
    """The levels this CPU has, lowest first."""

def resolve_isa(name: str = "") -> str:
    """The level in force for ``name``; "" is ZEROPOINT_ISA or, where unset, the best level.

    Raises:
        IsaError: the level is unknown, or this CPU lacks it.
    """

def usable_cpus() -> int:
    """The number of CPUs this process may run on."""

def measure_ceilings(isa: str = "") -> Ceilings:
    """Multiply-accumulates a second of one thread with all operands in registers, measured now."""

def kernel_names() -> list[tuple[str, str, str]]:
    """Family, name and ISA level of every kernel built in, best first within a family."""

def min_max(x: npt.NDArray[np.float32]) -> tuple[float, float] | None:
    """The smallest and largest value of a C-contiguous array; None when any is NaN or infinite."""

def histogram(
    x: npt.NDArray[np.float32], lo: float, width: float, counts: npt.NDArray[np.int64]
) -> None:
    """Adds to ``counts[i]`` how many x are in bin floor((x - lo) / width), clamped to the ends."""
