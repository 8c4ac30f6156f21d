"""Captioners that look at the whole picture and at its two halves: A is a strip of their tokens and newlines."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from tests.patchy import PATCH, UNITS, WORDS, Patchy
from vlx.pictures.mosaic import Mosaic
from vlx.protocol.powers import Attended
from vlx.protocol.targets import Prediction, Target, Term, Word
from vlx.protocol.task import Features

ROWS, COLUMNS = 4, 6  # of tokens of a crop
CROP = (ROWS * PATCH, COLUMNS * PATCH)  # (h, w) of a crop as the model sees it
TOKENS = ROWS * COLUMNS + 1  # of a crop, with the newline behind it
NOWHERE = (np.nan, np.nan)

Size = tuple[int, int]
Box = tuple[float, float, float, float]  # top, left, height, width in pixels of the picture
Laid = tuple[list[tuple[float, float]], list[tuple[float, float]]]


def prepare(image: Image.Image) -> Tensor:
    """The user's picture itself, [3, H, W] from 0 to 255."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float()


def boxes(size: Size) -> list[Box]:
    """What the three crops show: the whole picture, and the halves of its longer side."""
    H, W = size
    if W > H:
        return [(0, 0, H, W), (0, 0, H, W / 2), (0, W / 2, H, W / 2)]
    return [(0, 0, H, W), (0, 0, H / 2, W), (H / 2, 0, H / 2, W)]


def laid(box: Box, rows: int = ROWS, columns: int = COLUMNS) -> Laid:
    """Centres and extents of a crop's tokens, row by row."""
    top, left, height, width = box
    size = (height / rows, width / columns)
    cells = [(i, j) for i in range(rows) for j in range(columns)]
    return [(top + (i + 0.5) * size[0] - 0.5, left + (j + 0.5) * size[1] - 0.5) for i, j in cells], [size] * len(cells)


def mosaic(size: Size) -> Mosaic:
    """Where the tokens are: behind each crop's is a newline."""
    centres: list[tuple[float, float]] = []
    extents: list[tuple[float, float]] = []
    for box in boxes(size):
        own = laid(box)
        centres += [*own[0], NOWHERE]
        extents += [*own[1], NOWHERE]
    return Mosaic.of(np.array(centres), np.array(extents), size)


