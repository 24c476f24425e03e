"""Runs the golden models with ``zeropoint-run`` on every ISA level, here and on emulated CPUs.

    cmake --preset default && cmake --build --preset default
    cmake --preset aarch64 && cmake --build --preset aarch64
    python tests/golden/check.py

Fails unless each output of each model has the hash of ``golden.json`` everywhere, with 1 and with 3
threads; unless each CPU reports exactly the levels that it must have; unless kernels of each of
these levels really ran; and unless each level that a CPU lacks is refused.

Needs qemu-x86_64 and qemu-aarch64 (Debian: qemu-user). ``--only NAME...`` runs some of the CPUs,
``--list`` names them. Python's standard library is enough.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
THREADS = (1, 3)
TIMEOUT = 120  # seconds, of one run
ISA_ERROR = 3  # zeropoint-run's exit code

X86 = ("portable", "avx2", "avxvnni", "avx512vnni")
ARM = ("portable", "neon", "dotprod", "i8mm")


@dataclass(frozen=True)
class Cpu:
    """A CPU to run on, and what it must have."""

    name: str
    architecture: str  # of the runner: "x86_64" or "aarch64"
    levels: tuple[str, ...]
    emulator: tuple[str, ...] = ()


#: What each emulated CPU has is public knowledge about the real one; "max" is all that is emulated.
EMULATED = (
    Cpu("Nehalem", "x86_64", X86[:1], ("qemu-x86_64", "-cpu", "Nehalem")),
    Cpu("Haswell", "x86_64", X86[:2], ("qemu-x86_64", "-cpu", "Haswell")),
    Cpu("cortex-a53", "aarch64", ARM[:2], ("qemu-aarch64", "-cpu", "cortex-a53")),
    Cpu("cortex-a72", "aarch64", ARM[:2], ("qemu-aarch64", "-cpu", "cortex-a72")),
    Cpu("cortex-a76", "aarch64", ARM[:3], ("qemu-aarch64", "-cpu", "cortex-a76")),
    Cpu("neoverse-n1", "aarch64", ARM[:3], ("qemu-aarch64", "-cpu", "neoverse-n1")),
    Cpu("max", "aarch64", ARM, ("qemu-aarch64", "-cpu", "max")),
)


def this_cpu() -> Cpu:
    """This machine, its levels told by the operating system rather than by the engine."""
    flags: set[str] = set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            flags = set(value.split())
            break
    if platform.machine() == "aarch64":
        has = {"portable": True, "neon": True, "dotprod": "asimddp" in flags}
        has["i8mm"] = has["dotprod"] and "i8mm" in flags
        return Cpu("this CPU", "aarch64", tuple(level for level in ARM if has[level]))
    avx512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"} <= flags
    has = {"portable": True, "avx2": {"avx2", "fma"} <= flags}
    has["avx512vnni"] = has["avx2"] and avx512
    has["avxvnni"] = has["avx2"] and ("avx_vnni" in flags or avx512)
    return Cpu("this CPU", "x86_64", tuple(level for level in X86 if has[level]))


class Failure(Exception):
    """A check that did not hold."""


@dataclass(frozen=True)
class Model:
    name: str
    inputs: tuple[str, ...]
    shapes: tuple[str, ...]  # as zeropoint-run takes them
    hashes: tuple[tuple[str, str], ...]  # digest and output name

    @property
    def path(self) -> Path:
        return HERE / "models" / f"{self.name}.gguf"


def golden_models() -> list[Model]:
    models = []
    for name, entry in json.loads((HERE / "golden.json").read_text()).items():
        models.append(
            Model(
                name,
                tuple(str(HERE / "inputs" / x["file"]) for x in entry["inputs"]),
                tuple(f"{x['name']}={'x'.join(map(str, x['shape']))}" for x in entry["inputs"]),
                tuple((y["sha256"], y["name"]) for y in entry["outputs"]),
            )
        )
    if {model.name for model in models} != {path.stem for path in (HERE / "models").iterdir()}:
        raise Failure("the models in tests/golden/models are not those of golden.json")
    return models


class Runner:
    """zeropoint-run on one CPU."""

    def __init__(self, cpu: Cpu, program: Path) -> None:
        self.cpu = cpu
        if not program.exists():
            raise Failure(f"there is no {program}: build it (see this script's docstring)")
        self._command = [str(program)]
        if cpu.emulator:
            emulator = shutil.which(cpu.emulator[0])
            if emulator is None:
                raise Failure(f"{cpu.emulator[0]} is not installed (Debian: qemu-user)")
            self._command = [emulator, *cpu.emulator[1:], *self._command]
        self._environment = {k: v for k, v in os.environ.items() if k != "ZEROPOINT_ISA"}

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [*self._command, *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, env=self._environment
        )

    def lines(self, *arguments: object) -> list[list[str]]:
        done = self(*arguments)
        if done.returncode != 0:
            raise Failure(
                f"zeropoint-run {' '.join(map(str, arguments))} ended with {done.returncode}: "
                f"{done.stderr.strip() or '(no message)'}"
            )
        return [line.split("\t") for line in done.stdout.splitlines()]


def check_levels(runner: Runner, a_model: Model) -> None:
    """The CPU reports the levels it must have, and refuses the others and unknown ones."""
    levels = {row[0]: row[1] for row in runner.lines("--levels")}
    known = X86 if runner.cpu.architecture == "x86_64" else ARM
    if set(levels) != set(known):
        raise Failure(f"the levels built in are {sorted(levels)}; expected {sorted(known)}")
    detected = [level for level in known if levels[level] == "yes"]
    if detected != list(runner.cpu.levels):
        raise Failure(f"detects {detected}; this CPU must have {list(runner.cpu.levels)}")
    others = set(X86) | set(ARM) | {"avx9000"}
    for level in sorted(others - set(detected)):
        done = runner(a_model.path, "--input", *a_model.inputs, "--isa", level)
        if done.returncode != ISA_ERROR or f"'{level}'" not in done.stderr or done.stdout:
            raise Failure(f"--isa {level} must be refused: exit code {done.returncode}")


def check_model(runner: Runner, level: str, threads: int, model: Model) -> set[str]:
    """The hashes are the golden ones. Returns the levels of the kernels that ran."""
    arguments: list[object] = [model.path, "--isa", level, "--threads", threads, "--sha256"]
    arguments += ["--nodes", "--input", *model.inputs]
    for shape in model.shapes:
        arguments += ["--shape", shape]
    rows = runner.lines(*arguments)
    count = len(model.hashes)
    found = [tuple(row[0].split("  ", 1)) for row in rows[:count]]
    wrong = [
        name for (digest, name), got in zip(model.hashes, found, strict=True) if got[0] != digest
    ]
    if wrong:
        raise Failure(f"{model.name}, {level}, {threads} threads: other bytes in {wrong}")
    return {row[4] for row in rows[count:] if row[4] != "-"}


def check_cpu(runner: Runner, models: list[Model], pool: ThreadPoolExecutor) -> Iterator[str]:
    """Yields what does not hold."""
    try:
        check_levels(runner, models[0])
    except Failure as failure:
        yield str(failure)
    known = X86 if runner.cpu.architecture == "x86_64" else ARM
    for level in runner.cpu.levels:
        exercised: set[str] = set()
        jobs = [
            pool.submit(check_model, runner, level, threads, model)
            for threads in THREADS
            for model in models
        ]
        for job in jobs:
            try:
                exercised |= job.result()
            except (Failure, subprocess.TimeoutExpired) as failure:
                yield str(failure)
        allowed = set(known[: known.index(level) + 1])
        if level not in exercised:
            yield f"no kernel of level {level} ran in any model (only {sorted(exercised)})"
        if not exercised <= allowed:
            yield f"--isa {level} ran kernels of {sorted(exercised - allowed)}"


def check_damage(runner: Runner, model: Model) -> Iterator[str]:
    """The comparison notices another input: a check that always passes would prove nothing."""
    with tempfile.TemporaryDirectory() as folder:
        data = bytearray(Path(model.inputs[0]).read_bytes())
        data[0 : len(data) // 2] = data[len(data) // 2 :][: len(data) // 2]
        other = Path(folder) / "other.bin"
        other.write_bytes(data)
        altered = Model(model.name, (str(other), *model.inputs[1:]), model.shapes, model.hashes)
        try:
            check_model(runner, "portable", 1, altered)
        except Failure:
            return
    yield "another input gives the same hashes: the comparison sees nothing"


def parse_arguments(cpus: list[Cpu]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [cpu.name for cpu in cpus]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="these CPUs alone")
    parser.add_argument("--list", action="store_true", help="names and levels of the CPUs")
    for architecture in ("x86_64", "aarch64"):
        preset = "default" if architecture == platform.machine() else architecture
        parser.add_argument(
            f"--{architecture}",
            type=Path,
            metavar="PROGRAM",
            default=ROOT / "build" / preset / "bin" / "zeropoint-run",
            help=f"the {architecture} zeropoint-run (default: of the CMake preset '{preset}')",
        )
    return parser.parse_args()


def main() -> int:
    cpus = [this_cpu(), *EMULATED]
    options = parse_arguments(cpus)
    if options.list:
        for cpu in cpus:
            print(f"{cpu.name}: {', '.join(cpu.levels)}")
        return 0
    programs = {"x86_64": options.x86_64, "aarch64": options.aarch64}
    failures = 0
    started = time.monotonic()
    models = golden_models()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for cpu in cpus:
            if options.only and cpu.name not in options.only:
                continue
            try:
                runner = Runner(cpu, programs[cpu.architecture])
                wrong = [*check_cpu(runner, models, pool), *check_damage(runner, models[0])]
            except Failure as failure:
                wrong = [str(failure)]
            print(
                f"{'FAILED' if wrong else 'ok':6}  {cpu.name}: {', '.join(cpu.levels)}", flush=True
            )
            for line in wrong:
                print(f"        {line}", flush=True)
            failures += len(wrong)
    seconds = time.monotonic() - started
    runs = "every level, 1 and 3 threads"
    print(f"{len(models)} models, {runs}: {failures} failures ({seconds:.0f} s)")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
