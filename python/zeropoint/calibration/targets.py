"""Which values' ranges quantization asks for, and which it can derive.

A range is the pair (lo, hi) of real values that a tensor takes. Data-moving operators and maxima
take only values of their input, so they need no observation of their own; some functions have a
range that is known beforehand.
"""

from __future__ import annotations

from zeropoint.graph import Graph, Node, QuantParams
from zeropoint.operators import KEEPS_QUANT

#: Fixed output parameters, covering each function's whole range (those TensorFlow Lite's int8
#: specification uses).
FIXED_PARAMS = {
    "sigmoid": (1.0 / 256, -128),
    "softmax": (1.0 / 256, -128),
    "tanh": (1.0 / 128, 0),
}


def fixed_params(node: Node) -> QuantParams | None:
    """The output parameters of a function whose range is known, None for all others."""
    found = FIXED_PARAMS.get(node.op)
    return None if found is None else QuantParams.per_tensor(*found)


def takes_input_params(node: Node) -> bool:
    """Does the int8 form of ``node`` hand its one input's scale and zero point on?

    All of :data:`zeropoint.operators.KEEPS_QUANT` but concat, which joins several, and padding with
    a constant other than zero, which may lie outside the input's range.
    """
    if node.op == "pad" and node.attrs.get("mode", "constant") == "constant":
        return not node.attrs.get("value", 0.0)
    return node.op in KEEPS_QUANT and node.op != "concat"


def observed_values(graph: Graph) -> list[str]:
    """The float32 activations that calibration watches, in execution order."""
    names = list(graph.inputs)
    for node in graph.nodes:
        derived = takes_input_params(node) or node.op == "concat" or node.op in FIXED_PARAMS
        if not derived:
            names.extend(name for name in node.outputs if name)
    return [name for name in dict.fromkeys(names) if graph.value(name).dtype == "float32"]
