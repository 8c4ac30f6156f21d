"""What the classes of ImageNet are called, and what kinds of thing they are; see ``tools/kinds.py``."""

import json
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files


@dataclass(frozen=True)
class Kinds:
    """Kinds of things by number: ``names`` of each, the ``wider`` kinds it is one of, and the kind of each class."""

    names: tuple[tuple[str, ...], ...]
    wider: tuple[tuple[int, ...], ...]
    classes: tuple[int, ...]

    def chain(self, kind: int) -> dict[int, int]:
        """The kind itself and all wider ones, the nearest first, each with the steps to it."""
        steps_to, layer = {kind: 0}, [kind]
        while layer:
            layer = [up for one in layer for up in self.wider[one] if up not in steps_to]
            steps = max(steps_to.values()) + 1
            steps_to.update(dict.fromkeys(layer, steps))
        return steps_to

    @cached_property
    def chains(self) -> tuple[dict[int, int], ...]:
        """`chain` of every class."""
        return tuple(self.chain(kind) for kind in self.classes)

    def words(self, kind: int) -> frozenset[str]:
        """Single words that name the kind, and their plurals."""
        return frozenset(form for name in self.names[kind] if " " not in name for form in forms(name.lower()))


def forms(word: str) -> tuple[str, ...]:
    """A noun and how its plural may be written.

    >>> forms("puppy")
    ('puppy', 'puppys', 'puppyes', 'puppies')
    """
    ies = (f"{word[:-1]}ies",) if word.endswith("y") else ()
    men = (f"{word[:-2]}en",) if word.endswith("man") else ()
    return (word, f"{word}s", f"{word}es", *ies, *men)


@cache
def imagenet() -> Kinds:
    """The thousand classes in ImageNet's order."""
    read = json.loads((files("vlx.tasks.photos") / "kinds.json").read_text(encoding="utf-8"))
    names, wider = (tuple(map(tuple, read[part])) for part in ("names", "wider"))
    return Kinds(names, wider, tuple(read["classes"]))
