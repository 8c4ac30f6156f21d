"""Bias found and removed: a classifier of cars and rockets that looks at the place instead (Grad-CAM, section 6.3).

In the biased training set 95 % of the cars stand in a desert and 95 % of the rockets at night. The network that learns
from it is right on such pictures, and wrong where a car stands in the night. Its maps tell why: the background speaks
for the class of its place. Then the set is balanced, and the background falls silent.

    python examples/bias.py             # the two models, side by side: 45 seconds of one core
    vlx audit examples/bias.py:biased examples.bias:pictures --out runs/biased

The network is the CNN of scenes/captioner, left as it was trained, with the mean of its cells and a linear layer, which
is all that is learnt: its inputs are computed once, and a model takes seconds. Scenes are of 64 pixels, and another
thing stands beside the car or the rocket, so that the balanced set, too, leaves something to get wrong.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vlx
from vlx import scenes
from vlx.data import SceneData
from vlx.evaluation.footprint import Footprint
from vlx.evaluation.intervals import over_pictures, wilson
from vlx.evaluation.metrics.looking import roc_area
from vlx.tasks.classification import Classifier

KINDS, PLACES = ("car", "rocket"), ("desert", "night")  # each kind, and the place that it mostly has in the biased set
USUAL = dict(zip(PLACES, KINDS, strict=True))  # a place → the class that it stands for in the biased set
GROUPS = tuple((kind, place) for kind in KINDS for place in PLACES)
BESIDE = tuple(kind for kind in scenes.KINDS if kind not in KINDS)
SIZE = 64  # pixels a side
BIAS = 0.95
DRAWN = 600  # scenes a group that training sets are taken from; a set has two thirds as many of each kind
PASSES = 60
TRAINED, TRIED = 20_000_000, 30_000_000  # first seeds


def drawn(groups: Sequence[tuple[str, str]], count: int, first: int) -> SceneData:
    """``count`` scenes of kinds in places, by turns, with another thing beside; asked for the two kinds alone."""
    makes = [scenes.Make((beside, kind), place) for beside in BESIDE for kind, place in groups]
    return SceneData(count, first, SIZE, makes=makes, classes=KINDS)


def pictures(count: int = 600) -> SceneData:
    """Balanced pictures that no model was trained on: what the models are tried and audited on."""
    return drawn(GROUPS, count, TRIED)


# Training


class CarOrRocket(nn.Module):
    """Pictures [B, 3, H, W] → logits [B, 2]: a CNN, the mean of its cells, a linear layer."""

    def __init__(self, cnn: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.cnn, self.head = cnn, head

    def forward(self, pictures: Tensor) -> Tensor:
        """The logits of car and rocket."""
        logits: Tensor = self.head(self.cnn(pictures).mean((2, 3)))
        return logits


@dataclass(frozen=True, eq=False)
class Stock:
    """What training sets are taken from: a CNN, and the means of what it makes of each group's scenes, [N, 256]."""

    cnn: nn.Module
    prepare: Any
    means: dict[tuple[str, str], Tensor]


@cache
def stock(count: int = DRAWN) -> Stock:
    """Draw ``count`` scenes of each group, and run the CNN on them once."""
    captioner: Any = vlx.load("scenes/captioner")
    prepare = replace(captioner.prepare, size=SIZE)
    means = {}
    for number, group in enumerate(GROUPS):
        data = drawn([group], count, TRAINED + number * count)
        inputs = torch.stack([prepare(data[n].image) for n in range(count)])
        with torch.no_grad():
            means[group] = torch.cat([captioner.cnn(some).mean((2, 3)) for some in torch.split(inputs, 64)])
    return Stock(captioner.cnn, prepare, means)


def biased(seed: int = 0) -> Classifier:
    """A model of the biased set: 95 % of its cars stand in a desert, 95 % of its rockets at night."""
    return trained("biased", BIAS, seed, stock())


def balanced(seed: int = 0) -> Classifier:
    """A model of as many scenes, half of each kind in each place."""
    return trained("balanced", 0.5, seed, stock())


def trained(name: str, share: float, seed: int, stock: Stock) -> Classifier:
    """A model of a training set in which ``share`` of each kind stands in its own place; a seed is a set."""
    torch.manual_seed(seed)
    sampled, labels = [], []
    for (kind, place), means in stock.means.items():
        count = round(len(means) * 2 / 3 * (share if USUAL[place] == kind else 1 - share))
        sampled.append(means[torch.randperm(len(means))[:count]])
        labels += [KINDS.index(kind)] * count
    head = fitted(torch.cat(sampled), torch.tensor(labels))
    network = CarOrRocket(stock.cnn, head).eval()
    return Classifier(network, "cnn", KINDS, stock.prepare, outputs="softmax", name=f"{name}:{seed}")


