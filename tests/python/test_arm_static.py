"""The Arm kernels' inner loops: what llvm-mca says they reach, and that they keep off the stack.

Speed cannot be measured without the hardware; these figures fail when a compiler or a change of the
source spoils the code.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"

pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="the benchmarks are in the repository")


@pytest.fixture(scope="module")
def static() -> ModuleType:
    spec = importlib.util.spec_from_file_location("arm_static", BENCH / "arm_static.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def loops(static: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    for tool in ("cmake", "aarch64-linux-gnu-g++", "aarch64-linux-gnu-objdump"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    try:
        static.find_llvm_mca()
    except static.ToolError as error:
        pytest.skip(str(error))
    found: list[Any] = static.analyse(tmp_path_factory.mktemp("aarch64"))
    return found


def best(static: ModuleType, loops: list[Any], kernel: str) -> Any:
    (loop,) = [loop for loop in static.best_loops(loops) if loop.kernel == kernel]
    return loop


@pytest.mark.parametrize(
    ("kernel", "core", "least"),
    [
        ("gemm_s8/arm_neon", "neoverse-n1", 7.5),
        ("gemm_s8/arm_neon", "neoverse-v1", 15),
        ("gemm_s8/arm_dotprod", "neoverse-n1", 29),
        ("gemm_s8/arm_dotprod", "neoverse-v1", 58),
        ("gemm_s8/arm_i8mm", "neoverse-v1", 117),
    ],
)
def test_macs_per_cycle(
    static: ModuleType, loops: list[Any], kernel: str, core: str, least: float
) -> None:
    assert best(static, loops, kernel).macs_per_cycle[core] >= least


def test_every_gemm_tile_has_a_loop_that_keeps_off_the_stack(loops: list[Any]) -> None:
    tiles = [loop for loop in loops if loop.kernel.startswith("gemm_s8/")]
    counts = {
        level: sum(loop.kernel == f"gemm_s8/arm_{level}" for loop in tiles)
        for level in ("neon", "dotprod", "i8mm")
    }
    assert all(count >= 6 for count in counts.values()), counts
    for loop in tiles:
        assert loop.stack_accesses == 0, (loop.kernel, loop.function, loop.text)
        assert 20 * loop.moves < loop.instructions, (loop.kernel, loop.function, loop.text)


def test_cores_without_the_instructions_have_no_figure(
    static: ModuleType, loops: list[Any]
) -> None:
    speeds = best(static, loops, "gemm_s8/arm_i8mm").macs_per_cycle
    assert speeds["neoverse-n1"] is None
    assert speeds["cortex-a55"] is None


LISTING = """
0000000000000000 <void zeropoint::gemm_s8::(anonymous namespace)::tile<1, 2>(zeropoint::T const&)>:
   0:\tmov\tx3, #0x4\t// #4
   4:\tldp\tq0, q1, [x1], #32
   8:\tldr\tq2, [sp, #16]
   c:\tsdot\tv4.4s, v0.16b, v2.4b[0]
  10:\tmov\tv5.16b, v4.16b
  14:\tsubs\tx3, x3, #0x1
  18:\tb.ne\t4 <void zeropoint::gemm_s8::(anonymous namespace)::tile<1, 2>(zeropoint::T const&)+0x4>
  1c:\tsmull\tv4.8h, v0.8b, v1.8b
  20:\tcbnz\tx2, 0 <void zeropoint::gemm_s8::(anonymous namespace)::tile<1, 2>(zeropoint::T const&)>
  24:\tret
"""


def test_the_innermost_loop_is_found(static: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "run", lambda command: LISTING)
    ((name, body),) = static.disassemble(Path("kernel.o")).items()
    loop = static.hottest_loop("gemm_s8/arm_x", static.short_name(name), body)
    assert loop.function == "tile<1, 2>"
    assert (loop.macs, loop.multiplies, loop.instructions) == (16, 1, 6)
    assert (loop.vector_loads, loop.stack_accesses, loop.moves) == (3, 1, 1)
    assert loop.text[-1] == "b.ne ."


def test_a_missing_or_old_llvm_mca_is_named(
    static: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static.shutil, "which", lambda name: None)
    with pytest.raises(static.ToolError, match="none is installed"):
        static.find_llvm_mca()
    monkeypatch.setattr(static.shutil, "which", lambda name: name if name == "llvm-mca" else None)
    monkeypatch.setattr(static, "run", lambda command: "Debian LLVM version 14.0.6")
    with pytest.raises(static.ToolError, match="found LLVM 14"):
        static.find_llvm_mca()
