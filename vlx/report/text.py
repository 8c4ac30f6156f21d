"""An explanation in words and figures: a table for the terminal, a page of Markdown."""

import re
from collections.abc import Callable

from rich.console import Group
from rich.control import strip_control_codes
from rich.table import Table
from rich.text import Text

from vlx.explanation.records import Explanation, QuestionWord, WordExplanation
from vlx.language import shortened
from vlx.report import answers, chances, colour, reasons, strength, wording

BLOCKS = " ▏▎▍▌▋▊▉█"
BAR = 8  # characters
ROOMY, NARROW = 100, 72  # columns
STEERING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # signs that turn what is written after them
COLUMNS = ("seen", "map", "check", "peak", "else")


def table(why: Explanation, width: int = ROOMY) -> Group:
    """For a terminal: the text, then a line a word with its figures; notes below.

    Nothing is cut: cells wrap, and under ``width`` `ROOMY` columns the bars are left out, under `NARROW` the other
    likely words, too.
    """
    left_out = [name for name, least in (("map", ROOMY), ("else", NARROW)) if width < least]
    heads = (wording.noun(why), *chances.heads(why), *COLUMNS)
    rows = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for name in heads:
        words = name in (*wording.PLURALS, "else")
        if name not in left_out:
            rows.add_column(
                name, justify="left" if words or name == "map" else "right", overflow="fold", no_wrap=not words
            )
    top = colour.scale(why)
    for word in answers.shown(why):
        cells = zip(heads, _row(why, word, top), strict=True)
        rows.add_row(*(cell for name, cell in cells if name not in left_out))
    unit = f" · peak of the map in {wording.unit(why.words[0])}" if why.words else ""
    foot = Text(f"{why.method} · seen: {chances.owed_unit(why)} owed to the picture{unit}", style="dim")
    if legend := wording.legend(why):
        foot.append(f"\n{legend}", style="dim")
    if any(word.check is not None for word in why):
        foot.append(f"\n{wording.MARKS}", style="dim")
    notes = [Text(f"Note: {clean(note)}", style="yellow") for note in why.notes]
    body = [rows] if why.words else []
    figures = [Text(f"  {clean(line)}", style="dim") for line in _question_figures(why)]
    return Group(
        *asked(why),
        *figures,
        *reasoned(why),
        title(why),
        *scope(why),
        *body,
        foot,
        *_reasons(why),
        *_probes(why),
        *notes,
    )


def title(why: Explanation) -> Text:
    """What was said, or what was asked for."""
    said = "asked to explain:" if why.forced else "it says:" if why.question is None else "it answers:"
    nothing = "(only reasoning)" if answers.only_reasoning(why) else "(nothing)"
    return Text.assemble((said + " ", "dim"), (clean(answers.marked(why)) or nothing, "bold"))


def reasoned(why: Explanation, most: int | None = None) -> list[Text]:
    """What the model reasoned before it answered, of at most so many characters; nothing where it did not."""
    told = answers.reasoning(why)
    if not told:
        return []
    count = len(answers.thoughts(why))
    line = clean(told if most is None else shortened(told, most))
    return [Text(f"reasoning, {count} word{'s' * (count > 1)}: {line}", style="dim italic")]


def scope(why: Explanation) -> list[Text]:
    """What lies outside of what the model was made for."""
    return [Text(clean(wording.sentence(told)), style="bold yellow") for told in why.scope]


def asked(why: Explanation) -> list[Text]:
    """The question, its words coloured by what the answer loses without them; nothing where there was none."""
    if why.question is None:
        return []
    line = Text("asked: ", style="dim")
    for piece in answers.pieces(why):
        line.append(clean(piece.text) + " ", _tint(piece.strength))
    line.rstrip()
    return [line]


def sentences(why: Explanation) -> list[str]:
    """Why each word or answer was said, in concepts: a sentence, and what the check says; those that were asked for."""
    told_reasons = (reasons.of_word(word, _rival(why, word)) for word in answers.shown(why))
    return [str(because).replace("\n", "; ") for because in told_reasons if because is not None]


def _rival(why: Explanation, word: WordExplanation) -> str | None:
    return why.instead_of if word in why.words else None


