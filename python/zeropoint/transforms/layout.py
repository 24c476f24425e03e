"""Permutations of axes, and the names of values that exist in two layouts.

A *twin* of a value holds the same elements with permuted axes. Its name is the value's name and a
suffix; when the original is gone at the end, :func:`restore_names` gives its name to the twin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from zeropoint.graph import Dim, Graph

#: ``transpose`` permutations between [N, C, H, W] and [N, H, W, C].
TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)

_SUFFIX = re.compile(r"^(.+)__(?:nhwc|nchw|perm\d+|view)(?:_\d+)?$")


def twin_name(name: str, perm: Sequence[int]) -> str:
    """The name for ``transpose(value, perm)``."""
    tags: dict[tuple[int, ...], str] = {TO_NHWC: "nhwc", TO_NCHW: "nchw"}
    return f"{name}__{tags.get(tuple(perm), 'perm' + ''.join(map(str, perm)))}"


def view_name(name: str) -> str:
    """The name for a value's elements under another shape."""
    return f"{name}__view"


def restore_names(graph: Graph) -> None:
    """Gives twins the names of their originals where those are gone."""
    fixed = set(graph.inputs) | set(graph.outputs)
    renamed: dict[str, str] = {}
    taken = set(graph.values)
    for name in list(graph.values):
        base = name
        while (match := _SUFFIX.match(base)) is not None:
            base = match.group(1)
        if base != name and name not in fixed and base not in taken:
            renamed[name] = base
            taken.add(base)
    if renamed:
        rename(graph, renamed)


def rename(graph: Graph, names: dict[str, str]) -> None:
    """Renames values everywhere; the order of ``graph.values`` is kept."""
    for node in graph.nodes:
        node.inputs = [names.get(name, name) for name in node.inputs]
        node.outputs = [names.get(name, name) for name in node.outputs]
    graph.inputs = [names.get(name, name) for name in graph.inputs]
    graph.outputs = [names.get(name, name) for name in graph.outputs]
    values = {}
    for name, value in graph.values.items():
        value.name = names.get(name, name)
        values[value.name] = value
    graph.values = values


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    result = [0] * len(perm)
    for i, axis in enumerate(perm):
        result[axis] = i
    return tuple(result)


def is_identity(perm: Sequence[int]) -> bool:
    return list(perm) == list(range(len(perm)))


def permuted(shape: Sequence[Dim], perm: Sequence[int]) -> tuple[Dim, ...]:
    return tuple(shape[axis] for axis in perm)


def moves_nothing(shape: Sequence[Dim], perm: Sequence[int]) -> bool:
    """True when only dimensions of size 1 change places: the bytes stay as they are."""
    wide = [axis for axis in perm if shape[axis] != 1]
    return wide == sorted(wide)


def reshape_spec(before: Sequence[Dim], after: Sequence[Dim]) -> list[int] | None:
    """The ``shape`` attribute that takes ``before`` to ``after``; None where free dimensions make
    that impossible to say."""
    if 0 in before or 0 in after:
        return None
    free = [i for i, dim in enumerate(after) if dim is None]
    if len(free) > 1:
        # Several free dimensions: only where they stay in place and the rest is unchanged too.
        return [0] * len(after) if list(before) == list(after) else None
    spec = [-1 if dim is None else dim for dim in after]
    if free and free[0] < len(before) and before[free[0]] is None and before.count(None) == 1:
        spec[free[0]] = 0 if _rest(before) == _rest(after) else -1
    return spec


def _rest(shape: Sequence[Dim]) -> int:
    total = 1
    for dim in shape:
        total *= 1 if dim is None else dim
    return total
