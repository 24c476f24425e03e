"""Files of packed weights: reused where they fit, written anew where not, never just believed."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import networks
import zeropoint as zp
from command_line import zeropoint
from mutations import mutated
from zeropoint import _core
from zeropoint.errors import InputError, ModelError
from zeropoint.gguf_container import checksum
from zeropoint.graph import Graph, Node, QuantParams, Value
from zeropoint.model_file import to_bytes, write_model
from zeropoint.session import Session

LEVELS = _core.detected_isa_levels()
PREAMBLE = struct.Struct("<8sQQQ")  # magic, bytes of the file, bytes of the head, its checksum
Outputs = dict[str, bytes]


def quantized(name: str, seed: int = 1) -> bytes:
    graph = networks.NETWORKS[name](seed)
    batches = [networks.samples(graph, 4, s) for s in range(2)]
    return zp.quantize(graph, zp.calibrate(graph, batches)).to_bytes()


def outputs(session: Session) -> Outputs:
    rng = np.random.default_rng(3)
    inputs = {
        info.name: rng.standard_normal([2 if d is None else d for d in info.shape]).astype(
            np.float32
        )
        for info in session.inputs
    }
    return {name: y.tobytes() for name, y in session.run(inputs).items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "residual.gguf"
    path.write_bytes(quantized("residual"))
    return path


@pytest.fixture
def cache(model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "residual.packed"
    assert Session(model, cache=path).cache_state == "written"
    return path


def with_head(content: bytes, head: bytes) -> bytes:
    """The file with another head of the same length and a checksum that fits it."""
    magic, file_bytes, head_bytes, _ = PREAMBLE.unpack_from(content)
    assert PREAMBLE.size + len(head) == head_bytes
    start = PREAMBLE.pack(magic, file_bytes, head_bytes, checksum(b"", head))
    return start + head + content[head_bytes:]


def head_of(content: bytes) -> bytes:
    return content[PREAMBLE.size : PREAMBLE.unpack_from(content)[2]]


# -- the same bytes -------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(networks.NETWORKS))
@pytest.mark.parametrize("level", LEVELS)
def test_results_are_the_same_bytes_on_every_level(name: str, level: str, tmp_path: Path) -> None:
    for kind, content in {
        "float": to_bytes(networks.NETWORKS[name](1)),
        "int8": quantized(name),
    }.items():
        cache = tmp_path / f"{kind}.packed"
        plain = Session(content, isa=level)
        assert plain.cache_state == "off"
        assert plain.cache_path is None
        first = Session(content, isa=level, cache=cache)
        second = Session(content, isa=level, cache=cache, threads=2)
        unfused = Session(content, isa=level, cache=str(cache), fuse=False)
        assert first.cache_state == "written"
        assert second.cache_state == unfused.cache_state == "reused"
        assert second.cache_path == str(cache)
        for session in (first, second, unfused):
            assert outputs(session) == outputs(plain)
            assert session.memory()["packed_bytes"] == plain.memory()["packed_bytes"]


def test_observing_a_session_from_a_cache(model: Path, cache: Path) -> None:
    x = networks.samples(networks.NETWORKS["residual"](1), 1)
    seen: list[dict[str, bytes]] = []
    for session in (Session(model), Session(model, cache=cache)):
        values: dict[str, bytes] = {}
        session.observe(x, lambda name, a, to=values: to.__setitem__(name, a.tobytes()))
        seen.append(values)
    assert seen[0] == seen[1]


def test_the_same_file_for_the_same_model(model: Path, cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "again.packed"
    Session(model, cache=other)
    assert other.read_bytes() == cache.read_bytes()
    assert len(cache.read_bytes()) > Session(model).memory()["packed_bytes"]


def test_a_folder_holds_files_of_many_models_and_levels(model: Path, tmp_path: Path) -> None:
    other = quantized("inverted")
    states = [
        Session(m, isa=level, cache=tmp_path).cache_state
        for _ in range(2)
        for m in (model, other)
        for level in LEVELS
    ]
    half = len(states) // 2
    assert states == ["written"] * half + ["reused"] * half
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 2 * len(LEVELS)
    assert all(name.endswith(".packed") for name in names)
    assert Path(Session(model, cache=tmp_path).cache_path or "").parent == tmp_path


# -- files that do not fit ------------------------------------------------------------------


def expect_rebuilt(model: Path | bytes, cache: Path, **options: str) -> None:
    session = Session(model, cache=cache, **options)
    assert session.cache_state == "written"
    assert outputs(session) == outputs(Session(model, **options))
    assert Session(model, cache=cache, **options).cache_state == "reused"


def test_another_model_is_packed_anew(model: Path, cache: Path) -> None:
    same_shapes = quantized("residual", seed=2)
    expect_rebuilt(same_shapes, cache)
    expect_rebuilt(model, cache)


@pytest.mark.skipif(len(LEVELS) < 2, reason="one ISA level only")
def test_another_level_is_packed_anew(model: Path, cache: Path) -> None:
    expect_rebuilt(model, cache, isa=LEVELS[0])


def test_another_build_is_packed_anew(model: Path, cache: Path) -> None:
    content = cache.read_bytes()
    head = head_of(content)
    at = head.index(b"build ") + len(b"build ")
    assert head[at : at + 32].isalnum()
    cache.write_bytes(
        with_head(content, head[:at] + bytes(reversed(head[at : at + 32])) + head[at + 32 :])
    )
    expect_rebuilt(model, cache)


def test_a_kernel_of_another_name_is_packed_anew(model: Path, cache: Path) -> None:
    content = cache.read_bytes()
    head = head_of(content)
    assert b"gemm_s8_" in head
    cache.write_bytes(with_head(content, head.replace(b"gemm_s8_", b"gemm_s9_", 1)))
    expect_rebuilt(model, cache)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 31, 32, 100, 0.2, 0.5, 0.99])
def test_a_truncated_file_is_written_anew(model: Path, cache: Path, kept: float) -> None:
    content = cache.read_bytes()
    cache.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    expect_rebuilt(model, cache)


def test_an_altered_file_never_alters_a_result(model: Path, cache: Path) -> None:
    expected = outputs(Session(model))
    content = cache.read_bytes()
    head_bytes = PREAMBLE.unpack_from(content)[2]
    rng = np.random.default_rng(5)
    places = np.concatenate([np.arange(8, head_bytes), rng.integers(head_bytes, len(content), 500)])
    rebuilt = 0
    for _ in range(150):
        cache.write_bytes(mutated(content, places, rng))
        session = Session(model, cache=cache)
        assert outputs(session) == expected
        assert session.cache_state in ("written", "reused")  # reused: padding was altered
        rebuilt += session.cache_state == "written"
    assert rebuilt > 100


def test_a_flipped_bit_in_any_block_is_noticed(model: Path, cache: Path) -> None:
    content = cache.read_bytes()
    step = max(1, len(content) // 200)
    head_bytes = PREAMBLE.unpack_from(content)[2]
    noticed = 0
    for at in range(head_bytes, len(content), step):
        altered = bytearray(content)
        altered[at] ^= 16
        cache.write_bytes(altered)
        session = Session(model, cache=cache)
        noticed += session.cache_state == "written"
        assert cache.read_bytes() == (content if session.cache_state == "written" else altered)
    assert noticed > 180


def test_sizes_and_offsets_with_a_fitting_checksum_stay_within_the_file(
    model: Path, cache: Path
) -> None:
    expected = outputs(Session(model))
    content = cache.read_bytes()
    head = head_of(content)
    extremes = [0, 1, 64, len(content) - 64, len(content), 2**31, 2**63, 2**64 - 64, 2**64 - 1]
    rng = np.random.default_rng(6)
    for _ in range(300):
        altered = bytearray(head)
        at = int(rng.integers(len(head) - 8))
        altered[at : at + 8] = struct.pack("<Q", int(rng.choice(np.array(extremes, np.uint64))))
        cache.write_bytes(with_head(content, bytes(altered)))
        session = Session(model, cache=cache)
        assert session.cache_state in ("written", "reused")
        assert outputs(session) == expected


# -- the model file -------------------------------------------------------------------------


def test_a_damaged_model_is_an_error_with_a_cache_too(
    model: Path, cache: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.gguf"
    shutil.copy(model, copy)
    assert Session(copy, cache=cache).cache_state == "reused"  # the content decides, not the path
    content = bytearray(copy.read_bytes())
    for at in (len(content) - 100, len(content) // 2):
        content[at] ^= 1
        copy.write_bytes(content)
        with pytest.raises(ModelError, match="checksum does not fit"):
            Session(copy, cache=cache)
        content[at] ^= 1
    in_place = tmp_path / "in_place.packed"
    copy.write_bytes(content)
    assert Session(copy, cache=in_place).cache_state == "written"
    assert Session(copy, cache=in_place).cache_state == "reused"
    with open(copy, "r+b") as file:
        file.seek(len(content) // 2)
        file.write(bytes([content[len(content) // 2] ^ 1]))
    with pytest.raises(ModelError, match="checksum does not fit"):
        Session(copy, cache=in_place)


def test_a_model_that_cannot_run_leaves_no_file(tmp_path: Path) -> None:
    graph = networks.NETWORKS["residual"](1)
    graph.nodes[-1].op = "no_such_operator"
    with pytest.raises(zp.Error):
        Session(to_bytes(graph), cache=tmp_path / "none.packed")
    assert list(tmp_path.iterdir()) == []


# -- places that cannot be written ----------------------------------------------------------


def test_a_place_that_cannot_be_written_is_a_warning(model: Path, tmp_path: Path) -> None:
    expected = outputs(Session(model))
    for place in (tmp_path / "missing" / "x.packed", model / "x.packed", Path(os.devnull)):
        with pytest.warns(RuntimeWarning, match="packed weights cannot be kept there"):
            session = Session(model, cache=place)
        assert session.cache_state == "failed"
        assert outputs(session) == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(model: Path, cache: Path) -> None:
    cache.parent.chmod(0o555)
    try:
        assert Session(model, cache=cache).cache_state == "reused"
        with pytest.warns(RuntimeWarning, match="ermission"):
            assert Session(model, cache=cache.parent / "other").cache_state == "failed"
    finally:
        cache.parent.chmod(0o755)


@pytest.mark.parametrize("content", [b"x", b"GGUF, but no cache", b"ZPPACKET and more"])
def test_files_of_other_kinds_are_left_alone(model: Path, tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "precious"
    place.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="another kind of file"):
        assert Session(model, cache=place).cache_state == "failed"
    assert place.read_bytes() == content
    with pytest.warns(RuntimeWarning, match="another kind of file"):
        Session(model, cache=model)
    assert Session(model).run(networks.samples(networks.NETWORKS["residual"](1), 1))


@pytest.mark.parametrize("place", ["", 5, b"bytes", "a\0b", True])
def test_what_is_no_path_is_an_error(model: Path, place: object) -> None:
    with pytest.raises(InputError, match="cache must be the path"):
        Session(model, cache=place)  # type: ignore[arg-type]


# -- several processes, memory, the command line --------------------------------------------

RACE = """
import sys
import numpy as np
from zeropoint.session import Session
model, cache, levels = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
for i in range(40):
    session = Session(model, cache=cache, isa=levels[i % len(levels)])
    assert session.cache_state in ("written", "reused"), session.cache_state
    shape = [1 if d is None else d for d in session.inputs[0].shape]
    outputs = session.run(np.full(shape, 0.5, np.float32))
    print("".join(y.tobytes().hex() for y in outputs.values()))
