"""`NeuronNames`: the names of a layer's units, from a tally of our own or from a table that others published."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vlx.errors import InputError
from vlx.language import close_matches
from vlx.neuron_names.table.tally import DENOMINATORS, Tally

DETECTOR = 0.04  # IoU from which a unit counts as a detector (Network Dissection, section 3.2)
DETECTOR_AUC = 0.75  # AUC from which it does, where captions name it; see benchmarks/caption_names.py
LEVEL = 0.01  # the highest p at which a name from captions is more than one by chance
ConceptRule = Literal["published", "best"]
FILES = "vlx.neuron_names.formats"  # what writes a table, which stands above it: looked up when a table is saved


@dataclass(frozen=True)
class UnitName:
    """What one unit detects, by one category's best concept; ``concept`` is empty where the table names nothing.

    ``iou`` is nan in tables without one; ``score`` is the table's own measure: the IoU in Network Dissection's. Where
    categories are read at different quantiles it is (IoU − chance) / (attainable − chance), as IoUs of large masks are
    large by chance (`Tally.chance`, `Tally.attainable`).
    ``error`` is the standard error of the IoU over folds of pictures, ``wins`` in how many folds (of ``folds``), each
    left out in turn, the concept stays the category's best. ``threshold`` is the unit's T: its mask is where A > T.
    Counts are pixels of the label grid. None where the table does not tell.

    Names from captions have an ``auc`` in place of an IoU: how well the unit's highest activation tells pictures with
    the word from those without, .5 by chance; error and wins are of it. ``score`` is then what it lies above the best
    word of permuted pictures, ``p`` how often one of those is as good, ``runner_up`` the second-best of the category.
    """

    unit: int
    concept: str = ""
    category: str = ""
    iou: float = float("nan")
    score: float = float("nan")
    error: float | None = None
    wins: int | None = None
    folds: int | None = None
    threshold: float | None = None
    quantile: float | None = None
    intersection: int | None = None
    truth: int | None = None
    activation: int | None = None
    auc: float = float("nan")
    p: float | None = None
    runner_up: str = ""
    runner_up_auc: float = float("nan")

    @property
    def fit(self) -> float:
        """The AUC where the table tells one, else the IoU; nan where neither."""
        return self.auc if self.auc == self.auc else self.iou


@dataclass(frozen=True, eq=False)
class Activity:
    """What is known of K units beside their names, as `Tally.examples` [K, E] and `Tally.means` [K] have it."""

    examples: NDArray[np.int32]
    means: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NeuronNames:
    """The names of K units. ``names[12]`` is the unit's best name, ``names.candidates(12)`` the best of each category.

    ``about`` says where the table comes from: model, model_hash, layer, dataset, dataset_hash, images, quantiles,
    denominator, alignment, licence, source, metric. ``tally`` holds the counts of a dissection; tables that others
    published come without. ``activity`` is known where captions gave the names.

    ``quantile``: one of the tally's for all categories, or None for each category's own (`Tally.best_quantile`).
    ``categories``: those that may give names; all where it is None.
    """

    listed: tuple[tuple[UnitName, ...], ...] = field(repr=False, default=())
    about: dict[str, Any] = field(default_factory=dict)
    tally: Tally | None = field(repr=False, default=None)
    quantile: float | None = None
    denominator: str = "paper"
    categories: tuple[str, ...] | None = None
    activity: Activity | None = field(repr=False, default=None)

    def __len__(self) -> int:
        return len(self._units)

    def __iter__(self) -> Iterator[UnitName]:
        return (self[unit] for unit in range(len(self)))

    def __getitem__(self, unit: int) -> UnitName:
        return self.candidates(unit)[0] if self.candidates(unit) else UnitName(unit)

    def candidates(self, unit: int) -> tuple[UnitName, ...]:
        """The best concept of each category, best score first; raises IndexError for a unit that is not there."""
        if not 0 <= unit < len(self):
            raise IndexError(f"there is no unit {unit}; the table has units 0 to {len(self) - 1}")
        return self._units[unit]

    @cached_property
    def _units(self) -> tuple[tuple[UnitName, ...], ...]:
        units = self.listed if self.tally is None else named_by(self.tally, self.quantile, self.denominator)
        if self.categories is None:
            return units
        return tuple(tuple(one for one in unit if one.category in self.categories) for unit in units)

    def choose(
        self,
        *,
        categories: Collection[str] | None = None,
        quantile: float | None = None,
        denominator: str | None = None,
    ) -> "NeuronNames":
        """The same table read otherwise: other categories or one, one quantile for all, another denominator of the IoU.

        Raises InputError for a category that no concept has, for a quantile that was not counted, for an unknown
        denominator, and where a table without counts is to be counted otherwise.
        """
        if (quantile is not None or denominator is not None) and self.tally is None:
            raise InputError("this table has no counts: its quantile and denominator cannot be changed; dissect anew")
        if quantile is not None and self.tally is not None:
            self.tally.quantile(quantile)
        if denominator is not None and denominator not in DENOMINATORS:
            raise InputError(f"denominator={denominator!r}; known are {', '.join(DENOMINATORS)}")
        return replace(
            self,
            categories=self._known_categories(categories) if categories is not None else self.categories,
            quantile=self.quantile if quantile is None else quantile,
            denominator=denominator or self.denominator,
        )

    def _known_categories(self, wanted: Collection[str]) -> tuple[str, ...]:
        everything = replace(self, categories=None)
        categories = sorted({one.category for unit in everything._units for one in unit})
        wanted = [wanted] if isinstance(wanted, str) else wanted
        for name in wanted:
            if name not in categories:
                near = ", ".join(close_matches(name, categories)) or ", ".join(categories)
                raise InputError(f"no unit has a name of category {name!r}; there are: {near}")
        return tuple(wanted)

    @property
    def metric(self) -> str:
        """What says how well a name fits: "iou", "auc", another tool's measure, or "none"."""
        return str(self.about.get("metric", "iou"))

    @property
    def examples(self) -> NDArray[np.int32]:
        """The numbers of the pictures in which each unit is most active, [K, E]; empty where they are not known."""
        source = self.tally or self.activity
        return np.zeros((0, 0), np.int32) if source is None else source.examples

    @property
    def means(self) -> NDArray[np.float32]:
        """The units' mean activations [K]; empty where they are not known."""
        source = self.tally or self.activity
        return np.zeros(0, np.float32) if source is None else source.means

    def counts(self, name: UnitName, iou: float = DETECTOR) -> bool:
        """Whether a name of this table is to be used: `detects`, or any name of a tool that has another measure."""
        ours = self.metric == "iou" or name.auc == name.auc
        return detects(name, iou) if ours else bool(name.concept)

    def detectors(self, iou: float = DETECTOR, auc: float = DETECTOR_AUC) -> dict[int, UnitName]:
        """The units whose best name's IoU, or AUC, lies above ``iou`` or ``auc``, by number; see `detects`."""
        return {name.unit: name for name in self if detects(name, iou, auc)}

    def unique_detectors(
        self, iou: float = DETECTOR, rule: ConceptRule = "published", auc: float = DETECTOR_AUC
    ) -> int:
        """How many different concepts are detected above ``iou``, or ``auc`` where captions gave the names.

        ``rule``: "published" counts every category's best concept of a unit, as the published plots do; "best" only
        the one best name of a unit. Raises InputError for another rule.
        """
        return sum(len(concepts) for concepts in self.unique_by_category(iou, rule, auc).values())

    def unique_by_category(
        self, iou: float = DETECTOR, rule: ConceptRule = "published", auc: float = DETECTOR_AUC
    ) -> dict[str, set[str]]:
        """The concepts that `unique_detectors` counts, by category."""
        if rule not in ("published", "best"):
            raise InputError(f"rule={rule!r}; known are 'published' (each category's best) and 'best' (one a unit)")
        concepts: dict[str, set[str]] = {}
        for unit in range(len(self)):
            names: Sequence[UnitName] = self.candidates(unit) if rule == "published" else [self[unit]]
            for name in names:
                if detects(name, iou, auc):
                    concepts.setdefault(name.category, set()).add(name.concept)
        return concepts

    def save(self, path: str | Path) -> Path:
        """Write to ``path``: .h5 keeps everything, .csv and .json the names; see `vlx.neuron_names.read`."""
        written: Path = import_module(FILES).save(self, Path(path))
        return written

    def __repr__(self) -> str:
        of = " ".join(str(self.about[key]) for key in ("model", "layer") if self.about.get(key))
        return f"NeuronNames({of or 'a table'}: {len(self)} units, {len(self.detectors())} detectors)"


