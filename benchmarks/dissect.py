"""What naming units costs: ``python -m benchmarks.dissect``.

The tally against NetDissect-Lite's loop over units (skipped by their maximum, upsampled by PIL, counted by bincount) on
made-up maps that are sparse and smooth as a ReLU's; thresholds and tally against a forward pass of the network; a whole
dissection against one bare run over the pictures; memory over the number of pictures. All figures are ratios within
one run.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table
from torch import Tensor, nn
from torchvision.models import resnet18

from benchmarks.clock import added_memory, console_for_tables, memory_is_measurable, restart_settled, round_robin
from vlx.data.concepts import Labelled
from vlx.neuron_names.dissection import dissect
from vlx.neuron_names.dissection.alignment import quads
from vlx.neuron_names.dissection.counting import Counter
from vlx.neuron_names.dissection.labels import Categories, LabelGrid
from vlx.neuron_names.dissection.thresholds import TopValues
from vlx.neuron_names.table import Concept
from vlx.pictures.placement import Grid
from vlx.tasks.classification import Classifier

QUANTILE = 0.005
GRID = (112, 112)
UNITS = 512
BATCH = 16
CHANNELS = {"object": 500, "part": 200, "material": 40, "color": 11}  # concepts, roughly Broden's
SCENES = 300
CONCEPTS = tuple(
    Concept(f"{category} {n}", category)
    for category, count in {**CHANNELS, "scene": SCENES}.items()
    for n in range(count)
)
CATEGORIES = Categories(CONCEPTS)


@dataclass(frozen=True)
class Row:
    """One comparison: ``ratio`` of CPU seconds, median over median, against the goal."""

    what: str
    ratio: float
    goal: str
    met: bool


def smooth(count: int, units: int, cells: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Maps as after a late ReLU: smooth, mostly 0, a unit strong in few pictures."""
    coarse = torch.randn(count, units, 4, 4, generator=generator)
    gain = torch.randn(count, units, 1, 1, generator=generator).exp()
    fine = nn.functional.interpolate(coarse, size=cells, mode="bicubic", align_corners=True)
    return ((fine + 0.3 * torch.randn(fine.shape, generator=generator) - 0.7) * gain).clamp(min=0)


class Regions:
    """Noise with labels [4, 112, 112]: objects and colours everywhere, parts and materials here and there."""

    name, licence, concepts = "regions", "", CONCEPTS

    def __init__(self, count: int, kept: bool = True) -> None:
        self.count = count
        self.kept = [self._made(number) for number in range(count)] if kept else []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Labelled:
        return self.kept[number] if self.kept else self._made(number)

    def digest(self) -> str:
        """There is one such set of each size."""
        return str(self.count)

    def _made(self, number: int) -> Labelled:
        random = np.random.default_rng(number)
        first, labels = 1, np.zeros((len(CHANNELS), *GRID), np.int16)
        for channel, count in zip(labels, CHANNELS.values(), strict=True):
            codes = first + random.integers(0, count, (4, 4)).astype(np.int16)
            channel[:] = np.kron(codes, np.ones((28, 28), np.int16))
            if count in (CHANNELS["part"], CHANNELS["material"]):
                channel[random.random((4, 4)).repeat(28, 0).repeat(28, 1) < 0.6] = 0
            first += count
        noise = random.integers(0, 256, (14, 14, 3), np.uint8)
        image = Image.fromarray(noise).resize((224, 224), Image.Resampling.BICUBIC)
        return Labelled(image, labels, (first + int(random.integers(SCENES)),))


def labels_of(data: Regions) -> LabelGrid:
    """All of them on the grid of 112 × 112."""
    pictures = [data[n] for n in range(len(data))]
    grid = np.stack([picture.labels for picture in pictures]).astype(np.int32)
    return LabelGrid(grid, [picture.whole for picture in pictures], CATEGORIES, range(len(data)))


def thresholds(maps: Tensor) -> Tensor:
    """T [1, K] at the usual quantile."""
    top = TopValues((QUANTILE,), maps.shape[0] * maps.shape[2] * maps.shape[3])
    for A in torch.split(maps, BATCH):
        top.add(A, A.amax((2, 3)))
    return top.thresholds()[0]


