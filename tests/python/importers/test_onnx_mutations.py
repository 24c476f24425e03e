"""A thousand damaged copies of files that ONNX Runtime's tools wrote: each loads or is refused."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_quantized import NETWORKS, quantized, quantized_dynamically
from onnxruntime.quantization import QuantFormat

from mutations import mutated
from zeropoint.errors import ModelError, UnsupportedError
from zeropoint.importers import load

COUNT = 1000
#: Loading a damaged file must not take more memory than this, in bytes.
MEMORY = 512 << 20


def _content(name: str, folder: Path) -> bytes:
    if name == "dynamic":
        return quantized_dynamically(NETWORKS["attention"](1), folder).read_bytes()
    network = NETWORKS["mobile"](1)
    return quantized(network, folder, quant_format=QuantFormat[name]).read_bytes()


def _structure(content: bytes) -> np.ndarray:
    """The positions that are not large constants: what a file is made of."""
    keep = np.ones(len(content), bool)
    for tensor in onnx.load_model_from_string(content).graph.initializer:
        data = tensor.raw_data or np.array(tensor.float_data, "<f4").tobytes()
        at = content.find(data) if len(data) > 64 else -1
        if at >= 0:
            keep[at : at + len(data)] = False
    return np.flatnonzero(keep)


@pytest.mark.parametrize("name", ["QDQ", "QOperator", "dynamic"])
def test_mutations(name: str, tmp_path: Path) -> None:
    content = _content(name, tmp_path)
    places, target = _structure(content), tmp_path / "altered.onnx"
    loaded = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(COUNT):
        target.write_bytes(mutated(content, places, np.random.default_rng(seed)))
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
