"""Whole graphs, to the bit: the engine against the NumPy executor, and against itself.

The promise is that nothing but the model and the input decides the output bytes: not the ISA level,
not the number of threads, not the batch, not fusion.
"""

from __future__ import annotations

import numpy as np
import pytest

import networks
import zeropoint as zp
from zeropoint import _core, reference, shapes
from zeropoint.graph import Attribute, Graph, Node, Value


def quantized(graph: Graph, **options: object) -> zp.Model:
    batches = [networks.samples(graph, 4, seed) for seed in range(3)]
    return zp.quantize(graph, zp.calibrate(graph, batches), zp.Config(**options))


def assert_same(expected: dict[str, np.ndarray], actual: dict[str, np.ndarray]) -> None:
    assert expected.keys() == actual.keys()
    for name, array in expected.items():
        assert array.dtype == actual[name].dtype
        assert array.shape == actual[name].shape
        assert array.tobytes() == actual[name].tobytes(), f"output '{name}' differs"


CONFIGS = [
    {},
    {"weights": "per_tensor", "activations": "symmetric"},
    {"keep_float": ["add", "resize"]},
]


@pytest.fixture(params=sorted(networks.NETWORKS))
def graph(request: pytest.FixtureRequest) -> Graph:
    return networks.NETWORKS[request.param](seed=1)


@pytest.mark.parametrize("level", _core.detected_isa_levels())
def test_float_graph_equals_the_executor(graph: Graph, level: str) -> None:
    x = networks.samples(graph, 2, seed=9)
    assert_same(reference.run(graph, x), zp.Session(graph, isa=level).run(x))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_quantized_graph_equals_the_executor_on_every_level(
    graph: Graph, config: dict[str, object]
) -> None:
    model = quantized(graph, **config)
    x = networks.samples(graph, 2, seed=9)
    expected = reference.run(model.graph, x)
    for level in _core.detected_isa_levels():
        assert_same(expected, zp.Session(model, isa=level).run(x))


def test_every_intermediate_value_equals_the_executor(graph: Graph) -> None:
    model = quantized(graph)
    x = networks.samples(graph, 1, seed=3)
    seen: dict[str, np.ndarray] = {}
    zp.Session(model).observe(x, lambda name, array: seen.__setitem__(name, array.copy()))
    activations = {v.name for v in model.graph.activations()}
    assert seen.keys() == activations
    expected = reference.run(model.graph, x, fetch=sorted(activations))
    assert_same(expected, seen)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_threads_do_not_change_a_byte(graph: Graph, threads: int) -> None:
    for model in (graph, quantized(graph)):
        x = networks.samples(graph, 3, seed=4)
        one = zp.Session(model, threads=1).run(x)
        assert_same(one, zp.Session(model, threads=threads).run(x))


def test_a_batch_of_8_equals_8_batches_of_1(graph: Graph) -> None:
    for model in (graph, quantized(graph)):
        session = zp.Session(model)
        x = networks.samples(graph, 8, seed=5)
        whole = session.run(x)
        singles = [session.run({k: v[i : i + 1] for k, v in x.items()}) for i in range(8)]
        assert_same(whole, {k: np.concatenate([s[k] for s in singles]) for k in whole})


def unfuse(graph: Graph) -> Graph:
    """The same quantized graph with every fused clamp as a lookup of its own."""
    out = graph.copy()
    nodes: list[Node] = []
    for node in out.nodes:
        nodes.append(node)
        if "qmin" not in node.attrs and "qmax" not in node.attrs:
            continue
        lo, hi = int(node.attrs.pop("qmin", -128)), int(node.attrs.pop("qmax", 127))
        y = out.value(node.outputs[0])
        raw = out.add_value(Value(out.unique_name(y.name + "_raw"), y.dtype, y.shape, y.quant))
        table = out.add_constant(
            out.unique_name("clamp"), np.clip(np.arange(-128, 128), lo, hi).astype(np.int8)
        )
        node.outputs[0] = raw.name
        name = out.unique_name("clamp")
        attrs: dict[str, object] = {"function": "clip"}
        nodes.append(Node(name, "lookup", [raw.name, table.name], [y.name], attrs))
    assert len(nodes) > len(out.nodes), "nothing was fused: the test would prove nothing"
    out.nodes = nodes
    return out


@pytest.mark.parametrize("name", ["residual", "inverted"])
def test_fused_equals_unfused(name: str) -> None:
    graph = networks.NETWORKS[name](seed=2)
    # Symmetric: relu's zero is inside the int8 range, so the fused clamp has something to cut.
    model = quantized(graph, activations="symmetric")
    x = networks.samples(graph, 2, seed=6)
    fused = zp.Session(model).run(x)
    assert_same(fused, zp.Session(unfuse(model.graph)).run(x))


@pytest.mark.parametrize("level", _core.detected_isa_levels())
@pytest.mark.parametrize("activations", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("name", ["residual", "inverted"])
def test_joined_nodes_equal_nodes_one_by_one(name: str, activations: str, level: str) -> None:
    graph = networks.NETWORKS[name](seed=3)
    model = quantized(graph, activations=activations)
    for batch, threads in ((1, 1), (3, 2)):
        session = zp.Session(model, isa=level, threads=threads)
        plain = zp.Session(model, isa=level, threads=threads, fuse=False)
        joined = [row["op"] for row in session.nodes() if "+" in row["op"]]
        assert joined
        assert set(joined) <= {"conv2d+add", "linear+add"}
        assert [row["op"] for row in plain.nodes()] == [n.op for n in model.graph.nodes]
        x = networks.samples(graph, batch, seed=7)
        assert_same(plain.run(x), session.run(x))


def one_node(op: str, shape: tuple[int, ...], **attrs: Attribute) -> Graph:
    graph = Graph(op, inputs=["x"], outputs=["y"])
    graph.add_value(Value("x", "float32", shape))
    graph.add_value(Value("y"))
    graph.nodes.append(Node(op, op, ["x"], ["y"], attrs))
    shapes.infer(graph)
    return graph


WINDOW: dict[str, Attribute] = {"kernel": [2, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}


@pytest.mark.parametrize(
    "graph",
    [
        one_node("max_pool2d", (2, 5, 6, 19), **WINDOW, dilations=[1, 1]),
        one_node("global_max_pool", (2, 3, 19)),
        one_node("argmax", (4, 9, 21), axis=1, keepdims=0, select_last=0),
        one_node("argmax", (4, 9, 21), axis=2, keepdims=1, select_last=1),
    ],
    ids=lambda graph: str(graph.nodes[0].op),
)
@pytest.mark.parametrize("level", _core.detected_isa_levels())
def test_maxima_among_nans_equal_the_executor(graph: Graph, level: str) -> None:
    """A maximum skips NaNs (-inf where there is nothing else); an arg max is never moved by one."""
    x = networks.samples(graph, 1, seed=6)
    x["x"][np.random.default_rng(6).random(x["x"].shape) < 0.4] = np.nan
    x["x"][0] = np.nan
    assert_same(reference.run(graph, x), zp.Session(graph, isa=level).run(x))


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [(-12, -(2**63), -1), (-9, -20, -1), (2**63 - 1, -(2**62), -3), (-20, 2**62, 5), (7, -9, -7)],
)
def test_slices_far_outside_equal_the_executor(start: int, end: int, step: int) -> None:
    graph = one_node("slice", (8, 3), starts=[start], ends=[end], axes=[0], steps=[step])
    x = networks.samples(graph, 1, seed=7)
    assert_same(reference.run(graph, x), zp.Session(graph).run(x))
