"""The demo: the whole job on what the package carries."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import onnxruntime

from command_line import json_of, quantized, samples, succeed
from zeropoint import demo


def test_what_the_package_carries() -> None:
    assert demo.NETWORK.stat().st_size < 200_000
    calibration, test = demo.digits("calibration"), demo.digits("test")
    for digits in (calibration, test):
        assert digits.images.dtype == np.float32
        assert digits.images.shape == (len(digits.labels), 1, 8, 8)
        assert (digits.images >= 0).all()
        assert (digits.images <= 1).all()
        assert sorted(set(digits.labels.tolist())) == list(range(10))
    known = {image.tobytes() for image in calibration.images}
    assert not any(image.tobytes() in known for image in test.images), "held out"


def test_accuracy_against_another_runtime() -> None:
    test = demo.digits("test")
    session = onnxruntime.InferenceSession(str(demo.NETWORK), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": test.images})
    accuracy = float(np.mean(logits.argmax(1) == test.labels))
    assert accuracy > 0.98

    result = json_of("demo")
    assert result["float_accuracy"] == accuracy
    assert abs(result["int8_accuracy"] - accuracy) <= 0.005
    assert result["float_bytes"] == demo.NETWORK.stat().st_size
    assert result["int8_bytes"] < result["float_bytes"]
    assert result["sqnr_db"] > 25
    assert result["float_ms"] > 0
    assert result["int8_ms"] > 0
    int8 = [row for row in result["nodes"] if row["precision"] == "int8" and row["gmacs"] > 0]
    assert {row["op"] for row in int8} == {"conv2d", "conv2d+add", "linear"}
    assert all(row["kernel"] for row in int8)


def test_text_and_model_file(tmp_path: pathlib.Path) -> None:
    text = succeed("demo", "-o", tmp_path / "digits.gguf", cwd=tmp_path)
    assert os.listdir(tmp_path) == ["digits.gguf"]  # and nothing else is left behind
    for word in ("accuracy", "size", "latency", "float32", "int8", "conv2d", "kernel"):
        assert word in text
    assert json_of("inspect", tmp_path / "digits.gguf")["inputs"][0]["name"] == "image"


def example(name: str, *arguments: object) -> str:
    """Standard output of a program of ``examples/``, run with the installed package."""
    path = pathlib.Path(__file__).resolve().parents[2] / "examples" / name
    done = subprocess.run(
        [sys.executable, str(path), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_example_quantize_model(tmp_path: pathlib.Path) -> None:
    model = tmp_path / "m.gguf"
    text = example("quantize_model.py", demo.NETWORK, samples("calibration", 64), model)
    assert "output 'logits'" in text
    assert model.stat().st_size > 10_000


def test_example_run_model() -> None:
    lines = {example("run_model.py", quantized(), "--callers", n) for n in (1, 3)}
    assert len(lines) == 1  # the same digest
    assert "logits: float32 [1, 10]" in lines.pop()
