"""The command-line runner: what it computes, and what it says when something is wrong.

    cmake --preset default && cmake --build --preset default && pytest tests/tools

Needs the installed package to compare with. ZEROPOINT_RUN names another program than that of the
default preset.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import zeropoint as zp
from zeropoint import _core

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(
    os.environ.get("ZEROPOINT_RUN", ROOT / "build" / "default" / "bin" / "zeropoint-run")
)
GOLDEN = ROOT / "tests" / "golden"
MODEL = GOLDEN / "models" / "residual_int8.gguf"  # one float32 input [?, 20, 20, 3]
TWO_INPUTS = GOLDEN / "models" / "accumulators.gguf"
FAILURE, USAGE, ISA = 1, 2, 3


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    assert PROGRAM.exists(), f"there is no {PROGRAM}: build it first (see this file's docstring)"
    kept = {k: v for k, v in os.environ.items() if k != "ZEROPOINT_ISA"}
    return subprocess.run(
        [str(PROGRAM), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**kept, **environment},
    )


def succeed(*arguments: object, **environment: str) -> str:
    done = run(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fail(code: int, *arguments: object, **environment: str) -> str:
    done = run(*arguments, **environment)
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stderr.startswith("zeropoint-run: ")
    assert done.stdout == ""
    return done.stderr


@pytest.fixture
def x() -> npt.NDArray[Any]:
    return np.random.default_rng(3).standard_normal((2, 20, 20, 3), dtype=np.float32)


@pytest.fixture
def file(tmp_path: Path, x: npt.NDArray[Any]) -> Path:
    path = tmp_path / "x.bin"
    path.write_bytes(x.tobytes())
    return path


def test_outputs_and_hashes_are_those_of_the_package(
    tmp_path: Path, file: Path, x: npt.NDArray[Any]
) -> None:
    (expected,) = zp.Session(MODEL).run(x).values()
    target = tmp_path / "y.bin"
    digest = hashlib.sha256(expected.tobytes()).hexdigest()
    for options in ([], ["--threads", 3], ["--shape", "2x20x20x3"], ["--shape", "input=2x20x20x3"]):
        out = succeed(MODEL, "--input", file, "--output", target, "--sha256", *options)
        assert out == f"{digest}  linear_out0\n"
        assert target.read_bytes() == expected.tobytes()
    assert succeed(MODEL, "--input", file).split()[0] == digest  # the default
    assert succeed("--input", file, "--output", target, "--sha256", MODEL).split()[0] == digest


def test_quantized_borders(tmp_path: Path) -> None:
    model = GOLDEN / "models" / "inverted_int8.gguf"  # int8 on both sides
    q = np.random.default_rng(1).integers(-128, 128, (2, 17, 15, 3)).astype(np.int8)
    session = zp.Session(model)
    (expected,) = session.run(q).values()
    assert expected.dtype == np.int8
    data, target = tmp_path / "x.bin", tmp_path / "y.bin"
    for io, given, offset in (("int8", q, 0), ("uint8", q.view(np.uint8) ^ 0x80, 0x80)):
        data.write_bytes(given.tobytes())
        succeed(model, "--input", data, "--output", target, "--io", io)
        assert target.read_bytes() == (expected.view(np.uint8) ^ offset).tobytes()


@pytest.mark.parametrize("size", [*range(130), 1000, 4096, 100003])
def test_sha256(tmp_path: Path, size: int) -> None:
    """The runner's hash of any number of bytes is the standard one: a model that copies them."""
    graph = zp.Graph("copy", inputs=["x"], outputs=["y"])
    quant = zp.graph.QuantParams.per_tensor(1.0, 0)
    graph.add_value(zp.graph.Value("x", "int8", (None,), quant))
    graph.add_value(zp.graph.Value("y", "int8", (None, 1), quant))
    graph.nodes.append(zp.graph.Node("n", "unsqueeze", ["x"], ["y"], {"axes": [1]}))
    model, data = tmp_path / "copy.gguf", tmp_path / "x.bin"
    zp.Model(graph).save(model)
    content = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8).tobytes()
    data.write_bytes(content)
    if size == 0:
        assert "a multiple of 1 bytes" in fail(FAILURE, model, "--input", data)
    else:
        assert succeed(model, "--input", data).split()[0] == hashlib.sha256(content).hexdigest()


def test_levels(file: Path) -> None:
    rows = [line.split("\t") for line in succeed("--levels").splitlines()]
    assert [row[0] for row in rows if row[1] == "yes"] == _core.detected_isa_levels()
    for name, detected, _ in rows:
        if detected == "yes":
            nodes = succeed(MODEL, "--input", file, "--nodes", "--isa", name).splitlines()
            assert name in {line.split("\t")[4] for line in nodes}
            assert (
                nodes == succeed(MODEL, "--nodes", "--input", file, ZEROPOINT_ISA=name).splitlines()
            )
        else:
            assert "this CPU lacks" in fail(ISA, MODEL, "--input", file, "--isa", name)
    assert "'avx9000' is unknown" in fail(ISA, MODEL, "--input", file, "--isa", "avx9000")
    assert "avx9000" in fail(ISA, MODEL, "--input", file, ZEROPOINT_ISA="avx9000")


def test_bench(file: Path) -> None:
    for inputs in ([], ["--input", file]):
        out = succeed(MODEL, "--bench", "--repeats", 3, *inputs)
        assert "3 runs: median" in out
        assert f"[{2 if inputs else 1}, 20, 20, 3]" in out
        for node in zp.Session(MODEL).nodes():
            assert node["name"] in out


