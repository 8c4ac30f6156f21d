"""Does an audit find a bias in photographs and networks that are not ours? ``python -m benchmarks.bias_abroad``.

Things cut out of COCO photographs are pasted on Flickr8k photographs of two places, at a size and a spot by lot. A
classifier is a published network, left as it is, with the mean of its cells and a linear layer, which is all that is
learnt: of things of which 95 % stand in the place of their kind (biased), or half (balanced). Audited is on balanced
pictures; neither their things nor their places were trained on. Two worlds of kinds and places by two networks, a seed
a training set; with masks of the thing and of its place, and without. What an audit calls material was chosen on drawn
scenes (`benchmarks.bias`) and is judged here.

    python -m benchmarks.bias_abroad --real ../shared/real --coco DIR --flickr DIR
"""

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn

import vlx
from benchmarks import paper_models
from benchmarks.bias import leans
from benchmarks.bias_pictures import WORLDS, Pasted, World, cut_outs, photographs
from benchmarks.clock import console_for_tables
from examples import bias
from vlx.auditing import Audit
from vlx.auditing.answered import CONCEPTS
from vlx.evaluation.intervals import wilson
from vlx.evaluation.metrics.looking import roc_area
from vlx.tasks.classification import Classifier

A_GROUP = 160  # pictures of each kind in each place that training sets are taken from
KEPT = 3000  # feature maps that are remembered

SHARES = {"biased": bias.BIAS, "balanced": 0.5}
COLUMNS = ("models", "seed", "right", "worst group", "strength", "leans", "without masks", "leans", "others found")

T = TypeVar("T")


# Models


