"""The dtypes that callers see at a session's border: int8, uint8 or float32."""

from __future__ import annotations

import numpy as np
import pytest

import zeropoint as zp
from zeropoint import _core, reference, shapes
from zeropoint.errors import GraphError, InputError, ModelError
from zeropoint.graph import Graph, Node, QuantParams, Value
from zeropoint.model_file import read_model, to_bytes

X = QuantParams.per_tensor(0.02, 3)
Y = QuantParams.per_tensor(0.05, -10)


def quantized_graph(unsigned: bool = True) -> Graph:
    """int8 x [?, 6] -> linear -> int8 y [?, 4], and float32 extra, copied."""
    random = np.random.default_rng(0)
    graph = Graph("border", inputs=["x", "extra"], outputs=["y", "twice", "x"])
    graph.add_value(Value("x", "int8", (None, 6), X))
    graph.add_value(Value("extra", "float32", (None, 2)))
    weights = random.integers(-127, 128, (4, 6)).astype(np.int8)
    graph.add_constant("w", weights, QuantParams.per_tensor(0.01, 0))
    graph.add_value(Value("y", "int8", None, Y))
    graph.add_value(Value("twice"))
    graph.nodes = [
        Node("linear", "linear", ["x", "w"], ["y"]),
        Node("add", "add", ["extra", "extra"], ["twice"]),
    ]
    if unsigned:
        graph.unsigned = {"x", "y"}
    shapes.infer(graph)
    return graph


def feeds(x: np.ndarray) -> dict[str, np.ndarray]:
    return {"x": x, "extra": np.ones((len(x), 2), np.float32)}


Q = np.random.default_rng(1).integers(-128, 128, (300, 6)).astype(np.int8)
U = (Q.astype(np.int16) + 128).astype(np.uint8)


def dtypes(session: zp.Session) -> dict[str, str]:
    return {t.name: t.dtype for t in (*session.inputs, *session.outputs)}


def test_as_the_file_says() -> None:
    graph = quantized_graph()
    session = zp.Session(graph)
    assert [t.dtype for t in session.inputs] == ["uint8", "float32"]
    assert [t.dtype for t in session.outputs] == ["uint8", "float32", "uint8"]
    y = session.run(feeds(U))
    assert y["x"].tobytes() == U.tobytes()
    expected = reference.run(graph, feeds(U))
    for name, array in expected.items():
        assert y[name].dtype == array.dtype
        assert y[name].tobytes() == array.tobytes()
    signed = zp.Session(quantized_graph(unsigned=False)).run(feeds(Q))
    assert np.array_equal(y["y"].astype(int) - 128, signed["y"])


@pytest.mark.parametrize("unsigned", [False, True])
def test_every_dtype_for_all(unsigned: bool) -> None:
    graph = quantized_graph(unsigned)
    plain = zp.Session(graph, io="int8").run(feeds(Q))
    assert plain["y"].dtype == np.int8
    as_uint8 = zp.Session(graph, io="uint8").run(feeds(U))
    assert np.array_equal(as_uint8["y"], (plain["y"].astype(int) + 128).astype(np.uint8))
    real = ((Q.astype(np.int32) - 3).astype(np.float32)) * np.float32(0.02)
    for level in _core.detected_isa_levels():
        session = zp.Session(graph, io="float32", isa=level)
        assert set(dtypes(session).values()) == {"float32"}
        y = session.run(feeds(real))
        assert np.array_equal(y["x"], real)
        dequantized = (plain["y"].astype(np.int32) + 10).astype(np.float32) * np.float32(0.05)
        assert np.array_equal(y["y"], dequantized)


def test_float32_is_quantized_as_the_operator_does() -> None:
    graph = quantized_graph()
    x = (np.random.default_rng(2).standard_normal((500, 6)) * 3).astype(np.float32)
    x.reshape(-1)[:6] = [np.nan, np.inf, -np.inf, 1e30, 0.01, 0.03]
    y = zp.Session(graph, io={"x": "float32", "y": "int8"}).run(feeds(x))
    alone = Graph("quantize", inputs=["f"], outputs=["q"])
    alone.add_value(Value("f", "float32", (None, 6)))
    alone.add_value(Value("q", "int8", (None, 6), X))
    alone.nodes = [Node("quantize", "quantize", ["f"], ["q"])]
    q = zp.Session(alone).run(x)["q"]
    assert np.array_equal(y["y"], zp.Session(graph, io="int8").run(feeds(q))["y"])


