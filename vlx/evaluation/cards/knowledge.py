"""What a captioner has words for: how much of what people write, the commonest things, and what is missing."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlx.data.captioned import words_of
from vlx.data.categories import WORDS, named
from vlx.errors import InputError
from vlx.language import tagged

SELDOM = 50  # training captions
SAMPLE = 3_000  # captions whose words are tagged
NO_THINGS = frozenset(
    "front back side top middle bottom center edge end group pair couple bunch background foreground air day way part "
    "piece line row distance camera picture photo one other number lot kind type".split()
)


@dataclass(frozen=True)
class Coverage:
    """How much of what people wrote a vocabulary has: shares of ``words`` written and of ``distinct`` ones."""

    words: int
    share: float
    distinct: int
    distinct_share: float


def coverage(vocabulary: Sequence[str], captions: Sequence[str]) -> Coverage:
    """The vocabulary's share of the words of captions.

    >>> coverage(["a", "dog"], ["A dog .", "A cat ."])
    Coverage(words=4, share=0.75, distinct=3, distinct_share=0.6666666666666666)
    """
    known = set(vocabulary)
    counts = Counter(word for caption in captions for word in words_of(caption, None))
    if not counts:
        raise InputError("these captions hold no word")
    own = [word for word in counts if word in known]
    total = sum(counts.values())
    return Coverage(total, sum(counts[word] for word in own) / total, len(counts), len(own) / len(counts))


def things(counts: Mapping[str, int], captions: Sequence[str], most: int = 50) -> list[tuple[tuple[str, int], ...]]:
    """The commonest things of a vocabulary: each with its forms and the training captions in which they stand.

    ``counts``: captions by word of the vocabulary. A thing is a word that spaCy takes for a noun in most captions
    of a sample; words that say where ("front", "side") or how many ("group") are none.

    >>> things({"dog": 5, "dogs": 2, "runs": 4}, ["A dog runs.", "Two dogs."])
    [(('dog', 5), ('dogs', 2))]

    Raises InputError without spaCy.
    """
    sample = [words_of(caption, None) for caption in captions[:: -(-len(captions) // SAMPLE) or 1]]
    told = tagged(sample)
    if told is None:
        raise InputError("the commonest things are found by spaCy: pip install 'vlx[language]' and its English model")
    uses: dict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in zip(sample, told, strict=True):
        for word, (lemma, part) in zip(words, tags, strict=True):
            uses[word][lemma if part == "NOUN" else ""] += 1
    forms: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        lemma, often = uses[word].most_common(1)[0] if uses[word] else ("", 0)
        if lemma and 2 * often > uses[word].total() and not {word, lemma} & NO_THINGS:
            forms[lemma].append((word, count))
    found = sorted(forms.values(), key=lambda own: (-sum(count for _, count in own), own))
    return [tuple(own) for own in found[:most]]


def categories(vocabulary: Sequence[str], captions: Sequence[str]) -> dict[str, int]:
    """In how many captions each of COCO's 80 categories is named by words that the vocabulary has, fewest first."""
    known = set(vocabulary)
    counts = dict.fromkeys(WORDS, 0)
    for caption in captions:
        words = words_of(caption, None)
        there = {own for place, names in named(words).items() if words[place] in known for own in names}
        for own in there:
            counts[own] += 1
    return dict(sorted(counts.items(), key=lambda item: (item[1], item[0])))
