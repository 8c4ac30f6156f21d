"""How alike the maps of the same asks are before and after a model was changed, and what it says of a method."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from vlx.evaluation.figures import Telling, ordered
from vlx.evaluation.intervals import mean_of, over_pictures
from vlx.evaluation.records import Columns, Values
from vlx.evaluation.result import Figure

NAN = float("nan")
HALF = 0.5  # the upper end of the interval that a method passes with
WINDOW, NARROW = 7, 3  # cells along the side of SSIM's window, and the least
MEASURES = ("", "|S|", "SSIM")  # of max(S, 0), |S| and max(S, 0)
Similar = tuple[float, float, float]
GONE: Similar = (0.0, 0.0, 0.0)


def similar(before: Values, after: Values | None) -> Similar:
    """Spearman of max(S, 0) and of |S|, and SSIM of max(S, 0), of two signed maps [h, w].

    A map that became empty, or none at all, is as unlike as can be: 0. NaN where the first one is flat, and the second
    is another; SSIM is NaN, too, without scikit-image and on fewer than 3 × 3 cells.

    >>> similar(np.eye(3), np.eye(3))[:2]
    (1.0, 1.0)
    """
    known = np.maximum(before, 0), np.abs(before)
    if after is None or not np.isfinite(after).all() or not (after > 0).any():
        return (*(0.0 if np.ptp(one) else NAN for one in known), 0.0 if np.ptp(known[0]) else NAN)  # type: ignore[return-value]
    other = np.maximum(after, 0), np.abs(after)
    return (_spearman(known[0], other[0]), _spearman(known[1], other[1]), _ssim(known[0], other[0]))


def _spearman(before: Values, after: Values) -> float:
    """Spearman's rank correlation; 1 of equal maps, flat ones, too, 0 where only the second is flat."""
    if np.array_equal(before, after):
        return 1.0
    if not np.ptp(before):
        return NAN
    if not np.ptp(after):
        return 0.0
    from scipy.stats import rankdata

    first, second = (rankdata(one.ravel()) for one in (before, after))
    return float(np.corrcoef(first, second)[0, 1])


def _ssim(before: Values, after: Values) -> float:
    """Structural similarity (Wang et al. 2004) of two maps, each on a scale from 0 to its own maximum."""
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        return NAN
    side = min(WINDOW, *before.shape)
    if side < NARROW or not before.max() or not after.max():
        return NAN
    compare: Any = structural_similarity
    return float(compare(before / before.max(), after / after.max(), win_size=side - 1 + side % 2, data_range=1.0))


def told(steps: Mapping[str, Sequence[Similar]]) -> dict[str, Any]:
    """Similarities by name as JSON has them: null for NaN, five decimals."""
    return {
        name: [[None if value != value else round(value, 5) for value in one] for one in rows]
        for name, rows in steps.items()
    }


@dataclass(frozen=True)
class Section:
    """One part of the table: ``called`` so, of what stands beside the records as ``name``, by the ``measure``-th of
    `MEASURES`. Verdicts go by the first step of the first part.
    """

    called: str
    name: str
    measure: int


def figures(sections: Sequence[Section], metric: str, columns: Columns, _telling: Telling) -> Iterator[Figure]:
    """The mean similarity of each method and target at every step, a column each; then the verdicts, 1 for passes.

    An interval is drawn over pictures; ``empty`` counts maps that became empty, or were none any more.
    """
    for section in sections:
        for line in ordered(columns.lines):
            yield from _of_line(section, metric, columns, line)
    for line in ordered(columns.lines):
        first = next(_of_line(sections[0], metric, columns, line), None)
        if first is not None and first.high == first.high:
            passes = float(first.high <= HALF)
            yield Figure(first.group, *line, f"{metric}, passes", passes, NAN, NAN, NAN, NAN, NAN, first.count)


def _of_line(section: Section, metric: str, columns: Columns, line: tuple[str, str]) -> Iterator[Figure]:
    numbers = np.flatnonzero(columns.line == columns.lines.index(line))
    own = [(number, columns.beside.get(number, {})) for number in numbers.tolist()]
    own = [(number, beside) for number, beside in own if beside.get(section.name)]
    if not own:
        return
    pictures = columns.picture[[number for number, _ in own]]
    for place, step in enumerate(own[0][1]["steps"]):
        rows = [beside[section.name][place][section.measure] for _, beside in own]
        values = np.array([NAN if value is None else value for value in rows])
        if section.measure == MEASURES.index("SSIM") and np.isnan(values).all():
            return
        gone = sum(beside.get("gone", {}).get(section.name, [0] * (place + 1))[place] for _, beside in own)
        yield Figure(
            *(step, *line, f"{metric}{section.called}", mean_of(values), *over_pictures(values, pictures)),
            *(NAN, NAN, NAN, len(values)),
            unmeasured=int(np.isnan(values).sum()),
            empty=int(gone),
        )


def verdicts(section: Section, columns: Columns, after: str) -> Iterator[str]:
    """A sentence for each method and target: whether its maps change with the model; ``after`` names the change."""
    for line in ordered(columns.lines):
        first = next(_of_line(section, "", columns, line), None)
        if first is None or first.high != first.high:
            continue
        says = "passes" if first.high <= HALF else "fails"
        with_target = f"{line[0]} {line[1]}".strip()
        interval = f"{first.value:.2f} ({first.low:.2f} to {first.high:.2f})"
        yield f"{with_target} {says}: rank correlation {interval} {after.format(step=first.group)}"


def lacks_ssim(columns: Columns) -> bool:
    """Whether nothing could be compared by SSIM."""
    ssim = MEASURES.index("SSIM")
    rows = (row for beside in columns.beside.values() for row in beside.get("then", ()))
    return all(row[ssim] is None for row in rows)


def figured(sections: Sequence[Section]) -> Callable[[str, Columns, Telling], Iterator[Figure]]:
    """`figures` of some sections, as a metric has it."""
    return partial(figures, tuple(sections))
