"""What two models, methods or texts make of the same pictures: words side by side, the largest differences first."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from vlx.comparing import page
from vlx.comparing.pairs import PicturePair, Ranked, nats, percent, said, signed
from vlx.comparing.words import Side, WordPair
from vlx.errors import Failure, InputError, OutputError, in_own_words
from vlx.files import whole
from vlx.report import table

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = (
    *("rank", "picture", "question", "word_a", "word_b", "position_a", "position_b", "difference", "by"),
    *("logprob_a", "logprob_b", "logprob_change", "seen_a", "seen_b", "seen_change", "check_a", "check_b"),
    *("logprob_a_of_word_b", "logprob_b_of_word_a", "score_a", "score_b"),
    *("correlation", "elsewhere", "peak_a", "peak_b", "unit_a", "unit_b"),
    *("after_other_words", "note", "text_a", "text_b"),
)
PRINTED_PAIRS = 5  # pairs that are printed


@dataclass(frozen=True, eq=False)
class Comparison:
    """What A and B make of the same pictures.

    ``a`` and ``b`` are their names, ``pictures`` hold the words side by side, ``failures`` what could not be explained.
    """

    a: str
    b: str
    pictures: tuple[PicturePair, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def ranked(self) -> tuple[Ranked, ...]:
        """All pairs of words, those that differ most first; equal ones as they stand in pictures and texts."""
        pairs = [(picture, pair) for picture in self.pictures for pair in picture.words]
        pairs.sort(key=lambda one: one[1].order, reverse=True)
        return tuple(Ranked(number, *one) for number, one in enumerate(pairs, 1))

    @property
    def same(self) -> bool:
        """Whether nothing differs: all words, log p, what they owe to the picture, and maps."""
        return not any(picture.difference for picture in self.pictures) and not any(
            picture.text_a != picture.text_b for picture in self.pictures
        )

    @property
    def summary(self) -> tuple[tuple[str, str], ...]:
        """The comparison in figures: (what, figure)."""
        pairs = [pair for picture in self.pictures for pair in picture.words]
        both = [pair for pair in pairs if pair.said_by_both]
        fair = [pair for pair in both if not pair.after_others]
        figures = [
            ("pictures", f"{len(self.pictures)}" + f", {len(self.failures)} failed" * bool(self.failures)),
            ("said by both", f"{len(both)} of {len(pairs)}"),
            ("log p, B − A", _changes([pair.logprob_change for pair in fair], " nats")),
            ("value, B − A", _changes([pair.score_change for pair in fair if pair.is_number], "")),
            ("seen, B − A", _changes([pair.seen_change for pair in fair], " nats")),
            ("heat that lies elsewhere", _middle([pair.maps.elsewhere for pair in both if pair.maps], percent)),
            ("rank correlation of maps", _middle([pair.maps.correlation for pair in both if pair.maps], signed)),
            (
                "maps compared",
                "; ".join(dict.fromkeys(pair.maps.grids for pair in pairs if pair.maps and pair.maps.grids)),
            ),
            *((f"maps of {letter} confirmed", _confirmed(pairs, letter.lower())) for letter in "AB"),
        ]
        return tuple((name, figure) for name, figure in figures if figure)

    def rows(self) -> Iterator[list[Any]]:
        """The table, a row a pair of words in the order of their rank, its columns ``COLUMNS``."""
        for ranked in self.ranked:
            a, b, pair = ranked.pair.a, ranked.pair.b, ranked.pair
            maps = pair.maps
            said, notes = ranked.picture, [] if maps is None else [maps.grids, maps.note]
            yield [
                *(ranked.rank, said.name, said.question or None, *_each(a, b, "word"), *_each(a, b, "position")),
                *(table.rounded(pair.difference), pair.by),
                *(*_each(a, b, "logprob"), pair.logprob_change, *_each(a, b, "seen"), pair.seen_change),
                *_each(a, b, "check"),
                *(None if side is None or side.rival is None else side.rival[1] for side in (a, b)),
                *_each(a, b, "score"),
                *((None, None) if maps is None else (maps.correlation, maps.elsewhere)),
                *(*_each(a, b, "top"), *_each(a, b, "unit")),
                *(pair.after_others, "; ".join(filter(None, notes)) or None),
                *(said.text_a, said.text_b),
            ]

    def save(self, path: str | Path) -> Path:
        """Write to ``path``: .html for people, one self-contained page, or .csv, a row a pair of words.

        >>> vlx.compare(a, b, pictures).save("compared.html")
        """
        path = Path(path)
        writers: dict[str, Callable[[], str]] = {".html": self._page, ".csv": self._csv}
        ending = path.suffix.lower()
        if ending not in writers:
            endings = " or ".join(writers)
            raise InputError(f"{path}: a comparison is saved as {endings}, not {ending or 'without ending'}")
        whole.require_place(path)
        with in_own_words(f"{path} cannot be written", OutputError):
            whole.write_text(path, writers[ending]())
        return path

    def to_dataframe(self) -> "DataFrame":
        """The table as a pandas DataFrame. Raises InputError where pandas is not installed."""
        return table.frame(COLUMNS, self.rows())

    def _page(self) -> str:
        return page.page(self)

    def _csv(self) -> str:
        return table.written(COLUMNS, ([table.cell(value) for value in row] for row in self.rows()))

    def _repr_html_(self) -> str:
        return page.frame(self)

    def __repr__(self) -> str:
        return f"Comparison(A: {self.a}, B: {self.b}, {len(self.pictures)} pictures, {len(self.ranked)} words)"

    def __str__(self) -> str:
        lines = [f"A: {self.a}", f"B: {self.b}", *(f"{name}: {figure}" for name, figure in self.summary)]
        most = [one for one in self.ranked[:PRINTED_PAIRS] if one.pair.difference > 0]
        lines += [f"{one.rank}. {one.picture.name}: {said(one.pair)}" for one in most] or ["nothing differs"]
        return "\n".join([*lines, *(f"failed: {failure}" for failure in self.failures)])


def _each(a: Side | None, b: Side | None, name: str) -> tuple[Any, Any]:
    return None if a is None else getattr(a, name), None if b is None else getattr(b, name)


def _numbers(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _changes(values: Sequence[float | None], unit: str) -> str:
    numbers = _numbers(values)
    if not numbers:
        return ""
    return f"mean {nats(fmean(numbers))}{unit} (in size {fmean(map(abs, numbers)):.2f})"


def _middle(values: Sequence[float | None], written: Callable[[float], str]) -> str:
    numbers = _numbers(values)
    return f"median {written(median(numbers))}" if numbers else ""


def _confirmed(pairs: Sequence[WordPair], side: str) -> str:
    checks = [one.check for pair in pairs if (one := getattr(pair, side)) is not None and one.check is not None]
    return f"{checks.count('confirmed')} of {len(checks)}" if checks else ""
