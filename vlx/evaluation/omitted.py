"""What could not be asked of a model, counted."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

LISTED = 3


@dataclass
class Omitted:
    """What could not be asked: ``lost`` words of captions by how often, of ``words``; nouns that are ``unplaced``,
    since the model has other words; texts of asks that are ``unknown`` to it; asks whose masks are ``bare`` of pixels.
    """

    lost: Counter[str] = field(default_factory=Counter)
    words: int = 0
    unplaced: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    bare: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """What there is of it, as JSON has it."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in told.items() if value}

    def add(self, told: Mapping[str, Any]) -> None:
        """Count what `to_json` wrote besides."""
        for each in fields(self):
            value = told.get(each.name)
            if isinstance(value, Mapping):
                getattr(self, each.name).update(Counter({str(text): int(count) for text, count in value.items()}))
            elif value is not None:
                setattr(self, each.name, getattr(self, each.name) + int(value))

    def notes(self) -> Iterator[str]:
        """What a reader must know of it."""
        if self.unplaced:
            yield f"{self.unplaced} nouns not scored: the model's words are others than the caption's"
        if self.bare:
            yield f"{self.bare.total()} asks left out: their masks have no pixels ({_often(self.bare)})"
        if self.unknown:
            yield f"{self.unknown.total()} asks left out: not in the model's words ({_often(self.unknown)})"
        if self.words:
            often = f" ({_often(self.lost)})" if self.lost else ""
            yield f"{self.lost.total()} of {self.words} words of the captions left out: not in the vocabulary{often}"


def _often(counts: Counter[str]) -> str:
    return ", ".join(sorted(counts, key=lambda word: (-counts[word], word))[:LISTED]) + " …"
