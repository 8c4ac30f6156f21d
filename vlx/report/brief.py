"""What a terminal says first: the text, and a line a word with its chance, what it owes to the picture, and reasons."""

import math
import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vlx.explanation.records import Explanation, WordExplanation
from vlx.language import are_words, is_content
from vlx.report import answers, chances, reasons, sentences, strength, text, wording

REASONS = 3  # at most, a word
OTHERS = 3  # other answers that are named
FEW = 3  # function words from which on they share a line
GAP = 2  # columns between cells
LEAST = 12  # columns of labels and reasons, however narrow the terminal
BOUND = "\u00a0"  # a mark stays with its name
ROOMY = 72  # columns from which on no heading is broken
OWED = "owed to the picture"
MANY = 20  # function words that are listed
SHOWN = 160  # characters of what a model reasons before it answers


def brief(why: Explanation, width: int = 80) -> Group:
    """The answer for a terminal of ``width`` columns: the text, then a row a word; no cell is cut, long ones wrap.

    Function words share one line. The rest (log p, map checks, experiments) is `vlx.report.text.table`.

        >>> Console().print(brief(why))
        it says: a° red car
        word  p       owed to the picture  because of
        red   71.0 %  93 %                 red ✓, window ✗
        car   99.0 %  88 %                 perhaps wheel –
    """
    words, function = _parted(why)
    reasoned = text.reasoned(why, SHOWN)
    parts: list[RenderableType] = [*text.asked(why), *reasoned, text.title(why), *text.scope(why)]
    if words:
        parts.append(_table(why, words, width))
    if function:
        listed = ", ".join(f"{text.labelled(why, word)} {chances.bare(word)}" for word in function[:MANY])
        more = f", and {len(function) - MANY} more" if len(function) > MANY else ""
        parts.append(Text(f"function words: {text.clean(listed)}{more}", style="dim"))
    parts += [Text(line, style="dim") for line in _beside(why)]
    parts += [Text(f"Note: {text.clean(note)}", style="yellow") for note in why.notes]
    return Group(*parts)


def legend(*shown: Explanation) -> list[Text]:
    """What the marks of `brief` mean: of those that stand there, each once, for one or several explanations."""
    lines = []
    if any(owed(word).endswith("%") for why in shown if why.instead_of is None for word in why.words):
        ring = f"; {wording.RING} hardly any: language’s" * any(map(wording.legend, shown))
        lines.append(f"{OWED}: how much of p is lost with other pictures in its place{ring}")
    if any(_reasons(word) for why in shown for word in why.words):
        lines.append(
            "because of units of these names (perhaps: not shown to matter): ✓ they act together for the word more "
            "than randomly named ones, ✗ no more, – cannot be tested"
        )
    return [Text(line, style="dim") for line in lines]


def owed(word: WordExplanation, instead_of: str | None = None) -> str:
    """What the word owes to the picture: the share of its p that is lost without it, in percent.

    Of a contrast it is how many times likelier the picture makes it; of a number its own unit. Empty when it was not
    asked for.
    """
    if word.seen is None or math.isnan(word.seen):
        return ""
    if chances.is_number(word):
        return wording.difference(word.seen)
    if instead_of is not None:
        return f"{sentences.times(abs(word.seen))} {'likelier' if word.seen >= 0 else 'less likely'}"
    return "against it" if word.seen <= -0.005 else sentences.part(strength.share(word.seen))


def _parted(why: Explanation) -> tuple[Sequence[WordExplanation], Sequence[WordExplanation]]:
    """The words that have a row, and the function words that share a line; none where the text is no words.

    What a model reasons before it answers has neither, unless it is all there is.
    """
    said = [word for word in why.words if not word.reasoning or why.instead_of is not None] or why.words
    function_words = [word for word in said if not is_content(word.label)]
    plain = wording.noun(why) == "word" and why.instead_of is None and are_words([w.label for w in why.words], why.text)
    if not plain or not FEW <= len(function_words) < len(said):
        return said, ()
    return [word for word in said if is_content(word.label)], function_words


def _table(why: Explanation, words: Sequence[WordExplanation], width: int) -> Table:
    """A column of labels and one of chances; those of what is owed and of reasons where any word has one."""
    rival, heads = why.instead_of, [wording.noun(why), chances.heads(why)[0], OWED, "because of"]
    if width < ROOMY:
        heads[2] = OWED.replace(" to ", " to\n")
    cells = [
        [text.clean(one) for one in (text.labelled(why, word), chances.bare(word), owed(word, rival), _reasons(word))]
        for word in words
    ]
    there = [n for n in range(len(heads)) if n < 2 or any(row[n] for row in cells)]
    sizes = [
        max(cell_len(line) for cell in (heads[n], *(row[n] for row in cells)) for line in cell.split("\n"))
        for n in there
    ]
    sizes[0] = min(sizes[0], max(LEAST, width // 3))
    if there[-1] == 3:
        sizes[-1] = min(sizes[-1], max(LEAST, width - sum(sizes[:-1]) - GAP * (len(there) - 1)))
    rows = Table(box=None, header_style="dim", pad_edge=False, padding=(0, GAP, 0, 0))
    for n, size in zip(there, sizes, strict=True):
        rows.add_column(heads[n], overflow="fold", no_wrap=0 < n < 3, max_width=size)
    for word, row in zip(words, cells, strict=True):
        row[3] = "\n".join(textwrap.wrap(row[3], sizes[-1])).replace(BOUND, " ")
        rows.add_row(*(Text(row[n], style=_style(word) if n == 0 else "") for n in there))
    return rows


def _style(word: WordExplanation) -> str:
    moved = wording.moved(word)
    return "dim" if moved is not None and moved < wording.LITTLE else "bold"


def _reasons(word: WordExplanation) -> str:
    """Its first reasons with the marks of their names; "perhaps" before those that were not shown to matter."""
    if word.because is None or not word.because.said:
        return ""
    perhaps = "" if reasons.badge(word.because)[0] == "✓" else "perhaps "
    named = (f"{one.concept}{BOUND}{reasons.NAMES[one.named]}" for one in word.because.said[:REASONS])
    return perhaps + ", ".join(named)


def _beside(why: Explanation) -> Iterator[str]:
    """What else it could have said, where one answer or class is explained; that it would have said it anyway."""
    others = answers.beside(why)[:OTHERS] if why.words and why.instead_of is None else ()
    if others:
        yield "otherwise: " + ", ".join(f"{text.clean(one.text)} {chances.bare(one.words[0])}" for one in others)
    for word in why.words:
        if why.instead_of is None and (anyway := wording.anyway(word)):
            yield wording.sentence(text.clean(anyway))
