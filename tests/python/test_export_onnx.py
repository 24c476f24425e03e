"""Exported ONNX files: valid, what other runtimes compute with them, and what comes back."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import networks
import zeropoint as zp
from command_line import json_of
from exact_onnxruntime import session_options, skip_if_saturating
from networks import Array, Builder
from zeropoint import reference
from zeropoint.exporters.onnx import export_onnx
from zeropoint.graph import Graph, Node, QuantParams, Value

CONFIGS = [{}, {"weights": "per_tensor", "activations": "symmetric"}, {"keep_float": ["add"]}]


@pytest.fixture(params=sorted(networks.NETWORKS))
def graph(request: pytest.FixtureRequest) -> Graph:
    return networks.NETWORKS[request.param](seed=1)


def quantized(graph: Graph, **options: object) -> zp.Model:
    batches = [networks.samples(graph, 4, seed) for seed in range(3)]
    return zp.quantize(graph, zp.calibrate(graph, batches), zp.Config(**options))


def exported(graph: Graph, path: Path) -> Path:
    export_onnx(graph, path)
    onnx.checker.check_model(str(path), full_check=True)
    return path


def run_ort(path: Path, inputs: Mapping[str, Array], *, fused: bool = True) -> dict[str, Array]:
    options = session_options()
    if not fused:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def steps(graph: Graph, name: str, a: Array, b: Array) -> Array:
    """How far apart two outputs are, in quantization steps of the value behind them."""
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    node = graph.producers()[name]
    while node.op in ("dequantize", "transpose", "reshape"):
        quant = graph.value(node.inputs[0]).quant
        if quant is not None:
            return np.abs(a.astype(np.float64) - b) / float(quant.scale)
        node = graph.producers()[node.inputs[0]]
    return np.abs(a.astype(np.float64) - b)


# -- networks -----------------------------------------------------------------------------------


def test_a_float_graph_gives_the_same_results(graph: Graph, tmp_path: Path) -> None:
    x = networks.samples(graph, 2, seed=9)
    theirs = run_ort(exported(graph, tmp_path / "float.onnx"), x)
    for name, ours in zp.Session(graph).run(x).items():
        np.testing.assert_allclose(theirs[name], ours, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_int8_node_is_within_one_step(
    graph: Graph, config: dict[str, object], tmp_path: Path
) -> None:
    """Each node fed with the engine's own values, so that differences cannot add up."""
    model = quantized(graph, **config)
    x = networks.samples(graph, 2, seed=9)
    values = reference.run(model.graph, x, fetch=[v.name for v in model.graph.activations()])
    shares = []
    for i, node in enumerate(model.graph.nodes):
        alone = one_node(model.graph, node)
        inputs = {name: values[name] for name in alone.inputs}
        theirs = run_ort(exported(alone, tmp_path / f"{i}.onnx"), inputs, fused=False)
        for name in alone.outputs:
            ours = values[name]
            apart = np.abs(ours.astype(np.float64) - theirs[name])
            assert ours.dtype == theirs[name].dtype
            if ours.dtype == np.int8:
                assert apart.max() <= 1, (node.name, node.op)
                shares.append(np.mean(apart == 0))
            else:
                assert apart.max() <= 1e-3 * (1 + np.abs(ours).max()), (node.name, node.op)
    assert not shares or np.mean(shares) > 0.99


def one_node(graph: Graph, node: Node) -> Graph:
    alone = Graph(node.name)
    for name in dict.fromkeys([*node.inputs, *node.outputs]):
        if name:
            alone.values[name] = graph.value(name)
    inputs = dict.fromkeys(n for n in node.inputs if n and not graph.value(n).is_constant)
    alone.inputs, alone.outputs, alone.nodes = list(inputs), list(node.outputs), [node]
    return alone


