"""ISA levels: the same bytes at each, errors for unknown ones, and no instruction a CPU lacks."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import shutil
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import command_line
from command_line import fail, json_of, quantized, samples, succeed
from zeropoint import demo

QEMU = shutil.which("qemu-x86_64")
#: Set where the emulator must be there (CI): its absence is then an error, not a skip.
QEMU_REQUIRED = os.environ.get("ZEROPOINT_REQUIRE_QEMU") == "1"
needs_qemu = pytest.mark.skipif(
    not QEMU_REQUIRED and (QEMU is None or platform.machine() != "x86_64"),
    reason="qemu-x86_64 (user-mode emulation; apt install qemu-user) is not installed",
)


def emulated(cpu: str) -> list[str]:
    assert QEMU is not None, "ZEROPOINT_REQUIRE_QEMU=1, but there is no qemu-x86_64"
    return [QEMU, "-cpu", cpu]


def outputs(
    tmp_path: pathlib.Path, model: object, *arguments: object, **options: Any
) -> dict[str, npt.NDArray[Any]]:
    target = tmp_path / "y.npz"
    done = command_line.zeropoint(
        "run", model, "--input", samples(), "-o", target, *arguments, **options
    )
    assert done.returncode == 0, done.stderr
    with np.load(target) as file:
        return {name: file[name] for name in file.files}


def same(a: dict[str, npt.NDArray[Any]], b: dict[str, npt.NDArray[Any]]) -> bool:
    return a.keys() == b.keys() and all(a[n].tobytes() == b[n].tobytes() for n in a)


def test_levels_of_this_cpu() -> None:
    cpu = json_of("cpu")
    assert cpu["detected"][0] == "portable"
    assert set(cpu["detected"]) <= {level["name"] for level in cpu["levels"]}
    assert cpu["in_use"] == cpu["detected"][-1]


@pytest.mark.parametrize("model", ["int8", "float"])
def test_every_level_gives_the_same_bytes(tmp_path: pathlib.Path, model: str) -> None:
    path = quantized() if model == "int8" else demo.NETWORK
    best = outputs(tmp_path, path)
    for level in json_of("cpu")["detected"]:
        assert same(outputs(tmp_path, path, "--isa", level), best), level
        assert same(outputs(tmp_path, path, environment={"ZEROPOINT_ISA": level}), best), level


def test_the_level_asked_for_is_used() -> None:
    for level in json_of("cpu")["detected"]:
        capped = json_of("cpu", environment={"ZEROPOINT_ISA": level})
        assert capped["in_use"] == level
        rows = json_of("explain", quantized(), "--isa", level)["nodes"]
        allowed = capped["detected"][: capped["detected"].index(level) + 1]
        assert {row["isa"] for row in rows if row["isa"]} <= set(allowed)


@pytest.mark.parametrize("level", ["avx9000", "AVX2", "neon", "avx2 "])
def test_unknown_levels_are_errors(tmp_path: pathlib.Path, level: str) -> None:
    run = ["run", quantized(), "--input", samples(), "-o", tmp_path / "y.npz"]
    for message in (
        fail(*run, "--isa", level),
        fail(*run, environment={"ZEROPOINT_ISA": level}),
        fail("cpu", environment={"ZEROPOINT_ISA": level}),
    ):
        assert level.strip() in message
        assert "portable" in message  # it lists what there is
    assert not (tmp_path / "y.npz").exists()


@needs_qemu
@pytest.mark.parametrize(
    ("cpu", "level", "lacking"),
    [("Haswell", "avx2", "avx512vnni"), ("Nehalem", "portable", "avx2")],
)
class TestEmulatedCpu:
    """Haswell has AVX2 and no AVX-512, Nehalem has neither: an instruction that the CPU lacks
    ends the emulated process."""

    def test_detection_and_levels_it_lacks(self, cpu: str, level: str, lacking: str) -> None:
        assert json_of_emulated("cpu", cpu)["in_use"] == level
        explain = ["explain", quantized()]
        for done in (
            command_line.zeropoint(*explain, "--isa", lacking, prefix=emulated(cpu)),
            command_line.zeropoint(
                *explain, prefix=emulated(cpu), environment={"ZEROPOINT_ISA": lacking}
            ),
        ):
            assert done.returncode == 1
            message = done.stderr.partition("zeropoint: error: ")[2]
            assert lacking in message
            assert "this CPU" in message

    def test_outputs_are_those_of_this_cpu(
        self, tmp_path: pathlib.Path, cpu: str, level: str, lacking: str
    ) -> None:
        for model in (quantized(), demo.NETWORK):
            here = outputs(tmp_path, model)
            assert same(outputs(tmp_path, model, prefix=emulated(cpu)), here)

    def test_demo(self, cpu: str, level: str, lacking: str) -> None:
        here, there = json_of("demo"), json_of_emulated("demo", cpu)
        for key in ("float_accuracy", "int8_accuracy", "float_bytes", "int8_bytes"):
            assert there[key] == here[key]


def json_of_emulated(command: str, cpu: str) -> dict[str, object]:
    # The emulator itself may warn on standard error about features that it does not emulate.
    done = command_line.zeropoint(command, "--json", prefix=emulated(cpu))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def test_quantization_itself_does_not_depend_on_the_level(tmp_path: pathlib.Path) -> None:
    for level in json_of("cpu")["detected"]:
        path = tmp_path / f"{level}.gguf"
        command = ["quantize", demo.NETWORK, "--calibration", samples("calibration", 64)]
        succeed(*command, "-o", path, environment={"ZEROPOINT_ISA": level})
        assert path.read_bytes() == quantized().read_bytes(), level
