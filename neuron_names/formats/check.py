"""Checks of a tally's counts: what must hold of every one, whoever counted it."""

import numpy as np

from vlx.errors import InputError
from vlx.neuron_names.table.tally import DENOMINATORS, Tally


def check(tally: Tally, where: str) -> None:
    """Raise InputError naming ``where`` and the first thing that cannot be."""
    for wrong, what in _doubts(tally):
        if wrong:
            raise InputError(f"{where}: {what}; the table is damaged or was counted wrongly: dissect anew")


def _doubts(tally: Tally) -> "list[tuple[bool, str]]":
    """(wrong, what) — counts are looked at only when their shapes are right."""
    folds, concepts = tally.truth.shape
    quantiles, units = tally.thresholds.shape
    groups = len(tally.categories)
    shapes = {
        "intersection": (folds, quantiles, units, concepts),
        "activation": (len(DENOMINATORS), folds, quantiles, units, groups),
        "area": (folds, groups),
        "tied": (quantiles, units),
    }
    doubts: list[tuple[bool, str]] = [
        (getattr(tally, name).shape != shape, f"{name} has shape {getattr(tally, name).shape}, not {shape}")
        for name, shape in shapes.items()
    ]
    doubts += [
        (len(tally.concepts) != concepts, f"{len(tally.concepts)} concepts for {concepts} counts"),
        (len({concept[:2] for concept in tally.concepts}) != concepts, "a concept stands there twice"),
        (len(tally.quantiles) != quantiles, f"{len(tally.quantiles)} quantiles for {quantiles} rows of thresholds"),
        (not all(0 < one < 1 for one in tally.quantiles), f"quantiles {tally.quantiles} are not between 0 and 1"),
        (bool(np.isnan(tally.thresholds).any()), "a threshold is not a number"),
        (len(tally.examples) not in (0, units), f"{len(tally.examples)} rows of examples for {units} units"),
        (tally.means.shape not in ((0,), (units,)), f"means has shape {tally.means.shape} for {units} units"),
        (not np.isfinite(tally.means).all(), "a mean is not a number"),
        (tally.overlaps.shape not in ((0,), (groups,)), f"overlaps has shape {tally.overlaps.shape}, not {(groups,)}"),
    ]
    return doubts if any(wrong for wrong, _ in doubts) else _doubtful_counts(tally)


def _doubtful_counts(tally: Tally) -> "list[tuple[bool, str]]":
    paper, lite, every = tally.activation
    doubts = [
        (bool((tally.truth > tally.area[:, tally.category]).any()), "a concept has more pixels than its pictures")
    ]
    doubts += [(bool((lite > paper).any() or (paper > every).any()), "masks in some pictures exceed those in all")]
    for fold, both in enumerate(tally.intersection):  # one fold at a time: the whole is large
        doubts += [
            (bool((both < 0).any()), "an intersection is negative"),
            (bool((both > tally.truth[fold]).any()), "an intersection exceeds its concept"),
            (bool((both > lite[fold][:, :, tally.category]).any()), "an intersection exceeds its mask"),
        ]
    return doubts