def test_some_by_name() -> None:
    session = zp.Session(quantized_graph(), io={"y": "float32"})
    assert dtypes(session)["y"] == "float32"
    assert session.inputs[0].dtype == "uint8"
    # One name that is both an input and an output is asked for once.
    session = zp.Session(quantized_graph(), io={"x": "int8", "extra": "as_file"})
    assert (session.inputs[0].dtype, session.outputs[2].dtype) == ("int8", "int8")


@pytest.mark.parametrize(
    ("io", "message"),
    [
        ("float16", "'float16'"),
        ({"x": "int16"}, "'int16'"),
        ({"z": "int8"}, "no input or output named 'z'"),
        ({"extra": "int8"}, "'extra' is float32 and cannot be int8"),
        ({"x": 8}, "io must be"),
        (None, "io must be"),
    ],
)
def test_what_is_refused(io: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        zp.Session(quantized_graph(), io=io)  # type: ignore[arg-type]


def test_run_time_parameters_have_no_float32() -> None:
    graph = Graph("dynamic", inputs=["x"], outputs=["q", "scale", "zero"])
    graph.add_value(Value("x", "float32", (None,)))
    for name in ("q", "zero"):
        graph.add_value(Value(name, "int8"))
    graph.add_value(Value("scale"))
    graph.nodes = [Node("dq", "dynamic_quantize", ["x"], ["q", "scale", "zero"])]
    shapes.infer(graph)
    assert [t.dtype for t in zp.Session(graph, io="float32").outputs] == ["int8", "float32", "int8"]
    assert zp.Session(graph, io="uint8").run(np.ones(3, np.float32))["q"].tolist() == [255] * 3
    with pytest.raises(InputError, match="'q' is int8 without a scale and zero point"):
        zp.Session(graph, io={"q": "float32"})


def test_wrong_dtypes_name_what_the_session_takes() -> None:
    with pytest.raises(InputError, match=r"input 'x' is int8; the model takes uint8 \[\?, 6\]"):
        zp.Session(quantized_graph()).run(feeds(Q))


def test_observers_see_int8() -> None:
    seen = {}
    session = zp.Session(quantized_graph(), io="float32")
    session.observe(
        feeds(np.zeros((1, 6), np.float32)), lambda name, x: seen.__setitem__(name, x.dtype)
    )
    assert seen["x"] == seen["y"] == np.int8


def test_the_file_keeps_it() -> None:
    graph = quantized_graph()
    assert read_model(to_bytes(graph)).unsigned == {"x", "y"}
    assert read_model(to_bytes(quantized_graph(unsigned=False))).unsigned == set()
    graph.unsigned = {"extra"}
    with pytest.raises(GraphError, match="'extra' is to be uint8"):
        to_bytes(graph)


def test_a_file_that_names_another_value_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = quantized_graph()
    graph.unsigned = {"w"}  # a constant
    with monkeypatch.context() as patch:
        patch.setattr("zeropoint.model_file.check_graph", lambda *_: None)
        content = to_bytes(graph)
    with pytest.raises(ModelError, match=r"'zeropoint\.unsigned' names 'w'"):
        zp.Session(content)
    with pytest.raises(ModelError, match="'w' is to be uint8"):
        read_model(content)


def test_constant_outputs_are_converted() -> None:
    graph = quantized_graph()
    graph.add_constant("c", np.array([-128, 0, 127], np.int8), X)
    graph.outputs.append("c")
    graph.unsigned.add("c")
    assert zp.Session(graph).run(feeds(U))["c"].tolist() == [0, 128, 255]
    assert zp.Session(graph, io="int8").run(feeds(Q))["c"].tolist() == [-128, 0, 127]
    real = zp.Session(graph, io={"c": "float32"}).run(feeds(U))["c"]
    assert np.array_equal(real, np.array([-131, -3, 124], np.float32) * np.float32(0.02))


def test_compare_takes_float_samples_for_uint8_inputs() -> None:
    """A float model beside its quantized form, whose border is uint8."""
    random = np.random.default_rng(3)
    graph = Graph("float", inputs=["x"], outputs=["y"])
    graph.add_value(Value("x", "float32", (None, 6)))
    graph.add_value(Value("y"))
    graph.add_constant("w", random.standard_normal((4, 6)).astype(np.float32))
    graph.nodes = [Node("linear", "linear", ["x", "w"], ["y"])]
    shapes.infer(graph)
    batches = [{"x": random.standard_normal((8, 6)).astype(np.float32)}]
    config = zp.Config(input_dtype="int8", output_dtype="int8")
    model = zp.quantize(graph, zp.calibrate(graph, batches), config)
    plain = zp.compare(graph, model, batches)
    model.graph.unsigned = {"x", "y"}
    unsigned = zp.compare(graph, model, batches)
    assert plain.outputs["y"].sqnr_db > 20
    assert unsigned.outputs == plain.outputs
