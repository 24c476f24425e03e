"""Count the Arm instructions that a network takes, node by node, beside an ideal.

usage: arm_instructions.py MODEL.gguf [--runner build/aarch64/bin/zeropoint-run]
                           [--cpu cortex-a76] [--at-most 1.25] [--json FILE]

No Arm machine is needed: zeropoint-run, cross-compiled (``cmake --preset aarch64``), runs under
qemu-aarch64, and a plugin (arm/instruction_count.c, compiled here with ``cc``) notes how many
instructions were executed whenever the program reads the clock. ``zeropoint-run --bench`` reads it
before and after every node. Counts are of one thread, exact, and the same on every machine; with
`--at-most` the exit code is 1 when the whole run takes more than so many times the ideal.

The ideal is what the dot product instruction (SDOT: 16 multiply-accumulates) allows when nothing is
wasted: no loop control, no address, no register copied, no tile larger than the layer. In
instructions, for vectors of 16 bytes:

  product of [M, K] and [K, N] (convolutions but depthwise ones, and linear layers)
      A tile of m = min(M, 8) rows and 12 columns takes, for 4 of K, 3 m SDOT, m / 4 loads of A and
      3 of B:  M * N * ceil(K / 4) * (3 m + m / 4 + 3) / (12 m)
      A is brought into the order of the tile, 64 bytes by 4 loads and 1 store (ST4), where more
      than one row shares it:  M * K * 5 / 64
  depthwise convolution, k x k with stride s
      r rows of outputs at once (2 for 3x3 with stride 1, else 1) share i = (r - 1) s + k input
      rows, and every input column serves k / s output columns. A dword holds four vertical
      neighbours of one channel, d = ceil(i / 4) of them a column. For 16 channels of r outputs:
      4 r d k SDOT, s i loads, and 8 s d ZIPs that interleave.
  every int8 output, 16 at once
      4 to set out from the bias, 4 each of SCVTF, FMUL, FCVTNS and SQXTN, 2 each of SQADD and SQXTN
      to bytes, 1 store:  25 / 16
      A residual added on the way: the first result is rounded, clamped below and above and scaled
      instead (4 each of FRINTN, FMAX, FMIN, FMUL), the residual loaded, centered (2), widened (4),
      converted (4) and scaled (4), the two added (4), then 13 as above:  60 / 16
  element by element, 16 at once
      add, mul: 49, 37; lookup: 9; quantize: 21, also where it turns an image to channels last
      (ST3 stores 48 pixels' bytes in order); dequantize: 19
  mean: 1 load and 2 SADDW for 16 inputs, and an output as above
  transpose, concat, pad: 1 load and 1 store for 16 bytes; a reshape is free

Nodes of other operators are counted, but stay out of both sides of the ratio.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from zeropoint.graph import Graph, Node
from zeropoint.model_file import read_model

PLUGIN = Path(__file__).parent / "arm" / "instruction_count.c"
REQUANTIZE = 25 / 16
REQUANTIZE_AND_ADD = 60 / 16
ELEMENTWISE = {"add": 49, "mul": 37, "lookup": 9, "quantize": 21, "dequantize": 19}
MOVES = {"transpose", "concat", "pad", "slice"}


@dataclass
class Row:
    """One node: multiply-accumulates, instructions counted, and the ideal's (None: no ideal)."""

    name: str
    op: str
    kernel: str
    macs: int
    instructions: int
    ideal: float | None


def product(m: int, n: int, k: int) -> float:
    """Instructions of an int8 product before requantization."""
    rows = min(m, 8)
    tiles = m * n * math.ceil(k / 4) * (3 * rows + rows / 4 + 3) / (12 * rows)
    return tiles + (m * k * 5 / 64 if m > 1 else 0)


def depthwise(outputs: int, kernel: tuple[int, int], stride: int) -> float:
    """Instructions of a depthwise convolution before requantization."""
    height, width = kernel
    rows = 2 if height == 3 and stride == 1 else 1
    input_rows = (rows - 1) * stride + height
    dwords = math.ceil(input_rows / 4)
    vectors = 4 * rows * dwords * width + stride * (input_rows + 8 * dwords)
    return outputs * vectors / (16 * rows)


def elements(shape: tuple[int, ...]) -> int:
    return math.prod(shape)


