"""Texts as a model has them: from a caption or question to vocabulary entries, and back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import index as whole_number
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlx.errors import InputError, UnknownWords
from vlx.language import close_matches, shortened, unknown_words
from vlx.tasks.shared.entries import (
    UNSPACED,
    Cut,
    Index,
    a_piece,
    covered,
    cut_characters,
    cut_words,
    is_special,
    units_of_longest,
)

LONGEST_ENTRIES = 512  # of a text that is cut into characters or by the owner's own function

Tokenize = Callable[[str], Any]
Join = Callable[[list[str]], str]


@dataclass(frozen=True, eq=False)
class Read:
    """A text as the model gets it: a label and a token id for each entry, and what the reader should know.

    ``labels`` are spelled as in the text where it is cut into words; ``missing`` are those that no entry stands for,
    scored as the unknown token. ``text`` is the whole again. ``vector`` [Q] is the text where it is no row of entries.
    """

    labels: tuple[str, ...]
    ids: tuple[int, ...]
    missing: frozenset[int]  # places
    text: str
    notes: tuple[str, ...] = ()
    vector: Tensor | None = field(default=None, repr=False)

    @property
    def unknown(self) -> list[str]:
        """The labels that no entry stands for."""
        return [self.labels[place] for place in sorted(self.missing)]


@dataclass(eq=False)
class Writing:
    """How texts are written in a vocabulary.

    ``tokenize``: text → a list of entries (str) or token ids, or a tensor of ids; ``join``: entries → text. Without
    them a vocabulary of single characters, the space among them, is written in characters, any other in words and
    marks with spaces between. ``unknown``, ``start``, ``end``, ``padding`` (which a text
    must not hold): token ids. ``vectors``: ``tokenize`` may give a
    vector of floats [Q] instead.
    """

    vocabulary: Sequence[str]
    name: str
    tokenize: Tokenize | None = None
    join: Join | None = None
    unknown: int | None = None
    start: int | None = None
    end: int | None = None
    padding: int | None = None
    vectors: bool = False

    def __post_init__(self) -> None:
        for name, function in (("tokenize", self.tokenize), ("join", self.join)):
            if function is not None and not callable(function):
                raise InputError(f"{name} must be a function, got {type(function).__name__}: {_WANTED[name]}")
        self.index = Index(self.vocabulary)
        self._most = units_of_longest(self.vocabulary)
        named = (token for token, entry in enumerate(self.vocabulary) if is_special(entry) and "pad" in entry.lower())
        self.pad = next(named, None) if self.padding is None else self.padding

    @property
    def in_characters(self) -> bool:
        """Whether the vocabulary is of single characters, the space among them; specials aside."""
        plain = self._plain()
        return " " in plain and len(plain) > 1 and all(len(entry) == 1 for entry in plain)

    @property
    def unit(self) -> str:
        """What texts are cut into, as messages call it."""
        return "entries" if self.tokenize is not None else "characters" if self.in_characters else "words"

    def read(self, text: str, what: str, longest: int) -> Read:
        """A text as entries; ``what`` it is ("caption", "question"), and at most how many words it may have.

        Raises InputError for a text that holds no word, too many or START, END or padding inside it, and for a
        ``tokenize`` that gives something else or does not agree with ``join``; UnknownWords for words outside the
        vocabulary when there is no ``unknown`` token.
        """
        if self.tokenize is not None:
            return self._read_own(text, what)
        cut = self._cut(text)
        notes = [*self._trimmed(cut, text, what), *_left_out(cut, what)]
        self._check_length(len(cut.labels), what, text, longest if self.unit == "words" else LONGEST_ENTRIES)
        return self._made(cut, self._missing(cut), self._joined(cut.labels), notes)

    def entry(self, word: str) -> int:
        """The token id of one word, an entry by itself.

        Raises UnknownWords where the vocabulary has none for it, InputError where it is of several entries.
        """
        try:
            read = self.read(word, "word", LONGEST_ENTRIES)
        except UnknownWords:
            read = None
        if read is None or read.missing:
            near = close_matches(word, self.index)
            hint = f" (close: {', '.join(near)})" if near else ""
            raise UnknownWords(
                f"this captioner has no word for {shortened(word, 40)!r}{hint}; name one of the {len(self.index)} in "
                f"the vocabulary of {self.name}"
            )
        if len(read.ids) != 1:
            raise InputError(
                f"{shortened(word, 40)!r} is {len(read.ids)} {self.unit} for {self.name} "
                f"({shortened(' '.join(read.labels), 60)}), and one is compared with one; name a single one"
            )
        return read.ids[0]

    def said(self, tokens: Sequence[int]) -> tuple[str, tuple[str, ...]]:
        """The text of what the model said, and a note where that text would be read as other entries."""
        entries = [self.vocabulary[token] for token in tokens]
        text = self._joined(entries)
        if not entries or self._comes_back(text, tokens):
            return text, ()
        return text, (
            f"this text, given as caption=, would not be read as the {self.unit} that the model said; tokenize= and "
            "join= that go there and back mend it",
        )

    def _comes_back(self, text: str, tokens: Sequence[int | None]) -> bool:
        try:
            if self.tokenize is not None:
                cut = Cut(*self._ids(self._called(text)), [])
                self._trimmed(cut, text, "text")
            else:
                cut = self._cut(text)
        except InputError:
            return False
        return cut.ids == list(tokens)

    def _cut(self, text: str) -> Cut:
        return cut_characters(text, self.index) if self.in_characters else cut_words(text, self.index, self._most)

    def _joined(self, labels: Sequence[str]) -> str:
        """The text of entries: by ``join``; else as tried, or as words or characters are written."""
        if self.join is not None:
            text = self._by_owner(self.join, list(labels))
            if not isinstance(text, str):
                raise InputError(f"{self.name}: join gave {type(text).__name__}, needed is a text; {_WANTED['join']}")
            return text
        if self.tokenize is None:
            return ("" if self.in_characters else " ").join(labels)
        ways = ("", " ") if all(len(label) == 1 for label in labels) else (" ", "")
        return next((way.join(labels) for way in ways if self._cuts_to(way.join(labels), labels)), ways[0].join(labels))

    def _by_owner(self, join: Join, labels: list[str]) -> Any:
        try:
            return join(labels)
        except Exception as error:  # whatever the owner's function says of entries that it cannot read
            told = shortened(f"{type(error).__name__}: {error}", 80)
            raise InputError(
                f"{shortened(self.name, 40)}: join fails on {shortened(repr(labels), 80)} ({told}); mend it: "
                f"{_WANTED['join']}"
            ) from error

    def _cuts_to(self, text: str, labels: Sequence[str]) -> bool:
        try:
            return self._ids(self._called(text))[0] == list(labels)
        except InputError:
            return False

    def _read_own(self, text: str, what: str) -> Read:
        """A text cut by the owner's function."""
        given = self._called(text)
        vector = _vector(given)
        if vector is not None:
            return Read((), (), frozenset(), text, (), self._checked_vector(vector, what))
        cut = Cut(*self._ids(given), [])
        notes = self._trimmed(cut, text, what)
        self._check_length(len(cut.labels), what, text, LONGEST_ENTRIES)
        missing = self._missing(cut)
        whole = text if self.join is None else self._joined(cut.labels)
        if self.join is not None:
            if not self._comes_back(whole, cut.ids):
                raise InputError(
                    f"{self.name}: tokenize and join do not agree: the {what} {shortened(text, 40)!r} is cut and "
                    f"joined to {shortened(whole, 40)!r}, which is cut otherwise; give a pair that goes there and back"
                )
            if _bare(whole) != _bare(text):
                notes.append(f"the {what} is read as {shortened(whole)!r}")
        return self._made(cut, missing, whole, notes)

    def _called(self, text: str) -> Any:
        assert self.tokenize is not None
        try:
            return self.tokenize(text)
        except Exception as error:  # whatever the owner's function says of a text that it cannot read
            told = shortened(f"{type(error).__name__}: {error}", 80)
            raise InputError(
                f"{self.name}: tokenize fails on {shortened(text)!r} ({told}); give another text, or mend it"
            ) from error

    def _ids(self, given: Any) -> tuple[list[str], list[int | None]]:
        """Labels and token ids of what ``tokenize`` gave."""
        if isinstance(given, np.ndarray | Tensor):
            if given.ndim != 1:
                raise InputError(
                    f"{self.name}: tokenize gave ids {list(given.shape)}; needed is one text's, [L], for example ids[0]"
                )
            given = given.tolist()
        if isinstance(given, str | bytes | dict) or not isinstance(given, Sequence):
            raise InputError(f"{self.name}: tokenize gave {type(given).__name__}; {_WANTED['tokenize']}")
        found = [self._entry(one) for one in given]
        return [label for label, _ in found], [token for _, token in found]

    def _entry(self, one: Any) -> tuple[str, int | None]:
        if isinstance(one, str):
            return one, self.index.exact(one)
        try:
            token = whole_number(one)
        except TypeError:
            token = -1
        if isinstance(one, bool) or not 0 <= token < len(self.vocabulary):
            ids = f"ids from 0 to {len(self.vocabulary) - 1}" if self.vocabulary else "ids"
            vector = ", or a tensor of floats [Q]" if self.vectors else ""
            raise InputError(
                f"{self.name}: tokenize gave {shortened(repr(one), 40)}; needed are entries (str) or {ids}{vector}"
            )
        return self.vocabulary[token], token

    def _trimmed(self, cut: Cut, text: str, what: str) -> list[str]:
        """Take off what an encoder puts around a text, and END; notes of specials that the text itself holds.

        The owner's function may put START before, END and padding after. Raises InputError for END inside, and for
        padding of a model that is told where its text ends.
        """
        taken = self._around(cut)
        refused = {token for token in (self.end, self.padding) if token is not None}
        held = [label for label, token in zip(cut.labels, cut.ids, strict=True) if token in refused]
        if held:
            raise InputError(
                f"the {what} {shortened(text)!r} holds {shortened(held[0], 20)!r} inside, which {self.name} reads "
                "as its end or as padding; leave it out"
            )
        told = " ".join(sorted({label for label in taken if label in text}))
        notes = [f"left out of the {what}, set by the model itself: {told}"] if told else []
        special = {self.pad, self.start if self._starts() else None} - {None}
        scored = {label for label, token in zip(cut.labels, cut.ids, strict=True) if token in special}
        return [*notes, *(f"{label} is no word of the {what}, but is scored as one" for label in sorted(scored))]

    def _around(self, cut: Cut) -> list[str]:
        """Take START off the beginning, END and padding off the end of a text; their labels."""
        taken = []
        ends = {self.end, self.pad} if self.tokenize is not None else {self.end}
        while cut.ids and cut.ids[-1] is not None and cut.ids[-1] in ends:
            taken.append(cut.pop())
        if self.tokenize is not None and self._starts() and cut.ids[:1] == [self.start]:
            taken.append(cut.pop(0))
        return taken

    def _starts(self) -> bool:
        """Whether START is no word: 0 may be nobody's wish."""
        return self.start is not None and (self.start == self.end or is_special(self.vocabulary[self.start]))

    def _check_length(self, count: int, what: str, text: str, longest: int) -> None:
        if not count or (self.tokenize is None and not text.strip()):
            mend = "ask something" if what == "question" else "give at least one"
            raise InputError(f"the {what} {shortened(text)!r} holds no {_ONE[self.unit]}; {mend}")
        if count > longest:
            raise InputError(f"the {what} has {count} {self.unit}, at most {longest}; shorten it")

    def _missing(self, cut: Cut) -> frozenset[int]:
        """The places that no entry stands for. Raises InputError and UnknownWords where they may not be."""
        missing = frozenset(place for place, token in enumerate(cut.ids) if token is None)
        labels = [cut.labels[place] for place in sorted(missing)]
        if labels and self.unit == "words":
            self._refuse_pieces(labels)
        if labels and self.unknown is None:
            raise UnknownWords(unknown_words(self.name, labels, self.index))
        return missing

    def _refuse_pieces(self, words: Sequence[str]) -> None:
        """Raises InputError for words that the model may know in pieces, and how it cuts them is not known."""
        piece = a_piece(self.vocabulary)
        if piece is not None:
            raise InputError(
                f"{self.name} knows pieces of words ({shortened(piece, 20)!r}) and not {shortened(words[0])!r} whole; "
                "how it cuts words is not known: give tokenize= and join=, or part the pieces by spaces"
            )
        single = all(len(entry) == 1 for entry in self._plain())
        for word in words:
            found = covered(list(word[:LONGEST_ENTRIES]), self.index.find) if single or UNSPACED.search(word) else None
            if found and len(found) > 1:
                raise InputError(
                    f"{shortened(word)!r} is no entry of the vocabulary of {self.name}, but made of entries "
                    f"({shortened(' '.join(found), 40)}): part them by spaces, or give tokenize= and join=, for "
                    "characters tokenize=list and join=''.join"
                )

    def _plain(self) -> set[str]:
        """The entries that are no specials."""
        ids = {self.unknown, self.end, self.pad, self.start or None}  # start=0 may be nobody's wish
        plain = (entry for token, entry in enumerate(self.vocabulary) if token not in ids and not is_special(entry))
        return {entry for entry in plain if entry}

    def _made(self, cut: Cut, missing: frozenset[int], text: str, notes: Sequence[str]) -> Read:
        ids = tuple(self.unknown if token is None else token for token in cut.ids)
        return Read(tuple(cut.labels), ids, missing, text, tuple(notes))  # type: ignore[arg-type]  # none is None

    def _checked_vector(self, vector: Tensor, what: str) -> Tensor:
        if not self.vectors:
            raise InputError(f"{self.name}: tokenize gave numbers with a point; {_WANTED['tokenize']}")
        if vector.ndim != 1 or not len(vector) or not torch.isfinite(vector).all():
            raise InputError(
                f"{self.name}: the {what} as a vector must be finite numbers [Q], tokenize gave {list(vector.shape)}"
                + ("; give its only row, for example vector[0]" if vector.ndim == 2 and len(vector) == 1 else "")
            )
        return vector


def _vector(given: Any) -> Tensor | None:
    """What ``tokenize`` gave as a vector, when it is a tensor or an array of floats."""
    if isinstance(given, np.ndarray) and given.dtype.kind == "f":
        given = torch.from_numpy(given.astype(np.float64))
    return given.detach().cpu() if isinstance(given, Tensor) and given.is_floating_point() else None


def _left_out(cut: Cut, what: str) -> list[str]:
    dropped = cut.dropped[:-1] if what == "question" and cut.dropped[-1:] == ["?"] else cut.dropped  # it says no more
    marks = " ".join(dict.fromkeys(dropped))
    return [f"left out of the {what}, not in the vocabulary: {shortened(marks)}"] if marks else []


def _bare(text: str) -> str:
    return "".join(text.split()).casefold()


_ONE = {"words": "word", "characters": "character", "entries": "entry of the vocabulary"}
_WANTED = {
    "tokenize": "needed is tokenize(text) → a list of vocabulary entries or token ids",
    "join": "needed is join(entries) → text",
}
