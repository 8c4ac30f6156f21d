"""easy-VQA, a data set that nobody here made: ``python -m benchmarks.easy_vqa PATH BUNDLE``.

How many answers of a trained bundle are right on its test split, by kind of question, and how often the map of the
true answer points at the shape, for every weighting. A shape is what differs from the flat background; a hit is a
map's highest cell centred on it. The bundle is made in minutes by
``python -m vlx.tasks.vqa.train --out runs/easy --data easy-vqa PATH …`` (two commands, see the README).
"""

import json
from collections import defaultdict
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from rich.progress import track
from rich.table import Table

import vlx
from benchmarks.clock import console_for_tables
from vlx import engine
from vlx.evaluation import wilson
from vlx.evaluation.pointing import _peaks
from vlx.geometry import Placement
from vlx.task import Query, Task, word_target
from vlx.tasks.vqa.answers import accuracies
from vlx.tasks.vqa.data import easy_kind, of_easy_vqa, shape_mask
from vlx.tracing import measure_frame
from vlx.weighting import METHODS

KINDS = ("shape", "color", "yes/no")


def hits(task: Task, root: Path, count: int) -> dict[tuple[str, str], list[bool]]:
    """(kind of question, method or baseline) → whether each map, or point, is on the shape, for ``count`` pictures."""
    told = json.loads((root / "test" / "questions.json").read_text(encoding="utf-8"))
    asked: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for text, answer, number in told:
        asked[number].append((text, answer))
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
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
                peak = _peaks(method.map(features.A, gradient))[0]
                place = None if peak is None else tuple(round(at) for at in placement.centre_of(*peak))
                found[easy_kind(text), method.name].append(place is not None and bool(mask[place]))
            found[easy_kind(text), "centre"].append(bool(mask[mask.shape[0] // 2, mask.shape[1] // 2]))
            found[easy_kind(text), "random"].append(bool(mask[tuple(rng.integers(mask.shape))]))
    return found


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
    table = Table("points at the shape", *KINDS, box=None)
    for name in (*METHODS, "centre", "random"):
        cells = []
        for kind in KINDS:
            low, high = wilson(sum(found[kind, name]), len(found[kind, name]))
            cells.append(f"{np.mean(found[kind, name]):.3f} [{low:.2f}, {high:.2f}]")
        mark = " (default)" if name == task.defaults.method else ""
        table.add_row(name + mark, *cells)
    console.print(table)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
