"""A thousand damaged copies of ONNX and model files: each is refused by name, or loads and runs.

They are tried in child processes with a limit on address space and on time, so that a crash, a hang
or a huge allocation is seen. TFLite files have the like in ``importers/test_tflite_hostile.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import networks
import zeropoint as zp
from mutations import mutated
from zeropoint.exporters.onnx import to_model_proto

MUTATIONS = 1000
SECONDS = 100
MEMORY = 2 << 30
DATA = Path(os.environ.get("ZEROPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))
MNIST = DATA / "models" / "mnist_cntk.onnx"


def small_onnx() -> bytes:
    """Two layers and the operators around them; little data, so that mutations meet structure."""
    rng = np.random.default_rng(0)

    def constant(name: str, array: np.ndarray) -> onnx.TensorProto:
        return numpy_helper.from_array(array, name)

    weights = [
        constant("w", rng.standard_normal((4, 3, 3, 3), dtype=np.float32)),
        constant("b", rng.standard_normal(4, dtype=np.float32)),
        constant("shape", np.asarray([0, -1], np.int64)),
        constant("v", rng.standard_normal((16, 5), dtype=np.float32)),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Concat", ["p", "p"], ["d"], axis=1),
        helper.make_node("Split", ["d"], ["e", "f"], axis=1),
        helper.make_node("Add", ["e", "f"], ["g"]),
        helper.make_node("Reshape", ["g", "shape"], ["h"]),
        helper.make_node("MatMul", ["h", "v"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"], axis=-1),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", kind, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("y", kind, ["n", 5])],
        weights,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString())


def int8_model(name: str) -> zp.Model:
    graph = networks.NETWORKS[name](seed=1)
    batches = [networks.samples(graph, 4, seed) for seed in range(2)]
    return zp.quantize(graph, zp.calibrate(graph, batches))


def quantized_onnx() -> bytes:
    return bytes(to_model_proto(int8_model("pyramid").graph).SerializeToString())


def mnist() -> bytes:
    if not MNIST.exists():
        pytest.skip(f"no {MNIST.name} in {MNIST.parent} (set ZEROPOINT_DATA)")
    return MNIST.read_bytes()


def model_file() -> bytes:
    """Without its checksum, which would stop most mutations at the door."""
    content = int8_model("pyramid").to_bytes()
    assert content.count(b"zeropoint.checksum") == 1
    return content.replace(b"zeropoint.checksum", b"zeropoint.nochecks")


FILES = {
    "small.onnx": small_onnx,
    "quantized.onnx": quantized_onnx,
    "mnist.onnx": mnist,
    "model.gguf": model_file,
}


@pytest.mark.parametrize("name", FILES)
def test_mutations(name: str, tmp_path: Path) -> None:
    original = tmp_path / f"original_{name}"
    original.write_bytes(FILES[name]())
    log = tmp_path / "log"
    with log.open("w") as errors:
        done = subprocess.run(
            [sys.executable, __file__, str(original), str(tmp_path / name)],
            stdout=subprocess.PIPE, stderr=errors, text=True, timeout=SECONDS,
        )  # fmt: skip
    assert done.returncode == 0, log.read_text()[-2000:]
    result = json.loads(done.stdout)
    assert result["refused"] + result["worked"] == MUTATIONS
    assert result["refused"] > MUTATIONS // 10


# -- the child process --------------------------------------------------------------------------


def attempt(path: str) -> bool:
    """Loads and runs a file; False where that is refused. Model files have two readers."""
    if path.endswith(".gguf"):
        with contextlib.suppress(zp.Error):
            zp.Model.load(path)
    try:
        session = zp.Session(path if path.endswith(".gguf") else zp.load(path))
        inputs = {}
        for info in session.inputs:
            shape = [1 if d is None else d for d in info.shape]
            if np.prod(shape, dtype=np.float64) > 1e5:
                return True  # what it says is large, and would be run as such
            inputs[info.name] = np.zeros(shape, info.dtype)
        session.run(inputs)
    except zp.Error as error:
        if not str(error):
            raise AssertionError("an error without a message") from error
        return False
    return True


def main(original: str, target: str) -> None:
    import resource

    content = Path(original).read_bytes()
    places = np.arange(len(content))
    assert attempt(original)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    worked = 0
    for seed in range(MUTATIONS):
        Path(target).write_bytes(mutated(content, places, np.random.default_rng(seed)))
        print(f"mutation {seed}", file=sys.stderr, flush=True)
        worked += attempt(target)
    print(json.dumps({"worked": worked, "refused": MUTATIONS - worked}))


if __name__ == "__main__":
    main(*sys.argv[1:])
