"""Constant folding over a TFLite file: shape arithmetic, and weights that are moved around.

Operators whose inputs are all constant are computed here, on the file's own integers. SHAPE counts
as constant: the dimensions that stay free are None in an object array, which the operators on
shapes pass on.
"""

from __future__ import annotations

import operator as op_functions
from collections.abc import Callable
from typing import Any

import numpy as np

from zeropoint.errors import ModelError
from zeropoint.graph import Array
from zeropoint.importers.tflite_context import Context, Unsupported
from zeropoint.importers.tflite_ops_shape import strided_slice
from zeropoint.importers.tflite_reader import Operator

#: Shape arithmetic is small; what is larger is left to the graph's own constant folding.
_SMALL = 1 << 12
#: Weights that are only moved may have any size that the file has.
_LARGE = 1 << 28
#: Picking rows could make much of little; nothing but shape arithmetic needs it here.
_GROWING = frozenset({"GATHER"})

_Fold = Callable[[Operator, list[Array]], Array]


def fold(c: Context, op: Operator) -> bool:
    """Computes the operator's result where it is constant; False where it is not."""
    if len(op.outputs) != 1:
        return False
    result: Array | None = None
    if op.kind == "SHAPE":
        if c.constant(op, 0) is not None:
            result = np.asarray(c.need_constant(op, 0, "").shape, np.int64)
        else:
            shape = c.shape(c.value(op, 0))
            result = np.empty(len(shape), object)
            result[:] = shape
            if None not in shape:
                result = result.astype(np.int64)
    else:
        rule = _MOVES.get(op.kind) or _ARITHMETIC.get(op.kind)
        if rule is None or not op.inputs:
            return False
        arrays = [c.constant(op, i) for i in range(len(op.inputs))]
        present = [array for array in arrays if array is not None]
        if len(present) != len(arrays):
            return False
        limit = _LARGE if op.kind in _MOVES and op.kind not in _GROWING else _SMALL
        if sum(array.size for array in present) > limit:
            return False
        if op.kind in _ARITHMETIC and any(array.dtype.kind == "f" for array in present):
            return False
        # Joins are the only ones that make more of what there is; that is paid for before.
        c.spend(sum(array.size for array in present))
        try:
            result = rule(op, present)
        except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as error:
            raise ModelError(f"its constants do not fit together: {error}") from None
    c.folded[op.outputs[0]] = result
    return True


# -- moving -----------------------------------------------------------------------------------


def _ints(array: Array) -> list[Any]:
    if array.dtype.kind not in "iuO" or array.size > 64:
        raise ValueError("a vector of integers is missing")
    return list(array.reshape(-1).tolist())


def _known(values: list[Any]) -> list[int]:
    if None in values:
        raise Unsupported("it depends on a dimension that is free")
    return values


def _reshape(op: Operator, arrays: list[Array]) -> Array:
    shape = _ints(arrays[1]) if len(arrays) > 1 else op.options["NewShape"]
    return arrays[0].reshape(_known(shape))


def _squeeze(op: Operator, arrays: list[Array]) -> Array:
    return arrays[0].squeeze(tuple(op.options["SqueezeDims"]) or None)


def _slice(op: Operator, arrays: list[Array]) -> Array:
    begin, size = _known(_ints(arrays[1])), _known(_ints(arrays[2]))
    cut = [slice(b, None if s == -1 else b + s) for b, s in zip(begin, size, strict=True)]
    return arrays[0][tuple(cut)]


def _strided(op: Operator, arrays: list[Array]) -> Array:
    x = arrays[0]
    begin, end, strides = (_ints(array) for array in arrays[1:4])
    cuts, shrunk, inserted = strided_slice(op, x.ndim, _known(begin), end, _known(strides))
    index: list[slice] = [slice(None)] * x.ndim
    for axis, start, stop, step in cuts:
        index[axis] = slice(start, None if stop < -x.shape[axis] else stop, step)
    x = x[tuple(index)]
    return np.expand_dims(x.squeeze(tuple(shrunk)) if shrunk else x, tuple(inserted))


def _gather(op: Operator, arrays: list[Array]) -> Array:
    if op.options["BatchDims"]:
        raise Unsupported("batch_dims is not supported")
    return np.take(arrays[0], arrays[1].astype(np.int64), axis=int(op.options["Axis"]))


def _pack(op: Operator, arrays: list[Array]) -> Array:
    return np.stack(arrays, axis=int(op.options["Axis"]))


def _concat(op: Operator, arrays: list[Array]) -> Array:
    return np.concatenate(arrays, axis=int(op.options["Axis"]))


_MOVES: dict[str, _Fold] = {
    "CONCATENATION": _concat,
    "EXPAND_DIMS": lambda op, a: np.expand_dims(a[0], int(a[1].item())),
    "GATHER": _gather,
    "PACK": _pack,
    "RESHAPE": _reshape,
    "SLICE": _slice,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided,
    "TRANSPOSE": lambda op, a: a[0].transpose(_known(_ints(a[1]))),
}


# -- shape arithmetic -------------------------------------------------------------------------


def _each(function: Callable[[Any, Any], Any]) -> _Fold:
    def apply(op: Operator, arrays: list[Array]) -> Array:
        def one(a: Any, b: Any) -> Any:
            return None if a is None or b is None else function(int(a), int(b))

        result = np.frompyfunc(one, 2, 1)(arrays[0].astype(object), arrays[1].astype(object))
        return _tidy(np.asarray(result, object))

    return apply


def _tidy(array: Array) -> Array:
    """int64 where every entry is known; entries beyond int32 are nobody's dimensions."""
    if any(v is not None and not -(2**31) <= v < 2**31 for v in array.reshape(-1)):
        raise OverflowError("a number does not fit 32 bits")
    return array if None in array.reshape(-1) else array.astype(np.int64)


def _cast(op: Operator, arrays: list[Array]) -> Array:
    if arrays[0].dtype.kind not in "iuO":
        raise Unsupported("casts of floats are not supported")
    return arrays[0]


def _product(op: Operator, arrays: list[Array]) -> Array:
    values = _ints(arrays[0])
    if arrays[0].ndim != 1:
        raise Unsupported("products of matrices are not supported")
    total: int | None = 1
    for value in values:
        total = None if value is None or total is None else total * value
    return _tidy(np.asarray(total, object))


_ARITHMETIC: dict[str, _Fold] = {
    "ADD": _each(op_functions.add),
    "CAST": _cast,
    "FLOOR_DIV": _each(op_functions.floordiv),
    "MAXIMUM": _each(max),
    "MINIMUM": _each(min),
    "MUL": _each(op_functions.mul),
    "REDUCE_PROD": _product,
    "SUB": _each(op_functions.sub),
}
