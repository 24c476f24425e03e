"""Write layer_shapes.h: what the layers of the five networks look like to the kernels.

usage: layer_shapes.py DIRECTORY [> layer_shapes.h]

DIRECTORY holds the float networks that bench/models/networks.py writes. Shapes come from ONNX's own
shape inference. Equal layers are listed once, with the networks that have them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import onnx

NETWORKS = ("resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "minilm_encoder_128")
BINARY = {"Add": "add", "Mul": "mul"}
# Exported GELU is a chain of nodes with one Erf in it.
UNARY = {"HardSwish": "hard_swish", "HardSigmoid": "hard_sigmoid", "Erf": "gelu"}

# Table: comment, C++ structure.
TABLES = {
    "linear": (
        "C[m][n] = A[m][k] x B[k][n]: linear layers, pointwise convolutions of stride 1, attention",
        "int64_t m; int n, k;",
    ),
    "conv": (
        "Convolutions of square images [side][side][channels], padded by kernel / 2",
        "int side, channels, filters, kernel, stride;",
    ),
    "depthwise": ("Depthwise convolutions, padded likewise", "int side, channels, kernel, stride;"),
    "max_pool": ("Maximum pools, padded likewise", "int side, channels, kernel, stride;"),
    "global_mean": ("Global average pools", "int side, channels;"),
    "binary": (
        "Additions and multiplications of `rows` runs of `columns` elements; in more than one\n"
        "// row, the second operand is the same run each time",
        "const char* function; int rows, columns;",
    ),
    "unary": ("Activations that no other layer absorbs", "const char* function; int elements;"),
    "softmax": ("Rows of softmax", "int rows, columns;"),
}
Row = tuple[str, tuple[int | str, ...]]


def layers(path: Path) -> Iterator[Row]:
    """(table, numbers) of every node that has kernels of its own."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    constants = {t.name for t in graph.initializer}
    constants |= {n.output[0] for n in graph.node if n.op_type == "Constant"}
    shapes = {t.name: list(t.dims) for t in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    for node in graph.node:
        if not node.output or not shapes.get(node.output[0]):
            continue
        y, x = shapes[node.output[0]], shapes.get(node.input[0], []) if node.input else []
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        stride = attributes.get("strides", [1])[0]
        if node.op_type == "Conv":
            filters, _, kernel, _ = shapes[node.input[1]]
            _, channels, side, _ = x
            if attributes.get("group", 1) == channels > 1:
                yield "depthwise", (side, channels, kernel, stride)
            elif kernel == stride == 1:
                yield "linear", (side * side, filters, channels)
            else:
                yield "conv", (side, channels, filters, kernel, stride)
        elif node.op_type in ("Gemm", "MatMul"):
            batched = node.op_type == "MatMul" and node.input[1] not in constants
            yield "linear", (y[-2] if batched else math.prod(y[:-1]), y[-1], x[-1])
        elif node.op_type == "MaxPool":
            yield "max_pool", (x[2], x[1], attributes["kernel_shape"][0], stride)
        elif node.op_type == "GlobalAveragePool":
            yield "global_mean", (x[2], x[1])
        elif node.op_type in UNARY:
            yield "unary", (UNARY[node.op_type], math.prod(y))
        elif node.op_type == "Softmax":
            yield "softmax", (math.prod(y[:-1]), y[-1])
        elif node.op_type in BINARY and not constants & set(node.input):
            same = shapes[node.input[0]] == shapes[node.input[1]]
            if same and node.op_type == "Mul":
                continue  # the last node of an exported GELU
            rows = 1 if same else y[2] * y[3]
            yield "binary", (BINARY[node.op_type], rows, math.prod(y) // rows)


def collect(directory: Path) -> dict[Row, list[str]]:
    """Every distinct layer, and the networks that have it, in order of appearance."""
    found: dict[Row, list[str]] = {}
    for network in NETWORKS:
        for row in layers(directory / f"{network}.onnx"):
            users = found.setdefault(row, [])
            if network not in users:
                users.append(network)
    return found


def header(found: dict[Row, list[str]]) -> str:
    lines = [
        "// Layers of " + ", ".join(NETWORKS[:-1]) + " and",
        f"// {NETWORKS[-1]}: written by layer_shapes.py from the networks' ONNX files.",
        "#pragma once",
        "",
        "#include <cstdint>",
        "",
        "namespace zeropoint::bench {",
        "// clang-format off",
    ]
    for table, (comment, fields) in TABLES.items():
        name = "".join(word.title() for word in table.split("_"))
        lines += ["", f"// {comment}.", f"struct {name} {{ {fields} const char* networks; }};"]
        lines.append(f"inline constexpr {name} k{name}Layers[] = {{")
        for (owner, numbers), networks in found.items():
            if owner == table:
                cells = [f'"{v}"' if isinstance(v, str) else str(v) for v in numbers]
                lines.append(f'    {{{", ".join(cells)}, "{"+".join(networks)}"}},')
        lines.append("};")
    return "\n".join([*lines, "", "// clang-format on", "}  // namespace zeropoint::bench", ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    print(header(collect(parser.parse_args().directory)), end="")


if __name__ == "__main__":
    main()
