"""Does hiding what a map marks cost the score? Rank correlation of heat maps with occlusion (paper, section 6.2)."""

from collections.abc import Iterator, Mapping

import numpy as np
from torch import Tensor

from vlx.evaluation.intervals import of_mean
from vlx.evaluation.metric import Ledger, Metric, Values, rectified
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import Setting, ShownBatch, by_default
from vlx.methods import registry
from vlx.probes.occlusion import occlude, rank_correlation
from vlx.protocol.targets import TargetKind

METRIC = "rank correlation"


class _Agreement:
    """The mean rank correlation of occlusion's falls with each method's heat map, of one picture at a time.

    Targets are the task's default kind unless others are asked for. Baselines: a random map, one that falls off from
    the centre, and the map of another word or question about the same picture by the task's own method.
    """

    def __init__(self, setting: Setting) -> None:
        self.kinds: tuple[TargetKind, ...] = setting.kinds or (setting.task.defaults.target,)
        self.ledger = Ledger()

    def update(self, shown: ShownBatch) -> None:
        if not shown.cases:
            return
        self.ledger.groups += [case.group for case in shown.cases]
        for kind in self.kinds:
            made = shown.maps(kind)
            own = _default(shown, kind, made)
            falls = _falls(shown, kind, own)
            for method, maps in made.items():
                self.ledger.add(method, kind, _correlations(falls, rectified(maps)))
        for name in ("random", "centre"):
            self.ledger.beside(name, _correlations(falls, rectified(shown.baseline(name))))
        instead = [(number + len(own) // 2) % len(own) for number in range(len(own))]
        self.ledger.beside("same", _correlations(falls, rectified(own[instead])))

    def figures(self) -> Iterator[Figure]:
        yield from self.ledger.figures(METRIC, of_mean)

    def notes(self) -> Iterator[str]:
        yield from ()


def _default(shown: ShownBatch, kind: TargetKind, made: Mapping[str, Tensor]) -> Tensor:
    """The maps by the task's own method, [N, h, w], whether it is measured or not."""
    name = registry.choose(shown.task.defaults.method).name
    return made[name] if name in made else by_default(shown.task, shown.features, shown.targets(kind)).signed


def _falls(shown: ShownBatch, kind: TargetKind, maps: Tensor) -> Values:
    """What each case's score loses when a patch around each cell is hidden, float64 [N, h, w]."""
    hidden = occlude(
        shown.task,
        shown.inputs[0],
        shown.filling(0),
        shown.features,
        shown.targets(kind),
        list(maps.cpu().numpy()),
    )
    return np.array([one.falls for one in hidden], np.float64)


def _correlations(falls: Values, maps: Values) -> list[float]:
    return [rank_correlation(lost.ravel(), own.ravel()) for lost, own in zip(falls, maps, strict=True)]


OCCLUSION = Metric("occlusion", "does hiding what a map marks cost the score?", _Agreement, batch=1)