@pytest.mark.parametrize("name", sorted(networks.NETWORKS))
def test_whole_int8_networks_agree_with_onnxruntime(name: str, tmp_path: Path) -> None:
    """The linear resize of the pyramid stays float: ONNX Runtime rounds its int8 form otherwise,
    by one step, and the layers behind it multiply that."""
    skip_if_saturating()
    graph = networks.NETWORKS[name](seed=1)
    model = quantized(graph, keep_float=["resize"] if name == "pyramid" else [])
    x = networks.samples(graph, 4, seed=9)
    theirs = run_ort(exported(model.graph, tmp_path / "int8.onnx"), x)
    for output, ours in zp.Session(model).run(x).items():
        apart = steps(model.graph, output, ours, theirs[output])
        assert apart.max() <= 1.01
        assert np.mean(apart < 0.5) > 0.9


@pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)
@pytest.mark.parametrize("kind", ["float", "int8"])
@pytest.mark.parametrize("name", ["residual", "inverted"])
def test_networks_agree_with_openvino(name: str, kind: str, tmp_path: Path) -> None:
    import openvino

    graph = networks.NETWORKS[name](seed=1)
    graph = quantized(graph).graph if kind == "int8" else graph
    x = networks.samples(graph, 2, seed=9)
    path = exported(graph, tmp_path / "model.onnx")
    compiled = openvino.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    theirs = compiled(x)
    for output, ours in zp.Session(zp.Model(graph)).run(x).items():
        apart = steps(graph, output, ours, theirs[output])
        assert apart.max() <= (2.01 if kind == "int8" else 1e-4)


# -- form ---------------------------------------------------------------------------------------


