"""What a user may choose about quantization."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from zeropoint.errors import InputError
from zeropoint.graph import Graph, Node
from zeropoint.operators import ALL

_CHOICES: dict[str, tuple[str, ...]] = {
    "weights": ("per_channel", "per_tensor"),
    "weight_scheme": ("symmetric", "asymmetric"),
    "activations": ("asymmetric", "symmetric"),
    "input_dtype": ("float32", "int8"),
    "output_dtype": ("float32", "int8"),
}


@dataclass(frozen=True)
class Config:
    """How :func:`zeropoint.quantize` quantizes.

    Attributes:
        weights: one scale "per_channel" (output channel) or "per_tensor".
        weight_scheme: "symmetric" weights (zero point 0), or "asymmetric", which costs about twice
            the multiplications at run time.
        activations: "asymmetric" (one zero point per tensor) or "symmetric" (zero point 0).
        keep_float: what stays in float32: names of nodes, names of the values they write, operator
            types, or patterns of any of these with ``*``, ``?`` and ``[...]``.
        input_dtype: "float32", or "int8": the graph's float inputs are then handed over quantized,
            with the scale and zero point of the input value.
        output_dtype: the same for the graph's outputs.
    """

    weights: Literal["per_channel", "per_tensor"] = "per_channel"
    weight_scheme: Literal["symmetric", "asymmetric"] = "symmetric"
    activations: Literal["asymmetric", "symmetric"] = "asymmetric"
    keep_float: Sequence[str] = ()
    input_dtype: Literal["float32", "int8"] = "float32"
    output_dtype: Literal["float32", "int8"] = "float32"

    def __post_init__(self) -> None:
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise InputError(
                    f"Config.{field} is {getattr(self, field)!r}; choose one of {list(choices)}"
                )
        if isinstance(self.keep_float, str):
            object.__setattr__(self, "keep_float", (self.keep_float,))
        object.__setattr__(self, "keep_float", tuple(self.keep_float))
        if not all(isinstance(pattern, str) and pattern for pattern in self.keep_float):
            raise InputError(f"Config.keep_float is {self.keep_float!r}; it lists names")

    def kept(self, graph: Graph) -> dict[str, str]:
        """Node name -> the entry of ``keep_float`` that keeps it in float32.

        Raises:
            InputError: an entry matches no node, and is not an operator of zeropoint either.
        """
        found: dict[str, str] = {}
        for pattern in self.keep_float:
            matches = [node for node in graph.nodes if _matches(pattern, node)]
            if not matches and pattern not in ALL:
                raise InputError(
                    f"keep_float names '{pattern}', but no node, value or operator of "
                    f"{graph.source or graph.name} is called that{_suggest(pattern, graph)}"
                )
            for node in matches:
                found.setdefault(node.name, pattern)
        return found


def _matches(pattern: str, node: Node) -> bool:
    names = (node.name, node.op, *node.outputs)
    # The literal name first: ONNX names may hold the characters of a pattern.
    return pattern in names or any(fnmatchcase(name, pattern) for name in names if name)


def _suggest(pattern: str, graph: Graph) -> str:
    names = {name for node in graph.nodes for name in (node.name, node.op, *node.outputs)}
    close = difflib.get_close_matches(pattern, sorted(names), n=3)
    return f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
