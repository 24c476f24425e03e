"""Real TFLite files: agreement with LiteRT layer by layer and at the end, and accuracy.

Layers are compared with LiteRT's reference kernels (fixed-point requantization), each fed with
LiteRT's own input tensors: one step at most. Whole models are compared with its default back end,
XNNPACK, whose requantization is the float32 one that zeropoint has.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("ai_edge_litert")

from onnx_models import data_folder
from tflite_models import Array, litert, run_litert

import zeropoint as zp
from zeropoint.graph import Graph
from zeropoint.importers.tflite import import_tflite
from zeropoint.importers.tflite_context import Context
from zeropoint.importers.tflite_reader import read_model
from zeropoint.transforms.layout import rename

DATA = data_folder()
KWS, IMAGE, ANOMALY = (DATA / "mlperf_tiny" / f"{n}_int8.tflite" for n in ("kws", "ic", "ad"))
MOBILENET = DATA / "models" / "mobilenet_v2_int8.tflite"

pytestmark = pytest.mark.skipif(
    not MOBILENET.exists(), reason=f"no TFLite files in {DATA} (set ZEROPOINT_DATA)"
)


# -- samples ----------------------------------------------------------------------------------


def keywords() -> tuple[Array, Array]:
    """int8 features [n, 49, 10, 1] and labels."""
    test_set = np.load(DATA / "mlperf_tiny" / "kws_test.npz")
    return test_set["features"].reshape(-1, 49, 10, 1), test_set["labels"]


def float_keywords() -> tuple[Array, Array]:
    features, labels = keywords()
    return (features.astype(np.float32) - 83) * np.float32(0.5847029), labels


def photograph(name: str) -> object:
    image = pytest.importorskip("PIL.Image", reason="photographs need Pillow")
    return image.open(DATA / "images" / f"{name}.jpg").convert("RGB")


def patches(count: int) -> Array:
    """[n, 32, 32, 3] of 0 ... 255 cut from photographs, as the image network gets them."""
    generator = np.random.default_rng(0)
    found = []
    for name in ("cat", "daisy", "rose", "tulip"):
        picture = photograph(name).resize((256, 256))
        for _ in range(count // 4):
            x, y = generator.integers(0, 160, 2)
            found.append(np.asarray(picture.resize((32, 32), box=(x, y, x + 96, y + 96))))
    return generator.permutation(np.stack(found))


def preprocessed(name: str) -> Array:
    """[3, 224, 224] by ImageNet's usual preprocessing."""
    picture = photograph(name)
    scale = 256 / min(picture.size)
    picture = picture.resize([round(n * scale) for n in picture.size], 2)
    left, top = ((n - 224) // 2 for n in picture.size)
    pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32) / 255
    normal = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return normal.astype(np.float32).transpose(2, 0, 1)


def samples(path: Path, count: int) -> Array:
    if path == KWS:
        return keywords()[0][:count]
    if path == IMAGE:
        return (patches(max(count, 4)).astype(np.int16) - 128).astype(np.int8)[:count]
    if path == MOBILENET:
        (quant,) = [zp.load(path).value("input.5").quant]
        images = np.stack([preprocessed(name) for name in ("cat", "daisy", "rose")[:count]])
        q = np.rint(images / quant.scale) + quant.zero_point
        return np.clip(q, -128, 127).astype(np.int8)
    generator = np.random.default_rng(0)
    return np.clip(generator.normal(60, 25, (count, 640)), -128, 127).astype(np.int8)


# -- layer by layer ---------------------------------------------------------------------------


def one_layer(graph: Graph, output: str, known: set[str]) -> tuple[zp.Session, dict[str, str]]:
    """A session of the nodes between known values and ``output``, and the known values by the
    names of its inputs. (A file's own names may be too long for a model's border.)"""
    producers = graph.producers()
    layer = graph.copy()
    kept, inputs, waiting = set(), [], [output]
    while waiting:
        name = waiting.pop()
        if graph.value(name).is_constant or name in inputs:
            continue
        if name in known and name != output:
            inputs.append(name)
            continue
        kept.add(producers[name].name)
        waiting += [n for n in producers[name].inputs if n]
    layer.nodes = [node for node in layer.nodes if node.name in kept]
    layer.inputs, layer.outputs = inputs, [output]
    layer.remove_dead()
    border = {name: f"border{i}" for i, name in enumerate([*inputs, output])}
    rename(layer, border)
    return zp.Session(layer), {border[name]: name for name in inputs}


def layer_differences(path: Path, count: int) -> Mapping[str, Array]:
    """Steps between LiteRT's reference kernels and zeropoint, by the layer's output."""
    graph = import_tflite(path)
    names = Context(read_model(str(path)), free=True)
    interpreter = litert(path, all_tensors=True)
    index = {names.name(i): i for i in names.model.tensors}
    known = {value.name for value in graph.activations() if value.name in index}
    layers = {n: one_layer(graph, n, known) for n in sorted(known - set(graph.inputs))}
    assert len(layers) == len(names.model.operators)
    found: dict[str, list[Array]] = {}
    (detail,) = interpreter.get_input_details()
    for sample in samples(path, count):
        interpreter.set_tensor(detail["index"], sample[None])
        interpreter.invoke()
        for name, (session, feeds) in layers.items():
            inputs = {feed: interpreter.get_tensor(index[n]) for feed, n in feeds.items()}
            (got,) = session.run(inputs).values()
            want = interpreter.get_tensor(index[name]).astype(np.int16)
            found.setdefault(name, []).append(np.abs(got - want).reshape(-1))
    return {name: np.concatenate(parts) for name, parts in found.items()}


