"""Are names from captions those that masks give, and do they hold on photographs that they were not made from?

    python -m benchmarks.caption_names                                   # drawn scenes: captions beside masks
    python -m benchmarks.caption_names --photos TABLE captions:DIR:test  # a table's names on other photographs

Scenes: names of ``scenes/captioner`` from 2,000 captions beside those from 2,000 scenes' masks, both without parts,
kinds and what no caption says. Wide masks measure area: at 0.05, and as the shipped table reads them, fewer agree. The
AUC from which a unit is a detector (`DETECTOR_AUC`) was kept for what it does here, and is judged on photographs.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import vlx
from vlx import neuron_names
from vlx.data import Told
from vlx.neuron_names import NeuronNames
from vlx.neuron_names.dissection.checkpoint import Checkpoint
from vlx.neuron_names.dissection.layers import Layers
from vlx.neuron_names.dissection.peaks import Peaks
from vlx.neuron_names.dissection.words import words
from vlx.neuron_names.table.auc import areas, spread
from vlx.neuron_names.table.names import DETECTOR_AUC

COMMON = ("object", "color", "texture", "scene")  # categories of both: captions say no parts, masks have no kinds
SURE = 2.33  # standard deviations: p ≤ .01 for the one name that is asked for


def sayable(masks: NeuronNames, captions: NeuronNames, quantile: float | None) -> NeuronNames:
    """Names from masks among the concepts that captions give names from, at one quantile or each category's own."""
    tally = masks.tally
    assert tally is not None
    said = {(one.concept, one.category) for unit in range(len(captions)) for one in captions.candidates(unit)}
    kept = [number for number, concept in enumerate(tally.concepts) if concept[:2] in said]
    concepts = tuple(tally.concepts[number] for number in kept)
    groups = [tally.categories.index(name) for name in dict.fromkeys(one.category for one in concepts)]
    own = replace(
        tally,
        concepts=concepts,
        intersection=tally.intersection[..., kept],
        truth=tally.truth[:, kept],
        activation=tally.activation[..., groups],
        area=tally.area[:, groups],
        overlaps=tally.overlaps[groups] if len(tally.overlaps) else tally.overlaps,
    )
    return NeuronNames(about=masks.about, tally=own, quantile=quantile)


def agreement(masks: NeuronNames, captions: NeuronNames, auc: float) -> tuple[int, float, float]:
    """Of units that both call detectors: how many, and how often the one best name is the same; or the best name from
    captions is the best from masks of its category.
    """
    theirs, ours = masks.detectors(), captions.detectors(auc=auc)
    both = sorted(theirs.keys() & ours.keys())
    same = [ours[unit].concept == theirs[unit].concept for unit in both]
    within = [any(ours[unit].concept == one.concept for one in masks.candidates(unit)) for unit in both]
    return len(both), float(np.mean(same)), float(np.mean(within))


def scenes(count: int) -> None:
    """Print how often names from captions and from masks agree on drawn scenes."""
    task = vlx.load("scenes/captioner")
    masks = neuron_names.shipped(task)
    captions = neuron_names.dissect(task, f"captions:scenes:{count}").choose(categories=COMMON)
    print(f"scenes/captioner, {count} captions ({captions.about['told_by']}); units that both call detectors")
    print("quantile of the masks   AUC above   units   same best name   same in its category")
    for quantile in (0.005, 0.01, 0.02, 0.05, None):
        for auc in (0.5, DETECTOR_AUC, 0.85):
            read = "paper's 0.005" if quantile == 0.005 else "by category" if quantile is None else f"{quantile:g}"
            number, same, within = agreement(sayable(masks, captions, quantile), captions, auc)
            print(f"{read:<24}{auc:<12.2f}{number:<8}{same:<17.3f}{within:.3f}")


def photos(table: str, data: str) -> None:
    """Print how a table's detectors do on captioned photographs that it was not made from."""
    names = neuron_names.load(table)
    task, given = vlx.load(str(names.about["model"])), neuron_names.open_data(data)
    assert isinstance(given, Told)
    peaks = Peaks(given, Layers(task), lambda items, _: items)
    peaks.go(Checkpoint(None, {}))
    rows = judged(names, peaks, given)
    print(f"{len(names.detectors())} detectors of {table} above AUC {DETECTOR_AUC:g}; {len(rows)} names in {data}")
    then, now, sure = (np.array([row[key] for row in rows]) for key in ("then", "now", "sure"))
    print(f"AUC {then.mean():.3f} where they were named, {now.mean():.3f} here; beyond chance {sure.mean():.3f}")
    print(f"above {DETECTOR_AUC:g} here too: {(now > DETECTOR_AUC).mean():.3f}")


def judged(names: NeuronNames, peaks: Peaks, data: Told) -> list[dict[str, Any]]:
    """Each detector's AUC then and now, of those whose word some pictures have here."""
    read = np.setdiff1d(np.arange(len(data)), peaks.unread)
    told = data.told()
    known = words([told[number] for number in read], 1)
    values = next(iter(peaks.values.values()))[read]
    places = {(one.name, one.category): number for number, one in enumerate(known.concepts)}
    found = []
    for unit, name in names.detectors().items():
        if (name.concept, name.category) in places:
            column = known.told[:, [places[name.concept, name.category]]]
            now, wide = areas(values[:, [unit]], column).item(), spread(values[:, [unit]], column).item()
            found.append({"unit": unit, "then": name.auc, "now": now, "sure": now - 0.5 > SURE * wide})
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--photos", nargs=2, metavar=("TABLE", "DATA"))
    given = parser.parse_args(arguments)
    if given.photos:
        photos(*given.photos)
    else:
        scenes(given.scenes)


if __name__ == "__main__":
    main()
