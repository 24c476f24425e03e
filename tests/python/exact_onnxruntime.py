"""ONNX Runtime as an independent truth for integers, as far as it goes.

On x86 CPUs without VNNI its products of uint8 and int8 saturate. An option makes those of uint8
activations and constant weights exact, and breaks those of int8 activations; these and products of
two activations are no truth there, and tests of them compare with NumPy alone.
"""

from __future__ import annotations

import functools

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

REASON = "ONNX Runtime's products saturate on this CPU"


@functools.cache
def saturates() -> bool:
    """Is 255 * 127 + 255 * 127 too much for it?"""
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "probe",
        [
            helper.make_tensor_value_info("a", TensorProto.UINT8, [8, 64]),
            helper.make_tensor_value_info("b", TensorProto.INT8, [64, 16]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [8, 16])],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    a, b = np.full((8, 64), 255, np.uint8), np.full((64, 16), 127, np.int8)
    (y,) = session.run(None, {"a": a, "b": b})
    return bool(np.any(y != 64 * 255 * 127))


def skip_if_saturating() -> None:
    if saturates():
        pytest.skip(REASON)


def session_options(exact: bool = True) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if exact and saturates():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options
