"""The map check as a measure: the share of maps whose highest cells the score rests on, beside maps that know nothing.

The tenth of A's cells that a map ranks highest become A's mean cell, and the model is asked again
(`vlx.explanation.map_check`): a map is confirmed where log p, or a lead, falls by more than for nearly all random sets
of cells and by at least half of the most that anything tried did. It is a mark of effect, not of place.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from vlx.evaluation.context import MetricContext
from vlx.evaluation.figures import BASELINE
from vlx.evaluation.metric import Line, Measured, Metric
from vlx.evaluation.records import Values
from vlx.evaluation.shown import AskedCases
from vlx.explanation.map_check import MapCheck
from vlx.methods.method import Site
from vlx.pictures.placement import Grid
from vlx.probes.asked import Asked
from vlx.probes.map_trials import Trial, on_cells, trials, tried_all
from vlx.protocol.targets import Prediction, Target, TargetKind
from vlx.protocol.task import Task

NAME = "check"
NAN = float("nan")


def _measure(context: MetricContext) -> Mapping[Line, Measured]:
    """1 where a map is confirmed, else 0, also of an empty one; NaN where nothing that was tried moves the score."""
    lines = tuple(context.maps)
    checks = context.shown.once(("map checks", id(context.asked), lines), partial(_checked, context.asked, lines))
    return {line: _told(checks[line][context.number], context.maps[line].empty) for line in lines}


def _told(check: MapCheck, empty: bool) -> Measured:
    if check.verdict == "cannot be tested":
        return 0.0 if empty else NAN
    return float(check.confirmed), {check.verdict: 1}


def _checked(asked: AskedCases, lines: Sequence[Line]) -> dict[Line, list[MapCheck]]:
    """The checks of the cases' maps by each method and target, or baseline."""
    shown = asked.shown
    site, likely = Site.of(shown.task, shown.features, asked.targets("logprob"))
    words = [(case.prediction, case.position) for case in asked.cases]
    return tried_of(shown.task, site, likely, words, {line: list(_maps(asked, line)) for line in lines})


def _maps(asked: AskedCases, line: Line) -> Iterator[tuple[Values, Grid]]:
    """The cases' maps by a method, each with its grid."""
    method, kind = line
    baseline = kind == BASELINE
    maps = asked.baseline(method) if baseline else asked.maps(cast(TargetKind, kind))[method]
    grid = asked.shown.features.grid.plain if baseline else asked.grid(method)
    yield from ((one, grid) for one in maps.double().cpu().numpy())


def tried_of(
    task: Task,
    site: Site,
    likely: Sequence[Target],
    words: Sequence[tuple[Prediction, int]],
    maps: Mapping[Line, Sequence[tuple[Values, Grid]]],
) -> dict[Line, list[MapCheck]]:
    """The checks of the maps of N words by each method: does log p of a word fall by its map's highest cells?

    ``likely`` [N] ask for log p at the site, ``words`` are the predictions and the words' places; a map [h, w] stands
    with its grid. What is tried is log p, whatever target a map is made of; all maps at one row of the site's features
    meet the same random sets.
    """
    by_row: dict[int, list[tuple[Line, int, Trial]]] = {}
    for line, drawn in maps.items():
        for number, (values, grid) in enumerate(drawn):
            placed = values if grid == site.features.grid.plain else on_cells(values, grid, site.features.grid)
            trial = _trial(*words[number], replace(likely[number], row=0), placed)
            by_row.setdefault(likely[number].row, []).append((line, number, trial))
    rows = [(site.row(row).features, [trial for *_, trial in own]) for row, own in by_row.items()]
    found: dict[Line, dict[int, MapCheck]] = {line: {} for line in maps}
    for own, checks in zip(by_row.values(), tried_all(task, rows), strict=True):
        for (line, number, _), check in zip(own, checks, strict=True):
            found[line][number] = check
    return {line: [of_line[number] for number in range(len(words))] for line, of_line in found.items()}


def _trial(prediction: Prediction, position: int, likely: Target, values: Values) -> Trial:
    word = prediction.words[position]
    asked = Asked(likely, likely, "word", word.label, word.outputs)
    return trials(prediction, asked, word.standing, values, -values)[0]


CHECK = Metric(NAME, "how many maps are confirmed by taking away their highest cells?", _measure, anywhere=True)