def _reasons(why: Explanation) -> list[Table | Text]:
    """A line a word: the check's sign, what speaks for it, what against it; of a single answer the whole sentence."""
    explained = [(word, word.because) for word in answers.shown(why) if word.because is not None]
    if not explained:
        return []
    rows = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for name, style in (("", "bold"), ("", ""), ("because of", ""), ("despite", "dim")):
        rows.add_column(name, style=style, overflow="fold")
    for word, because in explained:
        rows.add_row(*(Text(clean(part)) for part in (_label(word, _rival(why, word)), *reasons.short(because))))
    whole = [Text(clean(line)) for line in sentences(why)[:1]] if len(why) == 1 else []
    where = "" if whole else "; whole sentences: in .md, .html and print(why[0].because)"
    signs = (
        "✓ these units matter more than random sets, ✗ not shown, – not tried; behind a name: ✓ its units act together "
        "for the word more than randomly named ones, ✗ no more than these, – cannot be tested"
    )
    return [*whole, rows, Text(signs + where, style="dim")]


def labelled(why: Explanation, word: WordExplanation) -> str:
    """The word's label with its ring; of a contrast both sides."""
    rival = _rival(why, word)
    return wording.ringed(why, word) if rival is None else _label(word, rival)


def _label(word: WordExplanation, instead_of: str | None) -> str:
    return word.label if instead_of is None else f"{word.label} − {instead_of}"


def _tint(strength: float) -> str:
    color = "dark_orange" if strength > 0 else "dodger_blue1"
    return f"not dim {'bold ' if abs(strength) > 0.5 else ''}{color if abs(strength) > 0.1 else ''}".strip()


def _question_figures(why: Explanation) -> list[str]:
    """What each word of the question does, a line a measure."""
    if not why.question_words:
        return []

    def listed(value: Callable[[QuestionWord], float | None]) -> str:
        differences = [(asked.word, value(asked)) for asked in why.question_words]
        return ", ".join(f"{word} {wording.difference(one)}" for word, one in differences if one is not None)

    lead = "lead lost" if why.instead_of is not None else f"{chances.nats(why)} lost".strip()
    lines = [f"{lead} when left out: {listed(lambda asked: asked.left_out)}"]
    if any(asked.gradient is not None for asked in why.question_words):
        lines.append(f"gradient × embedding: {listed(lambda asked: asked.gradient)}")
    return lines


def _probes(why: Explanation) -> list[Text]:
    """The verdict, what other pictures give, and whether occlusion agrees."""
    return [Text(clean(line)) for word in why for line in _probed(why, word)]


def _probed(why: Explanation, word: WordExplanation) -> list[str]:
    """The same for one word, in lines; none where nobody asked."""
    verdict = wording.verdict(word, why.instead_of) if answers.single(why) or word.looks else ""
    lines = [wording.sentence(verdict)] if verdict else []
    looks = [
        f"{row.name} {row.figures}" + (f" ({row.said})" if row.said else "")
        for row in answers.rows(word, why.instead_of)
    ]
    if looks:
        what = chances.by_picture(word, why.instead_of)
        lines.append(f"{what} by picture: {'; '.join(looks)}.")
    if word.occlusion is not None:
        lines.append(wording.sentence(wording.agreement(word)))
    return lines if answers.single(why) else [f"“{word.label}”: {line}" for line in lines]


def _row(why: Explanation, word: WordExplanation, top: float) -> list[Text]:
    label = labelled(why, word)
    moved = wording.moved(word)
    peak, style = wording.strongest(word.signed), "dim" if moved is not None and moved < wording.LITTLE else "bold"
    return [
        Text(clean(label), style=f"{style} italic" if word.reasoning else style),
        *map(Text, chances.cells(word)),
        Text(wording.seen(word)),
        Text(bar(peak / top if top > 0 else 0.0), style="dark_orange"),
        Text(wording.mark(word)),
        Text(strength.peak(word)),
        Text(clean(wording.runners_up(word)), style="dim"),
    ]


