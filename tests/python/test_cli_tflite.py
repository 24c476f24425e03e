"""The commands on TFLite files: quantized ones run as they are, float ones are quantized."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")

import zeropoint as zp
from command_line import fail, succeed

DATA = Path(os.environ.get("ZEROPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))
TINY = DATA / "mlperf_tiny"
INT8 = TINY / "kws_int8.tflite"

pytestmark = pytest.mark.skipif(
    not INT8.exists(), reason=f"no TFLite files in {DATA} (set ZEROPOINT_DATA)"
)


def test_commands_take_tflite(tmp_path: Path) -> None:
    features = np.load(TINY / "kws_test.npz")["features"].reshape(-1, 49, 10, 1)
    np.savez(tmp_path / "int8.npz", input_1=features[:40])
    np.savez(
        tmp_path / "float.npz",
        input_1=(features[:40].astype(np.float32) - 83) * np.float32(0.5847029),
    )
    real = TINY / "kws_float.tflite"
    succeed("run", INT8, "--input", tmp_path / "int8.npz", "-o", tmp_path / "y.npz")
    want = zp.Session(zp.load(INT8)).run({"input_1": features[:40]})["Identity"]
    np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["Identity"], want)
    model = tmp_path / "m.gguf"
    succeed("quantize", real, "--calibration", tmp_path / "float.npz", "-o", model)
    for other in (model, INT8):
        result = json.loads(
            succeed("compare", real, other, "--data", tmp_path / "float.npz", "--json")
        )
        assert result["samples"] == 40
    assert json.loads(succeed("inspect", INT8, "--json"))["operators"]["conv2d"] == {"int8": 9}
    assert json.loads(succeed("bench", INT8, "--repeats", 3, "--json"))["median_ms"] > 0
    nodes = json.loads(succeed("explain", INT8, "--repeats", 2, "--json"))["nodes"]
    assert {node["precision"] for node in nodes} == {"int8"}


def test_quantize_refuses_a_quantized_file_before_it_reads_samples(tmp_path: Path) -> None:
    absent, out = tmp_path / "absent.npz", tmp_path / "m.gguf"
    message = fail("quantize", INT8, "--calibration", absent, "-o", out)
    assert message.startswith(f"{INT8}: is quantized already")
    assert "runs as it is" in message
