"""An explanation as a table, a row a word: what results.csv, `Explanation.save` as .csv and data frames hold.

Text cells that a spreadsheet would take for a formula get an apostrophe before them in CSV files; numbers, data frames
and JSON are as they are.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vlx.errors import InputError
from vlx.explanation.reasons import Because
from vlx.explanation.records import Explanation, WordExplanation
from vlx.language import is_content
from vlx.report import wording

if TYPE_CHECKING:
    import pandas

HEAD = ("picture", "question", "text", "position", "word", "logprob", "p", "seen", "owed", "check", "share")
BOX = ("peak_left", "peak_top", "peak_right", "peak_bottom")
COLUMNS = (*HEAD, *BOX, "method", "page")
FORMULA = frozenset("=+-@\t\r\n＝＋－＠")  # noqa: RUF001  (the wide ones are read alike in Japan)

Record = dict[str, Any]


def words(why: Explanation) -> list[Record]:
    """What is told of every word, as plain JSON.

    ``logprob`` and ``seen`` in nats (``logprob`` None of numbers), ``owed``: whether the picture carries the word (None
    where nobody asked), ``check`` and ``share`` of `vlx.explanation.map_check`, ``peak``: see `peak_box`, ``content``:
    whether the word says something of its own, ``because``: the concepts that its sentence names (None where nobody
    asked). ``mapped`` is False of words without a map, ``reasoning`` True of those that a model reasons with before it
    answers; else they are not there.
    """
    return [_word(why, word) for word in why.words]


def of(why: Explanation) -> Record:
    """The record of one explanation by itself, whose picture is known by its name alone."""
    name = why.provenance.get("image")
    asked = {} if why.question is None else {"question": why.question}
    return {"path": "" if name is None else str(name), **asked, "text": why.text, "method": why.method, "page": ""} | {
        "words": words(why)
    }


def values(record: Mapping[str, Any]) -> Iterator[list[Any]]:
    """The rows that a record makes, one a word, in the order of ``COLUMNS``; None for what is not known."""
    for position, word in enumerate(record.get("words", ())):
        p = None if word["logprob"] is None else math.exp(word["logprob"])
        said = [record["path"], record.get("question"), record["text"], position, word["word"], word["logprob"], p]
        judged = [word["seen"], word["owed"], word["check"], word["share"]]
        yield [*said, *judged, *(word["peak"] or [None] * 4), record["method"], record["page"]]


def rows(record: Mapping[str, Any]) -> Iterator[list[str]]:
    """The same as the cells of a CSV file."""
    yield from ([cell(value) for value in row] for row in values(record))


def cell(value: Any) -> str:
    """A cell of a CSV file: six figures of a number, yes or no, and no text that a spreadsheet would calculate.

    >>> [cell(value) for value in (0.25, True, None, "-", "-2+3")]
    ['0.25', 'yes', '', '-', "'-2+3"]
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    text = str(value)
    return f"'{text}" if len(text) > 1 and text[0] in FORMULA else text


def written(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """The text of a CSV file with its header, as RFC 4180 has it."""
    held = io.StringIO()
    writer = csv.writer(held)
    writer.writerow(columns)
    writer.writerows(lines)
    return held.getvalue()


def text(why: Explanation) -> str:
    """The explanation as the text of a CSV file."""
    return written(COLUMNS, rows(of(why)))


def frame(columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> "pandas.DataFrame":
    """A pandas DataFrame of rows. Raises InputError where pandas is not installed."""
    try:
        import pandas
    except ImportError:
        raise InputError('data frames need pandas: pip install "vlx[pandas]", or save as .csv instead') from None
    return pandas.DataFrame([list(line) for line in lines], columns=list(columns))


def peak_box(word: WordExplanation) -> list[int] | None:
    """Left, top, right, bottom of the cell where the map is highest, in pixels of the user's picture; None without."""
    signed = np.nan_to_num(np.asarray(word.signed, np.float64), nan=-np.inf)
    if not signed.size or not signed.max() > 0:
        return None
    i, j = np.unravel_index(int(signed.argmax()), signed.shape)
    y, x = word.placement.centre_of(int(i), int(j))
    tall, wide = word.placement.cell_size
    height, width = word.placement.frame.size
    sides = (x - wide / 2 + 0.5, y - tall / 2 + 0.5, x + wide / 2 + 0.5, y + tall / 2 + 0.5)
    return [int(np.clip(round(side), 0, most)) for side, most in zip(sides, (width, height) * 2, strict=True)]


def rounded(value: float | None) -> float | None:
    """Six figures; None for what is no number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _word(why: Explanation, word: WordExplanation) -> Record:
    check, number = word.check, word.outputs == "value"
    return {
        "word": word.label,
        "logprob": None if number else rounded(word.logprob),
        "score": rounded(word.score),
        "seen": rounded(word.seen),
        "owed": None if wording.moved(word) is None else not wording.language(word),
        "check": None if check is None else check.verdict,
        "share": None if check is None else rounded(check.share),
        "peak": peak_box(word),
        "content": says_something(why, word),
        "because": None if word.because is None else _because(word.because),
        **({} if word.mapped else {"mapped": False}),
        **({"reasoning": True} if word.reasoning else {}),
    }


def _because(because: Because) -> Record:
    """The concepts that the sentence names, with what the trials of their units say."""
    matters = None if because.check is None else because.check.matters
    return {"matters": matters, "names": [{"concept": one.concept, "named": one.named} for one in because.said]}


def says_something(why: Explanation, word: WordExplanation) -> bool:
    """Whether a word says something of its own: all answers do, and content words of a caption."""
    return wording.noun(why) != "word" or is_content(word.label)
