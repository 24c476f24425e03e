"""Values whose names are longer than a model file holds: found again by calibration and compare."""

from __future__ import annotations

import numpy as np

import zeropoint as zp
from zeropoint import demo
from zeropoint.transforms.layout import rename


def test_long_names_are_calibrated_and_compared() -> None:
    graph = zp.load(demo.NETWORK)
    inner = [n for node in graph.nodes for n in node.outputs if n not in graph.outputs]
    long = {name: f"{name}/" + "a_module_in_a_module/" * 6 for name in inner}
    rename(graph, long)
    images = demo.digits("calibration").images[:32]
    statistics = zp.calibrate(graph, [images])
    assert set(long.values()) & set(statistics)
    model = zp.quantize(graph, statistics)
    (name,) = graph.inputs
    comparison = zp.compare(graph, model, [{name: images}])
    short = zp.load(demo.NETWORK)
    plain = zp.quantize(short, zp.calibrate(short, [images]))
    expected = zp.compare(short, plain, [{name: images}])
    assert len(comparison.layers) == len(expected.layers)
    for layer, other in zip(comparison.layers, expected.layers, strict=True):
        assert layer.accumulated.sqnr_db == other.accumulated.sqnr_db
        assert np.isfinite(layer.accumulated.sqnr_db)
