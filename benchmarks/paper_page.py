"""The page of `benchmarks.paper`: what stored runs measured, beside their baselines and what was published."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.paper_changes import ToldTable, changes_table
from benchmarks.paper_places import places
from benchmarks.paper_runs import Published, Run, Section
from vlx.evaluation import Figure, Result
from vlx.evaluation.records import Columns
from vlx.evaluation.result import MACRO

EVERY = ("all", "all objects", MACRO)  # the groups that stand for all of them, the first of a measure's own
BESIDE = {"centre": "a bump in the middle", "random": "random", "same": "map of something else"}
VERDICT = ", passes"
MOST_STEPS = 4  # groups of a measure that are columns where all are told
INTRODUCTION = """\
# The paper's tables

Every table of Grad-CAM (Selvaraju et al., arXiv 1610.02391, IJCV version) redone by one command each, with the models
and data at hand, beside what a random map, a bump in the middle of the picture and the map of something else get. What
was published stands below each: of other models, other data, often another measure. **The figures do not compare in
level.** To redo the paper's own, bring its data and weights to the command at the end of a section.

This page is made by `python -m benchmarks.paper --real DIR --coco DIR`: a run for each command, which goes on where it
was stopped, most in one or two minutes of one CPU core, the longest in nine. `--only` takes some of them; a table whose
run is not at hand stays as the same command made it. In the commands `$VLX_REAL` is the folder of `mobilenet_v2/` and
`photos/` (70 photographs of COCO with outlines), `$COCO` one of other photographs of COCO with outlines and captions.
What is not there is skipped, and said so.

± is half of the 95 % interval over pictures drawn again. **Bold** is what beats both the bump in the middle and random
by a difference, on the very same asks, whose interval leaves out 0. Targets are logits. ° marks an illustration, which
is no evidence (1810.03292).
"""


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its ``command``, its result, or ``why`` there is none; the CPU ``seconds`` that it took.

    ``columns`` are its records by metric, ``kept`` is what the page already tells of the same command.
    """

    command: str
    result: Result | None = None
    why: str = ""
    seconds: float = 0.0
    columns: Mapping[str, Columns] = field(default_factory=dict)
    kept: str = ""


MISSING = Outcome("", why="not asked for")


def page(sections: Sequence[Section], outcomes: Mapping[str, Outcome], before: str = "") -> str:
    """The whole page, of the outcomes of runs by name; a run without one is told as not run.

    What only records tell stays as the page ``before`` has it, for runs that are not at hand.
    """
    told = {run.name: told_of(run, outcomes.get(run.name, MISSING)) for section in sections for run in section.runs}
    headlines = {section.name: _headline(section, told) for section in sections}
    lines = [INTRODUCTION, *places(sections, headlines)]
    for section in sections:
        lines += [*_section(section, outcomes, told, before)]
    return "\n".join(lines).rstrip() + "\n"


def kept(text: str, command: str) -> str:
    """What a page already tells of a command: the table below it and the line below that; "" where there is none."""
    _, _, below = text.partition(f"```sh\n{command}\n```\n\n")
    parts = below.split("\n\n", 2)
    return f"{parts[0]}\n\n{parts[1]}\n" if below.startswith("| ") and len(parts) > 1 else ""


def told_of(run: Run, outcome: Outcome) -> str:
    """A run's table and the line below it, as measured or as kept; "" where it has neither."""
    if outcome.result is None or not outcome.result.rows:
        return outcome.kept
    below = _told(outcome.result, run, outcome.seconds)
    return "\n".join([*table(outcome.result, run.group, run.told), "", below, ""])


def _headline(section: Section, told: Mapping[str, str]) -> str:
    """The first figure of a section's first table, random's beside it, and the first published one."""
    first = next((ToldTable(told[one.name]) for one in section.runs if told[one.name]), None)
    published = [f"published: {one.figure} ({one.what})" for one in section.published[:1]]
    if first is None:
        return "; ".join(published)
    method, column = next(iter(first.rows)), section.lead if section.lead in first.columns else first.columns[0]
    random = first.rows.get("random", {}).get(column, "–")
    here = f"{column} {first.rows[method][column]} by {method} on {first.model}"
    return "; ".join([here + (f", {random} by random" if random != "–" else ""), *published])


def _section(section: Section, outcomes: Mapping[str, Outcome], told: Mapping[str, str], before: str) -> Iterator[str]:
    yield f"## {section.title}\n\n{section.asked}\n"
    for run in section.runs:
        yield from _run(run, outcomes.get(run.name, MISSING), told[run.name])
    if section.published:
        yield from _published(section.published)
    records = {name: one.columns for name, one in outcomes.items() if one.result is not None}
    yield from changes_table(section, told, records, before)
    if section.remark:
        yield f"{section.remark}\n"
    yield f"On the paper's own kind of data: bring {section.data}.\n\n```sh\n{section.bring}\n```\n"


def _run(run: Run, outcome: Outcome, told: str) -> Iterator[str]:
    if outcome.command:
        yield f"```sh\n{outcome.command}\n```\n"
    yield told or f"*`{run.name}` not run: {_plain(outcome.why or 'it measured nothing')}.*\n"


