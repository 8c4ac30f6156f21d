"""`dissect`: names for the units of a feature map, from pictures whose every pixel is labelled."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vlx import process
from vlx.errors import InputError, ModelError, in_own_words
from vlx.neuron_names.datasets import ConceptData, Told, open_data
from vlx.neuron_names.dissection.checkpoint import Checkpoint
from vlx.neuron_names.dissection.layers import Layers, settings
from vlx.neuron_names.dissection.passes import Passes, Progress, silently
from vlx.neuron_names.dissection.pictures import Pictures
from vlx.neuron_names.dissection.shares import Elsewhere, share
from vlx.neuron_names.dissection.spill import Spill
from vlx.neuron_names.dissection.words import LEAST, name_by_captions
from vlx.neuron_names.table import NeuronNames
from vlx.protocol.task import Task

QUANTILE = 0.005  # Network Dissection, section 3.2
FOLDS = 4


@in_own_words("the dissection cannot be made", ModelError)
def dissect(task: Task, data: ConceptData | str | Path, **options: Any) -> NeuronNames:
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
    found = dissect_layers(task, data, None, **options)
    return next(iter(found.values()))


@in_own_words("the dissection cannot be made", ModelError)
def dissect_layers(
    task: Task,
    data: ConceptData | str | Path,
    layers: Mapping[str, nn.Module] | None,
    *,
    quantile: float | Sequence[float] = QUANTILE,
    folds: int = FOLDS,
    labels: tuple[int, int] | None = None,
    compat: str | None = None,
    batch_size: int = 16,
    checkpoint: str | Path | None = None,
    spill: str | Path | None = None,
    least: int | None = None,
    progress: Progress = silently,
    elsewhere: Elsewhere | None = None,
) -> dict[str, NeuronNames]:
    """As `dissect`, for several layers of the vision part (modules by name) in the same passes.

    ``elsewhere``: other processes that run the model and count (`vlx.cluster`); the table is the same to the bit.
    """
    if compat not in (None, "lite"):
        raise InputError(f"compat={compat!r}; known is 'lite', or leave it out")
    if spill is not None and elsewhere is not None:
        raise InputError("spill: maps are set aside by one process alone; leave it out where several work")
    data = open_data(data)
    process.settle()
    if isinstance(data, Told):
        given = {
            "compat": compat,
            "labels": labels,
            "spill": spill,
            "quantile": quantile if quantile != QUANTILE else None,
        }
        _refuse(data, {name for name, value in given.items() if value is not None}, "for pictures with masks")
        least = LEAST if least is None else least
        return name_by_captions(
            task,
            data,
            layers,
            folds=folds,
            least=least,
            checkpoint=checkpoint,
            progress=progress,
            elsewhere=elsewhere,
        )
    _refuse(data, {"least"} if least is not None else set(), "for captioned pictures")
    passes, settings = begun(
        task,
        data,
        layers,
        quantile=quantile,
        folds=folds,
        labels=labels,
        compat=compat,
        batch_size=batch_size,
        spill=spill,
        progress=progress,
    )
    kept = Checkpoint(None if checkpoint is None else Path(checkpoint), settings)
    if elsewhere is None:
        passes.go(kept)
    else:
        share(passes, kept, elsewhere)
    single = passes.quantiles[0] if len(passes.quantiles) == 1 else None
    denominator = "lite" if compat == "lite" else "paper"
    found = {}
    for name in passes.layers:
        own = passes.about(name) | {"contents_hash": passes.pictures.contents.digest()}
        names = NeuronNames(about=settings | own, tally=passes.tally(name))
        found[name] = names.choose(quantile=single, denominator=denominator)
    passes.spill.remove()  # all is counted and, if it is to be kept, kept
    return found


def begun(
    task: Task,
    data: ConceptData,
    layers: Mapping[str, nn.Module] | None,
    *,
    quantile: float | Sequence[float],
    folds: int,
    labels: tuple[int, int] | None,
    compat: str | None,
    batch_size: int,
    spill: str | Path | None = None,
    progress: Progress = silently,
) -> tuple[Passes, dict[str, Any]]:
    """The passes over labelled pictures, and the settings of the dissection that they are."""
    quantiles = _quantiles(quantile)
    pictures = Pictures(task, data, folds, batch_size, labels)
    settings = _settings(task, data, quantiles, pictures, layers, compat)
    spilt = Spill(spill, settings)
    return Passes(pictures, Layers(task, layers), quantiles, compat == "lite", spilt, progress), settings


def _refuse(data: ConceptData, given: set[str], why: str) -> None:
    if given:
        raise InputError(f"{', '.join(sorted(given))}: {why}, which {data.name} is not; leave it out")


def _quantiles(given: float | Sequence[float]) -> tuple[float, ...]:
    several = [given] if isinstance(given, int | float) else given
    known = isinstance(several, Iterable) and all(isinstance(q, int | float) for q in several)
    quantiles = tuple(sorted({float(q) for q in several})) if known else ()
    if not quantiles or not all(0 < q < 1 for q in quantiles):
        raise InputError(f"quantile={given!r}; give shares between 0 and 1, such as 0.005")
    return quantiles


def _settings(
    task: Task,
    data: ConceptData,
    quantiles: tuple[float, ...],
    pictures: Pictures,
    layers: Mapping[str, nn.Module] | None,
    compat: str | None,
) -> dict[str, Any]:
    """What makes a dissection what it is; all of it is kept with the table."""
    return {
        **settings(task, data, layers),
        "quantiles": list(quantiles),
        "threshold_method": "exact",
        "folds": pictures.folds,
        "label_grid": list(pictures.grid),
        "prepared": list(pictures.shape),
        "batch_size": len(pictures.batches[0].numbers),
        "compat": compat or "",
        "metric": "iou",
    }
