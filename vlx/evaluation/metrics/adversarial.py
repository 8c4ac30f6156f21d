"""Do maps stay where they were when the picture is changed so that the model sees something else (section 6.1)?

The prepared picture is changed by projected gradient steps (PGD, Madry et al. 1706.06083): each value by at most 8/255
of the range of its channel, 60 steps of an eighth of that, until the model gives a class that is not in the picture
p ≥ .9999. The maps of what was asked about before are made again. That they stay is robust or insensitive, as one
likes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vlx.data.example import Data
from vlx.errors import InputError
from vlx.evaluation.baselines import by_picture
from vlx.evaluation.class_asks import labels_of
from vlx.evaluation.context import DrawnMap, MetricContext, context_of
from vlx.evaluation.figures import Telling, by_group
from vlx.evaluation.metric import Metric, default_kind
from vlx.evaluation.metrics.pointing import hit
from vlx.evaluation.records import Columns, Record
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import AskedCases, Setting, ShownBatch
from vlx.language import close_matches, shortened
from vlx.methods import engine
from vlx.methods.method import Site
from vlx.methods.pixel_methods import can_see
from vlx.methods.pixels_captum import score_of
from vlx.pictures.edits import value_range
from vlx.probes.occlusion import rank_correlation
from vlx.protocol.powers import Sees, lacking
from vlx.protocol.targets import Query, Target, word_target
from vlx.protocol.task import Task

NAME = "adversarial"
REACH = 8 / 255  # of the range of prepared values
STEPS = 60
STEP = 1 / 8  # of the reach
SURE = 0.9999
TOLD = ("pointing", "energy")


def attacked(task: Task, inputs: Tensor, target: Target, low: Tensor, high: Tensor) -> tuple[Tensor, float]:
    """A prepared picture [C, H, W] changed until the model gives ``target`` p ≥ .9999, or as near as 60 steps come.

    No value moves by more than 8/255 of its channel's range, ``low`` to ``high`` [C], or leaves it further than it
    was. Also p of the changed picture. Raises InputError for a task without pixels.
    """
    inputs = task.place(inputs[None])[0]
    features = task.features(inputs[None])
    score = score_of(task, Site(features), target, NAME)
    low, high = (end.to(inputs)[:, None, None] for end in (low, high))
    reach = REACH * (high - low)
    least = torch.maximum(inputs - reach, torch.minimum(low, inputs))
    most = torch.minimum(inputs + reach, torch.maximum(high, inputs))
    changed, best = inputs.clone(), (inputs, _p(task, inputs, target))
    for _ in range(STEPS):
        if best[1] >= SURE:
            break
        with engine.differentiable():
            leaf = changed.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(score(leaf[None]).sum(), leaf)
        changed = torch.minimum(torch.maximum(changed + STEP * reach * slope.sign(), least), most)
        p = _p(task, changed, target)
        best = max(best, (changed, p), key=lambda one: one[1])
    return best


def _p(task: Task, picture: Tensor, target: Target) -> float:
    return float(engine.ask(task, task.features(picture[None]), [target]).double().exp()[0])


@dataclass(frozen=True, eq=False)
class _Attacking:
    """Every map of a batch before and after, a record a map; all pictures go to one class where it is set."""

    label: str | None
    setting: Setting

    def __call__(self, shown: ShownBatch) -> Iterator[Record]:
        if not shown.asked_anywhere.cases:
            return
        made = [self._attacked(shown, row) for row in range(len(shown.examples))]
        inputs = torch.stack([picture.to(shown.inputs) for picture, _ in made])
        changed = ShownBatch(self.setting, lambda: shown.reading, shown.examples, inputs, shown.numbers)
        asked, kinds = shown.asked_anywhere, default_kind(self.setting)
        again = AskedCases(changed, asked.cases)
        for number, case in enumerate(asked.cases):
            before, after = (context_of(one, number, kinds) for one in (asked, again))
            p = made[case.row][1]
            for line, first in before.maps.items():
                beside = {"p": p} | _told(before, first, "before") | _told(after, after.maps[line], "after")
                same = rank_correlation(first.values.ravel(), after.maps[line].values.ravel())
                empty = {"empty": 1} if after.maps[line].empty else {}
                key = before.example.key
                yield Record(key, asked.places[number], case.group, *line, NAME, same, case.area, beside=beside | empty)

    def _attacked(self, shown: ShownBatch, row: int) -> tuple[Tensor, float]:
        task, image, inputs = shown.task, shown.examples[row].image, shown.inputs[row]
        low, high = value_range(task.prepare, image, inputs)
        features = shown.features.rows([row])
        label = _absent(shown, row) if self.label is None else self.label
        said = task.predict(features, [Query(answer=label)])[0]
        target = word_target(said, 0, 0, "logprob")
        if target.kind != "logprob":
            raise InputError(f"{task.name} gives numbers, which have no p: --metrics {NAME} needs classes")
        return attacked(task, inputs, target, low, high)


def _absent(shown: ShownBatch, row: int) -> str:
    """A class that is not in the picture, as far as the data tell, and that the model does not see there; by a seed."""
    task, example, reading = shown.task, shown.examples[row], shown.reading
    draw = by_picture(shown.inputs[row], NAME)
    told = [label for ask in example.absent if ask.label is not None for label in reading.classes.of(ask)[:1]]
    if told:
        return told[int(draw.integers(len(told)))]
    first = task.predict(shown.features.rows([row]), [Query()])[0].words[0]
    there = {label for ask in example.asks if ask.label is not None for label in reading.classes.of(ask)}
    every: Sequence[str] = labels_of(task) or [f"class {number}" for number in range(first.choices or 0)]
    others = [label for label in every if label not in there | {first.label}]
    if not others:
        raise InputError(f"{task.name} has no class that is not in {example.key}; --metrics {NAME} needs one")
    return others[int(draw.integers(len(others)))]


def _told(context: MetricContext, one: DrawnMap, when: str) -> dict[str, float]:
    """Whether a map points at its thing, and the share of it that lies there; nothing where the place is not known."""
    if not context.mask.size:
        return {}
    total = float(one.painted.sum())
    energy = {f"energy {when}": float(one.painted[context.mask].sum()) / total} if total > 0 else {}
    return {f"pointing {when}": hit(context.case, one.peak, one.placement)} | energy


def _figures(metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    yield from by_group(f"{metric}, rank correlation", columns, telling)
    for name in TOLD:
        for when in ("before", "after"):
            told = columns.of(f"{name} {when}")
            if not np.isnan(told.value).all():
                yield from by_group(f"{metric}, {name} {when}", told, telling)


def _notes(columns: Columns) -> Iterable[str]:
    p = dict(zip(columns.picture.tolist(), columns.told("p").tolist(), strict=True))
    if p:
        sure, least = sum(one >= SURE for one in p.values()), min(p.values())
        yield (
            f"adversarial: {sure} of {len(p)} pictures were changed to p ≥ {SURE} for a class that is not there, "
            f"by at most 8/255 of the range; the least p is {least:.6g}"
        )


def _check(task: Task, _data: Data, *, label: str | None) -> None:
    """Raises InputError for a task without pixels, and for a class that it has not."""
    if not can_see(task):
        raise InputError(
            f"--metrics {NAME} changes pictures along the gradient in their pixels, and {task.name} has "
            f"{lacking(task, Sees.see)}: leave it out, or give the adapter see(inputs)"
        )
    known = labels_of(task)
    if label is not None and known and label not in known:
        near = close_matches(label, known)
        hint = f"; close: {', '.join(near)}" if near else ""
        raise InputError(f"{task.name} has no class {shortened(label)!r} to change pictures to{hint}")


def adversarial(label: str | None = None) -> Metric:
    """The metric, all pictures changed to one class of the model where its ``label`` is given in full."""
    return Metric(
        NAME,
        "do maps stay when the picture is changed so that the model sees something else?",
        begin=partial(_Attacking, label),
        needs={"classifier"},
        figures=_figures,
        notes=_notes,
        check=partial(_check, label=label),
        batch=4,
        anywhere=True,
        told="" if label is None else f'--towards "{label}"',
    )


ADVERSARIAL = adversarial()
