"""Writes the golden models, their inputs and the hashes of their outputs.

    python tests/golden/make.py

The hashes come from the NumPy executor (``zeropoint.reference``), not from the engine; the engine
of the installed package is then checked against them. Everything follows from fixed seeds, but the
files are what counts: they are committed, and ``check.py`` runs those. Make them anew only where a
change to the arithmetic or the file format is meant, and say so in the change.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

import graphs  # noqa: E402

import networks  # noqa: E402
import zeropoint as zp  # noqa: E402
from zeropoint import _core, operators, reference  # noqa: E402
from zeropoint.graph import Graph  # noqa: E402

Array = npt.NDArray[Any]

NETWORKS = {**networks.NETWORKS, "planes": graphs.planes, "wide": graphs.wide}
#: Which networks, with how each is quantized; None: as it is, in float32.
QUANTIZED: dict[str, tuple[str, dict[str, Any] | None]] = {
    "residual_float": ("residual", None),
    "residual_int8": ("residual", {}),
    "residual_int8_per_tensor": ("residual", {"weights": "per_tensor", "activations": "symmetric"}),
    "inverted_float": ("inverted", None),
    "inverted_int8": ("inverted", {"input_dtype": "int8", "output_dtype": "int8"}),
    "inverted_int8_asymmetric": ("inverted", {"weight_scheme": "asymmetric"}),
    "pyramid_float": ("pyramid", None),
    "pyramid_int8": ("pyramid", {}),
    "pyramid_mixed": ("pyramid", {"keep_float": ["add", "resize", "conv_transpose2d"]}),
    "unary_float": ("unary", None),
    "unary_int8": ("unary", {}),
    "encoder_float": ("encoder", None),
    "encoder_int8": ("encoder", {}),
    "planes_int8": ("planes", {}),
    "wide_float": ("wide", None),
    "wide_int8": ("wide", {}),
}
BATCH = 3


def sha256(array: Array) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def golden_models() -> dict[str, graphs.Case]:
    """Every model by name, with inputs."""
    cases: dict[str, graphs.Case] = {}
    for name, (network, options) in QUANTIZED.items():
        graph = NETWORKS[network](seed=1)
        x = networks.samples(graph, BATCH, seed=9)
        if options is not None:
            batches = [networks.samples(graph, 4, seed) for seed in range(3)]
            graph = zp.quantize(graph, zp.calibrate(graph, batches), zp.Config(**options)).graph
            for key, value in x.items():
                info = graph.value(key)
                if info.dtype == "int8":
                    assert info.quant is not None
                    q = np.rint(value / info.quant.scale) + info.quant.zero_point
                    x[key] = np.clip(q, -128, 127).astype(np.int8)
        cases[name] = graph, x
    for name, make in graphs.CASES.items():
        cases[name] = make(seed=1)
    return cases


def check_coverage(models: Mapping[str, graphs.Case]) -> None:
    """Every operator is in a model, in each precision that it has kernels for."""
    found: set[tuple[str, str]] = set()
    for graph, _ in models.values():
        for node in graph.nodes:
            found.add((node.op, graph.value(node.inputs[0]).dtype))
    missing = operators.ALL - {op for op, _ in found}
    integer = operators.KEEPS_QUANT | operators.WEIGHTED | operators.ACCUMULATES
    integer |= {"add", "sub", "mul", "avg_pool2d", "reduce_mean", "softmax", "argmax", "lookup"}
    missing |= {f"{op} (int8)" for op in integer if (op, "int8") not in found}
    assert not missing, f"no golden model has {sorted(missing)}"


def check_engine(name: str, graph: Graph, x: Mapping[str, Array], hashes: list[str]) -> None:
    for level in _core.detected_isa_levels():
        outputs = zp.Session(graph, isa=level, threads=2).run(dict(x))
        for output, expected in zip(outputs, hashes, strict=True):
            assert sha256(outputs[output]) == expected, f"{name}, {level}: '{output}' differs"


def main() -> None:
    models = golden_models()
    check_coverage(models)
    for folder in ("models", "inputs"):
        (HERE / folder).mkdir(exist_ok=True)
        for old in (HERE / folder).iterdir():
            old.unlink()
    table: dict[str, Any] = {}
    for name, (graph, x) in models.items():
        with np.errstate(all="ignore"):  # special values are part of the test
            expected = reference.run(graph, x)
        hashes = [sha256(expected[output]) for output in graph.outputs]
        check_engine(name, graph, x, hashes)
        (HERE / "models" / f"{name}.gguf").write_bytes(zp.Model(graph).to_bytes())
        files = []
        for key in graph.inputs:
            data = np.ascontiguousarray(x[key]).tobytes()
            # Variants of a network share their inputs' files.
            file = f"{hashlib.sha256(data).hexdigest()[:12]}.bin"
            (HERE / "inputs" / file).write_bytes(data)
            files.append({"name": key, "file": file, "shape": list(x[key].shape)})
        outputs = [
            {"name": output, "sha256": digest}
            for output, digest in zip(graph.outputs, hashes, strict=True)
        ]
        table[name] = {"inputs": files, "outputs": outputs}
    (HERE / "golden.json").write_text(json.dumps(table, indent=1) + "\n")
    size = sum(file.stat().st_size for file in HERE.rglob("*") if file.suffix in {".gguf", ".bin"})
    print(f"{len(table)} models, {size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
