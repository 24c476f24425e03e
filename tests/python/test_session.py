"""Session: what it takes, gives, refuses and reports."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from zeropoint import _core
from zeropoint.errors import (
    FileError,
    InputError,
    IsaError,
    ModelError,
    OutOfMemoryError,
    UnsupportedError,
)
from zeropoint.graph import Graph, Node, QuantParams, Value
from zeropoint.model_file import to_bytes, write_model
from zeropoint.session import Session, TensorInfo


def small_graph() -> Graph:
    """float32 x [?, 6, 6, 3] -> int8 convolution -> float32 r [?, 288] and int8 y [?, 6, 6, 8]."""
    rng = np.random.default_rng(1)
    graph = Graph("small", inputs=["x"], outputs=["r", "y"])
    graph.add_value(Value("x", "float32", (None, 6, 6, 3)))
    graph.add_value(Value("xq", "int8", (None, 6, 6, 3), QuantParams.per_tensor(0.02, 3)))
    weights = rng.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
    scales = np.linspace(0.005, 0.02, 8).astype(np.float32)
    graph.add_constant("w", weights, QuantParams(scales, np.zeros(8, np.int32), 0))
    graph.add_constant("b", rng.integers(-500, 500, 8).astype(np.int32))
    graph.add_value(Value("y", "int8", (None, 6, 6, 8), QuantParams.per_tensor(0.05, -10)))
    graph.add_value(Value("z", "float32", (None, 6, 6, 8)))
    graph.add_value(Value("r", "float32", (None, 288)))
    window = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "groups": 1}
    graph.nodes = [
        Node("quantize", "quantize", ["x"], ["xq"]),
        Node("conv", "conv2d", ["xq", "w", "b"], ["y"], window),
        Node("dequantize", "dequantize", ["y"], ["z"], reason="the output is float32"),
        Node("flatten", "flatten", ["z"], ["r"], {"axis": 1}),
    ]
    return graph


def two_input_graph() -> Graph:
    graph = Graph("two", inputs=["a", "b"], outputs=["sum"])
    for name in ("a", "b", "sum"):
        graph.add_value(Value(name, "float32", (None, 4)))
    graph.nodes = [Node("add", "add", ["a", "b"], ["sum"])]
    return graph


def sample(n: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 6, 6, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(small_graph(), threads=2)


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)


# -- models ---------------------------------------------------------------------------------


def test_path_bytes_graph_and_wrapper_are_the_same_model(tmp_path: Path) -> None:
    class Wrapper:
        def to_bytes(self) -> bytes:
            return to_bytes(small_graph())

    path = tmp_path / "modèle.gguf"
    write_model(small_graph(), path)
    x = sample()
    expected = Session(small_graph()).run(x)
    for model in (path, str(path), path.read_bytes(), Wrapper()):
        assert same(Session(model).run(x), expected)


def test_bytes_stay_alive_with_the_session() -> None:
    x = sample()
    session = Session(to_bytes(small_graph()))
    expected = session.run(x)
    gc.collect()
    junk = [bytes(4000) for _ in range(1000)]
    assert same(session.run(x), expected)
    del junk


def test_inputs_and_outputs(session: Session) -> None:
    assert session.inputs == (TensorInfo("x", "float32", (None, 6, 6, 3)),)
    assert session.outputs == (
        TensorInfo("r", "float32", (None, 288)),
        TensorInfo("y", "int8", (None, 6, 6, 8)),
    )
    assert session.name == "small"
    assert session.threads == 2
    assert session.isa == _core.resolve_isa()
    assert "x: float32 [?, 6, 6, 3]" in repr(session)


@pytest.mark.parametrize("model", [5, None, [b"x"], object(), 1.5])
def test_not_a_model(model: object) -> None:
    with pytest.raises(InputError, match="cannot make a session"):
        Session(model)  # type: ignore[arg-type]


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        Session(tmp_path / "none.gguf")
    with pytest.raises(FileError, match="directory"):
        Session(tmp_path)
    with pytest.raises(InputError, match="zero byte"):
        Session("a\0b")
    with pytest.raises(ModelError, match="GGUF"):
        Session(b"")
    with pytest.raises(FileError) as caught:
        Session(os.fsdecode(b"/nowhere/\xff.gguf"))
    assert "\\xff" in str(caught.value)


@pytest.mark.parametrize("threads", [0, -1, 1025, 1.5, True, "2", None])
def test_bad_thread_counts(threads: object) -> None:
    with pytest.raises(InputError, match="threads must be"):
        Session(small_graph(), threads=threads)  # type: ignore[arg-type]


def test_isa_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IsaError, match="'mmx' is unknown"):
        Session(small_graph(), isa="mmx")
    with pytest.raises(InputError, match="isa must be"):
        Session(small_graph(), isa=3)  # type: ignore[arg-type]
    monkeypatch.setenv("ZEROPOINT_ISA", "portable")
    session = Session(small_graph())
    assert session.isa == "portable"
    assert {row["isa"] for row in session.nodes()} <= {"portable", ""}
    monkeypatch.setenv("ZEROPOINT_ISA", "nonsense")
    with pytest.raises(IsaError, match="ZEROPOINT_ISA"):
        Session(small_graph())


def test_unsupported_nodes_are_all_named() -> None:
    graph = two_input_graph()
    graph.nodes[0].attrs["extra"] = 1
    content = to_bytes(graph).replace(b"\x03\0\0\0\0\0\0\0add", b"\x03\0\0\0\0\0\0\0odd")
    content = content.replace(b"zeropoint.checksum", b"zeropoint.nochecks")
    with pytest.raises(UnsupportedError, match=r"node '(add|odd)' \(odd\)"):
        Session(content)


# -- inputs ---------------------------------------------------------------------------------


def test_one_input_may_come_alone(session: Session) -> None:
    assert same(session.run(sample()), session.run({"x": sample()}))


def test_inputs_may_come_in_any_mapping() -> None:
    class Listed(UserDict[str, np.ndarray]):
        def keys(self) -> list[str]:  # type: ignore[override]
            return list(self.data)

    session = Session(two_input_graph())
    ones = np.ones((2, 4), np.float32)
    for mapping in (UserDict, MappingProxyType, Listed):
        assert session.run(mapping({"a": ones, "b": ones}))["sum"].tolist() == [[2.0] * 4] * 2
        with pytest.raises(InputError, match="missing input 'b'"):
            session.run(mapping({"a": ones}))


def test_several_inputs_need_names() -> None:
    session = Session(two_input_graph())
    ones = np.ones((2, 4), np.float32)
    assert session.run({"b": ones, "a": 2 * ones})["sum"].tolist() == [[3.0] * 4] * 2
    with pytest.raises(InputError, match="takes 2 inputs; give a dictionary"):
        session.run(ones)
    with pytest.raises(InputError, match="missing input 'b'"):
        session.run({"a": ones})
    with pytest.raises(InputError, match="unknown input 'c'"):
        session.run({"a": ones, "b": ones, "c": ones})


@pytest.mark.parametrize(
    "dtype", ["float64", "float16", "int8", "int64", ">f4", "bool", "complex64"]
)
def test_dtypes_are_not_converted(session: Session, dtype: str) -> None:
    with pytest.raises(InputError, match=r"\.astype\(np\.float32\)"):
        session.run(sample().astype(dtype))


@pytest.mark.parametrize(
    "shape", [(6, 6, 3), (1, 6, 6, 4), (1, 5, 6, 3), (0, 6, 6, 3), (1, 1, 6, 6, 3), ()]
)
def test_shapes_must_fit(session: Session, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="input 'x' has shape"):
        session.run(np.zeros(shape, np.float32))


def test_things_that_are_no_arrays(session: Session) -> None:
    for thing in ([[1.0]], 3, "x"):
        with pytest.raises(InputError, match="not a NumPy array"):
            session.run(thing)  # type: ignore[arg-type]


def test_arrays_of_any_strides(session: Session) -> None:
    x = sample(8)
    expected = session.run(np.ascontiguousarray(x[::-2]))
    assert same(session.run(x[::-2]), expected)
    turned = np.asfortranarray(x[::-2])
    assert same(session.run(turned), expected)
    raw = np.empty(x[::2].nbytes + 1, np.uint8)[1:]
    unaligned = raw.view(np.float32).reshape(4, 6, 6, 3)
    unaligned[...] = x[::-2]
    assert same(session.run(unaligned), expected)


def test_outputs_belong_to_the_caller(session: Session) -> None:
    first = session.run(sample(seed=1))
    kept = {name: array.copy() for name, array in first.items()}
    session.run(sample(seed=2))
    assert same(first, kept)
    assert all(array.flags.writeable and array.flags.c_contiguous for array in first.values())


# -- the same bytes -------------------------------------------------------------------------


def test_batches_threads_and_levels_do_not_change_a_byte() -> None:
    x = sample(8)
    expected = Session(small_graph(), isa="portable").run(x)
    for level in _core.detected_isa_levels():
        for threads in (1, 2, 5):
            session = Session(small_graph(), threads=threads, isa=level)
            assert same(session.run(x), expected)
            singles = [session.run(x[i : i + 1]) for i in range(8)]
            for name, array in expected.items():
                assert np.concatenate([s[name] for s in singles]).tobytes() == array.tobytes()


def test_concurrent_runs_of_one_session(session: Session) -> None:
    inputs = [sample(1 + i % 5, seed=i) for i in range(20)]
    expected = [session.run(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            results = list(pool.map(session.run, inputs))
            assert all(same(a, b) for a, b in zip(results, expected, strict=True))


def _run_in_child(session: Session, expected: bytes) -> None:
    os._exit(0 if session.run(sample(64))["r"].tobytes() == expected else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_go_on() -> None:
    session = Session(small_graph(), threads=2)
    expected = session.run(sample(64))["r"].tobytes()
    child = multiprocessing.get_context("fork").Process(
        target=_run_in_child, args=(session, expected)
    )
    child.start()
    child.join(30)
    alive = child.is_alive()
    if alive:
        child.kill()
    assert not alive, "the child hangs"
    assert child.exitcode == 0


def test_the_host_programs_rounding_does_not_matter() -> None:
    """Flush-to-zero and another rounding mode, set as some libraries set them."""
    code = (
        "import ctypes, sys; sys.path[:0] = [sys.argv[1]]\n"
        "import numpy as np\n"
        "from test_session import Session, sample, small_graph\n"
        "session = Session(small_graph()); expected = session.run(sample())\n"
        "assert ctypes.CDLL(None).fesetround(0x800) == 0\n"
        "other = session.run(sample())\n"
        "assert all(other[k].tobytes() == expected[k].tobytes() for k in expected)\n"
    )
    libm = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, text=True
    )
    assert libm.returncode == 0, libm.stderr


# -- observing and explaining ---------------------------------------------------------------


def test_observe_shows_every_activation(session: Session) -> None:
    seen: dict[str, np.ndarray] = {}
    outputs = session.observe(sample(), lambda name, a: seen.__setitem__(name, a.copy()))
    assert list(seen) == ["x", "xq", "y", "z", "r"]
    assert same(outputs, session.run(sample()))
    assert same({k: seen[k] for k in outputs}, outputs)
    assert seen["xq"].dtype == np.int8
    expected = np.clip(np.rint(sample() / np.float32(0.02)) + 3, -128, 127)
    assert np.array_equal(seen["xq"], expected)


def test_observed_arrays_are_read_only_and_must_not_be_kept(session: Session) -> None:
    kept: list[np.ndarray] = []
    with pytest.raises(InputError, match=r"array of 'x'.*array\.copy\(\)"):
        session.observe(sample(), lambda name, a: kept.append(a))
    assert np.array_equal(kept[0], sample())  # still readable memory
    with pytest.raises(InputError, match=r"array\.copy\(\)"):
        session.observe(sample(), lambda name, a: kept.append(a[1:]))

    def write(name: str, array: np.ndarray) -> None:
        array[...] = 0

    with pytest.raises(ValueError, match="read-only"):
        session.observe(sample(), write)
    assert same(session.run(sample()), session.run(sample()))


def test_an_exception_in_the_callback_ends_the_run(session: Session) -> None:
    seen: list[str] = []

    def stop(name: str, array: np.ndarray) -> None:
        seen.append(name)
        if name == "y":
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        session.observe(sample(), stop)
    assert seen == ["x", "xq", "y"]


def test_the_gil_is_free_while_running() -> None:
    session = Session(small_graph())
    x = sample(20_000)
    session.run(x)
    running = threading.Event()
    counts = [0]

    def count() -> None:
        while not running.is_set():
            counts[0] += 1

    counter = threading.Thread(target=count)
    counter.start()
    session.run(x)
    running.set()
    counter.join()
    assert counts[0] > 0


def test_nodes_memory_and_profile(session: Session) -> None:
    rows = session.nodes({"x": (5, 6, 6, 3)})
    assert [row["op"] for row in rows] == ["quantize", "conv2d", "dequantize", "flatten"]
    assert [row["precision"] for row in rows] == ["float32", "int8", "int8", "float32"]
    assert rows[1]["macs"] == 5 * 36 * 8 * 27
    assert rows[1]["kernel"].startswith("gemm_s8_")
    assert rows[1]["isa"] in _core.detected_isa_levels()
    assert rows[3]["kernel"] == rows[3]["isa"] == ""
    assert rows[3]["output_shape"] == (5, 288)
    assert rows[2]["reason"] == "the output is float32"
    memory = session.memory()
    assert memory["file_bytes"] == len(to_bytes(small_graph()))
    assert memory["constant_bytes"] == 8 * 27 + 3 * 8 * 4
    assert memory["packed_bytes"] > 0
    assert memory["arena_bytes"] < session.memory({"x": (9, 6, 6, 3)})["arena_bytes"]
    profile = session.profile(sample(), repeats=3)
    assert len(profile.nodes) == 4
    assert profile.run > 0
    for repeats in (0, 2**31, 1.5):
        with pytest.raises(InputError, match="repeats"):
            session.profile(sample(), repeats=repeats)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown input 'q'"):
        session.nodes({"q": (1,)})
    with pytest.raises(InputError, match="shape"):
        session.memory({"x": (1, 2, 3, 4)})


def test_too_large_a_batch_is_an_error(session: Session) -> None:
    for batch in (1 << 29, 1 << 33, (1 << 40) - 1):
        with pytest.raises(OutOfMemoryError, match=r"small: .*smaller batch"):
            session.memory({"x": (batch, 6, 6, 3)})
    assert issubclass(OutOfMemoryError, MemoryError)


# -- the engine's other functions -----------------------------------------------------------


def test_build_info_and_levels() -> None:
    info = _core.build_info()
    assert info["version"] == _core.__version__
    assert "-ffp-contract=off" in info["flags"]
    assert info["isa_levels"] == [level["name"] for level in _core.isa_levels()]
    assert "portable" in _core.detected_isa_levels()
    assert 1 <= _core.usable_cpus() <= (os.cpu_count() or 1)
    names = [name for _, name, _ in _core.kernel_names()]
    assert len(names) == len(set(names)) > 10


def test_ceilings() -> None:
    ceilings = _core.measure_ceilings("portable")
    assert ceilings["int8"]["isa"] == ceilings["float32"]["isa"] == "portable"
    assert ceilings["int8"]["macs_per_s"] > 1e6
    with pytest.raises(IsaError):
        _core.measure_ceilings("mmx")


def test_min_max_and_histogram() -> None:
    x = np.random.default_rng(3).standard_normal(10_001).astype(np.float32)
    assert _core.min_max(x) == (float(x.min()), float(x.max()))
    counts = np.zeros(50, np.int64)
    _core.histogram(x, -3.0, 0.125, counts)
    bins = np.clip(np.floor((x - np.float32(-3)) / np.float32(0.125)), 0, 49).astype(int)
    assert np.array_equal(counts, np.bincount(bins, minlength=50))
    x[77] = np.nan
    assert _core.min_max(x) is None
    for bad in (x[::2], x.astype(np.float64), x[:0]):
        with pytest.raises(InputError):
            _core.min_max(bad)
        with pytest.raises(InputError):
            _core.histogram(bad, 0.0, 1.0, counts)
    for wrong in (counts.astype(np.int32), counts[::2], counts[:0], counts.reshape(5, 10)):
        with pytest.raises(InputError, match="counts"):
            _core.histogram(np.ones(3, np.float32), 0.0, 1.0, wrong)
    for width in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(InputError, match="width"):
            _core.histogram(np.ones(3, np.float32), 0.0, width, counts)


def test_many_nodes_may_not_multiply_one_weight() -> None:
    graph = Graph("shared")
    graph.add_value(Value("x", "float32", (1, 512)))
    graph.add_constant("w", np.ones((512, 512), np.float32))
    for i in range(200):
        source = f"y{i - 1}" if i else "x"
        graph.add_value(Value(f"y{i}", "float32", (1, 512)))
        graph.nodes.append(Node(f"n{i}", "linear", [source, "w"], [f"y{i}"]))
    graph.inputs, graph.outputs = ["x"], ["y199"]
    with pytest.raises(OutOfMemoryError, match="many nodes share one constant"):
        Session(graph)
