"""Wider names from the same counts: what a unit's "bird" and "butterfly" have in common.

The labels of one category do not overlap in a pixel, so intersection and truth of "animal" are the sums over its
hyponyms and its IoU is exact, without the pictures.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log2

import numpy as np

from vlx.data.concepts import Concept
from vlx.errors import InputError
from vlx.language import close_matches
from vlx.neuron_names.table.names import NeuronNames
from vlx.neuron_names.table.tally import DENOMINATORS, Counts, Floats, Tally

Parents = Mapping[str, Sequence[str]]  # a lone name is one
PENALTY = 0.01  # of IoU, for every doubling of the concepts that a name takes in

# What the objects of the drawn scenes are (vlx.scenes), narrowest first.
SCENES: Parents = {
    "house": ("building",),
    "building": ("artefact",),
    "car": ("vehicle",),
    "boat": ("vehicle",),
    "balloon": ("aircraft",),
    "rocket": ("aircraft",),
    "aircraft": ("vehicle",),
    "vehicle": ("artefact",),
    "umbrella": ("utensil",),
    "lamp": ("utensil",),
    "utensil": ("artefact",),
    "tree": ("plant",),
    "flower": ("plant",),
    "plant": ("living thing",),
    "mushroom": ("living thing",),
    "bird": ("animal",),
    "butterfly": ("animal",),
    "animal": ("living thing",),
}


@dataclass(frozen=True)
class Hypernym:
    """The widest fitting name of one unit: ``concept`` stands for ``hyponyms``, all of ``category``.

    ``score`` is the IoU less the penalty. ``exact`` is False when the counts show that the hyponyms' labels overlap:
    the sums then count pixels twice, and ``iou`` is unsure.
    """

    unit: int
    concept: str
    category: str
    iou: float
    score: float
    hyponyms: tuple[str, ...]
    exact: bool = True


def hypernym_names(
    names: NeuronNames, parents: Parents | None = None, *, category: str = "object", penalty: float = PENALTY
) -> tuple[Hypernym | None, ...]:
    """Each unit's concept or hypernym with the best IoU less ``penalty`` · log₂ of how many concepts it takes in.

    ``parents`` tells the next wider names of a name, as `SCENES` and `wordnet_parents` do; None takes WordNet. Concepts
    of other categories are left out: labels of two categories share pixels, and their sums would be upper bounds only.
    None stands for a unit whose mask meets no concept of the category.

    Raises InputError for a table without counts, and for a category that it lacks.
    """
    tally = names.tally
    if tally is None:
        raise InputError("this table has no counts, so hypernyms have no IoU; dissect, or load a .h5 of a dissection")
    if category not in tally.categories:
        near = ", ".join(close_matches(category, tally.categories)) or ", ".join(tally.categories)
        raise InputError(f"no concept is of category {category!r}; there are: {near}")
    there = (tally.category == tally.categories.index(category)) & (tally.truth.sum(0) > 0)
    places = {tally.concepts[n].name: int(n) for n in np.flatnonzero(there)}
    if parents is None:
        parents = wordnet_parents([tally.concepts[n] for n in places.values()])
    nodes = _nodes(list(places), parents)
    return tuple(_chosen(names, tally, category, places, nodes, penalty)) if nodes else (None,) * tally.units


def _chosen(
    names: NeuronNames,
    tally: Tally,
    category: str,
    places: Mapping[str, int],
    nodes: Mapping[str, tuple[str, ...]],
    penalty: float,
) -> Iterator[Hypernym | None]:
    members = np.zeros((len(tally.concepts), len(nodes)), np.int64)
    for column, hyponyms in enumerate(nodes.values()):
        members[[places[name] for name in hyponyms], column] = 1
    iou, exact = _iou(names, tally, category, members)
    score = iou - penalty * np.array([log2(len(hyponyms)) for hyponyms in nodes.values()])
    for unit, best in enumerate(np.where(iou > 0, score, -np.inf).argmax(1)):
        name, hyponyms = list(nodes.items())[best]
        value = float(iou[unit, best])
        hypernym = Hypernym(unit, name, category, value, float(score[unit, best]), hyponyms, bool(exact[unit, best]))
        yield hypernym if value > 0 else None


def _iou(
    names: NeuronNames, tally: Tally, category: str, members: Counts
) -> tuple[Floats, "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"]:
    """IoU of every unit and node, [K, N], and whether no sum exceeds what it is part of."""
    place = tally.categories.index(category)
    quantile = tally.best_quantile()[category] if names.quantile is None else tally.quantile(names.quantile)
    both = tally.intersection[:, quantile].sum(0) @ members
    truth = tally.truth.sum(0) @ members
    activation = tally.activation[DENOMINATORS.index(names.denominator), :, quantile, :, place].sum(0)[:, None]
    union = truth + activation - both
    iou = np.divide(both, union, out=np.zeros(both.shape), where=union > 0)
    return iou, (both <= activation) & (truth <= tally.area[:, place].sum())


def _nodes(concepts: Sequence[str], parents: Parents) -> dict[str, tuple[str, ...]]:
    """Each name with the concepts below it; of names with the same concepts the nearest to them is kept."""
    below: dict[str, dict[str, int]] = {}
    for concept in concepts:
        for name, distance in _above(concept, parents).items():
            below.setdefault(name, {})[concept] = distance
    kept: dict[frozenset[str], str] = {}
    for name in sorted(below, key=lambda name: (sum(below[name].values()), name)):
        kept.setdefault(frozenset(below[name]), name)
    return {name: tuple(one for one in concepts if one in below[name]) for name in kept.values()}


def _above(concept: str, parents: Parents) -> dict[str, int]:
    """The concept and all wider names, with how many steps up they are; circles end."""
    distances, level, steps = {concept: 0}, [concept], 0
    while level:
        steps += 1
        level = [name for name in chain.from_iterable(_parents(one, parents) for one in level) if name not in distances]
        distances |= dict.fromkeys(level, steps)
    return distances


def _parents(name: str, parents: Parents) -> Sequence[str]:
    wider = parents.get(name, ())
    return (wider,) if isinstance(wider, str) else wider


def wordnet_parents(concepts: Iterable[Concept]) -> Parents:
    """The hypernyms of concepts in WordNet, by the synset that a concept names, or the first noun of its name.

    Concepts that WordNet lacks stay by themselves. Raises InputError when NLTK or its WordNet is not installed.
    """
    try:
        from nltk.corpus import wordnet

        wordnet.ensure_loaded()
    except ImportError:
        raise InputError("hypernyms need NLTK: pip install 'vlx[language]'; or give parents=") from None
    except LookupError:
        raise InputError("NLTK has no WordNet here: python -m nltk.downloader wordnet; or give parents=") from None
    parents: dict[str, tuple[str, ...]] = {}
    for concept in concepts:
        nouns = wordnet.synsets(concept.name.replace(" ", "_"), pos="n")
        synsets = [wordnet.synset(concept.synset)] if concept.synset else nouns[:1]
        parents[concept.name] = tuple(one.name() for one in synsets)
        while synsets:
            wider = {one.name(): tuple(one.hypernyms() + one.instance_hypernyms()) for one in synsets}
            new = {name: above for name, above in wider.items() if name not in parents}
            parents |= {name: tuple(one.name() for one in above) for name, above in new.items()}
            synsets = list(chain.from_iterable(new.values()))
    return parents