"""


def test_two_processes_at_once(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "shared.packed"
    command = [sys.executable, "-c", RACE, str(model), str(cache), ",".join(LEVELS)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    lines: set[str] = set()
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        lines.update(out.split())
    assert len(lines) == 1  # the same bytes from every level, every time
    assert [p.name for p in tmp_path.iterdir()] == ["shared.packed"]  # no temporary file is left


MEMORY = """
import sys
import numpy as np
from zeropoint.session import Session
def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
model, cache = sys.argv[1], sys.argv[2]
bare = peak()
session = Session(model, cache=cache or None)
session.run(np.zeros((1, 2048), np.int8))
memory = session.memory()
print(session.cache_state, peak() - bare, memory["packed_bytes"] + memory["arena_bytes"])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_peak_memory_is_the_weights_and_little_more(tmp_path: Path) -> None:
    layers, n = 16, 2048  # 64 MiB
    graph = Graph("wide", inputs=["x0"], outputs=[f"x{layers}"])
    weights = np.random.default_rng(0).integers(-127, 128, (n, n)).astype(np.int8)
    for i in range(layers + 1):
        graph.add_value(Value(f"x{i}", "int8", (None, n), QuantParams.per_tensor(0.02, 3)))
    for i in range(layers):
        scale = QuantParams.per_tensor(0.001, 0)
        graph.add_constant(f"w{i}", np.roll(weights, i), scale)
        graph.nodes.append(Node(f"linear{i}", "linear", [f"x{i}", f"w{i}"], [f"x{i + 1}"]))
    model = tmp_path / "wide.gguf"
    write_model(graph, model)
    for cache, state in (("", "off"), (tmp_path / "c", "written"), (tmp_path / "c", "reused")):
        command = [sys.executable, "-c", MEMORY, str(model), str(cache)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        found, peak, needed = done.stdout.split()
        assert found == state
        assert int(needed) > layers * n * n
        assert int(peak) < int(needed) + 30 * 2**20, state


def test_the_command_line_keeps_and_reuses(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cli.packed"
    for _ in range(2):
        done = zeropoint("bench", model, "--repeats", 1, "--cache", cache)
        assert done.returncode == 0
        assert done.stderr == ""
        assert cache.exists()
    assert Session(model, cache=cache).cache_state == "reused"
    done = zeropoint("bench", model, "--repeats", 1, "--cache", tmp_path / "no" / "x")
    assert done.returncode == 0
    assert done.stderr.startswith("zeropoint: warning: ")
    assert done.stderr.count("\n") == 1
