"""Running the installed command line in a process of its own; the digits model, quantized once."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zeropoint import demo

TIMEOUT_SECONDS = 600  # under emulation, on a busy machine


def zeropoint(
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    cwd: object = None,
) -> subprocess.CompletedProcess[str]:
    """``zeropoint <arguments>``; ``prefix`` is a command that runs it, such as an emulator."""
    env = {k: v for k, v in os.environ.items() if k != "ZEROPOINT_ISA"}
    return subprocess.run(
        [*prefix, sys.executable, "-m", "zeropoint", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env={**env, **(environment or {})},
        cwd=str(cwd or folder()),
        check=False,
    )


def succeed(*arguments: object, **options: Any) -> str:
    """Standard output of a command that must succeed and complain of nothing."""
    done = zeropoint(*arguments, **options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def json_of(*arguments: object, **options: Any) -> dict[str, Any]:
    """The one JSON object that the command prints with --json."""
    result = json.loads(succeed(*arguments, "--json", **options))
    assert isinstance(result, dict)
    return result


def fail(*arguments: object, code: int = 1, **options: Any) -> str:
    """The message of a command that must fail with one clear line and nothing else."""
    done = zeropoint(*arguments, **options)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("zeropoint: error: ")
    return lines[0].removeprefix("zeropoint: error: ")


_folder: tempfile.TemporaryDirectory[str] | None = None


def folder() -> pathlib.Path:
    """A folder for this test process, removed when it ends."""
    global _folder
    if _folder is None:
        _folder = tempfile.TemporaryDirectory(prefix="zeropoint-tests-")
    return pathlib.Path(_folder.name)


@functools.cache
def samples(part: str = "test", count: int = 32) -> pathlib.Path:
    """An .npz file with ``count`` digits."""
    path = folder() / f"{part}-{count}.npz"
    np.savez(path, image=demo.digits(part).images[:count])
    return path


@functools.cache
def quantized() -> pathlib.Path:
    """The demo's network, quantized by the command line."""
    path = folder() / "digits.gguf"
    succeed("quantize", demo.NETWORK, "--calibration", samples("calibration", 64), "-o", path)
    return path
