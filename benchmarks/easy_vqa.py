"""easy-VQA, a data set that nobody here made: ``python -m benchmarks.easy_vqa PATH BUNDLE``.

How many answers of a trained bundle are right on its test split, by kind of question, and how often the map of the
true answer points at the shape, for every weighting. A shape is what differs from the flat background; a hit is a
map's highest cell centred on it, in brackets within half a cell of it. The bundle is made in minutes by
``python -m vlx.tasks.vqa.train --out runs/easy --data easy-vqa PATH …`` (two commands, see docs/measured.md).
"""

import json
from collections import defaultdict
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from rich.table import Table

import vlx
from benchmarks.clock import console_for_tables
from vlx.data.questions import easy_kind, shape_mask
from vlx.evaluation import wilson
from vlx.evaluation.metrics.pointing import peaks_of
from vlx.methods import engine
from vlx.methods.cams import METHODS
from vlx.pictures.placement import Placement
from vlx.pictures.receptive_fields import measure_frame
from vlx.protocol.targets import Query, word_target
from vlx.protocol.task import Task
from vlx.tasks.vqa.answers import accuracies
from vlx.tasks.vqa.data import STRIDE, of_easy_vqa

KINDS = ("shape", "color", "yes/no")
WHAT = KINDS[:2]


def hits(task: Task, root: Path, count: int) -> dict[tuple[str, str], list[tuple[bool, bool]]]:
    """(kind of question, method or baseline) → whether each map or point is on the shape, and within half a cell.

    For the first ``count`` pictures of the test split.
    """
    told = json.loads((root / "test" / "questions.json").read_text(encoding="utf-8"))
    asked: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for text, answer, number in told:
        asked[number].append((text, answer))
    found: dict[tuple[str, str], list[tuple[bool, bool]]] = defaultdict(list)
    rng = np.random.default_rng(0)
    for number in track(sorted(asked)[:count], "maps"):
        image = Image.open(root / "test" / "images" / f"{number}.png").convert("RGB")
        mask = shape_mask(np.asarray(image))
        features = task.features(task.place(task.prepare(image)[None]))
        placement = Placement(features.grid, measure_frame(task.prepare, mask.shape))
        for text, answer in asked[number]:
            prediction = task.predict(features, [Query(question=text, answer=answer)])[0]
            target = word_target(prediction, 0, 0, task.defaults.target)
            _, gradient = engine.gradients(task, features.A, [target], features.rest)
            for method in METHODS.values():
                peak = peaks_of(method.map(features.A, gradient))[0]
                place = None if peak is None else placement.centre_of(*peak)
                found[easy_kind(text), method.name].append(_hit(mask, place))
            found[easy_kind(text), "centre"].append(_hit(mask, (mask.shape[0] // 2, mask.shape[1] // 2)))
            found[easy_kind(text), "random"].append(_hit(mask, tuple(rng.integers(mask.shape))))
    return found


def _hit(mask: NDArray[np.bool_], place: tuple[float, ...] | None) -> tuple[bool, bool]:
    if place is None:
        return False, False
    y, x = (min(max(round(at), 0), side - 1) for at, side in zip(place, mask.shape, strict=True))
    near = mask[max(y - STRIDE // 2, 0) : y + STRIDE // 2 + 1, max(x - STRIDE // 2, 0) : x + STRIDE // 2 + 1]
    return bool(mask[y, x]), bool(near.any())


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option("--pictures", default=200, show_default=True, help="Test pictures whose maps are judged.")
def main(path: Path, bundle: Path, pictures: int) -> None:
    """Answers and maps of a VQA model on easy-VQA's test split."""
    task = vlx.load(bundle)
    console = console_for_tables()
    for kind, (share, count) in accuracies(task, of_easy_vqa(path, "test")).items():  # type: ignore[arg-type]
        console.print(f"{kind:8} {100 * share:6.2f} % of {count} answers right")
    found = hits(task, path / "data" if (path / "data").is_dir() else path, pictures)
    for (kind, name), hit in list(found.items()):
        if kind in WHAT:
            found["what", name] = found.get(("what", name), []) + hit
    table = Table("points at the shape (within half a cell)", "what", *KINDS, box=None)
    for name in (*METHODS, "centre", "random"):
        cells = []
        for kind in ("what", *KINDS):
            strict, near = np.mean(found[kind, name], 0)
            low, high = wilson(strict * len(found[kind, name]), len(found[kind, name]))
            cells.append(f"{strict:.3f} [{low:.2f}, {high:.2f}] ({near:.3f})")
        mark = " (default)" if name == task.defaults.method else ""
        table.add_row(name + mark, *cells)
    console.print(table)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