def detects(name: UnitName, iou: float = DETECTOR, auc: float = DETECTOR_AUC) -> bool:
    """Whether a unit counts as a detector of the concept: its IoU, and its score, lie above ``iou``.

    Of a name from captions: its AUC lies above ``auc``, and no more than 1 % of permutations give one as good.
    """
    if name.auc == name.auc:
        return bool(name.concept) and name.auc > auc and (name.p is None or name.p <= LEVEL)
    return bool(name.concept) and name.iou > iou and name.score > iou


def named_by(tally: Tally, quantile: float | None, denominator: str) -> tuple[tuple[UnitName, ...], ...]:
    """Each unit's best concept of each category by IoU, best first; concepts that no picture shows are left out."""
    chosen = tally.best_quantile() if quantile is None else dict.fromkeys(tally.categories, tally.quantile(quantile))
    units: list[list[UnitName]] = [[] for _ in range(tally.units)]
    for number in sorted(set(chosen.values())):
        for place, category in enumerate(tally.categories):
            if chosen[category] == number:
                members = np.flatnonzero((tally.category == place) & (tally.truth.sum(0) > 0))
                fair = len(set(chosen.values())) > 1
                for unit, name in enumerate(_best(tally, number, denominator, members, place, fair)):
                    units[unit] += [name] if name.iou > 0 else []
    return tuple(tuple(sorted(names, key=lambda name: -name.score)) for names in units)


