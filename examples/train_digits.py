"""Train the digit classifier that ``zeropoint demo`` carries, and write its ONNX file and data.

    pip install torch scikit-learn onnx
    python examples/train_digits.py python/zeropoint/demo

Writes into the given folder:

- ``digits.onnx``: a float32 network, input ``image`` [N, 1, 8, 8] in [0, 1], output ``logits``
  [N, 10]: a convolution, a residual block, a depthwise-separable block and a linear classifier.
- ``digits.npz``: ``calibration_images`` and ``test_images`` (uint8 [N, 1, 8, 8], 0 to 16) with
  ``calibration_labels`` and ``test_labels`` (uint8 [N]). Calibration digits are a part of the
  training set; the network never saw the test digits.

The digits are the 1,797 of scikit-learn's ``load_digits`` (the test set of the UCI "Optical
Recognition of Handwritten Digits" data). The seed is fixed and one thread is used, so a second run
on the same machine with the same versions writes the same weights.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 20
TEST_DIGITS = 450
CALIBRATION_DIGITS = 256
PIXEL_MAX = 16.0


class Residual(nn.Module):
    """x + f(x), then ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.body(x))


def digit_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        Residual(24),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1, bias=False),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.Conv2d(48, 48, 3, padding=1, groups=48, bias=False),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.Conv2d(48, 96, 1, bias=False),
        nn.BatchNorm2d(96),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, 10),
    )


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image moved by at most one pixel along each axis, zeros moved in."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    down, right = (torch.randint(0, 3, (len(images),), generator=generator) for _ in range(2))
    rows = down[:, None] + torch.arange(8)
    columns = right[:, None] + torch.arange(8)
    index = torch.arange(len(images))[:, None, None]
    return padded[index, 0, rows[:, :, None], columns[:, None, :]][:, None]


def train(images: torch.Tensor, labels: torch.Tensor, epochs: int) -> nn.Module:
    generator = torch.Generator().manual_seed(SEED)
    network = digit_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-2)
    batch = 64
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for i in range(len(images) // batch):
            chosen = order[i * batch : (i + 1) * batch]
            logits = network(shifted(images[chosen], generator))
            loss = nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d}  loss {total / (len(images) // batch):.4f}")
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the digit classifier of `zeropoint demo`.")
    parser.add_argument("folder", type=pathlib.Path, help="where digits.onnx and digits.npz go")
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    pixels, digits = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 1, 8, 8).astype(np.uint8)
    labels = digits.astype(np.uint8)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=TEST_DIGITS, random_state=SEED, stratify=labels
    )

    def tensor(x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(x.astype(np.float32) / PIXEL_MAX)

    network = train(
        tensor(train_images), torch.from_numpy(train_labels.astype(np.int64)), options.epochs
    )
    with torch.no_grad():
        predicted = network(tensor(test_images)).argmax(1).numpy()
    print(
        f"accuracy on {len(test_labels)} held-out digits: {np.mean(predicted == test_labels):.2%}"
    )

    options.folder.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        network,
        (torch.zeros(1, 1, 8, 8),),
        options.folder / "digits.onnx",
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
        opset_version=17,
        dynamo=False,
    )
    np.savez_compressed(
        options.folder / "digits.npz",
        calibration_images=train_images[:CALIBRATION_DIGITS],
        calibration_labels=train_labels[:CALIBRATION_DIGITS],
        test_images=test_images,
        test_labels=test_labels,
    )
    for name in ("digits.onnx", "digits.npz"):
        print(f"{options.folder / name}: {(options.folder / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
