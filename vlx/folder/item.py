"""One picture of a run and what is asked of it; and all that a run was given.

>>> crossed(items(["a.jpg"]), [{"question": "what is this?"}, {"question": "where?"}]).items[1].texts
{'question': 'where?'}
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False)
class Item:
    """One picture by its ``path``, and the ``texts`` that are its own: caption, question, answer, instead_of, prompt.

    >>> Item("a.jpg", {"question": "what is this?"})
    """

    path: str
    texts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What tells it from every other item: 64 hexadecimal digits over path and texts."""
        asked = json.dumps([os.path.normpath(self.path), self.texts], sort_keys=True)
        return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Found:
    """The ``items`` that were asked for, each once, and ``notes`` of what was left out."""

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()


def crossed(pictures: Found, asked: Sequence[Mapping[str, Any]]) -> Found:
    """Every picture with every one of the texts."""
    both = [Item(one.path, {**one.texts, **texts}) for one in pictures.items for texts in asked]
    return Found(tuple({item.key: item for item in both}.values()), pictures.notes)