class Remembered(nn.Module):
    """A network that keeps what it made of pictures [B, 3, H, W]: all models of a world are shown the same ones."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.kept: dict[bytes, Tensor] = {}

    def forward(self, pictures: Tensor) -> Tensor:
        """Its feature maps [B, K, h, w]; where gradients of the pictures are asked for they are made anew."""
        if pictures.requires_grad:
            made: Tensor = self.network(pictures)
            return made
        keys = [hashlib.blake2b(one.contiguous().numpy().tobytes()).digest() for one in pictures]
        maps = {key: self.kept[key] for key in keys if key in self.kept}
        new = [row for row, key in enumerate(keys) if key not in maps]
        if new:
            maps |= dict(zip([keys[row] for row in new], self.network(pictures[new]).unbind(), strict=True))
            if len(self.kept) < KEPT:
                self.kept.update(maps)
        return torch.stack([maps[key] for key in keys])


@dataclass(frozen=True, eq=False)
class Stock:
    """A network in a world: the means of its cells over pictures of each group [N, K], from which models are made."""

    world: World
    network: Remembered
    like: Classifier
    train: Pasted

    @cached_property
    def means(self) -> dict[tuple[str, str], Tensor]:
        """Of the pictures of each group."""
        means: dict[tuple[str, str], list[Tensor]] = {group: [] for group in self.world.groups}
        with torch.no_grad():
            for number in range(len(self.train)):
                inputs = self.like.prepare(self.train[number].image)[None]
                means[self.train.group(number)].append(self.network.network(inputs).mean((0, 2, 3)))
        return {group: torch.stack(some) for group, some in means.items()}

    def model(self, share: float, seed: int) -> Classifier:
        """A model of a set in which ``share`` of each kind stands in its place."""
        torch.manual_seed(seed)
        sampled, labels = [], []
        for (kind, place), means in self.means.items():
            count = round(len(means) * 2 / 3 * (share if self.world.usual[place] == kind else 1 - share))
            sampled.append(means[torch.randperm(len(means))[:count]])
            labels += [list(self.world.kinds).index(kind)] * count
        head = bias.fitted(torch.cat(sampled), torch.tensor(labels))
        whole = bias.CarOrRocket(self.network, head).eval()
        names = list(self.world.kinds)
        return Classifier(whole, "cnn", names, self.like.prepare, outputs="softmax", name=f"{self.like.name}:{seed}")


def networks() -> dict[str, tuple[nn.Module, Classifier]]:
    """Published networks up to their last feature map, and how each is shown pictures."""
    mobile, lite = paper_models.mobilenet(), paper_models.efficientnet()
    stages = [lite.model.get_submodule(name) for name in ("stem", "stages", "head")]
    return {
        "MobileNetV2": (mobile.model.get_submodule("features"), mobile),
        "EfficientNet-Lite0": (nn.Sequential(stages[0], *stages[1].children(), stages[2]), lite),
    }


# Judged


@dataclass(frozen=True, eq=False)
class Judged:
    """One model: the share of right answers in each group, its audits with masks (``told``) and without."""

    seed: int
    groups: Mapping[tuple[str, str], float]
    told: Audit
    untold: Audit


def names_the_bias(audit: Audit, world: World) -> bool:
    """Whether a class is found to lean on the place of its kind; without masks on any kind of cells."""
    found = leans(audit)
    return bool(found) if audit.concepts_are != CONCEPTS else bool(found & expected(world))


def expected(world: World) -> set[tuple[str, str]]:
    """The leans that a biased set teaches: each kind on its place."""
    return {(kind, place) for place, kind in world.usual.items()}


def judged(stock: Stock, tried: Pasted, share: float, seeds: Sequence[int]) -> Iterator[Judged]:
    """A model of each seed, audited on the same pictures."""
    untold = Pasted(tried.world, tried.things, tried.places, len(tried), seed=tried.seed, masks=False)
    for seed in seeds:
        model = stock.model(share, seed)
        yield Judged(seed, right_by_group(model, tried), vlx.audit(model, tried), vlx.audit(model, untold))


def right_by_group(model: Classifier, tried: Pasted) -> dict[tuple[str, str], float]:
    """The share of right answers of each kind in each place."""
    right: dict[tuple[str, str], list[bool]] = {group: [] for group in tried.world.groups}
    kinds = list(tried.world.kinds)
    with torch.no_grad():
        for number in range(len(tried)):
            group = tried.group(number)
            said = int(model.model(model.prepare(tried[number].image)[None]).argmax())
            right[group].append(kinds[said] == group[0])
    return {group: float(np.mean(some)) for group, some in right.items()}


def halved(lots: Mapping[str, Sequence[T]], half: int) -> dict[str, list[T]]:
    """One half of each lot, by lot: 0 to train on, 1 to try on."""
    orders = {name: np.random.default_rng(0).permutation(len(some)) for name, some in lots.items()}
    return {name: [lots[name][place] for place in sorted(order[half::2])] for name, order in orders.items()}


def rows(kind: str, models: Sequence[Judged]) -> Iterator[tuple[str, ...]]:
    """A line a model."""
    for one in models:
        told = [one.told, one.untold]
        found = ["; ".join(f"{answer} on {concept}" for answer, concept in sorted(leans(audit))) for audit in told]
        others = sum(
            finding.level == "finding" and finding.kind != "leans" for audit in told for finding in audit.findings
        )
        strengths = [f"{audit.strength:.2f}" for audit in told]
        accuracy = f"{one.told.right / one.told.judged:.2f}", f"{min(one.groups.values()):.2f}"
        yield kind, str(one.seed), *accuracy, strengths[0], found[0], strengths[1], found[1], str(others)


def verdict(name: str, biased: Sequence[tuple[Audit, World]], balanced: Sequence[tuple[Audit, World]]) -> Iterator[str]:
    """What is judged of audits of biased and of balanced models, each share with its interval."""
    area = roc_area([audit.strength for audit, _ in balanced], [audit.strength for audit, _ in biased])
    yield f"{name}: strength tells biased from balanced with AUC {area:.3f}"
    named = [names_the_bias(audit, world) for audit, world in biased]
    others = [bool(_others(audit, world)) for audit, world in biased]
    false = [bool(leans(audit)) for audit, _ in balanced]
    anything = [any(one.level == "finding" for one in audit.findings) for audit, _ in balanced]
    for what, tests in (
        ("biased models whose lean on their place is found", named),
        ("biased models with a lean on anything else", others),
        ("balanced models with a lean", false),
        ("balanced models with any finding", anything),
    ):
        low, high = wilson(sum(tests), len(tests))
        yield f"  {what}: {sum(tests)} of {len(tests)} ({low:.2f} to {high:.2f})"


def _others(audit: Audit, world: World) -> set[tuple[str, str]]:
    return leans(audit) - expected(world) if audit.concepts_are == CONCEPTS else set()


@click.command()
@click.option("--real", type=click.Path(path_type=Path), default=Path("../shared/real"), show_default=True)
@click.option("--coco", type=click.Path(path_type=Path), multiple=True, help="More photographs with outlines, COCO's.")
@click.option("--flickr", type=click.Path(path_type=Path), required=True, help="Flickr8k: Images/ and captions.txt.")
@click.option("--models", default=5, show_default=True, help="Models of each kind, world and network.")
@click.option("--first", default=0, show_default=True, help="First seed.")
@click.option("--pictures", default=400, show_default=True)
@click.option("--only", default="", help="Worlds and networks whose name, as in “dishes, MobileNetV2”, holds this.")
def main(real: Path, coco: Sequence[Path], flickr: Path, models: int, first: int, pictures: int, only: str) -> None:
    """Audit biased and balanced classifiers of photographs, and judge the audits."""
    os.environ["VLX_REAL"] = str(real)
    began, console = time.process_time(), console_for_tables()
    every: dict[str, list[tuple[Judged, World]]] = {kind: [] for kind in SHARES}
    for world in WORLDS:
        wanted = {name: made for name, made in networks().items() if only in f"{world.name}, {name}"}
        if not wanted:
            continue
        things, places = cut_outs([real / "photos" / "instances.json", *coco], world), photographs(flickr, world)
        lots = [(halved(things, half), halved(places, half)) for half in (0, 1)]
        tried = Pasted(world, *lots[1], pictures, seed=2)
        for name, (network, like) in wanted.items():
            stock = Stock(world, Remembered(network), like, Pasted(world, *lots[0], 4 * A_GROUP, seed=1))
            table = Table(*COLUMNS, title=f"{world.name}, {name}, {pictures} pictures")
            for kind, share in SHARES.items():
                made = list(judged(stock, tried, share, range(first, first + models)))
                every[kind] += [(one, world) for one in made]
                for row in rows(kind, made):
                    table.add_row(*row)
            console.print(table)
    for name in ("told", "untold"):
        audits = {kind: [(getattr(one, name), world) for one, world in some] for kind, some in every.items()}
        print(
            *verdict({"told": "with masks", "untold": "without"}[name], audits["biased"], audits["balanced"]), sep="\n"
        )
    print(f"{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()
