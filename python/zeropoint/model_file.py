"""The model file: a GGUF v3 container, written here and read by ``csrc/runtime/model_reader``.

This docstring is the format's specification (format version 1).

Container
    GGUF version 3, little-endian, as published with ggml: magic ``GGUF``, uint32 version 3, uint64
    tensor count, uint64 key-value count, the key-values, the tensor table, padding, tensor data.
    ``general.alignment`` is 64: every tensor's data starts on a multiple of 64 bytes.

Key-values (all required unless marked)
    ``general.architecture``  string, "zeropoint"
    ``general.alignment``     uint32, 64
    ``general.name``          string, the model's name
    ``zeropoint.format_version``   uint32, 1. A reader refuses a larger number.
    ``zeropoint.producer``    string, e.g. "zeropoint 0.1.0"
    ``zeropoint.inputs``      array of string: value names, in order
    ``zeropoint.outputs``     array of string: value names, in order

    Values, one entry each in parallel arrays, activations and constants alike:
    ``zeropoint.value.name``        array of string, unique, at most 63 bytes each
    ``zeropoint.value.dtype``       array of string: "float32", "int8", "int32", "int64"
    ``zeropoint.value.rank``        array of uint32, at most 8
    ``zeropoint.value.dims``        array of int64, all dimensions one after the other; -1 is free
                                    (optional when every rank is 0)
    ``zeropoint.value.scale``       array of float32; 0 where there is no per-tensor scale
    ``zeropoint.value.zero_point``  array of int32, in the int8 domain
    ``zeropoint.value.axis``        array of int32; the channel axis of per-channel constants, else -1

    Nodes in execution order, ``i`` counting from 0:
    ``zeropoint.node.count``        uint32
    ``zeropoint.node.<i>.name``     string
    ``zeropoint.node.<i>.op``       string, see ``zeropoint.operators``
    ``zeropoint.node.<i>.inputs``   array of string, "" for an optional input left out (key absent
                                    when there are none)
    ``zeropoint.node.<i>.outputs``  array of string
    ``zeropoint.node.<i>.reason``   string (optional): why the node stayed in float32
    ``zeropoint.node.<i>.attr.<key>``  int64, float64, string, array of int64 or array of float64.
                                    An empty list is written as the absent key.

Tensors
    Each constant value's data, under the value's name, types F32, I8, I32 or I64. GGUF lists
    dimensions fastest first, and has at most four: a constant of higher rank is stored with its
    leading dimensions merged, one of rank 0 as one element; ``zeropoint.value.dims`` has the truth.
    A per-channel constant ``w`` (axis >= 0) is accompanied by tensors ``w.scale`` (F32) and
    ``w.zero_point`` (I32), one element a channel, so a name of such a constant has at most 50 bytes.

Names longer than the limit, and names that would collide with ``.scale`` or ``.zero_point``
tensors, are replaced by the writer with unique short ones; graph inputs and outputs that are too
long are an error.
"""
