"""Damaged copies of a file, the same ones for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def mutated(content: bytes, places: npt.NDArray[Any], rng: np.random.Generator) -> bytes:
    """Truncated, bits flipped, bytes replaced, or 32-bit words made extreme, at ``places``."""
    altered = bytearray(content)
    kind = rng.integers(4)
    if kind == 0:
        return bytes(altered[: rng.integers(len(altered))])
    for at in rng.choice(places, rng.integers(1, 5)).tolist():
        if kind == 1:
            altered[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            altered[at] = int(rng.integers(256))
        else:
            word = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.integers(2**32)]))
            altered[at & ~3 : (at & ~3) + 4] = word.to_bytes(4, "little")
    return bytes(altered)
