"""`dissect`: names for the units of a feature map, from pictures whose every pixel is labelled."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from vlx import process
from vlx.data import ConceptData, Told, open_data
from vlx.data.example import AnyData, with_concepts
from vlx.errors import InputError, ModelError, in_own_words
from vlx.neuron_names.dissection.checkpoint import Checkpoint
from vlx.neuron_names.dissection.layers import Layers, settings
from vlx.neuron_names.dissection.options import DissectOptions, DissectOptionsDict
from vlx.neuron_names.dissection.passes import Passes
from vlx.neuron_names.dissection.pictures import LabelledPictures
from vlx.neuron_names.dissection.shares import DissectionWorkers, share
from vlx.neuron_names.dissection.spill import Spill
from vlx.neuron_names.dissection.words import name_by_captions
from vlx.neuron_names.table import NeuronNames
from vlx.protocol.task import Task


@in_own_words("the dissection cannot be made", ModelError)
def dissect(task: Task, data: AnyData | str | Path, **options: Unpack[DissectOptionsDict]) -> NeuronNames:
    """Name the units of ``task``'s feature map A by the concepts of ``data``: Network Dissection (1704.05796), exact.

    ``data``: labelled pictures, or their name, as `vlx.neuron_names.open_data` takes it: "scenes:2000", a folder.

    A unit's mask is where its map lies above the value that a share ``quantile`` of its cells exceeds; its name the
    concept whose pixels overlap with the mask most (IoU). Options, with their defaults:

    ``quantile=0.005``: or several, counted in one pass; each category is then read at the one that fits the size of its
    concepts (`Tally.best_quantile`). ``folds=4``: parts of the pictures, for error bars. ``labels``: (H, W) of the grid
    on which pixels are counted, by default half the prepared picture's. ``compat="lite"``: as NetDissect-Lite counts
    (cells placed by the half-pixel rule, pictures counted that the mask touches). ``batch_size=16``: pictures held at
    once, rounded up to blocks of 16: the model always runs on 16, the last block filled up. ``checkpoint``: a file in
    which to keep what was counted, and to go on from; remove it when the table is saved. ``spill``: a folder for the
    maps that may matter, so that the model runs once and not twice. ``progress(items, label)`` shows how far it is.

    Of captioned pictures ("captions:DIR") the name is the word that the unit's highest activation over the picture
    tells best, by AUC beyond what the best word of permuted pictures reaches, and ``least=20`` pictures must have it
    and lack it. They have no masks: of the options only ``folds``, ``checkpoint`` and ``progress`` are for them too.

    Counts are integers, and the same for any batch size; summed over folds also for any order of the pictures. Raises
    InputError for labels that do not fit, ModelError for features that are nan or infinite, and as `features` does.
    """
    tables = dissect_layers(task, data, None, **options)
    return next(iter(tables.values()))


@in_own_words("the dissection cannot be made", ModelError)
def dissect_layers(
    task: Task,
    data: AnyData | str | Path,
    layers: Mapping[str, nn.Module] | None,
    *,
    elsewhere: DissectionWorkers | None = None,
    **options: Unpack[DissectOptionsDict],
) -> dict[str, NeuronNames]:
    """As `dissect`, for several layers of the vision part (modules by name) in the same passes.

    ``elsewhere``: other processes that run the model and count (`vlx.cluster`); the table is the same to the bit.
    """
    wish = DissectOptions.of(options)
    if wish.spill is not None and elsewhere is not None:
        raise InputError("spill: maps are set aside by one process alone; leave it out where several work")
    opened = open_data(data)
    process.settle()
    if isinstance(opened, Told):
        wish.refuse(("compat", "labels", "spill", "quantile"), opened.name, "for pictures with masks")
        return name_by_captions(task, opened, layers, wish, elsewhere=elsewhere)
    wish.refuse(("least",), opened.name, "for captioned pictures")
    passes, settings = begun(task, with_concepts(opened), layers, wish)
    kept = Checkpoint(wish.file, settings)
    if elsewhere is None:
        passes.go(kept)
    else:
        share(passes, kept, elsewhere)
    single = passes.quantiles[0] if len(passes.quantiles) == 1 else None
    denominator = "lite" if wish.compat == "lite" else "paper"
    tables = {}
    for name in passes.layers:
        about = passes.about(name) | {"contents_hash": passes.pictures.contents.digest()}
        names = NeuronNames(about=settings | about, tally=passes.tally(name))
        tables[name] = names.choose(quantile=single, denominator=denominator)
    passes.spill.remove()  # all is counted and, if it is to be kept, kept
    return tables


def begun(
    task: Task, data: ConceptData, layers: Mapping[str, nn.Module] | None, wish: DissectOptions
) -> tuple[Passes, dict[str, Any]]:
    """The passes over labelled pictures, and the settings of the dissection that they are."""
    pictures = LabelledPictures(task, data, wish.folds, wish.batch_size, wish.labels)
    settings = _settings(task, data, pictures, layers, wish)
    spilt = Spill(wish.spill, settings)
    return Passes(pictures, Layers(task, layers), wish.quantiles, wish.compat == "lite", spilt, wish.progress), settings


def _settings(
    task: Task,
    data: ConceptData,
    pictures: LabelledPictures,
    layers: Mapping[str, nn.Module] | None,
    wish: DissectOptions,
) -> dict[str, Any]:
    """What makes a dissection what it is; all of it is kept with the table."""
    return {
        **settings(task, data, layers),
        "quantiles": list(wish.quantiles),
        "threshold_method": "exact",
        "folds": pictures.folds,
        "label_grid": list(pictures.grid),
        "prepared": list(pictures.shape),
        "batch_size": len(pictures.batches[0].numbers),
        "compat": wish.compat or "",
        "metric": "iou",
    }
