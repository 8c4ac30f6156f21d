"""Is the default for models that nobody measured a good one? ``python -m benchmarks.defaults [MODEL …]``.

Models are taken as a stranger's would be, without what was measured of them: the embedded captioners and VQA model of
drawn scenes, easy-VQA's, a captioner on white ground and ImageNet's MobileNetV2 on photographs (`benchmarks.abroad`).
How often each method's peak lies within half a cell of the right thing is known here; `vlx.recommend` does not know it
and sees what the words lose. For draws of five pictures: how often LayerCAM on log p is kept, and how well what is
taken points.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

import vlx
from benchmarks import abroad
from benchmarks.clock import console_for_tables
from vlx import scenes
from vlx.errors import InputError
from vlx.evaluation.metrics.pointing import peaks_of
from vlx.methods import engine
from vlx.methods.cams import METHODS
from vlx.pictures.placement import Placement
from vlx.pictures.receptive_fields import measure_frame
from vlx.pipeline import recommend
from vlx.pipeline.recommend import KEPT, PICTURES, candidates, decided
from vlx.protocol.targets import Prediction, Query, word_target
from vlx.protocol.task import Defaults

HOME = ("scenes/captioner", "scenes/captioner-pooled", "scenes/vqa")
AWAY = ("easy-vqa", "white-captioner", "mobilenet")
SLOW = ("scenes/captioner", "mobilenet")
SIDE, HELD_OUT = 128, 10_000_500
DRAWS = 300

Shown = tuple[Any, Query, Sequence[NDArray[np.bool_] | None]]


def examples(name: str, n: int) -> tuple[Any, list[Shown]]:
    """The task without what was measured of it, and pictures with a query and the pixels of each word."""
    if name in AWAY:
        stranger, known = abroad.model(name, 400 if name == "easy-vqa" else n)
        captions = [one.text if stranger.kind == "captioning" else None for one in known]
        asked = [replace(one.query, caption=text) for one, text in zip(known, captions, strict=True)]
        told: list[Shown] = [(one.image, query, list(one.places)) for one, query in zip(known, asked, strict=True)]
        return stranger, [one for one in told if one[1].question is None or one[1].question.startswith("what")][:n]
    task: Any = vlx.load(name)
    task.defaults = Defaults(gradients=task.defaults.gradients)
    return task, [pair for seed in range(n) for pair in _of_scene(task, scenes.draw(HELD_OUT + seed, size=SIDE))]


def _of_scene(task: Any, scene: Any) -> Iterator[Shown]:
    if task.kind == "captioning":
        places = [word.mask if word.category in ("object", "color", "texture") else None for word in scene.words]
        yield scene.image, Query(caption=scene.caption), places
        return
    asked = next((one for one in scene.questions if one.mask is not None and one.kind == "color"), None)
    if asked is not None:
        yield scene.image, Query(question=asked.text, answer=asked.answer), [asked.mask]


def tried(task: Any, shown: Sequence[Shown]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Falls [pictures, candidates + 1] as `vlx.recommend` sees them, and shares of hits [pictures, candidates]."""
    names = candidates(task)
    falls, hits = [], []
    for image, query, places in track(shown, task.name):
        features = task.features(task.place(task.prepare(image)[None]))
        prediction = task.predict(features, [query])[0]
        fall = recommend.fall_of(task, features, prediction, names)
        placement = Placement(features.grid, measure_frame(task.prepare, (image.height, image.width)))
        own = _hits(task, features, prediction, places, placement)
        if fall is not None and own:
            falls.append(fall)
            hits.append([np.mean(own[name]) for name in names])
    return np.stack(falls), np.array(hits)


def _hits(task: Any, features: Any, prediction: Prediction, places: Any, placement: Placement) -> dict[Any, list[bool]]:
    """Whether the peak of each candidate's map lies on the right thing, by candidate."""
    found: dict[Any, list[bool]] = defaultdict(list)
    there = [n for n, mask in enumerate(places) if mask is not None and n < len(prediction.words)]
    for kind in recommend.TARGETS if there else ():
        targets = [word_target(prediction, n, 0, kind) for n in there]
        _, G = engine.gradients(task, features.A, targets, features.rest)
        for name, method in METHODS.items():
            for n, peak in zip(there, peaks_of(method.map(features.A, G)), strict=True):
                found[name, kind].append(peak is not None and _on(places[n], placement, peak))
    return found


def _on(mask: NDArray[np.bool_], placement: Placement, peak: tuple[int, int]) -> bool:
    """Whether any pixel of the thing lies within half a cell of the peak."""
    spans = []
    for middle, side, cell in zip(placement.centre_of(*peak), mask.shape, placement.cell_size, strict=True):
        spans.append(slice(max(round(middle - cell / 2), 0), min(round(middle + cell / 2) + 1, side)))
    return bool(mask[tuple(spans)].any())


def row(name: str, n: int) -> list[str]:
    """One model's figures."""
    task, shown = examples(name, n)
    names = candidates(task)
    falls, hits = tried(task, shown)
    pointing = hits.mean(0)
    best, default = int(pointing.argmax()), pointing[0]
    rng = np.random.default_rng(0)
    picks = []
    for _ in range(DRAWS):
        some = rng.permutation(len(falls))[:PICTURES]
        found = decided(falls[some], names, "")
        picks.append(names.index((found.method, found.target)))
    taken = pointing[picks]
    whole = decided(falls, names, "")
    worse = [one.name for one in whole.rows if one.worse]
    return [
        name,
        str(len(falls)),
        f"{default:.2f}",
        f"{pointing[names.index(('gradcam', 'logprob'))]:.2f} / {pointing[names.index(('gradcam', 'logit'))]:.2f}",
        f"{pointing[best]:.2f} {' on '.join(names[best])}",
        f"{default / max(pointing[best], 1e-9):.2f}",
        f"{np.mean(np.array(picks) == 0):.2f}",
        f"{taken.mean() / max(pointing[best], 1e-9):.2f} / {taken.min() / max(pointing[best], 1e-9):.2f}",
        f"{whole.method} on {whole.target}",
        ", ".join(worse) or "nothing",
    ]


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*HOME, *AWAY]))
@click.option("--pictures", type=int, help="Pictures of each model; by default 12 of the slow ones, 40 of the others.")
def main(names: Sequence[str], pictures: int | None) -> None:
    """Print how the default, Grad-CAM and what is recommended point."""
    heads = ["model", "n", f"default ({' on '.join(KEPT)})", "Grad-CAM log p / logit", "best of all", "default / best"]
    heads += [f"kept, of {DRAWS} fives", "taken / best, mean / worst", "by all pictures", "clearly worse by all"]
    table = Table(*heads)
    for name in names or [*HOME, *AWAY]:
        try:
            table.add_row(*row(name, pictures or (12 if name in SLOW else 40)))
        except InputError as error:
            table.add_row(name, f"skipped: {error}")
    console_for_tables().print(table)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
