"""Pictures put in the place of the user's own, to ask what an answer owes to it: its references.

A picture in one "blank" colour is like nothing that a model trained on another ground has seen. So the references are
pictures of the user's own or, by default, five made of the one picture, in which something of it stays and something
goes: its median colour, its tiles shuffled, its pixels shuffled, its channels permuted, and inverted. What is measured
with them is bounded for each: the mean of min(|log p − log p′|, 1 nat) says whether the picture was looked at.
"""

import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import InputError
from vlx.methods import engine
from vlx.pictures.edits import made_of, median_picture
from vlx.pictures.opening import open_image
from vlx.protocol.identity import Kept
from vlx.protocol.nested import nested, tensors
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task

MOST = 1.0  # nats that one reference may count in `looked`
OUTSIDE = (0.1, 1.5)  # ρ of references whose features are unlike the picture's own
BATCH = 16  # pictures that the vision part takes at once
FLAT = 3.0  # of 255: a picture whose channels all deviate less is one colour

LEAST = 56  # pixels along each side of references at half their size

_kept, _half = Kept(), Kept()


def filling(picture: Image.Image, given: "References | None" = None) -> Image.Image:
    """What hidden parts of a picture are filled with: its median colour, or the first picture of the user's own.

    The user's picture is resized to this one's size.
    """
    return median_picture(picture) if given is None else given.pictures[0].resize(picture.size)


@dataclass(frozen=True, eq=False)
class References:
    """Pictures of the user's own, by name."""

    names: tuple[str, ...]
    pictures: tuple[Image.Image, ...]

    @classmethod
    def of(cls, given: Any) -> "References | None":
        """``references=`` of `vlx.explain`: a folder, or pictures in a list; None for those made of the one picture.

        Raises InputError for one picture, none, and a folder without any.
        """
        if given is None:
            return None
        sources = _in_folder(Path(os.fsdecode(given))) if isinstance(given, str | os.PathLike) else given
        if not isinstance(sources, Iterable) or isinstance(sources, np.ndarray | Tensor | dict | bytes):
            raise InputError(
                f"references={type(given).__name__}: give pictures of your own in a list, or their folder; leave it "
                "out for five made of the picture"
            )
        opened = [open_image(source) for source in sources]
        if not opened:
            raise InputError(
                "references holds no picture; give some of your own, or leave it out for five made of the picture"
            )
        return cls(_distinct([picture.name for picture in opened]), tuple(picture.image for picture in opened))

    @cached_property
    def digest(self) -> str:
        """The same for the same pictures in the same order."""
        whole = hashlib.sha256()
        for picture in self.pictures:
            whole.update(repr((picture.size, picture.mode)).encode() + picture.tobytes())
        return whole.hexdigest()


def _in_folder(path: Path) -> list[Path]:
    if not path.is_dir():
        raise InputError(
            f"references={str(path)!r} is no folder; give a folder of pictures of your own, or pictures in a list"
        )
    known = Image.registered_extensions()
    return sorted(entry for entry in path.iterdir() if entry.suffix.lower() in known and not entry.name.startswith("."))


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names by which each picture can be told: those that stand there twice are numbered."""
    return tuple(name if names.count(name) == 1 else f"{name} ({n + 1})" for n, name in enumerate(names))


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """References as the model sees them: their names, whether they are the user's own, and features of R rows.

    ``flat`` says which are one plain colour.
    """

    names: tuple[str, ...]
    own: bool
    flat: tuple[bool, ...]
    features: Features


def elsewhere(
    task: Task, picture: Image.Image, inputs: Tensor, given: References | None = None, *, asked: Sequence[Target] = ()
) -> Elsewhere:
    """The references of a picture whose prepared form is ``inputs`` [3, H, W], in one run of the vision part.

    Those made of the picture are shown at half its sides, a quarter of the cost, to a CNN that takes pictures of that
    size and whose scores of what is ``asked`` take its smaller A; without ``asked`` they keep their size.
    Pictures of the user's own are resized to the picture's size where ``prepare`` does not give them its shape; they
    are seen once and kept until the weights change. One that is the picture itself is left out.

    Raises InputError when none remains.
    """
    if given is None:
        return made_elsewhere(task, [picture], asked=asked)[0]
    chosen = [n for n, one in enumerate(given.pictures) if not same(one, picture)]
    if not chosen:
        raise InputError("references hold nothing but the picture itself; give other pictures of your own")
    features = _own_features(task, given, picture, inputs)
    if len(chosen) < len(given.pictures):
        features = features.rows(chosen)
    flat = tuple(_is_flat(given.pictures[n]) for n in chosen)
    return Elsewhere(tuple(given.names[n] for n in chosen), True, flat, features)


def made_elsewhere(task: Task, pictures: Sequence[Image.Image], *, asked: Sequence[Target] = ()) -> list[Elsewhere]:
    """As `elsewhere`, for several pictures that ``prepare`` gives one shape: those made of each, seen together."""
    made = [made_of(picture) for picture in pictures]
    features = _made_seen(task, [one for named in made for one in named.values()], asked)
    shown, first = [], 0
    for named in made:
        seen = features if len(made) == 1 else features.rows(range(first, first + len(named)))
        shown.append(Elsewhere(tuple(named), False, (False,) * len(named), seen))
        first += len(named)
    return shown


def same(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures have the same pixels."""
    return one.size == other.size and one.mode == other.mode and one.tobytes() == other.tobytes()