@pytest.mark.parametrize(
    ("path", "count"), [(KWS, 20), (IMAGE, 8), (ANOMALY, 20), (MOBILENET, 1)], ids=lambda v: str(v)
)
def test_each_layer_is_within_one_step_of_litert(path: Path, count: int) -> None:
    differences = layer_differences(path, count)
    for name, steps in differences.items():
        assert steps.max() <= 1, name
        assert (steps == 0).mean() > 0.95, name


# -- whole models -----------------------------------------------------------------------------


def outputs(path: Path, count: int) -> tuple[Array, Array]:
    """(zeropoint's, LiteRT's with XNNPACK) of all samples."""
    x = samples(path, count)
    session = zp.Session(zp.load(path))
    (name,) = [info.name for info in session.inputs]
    free = session.inputs[0].shape[0] is None
    batches = [x] if free else [sample[None] for sample in x]
    ours = np.concatenate([next(iter(session.run({name: b}).values())) for b in batches])
    interpreter = litert(path, resolver="BUILTIN")
    (detail,) = interpreter.get_input_details()
    theirs = []
    for sample in x:
        theirs += run_litert(interpreter, {detail["name"]: sample[None]}).values()
    return ours, np.concatenate(theirs)


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="XNNPACK requantizes in fixed point on other CPUs"
)
@pytest.mark.parametrize(
    ("path", "count"), [(KWS, 500), (ANOMALY, 100), (MOBILENET, 3)], ids=lambda v: str(v)
)
def test_whole_models_give_the_bytes_of_xnnpack(path: Path, count: int) -> None:
    ours, theirs = outputs(path, count)
    np.testing.assert_array_equal(ours, theirs)


def test_the_image_model_chooses_as_xnnpack_does() -> None:
    """XNNPACK's integer addition rounds now and then the other way, so only the choice is the
    same; where two classes tie in one of the two, either is right."""
    ours, theirs = outputs(IMAGE, 100)
    rows = np.arange(len(ours))
    winners = theirs[rows, ours.argmax(1)], ours[rows, theirs.argmax(1)]
    agrees = (winners[0] == theirs.max(1)) | (winners[1] == ours.max(1))
    assert agrees.all()
    assert (ours.argmax(1) == theirs.argmax(1)).mean() >= 0.98


def test_keyword_accuracy() -> None:
    features, labels = keywords()
    outputs = zp.Session(zp.load(KWS)).run({"input_1": features})
    right = outputs["Identity"].argmax(1) == labels
    assert len(labels) >= 500
    assert right.mean() >= 0.902  # LiteRT: 0.906 on these 500, 0.902 on all 1,000


def test_imagenet_labels() -> None:
    labels = (DATA / "images" / "imagenet_labels.txt").read_text().splitlines()
    session = zp.Session(zp.load(MOBILENET))
    q = samples(MOBILENET, 2)
    for sample, label, score in zip(q, ("tabby", "bee"), (98, 127), strict=True):
        (scores,) = next(iter(session.run({"input.5": sample[None]}).values()))
        assert label in labels[scores.argmax()]
        assert scores.max() == score


# -- float files, calibrated here -------------------------------------------------------------


def test_a_float_keyword_model_is_quantized_here() -> None:
    graph = zp.load(DATA / "mlperf_tiny" / "kws_float.tflite")
    features, labels = float_keywords()
    real = zp.Session(graph).run({"input_1": features})["Identity"]
    accuracy = (real.argmax(1) == labels).mean()
    assert accuracy >= 0.9
    statistics = zp.calibrate(graph, [features[i : i + 50] for i in range(0, 200, 50)])
    model = zp.quantize(graph, statistics)
    got = zp.Session(model).run({"input_1": features})["Identity"]
    assert (got.argmax(1) == labels).mean() >= accuracy - 0.004


def test_a_float_image_model_is_quantized_here() -> None:
    """Without the labelled data set: the choice agrees with the float model's on patches that
    calibration has not seen, at least as often as that of the official int8 file."""
    graph = zp.load(DATA / "mlperf_tiny" / "ic_float.tflite")
    x = patches(400).astype(np.float32)
    choice = zp.Session(graph).run({"input_1": x})["Identity"].argmax(1)
    statistics = zp.calibrate(graph, [x[i : i + 50] for i in range(0, 200, 50)])
    model = zp.quantize(graph, statistics)
    ours = zp.Session(model).run({"input_1": x[200:]})["Identity"].argmax(1)
    int8 = (x[200:] - 128).astype(np.int8)
    theirs = zp.Session(zp.load(IMAGE)).run({"input_1_int8": int8})["Identity_int8"].argmax(1)
    agreement = (ours == choice[200:]).mean()
    assert agreement >= 0.93
    assert agreement >= (theirs == choice[200:]).mean()


@pytest.mark.parametrize("name", ["kws", "ic", "ad"])
def test_float_files_compute_what_litert_computes(name: str) -> None:
    path = DATA / "mlperf_tiny" / f"{name}_float.tflite"
    graph = zp.load(path)
    shape = tuple(1 if d is None else d for d in graph.value("input_1").shape)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32) * 10
    got = zp.Session(graph).run({"input_1": x})["Identity"]
    want = run_litert(litert(path), {"input_1": x})
    # The keyword file holds int8 weights; LiteRT quantizes its activations as well, on the fly.
    tolerance = 0.05 if name == "kws" else 1e-4
    np.testing.assert_allclose(got, want["Identity"], atol=tolerance, rtol=tolerance)
