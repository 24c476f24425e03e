"""What an installed wheel must do wherever it is installed: NumPy alone is needed, no test tools.

``python -m unittest discover -s tests/smoke``. A small model of int8 and float layers gives the
same bytes on every ISA level of every architecture; the digest below is that of all of them.
ZEROPOINT_EXPECTED_ISA names the level that must be in use, where the caller knows the CPU.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import zeropoint
from zeropoint import _core
from zeropoint.errors import IsaError
from zeropoint.graph import Graph, Node, QuantParams, Value
from zeropoint.model_file import write_model
from zeropoint.session import Session

Array = npt.NDArray[Any]
DIGEST = "3f72704ba03ef9417c9a0b69441cc5f2dfc5ca36ed7dbd5523dc16e4cfd2f453"
WINDOW = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1]}


def integers(count: int, lowest: int, highest: int, factor: int) -> Array:
    """Numbers in [lowest, highest] without a pattern that matters, alike in every NumPy."""
    mixed = (np.arange(count, dtype=np.uint64) * np.uint64(factor)) >> np.uint64(7)
    return (mixed % np.uint64(highest - lowest + 1)).astype(np.int64) + lowest


def weights(*shape: int, factor: int) -> Array:
    return integers(int(np.prod(shape)), -127, 127, factor).astype(np.int8).reshape(shape)


def per_channel(count: int) -> QuantParams:
    scales = (0.5 + integers(count, 0, 63, 2654435761).astype(np.float32) / 64) / 512
    return QuantParams(scales.astype(np.float32), np.zeros(count, np.int32), 0)


def network() -> Graph:
    """image [?, 9, 9, 3] -> int8 convolutions, pool, linear -> float32 linear, softmax [?, 21]."""
    graph = Graph("smoke", inputs=["image"], outputs=["scores"])
    tensors = {
        "image": (None, 9, 9, 3),
        "xq": (None, 9, 9, 3),
        "c": (None, 9, 9, 24),
        "d": (None, 9, 9, 24),
        "p": (None, 4, 4, 24),
        "f": (None, 384),
        "l": (None, 21),
        "real": (None, 21),
        "mixed": (None, 21),
        "scores": (None, 21),
    }
    int8 = {"xq": (0.02, 3), "c": (0.11, -20), "d": (0.04, 5), "p": (0.04, 5), "f": (0.04, 5)}
    int8["l"] = (0.2, -7)
    for name, shape in tensors.items():
        if name in int8:
            graph.add_value(Value(name, "int8", shape, QuantParams.per_tensor(*int8[name])))
        else:
            graph.add_value(Value(name, "float32", shape))
    graph.add_constant("cw", weights(24, 3, 3, 3, factor=2246822519), per_channel(24))
    graph.add_constant("cb", integers(24, -500, 500, 3266489917).astype(np.int32))
    graph.add_constant("dw", weights(24, 3, 3, 1, factor=668265263), per_channel(24))
    graph.add_constant("lw", weights(21, 384, factor=374761393), per_channel(21))
    matrix = integers(21 * 21, -999, 999, 3266489917).astype(np.float32).reshape(21, 21) / 8192
    graph.add_constant("fw", matrix.astype(np.float32))
    pool = {"kernel": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0], "dilations": [1, 1]}
    graph.nodes = [
        Node("quantize", "quantize", ["image"], ["xq"]),
        Node("conv", "conv2d", ["xq", "cw", "cb"], ["c"], {**WINDOW, "groups": 1, "qmin": -20}),
        Node("depthwise", "conv2d", ["c", "dw"], ["d"], {**WINDOW, "groups": 24}),
        Node("pool", "max_pool2d", ["d"], ["p"], pool),
        Node("flatten", "flatten", ["p"], ["f"], {"axis": 1}),
        Node("linear", "linear", ["f", "lw"], ["l"]),
        Node("dequantize", "dequantize", ["l"], ["real"], reason="the rest is float32"),
        Node("mix", "linear", ["real", "fw"], ["mixed"], reason="float32 weights"),
        Node("softmax", "softmax", ["mixed"], ["scores"], {"axis": 1}, reason="float32"),
    ]
    return graph


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, check=False
    )


class Smoke(unittest.TestCase):
    def test_same_bytes_on_every_level(self) -> None:
        image = integers(5 * 9 * 9 * 3, -300, 300, 2654435761).astype(np.float32) / 128
        inputs = {"image": image.astype(np.float32).reshape(5, 9, 9, 3)}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "smoke.gguf")
            write_model(network(), path)
            for level in _core.detected_isa_levels():
                for threads in (1, 3):
                    session = Session(path, threads=threads, isa=level)
                    scores = session.run(inputs)["scores"]
                    self.assertEqual(scores.shape, (5, 21))
                    self.assertGreater(np.unique(scores).size, 50)
                    digest = hashlib.sha256(scores.astype("<f4").tobytes()).hexdigest()
                    self.assertEqual(digest, DIGEST, f"{level}, {threads} threads")

    def test_levels(self) -> None:
        done = python("-m", "zeropoint", "cpu", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        cpu = json.loads(done.stdout)
        self.assertEqual(cpu["detected"], _core.detected_isa_levels())
        self.assertEqual(cpu["detected"][0], "portable")
        expected = os.environ.get("ZEROPOINT_EXPECTED_ISA", "")
        if expected:
            self.assertEqual(cpu["in_use"], expected)
        with self.assertRaisesRegex(IsaError, "'warp' is unknown"):
            Session(network(), isa="warp")

    def test_command_line(self) -> None:
        done = python("-m", "zeropoint", "--version")
        self.assertEqual(done.stdout.strip(), f"zeropoint {zeropoint.__version__}")


if __name__ == "__main__":
    unittest.main()
