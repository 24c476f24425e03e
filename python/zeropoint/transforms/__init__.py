"""Transforms: rewrites of a float graph that keep what it computes.

Each module has one concept and one entry, ``apply(graph)``, which changes the graph in place.
:func:`canonicalize` runs all of them, in an order in which they feed each other, until nothing
changes any more.
"""

from __future__ import annotations

from collections.abc import Callable

from zeropoint.errors import GraphError
from zeropoint.graph import Graph
from zeropoint.shapes import infer
from zeropoint.transforms import (
    channels_last,
    eliminate,
    fold_batchnorm,
    fold_constants,
    fold_layout_into_linear,
    fuse_activation,
    merge_pad,
    sink_views,
)
from zeropoint.transforms.layout import restore_names

__all__ = ["canonicalize"]

#: Far more rounds than any graph needs; the transforms feed each other two or three times.
_MAX_ROUNDS = 100

_PASSES: tuple[Callable[[Graph], None], ...] = (
    fold_constants.apply,
    eliminate.apply,
    channels_last.apply,
    eliminate.apply,
    fold_layout_into_linear.apply,
    sink_views.apply,
    eliminate.apply,
    fold_batchnorm.apply,
    merge_pad.apply,
    fuse_activation.apply,
    channels_last.transposes_to_reshapes,
    eliminate.apply,
)


def canonicalize(graph: Graph) -> None:
    """Brings a float graph to its canonical form, in place.

    Constants are folded, batch normalizations merged into weights, activation functions recognized
    and clips fused, transposes moved to the graph's border, no-ops and dead code removed. Inputs
    and outputs keep names, shapes and layouts; values keep their names where they still exist.
    The result depends on the graph alone, and a canonical graph stays as it is.

    Raises:
        GraphError: the graph breaks its own rules.
    """
    graph.sort()
    infer(graph)
    before = ""
    for _ in range(_MAX_ROUNDS):
        for transform in _PASSES:
            transform(graph)
            infer(graph)
        after = repr(graph.nodes)
        if after == before:
            break
        before = after
    else:
        raise GraphError(f"{graph.source or graph.name}: the transforms do not come to rest")
    restore_names(graph)
    graph.remove_dead()
