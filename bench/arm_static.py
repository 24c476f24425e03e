"""What the inner loops of the Arm kernels can reach, judged without an Arm machine.

usage: arm_static.py [--build DIR] [--all] [--json FILE]

Cross-compiles the Arm files of gemm_s8 and depthwise_s8 (by the commands that CMake gives them),
disassembles them, takes from each function the innermost loop with the most multiply-accumulates,
and gives it to llvm-mca for four cores. One line a file shows its best loop; --all shows every
function, which for gemm_s8 is every tile. Columns:

    n1 v1 a510 a55   multiply-accumulates per cycle by llvm-mca; "-" where the core lacks the
                     instructions. Two of these models are of cores that issue in order, where
                     llvm-mca is only fit to compare loops with each other.
    Arm              what Arm publishes for a kernel of its own with the same instruction and packed
                     operands (ComputeLibrary, arm_gemm's PerformanceParameters), in the same order;
                     under n1 its figure for cores that are not listed by name.
    MAC, insn        of one iteration
    dot:load         multiply instructions for each vector register loaded
    stack            instructions that touch the stack: should be 0
    moves            register copies between vectors: should be 0

Needs aarch64-linux-gnu-g++ and -objdump, CMake, and llvm-mca of LLVM 19 or newer: models of older
ones are stand-ins for these cores.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOL_PREFIX = "aarch64-linux-gnu-"
CORES = ("neoverse-n1", "neoverse-v1", "cortex-a510", "cortex-a55")
OLDEST_LLVM = 19
ITERATIONS = 200
# <family>/<file's stem>: Arm's figures in the order of CORES.
PUBLISHED = {
    "gemm_s8/arm_neon": ("8", "-", "3.3", "2.3"),  # 4x4, SMULL and SADALP
    "gemm_s8/arm_dotprod": ("29-32", "51-62", "20", "14-15"),  # 8x12, SDOT
    "gemm_s8/arm_i8mm": ("63", "117", "48", "-"),  # 8x12, SMMLA
}

# Multiply-accumulates of an instruction by the lanes of its destination.
LANES = {"8b": 8, "16b": 16, "4h": 4, "8h": 8, "2s": 2, "4s": 4, "2d": 2}
MACS_A_LANE = {
    **dict.fromkeys(("mla", "mls", "mul"), 1),
    **dict.fromkeys(("smull", "smull2", "smlal", "smlal2", "smlsl", "smlsl2"), 1),
    **dict.fromkeys(("umull", "umull2", "umlal", "umlal2"), 1),
    **dict.fromkeys(("sdot", "udot", "usdot", "sudot"), 4),
    **dict.fromkeys(("smmla", "ummla", "usmmla"), 8),
}


class ToolError(Exception):
    """A tool is missing, too old, or failed; says what to do."""


@dataclass(frozen=True)
class Instruction:
    address: int
    text: str

    @property
    def mnemonic(self) -> str:
        return self.text.partition(" ")[0]

    @property
    def operands(self) -> str:
        return self.text.partition(" ")[2]

    @property
    def macs(self) -> int:
        a_lane = MACS_A_LANE.get(self.mnemonic)
        destination = re.match(r"v\d+\.(\w+)", self.operands)
        if a_lane is None or destination is None:
            return 0
        return a_lane * LANES.get(destination[1], 0)

    @property
    def vectors_loaded(self) -> int:
        if not self.mnemonic.startswith("ld"):
            return 0
        return len(re.findall(r"\b[vqd]\d+\b", self.operands.partition("[")[0]))

    @property
    def target(self) -> int | None:
        """Where a branch within its function leads."""
        if not re.fullmatch(r"b(\.\w+)?|cbn?z|tbn?z", self.mnemonic):
            return None
        match = re.search(r"\b([0-9a-f]+) <", self.operands)
        return int(match[1], 16) if match else None


@dataclass
class Loop:
    """The innermost loop of a function that multiplies most."""

    kernel: str  # gemm_s8/arm_dotprod
    function: str
    macs: int
    instructions: int
    multiplies: int
    vector_loads: int
    stack_accesses: int
    moves: int
    macs_per_cycle: dict[str, float | None] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)


def disassemble(obj: Path) -> dict[str, list[Instruction]]:
    """The functions of an object file, by their names."""
    listing = run([TOOL_PREFIX + "objdump", "-d", "-C", "--no-show-raw-insn", str(obj)])
    functions: dict[str, list[Instruction]] = {}
    body: list[Instruction] = []
    for line in listing.splitlines():
        if title := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            body = functions.setdefault(title[1], [])
        elif found := re.match(r"\s*([0-9a-f]+):\s+(.*)", line):
            text = found[2].partition("//")[0].strip().replace("\t", " ")
            body.append(Instruction(int(found[1], 16), text))
    return functions


def innermost_loops(body: Sequence[Instruction]) -> Iterator[Sequence[Instruction]]:
    """Stretches of code that end with a branch to their start and hold no other such stretch."""
    index: dict[int | None, int] = {instruction.address: i for i, instruction in enumerate(body)}
    spans = []
    for last, instruction in enumerate(body):
        first = index.get(instruction.target)
        if first is not None and first <= last:
            spans.append((first, last))
    for first, last in spans:
        if not any((a, b) != (first, last) and first <= a and b <= last for a, b in spans):
            yield body[first : last + 1]


def hottest_loop(kernel: str, function: str, body: Sequence[Instruction]) -> Loop | None:
    """The loop with the most multiply-accumulates, of several the shortest; None: nothing is
    multiplied in a loop."""
    best: Loop | None = None
    for loop in innermost_loops(body):
        multiplies = sum(instruction.macs > 0 for instruction in loop)
        found = Loop(
            kernel=kernel,
            function=function,
            macs=sum(instruction.macs for instruction in loop),
            instructions=len(loop),
            multiplies=multiplies,
            vector_loads=sum(instruction.vectors_loaded for instruction in loop),
            stack_accesses=sum("[sp" in instruction.operands for instruction in loop),
            moves=sum(re.match(r"mov v\d+\.16b, v", i.text) is not None for i in loop),
            text=[re.sub(r"\b[0-9a-f]+ <.*", ".", instruction.text) for instruction in loop],
        )
        if found.macs > 0 and (
            best is None or (found.macs, -found.instructions) > (best.macs, -best.instructions)
        ):
            best = found
    return best


def short_name(function: str) -> str:
    """Without namespaces, parameters and return type."""
    name = function.replace("(anonymous namespace)::", "").replace("zeropoint::", "")
    name = re.sub(r"\b\w+_(s8|f32)::", "", name.partition("(")[0])
    return re.sub(r"^[\w ]+ (?=\w+(<|$))", "", name)


def macs_per_cycle(loop: Loop, core: str, llvm_mca: str) -> float | None:
    """Steady state by llvm-mca; None: the core lacks an instruction."""
    command = [llvm_mca, "-mtriple=aarch64", f"-mcpu={core}", f"-iterations={ITERATIONS}"]
    done = subprocess.run(command, input="\n".join(loop.text), capture_output=True, text=True)
    if "instruction requires:" in done.stderr:
        return None
    cycles = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    if done.returncode != 0 or cycles is None:
        raise ToolError(f"llvm-mca failed on {loop.function}:\n{done.stderr.strip()}")
    return loop.macs * ITERATIONS / int(cycles[1])


def run(command: Sequence[str], cwd: Path | None = None) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd).stdout
    except FileNotFoundError:
        raise ToolError(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise ToolError(f"{shlex.join(command)} failed:\n{error.stderr.strip()}") from None


def find_llvm_mca() -> str:
    """llvm-mca of LLVM 19 or newer, the newest.

    Raises:
        ToolError: there is none; says which were found.
    """
    found: dict[int, str] = {}
    names = ["llvm-mca", *(f"llvm-mca-{version}" for version in range(14, 40))]
    for path in filter(None, map(shutil.which, names)):
        if version := re.search(r"LLVM version (\d+)", run([path, "--version"])):
            found[int(version[1])] = path
    if not found or max(found) < OLDEST_LLVM:
        has = f"found LLVM {max(found)}" if found else "none is installed"
        raise ToolError(
            f"llvm-mca of LLVM {OLDEST_LLVM} or newer is needed ({has}): apt install llvm-19"
        )
    return found[max(found)]


def compile_kernels(build: Path) -> list[tuple[str, Path]]:
    """Compiles the files by the commands of a CMake cross build: (family/stem, object file).

    Raises:
        ToolError: a tool is missing or failed.
    """
    for tool in ("cmake", TOOL_PREFIX + "g++", TOOL_PREFIX + "objdump"):
        if shutil.which(tool) is None:
            raise ToolError(f"{tool} is not installed: apt install cmake g++-aarch64-linux-gnu")
    toolchain = ROOT / "cmake" / "aarch64-linux-gnu.cmake"
    options = [f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    run(["cmake", "-S", str(ROOT), "-B", str(build), *options])
    objects = []
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = Path(entry["file"])
        family = source.parent.name
        if family not in ("gemm_s8", "depthwise_s8") or not source.stem.startswith("arm_"):
            continue
        directory = Path(entry["directory"])
        arguments = shlex.split(entry["command"])
        target = directory / arguments[arguments.index("-o") + 1]
        target.parent.mkdir(parents=True, exist_ok=True)
        run(arguments, cwd=directory)
        objects.append((f"{family}/{source.stem}", target))
    return sorted(objects)


def analyse(build: Path) -> list[Loop]:
    """The hottest loop of every function of every Arm kernel file, with its speeds.

    Raises:
        ToolError: a tool is missing, too old, or failed.
    """
    llvm_mca = find_llvm_mca()
    loops = []
    for kernel, obj in compile_kernels(build):
        for function, body in disassemble(obj).items():
            loop = hottest_loop(kernel, short_name(function), body)
            if loop is not None:
                loop.macs_per_cycle = {c: macs_per_cycle(loop, c, llvm_mca) for c in CORES}
                loops.append(loop)
    return loops


def best_loops(loops: Sequence[Loop]) -> list[Loop]:
    """Of every kernel file the loop that is fastest, on the cores that it can run on together."""
    best: dict[str, Loop] = {}
    for loop in loops:
        kept = best.setdefault(loop.kernel, loop)
        if total_speed(loop) > total_speed(kept):
            best[loop.kernel] = loop
    return list(best.values())


def total_speed(loop: Loop) -> float:
    return sum(speed for speed in loop.macs_per_cycle.values() if speed is not None)


def table(loops: Sequence[Loop]) -> str:
    heads = ["kernel", "loop", *(core.partition("-")[2] for core in CORES)]
    rows = [[*heads, "Arm", "MAC", "insn", "dot:load", "stack", "moves"]]
    for loop in loops:
        speeds = [
            "-" if speed is None else f"{speed:.1f}" for speed in loop.macs_per_cycle.values()
        ]
        ratio = loop.multiplies / loop.vector_loads if loop.vector_loads else 0.0
        rows.append(
            [
                *(loop.kernel, loop.function, *speeds, " / ".join(PUBLISHED.get(loop.kernel, ()))),
                *map(str, (loop.macs, loop.instructions, f"{ratio:.1f}")),
                *map(str, (loop.stack_accesses, loop.moves)),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--build", type=Path, help="folder of the cross build (default: temporary)")
    parser.add_argument("--all", action="store_true", help="every function, not only the best")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every loop there")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            loops = analyse(options.build or Path(temporary))
        except ToolError as error:
            print(f"arm_static.py: {error}", file=sys.stderr)
            return 1
    print(table(loops if options.all else best_loops(loops)))
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(loop) for loop in loops], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
