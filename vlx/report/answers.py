"""What stands around an answer: its alternatives, the words of the question, what other pictures make of it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vlx.explanation.records import Explanation, QuestionWord, WordExplanation
from vlx.language import REASONING, unmarked
from vlx.report import chances, numbers, wording

LEAST = 0.5  # nats: words that change the answer by less never reach the end of the colours


def beside(why: Explanation) -> tuple[Explanation, ...]:
    """The other answers that share picture and scale with the one explained: one word each, on the same grid."""
    return tuple(other for other in why.others if _fits(why, other))


def apart(why: Explanation) -> tuple[Explanation, ...]:
    """The other texts that need a place of their own."""
    return tuple(other for other in why.others if not _fits(why, other))


def shown(why: Explanation) -> tuple[WordExplanation, ...]:
    """Everything that is drawn on one scale: the words, and the alternatives of an answer."""
    return (*why.words, *(other.words[0] for other in beside(why)))


def title(why: Explanation) -> str:
    """The text that is explained; of a contrast "red rather than blue", in a caption with its text."""
    if why.instead_of is None:
        return why.text
    against = f"{why.words[0].label} rather than {why.instead_of}"
    return f"{against} in “{why.text}”" if in_caption(why) else against


def in_caption(why: Explanation) -> bool:
    """Whether one word of a text is explained against another one."""
    return why.instead_of is not None and (why.task == "captioning" or wording.in_words(why))


def single(why: Explanation) -> bool:
    """Whether one thing is explained by itself, and its verdict told over all else: an answer, a word's contrast."""
    return (why.question is not None and not wording.in_words(why)) or in_caption(why)


def marked(why: Explanation) -> str:
    """The same with a ring behind each word that a caption has from language, without what a model reasons before."""
    return title(why) if why.instead_of is not None else said(why, rings=True)


def said(why: Explanation, rings: bool = False) -> str:
    """What is said once all is reasoned: the text, less what stands where the model reasons before it answers."""
    return _parts(why, rings)[0] if thoughts(why) else unmarked(wording.marked(why) if rings else why.text)


def reasoning(why: Explanation) -> str:
    """The text of what the model reasons before it answers; empty where it does not."""
    return _parts(why, False)[1] if thoughts(why) else ""


def thoughts(why: Explanation) -> tuple[WordExplanation, ...]:
    """The words of what the model reasons before it answers; of a contrast none."""
    return () if why.instead_of is not None else tuple(word for word in why.words if word.reasoning)


def only_reasoning(why: Explanation) -> bool:
    """Whether nothing but reasoning was written: no answer follows it."""
    return bool(why.words) and len(thoughts(why)) == len(why.words)


def _parts(why: Explanation, rings: bool) -> tuple[str, str]:
    """The text without its reasoning, and its reasoning, neither with marks; signs go with the word that they touch."""
    parts, rest, inside = {False: "", True: ""}, why.text, why.words[0].reasoning
    for word in why.words:
        between, _, rest = rest.partition(word.label)
        if word.reasoning != inside:
            behind, between = _cut_between(between)
            parts[inside] += behind
        inside = word.reasoning
        parts[inside] += between + (wording.ringed(why, word) if rings else word.label)
    parts[inside] += rest
    return unmarked(parts[False]).strip(), unmarked(parts[True]).strip()


def _cut_between(between: str) -> tuple[str, str]:
    """What stands between reasoning and what is said: what goes with the one and with the other."""
    mark = REASONING.search(between)
    if mark is not None:
        return between[: mark.start()] + " ", between[mark.end() :]
    behind, space, before = between.rpartition(" ")
    return behind + space, before


@dataclass(frozen=True)
class Piece:
    """A stretch of the question as it was asked, with the word in it; strengths from −1 to 1 on shared scales."""

    text: str
    word: QuestionWord | None = None
    strength: float = 0.0
    gradient: float = 0.0


def pieces(why: Explanation) -> list[Piece]:
    """The question cut at its words, with how strongly each speaks for the answer; whole where they do not fit it."""
    if not why.question_words:
        return [Piece(why.question)] if why.question else []
    texts = _cut(why.question or "", [asked.word for asked in why.question_words])
    top, steepest = left_out_top(why), _largest(asked.gradient or 0.0 for asked in why.question_words)
    return [
        Piece(text, asked, _part(asked.left_out, top), _part(asked.gradient or 0.0, steepest))
        for text, asked in zip(texts, why.question_words, strict=True)
    ]


def left_out_top(why: Explanation) -> float:
    """The end of the scale of the question's words, in nats."""
    return max(_largest(asked.left_out for asked in why.question_words), LEAST)


@dataclass(frozen=True)
class AnswerRow:
    """One kind of picture, and the answer's chance on each of it; of a contrast its share of the two.

    Of a number ``numbers`` hold it, and ``chances`` where it lies between the least and the largest of all kinds.
    """

    name: str
    chances: tuple[float, ...]
    said: str = ""
    numbers: tuple[float, ...] = ()

    @property
    def figures(self) -> str:
        """The chance in percent, or the number; of several the one in the middle."""
        finite = [value for value in self.numbers or self.chances if not math.isnan(value)]
        if not finite:
            return "–"
        written = numbers.figure if self.numbers else numbers.percent
        middle = written(float(np.median(finite)))
        return middle if len(finite) == 1 else f"median {middle}"


def rows(word: WordExplanation, instead_of: str | None = None) -> list[AnswerRow]:
    """The word's chance with its own picture and with others; empty when none was shown."""
    if not word.looks:
        return []
    if chances.is_number(word):
        return _numbers(word)
    figure = word.logprob if instead_of is None else wording.lead(word)
    others = [
        AnswerRow(
            wording.look_name(look),
            tuple(wording.chance(p, instead_of) for p in look.logprobs),
            wording.look_said(look),
        )
        for look in word.looks
    ]
    return [AnswerRow("the picture", (wording.chance(figure, instead_of),)), *others]


def _numbers(word: WordExplanation) -> list[AnswerRow]:
    """The number with its own picture and with others."""
    entries: list[tuple[str, tuple[float, ...], str]] = [("the picture", (word.score,), "")]
    entries += [(wording.look_name(look), look.logprobs, wording.look_said(look)) for look in word.looks]
    low, high = (pick(value for _, values, _ in entries for value in values) for pick in (min, max))
    return [
        AnswerRow(name, tuple((value - low) / ((high - low) or 1.0) for value in values), said, values)
        for name, values, said in entries
    ]


def _fits(why: Explanation, other: Explanation) -> bool:
    single = len(why.words) == len(other.words) == 1
    return single and other.placement == why.placement and same_picture(why, other)


def same_picture(one: Explanation, other: Explanation) -> bool:
    """Whether both have the same pixels; quick where they share them."""
    return one.image is other.image or np.array_equal(one.image, other.image)


def _cut(question: str, words: list[str]) -> list[str]:
    """As many stretches as words, each beginning with its word as the user wrote it; the words where one is missing."""
    starts, place = [], 0
    for word in words:
        at = question.casefold().find(word.casefold(), place)
        if at < 0 or len(question.casefold()) != len(question):
            return words
        starts.append(at)
        place = at + len(word)
    ends = [*starts[1:], len(question)]
    return [question[start:end].strip() for start, end in zip([0, *starts[1:]], ends, strict=True)]


def _largest(values: Iterable[float]) -> float:
    return max((abs(value) for value in values if math.isfinite(value)), default=0.0)


def _part(value: float, top: float) -> float:
    if math.isnan(value) or top <= 0:
        return 0.0
    return min(max(value / top, -1.0), 1.0)
