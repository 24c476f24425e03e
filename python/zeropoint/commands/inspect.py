"""Show what a model file holds: inputs, outputs, operators, values with scales and zero points."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from zeropoint import report
from zeropoint.commands import common

if TYPE_CHECKING:
    from zeropoint.graph import Graph, Value

NAME = "inspect"
HELP = "inputs, outputs, operators, scales and sizes of a model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_model(parser)


def execute(options: argparse.Namespace) -> None:
    graph = common.load_graph(options.model)
    summary = {
        "model": options.model,
        "file_bytes": os.path.getsize(options.model),
        **describe(graph),
    }
    if options.json:
        report.print_json(summary)
    else:
        _print(summary)


def describe(graph: Graph) -> dict[str, Any]:
    """The graph as plain data, complete but for the constants' contents."""
    operators: dict[str, Counter[str]] = {}
    nodes = []
    for node in graph.nodes:
        precision = report.precision(graph, node)
        operators.setdefault(node.op, Counter())[precision] += 1
        nodes.append(
            {
                "name": node.name,
                "op": node.op,
                "precision": precision,
                "inputs": node.inputs,
                "outputs": node.outputs,
                "attributes": node.attrs,
                "reason": node.reason,
            }
        )
    constants = [value for value in graph.values.values() if value.data is not None]
    return {
        "name": graph.name,
        "inputs": [_face(graph.value(name)) for name in graph.inputs],
        "outputs": [_face(graph.value(name)) for name in graph.outputs],
        "operators": {op: dict(count) for op, count in sorted(operators.items())},
        "constants": len(constants),
        "constant_elements": sum(v.data.size for v in constants if v.data is not None),
        "constant_bytes": sum(v.data.nbytes for v in constants if v.data is not None),
        "nodes": nodes,
        "values": [_value(value) for value in graph.values.values()],
    }


def _face(value: Value) -> dict[str, Any]:
    shape = None if value.shape is None else list(value.shape)
    return {"name": value.name, "dtype": value.dtype, "shape": shape}


def _value(value: Value) -> dict[str, Any]:
    quant = value.quant
    return {
        **_face(value),
        "constant": value.is_constant,
        "scale": None if quant is None else quant.scale.tolist(),
        "zero_point": None if quant is None else quant.zero_point.tolist(),
        "axis": None if quant is None else quant.axis,
    }


def _print(summary: dict[str, Any]) -> None:
    print(f"{summary['model']}: '{summary['name']}', {report.bytes_text(summary['file_bytes'])}")
    print(
        f"{summary['constants']} constants, {summary['constant_elements']:,} elements, "
        f"{report.bytes_text(summary['constant_bytes'])}"
    )
    for side in ("inputs", "outputs"):
        for face in summary[side]:
            print(
                f"{side[:-1]} '{face['name']}': {face['dtype']} {report.shape_text(face['shape'])}"
            )
    print()
    report.table(
        [
            report.Column("op", "operator"),
            report.Column("int8", "int8", right=True),
            report.Column("float32", "float32", right=True),
        ],
        [{"op": op, **counts} for op, counts in summary["operators"].items()],
    )
    print()
    report.table(
        [
            report.Column("name", "value"),
            report.Column("kind", "kind"),
            report.Column("dtype", "dtype"),
            report.Column("shape", "shape"),
            report.Column("scale", "scale", ".6g", right=True),
            report.Column("zero_point", "zero point", right=True),
        ],
        [
            {
                **value,
                "kind": "constant" if value["constant"] else "activation",
                "shape": report.shape_text(value["shape"]),
                "scale": _range(value["scale"], ".3g"),
                "zero_point": _range(value["zero_point"], "d"),
            }
            for value in summary["values"]
        ],
    )


def _range(items: Any, spec: str) -> Any:
    """Per-channel parameters as ``lowest..highest``."""
    if not isinstance(items, list) or not items:
        return items
    low, high = min(items), max(items)
    if low == high:
        return low
    return f"{low:{spec}}..{high:{spec}}"
