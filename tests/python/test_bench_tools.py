"""The benchmarks' own arithmetic: summaries, result files, comparisons. No time is measured."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "bench"

pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="the benchmarks are in the repository")


def module(name: str, folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of model benchmarks, whose files import each other by name."""
    monkeypatch.syspath_prepend(str(BENCH / "models"))
    return BENCH / "models"


@pytest.fixture
def compare() -> ModuleType:
    return module("compare", BENCH)


def test_ratios_are_taken_round_by_round(models: Path) -> None:
    # The machine is four times slower in the last two rounds: ratios of medians would be wrong.
    results = module("results", models)
    rows = results.summarize(
        {
            "zeropoint int8": [1.0, 1.0, 4.0, 4.0, 1.0],
            "onnxruntime int8": [2.0, 2.0, 8.0, 8.0, 8.0],
            "openvino f32": [10.0, 10.0, 40.0, 40.0, 10.0],
        }
    )
    assert [row.engine for row in rows] == ["zeropoint int8", "onnxruntime int8", "openvino f32"]
    assert rows[0].ratio == 0.5
    assert rows[1].ratio == 1.0
    assert rows[0].median == 1.0
    assert rows[0].minimum == 1.0
    assert rows[0].spread == 3.0


def test_titles_tell_the_conditions(models: Path) -> None:
    title = module("results", models).title
    assert title("net", 1, "wall") == "net, 1 thread"
    assert title("net", 2, "cpu", "avx2") == "net, 2 threads, CPU time, held to AVX2"


def test_no_peer_no_ratio_and_one_round_no_spread(models: Path) -> None:
    row = module("results", models).summarize({"zeropoint int8": [3.0]})[0]
    assert row.ratio is None
    assert row.spread == 0.0


def test_results_pass_through_json_to_compare(
    models: Path, compare: ModuleType, tmp_path: Path
) -> None:
    results = module("results", models)
    cases = [
        results.Case("net, 1 thread", {"zeropoint int8": [1.0, 2.0], "torch f32": [3.0, 4.0]}, 1e9)
    ]
    path = tmp_path / "r.json"
    results.write_json(path, "latency", cases)
    document = json.loads(path.read_text())
    assert document["unit"] == "ms"
    assert document["machine"]["versions"]["numpy"] == np.__version__
    assert document["work"] == {"net, 1 thread": {"macs": 1e9, "ceiling_macs_per_s": 0.0}}
    assert compare.read(document) == {
        ("net, 1 thread", "zeropoint int8"): [1.0, 2.0],
        ("net, 1 thread", "torch f32"): [3.0, 4.0],
    }


