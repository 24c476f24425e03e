"""What the operator handlers work with: the graph under construction and the TFLite side of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from zeropoint import shapes
from zeropoint.errors import GraphError, ModelError
from zeropoint.graph import Array, Attribute, Dim, Graph, Node, QuantParams, Value
from zeropoint.importers.tflite_options import ACTIVATIONS
from zeropoint.importers.tflite_reader import Operator, Quantization, Tensor, TfliteModel
from zeropoint.model_file import MAX_NAME_BYTES, short_name
from zeropoint.quantization import functions
from zeropoint.quantization.affine import QMAX, QMIN, dequantized_levels

_TINY = float(np.finfo(np.float32).tiny)
_INF = math.inf
#: The interval that a fused activation keeps, in real units.
CLIPS = {
    "NONE": (-_INF, _INF),
    "RELU": (0.0, _INF),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU6": (0.0, 6.0),
}
#: TFLite's types of activations -> the graph's. uint8 becomes int8 by subtracting 128.
_DTYPES = {
    "float32": "float32",
    "int8": "int8",
    "uint8": "int8",
    "int32": "int32",
    "int64": "int64",
}


class Unsupported(Exception):
    """An operator that cannot be imported; collected, so that all are reported at once."""


class FreeShape(Unsupported):
    """A dimension that is free would have to be known."""


def is_quantized(tensor: Tensor) -> bool:
    return tensor.dtype in ("int8", "uint8")


def per_tensor_params(tensor: Tensor) -> QuantParams:
    """The parameters of an int8 or uint8 activation, in the int8 domain."""
    quant = tensor.quant
    if quant is None:
        raise ModelError(f"{tensor} is {tensor.dtype} but has no scale and zero point")
    if quant.axis is not None:
        raise Unsupported(f"{tensor} is an activation with one scale a channel")
    scale = float(quant.scale[0])
    if not scale >= _TINY or not math.isfinite(float(np.float32(scale))):
        raise ModelError(f"{tensor} has the scale {scale!r}; scales are positive and not denormal")
    return QuantParams.per_tensor(scale, int(_zero_points(tensor, quant)[0]))


def _zero_points(tensor: Tensor, quant: Quantization) -> Array:
    zero_point = quant.zero_point - (128 if tensor.dtype == "uint8" else 0)
    if ((zero_point < QMIN) | (zero_point > QMAX)).any():
        raise ModelError(f"{tensor} has a zero point outside of {tensor.dtype}")
    return np.asarray(zero_point.astype(np.int32))


def signed(tensor: Tensor, data: Array) -> Array:
    """int8 data of an int8, uint8 or int4 constant."""
    if tensor.dtype == "uint8":
        return np.asarray((data ^ np.uint8(128)).view(np.int8))
    return data


def _short(tensor: Tensor) -> str:
    """A tensor's name in the length that a model file allows, so that it is the same everywhere.
    Converters chain the names of all that was fused with semicolons; the first one, which is the
    last operator, then stands for all."""
    name = tensor.name or f"tensor_{tensor.index}"
    limit = MAX_NAME_BYTES - 4  # room for the suffix of a duplicate
    if len(name.encode()) > limit:
        name = name.partition(";")[0] or name
    return short_name(name, limit)


class Context:
    """The graph that is being built, and what is known about the TFLite tensors.

    Args:
        model: the checked file.
        free: whether dimensions that the file declares free (-1 in the shape signature) stay free.

    Attributes:
        folded: tensors that are constant but not in the file: results of operators on constants.
            Shape arithmetic over free dimensions gives object arrays with None for those.
        tainted: tensors behind an operator that could not be imported.
    """

    def __init__(self, model: TfliteModel, *, free: bool) -> None:
        self.model = model
        self.graph = Graph(model.name, source=model.path)
        self.folded: dict[int, Array] = {}
        self.tainted: set[int] = set()
        # Honest files use each constant once or twice; a few bytes can name one a thousand times.
        self._elements_left = 64 * model.size + 2**26
        self._names: dict[int, str] = {}
        self._taken: set[str] = set()
        self._suffix: dict[str, int] = {}
        self._constants: dict[tuple[int, str], str] = {}
        # Inputs and outputs first, constants last: where names are there twice, those get suffixes.
        activations = [i for op in model.operators for i in op.outputs]
        for index in (*model.inputs, *model.outputs, *activations, *model.tensors):
            if index not in self._names:
                self._names[index] = self.unique(_short(model.tensors[index]))
        for index in model.inputs:
            tensor = model.tensors[index]
            shape = tensor.signature if free else tensor.shape
            self.graph.add_value(self._value(tensor, self._names[index], shape))
            self.graph.inputs.append(self._names[index])
        # The caller hands over and gets what the file says.
        self.graph.unsigned = {
            self._names[index]
            for index in (*model.inputs, *model.outputs)
            if model.tensors[index].dtype == "uint8"
        }

    def _value(self, tensor: Tensor, name: str, shape: tuple[Dim, ...] | None) -> Value:
        dtype = _DTYPES.get(tensor.dtype)
        if dtype is None:
            hint = ""
            if tensor.dtype == "int16":
                hint = "; convert the model with int8 activations"
            elif tensor.dtype == "float16":
                hint = "; convert it to float32 (float16 weights alone are fine)"
            raise Unsupported(f"{tensor} is an activation of type {tensor.dtype}{hint}")
        quant = per_tensor_params(tensor) if dtype == "int8" else None
        return Value(name, dtype, shape, quant)

    # -- names ------------------------------------------------------------------------------

    def unique(self, stem: str) -> str:
        """``stem``, or the first free ``stem_1``, ``stem_2`` ..."""
        name = stem
        while name in self._taken:
            self._suffix[stem] = self._suffix.get(stem, 0) + 1
            name = f"{stem}_{self._suffix[stem]}"
        self._taken.add(name)
        return name

    def name(self, index: int) -> str:
        return self._names[index]

    # -- reading ----------------------------------------------------------------------------

    def has(self, op: Operator, i: int) -> bool:
        return i < len(op.inputs) and op.inputs[i] >= 0

    def tensor(self, op: Operator, i: int) -> Tensor:
        if not self.has(op, i):
            raise ModelError(f"it has {len(op.inputs)} inputs; input {i} is missing")
        tensor = self.model.tensors[op.inputs[i]]
        if tensor.sparse:
            raise Unsupported(f"{tensor} is stored as a sparse tensor")
        if tensor.variable:
            raise Unsupported(f"{tensor} is a variable, which keeps state between runs")
        return tensor

    def result(self, op: Operator, i: int = 0) -> Tensor:
        if i >= len(op.outputs):
            raise ModelError(f"it has {len(op.outputs)} outputs; output {i} is missing")
        return self.model.tensors[op.outputs[i]]

    def quantized(self, op: Operator) -> bool:
        """Whether the operator works on int8 or uint8: its first input and its output are."""
        x, y = self.tensor(op, 0), self.result(op)
        if is_quantized(x) != is_quantized(y):
            raise Unsupported(f"its input is {x.dtype} but its output {y.dtype}")
        return is_quantized(x)

    def constant(self, op: Operator, i: int) -> Array | None:
        """The raw array of a constant; None for an activation or an input left out."""
        if not self.has(op, i):
            return None
        tensor = self.tensor(op, i)
        array = self.folded.get(tensor.index, tensor.data)
        if array is not None:
            self.spend(array.size)
        return array

    def spend(self, elements: int) -> None:
        """Bounds the work and memory that constants cost, in proportion to the file."""
        self._elements_left -= elements
        if self._elements_left < 0:
            raise ModelError("its constants are used more often than any model would")

    def need_constant(self, op: Operator, i: int, what: str) -> Array:
        if not self.has(op, i):
            raise ModelError(f"it has {len(op.inputs)} inputs; input {i}, {what}, is missing")
        array = self.constant(op, i)
        if array is None:
            raise Unsupported(f"{what} must be a constant, not computed while the model runs")
        return array

    def dims(self, op: Operator, i: int, what: str) -> list[int | None]:
        """A constant vector of integers, None for those that a free dimension decides."""
        array = self.need_constant(op, i, what)
        if array.dtype.kind not in "iuO" or array.ndim > 1 or array.size > 64:
            raise ModelError(f"{what} must be a short vector of integers")
        return [None if v is None else int(v) for v in array.reshape(-1)]

    def ints(self, op: Operator, i: int, what: str) -> list[int]:
        found = self.dims(op, i, what)
        if None in found:
            raise FreeShape(f"{what} depends on a dimension that is free")
        return [v for v in found if v is not None]

    def floats(self, op: Operator, i: int, what: str) -> Array:
        """A constant as float32: float16 widened, integers dequantized."""
        array = self.need_constant(op, i, what)
        return self.real(self.tensor(op, i), array, what)

    def real(self, tensor: Tensor, array: Array, what: str = "") -> Array:
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = array.astype(np.float32)
            if not np.isfinite(array).all():
                raise ModelError(f"{tensor} holds numbers beyond float32")
            return array
        quant = tensor.quant
        if array.dtype not in (np.int8, np.uint8, np.int16, np.int32) or quant is None:
            raise Unsupported(f"{what or tensor} is {array.dtype}, not a float")
        shape = [1] * array.ndim
        if quant.axis is not None:
            shape[quant.axis] = -1
        scale, zero_point = quant.scale.reshape(-1), quant.zero_point.reshape(-1)
        if quant.axis is not None:
            scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
        with np.errstate(over="ignore"):
            result = ((array.astype(np.float64) - zero_point) * scale).astype(np.float32)
        if not np.isfinite(result).all():
            raise ModelError(f"{tensor} holds numbers beyond float32")
        return np.asarray(result)

    # -- values of the graph ----------------------------------------------------------------

    def value(self, op: Operator, i: int) -> str:
        """The graph's value for that input. A constant is added to the graph: int8 where it is
        quantized and the operator's result is too, float32 otherwise."""
        tensor = self.tensor(op, i)
        array = self.constant(op, i)
        if array is None:
            name = self._names[tensor.index]
            self.graph.value(name)
            return name
        if is_quantized(tensor) and is_quantized(self.result(op)):
            params = per_tensor_params(tensor)
            return self.add_constant(tensor, signed(tensor, array), params)
        return self.add_constant(tensor, self.real(tensor, array))

    def add_constant(
        self, tensor: Tensor, data: Array, quant: QuantParams | None = None, role: str = ""
    ) -> str:
        """A constant named after its tensor; the same tensor in the same role is added once."""
        key = (tensor.index, f"{role} {data.dtype} {data.shape}")
        if key not in self._constants:
            stem = self._names[tensor.index]
            name = stem if stem not in self.graph.values else self.unique(stem)
            self._constants[key] = self.graph.add_constant(name, data, quant).name
        return self._constants[key]

    def new_constant(self, stem: str, data: Array) -> str:
        return self.graph.add_constant(self.unique(stem), data).name

    def shape(self, name: str) -> tuple[Dim, ...]:
        shape = self.graph.value(name).shape
        if shape is None:
            raise FreeShape(f"the rank of '{name}' is not known")
        return shape

    def rank(self, name: str) -> int:
        return len(self.shape(name))

    def params(self, name: str) -> QuantParams:
        quant = self.graph.value(name).quant
        if quant is None:
            raise Unsupported(f"'{name}' is not quantized")
        return quant

    def is_int8(self, name: str) -> bool:
        return self.graph.value(name).dtype == "int8"

    def output(self, op: Operator, i: int = 0) -> str:
        """Declares the value of that output; its shape follows from the node that writes it."""
        tensor = self.result(op, i)
        name = self._names[tensor.index]
        if name not in self.graph.values:
            self.graph.add_value(self._value(tensor, name, None))
        return name

    def temporary(self, stem: str, dtype: str, quant: QuantParams | None) -> str:
        name = self.unique(stem)
        self.graph.add_value(Value(name, dtype, None, quant))
        return name

    def like(self, name: str, stem: str) -> str:
        """A new value of the same dtype and parameters."""
        value = self.graph.value(name)
        return self.temporary(stem, value.dtype, value.quant)

    # -- writing ----------------------------------------------------------------------------

    def emit(
        self,
        kind: str,
        inputs: list[str],
        outputs: str | list[str],
        **attrs: Attribute,
    ) -> str:
        """Adds a node, named after its first output, and infers what it writes."""
        outputs = [outputs] if isinstance(outputs, str) else outputs
        node = Node(outputs[0], kind, inputs, outputs, attrs)
        shapes.infer_node(self.graph, node)
        self.graph.nodes.append(node)
        return outputs[0]

    def lookup(self, x: str, y: str, function: str, levels: Callable[[Array], Array]) -> str:
        """An int8 function of one tensor, given on real numbers in float64."""
        real = levels(dequantized_levels(self.params(x)))
        table = self.new_constant(f"{y}/table", functions.table(real, self.params(y)))
        return self.emit("lookup", [x, table], y, function=function)

    def requantized(self, x: str, quant: QuantParams) -> str:
        """``x`` with these parameters: itself, or a lookup's result."""
        if self.params(x).same(quant):
            return x
        value = self.graph.value(x)
        if value.data is not None:
            levels = functions.table(dequantized_levels(self.params(x)), quant)
            data = levels[value.data.astype(np.int64) + 128]
            return self.graph.add_constant(self.unique(f"{x}/requantized"), data, quant).name
        y = self.temporary(f"{x}/requantized", "int8", quant)
        return self.lookup(x, y, "requantize", lambda real: real)

    def activation(self, op: Operator) -> str:
        code = op.options.get("FusedActivationFunction", 0)
        if not 0 <= code < len(ACTIVATIONS):
            raise ModelError(f"it has the fused activation {code}, which does not exist")
        name = ACTIVATIONS[code]
        if name not in CLIPS and name != "TANH":
            raise Unsupported(f"the fused activation {name} is not supported")
        return name

    def fused(
        self, op: Operator, write: Callable[[str, dict[str, Attribute]], object], *, clips: bool
    ) -> None:
        """Writes the output of an operator with a fused activation.

        Args:
            write: emits the operator, given the name of its output and the attributes of its
                clip: clip_min and clip_max, or qmin and qmax.
            clips: whether the graph's operator takes these; otherwise a node of its own clips.
        """
        name, y = self.activation(op), self.output(op)
        int8 = self.is_int8(y)
        bounds = CLIPS.get(name)
        if bounds is not None:
            attrs = self._int8_clip(bounds, self.params(y)) if int8 else _float_clip(bounds)
            if clips or not attrs:
                write(y, attrs)
                return
        before = self.like(y, f"{y}/before_activation")
        write(before, {})
        if bounds is not None:
            self.clip(before, y, bounds)
        elif int8:
            self.lookup(before, y, "tanh", np.tanh)
        else:
            self.emit("tanh", [before], y)

    def clip(self, x: str, y: str, bounds: tuple[float, float]) -> None:
        if self.is_int8(x):
            self.lookup(x, y, "clip", lambda real: np.clip(real, *bounds))
        elif bounds == (0.0, _INF):
            self.emit("relu", [x], y)
        else:
            attrs = {k: v for k, v in (("min", bounds[0]), ("max", bounds[1])) if abs(v) != _INF}
            self.emit("clip", [x], y, **attrs)

    def _int8_clip(self, bounds: tuple[float, float], out: QuantParams) -> dict[str, Attribute]:
        """TFLite rounds the bounds half away from zero."""
        scale, zero_point = float(out.scale.item()), int(out.zero_point.item())
        attrs: dict[str, Attribute] = {}
        for key, bound, default in (("qmin", bounds[0], QMIN), ("qmax", bounds[1], QMAX)):
            if abs(bound) == _INF:
                continue
            steps = math.copysign(math.floor(abs(bound) / scale + 0.5), bound)
            q = int(min(max(steps + zero_point, QMIN), QMAX))
            if q != default:
                attrs[key] = q
        return attrs

    # -- giving up --------------------------------------------------------------------------

    def give_up(self, op: Operator) -> None:
        """Lets the import go on behind an operator that failed, to find the others that would."""
        for i in op.outputs:
            self.tainted.add(i)
            tensor, name = self.model.tensors[i], self._names[i]
            if name in self.graph.values:
                self.graph.values[name].shape = tensor.shape
                continue
            try:
                self.graph.add_value(self._value(tensor, name, tensor.shape))
            except (Unsupported, ModelError, GraphError):
                self.graph.add_value(Value(name, "float32", tensor.shape))


def _float_clip(bounds: tuple[float, float]) -> dict[str, Attribute]:
    pairs = zip(("clip_min", "clip_max"), bounds, strict=True)
    return {key: bound for key, bound in pairs if abs(bound) != _INF}
