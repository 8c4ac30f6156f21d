"""Captions against what several people wrote: BLEU, METEOR and CIDEr-D, each with its interval over pictures.

Hypotheses and references are cut into words in one way (`vlx.data.captioned.words_of`: lower case, no punctuation).
The COCO server's own cutter (PTB) treats hyphens and apostrophes otherwise; figures differ by some thousandths.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlx.errors import InputError

Words = Sequence[str]
LONGEST = 4  # words of an n-gram
METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "CIDEr-D")
RESAMPLED = 2_000


@dataclass(frozen=True)
class Score:
    """One metric over all pictures, and its 95 % interval: pictures drawn again and again (percentile bootstrap)."""

    value: float
    low: float
    high: float


def scored(said: Sequence[Words], written: Sequence[Sequence[Words]], seed: int = 0) -> dict[str, Score | None]:
    """Every metric of N captions against the references of their N pictures; None where its library is missing.

    BLEU-1 to 4 (10.3115/1073083.1073135) over the corpus with the length of the closest reference, equal to NLTK's and
    to COCO's; METEOR (10.3115/1626355.1626389) is NLTK's, which needs WordNet: the best of the references, the mean
    over pictures; CIDEr-D (1411.5726) is COCO's, with the document frequencies of these references, times ten.

    >>> scored([["a", "dog"]], [[["a", "dog"], ["one", "dog"]]])["BLEU-2"].value
    1.0

    Raises InputError where the numbers of captions and pictures differ, or a picture has no reference.
    """
    if len(said) != len(written) or not said:
        raise InputError(f"{len(said)} captions and references of {len(written)} pictures; needed is one each, from 1")
    bare = next((number for number, references in enumerate(written) if not references), None)
    if bare is not None:
        raise InputError(f"picture {bare} has no reference to be compared with")
    drawn = np.random.default_rng(seed).multinomial(len(said), np.full(len(said), 1 / len(said)), RESAMPLED)
    counts = np.stack([counted(*pair) for pair in zip(said, written, strict=True)])
    whole, again = bleu(counts.sum(0)), bleu(drawn @ counts)
    found: dict[str, Score | None] = {
        name: _score(float(whole[n]), again[:, n]) for n, name in enumerate(METRICS[:LONGEST])
    }
    for name, values in (("METEOR", meteor(said, written)), ("CIDEr-D", cider(said, written))):
        found[name] = None if values is None else _score(float(values.mean()), drawn @ values / len(said))
    return found


def _score(value: float, again: NDArray[np.float64]) -> Score:
    low, high = np.quantile(again, (0.025, 0.975))
    return Score(value, float(low), float(high))


def counted(said: Words, written: Sequence[Words]) -> NDArray[np.float64]:
    """What BLEU counts of one picture, float64 [10].

    N-grams that stand in a reference (n = 1 to 4), n-grams said (n = 1 to 4), words said, and words of the reference
    that is nearest in length (of two the shorter).
    """
    met, total = [0] * LONGEST, [max(len(said) - n, 0) for n in range(LONGEST)]
    for gram, times in (most_grams([said]) & most_grams(written)).items():
        met[len(gram) - 1] += times
    nearest = min((abs(len(one) - len(said)), len(one)) for one in written)[1]
    return np.array([*met, *total, len(said), nearest], np.float64)


def most_grams(texts: Iterable[Words]) -> Counter[tuple[str, ...]]:
    """How often each n-gram of one to four words stands in that text in which it stands most often."""
    most: Counter[tuple[str, ...]] = Counter()
    for words in texts:
        starts = ((n, i) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1))
        most |= Counter(tuple(words[i : i + n]) for n, i in starts)
    return most


def bleu(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU-1 to 4, [..., 4], of what `counted` counted, summed over pictures, [..., 10]."""
    met, total = counts[..., :LONGEST], counts[..., LONGEST : 2 * LONGEST]
    said, nearest = counts[..., -2], counts[..., -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.log(np.where(total > 0, met / np.maximum(total, 1), 0))
        short = np.where(said > 0, np.minimum(1 - nearest / np.maximum(said, 1), 0), -np.inf)
        mean = np.cumsum(precision, -1) / np.arange(1, LONGEST + 1)
        return np.asarray(np.exp(mean + short[..., None]))


def meteor(said: Sequence[Words], written: Sequence[Sequence[Words]]) -> NDArray[np.float64] | None:
    """NLTK's METEOR of each picture, the best over its references; None without NLTK or its WordNet."""
    try:
        from nltk.corpus import wordnet
        from nltk.translate.meteor_score import meteor_score

        wordnet.ensure_loaded()
    except (ImportError, LookupError):
        return None
    return np.array([meteor_score(list(map(list, refs)), list(own)) for own, refs in zip(said, written, strict=True)])


def cider(said: Sequence[Words], written: Sequence[Sequence[Words]]) -> NDArray[np.float64] | None:
    """COCO's CIDEr-D of each picture; None without pycocoevalcap (the extra "captions")."""
    try:
        from pycocoevalcap.cider.cider import Cider
    except ImportError:
        return None
    references = {number: [" ".join(one) for one in refs] for number, refs in enumerate(written)}
    return np.asarray(Cider().compute_score(references, {n: [" ".join(own)] for n, own in enumerate(said)})[1])
