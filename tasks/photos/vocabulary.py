"""The words that a captioner of photographs can say, and how often people wrote them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from vlx.data.captioned import words_of
from vlx.errors import InputError

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
FEWEST = 50  # words that make a vocabulary
LITTLE = frozenset(
    "a an the in on of with and to is are at his her their for by from as while it its through into up down out over "
    "off near next who that some two three another other one be being there has have".split()
)


@dataclass(frozen=True)
class Vocabulary:
    """``words`` by token id, the special ones first, the rest by falling ``counts``: captions in which each stands."""

    words: tuple[str, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, captions: Iterable[str], fewest: int) -> "Vocabulary":
        """Words that stand in at least ``fewest`` captions; raises InputError where they are too few to speak with."""
        counts = Counter(word for caption in captions for word in set(words_of(caption)))
        kept = sorted(
            (word for word, count in counts.items() if count >= fewest), key=lambda word: (-counts[word], word)
        )
        if len(kept) < FEWEST:
            raise InputError(
                f"only {len(kept)} of {len(counts)} words stand in {fewest} captions and more, {FEWEST} are needed; "
                "give more captions or a smaller --fewest"
            )
        return cls((*SPECIAL, *kept), (0,) * len(SPECIAL) + tuple(counts[word] for word in kept))

    def tokens(self, caption: str) -> list[int]:
        """START, the words (UNKNOWN where there is none), END."""
        ids = {word: number for number, word in enumerate(self.words)}
        return [START, *(ids.get(word, UNKNOWN) for word in words_of(caption)), END]

    def told(self, fewest: int, most: int) -> list[int]:
        """Token ids of the words that a picture can show: no little ones, in ``fewest`` captions, ``most`` at most."""
        rows = enumerate(zip(self.words, self.counts, strict=True))
        return [number for number, (word, count) in rows if count >= fewest and word not in LITTLE][:most]
