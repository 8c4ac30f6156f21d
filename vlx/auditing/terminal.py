"""An audit for the terminal: findings first, then a short table, then where the page is."""

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from vlx.auditing import telling
from vlx.auditing.result import AnswerTally, Audit, ConceptRow, Weighed
from vlx.report import sentences, text, wording

ROWS = 12  # answers of the table
FINDINGS = 20
TOLD = 3
LEAST = 0.05  # of the evidence: a concept that carries less does not stand in the table


def shown(audit: Audit) -> Iterator[Text | Table | str]:
    """What a terminal shows of an audit, part by part, as rich prints it."""
    yield Text(telling.headline(audit), style="bold")
    yield Text(f"{text.plain(audit.model)} on {text.plain(audit.data)}. {telling.standing(audit)}")
    found = telling.found(audit)
    for number, one in enumerate(found[:FINDINGS], 1):
        yield Text(f"\n{number}. {wording.sentence(text.plain(one.sentence))}")
        figures = [f"{name} {figure}" for name, figure in telling.figures(one) if name != "pictures"]
        yield Text(f"   {' · '.join(figures)}", style="dim")
    if len(found) > FINDINGS:
        yield Text(f"\nand {len(found) - FINDINGS} more, in findings.json")
    yield Text(f"\n{telling.tested(audit)}", style="dim")
    told = telling.told(audit)
    for one in told[:TOLD]:
        yield Text(f"Not judged: {text.plain(one.sentence)}", style="dim")
    if len(told) > TOLD:
        yield Text(f"and {len(told) - TOLD} more that are told, not judged", style="dim")
    if audit.answers:
        yield table(audit)
    for note in audit.notes:
        yield Text(wording.sentence(text.plain(note)), style="dim")


def table(audit: Audit) -> Table:
    """The answers said most: how often, how often right, and what carries them where right and where wrong."""
    known = any(one.right is not None for one in audit.answers)
    rows = Table(title_justify="left", caption=_caption(audit), caption_justify="left")
    rows.add_column(audit.answer_is)
    rows.add_column("said", justify="right")
    for name in ("right",) if known else ():
        rows.add_column(name, justify="right")
    rows.add_column("carried by, where right" if known else "carried by")
    for name in ("where wrong",) if known else ():
        rows.add_column(name)
    for one in audit.answers[:ROWS]:
        right = ["–" if one.right is None else f"{one.right:,}"] if known else []
        wrong = [_carried(one, wrong=True)] if known else []
        cells = [text.plain(one.answer) or "(nothing)", f"{one.said:,}", *right, _carried(one), *wrong]
        rows.add_row(*map(escape, cells))
    return rows


def _caption(audit: Audit) -> str:
    more = len(audit.answers) - ROWS
    unit = f" {audit.unit}" if audit.unit else ""
    return f"share of the evidence, signed sum{unit}" + (f"; {more} more in audit.json" if more > 0 else "")


def _carried(one: AnswerTally, *, wrong: bool = False) -> str:
    """The two concepts with the largest share of an answer's evidence."""
    sides = [(row, row.wrong if wrong else row.right) for row in one.concepts]
    return ", ".join(_written(row, side) for row, side in _strongest(sides)[:2]) or "–"


def _strongest(sides: Sequence[tuple[ConceptRow, Weighed]]) -> list[tuple[ConceptRow, Weighed]]:
    telling = [(row, side) for row, side in sides if side.n and side.share >= LEAST]
    return sorted(telling, key=lambda pair: pair[1].share, reverse=True)


def _written(row: ConceptRow, side: Weighed) -> str:
    return f"{text.plain(row.concept)} {sentences.part(side.share)} {wording.difference(side.signed)}"
