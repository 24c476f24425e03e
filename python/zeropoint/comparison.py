"""Quantization error, layer by layer: a quantized model held against the float graph it came from.

Two errors for each layer, both against the value that the float graph computes:

- *accumulated*: the quantized model's own value, so with the errors of all layers before it;
- *alone*: the layer run by itself, its inputs being the float values, quantized with the
  parameters that the model gives them. It shows which layer loses accuracy; accumulated shows what
  is lost by then.

Both run on the engine and stream over batches: what is kept is two sums of squares per layer.
The signal-to-quantization-noise ratio is ``10 log10(sum x^2 / sum (x - y)^2)`` in dB, where x is
the float value and y the quantized one.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zeropoint.errors import InputError
from zeropoint.graph import Graph, Node, QuantParams, Value
from zeropoint.model import Model
from zeropoint.model_file import read_model, short_name
from zeropoint.operators import VIEWS
from zeropoint.report import precision
from zeropoint.session import Session

Array = npt.NDArray[Any]


@dataclass
class Deviation:
    """Sums over all elements of all samples."""

    elements: int = 0
    signal: float = 0.0
    noise: float = 0.0

    def add(self, reference: Array, value: Array) -> None:
        x = reference.astype(np.float64).reshape(-1)
        d = value.astype(np.float64).reshape(-1) - x
        self.elements += x.size
        self.signal += float(x @ x)
        self.noise += float(d @ d)

    @property
    def rms(self) -> float:
        """Root mean square error, in the value's own units."""
        return math.sqrt(self.noise / self.elements) if self.elements else 0.0

    @property
    def sqnr_db(self) -> float:
        """inf where there is no error, -inf where all the signal is zero and the value is not."""
        if self.noise == 0.0:
            return math.inf
        return 10.0 * math.log10(self.signal / self.noise) if self.signal else -math.inf


@dataclass
class LayerError:
    """One node of the quantized model.

    Attributes:
        node, op, precision: the node; precision is "int8" or "float32".
        output: the value compared, under its name in the quantized model.
        alone: None for float32 nodes, which add no error of their own.
        accumulated: the error of the model's own value.
    """

    node: str
    op: str
    precision: str
    output: str
    alone: Deviation | None
    accumulated: Deviation


@dataclass
class Comparison:
    """The result of :func:`compare`: layers in execution order, and the graph's outputs."""

    layers: list[LayerError]
    outputs: dict[str, Deviation]
    samples: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: ``sqnr_db`` is None where the error or the signal is 0;
        ``rms_error`` tells these apart. Both are None where the float graph itself overflows."""
        return {
            "samples": self.samples,
            "layers": [
                {
                    "node": layer.node,
                    "op": layer.op,
                    "precision": layer.precision,
                    "output": layer.output,
                    "alone": None if layer.alone is None else _plain(layer.alone),
                    "accumulated": _plain(layer.accumulated),
                }
                for layer in self.layers
            ],
            "outputs": {name: _plain(deviation) for name, deviation in self.outputs.items()},
        }


def _plain(deviation: Deviation) -> dict[str, float | None]:
    db, rms = deviation.sqnr_db, deviation.rms
    return {
        "sqnr_db": db if math.isfinite(db) else None,
        "rms_error": rms if math.isfinite(rms) else None,
    }


def compare(
    graph: Graph,
    model: Model | Graph | str | os.PathLike[str],
    batches: Iterable[Mapping[str, Array]],
    *,
    threads: int = 1,
    isa: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Compares a quantized model with the float graph it was made from.

    Args:
        graph: the float graph, as :func:`zeropoint.load` returned it. Where it has integer values
            of its own, what they stand for is compared.
        model: the quantized model, or its file.
        batches: ``{input name: array}``, samples along the first axis.
        threads: as in :class:`zeropoint.Session`.
        isa: as in :class:`zeropoint.Session`.
        progress: called with the number of samples of each batch when it is done.

    Raises:
        InputError: there is no batch, a batch does not fit the graph or holds NaN or infinity, or
            the two graphs do not belong together.
    """
    quantized = _graph_of(model)
    pairs = _Pairs(graph, quantized)
    reference = Session(graph, threads=threads, isa=isa)
    session = Session(quantized, threads=threads, isa=isa, io=_border(graph, quantized))
    layers, alone = _layers(pairs, threads, isa)
    outputs = {name: Deviation() for name in quantized.outputs}

    # Only these values of the float graph are kept for the time of a batch.
    wanted = {pairs.of[layer.output] for layer in layers} | set(graph.outputs)
    wanted.update(name for single in alone for name in single.feeds.values())
    accumulated = {layer.output: layer.accumulated for layer in layers}
    # The engine knows values by their names in the model file.
    names = {short_name(name): name for name in wanted | set(accumulated)}
    samples = 0
    for number, batch in enumerate(batches):
        _check_finite(batch, number)
        floats: dict[str, Array] = {}

        def keep(name: str, value: Array, floats: dict[str, Array] = floats) -> None:
            name = names.get(name, name)
            if name in wanted:
                floats[name] = _dequantize(value.copy(), graph.value(name).quant)

        def measure(name: str, value: Array, floats: dict[str, Array] = floats) -> None:
            name = names.get(name, name)
            if name in accumulated:
                real = _dequantize(value, quantized.value(name).quant)
                accumulated[name].add(floats[pairs.of[name]], real)

        reference.observe(batch, keep)
        results = session.observe(batch, measure)
        for name, deviation in outputs.items():
            deviation.add(floats[name], results[name])
        for single in alone:
            single.run(floats)
        count = len(next(iter(batch.values())))
        samples += count
        if progress is not None:
            progress(count)
    if not samples:
        raise InputError("there is nothing to compare on: no batch was given")
    return Comparison(layers, outputs, samples)


