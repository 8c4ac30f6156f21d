"""Vocabulary entries in a text: finding the longest ones, punctuation included, whatever the script."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

SPECIAL = re.compile(r"<[^<>\s]+>|\[[A-Z]+\]")  # <start>, <|end|>, [CLS]
NAMES = frozenset("startseq endseq START END SOS EOS BOS PAD UNK BLANK sos eos bos unk".split())
# A word of a text: a special entry, or a run of letters, digits and what belongs to them, hyphens and apostrophes
# inside; anything else that is no space is a mark by itself.
INNER = "'’-"
JOINERS = "\u200c\u200d"  # unseen, and inside words of Persian and of Indian scripts
UNSPACED = re.compile(  # scripts that part words by nothing: Thai, Lao, Burmese, Khmer, kana, Chinese
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
PIECES = (r"##\w+", r"[Ġ▁].*", r".+@@", r".+</w>")  # how word pieces of BERT, GPT-2, SentencePiece and BPE look
OFTEN = 0.05  # of the entries, before they are taken for pieces: Ġ is a letter of Maltese
WINDOW = 40  # parts that are tried together

Find = Callable[[str], int | None]


@dataclass(frozen=True)
class Unit:
    """A word or a mark of a text, and where it is in it."""

    text: str
    first: int
    stop: int
    is_mark: bool


def is_special(entry: str) -> bool:
    """Whether an entry looks like one that is no word: <unk>, [PAD], startseq."""
    return entry in NAMES or SPECIAL.fullmatch(entry) is not None


def is_mark(character: str) -> bool:
    """Whether a character is punctuation or a symbol; the low line belongs to words."""
    return character != "_" and unicodedata.category(character)[0] in "PS"


def units(text: str) -> list[Unit]:
    """The words and marks of a text, in order; "don't", "t-shirt" and <unk> are one."""
    found, place = list[Unit](), 0
    while place < len(text):
        special = SPECIAL.match(text, place)
        stop = special.end() if special else _word_end(text, place)
        if stop > place:
            found.append(Unit(text[place:stop], place, stop, False))
        elif is_mark(text[place]):
            stop = place + 1
            found.append(Unit(text[place], place, stop, True))
        place = max(stop, place + 1)
    return found


def _word_end(text: str, place: int) -> int:
    """Where the word that begins at ``place`` ends; ``place`` itself when none does."""
    end = place
    while end < len(text):
        inner = text[end] in INNER and end > place and end + 1 < len(text) and _in_word(text[end + 1])
        if not (_in_word(text[end]) or inner):
            break
        end += 1
    return end


def _in_word(character: str) -> bool:
    unseen = unicodedata.category(character) in ("Cc", "Cf") and character not in JOINERS
    return not (unseen or character.isspace() or is_mark(character))


def inside(word: str) -> list[str]:
    """A word cut at its marks: "dog's" → "dog", "'", "s"."""
    return [run for mark, part in groupby(word, is_mark) for run in (list(part) if mark else ["".join(part)])]


def covered(parts: Sequence[str], find: Find) -> list[str] | None:
    """Entries that the parts, put together, are made of, the longest first; None when they are not."""
    found, place = list[str](), 0
    while place < len(parts):
        ends = range(min(len(parts), place + WINDOW), place, -1)
        stop = next((stop for stop in ends if find("".join(parts[place:stop])) is not None), None)
        if stop is None:
            return None
        found.append("".join(parts[place:stop]))
        place = stop
    return found


class Index:
    """The token id of an entry, as it is spelled in a text.

    Looked for as it stands, then composed (NFC), then in small letters; then in any case where only one entry is meant.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._exact = {entry: token for token, entry in reversed(list(enumerate(vocabulary)))}
        self._folded: dict[str, int | None] = {}
        for entry, token in self._exact.items():
            key = _folded(entry)
            self._folded[key] = token if key not in self._folded else None  # two entries that differ in case alone

    def __contains__(self, entry: object) -> bool:
        return entry in self._exact

    def __len__(self) -> int:
        return len(self._exact)

    def __iter__(self) -> Iterator[str]:
        return iter(self._exact)

    def exact(self, entry: str) -> int | None:
        """The first token id of this very entry."""
        return self._exact.get(entry)

    def find(self, text: str) -> int | None:
        """The first token id of the entry that ``text`` spells; None without one."""
        for spelled in (text, unicodedata.normalize("NFC", text), text.lower()):
            token = self._exact.get(spelled)
            if token is not None:
                return token
        return self._folded.get(_folded(text))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


@dataclass
class Cut:
    """A text as entries: ``labels`` as the text spells them, token ``ids`` (None: no entry), and the marks left out."""

    labels: list[str]
    ids: list[int | None]
    dropped: list[str]

    @classmethod
    def empty(cls) -> "Cut":
        """Nothing yet."""
        return cls([], [], [])

    def add(self, label: str, token: int | None) -> None:
        """One more entry."""
        self.labels.append(label)
        self.ids.append(token)

    def pop(self, place: int = -1) -> str:
        """Take an entry off; its label."""
        self.ids.pop(place)
        return self.labels.pop(place)


def cut_words(text: str, index: Index, most: int) -> Cut:
    """Words and marks of a text, the longest entries first, of at most ``most`` units each.

    A word that is no entry but is made of entries at its marks ("dog's" of "dog" and "'s") is cut there; else it stays
    whole, without an id. Marks that are no entries are left out.
    """
    cut, all_units, place = Cut.empty(), units(text), 0
    while place < len(all_units):
        unit = all_units[place]
        ends = range(min(len(all_units), place + most), place, -1)
        spelled = ((stop, " ".join(text[unit.first : all_units[stop - 1].stop].split())) for stop in ends)
        stop, label = next(((s, label) for s, label in spelled if index.find(label) is not None), (place + 1, ""))
        place = stop
        if label:
            cut.add(label, index.find(label))
        elif unit.is_mark:
            cut.dropped.append(unit.text)
        else:
            for part in _made_of(unit.text, index) or [unit.text]:
                cut.add(part, index.find(part))
    return cut


def _made_of(word: str, index: Index) -> list[str] | None:
    parts = inside(word)
    return covered(parts, index.find) if len(parts) > 1 else None


def cut_characters(text: str, index: Index) -> Cut:
    """Every character of a text, and entries of several characters (<unk>) whole; spaces count."""
    if any(index.find(character) is None for character in text):
        text = unicodedata.normalize("NFC", text)
    several = sorted((entry for entry in index if len(entry) > 1), key=len, reverse=True)
    pattern = re.compile("|".join([*map(re.escape, several), "."]), re.DOTALL)
    cut = Cut.empty()
    for part in pattern.findall(text):
        cut.add(part, index.find(part))
    return cut


def a_piece(vocabulary: Sequence[str]) -> str | None:
    """A piece of a word, where the vocabulary holds such; None for vocabularies of whole words or characters."""
    for pattern in PIECES:
        found = [entry for entry in vocabulary if re.fullmatch(pattern, entry)]
        if len(found) > OFTEN * len(vocabulary):
            return found[0]
    return None


def units_of_longest(vocabulary: Sequence[str]) -> int:
    """How many words and marks the entry with most of them has."""
    return max((len(units(entry)) for entry in vocabulary), default=1) or 1