def _is_flat(picture: Image.Image) -> bool:
    return bool(np.asarray(picture, np.float64).std((0, 1)).max() < FLAT)


def _own_features(task: Task, given: References, picture: Image.Image, inputs: Tensor) -> Features:
    key = (given.digest, tuple(inputs.shape), picture.size, task.version())
    kept = _kept.of(task)
    if key not in kept:
        shown = [_prepared(task, one, picture, inputs) for one in given.pictures]
        parts = [
            task.features(task.place(torch.stack(shown[first : first + BATCH])))
            for first in range(0, len(shown), BATCH)
        ]
        kept.clear()
        kept[key] = joined(parts)
    features: Features = kept[key]
    return features


def _prepared(task: Task, one: Image.Image, picture: Image.Image, inputs: Tensor) -> Tensor:
    prepared = task.prepare(one)
    return prepared if prepared.shape == inputs.shape else task.prepare(one.resize(picture.size))


def _made_seen(task: Task, pictures: Sequence[Image.Image], asked: Sequence[Target]) -> Features:
    parts = []
    for first in range(0, len(pictures), BATCH):
        shown = torch.stack([task.prepare(picture) for picture in pictures[first : first + BATCH]])
        with torch.no_grad():
            small = _halved(task, shown, asked) if asked else None
            parts.append(task.features(task.place(shown)) if small is None else small)
    return joined(parts)


def _halved(task: Task, shown: Tensor, asked: Sequence[Target]) -> Features | None:
    """The features of pictures [R, C, H, W] at half their sides; None where the model does not take them.

    Whether it does is tried once for each shape. What has more features than a map (class tokens) keeps its size.
    """
    known, key = _half.of(task), (tuple(shown.shape[1:]), task.version())
    if min(shown.shape[2:]) < 2 * LEAST or not shown.is_floating_point() or not known.get(key, True):
        return None
    try:
        small = nn.functional.interpolate(shown, [side // 2 for side in shown.shape[2:]], mode="area")
        features = task.features(task.place(small))
        takes = known.get(key, False) or (
            features.rest is None and bool(torch.isfinite(engine.ask(task, features, [replace(asked[0], row=0)])).all())
        )
    except Exception:  # a model's code raises anything
        takes = False
    known[key] = takes
    return features if takes else None


def joined(parts: Sequence[Features]) -> Features:
    """One batch of several features; their pictures have the same shape."""
    if len(parts) == 1:
        return parts[0]
    maps = {layer: torch.cat([part.maps[layer] for part in parts]) for layer in parts[0].maps}
    columns = zip(*(tensors(part.rest) for part in parts), strict=True)
    rest = nested(lambda _: torch.cat(next(columns)), parts[0].rest)
    return Features(maps, parts[0].layer, parts[0].grid, rest)


def batches(parts: Sequence[Features]) -> list[Features]:
    """Neighbours as one batch where their A has one shape: references may be at half their sides."""
    runs = groupby(parts, key=lambda part: part.A.shape[1:])
    return [joined(list(run)) for _, run in runs]


# What is measured


def looked(there: float, gone: Sequence[float]) -> float:
    """L: how far references move log p, each counted up to 1 nat: mean of min(|log p − log p′|, 1), in [0, 1].

    Of a contrast the differences of log p. NaN where one is NaN; two infinities of one sign do not differ.
    """
    return float(np.mean([min(abs(_less(there, other)), MOST) for other in gone]))


def owed(there: float, gone: Sequence[float], room: float = math.inf) -> list[float]:
    """max(log p, −room) − max(log p′, −room) for each reference, in nats: never beyond ``room`` either way.

    ``room`` is log C of C answers to choose from (of a word of several tokens, as often): below −log C an answer is
    likelier by chance, and how far below is not counted. Infinity cuts nothing.
    """
    return [_less(max(there, -room), max(other, -room)) for other in gone]


def _less(there: float, other: float) -> float:
    return 0.0 if there == other else there - other


def ratio(A: Tensor, there: Tensor) -> list[float]:
    """ρ of each row of A [R, K, h, w]: the mean norm of its cells over that of the picture's own [1, K, h, w]."""
    norms = A.double().norm(dim=1).mean((1, 2)) / there.double().norm(dim=1).mean()
    return [float(value) for value in norms]


def strange(names: Sequence[str], ratios: Sequence[float], made: bool = True) -> str:
    """A note on the references whose features lie outside the picture's own; empty where none does.

    ``made``: whether they were made of the picture, not given by the user.
    """
    unlike = [
        f"{name} ({value:.2g})"
        for name, value in zip(names, ratios, strict=True)
        if not OUTSIDE[0] <= value <= OUTSIDE[1]
    ]
    if not unlike:
        return ""
    few = ", ".join(unlike[:4]) + (f" and {len(unlike) - 4} more" if len(unlike) > 4 else "")
    fairer = (
        "pictures of your own (references=[…]) are the fairer question" if made else "seen may say too much of them"
    )
    return (
        f"to the model these references are unlike the picture (norm of its cells, .1 to 1.5 is usual): {few}; {fairer}"
    )
