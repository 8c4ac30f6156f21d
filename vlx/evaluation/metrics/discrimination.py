"""Does a map tell two things in one picture apart? Which of their masks has more of it (the stand-in for Grad-CAM 5.1).

A viewer who sees the map of one of two classes and says which it is goes by where it lies. Pixels that both masks have
are left out; a map that has nothing on either tells nothing, and is wrong. Each class is asked for in its turn, so that
a map which knows nothing of what was asked is right in half of the cases.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from vlx.evaluation.cases import Case, closed
from vlx.evaluation.context import MetricContext
from vlx.evaluation.footprint import painted_on
from vlx.evaluation.metric import Line, Metric
from vlx.evaluation.records import Columns

NAME = "discrimination"


def _rivals(context: MetricContext) -> Iterator[tuple[int, Case]]:
    """The other things in the picture, each once: other classes; of words other categories, of drawn scenes others of
    the same category.
    """
    own, drawn = context.case, bool(closed(context.shown.setting.data)) and context.case.ask.label is None
    met = {_name(own, drawn=drawn)}
    for number, other in enumerate(context.asked.cases):
        name = _name(other, drawn=drawn)
        if other.row != own.row or (drawn and other.group != own.group) or other.mask.shape != own.mask.shape:
            continue
        if name not in met and (own.mask & ~other.mask).any() and (other.mask & ~own.mask).any():
            met.add(name)
            yield number, other


def _name(case: Case, *, drawn: bool) -> object:
    return case.mask.tobytes() if drawn else case.ask.label or case.group


def _measure(context: MetricContext) -> Mapping[Line, float]:
    """The share of the other things than which the asked one has more of each painted map; nothing without another."""
    own, rivals = context.mask, list(_rivals(context))
    if not rivals:
        return {}
    found: dict[Line, float] = {}
    for line, one in context.maps.items():
        ahead = []
        for number, other in rivals:
            here = painted_on(context, one.placement, own & ~other.mask, f"beside {number}")
            there = painted_on(context, one.placement, other.mask & ~own, f"only {number}")
            ahead.append(float((one.values * here).sum()) > float((one.values * there).sum()))
        found[line] = float(np.mean(ahead))
    return found


def _notes(columns: Columns) -> Iterable[str]:
    if not len(columns):
        yield f"{NAME}: no picture shows two things that are asked for: nothing to tell apart"
    else:
        yield f"{NAME}: .500 by chance; people who saw Guided Grad-CAM were right in .612 (paper, section 5.1)"


DISCRIMINATION = Metric(
    NAME, "does a map lie on what was asked for, and not on another thing?", _measure, needs={"mask"}, notes=_notes
)