def _told(result: Result, run: Run, seconds: float) -> str:
    """How many pictures and asks the table is of, and of which groups; what it took, and what must be known of it."""
    asks = max(row.count for row in result.rows)
    groups = dict.fromkeys(column.group for column in columns_of(result, run.group, run.told))
    of = "" if run.group == "*" else f"; {', '.join(groups)}"
    notes = [f" {_plain(note)}." for note in result.notes if note.startswith(run.noted)] if run.noted else []
    told = f"{_plain(result.model)}, {result.n} {result.of}, {asks} asks{of}; {seconds:.0f} CPU seconds."
    return told + "".join(notes)


@dataclass(frozen=True)
class Column:
    """A column of a table: one measure of one group."""

    metric: str
    group: str


def columns_of(result: Result, group: str = "", told: Sequence[str] = ()) -> list[Column]:
    """The columns: of every measure, or those ``told``, the wanted group, else what stands for all, else its first.

    Of "*" all groups, as far as there is room.
    """
    groups: dict[str, list[str]] = {}
    for row in result.rows:
        if told and row.metric not in told:
            continue
        known = groups.setdefault(row.metric, [])
        known += [row.group] if row.group not in known else []
    if group == "*":
        return [Column(metric, one) for metric, known in groups.items() for one in known[:MOST_STEPS]]
    wanted = [group, *EVERY]
    return [Column(metric, next((one for one in wanted if one in known), known[0])) for metric, known in groups.items()]


def table(result: Result, group: str = "", told: Sequence[str] = ()) -> Iterator[str]:
    """The figures as lines of Markdown: a line a method, a column a measure, and the baselines below."""
    columns = columns_of(result, group, told)
    figures = {(row.method, row.target, Column(row.metric, row.group)): row for row in result.rows}
    several = len({column.group for column in columns}) > 1 and group == "*"
    heads = [f"{column.metric}: {column.group}" if several else column.metric for column in columns]
    yield f"| | {' | '.join(map(_plain, heads))} |"
    yield f"| --- |{' ---: |' * len(columns)}"
    lines = list(dict.fromkeys((row.method, row.target) for row in result.rows))
    targets = {target for _, target in lines if target}
    for method, target in lines:
        called = f"{method} {target}" if len(targets) > 1 else method
        cells = [_cell(figures.get((method, target, column)), _better(result, column.metric)) for column in columns]
        yield f"| {called}{_mark(method)} | {' | '.join(cells)} |"
    for name, called in BESIDE.items():
        first = [_baseline(figures, lines, column, name) for column in columns]
        if any(value == value for value in first):
            yield f"| *{called}* | {' | '.join(map(number, first))} |"


def _mark(method: str) -> str:
    """A ring behind what is an illustration and no evidence."""
    from vlx.evaluation import baselines
    from vlx.methods import registry

    known = registry.named(method)
    return "" if known is None or known.evidence or method in baselines.METHODS else "°"


def _baseline(
    figures: Mapping[tuple[str, str, Column], Figure], lines: Sequence[tuple[str, str]], column: Column, name: str
) -> float:
    """The figure of a baseline in a column: that of the first line which has one."""
    own = (figures.get((*line, column)) for line in lines)
    values = [float(getattr(row, name)) for row in own if row is not None]
    return next((value for value in values if value == value), math.nan)


def _better(result: Result, metric: str) -> str:
    """Which values of a figure are good, by the measure that it is of; "" where that is not told."""
    known = [name for name in result.better if metric == name or metric.startswith((f"{name} ", f"{name}, "))]
    known = known or ([*result.better] if len(result.better) == 1 else [])
    return result.better[max(known, key=len)] if known else ""


def _cell(row: Figure | None, better: str) -> str:
    """A value with half its interval, bold where it beats both the middle of the picture and chance."""
    if row is None:
        return ""
    if row.metric.endswith(VERDICT):
        return "yes" if row.value else "no"
    half = (row.high - row.low) / 2
    told = number(row.value) + ("" if math.isnan(half) else f" ± {number(half)}")
    beats = [_beats(difference, better) for difference in (row.ahead, row.over_random)]
    return f"**{told}**" if all(beats) else told


def _beats(difference: tuple[float, float, float] | None, better: str) -> bool:
    if difference is None:
        return False
    _, low, high = difference
    return low > 0 if better == "high" else high < 0 if better == "low" else False


def number(value: float) -> str:
    """Three decimals, no nought before the point; a dash for what is not known.

    >>> number(-0.25), number(1.5), number(math.nan)
    ('−.250', '1.500', '–')
    """
    if math.isnan(value):
        return "–"
    told = f"{abs(value):.3f}".removeprefix("0") if abs(value) < 1 else f"{abs(value):.3f}"
    return f"−{told}" if value < 0 and float(f"{value:.3f}") else told


def _published(figures: Sequence[Published]) -> Iterator[str]:
    rows = [f"| {one.what} | {one.figure} | {one.source} |" for one in figures]
    yield "\n".join(["| published | | by |", "| --- | ---: | --- |", *rows]) + "\n"


def _plain(text: str) -> str:
    """A text that breaks no line of a table and no paragraph."""
    return " ".join(text.split()).replace("|", "\\|").rstrip(".")
