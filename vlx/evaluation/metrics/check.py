"""The map check as a measure: the share of maps whose highest cells the score rests on, beside maps that know nothing.

The tenth of A's cells that a map ranks highest become A's mean cell, and the model is asked again
(`vlx.explanation.map_check`): a map is confirmed where log p, or a lead, falls by more than for nearly all random sets
of cells and by at least half of the most that anything tried did. It is a mark of effect, not of place.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from vlx.evaluation.cases import Case
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
from vlx.protocol.targets import Target, TargetKind

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
    """The checks of the cases' maps by each method and target, or baseline.

    What is tried is log p, whatever target a map is made of; all maps of a picture meet the same random sets.
    """
    shown = asked.shown
    site, likely = Site.of(shown.task, shown.features, asked.targets("logprob"))
    by_row: dict[int, list[tuple[Line, Trial]]] = {}
    for line in lines:
        for number, values in enumerate(_on_cells(asked, line, site.features.grid)):
            by_row.setdefault(likely[number].row, []).append(
                (line, trial_of(asked.cases[number], likely[number], values))
            )
    rows = [(site.row(row).features, [trial for _, trial in pairs]) for row, pairs in by_row.items()]
    found = iter([check for checks in tried_all(shown.task, rows) for check in checks])
    checks: dict[Line, dict[int, MapCheck]] = {line: {} for line in lines}
    order = {row: [n for n, target in enumerate(likely) if target.row == row] for row in by_row}
    for row in by_row:
        for line in lines:
            checks[line] |= {number: next(found) for number in order[row]}
    return {line: [of_line[number] for number in range(len(asked.cases))] for line, of_line in checks.items()}


def _on_cells(asked: AskedCases, line: Line, grid: Grid) -> Iterator[Values]:
    """The cases' maps on the cells of a grid, float64 [h, w] each."""
    method, kind = line
    baseline = kind == BASELINE
    maps = asked.baseline(method) if baseline else asked.maps(cast(TargetKind, kind))[method]
    own = asked.shown.features.grid if baseline else asked.grid(method)
    for one in maps.double().cpu().numpy():
        yield one if own == grid else on_cells(one, own, grid)


def trial_of(case: Case, likely: Target, values: Values) -> Trial:
    """The trial of a map [h, w] on A's cells: does log p of what a case asks fall by the map's highest cells?

    ``likely`` asks for log p where the features have met the text; it is tried at that row of them alone.
    """
    word, alone = case.prediction.words[case.position], replace(likely, row=0)
    question = Asked(alone, alone, "word", word.label, word.outputs)
    return trials(case.prediction, question, word.standing, values, -values)[0]


CHECK = Metric(NAME, "how many maps are confirmed by taking away their highest cells?", _measure, anywhere=True)
