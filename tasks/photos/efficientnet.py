"""EfficientNet-Lite0: a small CNN trained on ImageNet, with maps at two depths (Tan and Le, arXiv 1905.11946).

The Lite variant has no squeeze-and-excitation and ReLU6 for swish. Convolutions are padded as TensorFlow's "SAME", more
at the right and the bottom, as the published weights were trained.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 1000
MIDDLE, LAST, WIDE = 112, 320, 1280  # units of the maps at strides 16 and 32, and of the last one, widened


class _Stage(NamedTuple):
    blocks: int
    units: int
    kernel: int
    stride: int
    expand: int


STAGES = (
    _Stage(1, 16, 3, 1, 1),
    _Stage(2, 24, 3, 2, 6),
    _Stage(2, 40, 5, 2, 6),
    _Stage(3, 80, 3, 2, 6),
    _Stage(3, MIDDLE, 5, 1, 6),
    _Stage(4, 192, 5, 2, 6),
    _Stage(1, LAST, 3, 1, 6),
)
MIDDLE_STAGE = 4


class SameConv2d(nn.Conv2d):
    """A convolution padded so that its output has ⌈side / stride⌉ cells, the odd pixel at the right and the bottom."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, K, H, W] → [B, K', ⌈H / stride⌉, ⌈W / stride⌉]."""
        pads = []
        for side, kernel, stride in zip(reversed(input.shape[2:]), self.kernel_size, self.stride, strict=True):
            missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(functional.pad(input, pads))


def _convolved(
    channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    return [
        SameConv2d(channels_in, channels_out, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01),
    ]


class _Block(nn.Module):
    """A mobile inverted bottleneck: expand, convolve each unit by itself, project; added to its input where it fits."""

    def __init__(self, given: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        wide = given * stage.expand
        expand = [*_convolved(given, wide), nn.ReLU6()] if stage.expand > 1 else []
        self.layers = nn.Sequential(
            *expand, *_convolved(wide, wide, stage.kernel, stride, wide), nn.ReLU6(), *_convolved(wide, stage.units)
        )
        self.skips = stride == 1 and given == stage.units

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layers(x)
        return made + x if self.skips else made


class EfficientNetLite(nn.Module):
    """Pictures [B, 3, H, W], (RGB − 127) / 128, → class logits [B, 1000]; `maps` gives what lies below them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolved(3, 32, 3, 2), nn.ReLU6())
        stages, units = [], 32
        for stage in STAGES:
            blocks = []
            for number in range(stage.blocks):
                blocks.append(_Block(units, stage, stage.stride if number == 0 else 1))
                units = stage.units
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.head = nn.Sequential(*_convolved(units, WIDE), nn.ReLU6())
        self.classifier = nn.Linear(WIDE, CLASSES)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures → the map at stride 16, [B, 112, H/16, W/16], and the last one, [B, 1280, H/32, W/32]."""
        x, middle = self.stem(images), None
        for number, stage in enumerate(self.stages):
            x = stage(x)
            middle = x if number == MIDDLE_STAGE else middle
        assert middle is not None
        return middle, self.head(x)

    def forward(self, images: Tensor) -> Tensor:
        """Class logits, [B, 1000]."""
        return self.classified(self.maps(images)[1])

    def classified(self, last: Tensor) -> Tensor:
        """The last map → class logits, [B, 1000]."""
        logits: Tensor = self.classifier(last.mean((2, 3)))
        return logits


def renamed(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights of EfficientNet-Lite0 under the names of `EfficientNetLite`, by position; shapes are compared.

    Raises ValueError where they do not fit, naming the first tensor.
    """
    expected = EfficientNetLite().state_dict()
    if len(expected) != len(published):
        raise ValueError(f"these weights hold {len(published)} tensors, EfficientNet-Lite0 has {len(expected)}")
    weights: dict[str, Tensor] = {}
    for (name, wanted), (published_name, tensor) in zip(expected.items(), published.items(), strict=True):
        if wanted.shape != tensor.shape or name.rpartition(".")[2] != published_name.rpartition(".")[2]:
            raise ValueError(
                f"{published_name} is {list(tensor.shape)}; {name} of EfficientNet-Lite0 is {list(wanted.shape)}"
            )
        weights[name] = tensor.to(torch.float32) if tensor.is_floating_point() else tensor
    return weights
