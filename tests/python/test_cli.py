"""The command line: exact forms, one JSON object, one-line errors, files that survive failures."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import command_line
from command_line import fail, json_of, quantized, samples, succeed, zeropoint
from zeropoint import bench, demo, report
from zeropoint.commands import COMMANDS, common
from zeropoint.errors import InputError
from zeropoint.session import TensorInfo

NAMES = [command.NAME for command in COMMANDS]


# -- usage ------------------------------------------------------------------------------------


def test_help_lists_every_command() -> None:
    text = succeed("--help")
    for name in NAMES:
        assert f"\n    {name} " in text
    assert set(NAMES) == {
        "demo", "quantize", "run", "bench", "explain", "inspect", "compare", "export", "cpu",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_help_and_json(name: str) -> None:
    text = succeed(name, "--help")
    assert text.startswith(f"usage: zeropoint {name}")
    assert "--json" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["dance"], "dance"),
        (["run"], "MODEL"),
        (["run", "m.gguf"], "--input"),
        (["run", "m.gguf", "--input", "x.npz", "-o", "y.npz", "--threads", "0"], "not at least 1"),
        (["run", "m.gguf", "--input", "x.npz", "-o", "y.npz", "--threads", "two"], "positive"),
        (["quantize", "m.onnx", "--calibration", "x.npz"], "-o"),
        (["bench", "m.gguf", "--repeat-me"], "--repeat-me"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    assert message in fail(*arguments, code=2)


# -- errors -----------------------------------------------------------------------------------


def test_files_that_are_not_there(tmp_path: pathlib.Path) -> None:
    for command in ("inspect", "bench", "explain"):
        for suffix in ("gguf", "onnx"):
            assert f"absent.{suffix}" in fail(command, tmp_path / f"absent.{suffix}")
    target = tmp_path / "out"
    assert "absent.npz" in fail(
        "run", quantized(), "--input", tmp_path / "absent.npz", "-o", target
    )
    assert "absent.npz" in fail(
        "quantize", demo.NETWORK, "--calibration", tmp_path / "absent.npz", "-o", target
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["x.gguf", "x.onnx", "x"])
@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model at all" * 10])
def test_files_that_are_no_models(tmp_path: pathlib.Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    for command in ("inspect", "bench", "explain"):
        assert name in fail(command, tmp_path / name)


def test_truncated_model(tmp_path: pathlib.Path) -> None:
    content = quantized().read_bytes()
    for size in (24, len(content) // 2, len(content) - 64):
        (tmp_path / "x.gguf").write_bytes(content[:size])
        for command in ("inspect", "explain"):
            assert "x.gguf" in fail(command, tmp_path / "x.gguf")


def test_outputs_that_cannot_be_written(tmp_path: pathlib.Path) -> None:
    for target in (tmp_path, tmp_path / "absent" / "y"):
        run = fail("run", quantized(), "--input", samples(), "-o", target)
        quantize = fail(
            "quantize", demo.NETWORK, "--calibration", samples("calibration", 8), "-o", target
        )
        assert "cannot be written" in run
        assert "cannot be written" in quantize


def test_old_output_survives_a_failure(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "y"
    target.write_bytes(b"old")
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, image=np.zeros((2, 1, 9, 9), np.float32))
    not_finite = tmp_path / "nan.npz"
    np.savez(not_finite, image=np.full((2, 1, 8, 8), np.nan, np.float32))
    assert "[2, 1, 9, 9]" in fail("run", quantized(), "--input", wrong, "-o", target)
    for bad in (wrong, not_finite):
        assert fail("quantize", demo.NETWORK, "--calibration", bad, "-o", target)
    assert target.read_bytes() == b"old"


# -- commands ---------------------------------------------------------------------------------


def test_an_output_never_replaces_an_input(tmp_path: pathlib.Path) -> None:
    inputs = {"m.onnx": pathlib.Path(demo.NETWORK), "m.gguf": quantized(), "x.npz": samples()}
    for name, source in inputs.items():
        (tmp_path / name).write_bytes(source.read_bytes())
    quantize = ["quantize", "m.onnx", "--calibration", "x.npz"]
    run = ["run", "m.gguf", "--input", "x.npz"]
    for command, output in ((quantize, "m.onnx"), (quantize, "./x.npz"), (run, "m.gguf")):
        assert "would replace the input" in fail(*command, "-o", output, cwd=tmp_path)
    for name, source in inputs.items():
        assert (tmp_path / name).read_bytes() == source.read_bytes()


def test_each_unsupported_node_has_a_line(tmp_path: pathlib.Path) -> None:
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    nodes = [
        make.make_node("LRN", ["x"], ["a"], name="first", size=3),
        make.make_node("Mystery", ["a"], ["y"], name="second"),
    ]
    faces = [make.make_tensor_value_info(n, 1, [1, 3, 4, 4]) for n in ("x", "y")]
    graph = make.make_graph(nodes, "g", faces[:1], faces[1:])
    path = tmp_path / "m.onnx"
    path.write_bytes(
        make.make_model(graph, opset_imports=[make.make_opsetid("", 17)]).SerializeToString()
    )
    done = zeropoint("inspect", path)
    assert done.returncode == 1
    head, *lines = done.stderr.splitlines()
    assert head == f"zeropoint: error: {path}: 2 node(s) cannot be imported:"
    assert [line.split("'")[1] for line in lines] == ["first", "second"]


def load(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def test_run_splits_and_threads_give_the_same_bytes(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "y.npz"
    command = ["run", quantized(), "--input", samples(), "-o", target]
    succeed(*command)
    first = load(target)
    assert first["logits"].dtype == np.float32
    assert first["logits"].shape == (32, 10)
    for options in (["--batch", 1], ["--batch", 5], ["--threads", 2], ["--threads", 5]):
        summary = json_of(*command, *options)
        assert summary["samples"] == 32
        assert load(target)["logits"].tobytes() == first["logits"].tobytes(), options


def test_run_float_network(tmp_path: pathlib.Path) -> None:
    import onnxruntime

    target = tmp_path / "y.npz"
    succeed("run", demo.NETWORK, "--input", samples(), "-o", target)
    session = onnxruntime.InferenceSession(str(demo.NETWORK), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, load(samples()))
    np.testing.assert_allclose(load(target)["logits"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "moving_average"],
        ["--method", "percentile", "--percentile", "99.9"],
        ["--per-tensor"],
        ["--symmetric"],
        ["--asymmetric-weights"],
        ["--int8-outputs"],
        ["--batch", "3"],
        ["--threads", "2"],
    ],
)
def test_quantize_options(tmp_path: pathlib.Path, options: list[str]) -> None:
    model, calibration = tmp_path / "m.gguf", samples("calibration", 64)
    command = ["quantize", demo.NETWORK, "--calibration", calibration, "-o", model]
    summary = json_of(*command, *options)
    assert summary["samples"] == 64
    assert summary["bytes"] == model.stat().st_size
    described = json_of("inspect", model)
    between = [n for n in described["nodes"] if n["op"] not in ("quantize", "dequantize")]
    assert summary["int8_nodes"] + summary["float32_nodes"] == len(between)
    assert summary["float32_nodes"] == len(summary["kept_float"])
    activations = [v for v in described["values"] if v["dtype"] == "int8" and not v["constant"]]
    axes = {v["axis"] for v in described["values"] if v["constant"] and v["dtype"] == "int8"}
    if "--symmetric" in options:
        assert {v["zero_point"] for v in activations} <= {0}
    else:
        assert any(v["zero_point"] != 0 for v in activations)
    assert (0 in axes) == ("--per-tensor" not in options)
    weights = [v for v in described["values"] if v["constant"] and v["dtype"] == "int8"]
    zero_points = {z for v in weights for z in np.atleast_1d(v["zero_point"]).tolist()}
    assert (zero_points == {0}) == ("--asymmetric-weights" not in options)
    outputs = {v["name"]: v["dtype"] for v in described["outputs"]}
    assert outputs == {"logits": "int8" if "--int8-outputs" in options else "float32"}
    compared = json_of("compare", demo.NETWORK, model, "--data", samples())
    assert compared["outputs"]["logits"]["sqnr_db"] > 15


def test_keep_float(tmp_path: pathlib.Path) -> None:
    model = tmp_path / "m.gguf"
    command = ["quantize", demo.NETWORK, "--calibration", samples("calibration", 8), "-o", model]
    succeed(*command, "--keep-float", "linear", "max_pool2d")
    rows = json_of("explain", model)["nodes"]
    for op in ("linear", "max_pool2d"):
        kept = [row for row in rows if row["op"] == op]
        assert [row["precision"] for row in kept] == ["float32"]
        assert all(row["reason"] for row in kept)
    assert "nowhere" in fail(*command, "--keep-float", "nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "magic"], "magic"),
        (["--method", "percentile", "--percentile", "101"], "101"),
        (["--method", "minmax", "--percentile", "99"], "percentile"),
    ],
)
def test_quantize_with_wrong_options(
    tmp_path: pathlib.Path, options: list[str], message: str
) -> None:
    command = ["quantize", demo.NETWORK, "--calibration", samples("calibration", 8)]
    done = zeropoint(*command, "-o", tmp_path / "m.gguf", *options)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_bench() -> None:
    for model in (quantized(), demo.NETWORK):
        result = json_of("bench", model, "--threads", 1, "--repeats", 20)
        assert 0 < result["min_ms"] <= result["median_ms"]
        # 8x8x24 outputs of 9 and twice 216, 4x4x48 of 216, 9 and 4x4x96 of 48, 10 of 96.
        macs = 64 * 24 * (9 + 2 * 216) + 16 * 48 * (216 + 9) + 16 * 96 * 48 + 960
        assert result["gmacs"] == pytest.approx(macs / 1e9)
        assert result["gmacs_per_s"] == pytest.approx(result["gmacs"] / result["median_ms"] * 1e3)
        assert result["share_of_ceiling"] == pytest.approx(
            result["gmacs_per_s"] / result["ceiling_gmacs_per_s"]
        )
        assert 0 < result["share_of_ceiling"] < 1
    assert json_of("bench", quantized(), "--batch", 4, "--repeats", 2)["gmacs"] == pytest.approx(
        4 * macs / 1e9
    )
    assert "median" in succeed("bench", quantized(), "--repeats", 2)


def test_explain() -> None:
    result = json_of("explain", quantized())
    rows = result["nodes"]
    for row in rows:
        assert {
            "node", "op", "precision", "kernel", "isa", "time_ms", "share", "share_of_ceiling",
            "reason",
        } <= row.keys()  # fmt: skip
        assert row["precision"] in ("int8", "float32")
        if row["precision"] == "float32" and row["op"] not in ("quantize", "dequantize"):
            assert row["op"] in ("transpose", "reshape") or row["reason"]
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    # One of them with the residual add behind it.
    convolutions = [row for row in rows if row["op"] in ("conv2d", "conv2d+add")]
    assert [row["op"] for row in convolutions].count("conv2d+add") == 1
    assert len(convolutions) == 6
    assert all(row["precision"] == "int8" and row["kernel"] for row in convolutions)
    text = succeed("explain", quantized())
    for row in rows:
        assert row["node"] in text


def test_compare(tmp_path: pathlib.Path) -> None:
    result = json_of("compare", demo.NETWORK, quantized(), "--data", samples())
    assert result["samples"] == 32
    convolutions = [row for row in result["layers"] if row["op"] == "conv2d"]
    assert len(convolutions) == 6
    for row in convolutions:
        assert row["precision"] == "int8"
        assert row["alone"]["sqnr_db"] > 15
        assert row["accumulated"]["sqnr_db"] > 15
        # Errors of the layers before it can hardly help.
        assert row["accumulated"]["sqnr_db"] < row["alone"]["sqnr_db"] + 3
    # The same number by the outputs themselves.
    target = tmp_path / "y.npz"
    logits = []
    for model in (demo.NETWORK, quantized()):
        succeed("run", model, "--input", samples(), "-o", target)
        logits.append(load(target)["logits"].astype(np.float64))
    reference, value = logits
    sqnr = 10 * np.log10((reference**2).sum() / ((value - reference) ** 2).sum())
    assert result["outputs"]["logits"]["sqnr_db"] == pytest.approx(sqnr)
    assert "logits" in succeed("compare", demo.NETWORK, quantized(), "--data", samples())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_compare_on_data_that_are_not_finite(tmp_path: pathlib.Path, bad: float) -> None:
    images = demo.digits("test").images[:4].copy()
    images[2, 0, 1, 1] = bad
    np.savez(tmp_path / "x.npz", image=images)
    message = fail("compare", demo.NETWORK, quantized(), "--data", tmp_path / "x.npz", "--json")
    assert "batch 0: input 'image' holds NaN or infinity" in message


def test_compare_counts_what_integers_stand_for() -> None:
    """With the models the other way round, too: the noise is the same."""
    data = ["--data", samples(count=8)]
    forth = json_of("compare", demo.NETWORK, quantized(), *data)["outputs"]["logits"]
    back = json_of("compare", quantized(), demo.NETWORK, *data)
    assert back["outputs"]["logits"]["rms_error"] == pytest.approx(forth["rms_error"])
    assert all(row["accumulated"]["sqnr_db"] > 20 for row in back["layers"])


def test_compare_of_models_that_do_not_belong_together(tmp_path: pathlib.Path) -> None:
    import onnx

    network = onnx.load(demo.NETWORK)
    for node in network.graph.node:
        node.output[:] = ["scores" if name == "logits" else name for name in node.output]
    network.graph.output[0].name = "scores"
    onnx.save(network, tmp_path / "other.onnx")
    message = fail("compare", tmp_path / "other.onnx", quantized(), "--data", samples())
    assert "do not belong together" in message


def test_inspect() -> None:
    for model, dtype in ((quantized(), "int8"), (demo.NETWORK, "float32")):
        result = json_of("inspect", model)
        assert result["file_bytes"] == model.stat().st_size
        assert result["inputs"] == [{"name": "image", "dtype": "float32", "shape": [None, 1, 8, 8]}]
        assert [face["name"] for face in result["outputs"]] == ["logits"]
        assert result["operators"]["conv2d"] == {dtype: 6}
        assert "image" in succeed("inspect", model)


def test_cpu() -> None:
    result = json_of("cpu")
    assert result["cpus"] >= 1
    assert result["ceilings"]["int8"]["gmacs_per_s"] > 0
    assert result["ceilings"]["float32"]["gmacs_per_s"] > 0
    assert result["in_use"] in succeed("cpu")


def test_output_into_a_closed_pipe() -> None:
    """``zeropoint inspect ... | head -1`` ends quietly."""
    command = [sys.executable, "-m", "zeropoint", "inspect", str(quantized()), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


# -- parts ------------------------------------------------------------------------------------


def test_plain_table() -> None:
    columns = [report.Column("name", "name"), report.Column("ms", "ms", ".2f", right=True)]
    rows = [{"name": "a", "ms": 1.0}, {"name": "longer", "ms": 12.345}, {"name": "none"}]
    cells = [[column.text(row) for column in columns] for row in rows]
    assert report.plain_table(columns, cells) == [
        "name       ms",
        "------  -----",
        "a        1.00",
        "longer  12.35",
        "none        -",
    ]


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        report.print_json({"x": float("nan")})


def test_input_shapes() -> None:
    image = TensorInfo("image", "float32", (None, 3, None, None))
    tokens = TensorInfo("tokens", "int64", (None, 7))
    shapes = common.input_shapes([image, tokens], 2, ["image=2,3,5,6"])
    assert shapes == {"image": (2, 3, 5, 6), "tokens": (2, 7)}
    made = bench.random_inputs([image, tokens], shapes)
    assert {name: array.shape for name, array in made.items()} == shapes
    assert made["image"].dtype == np.float32
    assert made["tokens"].dtype == np.int64
    for texts, message in (
        ([], "--shape image=N,3,N,N"),
        (["picture=1,2"], "no input is named 'picture'"),
        (["image=1,4,5,6"], "wants float32"),
        (["image=1,3,5"], "wants float32"),
        (["image=1,3,5,x"], "no list of integers"),
        (["image=0,3,5,5"], "wants float32"),
    ):
        with pytest.raises(InputError, match=message):
            common.input_shapes([image], None, texts)
    with pytest.raises(InputError, match="fixed at 1"):
        common.input_shapes([TensorInfo("x", "float32", (1, 3))], 2, [])


def test_json_of_every_command_is_one_object(tmp_path: pathlib.Path) -> None:
    model, target = quantized(), tmp_path / "y.npz"
    for arguments in (
        ["quantize", demo.NETWORK, "--calibration", samples(), "-o", tmp_path / "m.gguf"],
        ["run", model, "--input", samples(), "-o", target],
        ["bench", model, "--repeats", 1],
        ["explain", model, "--repeats", 1],
        ["compare", demo.NETWORK, model, "--data", samples()],
        ["inspect", model],
        ["cpu"],
    ):
        done = command_line.zeropoint(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        decoder = json.JSONDecoder()
        value, end = decoder.raw_decode(done.stdout)
        assert isinstance(value, dict)
        assert done.stdout[end:] == "\n"