def fitted(means: Tensor, labels: Tensor) -> nn.Linear:
    """A linear layer that tells ``labels`` [N] from ``means`` [N, 256]."""
    head = nn.Linear(means.shape[1], len(KINDS))
    optimizer = torch.optim.AdamW(head.parameters(), 0.01)
    for _ in range(PASSES):
        for rows in torch.split(torch.randperm(len(labels)), 64):
            loss = nn.functional.cross_entropy(head(means[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return head


# What the maps tell


@dataclass(frozen=True)
class Seen:
    """What a model makes of one picture of a ``kind`` in a ``place``, and whether it is ``right``.

    ``background``: the sum over the background of the signed map of the class that the place stands for, rather than
    the other: how much the place speaks for it, in nats of log odds. ``heat``: how much of the map max(S, 0) of what
    the model said lies on the car or rocket, 0 to 1.
    """

    kind: str
    place: str
    right: bool
    background: float
    heat: float


def look(task: Classifier, data: SceneData) -> Iterator[Seen]:
    """Explain each picture: what the model says, and the class of the place rather than the other."""
    examples = [data[number] for number in range(len(data))]
    masks = [{concept.name: mask for concept, mask in example.regions.items()} for example in examples]
    kinds = [next(kind for kind in KINDS if kind in there) for there in masks]
    places = [next(place for place in PLACES if place in there) for there in masks]
    images, usual = [example.image for example in examples], [USUAL[place] for place in places]
    others = [KINDS[1 - KINDS.index(kind)] for kind in usual]
    said = vlx.explain_many(task, images, method="hirescam", target="logit", seen=False, check=False)
    contrasts = vlx.explain_many(
        task, images, answer=usual, instead_of=others, method="hirescam", seen=False, check=False
    )
    for kind, place, there, why, contrast in zip(kinds, places, masks, said, contrasts, strict=True):
        footprint = Footprint.of(why.placement)  # what each cell paints on the picture
        thing, background = (footprint.on(there[name]) / footprint.total for name in (kind, place))
        heat = np.maximum(why[0].signed, 0)
        evidence = float((contrast[0].signed * background).sum())
        yield Seen(kind, place, why.text == kind, evidence, float((heat * thing).sum() / max(heat.sum(), 1e-9)))


def column(seen: Sequence[Seen], name: str) -> NDArray[np.float64]:
    """One figure of all pictures, [N]."""
    return np.array([getattr(one, name) for one in seen], float)


def share(right: NDArray[np.float64]) -> str:
    """A share of right answers with its 95 % interval."""
    return "{:.2f} ({:.2f} to {:.2f})".format(right.mean(), *wilson(int(right.sum()), len(right)))


def mean(values: NDArray[np.float64]) -> str:
    """A mean over pictures with its 95 % interval."""
    return "{:.2f} ({:.2f} to {:.2f})".format(values.mean(), *over_pictures(values, np.arange(len(values))))


def told(name: str, seen: Sequence[Seen]) -> Iterator[str]:
    """What there is to tell of a model, a line each."""
    right = column(seen, "right")
    yield f"{name}: right {share(right)} of {len(seen)} balanced pictures"
    for group in GROUPS:
        chosen = np.array([(one.kind, one.place) == group for one in seen])
        yield f"    {group[0]:6} {group[1]:6}  {share(right[chosen])}"
    yield f"    the background speaks for the class of its place by {mean(column(seen, 'background'))} nats"
    yield f"    the share of the heat on the car or rocket: {mean(column(seen, 'heat'))}"


def main(count: int = 600) -> None:
    """Train both models, show them the same pictures, and tell what they look at."""
    began = time.process_time()
    data = pictures(count)
    seen = {name: [*look(model, data)] for name, model in (("biased", biased()), ("balanced", balanced()))}
    for name, some in seen.items():
        print(*told(name, some), sep="\n")
    evidence, heat = ([column(seen[name], what) for name in seen] for what in ("background", "heat"))
    print(
        f"a picture of either model: the background's evidence tells which in {roc_area(*evidence[::-1]):.0%} of pairs,"
    )
    print(f"the little heat on the thing in {roc_area(*heat):.0%} (50% by chance)")
    print(f"{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()
