"""What became of a score when the cells that its map ranks highest were taken away: the mark that every map carries."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["confirmed", "weak", "not confirmed", "cannot be tested"]
Cells = NDArray[np.bool_]

PART = 0.1  # of A's cells are taken away
SETS = 10  # random sets of each kind
MOVED = 0.1  # nats: less than that is no effect
RELATIVE = 0.01  # of a score that is no log-probability
QUANTILE = 95
NATS = ("log p", "lead")
WHAT = {"lead": "the lead", "logit": "the score", "prob": "p"}
FEWEST = 20  # sets of cells that there must be besides the one that is judged
HALF = 0.5  # of the most that anything tried did


@dataclass(frozen=True)
class MapCheck:
    """What the score loses when the tenth of A's cells that a map ranks highest become A's mean cell.

    ``fall`` is in ``unit`` ("log p" and "lead", both in nats, or the score's own), ``random`` are the falls for random
    sets of as many ``cells``, half of them scattered and half compact. ``share`` is (fall − mean random) over (most of
    anything tried − mean random), NaN where nothing was. ``rises``: the check of what speaks against it; then all
    figures are what the score gains. ``reason`` says why a map cannot be tested.

    It is a mark of effect, not of place: that these cells matter, not that they show the thing.
    """

    fall: float
    random: tuple[float, ...]
    share: float
    verdict: Verdict
    unit: str = "log p"
    cells: int = 0
    rises: bool = False
    reason: str = ""

    @property
    def confirmed(self) -> bool:
        """Above the 95th percentile of the random falls, and at least half of the most that anything tried did."""
        return self.verdict == "confirmed"

    @property
    def holds(self) -> bool:
        """Above the 95th percentile of the random falls: confirmed, or weak."""
        return self.verdict in ("confirmed", "weak")

    def __str__(self) -> str:
        if self.verdict == "cannot be tested":
            return f"{self.verdict}: {self.reason}"
        unit, what = " nats" if self.unit in NATS else "", WHAT.get(self.unit, self.unit)
        sign = 1 if self.rises else -1
        changes = sorted(sign * value for value in self.random)
        change, low, high = (_signed(value, self.unit) for value in (sign * self.fall, changes[0], changes[-1]))
        return (
            f"{self.verdict}: {what} changes by {change}{unit} without the {self.cells} cells that "
            f"the map ranks highest, by {low} to {high} without random ones"
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; `from_dict` makes an equal record of them."""
        return {**asdict(self), "random": list(self.random)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The record that `to_dict` was called on."""
        numbers = {"fall": float(saved["fall"]), "share": float(saved["share"])}
        return cls(**{**saved, **numbers, "random": tuple(map(float, saved["random"]))})


def count(shape: tuple[int, ...]) -> int:
    """How many cells the tenth of a grid (h, w) is: rounded, at least one."""
    return max(int(PART * math.prod(shape) + 0.5), 1)


def top(values: NDArray[np.floating], size: int) -> Cells:
    """The ``size`` cells of a map [h, w] that are highest; a fixed random order decides among equals."""
    flat = np.asarray(values, np.float64).ravel()
    order = np.lexsort((np.random.default_rng(1).permutation(flat.size), -flat))
    return _cells(order[:size], values.shape)


def random_sets(shape: tuple[int, int], size: int, number: int = SETS, seed: int = 0) -> Cells:
    """``number`` scattered and as many compact random sets of ``size`` cells, bool [2 · number, h, w].

    A compact one holds the cells nearest to a random point of the grid.
    """
    rng = np.random.default_rng(seed)
    cells = math.prod(shape)
    scattered = [_cells(rng.permutation(cells)[:size], shape) for _ in range(number)]
    return np.stack([*scattered, *(_compact(shape, size, rng) for _ in range(number))])


def judged(
    fall: float,
    random: Sequence[float],
    *,
    unit: str = "log p",
    least: float = MOVED,
    cells: int = 0,
    rises: bool = False,
    most: float = -math.inf,
) -> MapCheck:
    """The verdict on a map by the ``fall`` of its cells and the ``random`` falls of other sets of as many.

    ``least`` is what counts as an effect at all, ``most`` the largest fall of anything else that was tried. With
    ``rises`` all of them are gains.
    """
    if not np.isfinite([fall, *random]).all():
        return untested("scores without some cells are not finite", rises=rises)
    mean, limit = float(np.mean(random)), _percentile(random)
    reach = max(fall, *random, most) - mean
    share = (fall - mean) / reach if reach > 0 else math.nan
    verdict: Verdict = "not confirmed"
    if fall > limit and fall >= least:
        verdict = "confirmed" if share >= HALF else "weak"
    reason = ""
    if max(abs(fall), *map(abs, random), most) < least:
        verdict, reason = (
            "cannot be tested",
            f"no cells that were tried move {WHAT.get(unit, unit)} by {_figure(least, unit)}",
        )
    return MapCheck(fall, tuple(random), share, verdict, unit, cells, rises, reason)


def untested(reason: str, *, rises: bool = False) -> MapCheck:
    """The check of a map that cannot be tried at all."""
    return MapCheck(math.nan, (), math.nan, "cannot be tested", rises=rises, reason=reason)


def _percentile(values: Sequence[float]) -> float:
    """The 95th percentile, as `numpy.percentile` has it, which takes a hundred times as long for a few numbers."""
    ordered, place = sorted(map(float, values)), (len(values) - 1) * (QUANTILE / 100)
    low = min(int(place), len(ordered) - 2) if len(ordered) > 1 else 0
    first, second = ordered[low], ordered[min(low + 1, len(ordered) - 1)]
    part, gap = place - low, second - first
    return first + gap * part if part < 0.5 else second - gap * (1 - part)


def _cells(chosen: NDArray[np.integer], shape: tuple[int, ...]) -> Cells:
    cells = np.zeros(math.prod(shape), bool)
    cells[chosen] = True
    return cells.reshape(shape)


def _compact(shape: tuple[int, int], size: int, rng: np.random.Generator) -> Cells:
    y, x = rng.uniform(-0.5, np.array(shape) - 0.5)
    away = (np.arange(shape[0])[:, None] - y) ** 2 + (np.arange(shape[1]) - x) ** 2
    return _cells(np.argsort(away.ravel(), kind="stable")[:size], shape)


def _figure(value: float, unit: str) -> str:
    figure = f"{round(value, 2) + 0.0:.2f}" if unit in NATS or not value else f"{value:.3g}"
    return figure.replace("-", "−")


def _signed(value: float, unit: str) -> str:
    """With two decimals in nats; three figures of a score in its own unit, which may be of any size."""
    figure = f"{round(value, 2) + 0.0:+.2f}" if unit in NATS or not value else f"{value:+.3g}"
    return figure.replace("-", "−")
