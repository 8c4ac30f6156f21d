"""The small CNN of the embedded captioners."""

from torch import Tensor, nn


def _block(given: int, made: int, stride: int = 1, kernel: int = 3) -> list[nn.Module]:
    convolution = nn.Conv2d(given, made, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(made), nn.ReLU()]


class SceneCnn(nn.Module):
    """Pictures [B, 3, H, W] → A [B, units, H/8, W/8], rectified; ``wide``: A [B, units, H/16, W/16].

    A cell sees 27 × 27 pixels, less than one object, on purpose: with 43 pixels the captions were as good, but words
    were read from cells beside their object as often as from cells on it. A ``wide`` one sees 75 × 75, for decoders
    that are told the mean of A only: there a cell must see a whole object, to know which colour is whose.
    """

    def __init__(self, units: int = 256, *, wide: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_block(3, 32, stride=2),
            *_block(32, 48),
            *_block(48, 96, stride=2),
            *_block(96, 160),
            *_block(160, 192, stride=2),
            *_block(192, units, kernel=1),
        )
        self.context = nn.Sequential(*_block(units, 128, stride=2), *_block(128, units)) if wide else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """A, [B, units, h, w]."""
        features: Tensor = self.context(self.layers(images))
        return features
