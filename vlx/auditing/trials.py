"""What is tried of answers besides their maps: what they owe to the picture, whether the map holds, hidden concepts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vlx.evaluation.cases import Case
from vlx.evaluation.metrics.check import tried_of
from vlx.evaluation.records import Values
from vlx.evaluation.shown import ShownBatch
from vlx.methods.method import Site
from vlx.pictures.placement import Grid
from vlx.probes import references
from vlx.probes.owing import tables
from vlx.protocol.targets import Target


def owed(shown: ShownBatch, cases: Sequence[Case], which: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Of some cases, by number, "seen" in nats and "looked": log p here, and with references in the picture's place."""
    rows = sorted({cases[number].row for number in which})
    if not rows:
        return {}
    asked = {row: [number for number in which if cases[number].row == row] for row in rows}
    targets = {number: replace(cases[number].target("logprob"), row=0) for number in which}
    pictures = [shown.examples[row].image for row in rows]
    others = references.made_elsewhere(shown.task, pictures, asked=list(targets.values()))
    pairs = [(other.features, [targets[n] for n in asked[row]]) for row, other in zip(rows, others, strict=True)]
    told: dict[int, tuple[float, float]] = {}
    for row, gone in zip(rows, tables(shown.task, pairs), strict=True):
        for number, one in zip(asked[row], gone.tolist(), strict=True):
            told[number] = _owed(cases[number], targets[number], one)
    return told


def _owed(case: Case, target: Target, gone: Sequence[float]) -> tuple[float, float]:
    word = case.prediction.words[case.position]
    steps = len({term.step for term in target.terms})
    room = np.inf if word.choices is None else steps * float(np.log(word.choices))
    seen = float(np.mean(references.owed(word.logprob, gone, room)))
    return seen, references.looked(word.logprob, gone)


def checks(shown: ShownBatch, cases: Sequence[Case], which: Sequence[int], maps: Values, grid: Grid) -> dict[int, str]:
    """The verdicts of `vlx.explanation.map_check` on the maps [N, h, w] of some cases, by number."""
    if not which:
        return {}
    targets = [cases[number].target("logprob") for number in which]
    site, likely = Site.of(shown.task, shown.features, targets)
    words = [(cases[number].prediction, cases[number].position) for number in which]
    line = ("", "")
    drawn = {line: [(maps[number], grid) for number in which]}
    verdicts = [check.verdict for check in tried_of(shown.task, site, likely, words, drawn)[line]]
    return dict(zip(which, verdicts, strict=True))