def test_nodes_are_those_of_the_package(file: Path) -> None:
    rows = [line.split("\t") for line in succeed(MODEL, "--input", file, "--nodes").splitlines()]
    expected = zp.Session(MODEL).nodes({"input": (2, 20, 20, 3)})
    assert [row[:2] for row in rows] == [[node["name"], node["op"]] for node in expected]
    assert [int(row[5]) for row in rows] == [node["macs"] for node in expected]


def test_cache(tmp_path: Path, file: Path) -> None:
    plain = succeed(MODEL, "--input", file)
    cache = tmp_path / "cache"
    cache.mkdir()
    for _ in range(2):
        assert succeed(MODEL, "--input", file, "--cache", cache) == plain
        assert len(list(cache.iterdir())) == 1
    done = run(MODEL, "--input", file, "--cache", tmp_path / "none" / "file")
    assert done.returncode == 0
    assert done.stdout == plain
    assert "warning: packed weights are not kept" in done.stderr


def test_help_and_version() -> None:
    out = succeed("--help")
    for word in ("--sha256", "--shape", "Exit codes", "little-endian"):
        assert word in out
    assert succeed("--version") == f"zeropoint-run {zp.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no model file was given"),
        (["--fast"], "unknown option '--fast'"),
        ([MODEL, "a.bin"], "one argument too many"),
        ([MODEL], "no input files were given"),
        ([MODEL, "--input"], "--input needs at least one file"),
        ([MODEL, "--input", "--sha256"], "--input needs at least one file"),
        ([MODEL, "--isa"], "--isa needs a value"),
        ([MODEL, "--isa", ""], "--isa needs the name"),
        ([MODEL, "--threads", "0"], "from 1 to 1024, not '0'"),
        ([MODEL, "--threads", "two"], "from 1 to 1024, not 'two'"),
        ([MODEL, "--threads", "99999999999999999999"], "from 1 to 1024"),
        ([MODEL, "--bench", "--repeats", "-1"], "--repeats takes"),
        ([MODEL, "--repeats", "3"], "--repeats needs --bench"),
        ([MODEL, "--output", "y.bin"], "--output needs --input"),
        ([MODEL, "--bench", "--shape", "2x"], "--shape"),
        ([MODEL, "--bench", "--shape", "=2"], "empty name"),
        ([MODEL, "--bench", "--shape", "0x20x20x3"], "--shape"),
        ([MODEL, "--bench", "--shape", "1x1x1x1x1x1x1x1x1"], "more than 8"),
        ([MODEL, "--bench", "--shape", "image=1x20x20x3"], "the inputs are 'input'"),
        ([TWO_INPUTS, "--bench", "--shape", "1x7x65"], "--shape needs NAME=DIMS"),
    ],
    ids=str,
)
def test_wrong_command_lines(arguments: list[object], message: str) -> None:
    text = fail(USAGE, *arguments)
    assert message in text
    assert "usage: zeropoint-run" in text


def test_files_that_do_not_fit(tmp_path: Path, file: Path, x: npt.NDArray[Any]) -> None:
    short, none, folder = tmp_path / "short.bin", tmp_path / "none.bin", tmp_path
    short.write_bytes(x.tobytes()[:-1])
    message = fail(FAILURE, MODEL, "--input", short)
    assert "float32 [?, 20, 20, 3]" in message
    assert "a multiple of 4800 bytes" in message
    assert f"'{short}' has 9599" in message
    message = fail(FAILURE, MODEL, "--input", file, "--shape", "3x20x20x3")
    assert "has 9600 bytes; float32 [3, 20, 20, 3] takes 14400" in message
    message = fail(FAILURE, MODEL, "--input", file, "--shape", "2x20x60")
    assert "the model takes [?, 20, 20, 3]" in message
    assert "No such file" in fail(FAILURE, MODEL, "--input", none)
    assert "Is a directory" in fail(FAILURE, MODEL, "--input", folder)
    assert str(none) in fail(FAILURE, none, "--input", file)
    assert "GGUF" in fail(FAILURE, file, "--input", file)
    assert "input files were given" in fail(USAGE, MODEL, "--input", file, file)
    assert "output files were given" in fail(USAGE, MODEL, "--input", file, "--output", "a", "b")
    target = tmp_path / "no folder" / "y.bin"
    assert str(target) in fail(FAILURE, MODEL, "--input", file, "--output", target)
    assert "'float16'" in fail(FAILURE, MODEL, "--input", file, "--io", "float16")


def test_what_cannot_be_written_is_an_error(file: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    assert "No space left" in fail(FAILURE, MODEL, "--input", file, "--output", "/dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [PROGRAM, MODEL, "--input", file], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == FAILURE
    assert "standard output" in done.stderr


def test_several_free_dimensions_need_a_shape(tmp_path: Path) -> None:
    graph = zp.Graph("relu", inputs=["x"], outputs=["y"])
    for name in ("x", "y"):
        graph.add_value(zp.graph.Value(name, "float32", (None, None, 2)))
    graph.nodes.append(zp.graph.Node("n", "relu", ["x"], ["y"]))
    model, data = tmp_path / "relu.gguf", tmp_path / "x.bin"
    zp.Model(graph).save(model)
    data.write_bytes(np.ones((3, 5, 2), np.float32).tobytes())
    message = fail(USAGE, model, "--input", data)
    assert "float32 [?, ?, 2]" in message
    assert "--shape x=DIMS" in message
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    for shape in ("3x5x2", "x=5x3x2"):
        assert succeed(model, "--input", data, "--shape", shape).split()[0] == digest


def test_golden_hashes_are_read_from_the_same_place() -> None:
    entry = json.loads((GOLDEN / "golden.json").read_text())["residual_int8"]
    file = GOLDEN / "inputs" / entry["inputs"][0]["file"]
    assert succeed(MODEL, "--input", file).split()[0] == entry["outputs"][0]["sha256"]
