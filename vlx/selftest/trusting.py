"""Checks that reference pictures and the default method tell something of this model."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vlx.explanation.map_check import FEWEST, MOVED, QUANTILE, RELATIVE, count, random_sets, top
from vlx.methods.method import Site
from vlx.methods.registry import choose
from vlx.methods.replay import without_cells
from vlx.probes import references
from vlx.protocol.targets import Target, word_target
from vlx.selftest.checks import MOST, SILENT, Subject
from vlx.selftest.result import Row, idle, unproven

WORDS = 3  # at least must be judged together for a method to be worse than chance
CLEAR = 0.3  # nats that random cells must move the words by for that
HALF = 0.5  # of the references made of a picture must be like pictures to the model


def _references(case: Subject) -> Row:
    """T32: the references made of the picture look to the model like pictures."""
    name = "references plausible"
    there = references.elsewhere(case.task, case.picture, case.guests[0].inputs)
    ratios = references.ratio(there.features.A, case.seen.A)
    odd = [one for one, ratio in zip(there.names, ratios, strict=True) if references.strange([one], [ratio])]
    share = 1 - len(odd) / max(len(ratios), 1)
    if not ratios or share < HALF:
        return unproven(
            name, "most references made of this picture are unlike pictures to it; give references= of your own"
        )
    but = f"; unlike pictures: {', '.join(odd)}" if odd else ""
    return Row(
        name, share, HALF, True, f"share of the references made of this picture that it takes for pictures{but}", True
    )


def _default(case: Subject) -> Row:
    """T33: what the default method ranks highest matters more to the words than random cells do."""
    name, features = "method beats chance", case.features
    if not case.targets:
        return unproven(name, SILENT)
    shape = features.grid.shape
    if shape[0] * shape[1] < FEWEST:
        return idle(name, f"A has {shape[0] * shape[1]} cells: too few for random sets of them")
    options = case.task.defaults
    maps = _maps(case, tuple(_targets(case, options.target)))
    if maps is None:
        return idle(name, f"{options.method} hides parts of the picture itself; each map carries its own check")
    fall, random = _falls(case, maps, shape)
    limit, mean = float(np.percentile(random, QUANTILE)), float(random.mean())
    least = RELATIVE * float(case.scores(case.targets[:MOST]).double().abs().mean()) if case.numbers else MOVED
    if max(abs(fall), *np.abs(random)) < least or not any(random):
        told_least = f"{least:.3g}" if case.numbers else f"{MOVED} nats"
        return idle(name, f"no cells of A that were tried move the words by {told_least} here; see vlx.recommend")
    if fall > limit:
        remark = f"fall of log p without a tenth of cells, by {options.method}; and the most by chance"
        return Row(name, fall, limit, True, remark, at_least=True)
    form = ".3g" if case.numbers else ".2f"
    falls = (
        f"without what {options.method} ranks highest log p falls by {fall:{form}}, without random cells by "
        f"{mean:{form}} (up to {limit:{form}})"
    )
    if fall > mean or len(maps) < WORDS or limit < least * CLEAR / MOVED:
        return idle(name, f"{falls}: that is too little to tell it from chance; see vlx.recommend")
    return unproven(
        name, f"{falls}: its maps say nothing here; give another picture, or take a method by vlx.recommend"
    )


def _targets(case: Subject, kind: str) -> list[Target]:
    return [word_target(case.prediction, n, 0, kind) for n in range(len(case.targets[:MOST]))]  # type: ignore[arg-type]


def _maps(case: Subject, targets: tuple[Target, ...]) -> NDArray[np.float64] | None:
    """Signed maps [N, h, w] of the words by the default method; None where it is no map of A."""
    method = choose(case.task.defaults.method)
    if not method.on_cells:
        return None

    def filling(_number: int) -> Tensor:
        return case.task.prepare(references.filling(case.picture))

    site = Site(case.features, case.guests[0].inputs[None], filling, task=case.task)
    return method.attributed(case.task, site, targets).signed.double().cpu().numpy()


def _falls(case: Subject, maps: NDArray[np.float64], shape: tuple[int, int]) -> tuple[float, NDArray[np.float64]]:
    """Mean fall of the words, of their lead where log p is all but 0: without their own cells, and each random set."""
    size = count(shape)
    random = random_sets(shape, size)
    highest = np.stack([top(one, size) for one in maps])
    sure = [not case.numbers and float(score) > -MOVED for score in case.scores(case.targets[:MOST])]
    leads = _targets(case, "margin")
    asked = [leads[n] if sure[n] else case.targets[n] for n in range(len(maps))]
    sets = np.concatenate([np.zeros((1, *shape), bool), random, highest])
    rows = [*([asked] * (1 + len(random))), *([target] for target in asked)]
    scores = without_cells(case.task, case.features, sets, rows)
    whole = scores[0]
    gone = np.array([whole - row for row in scores[1 : 1 + len(random)]]).mean(1)
    mine = np.mean([whole[n] - float(row[0]) for n, row in enumerate(scores[1 + len(random) :])])
    return float(mine), gone


CHECKS: dict[str, Callable[[Subject], Row]] = {"references plausible": _references, "method beats chance": _default}
