"""Scale and zero point of every int8 activation, from the statistics of calibration."""

from __future__ import annotations

from zeropoint.calibration.statistics import Statistics
from zeropoint.calibration.targets import fixed_params, takes_input_params
from zeropoint.errors import CalibrationError
from zeropoint.graph import Graph, Node, QuantParams
from zeropoint.quantization.affine import activation_params, representable
from zeropoint.quantization.config import Config
from zeropoint.quantization.decisions import Decisions


class Parameters:
    """Looks parameters up by the name that a value has in the float graph.

    Operators that keep their input's parameters pass them on. A concat has one pair for all of its
    inputs; an input that nobody else reads is produced with the concat's parameters right away, so
    that nothing is left to requantize.
    """

    def __init__(
        self, graph: Graph, decisions: Decisions, statistics: Statistics, config: Config
    ) -> None:
        self._graph = graph
        self._statistics = statistics
        self._symmetric = config.activations == "symmetric"
        self._producer = graph.producers()
        self._int8_producer = {
            name: graph.nodes[i] for i in decisions.int8 for name in graph.nodes[i].outputs if name
        }
        self._readers: dict[str, int] = dict.fromkeys(graph.outputs, 1)
        for node in graph.nodes:
            for name in node.inputs:
                self._readers[name] = self._readers.get(name, 0) + 1
        self._adopted: dict[str, str] = {}
        self._cache: dict[str, QuantParams] = {}
        for i in sorted(decisions.int8):
            node = graph.nodes[i]
            if node.op == "concat":
                self._adopt(node)

    def of(self, name: str) -> QuantParams:
        """The parameters of a value's int8 form.

        Raises:
            CalibrationError: the statistics lack the value, or its range gives no usable scale.
        """
        root = self._root(name)
        while root in self._adopted:
            root = self._root(self._adopted[root])
        if root not in self._cache:
            node = self._int8_producer.get(root)
            fixed = None if node is None else fixed_params(node)
            self._cache[root] = fixed or self._observed(root)
        return self._cache[root]

    def _observed(self, name: str) -> QuantParams:
        lo, hi = self._range(name)
        try:
            return activation_params(name, lo, hi, symmetric=self._symmetric)
        except CalibrationError as error:
            node = self._producer.get(name)
            where = "the graph's input" if node is None else f"node '{node.name}' ({node.op})"
            source = self._graph.source or self._graph.name
            raise CalibrationError(f"{source}: {where}: {error}") from None

    def _root(self, name: str) -> str:
        """The value whose parameters ``name`` has because only data movement lies between."""
        while True:
            node = self._int8_producer.get(name)
            if node is None or not takes_input_params(node):
                return name
            name = node.inputs[0]

    def _adopt(self, concat: Node) -> None:
        for name in concat.inputs:
            if not name or self._graph.value(name).is_constant:
                continue
            while self._readers[name] == 1:
                node = self._int8_producer.get(name)
                if node is None or not takes_input_params(node):
                    self._adopted[name] = concat.outputs[0]
                    break
                if node.op == "split":
                    break  # its other parts have readers of their own
                name = node.inputs[0]

    def _range(self, name: str) -> tuple[float, float]:
        if name in self._statistics:
            return self._statistics.range(name)
        data = self._graph.value(name).data
        if data is not None:
            return float(data.min()), float(data.max())
        node = self._producer.get(name)
        if node is not None:
            fixed = fixed_params(node)
            if fixed is not None:
                return representable(fixed)
            if takes_input_params(node):
                return self._range(node.inputs[0])
            if node.op == "concat":
                ranges = [self._range(n) for n in node.inputs if n]
                return min(lo for lo, _ in ranges), max(hi for _, hi in ranges)
        raise CalibrationError(
            f"the statistics know nothing of '{name}'; calibrate the graph that is being quantized"
        )
