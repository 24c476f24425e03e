"""Calibration of whole graphs on the engine."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from zeropoint import reference, shapes
from zeropoint.calibration import Statistics, calibrate, observed_values
from zeropoint.errors import CalibrationError, FileError, InputError
from zeropoint.graph import Array, Graph, Node, Value

F = np.float32


def network() -> Graph:
    rng = np.random.default_rng(1)
    graph = Graph("net", ["x"], ["y"])
    graph.add_value(Value("x", "float32", (None, 6, 6, 3)))
    for name in ("conv", "pool", "act", "turned", "joined", "y"):
        graph.add_value(Value(name))
    graph.add_constant("w", rng.standard_normal((4, 3, 3, 3)).astype(F))
    graph.add_constant("b", rng.standard_normal(4).astype(F))
    graph.nodes = [
        Node("conv", "conv2d", ["x", "w", "b"], ["conv"], {"pads": [1, 1, 1, 1], "clip_min": 0.0}),
        Node("pool", "max_pool2d", ["conv"], ["pool"], {"kernel": [2, 2], "strides": [2, 2]}),
        Node("act", "hard_swish", ["conv"], ["act"]),
        Node("pool2", "max_pool2d", ["act"], ["turned"], {"kernel": [2, 2], "strides": [2, 2]}),
        Node("join", "concat", ["pool", "turned"], ["joined"], {"axis": 3}),
        Node("soft", "softmax", ["joined"], ["y"], {"axis": 3}),
    ]
    shapes.infer(graph)
    return graph


def batches(count: int, seed: int = 0, size: int = 2) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.standard_normal((size, 6, 6, 3)).astype(F)


def test_only_what_quantization_needs_is_observed() -> None:
    assert observed_values(network()) == ["x", "conv", "act"]


def test_ranges_are_those_of_the_values() -> None:
    graph = network()
    data = list(batches(3))
    done: list[int] = []
    stats = calibrate(graph, data, progress=done.append)
    assert done == [2, 2, 2]
    assert stats.samples == 6
    assert sorted(stats) == ["act", "conv", "x"]
    runs = [reference.run(graph, {"x": x}, fetch=list(stats)) for x in data]
    for name in stats:
        every = np.concatenate([values[name] for values in runs])
        assert stats.range(name) == (every.min(), every.max())


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_merged_calibrations_equal_one(method: str, tmp_path: Path) -> None:
    graph, data = network(), list(batches(6))
    whole = calibrate(graph, data, method=method)
    first = calibrate(graph, data[:2], method=method)
    second = calibrate(graph, ({"x": x} for x in data[2:]), method=method, threads=2)
    second.save(tmp_path / "second.npz")
    merged = first.merge(Statistics.load(tmp_path / "second.npz"))
    assert merged.samples == whole.samples == 12
    assert first.samples == 4
    for name in whole:
        a, b = whole.observer(name).state(), merged.observer(name).state()
        assert all(np.array_equal(a[key], b[key]) for key in a)
        assert whole.range(name) == merged.range(name)


def test_saved_statistics_come_back(tmp_path: Path) -> None:
    stats = calibrate(network(), batches(2), method="moving_average", momentum=0.5)
    stats.save(tmp_path / "s.npz")
    back = Statistics.load(tmp_path / "s.npz")
    assert (back.method, back.settings, back.samples) == ("moving_average", stats.settings, 4)
    assert {n: back.range(n) for n in back} == {n: stats.range(n) for n in stats}


def test_memory_does_not_grow_with_the_samples() -> None:
    graph = network()

    def peak(count: int) -> int:
        tracemalloc.start()
        calibrate(graph, batches(count, size=8), method="percentile")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)  # what is allocated once
    assert peak(60) < peak(4) + 50_000


def test_empty_calibration_set() -> None:
    with pytest.raises(CalibrationError, match="calibration set is empty"):
        calibrate(network(), [])
    with pytest.raises(CalibrationError, match="no samples"):
        calibrate(network(), [np.zeros((0, 6, 6, 3), F)])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_data_that_are_not_finite_name_batch_and_input(bad: float) -> None:
    data = list(batches(3))
    data[1][0, 2, 2, 1] = bad
    with pytest.raises(CalibrationError, match="batch 1: input 'x': 1 of 216"):
        calibrate(network(), data)


def test_overflow_inside_the_network_names_the_value() -> None:
    with pytest.raises(CalibrationError, match="batch 0: value 'conv'"):
        calibrate(network(), [np.full((1, 6, 6, 3), 3e38, F)])


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 6, 6, 3)),
        np.zeros((1, 6, 5, 3), F),
        np.zeros((6, 6, 3), F),
        {"z": np.zeros((1, 6, 6, 3), F)},
        {},
    ],
)
def test_wrong_batches(batch: object) -> None:
    with pytest.raises(InputError, match="calibration batch 0"):
        calibrate(network(), [batch])  # type: ignore[list-item]


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="unknown calibration method"):
        calibrate(network(), batches(1), method="guess")
    with pytest.raises(InputError, match="percentile is"):
        calibrate(network(), batches(1), method="percentile", percentile=20)
    a, b = Statistics("minmax"), Statistics("percentile")
    with pytest.raises(InputError, match="calibrate both alike"):
        a.merge(b)
    with pytest.raises(CalibrationError, match="'v' was not observed"):
        a.range("v")


def test_statistics_files_that_are_not(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        Statistics.load(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(FileError, match=r"does not hold|cannot read"):
        Statistics.load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", x=np.ones(2))
    with pytest.raises(FileError, match="does not hold"):
        Statistics.load(tmp_path / "other.npz")
    with pytest.raises(FileError, match="cannot be written"):
        Statistics().save(tmp_path / "no" / "s.npz")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("0.counts", np.zeros(3, np.int64)),
        ("0.counts", np.full(4095, -1)),
        ("0.exponent", np.asarray(10**6)),
        ("0.lo", np.asarray(np.nan)),
        ("0.hi", np.asarray(-1e9)),
        ("0.count", np.asarray(-1)),
        ("setting.bins", np.asarray(17)),
        ("method", np.asarray("entropy")),
        ("format", np.asarray(2)),
        ("names", np.asarray([["x"]])),
    ],
)
def test_altered_statistics_are_refused(key: str, value: Array, tmp_path: Path) -> None:
    statistics = calibrate(network(), batches(2), method="percentile")
    statistics.save(tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as file:
        arrays = dict(file)
    assert key in arrays
    arrays[key] = value
    np.savez(tmp_path / "altered.npz", **arrays)
    with pytest.raises(FileError, match=r"altered\.npz does not hold calibration statistics"):
        Statistics.load(tmp_path / "altered.npz")


def test_damaged_statistics_are_refused(tmp_path: Path) -> None:
    calibrate(network(), batches(2), method="percentile").save(tmp_path / "s.npz")
    content = (tmp_path / "s.npz").read_bytes()
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(FileError):
        Statistics.load(tmp_path / "array.npy")
    rng = np.random.default_rng(3)
    for _ in range(60):
        altered = bytearray(content[: rng.integers(1, len(content) + 1)])
        altered[rng.integers(len(altered))] ^= 1 << rng.integers(8)
        (tmp_path / "d.npz").write_bytes(altered)
        with contextlib.suppress(FileError):
            Statistics.load(tmp_path / "d.npz")