class Cropped(Patchy):
    """`tests.patchy.Patchy` on three crops: A is [B, 12, 1, 75], and every step attends to all of it."""

    name = "cropped"
    prepare: Callable[[Image.Image], Tensor] = staticmethod(prepare)

    def crops(self, inputs: Tensor) -> list[Tensor]:
        """What the vision part is shown, [B, 3, 32, 48] each."""
        cuts = [
            inputs[..., round(top) : round(top + height), round(left) : round(left + width)]
            for top, left, height, width in boxes((inputs.shape[-2], inputs.shape[-1]))
        ]
        return [functional.interpolate(cut, CROP, mode="bilinear", antialias=True) / 255 - 0.5 for cut in cuts]

    def strip(self, pieces: Sequence[Tensor]) -> Tensor:
        """The maps [B, 12, 4, 6] of the crops one after the other, a newline behind each, [B, 12, 1, 75]."""
        newline = self.words[:1, :, None].expand(len(pieces[0]), -1, -1)
        return torch.cat([part for piece in pieces for part in (piece.flatten(2), newline)], 2)[:, :, None]

    def features(self, inputs: Tensor) -> Features:
        with torch.no_grad():
            A = self.strip([functional.conv2d(crop, self.patches, stride=PATCH) for crop in self.crops(inputs)])
        return Features({"patches": A}, "patches", mosaic((inputs.shape[-2], inputs.shape[-1])))

    def attend(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Attended:
        looked = torch.stack([self.look(A[target.row], target.tokens)[1] for target in targets])[:, None]
        queries = torch.zeros(len(targets), looked.shape[2])
        for n, target in enumerate(targets):
            queries[n, [term.step for term in target.terms]] = 1
        cells = torch.arange(A.shape[3])[None]
        return Attended(self.scores(A, targets, rest), (looked,), tuple(range(len(targets))), queries, cells)


class Colours(Cropped):
    """Says "red" and "blue" of what is so: a word's logit is the sum of that colour over the tokens of all crops."""

    def __init__(self, newline: float = 0.0) -> None:
        super().__init__()
        self.patches = torch.zeros(UNITS, 3, PATCH, PATCH)
        for unit, weights in ((0, (1.0, -0.5, -0.5)), (1, (-0.5, -0.5, 1.0))):
            self.patches[unit] = torch.tensor(weights)[:, None, None] / PATCH**2
        self.words = torch.zeros_like(self.words)
        self.words[0] = newline

    def _said(self, A: Tensor) -> Prediction:
        tokens = (WORDS.index("red"), WORDS.index("blue"))
        logprobs = self.look(A, tokens[:1])[0].log_softmax(1)
        words = [Word(WORDS[n], (Term(step, n),), float(logprobs[step, n])) for step, n in enumerate(tokens)]
        return Prediction("red blue", tuple(words), tokens)

    def look(self, A: Tensor, tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
        cells = A.flatten(1).T
        logits = torch.zeros(len(cells), len(WORDS))
        logits[:, WORDS.index("red")], logits[:, WORDS.index("blue")] = cells[:, 0].relu(), cells[:, 1].relu()
        steps = len(tokens) + 1
        return logits.sum(0).expand(steps, -1), torch.full((steps, len(cells)), 1 / len(cells))


class InCrops:
    """A captioner of pictures in one piece, shown the three crops: what comes after its A reads all their tokens."""

    kind = "captioning"
    prepare: Callable[[Image.Image], Tensor] = staticmethod(prepare)

    def __init__(self, inner: Any) -> None:
        self.inner, self.name = inner, "in crops"
        self.notes: tuple[str, ...] = ()
        self.defaults, self.blank, self.vocabulary = inner.defaults, inner.blank, inner.vocabulary
        self.place, self.version, self.predict, self.scores = inner.place, inner.version, inner.predict, inner.scores
        self.digest, self.rather = inner.digest, inner.rather
        there = inner.decoder.positions.detach()  # of the cells of a picture, and so of each crop's
        newline = torch.zeros_like(there[:1])
        inner.decoder.positions = torch.nn.Parameter(torch.cat([there, newline] * 3), requires_grad=False)

    def features(self, inputs: Tensor) -> Features:
        strips, centres, extents = [], [], []
        for top, left, height, width in boxes((inputs.shape[-2], inputs.shape[-1])):
            cuts = inputs[..., round(top) : round(top + height), round(left) : round(left + width)]
            shown = torch.stack([self.inner.prepare(as_image(cut)) for cut in cuts])
            seen = self.inner.features(self.inner.place(shown))
            scale = np.array([height, width]) / shown.shape[-2:]
            strips += [seen.A.flatten(2), torch.zeros_like(seen.A[:, :, 0, :1])]
            centres += [*(seen.grid.centres + 0.5) * scale + (top - 0.5, left - 0.5), NOWHERE]
            extents += [*seen.grid.extents * scale, NOWHERE]
        size = (inputs.shape[-2], inputs.shape[-1])
        A = torch.cat(strips, 2)[:, :, None]
        return Features({seen.layer: A}, seen.layer, Mosaic.of(np.array(centres), np.array(extents), size))


def as_image(pixels: Tensor) -> Image.Image:
    """A prepared picture [3, H, W] from 0 to 255 as PIL has it."""
    return Image.fromarray(pixels.permute(1, 2, 0).round().clamp(0, 255).byte().numpy())


def noise(size: Size, seed: int = 0) -> Image.Image:
    """A blotchy picture (H, W)."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)


def spotted(size: Size, red: Box, blue: Box) -> Image.Image:
    """A grey picture (H, W) with a red and a blue rectangle."""
    pixels = np.full((*size, 3), 128, np.uint8)
    for (top, left, height, width), colour in ((red, (255, 0, 0)), (blue, (0, 0, 255))):
        pixels[int(top) : int(top + height), int(left) : int(left + width)] = colour
    return Image.fromarray(pixels)
