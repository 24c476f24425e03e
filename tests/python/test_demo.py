"""The demo: the whole job on what the package carries."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import onnxruntime

from command_line import json_of, succeed
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
    assert {row["op"] for row in int8} == {"conv2d", "linear"}
    assert all(row["kernel"] for row in int8)


def test_text_and_model_file(tmp_path: pathlib.Path) -> None:
    text = succeed("demo", "-o", tmp_path / "digits.gguf", cwd=tmp_path)
    assert os.listdir(tmp_path) == ["digits.gguf"]  # and nothing else is left behind
    for word in ("accuracy", "size", "latency", "float32", "int8", "conv2d", "kernel"):
        assert word in text
    assert json_of("inspect", tmp_path / "digits.gguf")["inputs"][0]["name"] == "image"
