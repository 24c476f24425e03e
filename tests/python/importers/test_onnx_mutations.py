"""A thousand random alterations of ONNX files: each loads or is refused by name."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import data_folder, model, node, random
from onnx_quantized import NETWORKS, quantized, quantized_dynamically
from onnxruntime.quantization import QuantFormat

from zeropoint.errors import ModelError, UnsupportedError
from zeropoint.importers import load

COUNT = 1000
#: Loading a damaged file must not take more memory than this, in bytes.
MEMORY = 512 << 20


def _conv() -> bytes:
    proto = model(
        [node("Conv", ["x", "w"], "a"), node("Relu", ["a"], "y")],
        {"x": ["N", 3, 8, 8]},
        ["y"],
        {"w": random((4, 3, 3, 3))},
    )
    return bytes(proto.SerializeToString())


def _content(name: str, folder: Path) -> bytes:
    if name == "conv":
        return _conv()
    if name == "dynamic":
        return quantized_dynamically(NETWORKS["attention"](1), folder).read_bytes()
    if name in ("QDQ", "QOperator"):
        network = NETWORKS["mobile"](1)
        return quantized(network, folder, quant_format=QuantFormat[name]).read_bytes()
    path = data_folder() / name
    if not path.exists():
        pytest.skip(f"no {path} (set ZEROPOINT_DATA)")
    return path.read_bytes()


def _structure(content: bytes) -> np.ndarray:
    """The positions that are not large constants: what a file is made of."""
    keep = np.ones(len(content), bool)
    for tensor in onnx.load_model_from_string(content).graph.initializer:
        data = tensor.raw_data or np.array(tensor.float_data, "<f4").tobytes()
        at = content.find(data) if len(data) > 64 else -1
        if at >= 0:
            keep[at : at + len(data)] = False
    return np.flatnonzero(keep)


def _mutated(content: bytes, places: np.ndarray, rng: np.random.Generator) -> bytes:
    """Truncated, bits flipped, bytes replaced, or a piece written twice."""
    kind = rng.integers(4)
    altered = bytearray(content)
    if kind == 0:
        return bytes(altered[: rng.choice(places)])
    if kind == 3:
        first = int(rng.choice(places))
        last = first + int(rng.integers(1, 64))
        return bytes(altered[:last] + altered[first:])
    for at in rng.choice(places, rng.integers(1, 5)).tolist():
        altered[at] = altered[at] ^ 1 << int(rng.integers(8)) if kind == 1 else rng.integers(256)
    return bytes(altered)


@pytest.mark.parametrize("name", ["conv", "QDQ", "QOperator", "dynamic", "models/mnist_cntk.onnx"])
def test_mutations(name: str, tmp_path: Path) -> None:
    content = _content(name, tmp_path)
    places, target = _structure(content), tmp_path / "altered.onnx"
    loaded = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(COUNT):
        target.write_bytes(_mutated(content, places, np.random.default_rng(seed)))
        try:
            load(target)
        except (ModelError, UnsupportedError) as error:
            message = str(error)
        except BaseException as error:
            raise AssertionError(f"mutation {seed} gives {error!r}") from error
        else:
            loaded += 1
            continue
        assert message.startswith(str(target)), f"mutation {seed}: {message}"
    assert 0 < loaded < COUNT - 100
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MEMORY
