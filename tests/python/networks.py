"""Small float networks, built by hand, that between them use every operator family.

Each is a function of a seed that returns a canonical float graph; ``samples`` gives inputs for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from zeropoint import shapes
from zeropoint.graph import Attribute, Graph, Node, Value

Array = npt.NDArray[Any]


class Builder:
    """Adds nodes with random weights and returns the names of their outputs."""

    def __init__(self, name: str, seed: int) -> None:
        self.graph = Graph(name)
        self.random = np.random.default_rng(seed)

    def input(self, *shape: int | None, name: str = "input") -> str:
        self.graph.add_value(Value(name, "float32", shape))
        self.graph.inputs.append(name)
        return name

    def weights(self, *shape: int) -> str:
        fan_in = max(1, int(np.prod(shape[1:])))
        data = self.random.standard_normal(shape) * np.sqrt(2.0 / fan_in)
        name = self.graph.unique_name("w")
        self.graph.add_constant(name, data.astype(np.float32))
        return name

    def vector(self, n: int, scale: float = 0.1) -> str:
        name = self.graph.unique_name("v")
        self.graph.add_constant(name, (scale * self.random.standard_normal(n)).astype(np.float32))
        return name

    def node(self, op: str, inputs: Sequence[str], outputs: int = 1, **attrs: Attribute) -> Any:
        name = self.graph.unique_name(op)
        names = [self.graph.unique_name(f"{name}_out{i}") for i in range(outputs)]
        for output in names:
            self.graph.add_value(Value(output))
        self.graph.nodes.append(Node(name, op, list(inputs), names, dict(attrs)))
        return names[0] if outputs == 1 else names

    def conv(
        self,
        x: str,
        i: int,
        o: int,
        k: int = 3,
        stride: int = 1,
        groups: int = 1,
        **attrs: Attribute,
    ) -> str:
        pad = k // 2
        attrs.setdefault("strides", [stride, stride])
        attrs.setdefault("pads", [pad, pad, pad, pad])
        attrs.setdefault("dilations", [1, 1])
        inputs = [x, self.weights(o, k, k, i // groups), self.vector(o)]
        return str(self.node("conv2d", inputs, groups=groups, **attrs))

    def done(self, *outputs: str) -> Graph:
        self.graph.outputs = list(outputs)
        shapes.infer(self.graph)
        return self.graph


def residual(seed: int) -> Graph:
    """ResNet-like: first layer, max pooling, residual adds with relu, mean, linear."""
    b = Builder("residual", seed)
    x = b.conv(b.input(None, 20, 20, 3), 3, 16, 7, 2, clip_min=0.0)
    x = b.node(
        "max_pool2d", [x], kernel=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1]
    )
    y = b.conv(x, 16, 16, 3, clip_min=0.0)
    y = b.conv(y, 16, 16, 3)
    x = b.node("add", [x, y], clip_min=0.0)
    y = b.conv(x, 16, 40, 1, 2)
    z = b.conv(b.conv(x, 16, 40, 3, 2, clip_min=0.0), 40, 40, 1)
    x = b.node("add", [y, z], clip_min=0.0)
    x = b.node("reduce_mean", [x], axes=[1, 2], keepdims=1)
    x = b.node("flatten", [x], axis=1)
    return b.done(b.node("linear", [x, b.weights(10, 40), b.vector(10)]))


def inverted(seed: int) -> Graph:
    """MobileNetV3-like: depthwise, squeeze-and-excite, hard_swish, relu6."""
    b = Builder("inverted", seed)
    x = b.node("hard_swish", [b.conv(b.input(None, 17, 15, 3), 3, 16, 3, 2)])
    h = b.conv(x, 16, 72, 1, clip_min=0.0, clip_max=6.0)
    h = b.conv(h, 72, 72, 5, 1, 72)
    h = b.node("silu", [h])
    s = b.node("reduce_mean", [h], axes=[1, 2], keepdims=1)
    s = b.conv(s, 72, 20, 1, clip_min=0.0)
    s = b.node("hard_sigmoid", [b.conv(s, 20, 72, 1)], alpha=1 / 6, beta=0.5)
    h = b.node("mul", [h, s])
    x = b.node("add", [x, b.conv(h, 72, 16, 1)])
    x = b.conv(x, 16, 16, 3, 2, 16, clip_min=0.0, clip_max=6.0)
    x = b.node("reshape", [x], shape=[0, -1])
    x = b.node("linear", [x, b.weights(12, 5 * 4 * 16), b.vector(12)])
    return b.done(b.node("softmax", [x], axis=1))


def pyramid(seed: int) -> Graph:
    """Segmentation-like: concat of different ranges, resize, transposed and grouped convolution."""
    b = Builder("pyramid", seed)
    x = b.input(None, 12, 12, 4)
    a = b.conv(x, 4, 12, 3, clip_min=0.0)
    c = b.node("leaky_relu", [b.conv(x, 4, 12, 3, 2)], alpha=0.1)
    c = b.conv(c, 12, 12, 3, 1, 4, dilations=[2, 2], pads=[2, 2, 2, 2])
    up = b.node(
        "resize", [c], mode="linear", coordinates="half_pixel", nearest_mode="floor", sizes=[12, 12]
    )
    near = b.node(
        "resize",
        [c],
        mode="nearest",
        coordinates="asymmetric",
        nearest_mode="floor",
        scales=[2.0, 2.0],
    )
    t = b.node(
        "conv_transpose2d",
        [c, b.weights(6, 3, 3, 12), b.vector(6)],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        dilations=[1, 1],
        output_padding=[1, 1],
        groups=1,
    )
    x = b.node("concat", [a, up, near, t], axis=3)
    left, right = b.node("split", [x], 2, axis=3, sizes=[20, 22])
    left = b.node("pad", [left], pads=[0, 1, 0, 0, 0, 1, 2, 0], mode="reflect", value=0.0)
    left = b.node("slice", [left], starts=[0, 1], ends=[12, 13], axes=[1, 2], steps=[1, 1])
    left = b.conv(left, 20, 22, 1)
    x = b.node("sub", [left, right])
    x = b.node(
        "avg_pool2d",
        [x],
        kernel=[3, 3],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        count_include_pad=0,
    )
    x = b.node("tanh", [x])
    y = b.node("transpose", [x], perm=[0, 3, 1, 2])
    best = b.node("argmax", [x], axis=3, keepdims=0, select_last=0)
    return b.done(y, best)


def unary(seed: int) -> Graph:
    """Every unary function, each on a branch of its own, joined by adds."""
    b = Builder("unary", seed)
    x = b.conv(b.input(None, 5, 5, 8), 8, 24, 1)
    total = x
    plain = "abs erf exp gelu gelu_tanh hard_swish mish neg relu sigmoid silu softplus tanh"
    for op in plain.split():
        total = b.node("add", [total, b.node(op, [x])])
    root = b.node("sqrt", [b.node("softplus", [x])])
    total = b.node("add", [total, root])
    total = b.node("add", [total, b.node("clip", [x], min=-0.5, max=0.75)])
    total = b.node("add", [total, b.node("elu", [x], alpha=0.7)])
    total = b.node("add", [total, b.node("prelu", [x, b.vector(24, 0.3)])])
    total = b.node("mul", [total, b.vector(24, 1.0)])
    return b.done(b.node("global_max_pool", [total]), total)


def encoder(seed: int) -> Graph:
    """Transformer-like: attention of two heads, layer_norm, powers, a masked maximum."""
    b = Builder("encoder", seed)
    x = b.input(None, 9, 24)
    heads = []
    for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        y = b.node("linear", [x, b.weights(24, 24), b.vector(24)])
        heads.append(b.node("transpose", [b.node("reshape", [y], shape=[0, 9, 2, 12])], perm=perm))
    scores = b.node("softmax", [b.node("matmul", heads[:2])], axis=3)
    y = b.node("transpose", [b.node("matmul", [scores, heads[2]])], perm=[0, 2, 1, 3])
    y = b.node("linear", [b.node("reshape", [y], shape=[0, 9, 24]), b.weights(24, 24)])
    x = b.node("layer_norm", [b.node("add", [x, y]), b.vector(24, 1.0), b.vector(24)], axis=2)
    y = b.node("max", [x, b.node("pow", [x], exponent=3.0)])
    y = b.node("min", [y, b.node("linear", [y, b.weights(24, 24), b.vector(24)])])
    return b.done(b.node("linear", [y, b.weights(5, 24), b.vector(5)]))


NETWORKS: dict[str, Callable[[int], Graph]] = {
    "residual": residual,
    "inverted": inverted,
    "pyramid": pyramid,
    "unary": unary,
    "encoder": encoder,
}


def samples(graph: Graph, batch: int, seed: int = 0) -> dict[str, Array]:
    """Random normal inputs with ``batch`` in place of the free first dimension."""
    random = np.random.default_rng(seed)
    inputs = {}
    for name in graph.inputs:
        shape = graph.value(name).shape
        assert shape is not None
        concrete = [batch if d is None else d for d in shape]
        inputs[name] = random.standard_normal(concrete, dtype=np.float32)
    return inputs