def bar(part: float) -> str:
    """A share from 0 to 1 as up to eight blocks; anything above 0 leaves a trace."""
    eighths = max(round(min(part, 1.0) * BAR * 8), 1 if part > 0 else 0)
    return "█" * (eighths // 8) + (BLOCKS[eighths % 8] if eighths % 8 else "")


def markdown(why: Explanation) -> str:
    """One Markdown page with the figures, and the drawing inside it."""
    from vlx.report import figure, pictures

    model = _escaped(str(why.provenance.get("model", "the model")))
    unit = f" Peaks are in {_escaped(wording.unit(why.words[0]))}." if why.words else ""
    noun = wording.noun(why)
    nouns = wording.PLURALS[noun]
    what = "Answer" if why.question is not None else "Caption" if answers.in_caption(why) else "Text"
    origin = f"{what} {'given to' if why.forced else 'by'}"
    told, nothing = answers.reasoning(why), "(only reasoning)" if answers.only_reasoning(why) else "(nothing)"
    lines = [
        *([f"> {_weighed(why)}", ""] if why.question is not None else []),
        f"# {'Why ' if why.instead_of is not None else ''}{_escaped(answers.marked(why)) or nothing}",
        "",
        *([f"<details><summary>Reasoning</summary>\n\n{_escaped(told)}\n\n</details>\n"] if told else []),
        *(f"> **{_escaped(wording.sentence(told))}**\n" for told in why.scope),
        f"{origin} {model}, explained by {_escaped(why.method)}. {_escaped(_shows(why, noun))}{unit}",
        "",
        *([f"{_escaped(legend)}.", ""] if (legend := wording.legend(why)) else []),
        *(f"- {_escaped(line)}" for line in _question_figures(why)),
        *(f"- {_escaped(line)}" for word in why for line in _probed(why, word)),
        *(f"- {_escaped(word.label)}: {_escaped(wording.checked(word))}." for word in why if word.check is not None),
        "",
        *(f"> {_escaped(note)}\n" for note in why.notes),
        f"| {noun} | {' | '.join(chances.heads(why))} | seen ({chances.seen_unit(why)}) | check | "
        f"{' | '.join(_peaks(why))} | other likely {nouns} |",
        f"|---|{'--:|' * len(chances.heads(why))}--:|---|{'--:|' * len(_peaks(why))}---|",
        *(_line(why, word) for word in (*answers.shown(why), *why.phrases)),
        "",
        *(f"- {_escaped(line)}." for line in sentences(why)),
        "",
        *(
            f"- {_escaped(word.label)}: {_escaped(note)}"
            for word in why
            for note in word.notes
            if word.mapped and note not in why.notes
        ),
        "",
        f"![Maps of all {nouns}]({pictures.png_address(figure.rendered(figure.draw(why)))})",
        "",
        *(f"- {_escaped(str(name))}: {_escaped(str(value))}" for name, value in why.provenance.items()),
    ]
    return "\n".join(lines) + "\n"


def _shows(why: Explanation, noun: str) -> str:
    """What a map shows, in a sentence."""
    method = wording.method_of(why)
    moved = f"most {'raise' if method.signed else 'move'} the {noun}’s score"
    moved = moved if method.of_score else f"most speak for the {noun}"
    return f"A map shows {method.sentence[0].lower()}{method.sentence[1:]} {moved}."


def _weighed(why: Explanation) -> str:
    """The question; words that the answer leans on are bold, those that speak against it in italics."""
    marks = [
        (piece.text, "**" if piece.strength > 0.3 else "*" if piece.strength < -0.3 else "")
        for piece in answers.pieces(why)
    ]
    return " ".join(f"{mark}{_escaped(text)}{mark}" for text, mark in marks)


def _peaks(why: Explanation) -> dict[str, str]:
    """The columns of peaks, and the map of a word that each is of."""
    signed = wording.method_of(why).signed
    return {"peak for": "signed", "peak against": "opposed"} if signed else {"peak": "signed"}


def _line(why: Explanation, word: WordExplanation) -> str:
    instead_of = _rival(why, word)
    label = wording.ringed(why, word) if word in why.words else word.label
    named = _escaped(label if instead_of is None else f"{word.label} rather than {instead_of}")
    cells = (
        f"*{named}*" if word.reasoning and instead_of is None else named,
        *map(_escaped, chances.cells(word)),
        wording.seen(word),
        _escaped(wording.mark(word)),
        *(strength.peak(word, name) for name in _peaks(why).values()),
        _escaped(wording.runners_up(word)),
    )
    return f"| {' | '.join(cells)} |"


def clean(text: str) -> str:
    """Text that cannot steer a terminal."""
    return strip_control_codes(re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text))


def plain(text: str) -> str:
    """A text that cannot steer a terminal, nor turn what is written after it, as a right-to-left override does."""
    return STEERING.sub("", clean(text))


def _escaped(text: str) -> str:
    """Text that Markdown and HTML take for nothing else."""
    text = re.sub(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+", " ", text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]()>|#$~!])", r"\\\1", text)