def tally(maps: Tensor, T: Tensor, labels: LabelGrid, cells: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ours, in batches: intersections [K, C], and mask pixels by Lite's rule [K, G]."""
    counter, table = Counter(CATEGORIES, T), quads(cells, GRID, maps.device)
    for first in range(0, len(maps), BATCH):
        part = labels.part(first, first + BATCH)
        counter.add(maps[first : first + BATCH], table, part.batch(maps.device))
    intersection, activation = counter.counts()
    return intersection[0], activation[1, 0]


def lite(maps: NDArray[np.float32], T: NDArray[np.float32], labels: LabelGrid) -> tuple[Any, Any]:
    """As NetDissect-Lite goes about it: picture by picture, unit by unit."""
    intersection = np.zeros((len(T), CATEGORIES.C + 1), np.int64)
    activation = np.zeros((len(T), CATEGORIES.G), np.int64)
    category = np.zeros((CATEGORIES.C + 1, CATEGORIES.G), np.int64)
    category[np.arange(CATEGORIES.C) + 1, CATEGORIES.of] = 1
    for A, grid, whole in zip(maps, labels.grid, labels.whole, strict=True):
        for unit, own in enumerate(A):
            if own.max() <= T[unit]:
                continue
            mask = np.asarray(Image.fromarray(own).resize(GRID[::-1], Image.Resampling.BILINEAR))
            pixels = np.argwhere(mask > T[unit])
            found = np.bincount(grid[:, pixels[:, 0], pixels[:, 1]].ravel(), minlength=1)
            found[0] = 0
            touched = found @ category[: len(found)]
            intersection[unit, : len(found)] += found
            for number in whole:
                touched += category[number]
                intersection[unit, number] += len(pixels)
            activation[unit] += len(pixels) * (touched > 0)
    return intersection[:, 1:], activation


def against_lite(pictures: int, rounds: int) -> list[Row]:
    """The tally against the loop, with equal counts."""
    rows, labels = [], labels_of(Regions(pictures))
    for side, goal in ((14, 10.0), (7, 5.0), (28, 5.0)):
        cells = Grid.half_pixel((side, side), (224, 224))
        maps = smooth(pictures, UNITS, (side, side), torch.Generator().manual_seed(side))
        T = thresholds(maps)
        ours, theirs = partial(tally, maps, T, labels, cells), partial(lite, maps.numpy(), T[0].numpy(), labels)
        for one, other in zip(ours(), theirs(), strict=True):
            if not np.array_equal(one, other):
                raise SystemExit(f"{np.abs(one - other).sum()} of {other.sum()} counts differ at {side} × {side}")
        times = round_robin({"ours": ours, "lite": theirs}, rounds)
        ratio = times["lite"].median / times["ours"].median
        rows.append(Row(f"Lite's loop / tally, {side} × {side}, {UNITS} units", ratio, f"≥ {goal:g}", ratio >= goal))
    return rows


def network() -> nn.Module:
    """ResNet-18 with random weights, its batch norm settled on the pictures."""
    torch.manual_seed(0)
    model: nn.Module = resnet18(weights=None)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    data = Regions(32)
    with torch.no_grad():
        model.train()(torch.stack([prepared(data[n].image) for n in range(32)]))
    model.eval()
    return model


def prepared(image: Image.Image) -> Tensor:
    """PIL RGB → [3, 224, 224], about normal."""
    return torch.from_numpy(np.array(image, np.float32)).permute(2, 0, 1) / 64 - 2


def counted(layer: str, maps: Tensor, labels: LabelGrid) -> object:
    """Thresholds and tally of maps at hand."""
    return tally(maps, thresholds(maps), labels, Grid.half_pixel((maps.shape[2], maps.shape[3]), (224, 224), layer))


def against_forward(pictures: int, rounds: int) -> list[Row]:
    """Thresholds and tally against one forward pass, on the network's own maps and on maps like a trained one's."""
    model, data = network(), Regions(pictures)
    inputs = torch.stack([prepared(data[n].image) for n in range(pictures)])
    kept: dict[str, Tensor] = {}
    with torch.no_grad():
        for name in ("layer3", "layer4"):
            task = Classifier(model, name, prepare=prepared)
            own = torch.cat([task.features(part).A for part in torch.split(inputs, BATCH)])
            kept[f"{name}, random weights"] = own
            made = smooth(pictures, own.shape[1], (own.shape[2], own.shape[3]), torch.Generator().manual_seed(0))
            kept[f"{name}, maps like a trained network's"] = made
    labels = labels_of(data)
    ways: dict[str, Callable[[], object]] = {"forward": partial(forward, model, inputs)}
    ways |= {name: partial(counted, name, maps, labels) for name, maps in kept.items()}
    times = round_robin(ways, rounds)
    ratios = {name: times[name].median / times["forward"].median for name in kept}
    return [
        Row(f"thresholds + tally / ResNet-18 forward, {name}", ratio, "≤ 0.1", ratio <= 0.1)
        for name, ratio in ratios.items()
    ]


def forward(model: nn.Module, inputs: Tensor) -> None:
    """One bare run over the pictures."""
    with torch.no_grad():
        for part in torch.split(inputs, BATCH):
            model(part)


def bare(model: nn.Module, data: Regions) -> None:
    """Reading, preparing and running the network once, and nothing else."""
    for first in range(0, len(data), BATCH):
        forward(model, torch.stack([prepared(data[n].image) for n in range(first, min(first + BATCH, len(data)))]))


def whole(task: Classifier, data: Regions, spill: bool) -> None:
    """A dissection as users call it."""
    with tempfile.TemporaryDirectory() as folder:
        dissect(task, data, quantile=QUANTILE, spill=folder if spill else None)


def against_bare(pictures: int, rounds: int) -> list[Row]:
    """A whole dissection of layer4, with and without a spill."""
    model, data = network(), Regions(pictures)
    task = Classifier(model, "layer4", prepare=prepared)
    ways = {
        "bare": partial(bare, model, data),
        "dissect": partial(whole, task, data, False),
        "spill": partial(whole, task, data, True),
    }
    times = round_robin(ways, rounds)
    two, one = (times[name].median / times["bare"].median for name in ("dissect", "spill"))
    return [
        Row("dissect / bare run, layer4", two, "≤ 2.2", two <= 2.2),
        Row("dissect with spill / bare run, layer4", one, "≤ 1.2", one <= 1.2),
    ]


def memory(pictures: int) -> float:
    """MB that a dissection of so many pictures, made when they are read, adds to the peak."""
    task, data = Classifier(network(), "layer4", prepare=prepared), Regions(pictures, kept=False)
    return added_memory(
        partial(dissect, task, Regions(2 * BATCH), quantile=QUANTILE), partial(whole, task, data, False)
    )


def over_pictures(pictures: int) -> list[Row]:
    """Memory for N and 4 N pictures, each in a process of its own, less the values that are kept for thresholds."""
    counts: Sequence[int] = (pictures, 4 * pictures)
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        few, many = pool.map(memory, counts, chunksize=1)
    kept = 4 * UNITS * QUANTILE * 49 * 3 * pictures / 1e6
    what = f"MB added by {counts[1]} pictures − by {counts[0]} ({few:.0f} MB); thresholds need {kept:.1f} more"
    return [Row(what, many - few, "≤ 10 % of the first", many - few <= 0.1 * few + 3 * kept)]


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Timed rounds.")
@click.option("--pictures", type=click.IntRange(min=16), default=64, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(rounds: int, pictures: int, as_json: bool) -> None:
    """Cost of thresholds and tally, and of a whole dissection."""
    rows = [*against_lite(pictures, rounds), *against_forward(pictures, rounds), *against_bare(pictures, rounds)]
    rows += over_pictures(2 * pictures) if memory_is_measurable() else []
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    table = Table("ratio of CPU seconds, medians", "figure", "goal", "", box=None)
    for row in rows:
        table.add_row(row.what, f"{row.ratio:.3g}", row.goal, "met" if row.met else "missed")
    console_for_tables().print(table)


if __name__ == "__main__":
    restart_settled("benchmarks.dissect")
    main()
