"""Write the five networks that are measured: real architectures, random weights.

usage: networks.py DIRECTORY [--models a,b]

Writes ``m.onnx`` for every network ``m``, ``m.pt`` and ``m.int8.pt`` for PyTorch, and, where
litert-torch and ai-edge-quantizer are installed, ``m.tflite`` and ``m.int8.tflite`` for LiteRT.
Existing files are kept. int8 files are calibrated with the same 8 samples as those of prepare.py.

Weights are drawn from a fixed seed with He's variance; batch normalizations have seen a few random
batches, so that activations stay in an ordinary range from layer to layer.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from engines import NETWORKS, calibration_samples
from torch import Tensor, nn

Activation = Callable[[], nn.Module]


def conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class Residual(nn.Module):
    """after(body(x) + shortcut(x))"""

    def __init__(self, body: list[nn.Module], shortcut: list[nn.Module], after: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)
        self.shortcut = nn.Sequential(*shortcut)
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.after(self.body(x) + self.shortcut(x))
        return y


def head(channels: int, *layers: nn.Module) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *layers, nn.Linear(channels, 1000)]


def resnet(depths: tuple[int, ...], bottleneck: bool) -> nn.Module:
    """He et al., Deep Residual Learning (2015); strides as in version 1.5."""
    layers: list[nn.Module] = [*conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, depth in enumerate(depths):
        width = 64 << stage
        outputs = width * 4 if bottleneck else width
        for block in range(depth):
            stride = 2 if stage > 0 and block == 0 else 1
            if bottleneck:
                body = [*conv(channels, width, 1), nn.ReLU(), *conv(width, width, 3, stride)]
                body += [nn.ReLU(), *conv(width, outputs, 1)]
            else:
                body = [*conv(channels, width, 3, stride), nn.ReLU(), *conv(width, width, 3)]
            same = stride == 1 and channels == outputs
            shortcut = [] if same else conv(channels, outputs, 1, stride)
            layers.append(Residual(body, shortcut, nn.ReLU()))
            channels = outputs
    return nn.Sequential(*layers, *head(channels))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(8, (channels // 4 + 4) // 8 * 8)
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.scale(x)
        return y


def inverted_residual(
    inputs: int,
    hidden: int,
    outputs: int,
    kernel: int,
    stride: int,
    activation: Activation,
    excite: bool = False,
) -> nn.Module:
    body: list[nn.Module] = []
    if hidden != inputs:
        body += [*conv(inputs, hidden, 1), activation()]
    body += [*conv(hidden, hidden, kernel, stride, groups=hidden), activation()]
    if excite:
        body.append(SqueezeExcite(hidden))
    body += conv(hidden, outputs, 1)
    residual = stride == 1 and inputs == outputs
    return Residual(body, [], nn.Identity()) if residual else nn.Sequential(*body)


def mobilenet_v2() -> nn.Module:
    """Sandler et al., Inverted Residuals and Linear Bottlenecks (2018), table 2."""
    layers: list[nn.Module] = [*conv(3, 32, 3, 2), nn.ReLU6()]
    channels = 32
    for expansion, outputs, repeats, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):  # fmt: skip
        for block in range(repeats):
            hidden, step = channels * expansion, stride if block == 0 else 1
            layers.append(inverted_residual(channels, hidden, outputs, 3, step, nn.ReLU6))
            channels = outputs
    return nn.Sequential(*layers, *conv(channels, 1280, 1), nn.ReLU6(), *head(1280))


def mobilenet_v3_large() -> nn.Module:
    """Howard et al., Searching for MobileNetV3 (2019), table 1."""
    layers: list[nn.Module] = [*conv(3, 16, 3, 2), nn.Hardswish()]
    channels = 16
    for kernel, hidden, outputs, excite, activation, stride in (
        (3, 16, 16, False, nn.ReLU, 1), (3, 64, 24, False, nn.ReLU, 2),
        (3, 72, 24, False, nn.ReLU, 1), (5, 72, 40, True, nn.ReLU, 2),
        (5, 120, 40, True, nn.ReLU, 1), (5, 120, 40, True, nn.ReLU, 1),
        (3, 240, 80, False, nn.Hardswish, 2), (3, 200, 80, False, nn.Hardswish, 1),
        (3, 184, 80, False, nn.Hardswish, 1), (3, 184, 80, False, nn.Hardswish, 1),
        (3, 480, 112, True, nn.Hardswish, 1), (3, 672, 112, True, nn.Hardswish, 1),
        (5, 672, 160, True, nn.Hardswish, 2), (5, 960, 160, True, nn.Hardswish, 1),
        (5, 960, 160, True, nn.Hardswish, 1),
    ):  # fmt: skip
        layers.append(
            inverted_residual(channels, hidden, outputs, kernel, stride, activation, excite)
        )
        channels = outputs
    last = head(1280, nn.Linear(960, 1280), nn.Hardswish())
    return nn.Sequential(*layers, *conv(channels, 960, 1), nn.Hardswish(), *last)


class EncoderLayer(nn.Module):
    """One layer of BERT; the sizes are those of MiniLM-L6."""

    def __init__(self, width: int = 384, heads: int = 12, hidden: int = 1536) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        def split(projected: Tensor) -> Tensor:
            return projected.reshape(*projected.shape[:2], self.heads, -1).transpose(1, 2)

        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1)
        x = self.attention_norm(x + self.out((scores @ v).transpose(1, 2).flatten(-2)))
        y: Tensor = self.norm(x + self.feed_forward(x))
        return y


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: resnet((2, 2, 2, 2), bottleneck=False),
    "resnet50": lambda: resnet((3, 4, 6, 3), bottleneck=True),
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_large": mobilenet_v3_large,
    "minilm_encoder_128": lambda: nn.Sequential(*[EncoderLayer() for _ in range(6)]),
}


def build(name: str) -> nn.Module:
    """The network in evaluation mode."""
    torch.manual_seed(0)
    network = BUILDERS[name]()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, 0.0, 0.1)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(4, *NETWORKS[name][1:]))
    return network.eval()


def save_int8(network: nn.Module, samples: list[Tensor], path: Path) -> None:
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    observed = prepare_fx(network, get_default_qconfig_mapping("x86"), (samples[0],))
    for x in samples:
        observed(x)
    torch.jit.save(torch.jit.freeze(torch.jit.trace(convert_fx(observed), samples[0])), path)


def save_litert(network: nn.Module, samples: list[Tensor], target: Path, int8: Path) -> None:
    import litert_torch
    from ai_edge_quantizer import quantizer, recipe

    if not target.exists():
        litert_torch.convert(network, (samples[0],)).export(str(target))
    if not int8.exists():
        tool = quantizer.Quantizer(str(target))
        tool.load_quantization_recipe(recipe.static_wi8_ai8())
        data = {"serving_default": [{"args_0": x.numpy()} for x in samples]}
        tool.quantize(tool.calibrate(data)).export_model(str(int8))


def write(name: str, directory: Path) -> None:
    network = build(name)
    samples = [torch.from_numpy(x) for x in calibration_samples(list(NETWORKS[name]))]

    def missing(suffix: str) -> Path | None:
        path = directory / f"{name}{suffix}"
        return None if path.exists() else path

    if path := missing(".onnx"):
        torch.onnx.export(
            network, (samples[0],), path, input_names=["input"], output_names=["output"],
            opset_version=17, dynamo=False,
        )  # fmt: skip
    if path := missing(".pt"):
        torch.jit.save(torch.jit.freeze(torch.jit.trace(network, samples[0])), path)
    if path := missing(".int8.pt"):
        try:
            save_int8(network, samples, path)
        except Exception as error:  # whatever the tool does not know about a network
            print(f"  ({name}: PyTorch does not quantize it: {str(error).splitlines()[0]})")
    try:
        save_litert(
            network, samples, directory / f"{name}.tflite", directory / f"{name}.int8.tflite"
        )
    except ImportError as error:
        print(f"  ({name}: no files for LiteRT: {error})")
    except Exception as error:
        print(f"  ({name}: LiteRT does not convert it: {str(error).splitlines()[0]})")
    print("wrote", name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--models", default=",".join(BUILDERS))
    args = parser.parse_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")  # of deprecation, by the dozen
    with torch.no_grad():
        for name in args.models.split(","):
            write(name, args.directory)


if __name__ == "__main__":
    main()
