"""What ``zeropoint demo`` runs on: a small float digit classifier, and digits it never saw.

``examples/train_digits.py`` made both files.
"""

from __future__ import annotations

import pathlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = pathlib.Path(__file__).parent
#: Float32 ONNX network: input ``image`` [N, 1, 8, 8] in [0, 1], output ``logits`` [N, 10].
NETWORK = FOLDER / "digits.onnx"
#: Pixels are 0 to this in the data file, 0 to 1 for the network.
PIXEL_MAX = 16


@dataclass(frozen=True)
class Digits:
    """Images as the network takes them, float32 [N, 1, 8, 8], and the digits they show, [N]."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[Any]


def digits(part: str) -> Digits:
    """The digits of ``part``: "calibration" (from the training set) or "test" (held out)."""
    with np.load(FOLDER / "digits.npz") as file:
        images = file[f"{part}_images"].astype(np.float32) / np.float32(PIXEL_MAX)
        return Digits(images, file[f"{part}_labels"])