def test_table_and_plot(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    results = module("results", models)
    case = results.Case(
        "net, 1 thread", {"zeropoint int8": [1.0, 1.0], "litert f32": [2.0, 2.0]}, 5e7, 1e11
    )
    results.print_table(case)
    line = next(s for s in capsys.readouterr().out.splitlines() if "zeropoint" in s)
    # 50 million in 1 ms are 50 GMAC/s, half of the ceiling.
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["zeropoint int8", "1.000", "1.000", "0%", "0.50", "50.0", "50%"]
    results.plot(tmp_path / "p.png", [case])
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_product_is_not_timed(models: Path) -> None:
    gemm = module("gemm", models)
    m, n, k = 3, 8, 16
    x, w = gemm.operands(m, n, k)
    whole = (x.astype(np.int64) - 128) @ w.astype(np.int64)
    gemm.check("torch int_mm", whole.astype(np.int32), m, n, k)
    y = gemm.prepare("zeropoint", m, n, k, 1)()["y"]  # prepare() checks, too
    with pytest.raises(ValueError, match="away from the exact product"):
        gemm.check("zeropoint", {"y": y ^ np.int8(64)}, m, n, k)
    with pytest.raises(ValueError, match="away from the exact product"):
        gemm.check("torch int_mm", (whole + 1).astype(np.int32), m, n, k)
    with pytest.raises(ValueError, match="shape"):
        gemm.check("zeropoint", {"y": y[:1]}, m, n, k)


def test_google_benchmark_files(compare: ModuleType) -> None:
    runs = [
        {"name": "k/net/a/repeats:2", "run_name": "k/net/a", "run_type": "iteration", "cpu_time": t}
        for t in (1.0, 2.0)
    ]
    median = {"name": "k/net/a_median", "run_name": "k/net/a", "run_type": "aggregate"}
    document = {"benchmarks": [*runs, {**median, "cpu_time": 1.5}]}
    assert compare.read(document) == {("net/a", "k"): [1.0, 2.0]}
    with pytest.raises(ValueError, match="neither"):
        compare.read({})


@pytest.mark.parametrize("n", [1, 2, 5, 6, 9, 15, 40])
def test_range_of_the_median_holds_it(compare: ModuleType, n: int) -> None:
    low, high = compare.median_range([float(v) for v in range(n)])
    assert low + high == n - 1  # as many rounds cut off on either side
    expected = {1: 0, 2: 0, 5: 0, 6: 0, 9: 1, 15: 3, 40: 13}  # tables of the sign test
    assert low == expected[n]
    if n >= 6:
        generator = np.random.default_rng(0)
        hits = 0
        for _ in range(2000):
            a, b = compare.median_range(list(generator.standard_normal(n)))
            hits += a <= 0.0 <= b
        assert hits >= 0.94 * 2000


def test_only_what_moved_beyond_noise_is_marked(compare: ModuleType) -> None:
    steady = [1.0 + 0.001 * i for i in range(9)]
    noisy = [1.0 + 0.1 * i for i in range(9)]
    before = {(c, "e"): steady for c in ("same", "faster", "slower", "little")}
    before[("noisy", "e")] = noisy
    after = {
        ("same", "e"): steady,
        ("faster", "e"): [0.8 * t for t in steady],
        ("slower", "e"): [1.3 * t for t in steady],
        ("little", "e"): [1.01 * t for t in steady],  # beyond the noise, below the threshold
        ("noisy", "e"): [1.1 * t for t in noisy],
        ("new", "e"): steady,
    }
    verdicts = {c.case: c.verdict for c in compare.compare(before, after)}
    assert verdicts == {
        "same": "", "faster": "faster", "slower": "slower", "little": "", "noisy": ""
    }  # fmt: skip


def test_relative_to_a_peer_takes_the_machine_out(compare: ModuleType) -> None:
    before = {("a", "zeropoint"): [1.0] * 9, ("a", "peer"): [2.0] * 9}
    after = {("a", "zeropoint"): [1.5] * 9, ("a", "peer"): [3.0] * 9, ("b", "zeropoint"): [1.0] * 9}
    assert compare.compare(before, after)[0].verdict == "slower"
    changes = compare.compare(compare.relative(before, "peer"), compare.relative(after, "peer"))
    assert [(c.case, c.engine, c.ratio, c.verdict) for c in changes] == [
        ("a", "zeropoint", 1.0, "")
    ]


def test_compare_from_the_command_line(
    compare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    paths = [tmp_path / "before.json", tmp_path / "after.json"]
    for path, ms in zip(paths, (1.0, 2.0), strict=True):
        series = [{"case": "a", "engine": "zeropoint", "rounds": [ms] * 9}]
        path.write_text(json.dumps({"series": series}))
    names = [str(path) for path in paths]
    assert compare.main(names) == 0
    assert "1 series: 0 faster, 1 slower" in capsys.readouterr().out
    assert compare.main([*names, "--fail-on-slower"]) == 1
    paths[1].write_text("[]")
    with pytest.raises(SystemExit):
        compare.main(names)
    assert "after.json: cannot be read as results" in capsys.readouterr().err


def test_a_worker_answers_and_reports_failures(models: Path, tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(
        "import os\n"
        "def prepare(fail):\n"
        "    print('noise on standard output')\n"
        "    if fail == 'exception': raise FileNotFoundError('no such model')\n"
        "    if fail == 'exit': os._exit(3)\n"
        "    return lambda: print('more noise')\n"
    )
    workers = module("workers", models)
    environment = {"PYTHONPATH": str(tmp_path)}
    for clock in workers.CLOCKS:
        with workers.Worker("sleeper", {"fail": ""}, environment, clock) as worker:
            rounds = workers.round_robin({"a": worker}, 2)
            assert len(rounds["a"]) == 2
            assert min(rounds["a"]) > 0
    with pytest.raises(workers.WorkerError, match="no such model"):
        workers.Worker("sleeper", {"fail": "exception"}, environment)
    with pytest.raises(workers.WorkerError, match="exit status 3"):
        workers.Worker("sleeper", {"fail": "exit"}, environment)
