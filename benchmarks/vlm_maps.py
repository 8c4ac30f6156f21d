"""Which method points at the right thing in a vision-language LLM? ``python -m benchmarks.vlm_maps``.

A stock LLaVA that learned to speak of drawn scenes (`benchmarks.vlm_scenes`, which trains it) is made to say true
captions and answers about held-out ones; where the word was also its own first choice, every method's map of it is
judged. Pointing: is the peak on what the word speaks of? Deletion: what does the word lose, in nats of log p, when the
tenth of A's cells that the map marks most become the mean token? Both stand beside the picture's centre and chance, and
all goes through `vlx.evaluation.evaluate`, on the task that `vlx.load` would give.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import click
import numpy as np
import torch
from rich.progress import track
from rich.table import Table
from torch import Tensor

from benchmarks import vlm_scenes
from benchmarks.clock import console_for_tables
from vlx import evaluation, scenes
from vlx.data import SceneData
from vlx.evaluation.context import MetricContext
from vlx.evaluation.metric import Line, Metric
from vlx.evaluation.metrics.pointing import POINTING
from vlx.evaluation.result import MACRO, Figure, Result
from vlx.methods import engine, registry

METHODS = ("gradattention", "gradrollout", "hirescam", "gradcam", "layercam", "occlusion", "lens", "lens-context")
SHARE = 0.1  # of A's cells are taken away
SEEN = 200  # scenes whose tokens make the mean one
AIMED = ("object", "color", "texture")
POINTS, COSTS = 2.0, 20.0  # times the best baseline, and a random tenth, that the default method has to reach
TENTH = "tenth"


def own_choice(context: MetricContext) -> bool:
    """Whether the true word or answer is also what the model would have said in its place."""
    word = context.case.prediction.words[context.case.position]
    return bool(word.alternatives) and word.alternatives[0].token == word.terms[0].token


def of_right_words(measure: Callable[[MetricContext], Mapping[Line, Any]]) -> Callable[[MetricContext], Any]:
    """The same measure, of the model's own choices only."""

    def measured(context: MetricContext) -> Mapping[Line, Any]:
        return measure(context) if own_choice(context) else {}

    return measured


@dataclass(frozen=True, eq=False)
class Tenth:
    """What a word loses when the cells that a map marks most become the mean token of scenes it learned from."""

    task: Any

    @cached_property
    def mean(self) -> Tensor:
        """The mean token, [K, 1]."""
        pictures = (self.task.prepare(scenes.draw(seed, size=vlm_scenes.SIDE).image) for seed in range(SEEN))
        cells = [self.task.features(one[None]).A.mean((0, 2, 3)) for one in pictures]
        return torch.stack(cells).mean(0)[:, None]

    def fall(self, context: MetricContext) -> Mapping[Line, float]:
        """The fall of log p, in nats, for every map of what is asked."""
        A = context.shown.features.A[context.case.row]
        count = round(SHARE * A[0].numel())
        without = A.flatten(1).repeat(len(context.maps), 1, 1)
        for cells, drawn in zip(without, context.maps.values(), strict=True):
            order = np.argsort(-drawn.signed.ravel(), kind="stable")
            cells[:, order[:count].copy()] = self.mean
        target = replace(context.target("logprob"), row=0)
        whole = engine.scores(self.task, A[None], [target])
        rows = [replace(target, row=row) for row in range(len(without))]
        left = engine.scores(self.task, without.view(-1, *A.shape), rows)
        return dict(zip(context.maps, (whole - left).tolist(), strict=True))

    @property
    def metric(self) -> Metric:
        """The measure, as a metric of `vlx.evaluation`."""
        told = "how far does log p fall when the cells that a map marks most become the mean token?"
        return Metric(TENTH, told, of_right_words(self.fall), needs={"mask"})


def measured(task: Any, methods: Iterable[str], count: int) -> tuple[Result, float]:
    """Pointing and deletion of a task's right words on held-out scenes with two named things; the share of right ones.

    What is right is a metric as the others are, so that all are taken of the same words.
    """
    seen: list[bool] = []

    def noted(context: MetricContext) -> Mapping[Line, float]:
        seen.append(own_choice(context))
        return {}

    assert POINTING.measure is not None
    pointing = replace(POINTING, measure=of_right_words(POINTING.measure))
    chosen = [name for name in methods if registry.choose(name).suits(task)]
    data = SceneData(count, scenes.HELD_OUT, vlm_scenes.SIDE, named=2)
    result = evaluation.evaluate(
        task,
        data,
        metrics=[pointing, Tenth(task).metric, Metric("right", "is it right?", noted, needs={"mask"})],
        methods=chosen,
        targets=["logprob"],
        progress=partial(track, description=task.name, transient=True),
    )
    return result, float(np.mean(seen))


def goals(result: Result, method: str) -> Iterator[tuple[str, float, float]]:
    """What the default method has to reach on words of captions: what, its figure, and the least it may be."""
    for row in result.rows:
        if (row.method, row.metric) == (method, "pointing") and row.group in AIMED:
            yield f"pointing, {row.group}", row.value, POINTS * max(row.random, row.centre)
        if (row.method, row.metric, row.group) == (method, TENTH, MACRO):
            yield "a tenth, in random tenths", row.value / row.random, COSTS


def table_of(result: Result) -> Table:
    """A line a method: pointing by group, the mean of it, and the mean over groups of what a tenth costs."""
    pointed = {row.group: row for row in result.rows if row.metric == "pointing"}
    lost = next(row for row in result.rows if (row.metric, row.group) == (TENTH, MACRO))
    table = Table(title=f"{result.model}, {result.n} scenes", title_justify="left", box=None)
    for name in ("method", *pointed, "a tenth, nats"):
        table.add_column(name, justify="left" if name == "method" else "right")
    of = {(row.method, row.metric, row.group): row for row in result.rows}
    for method in dict.fromkeys(row.method for row in result.rows):
        cells = [_told(of[method, "pointing", group]) for group in pointed]
        table.add_row(method, *cells, _told(of[method, TENTH, MACRO]))
    for title, name in (("chance", "random"), ("centre", "centre")):
        cells = [f"{getattr(row, name):.2f}" for row in pointed.values()]
        table.add_row(title, *cells, f"{getattr(lost, name):.3f}")
    table.add_row("words", *(str(row.count) for row in pointed.values()), str(lost.count))
    return table


def _told(row: Figure) -> str:
    """A figure, and half its interval."""
    return f"{row.value:.2f} ±{(row.high - row.low) / 2:.2f}"


@click.command()
@click.option("--n", default=100, show_default=True, help="Held-out scenes with two named things.")
@click.option("--methods", default=",".join(METHODS), show_default=True, help="Methods, parted by commas.")
def main(n: int, methods: str) -> None:
    """Measure methods on a LLaVA whose words have a known place; exits with 1 where the default misses its goals."""
    torch.set_num_threads(1)
    console, missed = console_for_tables(), False
    for make in (vlm_scenes.captions, vlm_scenes.answers):
        task = make()
        result, right = measured(task, methods.split(","), n)
        console.print(table_of(result), f"{right:.0%} of the words are the model’s own first choice\n")
        for what, value, least in goals(result, task.defaults.method) if make is vlm_scenes.captions else ():
            missed |= value < least
            console.print(
                f"{task.defaults.method}, {what}: {value:.2f} ({least:.2f}) {'FAIL' if value < least else 'pass'}"
            )
    raise SystemExit(int(missed))


if __name__ == "__main__":
    main()