def test_the_file_has_the_form_that_runtimes_fuse(tmp_path: Path) -> None:
    """Between convolutions there is nothing but quantization; names and inputs are the graph's."""
    model = quantized(networks.residual(seed=1))
    proto = onnx.load(exported(model.graph, tmp_path / "int8.onnx"))
    ops = [node.op_type for node in proto.graph.node]
    assert ops.count("Transpose") == 1
    assert {node.name for node in model.graph.nodes} <= {n.name for n in proto.graph.node} | {
        node.name for node in model.graph.nodes if node.op in ("transpose", "dequantize")
    }
    (info,) = proto.graph.input
    dims = info.type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 20, 20, 3]
    readers: dict[str, list[str]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    for node in proto.graph.node:
        if node.op_type == "Conv":
            after = readers[node.output[0]]
            assert after in (["QuantizeLinear"], ["Relu"], ["Clip"])


@pytest.mark.parametrize("name", ["residual", "inverted", "pyramid", "unary"])
def test_what_is_exported_comes_back(name: str, tmp_path: Path) -> None:
    """The same scales and zero points, and mostly the same bytes. (The encoder's maximum of two
    activations is an operator that the importer does not take.)"""
    graph = networks.NETWORKS[name](seed=1)
    model = quantized(graph)
    back = zp.load(exported(model.graph, tmp_path / "int8.onnx"))
    assert back.inputs == model.graph.inputs
    assert back.outputs == model.graph.outputs

    def parameters(found: Graph) -> set[tuple[float, int]]:
        return {
            (float(v.quant.scale), int(v.quant.zero_point))
            for v in found.activations()
            if v.quant is not None
        }

    assert parameters(back) <= parameters(model.graph)
    x = networks.samples(graph, 2, seed=9)
    ours, again = zp.Session(model).run(x), zp.Session(zp.Model(back)).run(x)
    for name, array in ours.items():
        apart = steps(model.graph, name, array, again[name])
        assert np.mean(apart < 0.5) > 0.9


def test_the_command(tmp_path: Path) -> None:
    graph = networks.residual(seed=1)
    source, target = tmp_path / "m.gguf", tmp_path / "m.onnx"
    quantized(graph).save(source)
    result = json_of("export", source, "-o", target)
    assert result["file_bytes"] == target.stat().st_size
    onnx.checker.check_model(str(target))
    json.dumps(result)


# -- operators of which the networks have none --------------------------------------------------


def integers(b: Builder, *shape: int, seed: int = 0) -> Array:
    return b.random.integers(-127, 128, shape).astype(np.int8)


def raw(op: str) -> Graph:
    """Int32 accumulators of quantized operands, with a bias."""
    b = Builder(op, 3)
    x_shape, w_shape, y_shape = {
        "conv2d": ((None, 6, 5, 4), (3, 3, 3, 4), (None, 4, 3, 3)),
        "linear": ((None, 16), (5, 16), (None, 5)),
        "matmul": ((None, 6, 8), (2, 8, 3), (2, 6, 3)),
    }[op]
    graph = b.graph
    graph.add_value(Value("x", "int8", x_shape, QuantParams.per_tensor(0.1, 5)))
    graph.inputs = ["x"]
    inputs = ["x"]
    graph.add_constant("w", integers(b, *w_shape), QuantParams.per_tensor(0.02, 3))
    inputs.append("w")
    if op != "matmul":
        graph.add_constant("b", np.arange(w_shape[0], dtype=np.int32) * 100)
        inputs.append("b")
    graph.add_value(Value("y", "int32", y_shape))
    graph.nodes.append(Node("product", op, inputs, ["y"]))
    graph.outputs = ["y"]
    return graph


def dynamic(zero_points: bool = True) -> Graph:
    """Run-time parameters: dynamic_quantize, its product, moves, and dynamic_linear."""
    b = Builder("dynamic", 4)
    x = b.input(None, 12)
    q, scale, zero = b.node("dynamic_quantize", [x], 3)
    moved = b.node("transpose", [q], perm=[0, 1])
    b.graph.add_constant("w", integers(b, 12, 7))
    product = b.node("matmul_integer", [moved, "w", zero if zero_points else ""])
    real = b.node("mul", [b.node("cast", [product], to="float32"), scale])
    b.graph.add_constant(
        "v", integers(b, 5, 12),
        QuantParams(np.linspace(0.01, 0.05, 5, dtype=np.float32), np.arange(5, dtype=np.int32), 0),
    )  # fmt: skip
    other = b.node("dynamic_linear", [x, "v", b.vector(5)])
    return b.done(real, other, q, zero)


def convolved() -> Graph:
    b = Builder("convolved", 5)
    x = b.input(None, 6, 7, 4)
    q, scale, zero = b.node("dynamic_quantize", [x], 3)
    b.graph.add_constant("w", integers(b, 6, 3, 3, 2))
    y = b.node("conv_integer", [q, "w", zero], strides=[1, 2], pads=[1, 0, 1, 2],
               dilations=[1, 1], groups=2)  # fmt: skip
    return b.done(y, scale)


@pytest.mark.parametrize(
    "build",
    [lambda: raw("conv2d"), lambda: raw("linear"), lambda: raw("matmul"), dynamic,
     lambda: dynamic(False), convolved],
)  # fmt: skip
def test_integer_operators_are_exact(build: Callable[[], Graph], tmp_path: Path) -> None:
    graph = build()
    path = exported(graph, tmp_path / "m.onnx")
    rng = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for name in graph.inputs:
        value = graph.value(name)
        shape = [2 if d is None else d for d in value.shape or ()]
        normal = rng.standard_normal(shape, dtype=np.float32)
        inputs[name] = (
            normal if value.dtype == "float32" else rng.integers(-128, 128, shape).astype(np.int8)
        )
    theirs = run_ort(path, inputs)
    for name, ours in reference.run(graph, inputs).items():
        assert ours.dtype == theirs[name].dtype
        if ours.dtype == np.float32:
            np.testing.assert_allclose(theirs[name], ours, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(theirs[name], ours)


def floats() -> Graph:
    """Moves and functions at hand in the channels-first order that a convolution leaves."""
    b = Builder("floats", 6)
    x = b.conv(b.input(None, 6, 5, 4), 4, 8)
    parts = b.node("split", [x], 2, axis=3, sizes=[3, 5])
    joined = b.node("concat", [parts[1], parts[0]], axis=3)
    y = b.node("pad", [joined], pads=[0, 1, 0, 2, 0, 0, 2, -1], mode="constant", value=0.5)
    y = b.node("slice", [y], starts=[-1, 1], ends=[-7, 100], axes=[1, 3], steps=[-2, 3])
    pooled = b.node("reduce_mean", [x], axes=[1, 2], keepdims=0)
    row = b.node("reduce_mean", [x], axes=[2], keepdims=0)
    top = b.node("squeeze", [b.node("global_max_pool", [x])], axes=[1, 2])
    sum_ = b.node("unsqueeze", [b.node("max", [pooled, top])], axes=[0, 2])
    flat = b.node("flatten", [b.node("reduce_mean", [x], axes=[1, 2], keepdims=1)], axis=1)
    wide = b.node("reshape", [x], shape=[0, -1])
    power = b.node("pow", [b.node("abs", [x])], exponent=1.5)
    power = b.node("min", [power, b.node("div", [x, b.vector(8, 1.0)])])
    normal = b.node("layer_norm", [x, b.vector(8), b.vector(8)], axis=3, epsilon=1e-3)
    up = b.node("resize", [x], mode="linear", coordinates="half_pixel", nearest_mode="floor",
                sizes=[7, 11])  # fmt: skip
    grouped = b.node("conv_transpose2d", [x, b.weights(6, 3, 2, 4), b.vector(6)], strides=[2, 1],
                     pads=[0, 1, 1, 0], dilations=[1, 2], output_padding=[1, 0],
                     groups=2)  # fmt: skip
    soft = b.node("softmax", [x], axis=3)
    return b.done(y, row, sum_, flat, wide, power, normal, up, grouped, soft)


def test_moves_of_channels_first_values(tmp_path: Path) -> None:
    graph = floats()
    x = networks.samples(graph, 2)
    theirs = run_ort(exported(graph, tmp_path / "m.onnx"), x)
    for name, ours in reference.run(graph, x).items():
        np.testing.assert_allclose(theirs[name], ours, rtol=1e-4, atol=1e-4, err_msg=name)


def test_moves_of_channels_first_integers(tmp_path: Path) -> None:
    graph = floats()
    model = quantized(graph)
    x = networks.samples(graph, 2)
    theirs = run_ort(exported(model.graph, tmp_path / "m.onnx"), x, fused=False)
    for name, ours in zp.Session(model).run(x).items():
        assert theirs[name].shape == ours.shape
        assert np.abs(theirs[name] - ours).max() <= 0.05 * (1 + np.abs(ours).max()), name


def test_tables_of_no_known_function(tmp_path: Path) -> None:
    """Read by Gather: exact, per tensor and per channel, for callers' int8 and uint8."""
    b = Builder("tables", 7)
    graph, params = b.graph, QuantParams.per_tensor(0.1, 3)
    graph.add_value(Value("x", "int8", (None, 3, 4), params))
    graph.add_constant("t", integers(b, 256))
    graph.add_constant("u", integers(b, 4, 256))
    for name in ("y", "z"):
        graph.add_value(Value(name, "int8", (None, 3, 4), params))
    graph.nodes += [
        Node("first", "lookup", ["x", "t"], ["y"], {"function": "sigmoid"}),
        Node("second", "lookup", ["y", "u"], ["z"], {"function": "prelu"}),
    ]
    graph.inputs, graph.outputs, graph.unsigned = ["x"], ["y", "z"], {"z"}
    x = np.random.default_rng(1).integers(-128, 128, (50, 3, 4)).astype(np.int8)
    theirs = run_ort(exported(graph, tmp_path / "m.onnx"), {"x": x})
    for name, ours in reference.run(graph, {"x": x}).items():
        assert theirs[name].dtype == ours.dtype
        np.testing.assert_array_equal(theirs[name], ours)


# -- errors -------------------------------------------------------------------------------------


def test_errors_leave_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, path = networks.residual(seed=1), tmp_path / "m.onnx"
    path.write_bytes(b"old")
    broken = graph.copy()
    broken.nodes[0].op = "no_such_operator"
    with pytest.raises(zp.UnsupportedError, match=r"no_such_operator.* has no ONNX form"):
        export_onnx(broken, path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(zp.FileError, match="No space left"):
            export_onnx(graph, path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    with pytest.raises(zp.FileError, match="cannot be written"):
        export_onnx(graph, tmp_path / "nowhere" / "m.onnx")
