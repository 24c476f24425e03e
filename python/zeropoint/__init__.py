"""zeropoint: int8 neural-network inference for CPUs, the same bytes on every machine.

    import zeropoint as zp

    graph = zp.load("model.onnx")
    stats = zp.calibrate(graph, batches)
    model = zp.quantize(graph, stats, zp.Config())
    model.save("model.gguf")

    session = zp.Session("model.gguf", threads=2)
    outputs = session.run({"input": x})

Names are imported when they are first used, so ``import zeropoint`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zeropoint.errors import (
    CalibrationError,
    Error,
    FileError,
    GraphError,
    InputError,
    IsaError,
    MissingExtraError,
    ModelError,
    OutOfMemoryError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from zeropoint._core import build_info
    from zeropoint.calibration import Statistics, calibrate
    from zeropoint.comparison import compare
    from zeropoint.graph import Graph
    from zeropoint.importers import load
    from zeropoint.model import Model
    from zeropoint.quantization import Config, quantize
    from zeropoint.session import Session

    __version__: str

__all__ = [
    "CalibrationError",
    "Config",
    "Error",
    "FileError",
    "Graph",
    "GraphError",
    "InputError",
    "IsaError",
    "MissingExtraError",
    "Model",
    "ModelError",
    "OutOfMemoryError",
    "Session",
    "Statistics",
    "UnsupportedError",
    "__version__",
    "build_info",
    "calibrate",
    "compare",
    "load",
    "quantize",
]

#: Public name -> the module that has it.
_LAZY = {
    "Config": "zeropoint.quantization",
    "Graph": "zeropoint.graph",
    "Model": "zeropoint.model",
    "Session": "zeropoint.session",
    "Statistics": "zeropoint.calibration",
    "build_info": "zeropoint._core",
    "calibrate": "zeropoint.calibration",
    "compare": "zeropoint.comparison",
    "load": "zeropoint.importers",
    "quantize": "zeropoint.quantization",
}


def __getattr__(name: str) -> Any:
    value: Any
    if name == "__version__":
        value = importlib.import_module("zeropoint._core").__version__
    elif name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
    else:
        raise AttributeError(f"module 'zeropoint' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
