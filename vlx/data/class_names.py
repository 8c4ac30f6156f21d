"""Class names of data ↔ labels of a model: by name, by one of several names, by synset, or by a map of one's own."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlx.data.files import lines
from vlx.errors import InputError
from vlx.files import json_files
from vlx.language import close_matches, shortened

SHOWN = 5  # names that a note lists
SYNSETS = "LOC_synset_mapping.txt"  # as ImageNet's challenge calls the list
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
        """What a classifier is asked for, for each class that a name means; see `asked_for`."""
        return asked_for(self.numbers.get(name, ()), self.labels)

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
    names; the same without spaces ("hotdog"); its number. Case, "_" and "-" do not matter. ``synsets`` are names by
    WordNet id, as ImageNet lists them: a name that is an id, or has one in brackets, is found by it, where labels hold
    ids, or are those of the synsets in their order; else by the synset's names.

    >>> matched(["Tabby", "hotdog", "zebra"], ["tabby, tabby cat", "hot dog, red hot"]).numbers
    {'Tabby': (0,), 'hotdog': (1,), 'zebra': ()}

    Raises InputError for an entry of the table that is no label.
    """
    known = ClassNames(labels, synsets=synsets, table=table)
    return ClassMap({name: known.find(name) for name in dict.fromkeys(names)}, known.labels)


def asked_for(numbers: Iterable[int], labels: Sequence[str]) -> tuple[str, ...]:
    """What a classifier is asked for, to be asked for classes: labels, numbers where several have one label.

    >>> asked_for([0, 1, 2], ["crane", "crane", "dog"])
    ('class 0', 'class 1', 'dog')
    """
    plain = [_plain(label) for label in labels]
    return tuple(labels[one] if plain.count(plain[one]) == 1 else f"class {one}" for one in numbers)


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


def synsets_of(path: Path) -> dict[str, str]:
    """The names of classes by WordNet id: lines as "n01440764 tench, Tinca tinca", as ImageNet has them.

    Raises InputError naming a line of another kind, and one that names an id anew.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(lines(path), 1):
        synset, _, told = line.strip().partition(" ")
        if not line.strip():
            continue
        if not SYNSET.fullmatch(synset) or not told.strip():
            raise InputError(f"{path}: line {number} is {shortened(repr(line))}; give n01440764 tench, Tinca tinca")
        if names.setdefault(synset, told.strip()) != told.strip():
            raise InputError(f"{path}: line {number} names {synset} anew; keep one of its lines")
    return names


def _is_entry(entry: Any) -> bool:
    return (isinstance(entry, str) and bool(entry.strip())) or (isinstance(entry, int) and not isinstance(entry, bool))


class ClassNames:
    """Finds the classes of a model that a name means; see `matched`. Raises InputError as it does."""

    def __init__(
        self,
        labels: Sequence[str] | None,
        *,
        synsets: Mapping[str, str] | None = None,
        table: Mapping[str, Sequence[Entry]] | None = None,
    ) -> None:
        self.labels, self._synsets = tuple(labels or ()), synsets or {}
        self._exact = _index([label] for label in self.labels)
        self._whole = _index([_plain(label)] for label in self.labels)
        self._parts = _index(map(_parts, self.labels))
        self._joined = _index(map(_joined, self.labels))
        self._ids = _index(map(SYNSET.findall, self.labels)) or self._by_order()
        self._told = {_plain(name): self._entries(name, entries) for name, entries in (table or {}).items()}

    def _by_order(self) -> dict[str, list[int]]:
        """The classes of the synsets, where they are the labels in the order of their ids; else none."""
        ids = sorted(self._synsets)
        if len(ids) != len(self.labels) or any(
            _parts(self._synsets[synset]).isdisjoint(_parts(label))
            for synset, label in zip(ids, self.labels, strict=True)
        ):
            return {}
        return {synset: [number] for number, synset in enumerate(ids)}

    def _entries(self, name: str, entries: Sequence[Entry]) -> tuple[int, ...]:
        """The classes that a table names."""
        return tuple(dict.fromkeys(number for entry in entries for number in self._entry(name, entry)))

    def _entry(self, name: str, entry: Entry) -> tuple[int, ...]:
        if isinstance(entry, int):
            if 0 <= entry < len(self.labels):
                return (entry,)
            raise InputError(f"--classes: {shortened(name)!r} is class {entry}; there are {len(self.labels)}, from 0")
        if numbers := self._by_name(entry, ""):
            return numbers
        near = ", ".join(close_matches(_plain(entry), self._parts))
        raise InputError(
            f"--classes: {shortened(name)!r} is {shortened(entry)!r}, which is no label of the model"
            + (f"; close: {near}" if near else f" (it has {len(self.labels)})")
        )

    def find(self, name: str, synset: str = "") -> tuple[int, ...]:
        """The classes that a name means; ``synset`` is its WordNet id, where it is known."""
        told = self._told.get(_plain(name))
        return self._by_name(name, synset) if told is None else told

    def _by_name(self, name: str, synset: str) -> tuple[int, ...]:
        within = SYNSET.search(name)
        synset = synset or (within.group() if within else "")
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
            or self._numbered(called)
        )

    def _numbered(self, name: str) -> tuple[int, ...]:
        """The class whose number a name is, "281" or "class 281", as folders are called."""
        digits = _plain(name).removeprefix("class ")
        there = digits.isascii() and digits.isdecimal() and len(digits) < 10 and int(digits) < len(self.labels)
        return (int(digits),) if there else ()

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
