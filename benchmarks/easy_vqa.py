"""easy-VQA, a data set that nobody here made: ``python -m benchmarks.easy_vqa PATH BUNDLE``.

How many answers of a trained bundle are right on its test split, by kind of question, and how often the map of the
true answer points at the shape, for every weighting; in brackets within half a cell of it. The maps are those of
``vlx evaluate BUNDLE easy-vqa:PATH``. The bundle is made in minutes by ``python -m vlx.tasks.vqa.train --out runs/easy
--data easy-vqa PATH …`` (two commands, see the README).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from rich.progress import track
from rich.table import Table

import vlx
from benchmarks.clock import console_for_tables
from vlx.data.questions import EasyVqaData
from vlx.evaluation import Metric, Result, evaluate, of_maps, wilson
from vlx.evaluation.cases import Case
from vlx.evaluation.records import Values
from vlx.evaluation.shown import ShownBatch
from vlx.tasks.vqa.answers import accuracies
from vlx.tasks.vqa.data import STRIDE, of_easy_vqa

WHAT = ("shape", "color")


def near(case: Case, values: Values, shown: ShownBatch) -> float:
    """Whether the highest cell is centred within half a cell of the shape."""
    if values.max() <= 0:
        return 0.0
    i, j = np.unravel_index(values.argmax(), values.shape)
    y, x = (round(at) for at in shown.placement(case.row).centre_of(int(i), int(j)))
    half = STRIDE // 2
    return float(case.mask[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1].any())


NEAR = Metric("near", "does it point within half a cell of the shape?", of_maps("near", near))


def what(result: Result, metric: str) -> Iterator[tuple[str, float, tuple[float, float]]]:
    """Each method's hits on questions after what the shape is, or its colour, with their interval."""
    rows = [row for row in result.rows if row.metric == metric and row.group in WHAT]
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        hits, count = sum(row.value * row.count for row in own), sum(row.count for row in own)
        yield method, hits / count, wilson(round(hits), count)


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
    targets = [task.defaults.target]
    bar = partial(track, description="maps")
    result = evaluate(task, EasyVqaData(path), metrics=["pointing", NEAR], targets=targets, n=pictures, progress=bar)
    console.print(result.table())
    table = Table("points at the shape when asked what it is", "", "95 %", "within half a cell", box=None)
    near_too = {method: share for method, share, _ in what(result, "near")}
    for method, share, (low, high) in what(result, "pointing"):
        mark = " (default)" if method == task.defaults.method else ""
        table.add_row(method + mark, f"{share:.3f}", f"{low:.2f} to {high:.2f}", f"{near_too[method]:.3f}")
    console.print(table)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
