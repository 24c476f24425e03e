"""The standard ONNX backend interface (``onnx.backend.base``) over zeropoint.

    import zeropoint.onnx_backend as backend
    outputs = backend.run_model(model, [x, ...])

The ONNX project's own conformance suite runs against this module. The engine wants weights, shapes
and other parameters constant; a model that leaves them as graph inputs is specialised at its first
run with the values it is given, and again whenever they change.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zeropoint.errors import MissingExtraError, UnsupportedError
from zeropoint.importers import load
from zeropoint.session import Session

try:
    import onnx
    from onnx.backend.base import Backend, BackendRep
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError(
        'the ONNX backend needs the onnx package: pip install "zeropoint[tools]"'
    ) from error

Array = npt.NDArray[Any]


def _session(model: onnx.ModelProto) -> Session:
    with tempfile.TemporaryDirectory(prefix="zeropoint-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return Session(load(path))


def _bind(model: onnx.ModelProto, values: dict[str, Array]) -> onnx.ModelProto:
    """The model with graph inputs ``values`` turned into constants."""
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    kept = [i for i in bound.graph.input if i.name not in values]
    del bound.graph.input[:]
    bound.graph.input.extend(kept)
    for name, value in values.items():
        bound.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return bound


def _array(value: Any) -> Array:
    """An input as an array; types that NumPy lacks (int4, float8 ...) come as TensorProto."""
    if isinstance(value, onnx.TensorProto):
        return np.asarray(onnx.numpy_helper.to_array(value))
    return np.asarray(value)


class ZeropointRep(BackendRep):
    """A model ready to run."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        constants = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [i.name for i in model.graph.input if i.name not in constants]
        self._outputs = [o.name for o in model.graph.output]
        self._bound: dict[str, Array] = {}
        self._session: Session | None = None
        try:
            self._session = _session(model)
        except UnsupportedError:
            if len(self._inputs) < 2:
                raise

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Array, ...]:
        """Runs the model.

        Args:
            inputs: one array per graph input, in order; or a mapping from names.

        Returns:
            One array per graph output, in order.
        """
        if not isinstance(inputs, dict):
            inputs = dict(zip(self._inputs, inputs, strict=False))
        inputs = {name: _array(value) for name, value in inputs.items()}
        session = self._specialised(inputs)
        wanted = {i.name for i in session.inputs}
        results = session.run({k: v for k, v in inputs.items() if k in wanted})
        return tuple(results[name] for name in self._outputs)

    def _specialised(self, inputs: dict[str, Array]) -> Session:
        unchanged = all(np.array_equal(inputs[k], v) for k, v in self._bound.items())
        if self._session is None or not unchanged:
            # All inputs but the first are taken for parameters.
            bound = {k: v for k, v in inputs.items() if k != self._inputs[0]}
            self._session = _session(_bind(self._model, bound))
            self._bound = bound
        return self._session


class ZeropointBackend(Backend):
    """See ``onnx.backend.base.Backend``."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> ZeropointRep:
        """Imports ``model``; raises UnsupportedError naming what cannot run."""
        if not cls.supports_device(device):
            raise UnsupportedError(f"device '{device}' is not available; zeropoint runs on the CPU")
        return ZeropointRep(model)

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Array, ...]:
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Array, ...]:
        """Runs one node on arrays, as a model of its own."""
        arrays = [np.asarray(x) for x in inputs]
        names = [name for name in node.input if name]
        infos = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape
            )
            for name, x in zip(names, arrays, strict=True)
        ]
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], node.op_type, infos, outputs)
        opset = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
        model = onnx.shape_inference.infer_shapes(model)
        return cls.run_model(model, arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.split(":")[0] == "CPU"


prepare = ZeropointBackend.prepare
run_model = ZeropointBackend.run_model
run_node = ZeropointBackend.run_node
supports_device = ZeropointBackend.supports_device
is_compatible = ZeropointBackend.is_compatible
