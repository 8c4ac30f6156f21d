"""Class names of data ↔ labels of a model: by name, by one of several names, by synset, or by a map of one's own."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vlx.errors import InputError
from vlx.files import json_files
from vlx.language import close_matches, shortened

SHOWN = 5  # names that a note lists
SYNSET = re.compile(r"\bn\d{8}\b")

Entry = str | int


@dataclass(frozen=True, eq=False)
class ClassMap:
    """Which classes of a model a data set's names mean: ``numbers`` by name, in the order of the names.

    A name may mean several classes ("dog": each breed); the likeliest of them on a picture is then asked for. Those
    that mean none are ``unmatched``. ``labels`` are the model's.
    """

    numbers: Mapping[str, tuple[int, ...]]
    labels: tuple[str, ...]

    @property
    def unmatched(self) -> tuple[str, ...]:
        """The names that no class of the model has."""
        return tuple(name for name, numbers in self.numbers.items() if not numbers)

    def asked(self, name: str) -> tuple[str, ...]:
        """What a classifier is asked for, for each class that a name means: its label, or its number where several
        classes have that label.
        """
        return tuple(
            self.labels[number] if self._counts[_plain(self.labels[number])] == 1 else f"class {number}"
            for number in self.numbers.get(name, ())
        )

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(map(_plain, self.labels))

    def notes(self) -> Iterator[str]:
        """What a reader must know: how many names mean a class, which mean none, and that several are chosen from."""
        unmatched, count = self.unmatched, len(self.numbers)
        if unmatched:
            more = f" and {len(unmatched) - SHOWN} more" if len(unmatched) > SHOWN else ""
            yield (
                f"{count - len(unmatched)} of {count} classes are labels of the model; left out: "
                f"{', '.join(shortened(name, 30) for name in unmatched[:SHOWN])}{more} (name them with --classes FILE)"
            )
        several = [name for name, numbers in self.numbers.items() if len(numbers) > 1]
        if several:
            yield (
                f"{len(several)} {'class means' if len(several) == 1 else 'classes mean'} several labels, as "
                f"{shortened(several[0], 30)}: asked for is the likeliest of them on each picture"
            )


def matched(
    names: Iterable[str],
    labels: Sequence[str] | None,
    *,
    synsets: Mapping[str, str] | None = None,
    table: Mapping[str, Sequence[Entry]] | None = None,
) -> ClassMap:
    """Find a data set's class names among a model's labels; several of either's names stand between commas.

    In this order, and of a name the first that finds any: ``table`` (see `told_classes`); the whole label; one of its
    names; the same without spaces ("hotdog"). Case, "_" and "-" do not matter. ``synsets`` are names by WordNet id, as
    ImageNet lists them: a name that is an id, or has one in brackets, is found by it, where labels hold ids, or are
    those of the synsets in their order; else by the synset's names.

    >>> matched(["Tabby", "hotdog", "zebra"], ["tabby, tabby cat", "hot dog, red hot"]).numbers
    {'Tabby': (0,), 'hotdog': (1,), 'zebra': ()}

    Raises InputError for an entry of the table that is no label.
    """
    known = _Labels(tuple(labels or ()), synsets or {})
    told = {} if table is None else {_plain(name): entries for name, entries in table.items()}
    return ClassMap(
        {
            name: known.told(name, told[_plain(name)]) if _plain(name) in told else known.find(name)
            for name in dict.fromkeys(names)
        },
        known.labels,
    )


def told_classes(path: Path) -> dict[str, tuple[Entry, ...]]:
    """A JSON file of class names and the model's labels or class numbers, {"dog": ["beagle", 207], "tree": []}.

    Raises InputError for anything else.
    """
    content = json_files.read(path)
    if not isinstance(content, Mapping):
        raise InputError(f'{path}: needed is an object of names and labels, as {{"dog": ["beagle", 207], "tree": []}}')
    told: dict[str, tuple[Entry, ...]] = {}
    for name, given in content.items():
        entries: list[Any] = given if isinstance(given, list) else [given]
        if not name.strip() or not all(_is_entry(one) for one in entries):
            raise InputError(
                f"{path}: {shortened(repr(name))} is {shortened(repr(given))}; give a label, a class number or a list"
            )
        if _plain(name) in {_plain(other) for other in told}:
            raise InputError(f"{path}: {shortened(repr(name))} stands there twice; give one list for both")
        told[name] = tuple(dict.fromkeys(entries))
    return told


def _is_entry(entry: Any) -> bool:
    return (isinstance(entry, str) and bool(entry.strip())) or (isinstance(entry, int) and not isinstance(entry, bool))


class _Labels:
    """The labels of a model by each of their names."""

    def __init__(self, labels: tuple[str, ...], synsets: Mapping[str, str]) -> None:
        self.labels, self._synsets = labels, synsets
        self._exact = _index([label] for label in labels)
        self._whole = _index([_plain(label)] for label in labels)
        self._parts = _index(map(_parts, labels))
        self._joined = _index(map(_joined, labels))
        self._ids = _index(map(SYNSET.findall, labels)) or self._by_order()

    def _by_order(self) -> dict[str, list[int]]:
        """The classes of the synsets, where they are the labels in the order of their ids; else none."""
        ids = sorted(self._synsets)
        if len(ids) != len(self.labels) or any(
            _parts(self._synsets[synset]).isdisjoint(_parts(label))
            for synset, label in zip(ids, self.labels, strict=True)
        ):
            return {}
        return {synset: [number] for number, synset in enumerate(ids)}

    def find(self, name: str) -> tuple[int, ...]:
        """The classes that a name means."""
        found = SYNSET.search(name)
        synset = found.group() if found else ""
        if synset in self._ids:
            return tuple(self._ids[synset])
        called = self._synsets.get(synset, name)
        parts = _parts(called)
        return (
            tuple(self._exact.get(called, ()))
            or tuple(self._whole.get(_plain(called), ()))
            or self._any(self._parts, parts)
            or self._any(self._joined, _joined(called))
            or self._any(self._ids, {synset for synset, words in self._synsets.items() if parts & _parts(words)})
        )

    def told(self, name: str, entries: Sequence[Entry]) -> tuple[int, ...]:
        """The classes that a table names."""
        return tuple(dict.fromkeys(number for entry in entries for number in self._entry(name, entry)))

    def _entry(self, name: str, entry: Entry) -> tuple[int, ...]:
        if isinstance(entry, int):
            if 0 <= entry < len(self.labels):
                return (entry,)
            raise InputError(
                f"--classes: {shortened(name)!r} is class {entry}; there are {len(self.labels)}, from 0"
            )
        if numbers := self.find(entry):
            return numbers
        near = ", ".join(close_matches(_plain(entry), self._parts))
        raise InputError(
            f"--classes: {shortened(name)!r} is {shortened(entry)!r}, which is no label of the model"
            + (f"; close: {near}" if near else f" (it has {len(self.labels)})")
        )

    @staticmethod
    def _any(index: Mapping[str, Sequence[int]], keys: Iterable[str]) -> tuple[int, ...]:
        return tuple(sorted({number for key in keys for number in index.get(key, ())}))


def _index(keys: Iterable[Iterable[str]]) -> dict[str, list[int]]:
    """Key → the places where it stands."""
    places: dict[str, list[int]] = {}
    for place, some in enumerate(keys):
        for key in some:
            places.setdefault(key, []).append(place)
    return places


def _joined(name: str) -> set[str]:
    """The names between commas, without spaces."""
    return {part.replace(" ", "") for part in _parts(name)}


def _parts(name: str) -> set[str]:
    """The names between commas."""
    return {_plain(part) for part in name.split(",")} - {""}


def _plain(name: str) -> str:
    """Without case, "_" and "-", spaces one each."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(text.replace("_", " ").replace("-", " ").split())
