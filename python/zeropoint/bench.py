"""Timing a session, beside the machine's multiply-accumulate ceiling.

A ceiling is what one instruction stream reaches with all operands in registers, measured by the
engine in the same run, times the number of threads. It is per precision: a node's share of the
ceiling is (its multiply-accumulates / its precision's ceiling) / its time. A model's is the same
with the sum over its nodes, so for a model of one precision it is simply speed / ceiling.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zeropoint import _core

if TYPE_CHECKING:
    from zeropoint._core import NodeRow
    from zeropoint.session import Session, TensorInfo

Array = npt.NDArray[Any]

#: What a timing aims at where the number of runs is not given.
WARM_UP_SECONDS = 0.2
MEASURED_SECONDS = 1.0
LEAST_RUNS = 10


def random_inputs(
    infos: Sequence[TensorInfo], shapes: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, Array]:
    """Inputs for timing, from a fixed seed: what they hold does not change the time.

    Floats are normal, integers 0 or 1 (they may be indices). Where ``shapes`` lacks an input, its
    free dimensions are 1.
    """
    generator = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for info in infos:
        shape = (shapes or {}).get(info.name) or tuple(1 if d is None else d for d in info.shape)
        if info.dtype == "float32":
            inputs[info.name] = generator.standard_normal(shape, dtype=np.float32)
        else:
            inputs[info.name] = generator.integers(0, 2, shape).astype(info.dtype)
    return inputs


@dataclass(frozen=True)
class Timing:
    """Wall-clock times of single runs, in milliseconds."""

    median_ms: float
    min_ms: float
    runs: int


def time_runs(session: Session, inputs: Mapping[str, Array], repeats: int | None = None) -> Timing:
    """Times ``session.run(inputs)`` after a warm-up.

    Args:
        session: what is timed.
        inputs: one array per graph input.
        repeats: runs to measure; by default as many as fit a second, at least ten.
    """
    session.run(inputs)  # plans for these shapes
    until = time.perf_counter() + WARM_UP_SECONDS
    while time.perf_counter() < until:
        session.run(inputs)
    times: list[float] = []
    until = time.perf_counter() + MEASURED_SECONDS
    while (
        len(times) < repeats
        if repeats is not None
        else len(times) < LEAST_RUNS or time.perf_counter() < until
    ):
        began = time.perf_counter()
        session.run(inputs)
        times.append(time.perf_counter() - began)
    return Timing(statistics.median(times) * 1e3, min(times) * 1e3, len(times))


@dataclass(frozen=True)
class Ceilings:
    """Multiply-accumulates per second of all of a session's threads together, by precision."""

    int8: float
    float32: float

    def seconds(self, rows: Sequence[NodeRow]) -> float:
        """The least time in which these nodes could do their multiply-accumulates."""
        return sum(
            row["macs"] / (self.int8 if row["precision"] == "int8" else self.float32)
            for row in rows
        )


def measure_ceilings(session: Session) -> Ceilings:
    """The ceilings at the session's ISA level and number of threads, measured now."""
    measured = _core.measure_ceilings(session.isa)
    return Ceilings(
        measured["int8"]["macs_per_s"] * session.threads,
        measured["float32"]["macs_per_s"] * session.threads,
    )


def bench(
    session: Session, inputs: Mapping[str, Array], repeats: int | None = None
) -> dict[str, Any]:
    """Times a model; see :func:`time_runs` for the arguments.

    Returns:
        ``median_ms``, ``min_ms``, ``runs``; ``gmacs``, billions of multiply-accumulates of one
        run; ``gmacs_per_s`` at the median; ``ceiling_gmacs_per_s``, what the machine reaches with
        this model's mix of precisions; ``share_of_ceiling``, their ratio; ``threads`` and ``isa``.
        The last three numbers are 0 for a model without multiply-accumulates.
    """
    rows = session.nodes({name: array.shape for name, array in inputs.items()})
    timing = time_runs(session, inputs, repeats)
    ceilings = measure_ceilings(session)
    macs = sum(row["macs"] for row in rows)
    least = ceilings.seconds(rows)
    per_second = macs / (timing.median_ms / 1e3)
    ceiling = macs / least if least else 0.0
    return {
        "threads": session.threads,
        "isa": session.isa,
        "runs": timing.runs,
        "median_ms": timing.median_ms,
        "min_ms": timing.min_ms,
        "gmacs": macs / 1e9,
        "gmacs_per_s": per_second / 1e9,
        "ceiling_gmacs_per_s": ceiling / 1e9,
        "share_of_ceiling": per_second / ceiling if ceiling else 0.0,
    }