def _best(tally: Tally, quantile: int, denominator: str, members: Any, category: int, fair: bool) -> Iterator[UnitName]:
    """Every unit's best of the concepts ``members``, all of one category; ``fair``: scored against chance."""
    if not len(members):
        return
    chance, reach = tally.chance(quantile)[members], tally.attainable(quantile)[members]
    iou, error = tally.iou(quantile, denominator)[:, members], tally.error(quantile, denominator)[:, members]
    left = tally.iou_without(quantile, denominator)[:, :, members].argmax(2)
    rule = ("paper", "lite", "all").index(denominator)
    for unit, best in enumerate(iou.argmax(1)):
        concept, value = tally.concepts[members[best]], float(iou[unit, best])
        score = (value - chance[best]) / max(reach[best] - chance[best], 1e-9) if fair else value
        yield UnitName(
            unit,
            concept.name,
            concept.category,
            value,
            float(score),
            error=float(error[unit, best]) if len(left) > 1 else None,
            wins=int((left[:, unit] == best).sum()) if len(left) > 1 else None,
            folds=len(left) if len(left) > 1 else None,
            threshold=float(tally.thresholds[quantile, unit]),
            quantile=tally.quantiles[quantile],
            intersection=int(tally.intersection[:, quantile, unit, members[best]].sum()),
            truth=int(tally.truth[:, members[best]].sum()),
            activation=int(tally.activation[rule, :, quantile, unit, category].sum()),
        )


def permuted(table: NeuronNames, order: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.int_]]) -> NeuronNames:
    """The same names on other units: unit k has the names of unit ``order[k]``, and keeps its own threshold.

    ``order`` [K] holds each unit once; raises InputError otherwise. The table still says which model it is for, as a
    baseline is to be used with it, and that its names are permuted.

    >>> wrong = permuted(names, np.random.default_rng(0).permutation(len(names)))
    """
    numbers = [int(unit) for unit in order]
    if sorted(numbers) != list(range(len(table))):
        raise InputError(f"order must hold each of the units 0 to {len(table) - 1} once, it has {len(numbers)} numbers")
    listed = tuple(
        tuple(replace(name, unit=unit, threshold=table[unit].threshold) for name in table.candidates(other))
        for unit, other in enumerate(numbers)
    )
    about = {**table.about, "source": "names permuted over units: a baseline, not a table of names"}
    return NeuronNames(listed, about, categories=table.categories, activity=table.activity)