def ideal(graph: Graph, node: Node, op: str, macs: int) -> float | None:
    """Instructions that a node takes at least, by the formulas above; None: there is none."""

    def shape(name: str) -> tuple[int, ...]:
        dims = graph.values[name].shape or ()
        return tuple(d if isinstance(d, int) and d > 0 else 1 for d in dims)

    given, made = shape(node.inputs[0]), shape(node.outputs[0])
    outputs = elements(made)
    finish = outputs * (REQUANTIZE_AND_ADD if op.endswith("+add") else REQUANTIZE)
    if node.op == "conv2d":
        weights = shape(node.inputs[1])
        channels, height, width, depth = weights
        strides, groups = node.attrs["strides"], node.attrs["groups"]
        assert isinstance(strides, list)
        assert isinstance(groups, int)
        if depth == 1 and groups == channels:
            return depthwise(outputs, (height, width), int(strides[0])) + finish
        pixels = outputs // channels
        return groups * product(pixels, channels // groups, height * width * depth) + finish
    if node.op == "linear":
        n = made[-1]
        return product(outputs // n, n, macs // outputs) + finish
    if node.op in ELEMENTWISE:
        return outputs * ELEMENTWISE[node.op] / 16
    if node.op == "reduce_mean":
        return elements(given) * 3 / 16 + finish
    if node.op in MOVES:
        return outputs * 2 / 16
    return 0.0 if node.op == "reshape" else None


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    except FileNotFoundError:
        sys.exit(f"arm_instructions.py: '{command[0]}' is not installed")
    if done.returncode != 0:
        sys.exit(f"arm_instructions.py: {' '.join(command)} failed:\n{done.stderr.strip()}")
    return done


def count(emulator: list[str], runner: Path, model: Path) -> list[int]:
    """Instructions executed up to each reading of the clock in a run of `--bench --repeats 1`."""
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder) / "instruction_count.so"
        run(["cc", "-shared", "-fPIC", "-O2", str(PLUGIN), "-o", str(plugin)])
        bench = [str(runner), str(model), "--threads", "1", "--bench", "--repeats", "1"]
        log = run([*emulator, "-d", "plugin", "-plugin", str(plugin), *bench]).stderr
    return [int(line.split()[1]) for line in log.splitlines() if line[:1].isdigit()]


def measure(emulator: list[str], runner: Path, model: Path) -> tuple[list[Row], int]:
    """All nodes, and the instructions of one whole run."""
    graph = read_model(model)
    nodes = {node.name: node for node in graph.nodes}
    listing = run([*emulator, str(runner), str(model), "--nodes"]).stdout.splitlines()
    marks = count(emulator, runner, model)
    # The last readings: before and after each node, then before and after a whole run.
    if len(marks) < 2 * len(listing) + 2:
        sys.exit(
            f"arm_instructions.py: {len(marks)} readings of the clock for {len(listing)} nodes: "
            "does this QEMU support plugins, and is the runner that of this tree?"
        )
    of_nodes = marks[-2 - 2 * len(listing) : -2]
    rows = []
    for i, line in enumerate(listing):
        name, op, _, kernel, _, macs, _ = line.split("\t")
        instructions = of_nodes[2 * i + 1] - of_nodes[2 * i]
        least = ideal(graph, nodes[name], op, int(macs))
        rows.append(Row(name, op, kernel, int(macs), instructions, least))
    return rows, marks[-1] - marks[-2]


def print_table(rows: list[Row], whole: int) -> float:
    """The table and the totals; returns the whole run's ratio to the ideal."""
    print(f"{'instructions':>13} {'ideal':>11} {'ratio':>6} {'a MAC':>7}  node")
    for row in rows:
        least = "-" if row.ideal is None else f"{row.ideal:.0f}"
        ratio = f"{row.instructions / row.ideal:.2f}" if row.ideal else "-"
        each = f"{row.instructions / row.macs:.4f}" if row.macs else "-"
        print(
            f"{row.instructions:13d} {least:>11} {ratio:>6} {each:>7}  "
            f"{row.op} {row.name} ({row.kernel})"
        )
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        depthwise_or_not = "depthwise" if row.kernel.startswith("depthwise") else row.op
        kinds.setdefault(depthwise_or_not, []).append(row)
    print()
    for kind, members in sorted(kinds.items(), key=lambda item: -sum(r.macs for r in item[1])):
        total = sum(row.instructions for row in members)
        least_total = sum(row.ideal or 0.0 for row in members)
        ratio = f"{total / least_total:.3f}" if least_total else "-"
        print(f"{total:13d} {least_total:11.0f} {ratio:>6}  {kind}, {len(members)} nodes")
    macs = sum(row.macs for row in rows)
    least_total = sum(row.ideal or 0.0 for row in rows)
    counted = whole - sum(row.instructions for row in rows if row.ideal is None)
    print(
        f"\nwhole run: {whole} instructions, {whole / macs:.4f} a multiply-accumulate; "
        f"ideal {least_total / macs:.4f}; ratio {counted / least_total:.3f}"
    )
    return counted / least_total


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--runner", type=Path, default=Path("build/aarch64/bin/zeropoint-run"))
    parser.add_argument("--qemu", default="qemu-aarch64", help="a QEMU with plugins")
    parser.add_argument("--cpu", default="cortex-a76", help="a CPU with SDOT, and no i8mm")
    parser.add_argument("--at-most", type=float, help="fail above this ratio to the ideal")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()
    for path in (args.model, args.runner):
        if not path.is_file():
            parser.error(f"there is no file '{path}'")
    rows, whole = measure([args.qemu, "-cpu", args.cpu], args.runner, args.model)
    ratio = print_table(rows, whole)
    if args.json is not None:
        document = {"whole": whole, "ratio": ratio, "nodes": [asdict(row) for row in rows]}
        args.json.write_text(json.dumps(document, indent=1) + "\n")
    if args.at_most is not None and ratio > args.at_most:
        print(f"arm_instructions.py: more than {args.at_most} times the ideal", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
