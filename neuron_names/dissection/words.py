"""Names for units from captions, without masks: the word that its highest activation tells best."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vlx import __version__
from vlx.data.concepts import Concept
from vlx.data.example import Told
from vlx.errors import InputError
from vlx.neuron_names.dissection.checkpoint import Checkpoint
from vlx.neuron_names.dissection.layers import Layers, settings
from vlx.neuron_names.dissection.options import LEAST_PICTURES, DissectOptions
from vlx.neuron_names.dissection.peaks import Peaks
from vlx.neuron_names.dissection.shares import DissectionWorkers, share_peaks
from vlx.neuron_names.table import NeuronNames
from vlx.neuron_names.table.auc import PERMUTATIONS, named
from vlx.protocol.task import Task

SHOWN = 12  # words and pictures that the table names of those left out


@dataclass(frozen=True, eq=False)
class CaptionWords:
    """Concepts of which there are enough pictures: ``told`` bool [N, C]; and how many were ``left_out``, most first."""

    concepts: tuple[Concept, ...]
    told: NDArray[np.bool_]
    left_out: tuple[tuple[str, int], ...]


def words(by_picture: Sequence[frozenset[Concept]], least: int = LEAST_PICTURES) -> CaptionWords:
    """The concepts that ``least`` pictures have and ``least`` lack, in order of their names."""
    pictures = Counter(concept for concepts in by_picture for concept in concepts)
    enough = sorted(concept for concept, n in pictures.items() if least <= n <= len(by_picture) - least)
    places = {concept: number for number, concept in enumerate(enough)}
    has = np.zeros((len(by_picture), len(enough)), bool)
    for row, concepts in zip(has, by_picture, strict=True):
        row[[places[concept] for concept in concepts if concept in places]] = True
    others = ((concept.name, n) for concept, n in pictures.most_common() if concept not in places)
    return CaptionWords(tuple(enough), has, tuple(others))


def name_by_captions(
    task: Task,
    data: Told,
    layers: Mapping[str, nn.Module] | None,
    wish: DissectOptions,
    *,
    elsewhere: DissectionWorkers | None = None,
) -> dict[str, NeuronNames]:
    """Names for the units of each layer from captions; see `vlx.neuron_names.dissect`.

    Raises InputError where no word has enough pictures, and for pictures none of which can be read.
    """
    peaks, settings = begun(task, data, layers, wish)
    least = wish.enough
    by_picture = data.told()
    _enough(data, words(by_picture, least), least)
    kept = Checkpoint(wish.file, settings)
    if elsewhere is None:
        peaks.go(kept)
    else:
        share_peaks(peaks, kept, elsewhere)
    read = np.setdiff1d(np.arange(len(data)), peaks.unread)
    vocabulary = words([by_picture[n] for n in read], least)
    _enough(data, vocabulary, least)
    about = settings | {"images": len(read), "left_out": _left_out(data, peaks.unread, vocabulary, least)}
    about |= {"words": len(vocabulary.concepts), "contents_hash": peaks.contents.digest()}
    tables = {}
    for name, values in peaks.values.items():
        naming = named(values[read], vocabulary.told, vocabulary.concepts, read % wish.folds)
        shape, alignment = peaks.grids[name]
        facts = about | {"layer": name, "feature_map": shape, "alignment": alignment}
        tables[name] = NeuronNames(naming.listed, facts, activity=peaks.activity(name))
    return tables


def begun(
    task: Task, data: Told, layers: Mapping[str, nn.Module] | None, wish: DissectOptions
) -> tuple[Peaks, dict[str, Any]]:
    """The pass over captioned pictures, and the settings of the dissection that it is a part of."""
    if wish.folds < 1 or wish.enough < 1:
        raise InputError(f"folds={wish.folds} and least={wish.enough} must be 1 or more")
    return Peaks(data, Layers(task, layers), wish.progress), _settings(task, data, layers, wish.folds, wish.enough)


def _enough(data: Told, vocabulary: CaptionWords, least: int) -> None:
    if not vocabulary.concepts:
        most = ", ".join(f"{name} {n}" for name, n in vocabulary.left_out[:3]) or "none at all"
        raise InputError(
            f"{data.name}: no word is told of {least} pictures and lacking in {least} of {len(vocabulary.told)} (most: "
            f"{most}); give more captioned pictures, or a smaller least"
        )


def _left_out(data: Told, unread: Sequence[int], vocabulary: CaptionWords, least: int) -> list[str]:
    """What is no part of the table, in sentences."""
    sentences = list(data.left_out)
    if unread:
        more = f" and {len(unread) - SHOWN} more" if len(unread) > SHOWN else ""
        named = ", ".join(_name(data, number) for number in unread[:SHOWN])
        sentences.append(f"{len(unread)} pictures that cannot be read: {named}{more}")
    if vocabulary.left_out:
        some = ", ".join(f"{name} {n}" for name, n in vocabulary.left_out[:SHOWN])
        sentences.append(f"{len(vocabulary.left_out)} words that fewer than {least} pictures have or lack, as {some}")
    return sentences


def _name(data: Told, number: int) -> str:
    try:
        _ = data[number].image
    except InputError as error:
        return str(error).partition(";")[0]  # what it is, without the remedy
    return f"number {number}"


def _settings(task: Task, data: Told, layers: Mapping[str, nn.Module] | None, folds: int, least: int) -> dict[str, Any]:
    return {
        **settings(task, data, layers),
        "source": f"vlx {__version__} dissect, by captions",
        "told_by": data.told_by,
        "folds": folds,
        "least": least,
        "permutations": PERMUTATIONS,
        "metric": "auc",
    }