def _check_finite(batch: Mapping[str, Array], number: int) -> None:
    for name, array in batch.items():
        if np.asarray(array).dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(
                f"batch {number}: input '{name}' holds NaN or infinity; remove or repair the sample"
            )


def _graph_of(model: Model | Graph | str | os.PathLike[str]) -> Graph:
    if isinstance(model, Graph):
        return model
    return model.graph if isinstance(model, Model) else read_model(model)


def _border(graph: Graph, quantized: Graph) -> dict[str, str]:
    """Samples go into both models as they are, and results come out as real numbers."""
    inputs = [n for n in quantized.inputs if n in graph.values and graph.value(n).quant is None]
    names = [*inputs, *quantized.outputs]
    return {name: "float32" for name in names if quantized.value(name).quant is not None}


def _dequantize(value: Array, quant: QuantParams | None) -> Array:
    if quant is None:
        return value
    return (value.astype(np.float32) - np.float32(quant.zero_point)) * quant.scale


class _Pairs:
    """Which value of the float graph each value of the quantized graph stands for.

    Values keep their names when a graph is quantized, but for long ones, which a model file
    shortens. New names arise only around quantize, dequantize and requantizing lookups, which stand
    for the value that they convert.
    """

    def __init__(self, graph: Graph, quantized: Graph) -> None:
        self.graph, self.quantized = graph, quantized
        missing = [
            name
            for side in ("inputs", "outputs")
            for name in getattr(quantized, side)
            if name not in getattr(graph, side)
        ]
        if missing:
            raise InputError(
                f"the two models do not belong together: {graph.source or graph.name} has no "
                f"input or output named {', '.join(repr(name) for name in missing)}"
            )
        names = {short_name(v.name): v.name for v in graph.activations()}
        self.of = {
            v.name: names[short_name(v.name)]
            for v in quantized.activations()
            if short_name(v.name) in names
        }
        # What a conversion reads and what it writes stand for the same value.
        conversions = [n for n in quantized.nodes if _converts(n)]
        for node in conversions:
            if node.inputs[0] in self.of:
                self.of.setdefault(node.outputs[0], self.of[node.inputs[0]])
        for node in reversed(conversions):
            if node.outputs[0] in self.of:
                self.of.setdefault(node.inputs[0], self.of[node.outputs[0]])


def _converts(node: Node) -> bool:
    return node.op in ("quantize", "dequantize") or (
        node.op == "lookup" and node.attrs.get("function") == "requantize"
    )


def _layers(pairs: _Pairs, threads: int, isa: str | None) -> tuple[list[LayerError], list[_Alone]]:
    quantized = pairs.quantized
    layers, alone = [], []
    for node in quantized.nodes:
        if _converts(node) or node.op in VIEWS:
            continue
        for output in node.outputs:
            if output not in pairs.of:
                continue
            kind = precision(quantized, node)
            layer = LayerError(node.name, node.op, kind, output, None, Deviation())
            layers.append(layer)
            if kind == "int8" and all(
                n in pairs.of or quantized.value(n).is_constant for n in node.inputs if n
            ):
                single = _Alone(pairs, node, output, threads, isa)
                layer.alone = single.deviation
                alone.append(single)
    return layers, alone


class _Alone:
    """A session of one node between quantize and dequantize, fed with float values."""

    def __init__(
        self, pairs: _Pairs, node: Node, output: str, threads: int, isa: str | None
    ) -> None:
        quantized = pairs.quantized
        self.deviation = Deviation()
        self.output = output
        #: Input of the one-node graph -> value of the float graph.
        self.feeds: dict[str, str] = {}
        self._reference = pairs.of[output]

        single = Graph(f"{quantized.name}/{node.name}", source=quantized.source)
        for name in dict.fromkeys(n for n in (*node.inputs, *node.outputs) if n):
            single.add_value(dataclasses.replace(quantized.value(name)))
        for name in dict.fromkeys(n for n in node.inputs if n):
            value = single.value(name)
            if value.is_constant:
                continue
            feed = name
            if value.quant is not None:
                feed = single.unique_name("float_input")
                single.add_value(Value(feed, "float32", value.shape))
                single.nodes.append(Node(f"quantize_{feed}", "quantize", [feed], [name]))
            single.inputs.append(feed)
            self.feeds[feed] = pairs.of[name]
        single.nodes.append(node)
        result = single.value(output)
        self._result = output
        if result.quant is not None:
            self._result = single.unique_name("float_output")
            single.add_value(Value(self._result, "float32", result.shape))
            single.nodes.append(Node("dequantize_output", "dequantize", [output], [self._result]))
        single.outputs = [self._result]
        self._session = Session(single, threads=threads, isa=isa)

    def run(self, floats: Mapping[str, Array]) -> None:
        inputs = {feed: floats[name] for feed, name in self.feeds.items()}
        self.deviation.add(floats[self._reference], self._session.run(inputs)[self._result])
