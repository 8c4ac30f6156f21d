"""Do maps change when the model's weights are permuted? The sanity check of Adebayo et al. (arXiv 1810.03292).

A map that hardly changes shows the picture and not what the model does. Blocks of a copy of the model are permuted from
its head down, one more at each step, and each by itself; the same texts, answers or classes are asked for. A method
passes where the rank correlation of max(S, 0) with the maps before, once the first block is permuted, is at most one
half by the upper end of its interval. A map that becomes empty counts as changed. To pass is necessary and not enough:
noise drawn anew would pass, too.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from vlx.data.example import example_of
from vlx.errors import ImageError, InputError, VlxError
from vlx.evaluation import baselines
from vlx.evaluation.cases import LOOKED_AT, Reading
from vlx.evaluation.metric import Metric, default_kind
from vlx.evaluation.permuting import Block, PermutedCopy
from vlx.evaluation.records import Columns, Record, Values
from vlx.evaluation.shown import AskedCases, Setting, ShownBatch
from vlx.evaluation.similarity import Section, Similar, figured, lacks_ssim, similar, told, verdicts
from vlx.methods import several
from vlx.methods.method import Method, Site
from vlx.protocol.targets import Target, TargetKind
from vlx.protocol.task import Task

NAME = "randomization"
SECTIONS = (
    Section("", "then", 0),
    Section(", |S|", "then", 1),
    Section(", SSIM", "then", 2),
    Section(", alone", "alone", 0),
)
Maps = dict[tuple[str, TargetKind], list[Values | None]]


class _Randomized:
    """Maps of everything that is asked of a batch, before and after each step, by every method of the setting."""

    def __init__(self, setting: Setting) -> None:
        self.methods = [one for one in setting.methods if one.name != baselines.SAME]
        self.kinds = default_kind(setting)
        self.copied = PermutedCopy(setting.task, *_sample(setting, self.kinds))

    def __call__(self, shown: ShownBatch) -> Iterator[Record]:
        asked, blocks = shown.asked_anywhere, self.copied.blocks
        if not asked.cases:
            return
        before = maps_of(shown.task, asked, self.methods, self.kinds)
        down = [self._after(blocks[: step + 1], asked) for step in range(len(blocks))]
        alone = [down[0], *(self._after([block], asked) for block in blocks[1:])]
        for number, case in enumerate(asked.cases):
            for (method, kind), own in before.items():
                then, by_itself = ([(one[method, kind][number]) for one in steps] for steps in (down, alone))
                rows = {"then": _similar(own[number], then), "alone": _similar(own[number], by_itself)}
                beside = {
                    "steps": [block.name for block in blocks],
                    **told(rows),
                    "gone": {"then": [*map(_gone, then)], "alone": [*map(_gone, by_itself)]},
                    **({"still": list(self.copied.still)} if self.copied.still else {}),
                }
                key, place = shown.examples[case.row].key, asked.places[number]
                yield Record(key, place, case.group, method, kind, NAME, rows["then"][0][0], case.area, beside)

    def _after(self, blocks: Sequence[Block], asked: AskedCases) -> Maps:
        with self.copied.permuted(blocks) as task:
            return maps_of(task, asked, self.methods, self.kinds)


def maps_of(task: Task, asked: AskedCases, methods: Sequence[Method], kinds: Sequence[TargetKind]) -> Maps:
    """The signed maps of cases by each method and kind of target, as another model of the same task has them.

    None in the place of a map that cannot be made any more: its scores or gradients are no numbers, or all zero.
    """
    shown = asked.shown
    if task is shown.task:
        return {
            (method.name, kind): [np.asarray(one, np.float64) for one in asked.maps(kind)[method.name].cpu().numpy()]
            for kind in kinds
            for method in methods
        }
    targets = {kind: asked.targets(kind) for kind in kinds}
    try:
        features = task.features(task.place(shown.inputs))
    except VlxError:
        return {(method.name, kind): [None] * len(targets[kind]) for kind in kinds for method in methods}
    found: Maps = {}
    for kind in kinds:
        site, own = Site.of(task, features, targets[kind], shown.inputs, shown.filling)
        found |= {(name, kind): maps for name, maps in _made(task, site, own, methods).items()}
    return found


def _made(
    task: Task, site: Site, targets: Sequence[Target], methods: Sequence[Method]
) -> dict[str, list[Values | None]]:
    """The maps by each method; where they cannot be made together, one method and one target at a time."""
    try:
        made = several.maps_of(task, site, targets, methods)
    except VlxError:
        if len(methods) > 1:
            return {name: maps for one in methods for name, maps in _made(task, site, targets, [one]).items()}
        name = methods[0].name
        if len(targets) == 1:
            return {name: [None]}
        return {name: [one for target in targets for one in _made(task, site, [target], methods)[name]]}
    return {name: [np.asarray(one, np.float64) for one in maps.cpu().numpy()] for name, maps in made.items()}


def _similar(before: Values | None, after: Sequence[Values | None]) -> list[Similar]:
    assert before is not None
    return [similar(before, one) for one in after]


def _gone(one: Values | None) -> int:
    return int(one is None or not (one > 0).any())


def _sample(setting: Setting, kinds: Sequence[TargetKind]) -> tuple[Tensor, list[Target]]:
    """The first prepared picture [1, C, H, W] about which something is asked, and the targets that ask for it."""
    task, data = setting.task, setting.data
    reading = Reading(task, data, setting.classes)
    for number in range(min(len(data), LOOKED_AT)):
        example = example_of(data, number)
        try:
            inputs = task.prepare(example.image)[None]
        except ImageError:
            continue
        asked = ShownBatch(setting, lambda: reading, [example], inputs, [number]).asked_anywhere
        if asked.cases:
            return inputs, asked.targets(kinds[0])
    raise InputError(f"{data.name}: of its first {LOOKED_AT} pictures none asks for anything that {task.name} knows")


def _notes(columns: Columns) -> Iterator[str]:
    yield from verdicts(SECTIONS[0], columns, "once {step} is permuted")
    steps = next((beside["steps"] for beside in columns.beside.values() if "steps" in beside), ())
    yield f"steps from the head down: {', '.join(steps)}"
    yield (
        "weights and biases of each block are permuted among themselves in a copy of the model, from the head down; "
        "running statistics of batch norm stay. Noise drawn anew would pass, too"
    )
    still = dict.fromkeys(name for beside in columns.beside.values() for name in beside.get("still", ()))
    if still:
        yield f"left out, since they move no score: {', '.join(still)}"
    if len(columns) and lacks_ssim(columns):
        yield "SSIM left out: pip install 'vlx[ssim]', or maps have fewer than 3 × 3 cells"


RANDOMIZATION = Metric(
    NAME,
    "do maps change when the model's weights are permuted?",
    begin=_Randomized,
    figures=figured(SECTIONS),
    notes=_notes,
    better="low",
    anywhere=True,
)
