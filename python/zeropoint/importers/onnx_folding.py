"""Folding of constants and of shape arithmetic while an ONNX graph is imported.

Exporters compute many shapes inside the graph (Shape, Gather, Concat, Reshape ...). What depends on
constants alone is evaluated with the reference implementation of the onnx package; vectors that
hold a free dimension are followed symbolically, entry by entry.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from zeropoint.graph import Array, QuantParams
from zeropoint.importers.onnx_context import Context, OnnxNode, UnknownShape, Unsupported
from zeropoint.importers.onnx_reader import require_onnx
from zeropoint.shapes import broadcast

#: Elements that one folded tensor may have beyond its inputs' size.
LIMIT_ONE = 1 << 25
#: Elements of all folded tensors together: so many, and so many for each element in the file.
LIMIT_ALL = 1 << 27
LIMIT_PER_ELEMENT = 8
#: Entries of a vector of shape arithmetic with free dimensions.
LIMIT_SYMBOLIC = 4096
_INT64 = np.iinfo(np.int64)

_ELEMENTWISE = frozenset(
    {"Abs", "Add", "And", "Cast", "Ceil", "Clip", "Cos", "Div", "Equal", "Erf", "Exp", "Floor"}
    | {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod", "Mul"}
    | {"Neg", "Not", "Or", "Pow", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sqrt"}
    | {"Sub", "Tanh", "Where", "Xor"}
)
_MOVING = frozenset(
    {"Concat", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose"}
    | {"Unsqueeze"}
)
_REDUCING = frozenset(
    {"ArgMax", "ArgMin", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"}
)
_GROWING = frozenset({"ConstantOfShape", "Expand", "Gather", "MatMul", "Range", "Tile"})
#: What leaves every element of a constant as it is.
_PERMUTING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
FOLDABLE = _ELEMENTWISE | _MOVING | _REDUCING | _GROWING
_SYMBOLIC = frozenset(
    {"Add", "Cast", "Concat", "Div", "Gather", "Identity", "Mul", "Reshape", "Slice", "Squeeze"}
    | {"Sub", "Unsqueeze"}
)


class Folder:
    """Evaluates what can be evaluated, within bounds on memory."""

    def __init__(self, context: Context) -> None:
        self.context = context
        given = sum(array.size for array in context.constants.values())
        self.budget = LIMIT_ALL + LIMIT_PER_ELEMENT * given
        self._opaque = 0

    def fold(self, node: OnnxNode) -> bool:
        """True when the node's outputs are known now (in ``constants`` or ``partial``)."""
        context = self.context
        if node.domain:
            return False
        if node.op_type == "Constant":
            context.constants[node.outputs[0]] = _constant(node)
            return True
        names = [context.resolve(name) for name in node.inputs if name]
        if node.op_type in ("Shape", "Size") and names and names[0] not in context.partial:
            return self._shape_of(node, names[0])
        if node.op_type not in FOLDABLE or not node.inputs:
            return False
        if all(name in context.constants for name in names):
            self._evaluate(node)
            return True
        if node.op_type in _SYMBOLIC and all(
            name in context.constants or name in context.partial for name in names
        ):
            try:
                return self._follow(node)
            except (ValueError, IndexError, OverflowError):
                raise Unsupported("its inputs, which are shapes, do not fit together") from None
        return False

    # -- constants --------------------------------------------------------------------------

    def _evaluate(self, node: OnnxNode) -> None:
        onnx = require_onnx()
        from onnx.reference import ReferenceEvaluator

        arrays = {
            name: self.context.constants[self.context.resolve(name)] for name in node.inputs if name
        }
        held = sum(array.size for array in arrays.values())
        size = _result_size(node, [arrays[name] for name in node.inputs if name])
        if size > held + LIMIT_ONE or size > self.budget:
            raise Unsupported(f"it computes a constant of {size} elements, which is too large")
        self.budget -= size
        helper = onnx.helper
        model = helper.make_model(
            helper.make_graph(
                [node.proto],
                "fold",
                [helper.make_empty_tensor_value_info(name) for name in arrays],
                [helper.make_empty_tensor_value_info(name) for name in node.outputs if name],
            ),
            opset_imports=[helper.make_opsetid("", self.context.opset)],
        )
        try:
            with np.errstate(all="ignore"):
                results = ReferenceEvaluator(model).run(None, arrays)
        except Exception as error:
            # The reference implementation raises whatever NumPy does.
            raise Unsupported(f"it cannot be evaluated on its constant inputs ({error})") from None
        for name, result in zip((o for o in node.outputs if o), results, strict=True):
            self.context.constants[name] = np.asarray(result)
        self._follow_quant(node)

    def _follow_quant(self, node: OnnxNode) -> None:
        """Keeps the parameters of a dequantized constant that is only moved."""
        context = self.context
        source = context.resolve(node.inputs[0])
        quant = context.quants.get(source)
        if quant is None or node.op_type not in _PERMUTING:
            return
        axis = quant.axis
        before, after = context.constants[source].shape, context.constants[node.outputs[0]].shape
        if axis is not None and node.op_type == "Transpose":
            perm = node.get_ints("perm") or list(range(len(before)))[::-1]
            axis = perm.index(axis)
        elif axis is not None:
            # The axis of that size with as many elements before it.
            lead = math.prod(before[:axis])
            fits = [
                i
                for i, size in enumerate(after)
                if size == before[axis] and math.prod(after[:i]) == lead
            ]
            if not fits:
                return
            axis = fits[0]
        context.quants[node.outputs[0]] = QuantParams(quant.scale, quant.zero_point, axis)

    # -- shapes -----------------------------------------------------------------------------

    def _shape_of(self, node: OnnxNode, name: str) -> bool:
        context = self.context
        dims: list[int | str]
        if name in context.constants:
            dims = list(context.constants[name].shape)
        else:
            try:
                dims = context.symbols(name)
            except UnknownShape:
                return False
        if node.op_type == "Size":
            dims = [self._times(dims)]
        else:
            rank = len(dims)
            start, end = node.get_int("start", 0), node.get_int("end", rank)
            dims = dims[slice(*slice(start, end).indices(rank))]
        result = np.empty(len(dims), object)
        result[:] = dims
        self._store(node.outputs[0], result.reshape(()) if node.op_type == "Size" else result)
        return True

    def _times(self, dims: list[int | str]) -> int | str:
        if all(isinstance(dim, int) for dim in dims):
            return self._within(math.prod(dim for dim in dims if isinstance(dim, int)))
        return self._unknown()

    def _unknown(self) -> str:
        self._opaque += 1
        return f"?{self._opaque}"

    def _within(self, number: int) -> int | str:
        """``number``, or an unknown where it is no int64."""
        return number if _INT64.min <= number <= _INT64.max else self._unknown()

    def _store(self, name: str, array: Array) -> None:
        if all(isinstance(entry, int) for entry in array.reshape(-1)):
            self.context.constants[name] = array.astype(np.int64)
        else:
            self.context.partial[name] = array

    def _entries(self, node: OnnxNode, index: int) -> Array:
        name = self.context.resolve(node.inputs[index])
        if name in self.context.partial:
            return self.context.partial[name]
        array = self.context.constants[name]
        _check_entries(array.size)
        result = np.empty(array.shape, object)
        result.reshape(-1)[:] = [
            int(v) if float(v).is_integer() else self._unknown() for v in array.reshape(-1)
        ]
        return result

    def _follow(self, node: OnnxNode) -> bool:
        """Shape arithmetic on vectors with free entries."""
        op = node.op_type
        x = self._entries(node, 0)
        if op in ("Identity", "Cast"):
            onnx = require_onnx()
            integers = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
            if op == "Cast" and node.get_int("to") not in integers:
                return False
            self._store(node.outputs[0], x)
        elif op == "Concat":
            parts: list[Array] = []
            for i in range(len(node.inputs)):
                parts.append(self._entries(node, i))
                _check_entries(sum(part.size for part in parts))
            self._store(node.outputs[0], np.concatenate(parts, axis=node.get_int("axis", 0)))
        elif op == "Gather":
            indices = self.context.constant(node, 1)
            if indices is None:
                return False
            _check_entries(x.size // max(len(x) if x.ndim else 1, 1) * indices.size)
            self._store_any(
                node, np.take(x, indices.astype(np.int64), axis=node.get_int("axis", 0))
            )
        elif op in ("Squeeze", "Reshape"):
            self._store_any(node, x.reshape(() if op == "Squeeze" and x.size == 1 else -1))
        elif op == "Unsqueeze":
            self._store(node.outputs[0], x.reshape(-1))
        elif op == "Slice":
            bounds = slice_inputs(self.context, node)
            if bounds is None or x.ndim != 1:
                return False
            starts, ends, _axes, steps = bounds
            self._store(node.outputs[0], x[slice(starts[0], ends[0], steps[0])])
        else:
            self._store_any(node, self._arithmetic(op, x, self._entries(node, 1)))
        return True

    def _store_any(self, node: OnnxNode, array: Any) -> None:
        result = np.empty(np.shape(array), object)
        result[...] = array
        self._store(node.outputs[0], result)

    def _arithmetic(self, op: str, a: Array, b: Array) -> Array:
        a, b = np.broadcast_arrays(a, b)
        _check_entries(a.size)
        result = np.empty(a.shape, object)
        for at in np.ndindex(a.shape):
            result[at] = self._entry(op, cast("int | str", a[at]), cast("int | str", b[at]))
        return result

    def _entry(self, op: str, a: int | str, b: int | str) -> int | str:
        if isinstance(a, int) and isinstance(b, int):
            if op == "Div":
                return _truncated(a, b) if b else self._unknown()
            return self._within({"Add": a + b, "Sub": a - b, "Mul": a * b}[op])
        neutral = 1 if op in ("Mul", "Div") else 0
        if b == neutral:
            return a
        if a == neutral and op in ("Add", "Mul"):
            return b
        return self._unknown()


def _check_entries(count: int) -> None:
    if count > LIMIT_SYMBOLIC:
        raise Unsupported(f"it computes a shape of {count} entries, which is too large")


def _truncated(a: int, b: int) -> int:
    """Integer division towards zero, exact for any size."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _constant(node: OnnxNode) -> Array:
    for key, dtype in (
        ("value", None),
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if key in node.attrs:
            return np.asarray(node.attrs[key], dtype)
    raise Unsupported("only numeric dense constants are supported")


def _result_size(node: OnnxNode, arrays: list[Array]) -> int:
    """An upper bound for the elements of the result, found without computing it."""
    held = sum(array.size for array in arrays)
    op = node.op_type
    if op == "Split" and node.get_int("num_outputs", len(node.outputs)) != len(node.outputs):
        raise Unsupported("'num_outputs' is not the number of outputs")
    if op == "Cast" and node.get_int("to") == require_onnx().TensorProto.STRING:
        raise Unsupported("strings are not supported")
    try:
        if op in _ELEMENTWISE:
            shape: tuple[Any, ...] = ()
            for array in arrays:
                shape = broadcast(shape, array.shape)
            return math.prod(shape)
        if op == "ConstantOfShape":
            return math.prod(int(v) for v in arrays[0].reshape(-1))
        if op == "Expand":
            target = tuple(int(v) for v in arrays[1].reshape(-1))
            return math.prod(int(d or 0) for d in broadcast(arrays[0].shape, target))
        if op == "Tile":
            return arrays[0].size * math.prod(int(v) for v in arrays[1].reshape(-1))
        if op == "Range":
            start, limit, delta = (float(array.reshape(-1)[0]) for array in arrays)
            return max(0, math.ceil((limit - start) / delta)) if delta else 1 << 62
        if op == "Gather":
            axis = node.get_int("axis", 0)
            return int(arrays[0].size // max(arrays[0].shape[axis], 1) * arrays[1].size)
        if op == "MatMul":
            # Bounds the work as well as the result.
            return int(arrays[0].size * (arrays[1].shape[-1] if arrays[1].ndim > 1 else 1))
    except (ValueError, IndexError, OverflowError):
        raise Unsupported("its constant inputs do not fit together") from None
    return held


def slice_inputs(
    context: Context, node: OnnxNode
) -> tuple[list[int], list[int], list[int] | None, list[int]] | None:
    """starts, ends, axes (None: the first ones) and steps of a Slice, whose form changed in
    opset 10; None where they are not constant."""
    if context.opset < 10:
        starts, ends = node.get_ints("starts") or [], node.get_ints("ends") or []
        axes, steps = node.get_ints("axes"), [1] * len(starts)
    else:
        if any(context.has(node, i) and context.constant(node, i) is None for i in range(1, 5)):
            return None
        starts = context.int_list(node, 1, "starts") or []
        ends = context.int_list(node, 2, "ends") or []
        axes = context.int_list(node, 3, "axes")
        steps = context.int_list(node, 4, "steps") or [1] * len(starts)
    if not len(starts) == len(ends) == len(steps) or (
        axes is not None and len(axes) != len(starts)
    ):
        raise Unsupported("starts, ends, axes and steps differ in length")
    return starts, ends, axes, steps
