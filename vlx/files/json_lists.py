"""Lists in JSON files that are too large to be held as a whole, read one record at a time."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from vlx.errors import InputError
from vlx.files.whole import reading

LARGEST = 2**34  # bytes of a file
LONGEST = 2**26  # bytes of one record
PART = 2**20  # bytes that are read at once, at first
SPACE = " \t\n\r"
NUMERIC = "0123456789.eE+-"  # after a number that is not yet read to its end
MARK = b"\xef\xbb\xbf"


class Member(NamedTuple):
    """One object of a list, and where it stands in its file: what `record_at` reads again."""

    content: Mapping[str, Any]
    start: int
    end: int


class Members:
    """The list called ``name`` of a JSON object in a file, record by record; where it is "" the file is a list.

    ``others`` are the members that stand beside it, whole once the last record was read. Going through it raises
    InputError naming the file and the record that is no object or cannot be read.

    >>> questions = Members(Path("questions.json"), "questions")
    >>> [record.content["question_id"] for record in questions], questions.others["data_subtype"]
    ([1, 2], 'val2014')
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self.path, self.name, self.others = path, name, dict[str, Any]()

    def __iter__(self) -> Iterator[Member]:
        with reading(self.path, LARGEST) as (file, _):
            text = _Text(file)
            with self._told("its beginning"):
                opening = text.next()
            if not self.name and opening == "[":
                yield from self._records(text)
            elif self.name and opening == "{":
                yield from self._members(text)
            else:
                what = f'an object with a list "{self.name}"' if self.name else "a list of objects"
                raise InputError(f"{self.path}: needed is {what}; it begins with {opening!r}")
            with self._told("its end"):
                if after := text.peek():
                    raise ValueError(f"{after!r} after the last bracket")

    def _members(self, text: "_Text") -> Iterator[Member]:
        there = False
        while True:
            with self._told("the name of a member"):
                if text.peek() == "}":
                    break
                name = text.value()
                text.expect(":")
            with self._told(f'"{str(name)[:40]}"'):
                listed = name == self.name and text.peek() == "["
                if listed and there:
                    raise ValueError("it stands there twice")
                if listed:
                    text.next()
                else:
                    self.others[str(name)] = text.value()
            if listed:
                there = True
                yield from self._records(text)
            with self._told("the end of a member"):
                text.comma("}")
        text.next()
        if not there:
            others = ", ".join(list(self.others)[:6]) or "nothing"
            raise InputError(f'{self.path}: no list "{self.name}"; it holds {others[:120]}')

    def _records(self, text: "_Text") -> Iterator[Member]:
        called, number = f"{self.name}[{{}}]" if self.name else "record {}", 0
        while True:
            with self._told(called.format(number)):
                if text.peek() == "]":
                    break
                start = text.place
                content = text.value()
                if not isinstance(content, dict):
                    raise ValueError(f"no object but {str(content)[:40]!r}")
                record = Member(content, start, text.place)
            yield record
            with self._told(f"the end of {called.format(number)}"):
                text.comma("]")
            number += 1
        text.next()

    @contextmanager
    def _told(self, where: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, RecursionError, MemoryError) as error:
            said = getattr(error, "msg", "") or str(error) or type(error).__name__
            why = "nested too deep" if isinstance(error, RecursionError) else said[:100]
            raise InputError(f"{self.path}: {where} is not whole JSON ({why}); write the file again") from error


def record_at(path: Path, start: int, end: int) -> Mapping[str, Any]:
    """A record by its place in the file; raises InputError where the file has changed since."""
    with reading(path, LARGEST) as (file, _):
        file.seek(start)
        raw = file.read(end - start)
    try:
        content = _DECODER.decode(raw.decode("utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path} has changed since it was opened; open it again")
    return content


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_constant)


class _Text:
    """What a file holds from its beginning on, a character for each byte: as much of it as one value takes."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._text, self._at, self._before = "", 0, 0
        while len(self._text) < len(MARK) and self._more():
            pass
        if self._text.startswith(MARK.decode("latin-1")):
            self._at = len(MARK)

    @property
    def place(self) -> int:
        """The byte that is read next."""
        return self._before + self._at

    def peek(self) -> str:
        """The next character that is no space, "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in SPACE:
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def next(self) -> str:
        """That character, which is left behind."""
        char = self.peek()
        self._at += len(char)
        return char

    def expect(self, char: str) -> None:
        """Leave one character behind; raises ValueError for another."""
        if (there := self.next()) != char:
            raise ValueError(f"{there!r} in place of {char!r}" if there else "it is cut off")

    def comma(self, closing: str) -> None:
        """Leave a comma behind after which something follows, or stand before the ``closing`` bracket."""
        if self.peek() != closing:
            self.expect(",")
            if self.peek() == closing:
                raise ValueError(f"nothing between ',' and {closing!r}")

    def value(self) -> Any:
        """The JSON value that comes next, which is left behind; raises ValueError."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
            else:
                if (end < len(self._text) and self._text[end] not in NUMERIC) or not self._more():
                    break
        raw = self._text[self._at : end]
        self._at = end
        return value if raw.isascii() else _DECODER.decode(raw.encode("latin-1").decode("utf-8"))

    def _more(self) -> bool:
        """Read on, twice as much each time that one value needs more; whether there was anything."""
        kept = self._text[self._at :]
        if len(kept) > LONGEST:
            raise ValueError(f"more than {LONGEST:,} bytes of one value")
        part = self._file.read(max(PART, len(kept)))
        if part:
            self._before, self._text, self._at = self._before + self._at, kept + part.decode("latin-1"), 0
        return bool(part)
