"""How much a caption is like what people wrote of its photograph: CIDEr-D (1411.5726) and BLEU-4, on token ids."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

LONGEST = 4  # words of an n-gram
SIGMA = 6.0  # spread of lengths that CIDEr-D forgives
SMOOTH = 0.1  # added to counts, so that a caption without a common n-gram is not worth nothing
BLEU = 4.0  # weight of BLEU-4 beside CIDEr-D

Grams = tuple[Counter[tuple[int, ...]], ...]


def grams(tokens: Sequence[int]) -> Grams:
    """Its n-grams of one to four tokens, counted."""
    return tuple(
        Counter(tuple(tokens[first : first + n]) for first in range(len(tokens) - n + 1)) for n in range(1, LONGEST + 1)
    )


@dataclass(frozen=True)
class _Weighed:
    """Term frequency times inverse document frequency of n-grams, their lengths as vectors, the count of tokens."""

    vectors: tuple[dict[tuple[int, ...], float], ...]
    norms: tuple[float, ...]
    length: int


class Likeness:
    """Rewards of captions, by the references of the training photographs: name → captions, token ids with END.

    >>> Likeness({"a.jpg": [[5, 6, 2]], "b.jpg": [[7, 2]]})("a.jpg", [5, 6, 2]) > 10
    True
    """

    def __init__(self, references: Mapping[str, Sequence[Sequence[int]]]) -> None:
        self._grams = {name: [grams(one) for one in some] for name, some in references.items()}
        self._documents = Counter(
            gram for some in self._grams.values() for gram in set().union(*(counts for one in some for counts in one))
        )
        self._log = math.log(len(references))
        self._weighed = {name: [self._weigh(one) for one in some] for name, some in self._grams.items()}

    def __call__(self, name: str, tokens: Sequence[int]) -> float:
        """CIDEr-D (0 to 10) and 4 · BLEU-4 (0 to 4) of a caption of this photograph; END is part of it."""
        caption = grams(tokens)
        return self.cider(name, caption) + BLEU * bleu(caption, self._grams[name])

    def cider(self, name: str, caption: Grams) -> float:
        """CIDEr-D, 0 to 10."""
        weighed, likenesses = self._weigh(caption), list[float]()
        for other in self._weighed[name]:
            close = math.exp(-((weighed.length - other.length) ** 2) / (2 * SIGMA**2))
            likenesses.append(close * math.fsum(_cosines(weighed, other)) / LONGEST)
        return 10 * sum(likenesses) / len(likenesses)

    def _weigh(self, caption: Grams) -> _Weighed:
        vectors = tuple(
            {gram: count * (self._log - math.log(max(1, self._documents[gram]))) for gram, count in counts.items()}
            for counts in caption
        )
        return _Weighed(
            vectors,
            tuple(math.sqrt(sum(value**2 for value in vector.values())) for vector in vectors),
            sum(caption[0].values()),
        )


def _cosines(weighed: _Weighed, other: _Weighed) -> Iterable[float]:
    for mine, theirs, norm, norms in zip(weighed.vectors, other.vectors, weighed.norms, other.norms, strict=True):
        if norm and norms:
            yield sum(min(value, theirs.get(gram, 0.0)) * theirs.get(gram, 0.0) for gram, value in mine.items()) / (
                norm * norms
            )


def bleu(caption: Grams, references: Sequence[Grams]) -> float:
    """Smoothed BLEU-4 of one caption, 0 to 1."""
    length = sum(caption[0].values())
    total = 0.0
    for n, counts in enumerate(caption):
        most = reduce(or_, (reference[n] for reference in references))
        common = sum(min(count, most[gram]) for gram, count in counts.items())
        total += math.log((common + SMOOTH) / (max(1, length - n) + SMOOTH))
    lengths = [sum(reference[0].values()) for reference in references]
    nearest = min(lengths, key=lambda one: (abs(one - length), one))
    return math.exp(total / LONGEST + min(0.0, 1 - nearest / max(length, 1)))
