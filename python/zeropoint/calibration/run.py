"""Calibration: run the float graph on samples and note the range of every value that matters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from zeropoint.calibration.statistics import Statistics
from zeropoint.calibration.targets import observed_values
from zeropoint.errors import CalibrationError, InputError
from zeropoint.graph import Array, Graph
from zeropoint.model_file import short_name

Batch = Mapping[str, Array] | Array


def calibrate(
    graph: Graph,
    batches: Iterable[Batch],
    *,
    method: str = "minmax",
    percentile: float = 99.99,
    bins: int = 2048,
    momentum: float = 0.9,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Statistics:
    """Observes the values of a float graph on calibration data, batch by batch.

    Memory does not grow with the number of batches: each is run once, on the engine in float32,
    and forgotten.

    Args:
        graph: the float graph, as :func:`zeropoint.load` returned it.
        batches: any iterable of ``{input name: array}``, or of arrays where the graph has one
            input; float32, samples along the first axis.
        method: "minmax" (smallest and largest value), "moving_average" (of each batch's smallest
            and largest), "percentile" (of a histogram, outliers cut) or "mse" (the range with the
            least squared quantization error on a histogram).
        percentile: for "percentile": leaves ``100 - percentile`` percent out on either side.
        bins: for histograms: bins on each side of zero, a power of two.
        momentum: for "moving_average": the weight of what was seen before.
        threads: threads of the engine; the statistics do not depend on it.
        progress: called with the number of samples of each batch when it is done.

    Raises:
        CalibrationError: there are no batches, or a batch or a value computed from it holds NaN or
            infinity.
        InputError: a batch lacks inputs or has others, or an array has the wrong dtype or shape;
            an option is out of range.
    """
    from zeropoint.session import Session

    statistics = Statistics(method, percentile=percentile, bins=bins, momentum=momentum)
    # The engine knows values by their names in the model file.
    wanted = {short_name(name): name for name in observed_values(graph)}
    session = Session(graph, threads=threads)
    number = 0

    def observe(file_name: str, array: Array) -> None:
        name = wanted.get(file_name)
        if name is None:
            return
        try:
            statistics.observer(name).update(array)
        except CalibrationError as error:
            kind = "input" if name in graph.inputs else "value"
            raise CalibrationError(
                f"calibration batch {number}: {kind} '{name}': {error}; "
                + (
                    "remove or repair the sample"
                    if kind == "input"
                    else "check that the samples are preprocessed as in training"
                )
            ) from None

    for batch in batches:
        inputs = _named(graph, batch, number)
        session.observe(inputs, observe)
        samples = len(inputs[graph.inputs[0]]) if inputs[graph.inputs[0]].ndim else 1
        statistics.samples += samples
        if progress is not None:
            progress(samples)
        number += 1
    if statistics.samples == 0:
        raise CalibrationError(
            "the calibration set is empty; give at least one batch (a few hundred samples that are "
            "typical of the model's use work well)"
        )
    return statistics


def _named(graph: Graph, batch: Any, number: int) -> dict[str, Array]:
    where = f"calibration batch {number}"
    if not isinstance(batch, Mapping):
        if len(graph.inputs) != 1:
            raise InputError(
                f"{where} is one array, but the graph has the inputs {graph.inputs}; give "
                "{name: array} batches"
            )
        batch = {graph.inputs[0]: batch}
    missing = [name for name in graph.inputs if name not in batch]
    extra = [name for name in batch if name not in graph.inputs]
    if missing or extra:
        raise InputError(
            f"{where}: the graph's inputs are {graph.inputs}; missing {missing}, unknown {extra}"
        )
    inputs: dict[str, Array] = {}
    for name in graph.inputs:
        array, value = np.asarray(batch[name]), graph.value(name)
        if str(array.dtype) != value.dtype:
            raise InputError(
                f"{where}: input '{name}' is {array.dtype}; convert it to {value.dtype}"
            )
        shape = value.shape
        if shape is not None and (
            len(shape) != array.ndim
            or any(d is not None and d != n for d, n in zip(shape, array.shape, strict=True))
        ):
            raise InputError(
                f"{where}: input '{name}' has shape {list(array.shape)}; expected "
                f"{['?' if d is None else d for d in shape]}"
            )
        if array.size == 0:
            raise CalibrationError(f"{where}: input '{name}' has no samples (its shape is empty)")
        inputs[name] = array
    return inputs
