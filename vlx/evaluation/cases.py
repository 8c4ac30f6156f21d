"""What maps are judged by: words, answers and classes of examples, and the pixels that each should point at."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vlx.data.captioned import words_of
from vlx.data.example import Ask, Box, Data, Example, Truth, example_of
from vlx.errors import InputError
from vlx.evaluation.class_asks import ClassAsks, Table, likeliest
from vlx.evaluation.omitted import Omitted
from vlx.language import shortened
from vlx.methods.method import Site
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Prediction, Query, Target, TargetKind, sentence_target, usual, word_target
from vlx.protocol.task import Features, Task

INSTEAD = "give photographs (flickr8k:DIR, coco:DIR), or compare methods on yours with vlx.recommend(task, pictures)"
WHY = 110  # characters of an adapter's own message
HALF = 0.5  # of the captions' words must be known
CAPTIONED = 10_000  # pictures whose captions are looked at for that
LOOKED_AT = 50  # pictures that are asked what the data tell
NOWHERE: NDArray[np.bool_] = np.zeros((0, 0), bool)


def mask_of_boxes(boxes: Sequence[Box], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of a picture (H, W) whose middle lies in any of the boxes (left, top, width, height)."""
    mask = np.zeros(size, bool)
    for left, top, width, height in boxes:
        rows, columns = (
            slice(max(int(np.ceil(first - 0.5)), 0), max(int(np.ceil(first + long - 0.5)), 0))
            for first, long in ((top, height), (left, width))
        )
        mask[rows, columns] = True
    return mask


def box_around(mask: NDArray[np.bool_]) -> tuple[Box, ...]:
    """The box (left, top, width, height) around a mask; none around one of no pixels."""
    if not mask.any():
        return ()
    (top, bottom), (left, right) = (np.flatnonzero(mask.any(1 - axis))[[0, -1]].tolist() for axis in (0, 1))
    return ((float(left), float(top), float(right - left + 1), float(bottom - top + 1)),)


def tells_place(truth: Truth | None, what: str) -> bool:
    """Whether a truth tells the "mask", the "boxes" or the "human" map; boxes stand for a mask, a mask for its box."""
    if truth is None or truth.absent:
        return False
    if what == "human":
        return truth.told_human
    return bool(truth.boxes) or truth.told_mask


@dataclass(frozen=True, eq=False)
class Case:
    """One word, answer or class of the picture in row ``row`` of A, and the pixels it should point at, bool [H, W].

    ``other`` asks for something else about the same picture: the whole caption (of one that is asked about as a whole
    another caption), or another question. ``position`` is a word's, 0 where the whole text is asked about. ``ask`` is
    what the data say of it, ``picture`` the number of its picture. ``mask`` is `NOWHERE` where the data do not know.
    """

    group: str
    row: int
    mask: NDArray[np.bool_]
    prediction: Prediction
    position: int
    other: Target
    ask: Ask = field(default_factory=Ask)
    picture: int = 0

    @cached_property
    def area(self) -> float:
        """The share of the picture that the mask covers; NaN where it is not known."""
        return np.count_nonzero(self.mask) / self.mask.size if self.mask.size else float("nan")

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes (left, top, width, height) of what it should point at; of a mask the one around it."""
        told = () if self.ask.truth is None else self.ask.truth.boxes
        return told or box_around(self.mask)

    @property
    def absent(self) -> bool:
        """Whether it is known not to be in the picture."""
        return self.ask.truth is not None and self.ask.truth.absent

    def target(self, kind: TargetKind) -> Target:
        """The target that asks for it: its word, or the whole text."""
        if self.ask.whole:
            return replace(sentence_target(self.prediction, self.row), kind=kind)
        return word_target(self.prediction, self.position, self.row, kind)


def tells(task: Task) -> bool:
    """Whether it says texts, whose words are asked about."""
    return usual(task.kind, "whole")


def answers(task: Task) -> bool:
    """Whether it answers questions."""
    return usual(task.kind, "question")


def suits(task: Task, ask: Ask) -> bool:
    """Whether a task can be asked so: what tells about words, what answers about questions, others about classes."""
    if ask.query.caption is not None:
        return tells(task)
    return answers(task) if ask.query.question is not None else not (tells(task) or answers(task))


def closed(data: Data) -> str:
    """What messages call data whose texts have a vocabulary of their own, which a model has to know; "" of others.

    Captions of other data are people's: words that a model lacks are left out of them.
    """
    return getattr(data, "closed", "")


@dataclass(frozen=True, eq=False)
class Turn:
    """One query about a picture, and all that is asked by it: each ask with its word's place in the text.

    ``answers``: the classes of which the likeliest on the picture is asked for, where the ask's name means several.
    """

    query: Query
    asks: list[tuple[Ask, int]] = field(default_factory=list)
    answers: tuple[str, ...] = ()


class Reading:
    """How a task reads what data ask: which asks suit it, and the words of captions that it knows.

    ``omitted`` counts what it cannot be asked. Raises InputError for a task that can be asked nothing of
    what the first example holds, and for one that knows under half of the words of people's captions. ``classes`` is a
    table of what the data's classes are called by the model, see `vlx.data.class_names.told_classes`.
    """

    def __init__(self, task: Task, data: Data, classes: Table | None = None) -> None:
        self.task, self.data = task, data
        self.classes = ClassAsks(task, data, classes)
        self.free = tells(task) and not closed(data)
        self._known = _known(task) if self.free else None
        self.omitted = Omitted()
        if closed(data) and not self._suits_any():
            raise InputError(
                f"{task.name} does {task.kind}, and {closed(data)} have true captions and answers but none of its "
                f"classes: they cannot judge its maps; {INSTEAD}"
            )
        if self.free:
            self._refuse_strangers()

    def _suits_any(self) -> bool:
        """Whether the first example, or any class of the data, can be asked for."""
        asks = [ask for ask in example_of(self.data, 0).asks if suits(self.task, ask)]
        return any(ask.label is None or self.classes.knows(ask) for ask in asks) or (bool(asks) and self.classes.known)

    def _refuse_strangers(self) -> None:
        first = range(min(len(self.data), 0 if self._known is None else CAPTIONED))
        words = [word for n in first for text in example_of(self.data, n).texts for word in words_of(text)]
        known = sum(map(self.knows, words))
        if known < HALF * len(words):
            raise InputError(
                f"{self.task.name} knows {known / len(words):.0%} of the words in these captions: they cannot be "
                "forced upon it. Measure it on what it was made for (vlx evaluate MODEL, for drawn scenes)"
            )

    @cached_property
    def silent(self) -> bool:
        """Whether the data ask nothing of the task, as far as their first pictures tell."""
        first = range(min(len(self.data), LOOKED_AT))
        return not closed(self.data) and not any(
            suits(self.task, ask) for number in first for ask in example_of(self.data, number).asks
        )

    def placed(self, example: Example) -> bool:
        """Whether the data tell of all that suits the task where in the picture it is."""
        asks = [ask for ask in example.asks if suits(self.task, ask)]
        return all(any(tells_place(ask.truth, what) for what in ("mask", "human")) for ask in asks)

    def knows(self, word: str) -> bool:
        """Whether the vocabulary has it; a task that cuts words into pieces knows all."""
        return self._known is None or word in self._known

    def count_words(self, example: Example) -> None:
        """Count the words of people's captions that the task lacks."""
        for text in example.texts if self.free else ():
            words = words_of(text)
            self.omitted.words += len(words)
            self.omitted.lost.update(word for word in words if not self.knows(word))

    def asked(self, example: Example, *, pointed: bool = True, absent: bool = False) -> "list[Turn]":
        """What suits the task and, where it is ``pointed``, should point somewhere; a caption's words go together.

        ``absent``: what is known not to be in the picture comes after it.
        """
        found: list[Turn] = []
        for ask in (*example.asks, *(example.absent if absent else ())):
            known_absent = ask.truth is not None and ask.truth.absent
            if not suits(self.task, ask) or (known_absent and not absent):
                continue
            placed = pointed and not known_absent
            if placed and not any(tells_place(ask.truth, what) for what in ("mask", "human")):
                continue
            query, place, answers = self._read(ask)
            if query is None or (placed and not self._points(example, ask)):  # whose mask is made for what is known
                continue
            same = next((turn for turn in found if query.caption is not None and turn.query == query), None)
            if same is None:
                found.append(same := Turn(query, answers=answers))
            same.asks.append((ask, place))
        return found

    def _points(self, example: Example, ask: Ask) -> bool:
        size = (example.image.height, example.image.width)
        if ask.mask is None:
            if ask.truth is not None and ask.truth.boxes and not mask_of_boxes(ask.truth.boxes, size).any():
                self.omitted.bare[ask.group or ask.label or ""] += 1
                return False
            return any(tells_place(ask.truth, what) for what in ("boxes", "human"))
        kind = np.asarray(ask.mask).dtype
        if np.shape(ask.mask) != size or kind != np.bool_:
            raise InputError(
                f"{shortened(example.key)}: the truth of what is asked has a mask {kind} {[*np.shape(ask.mask)]}; "
                f"give bool [H, W] on the picture, {[*size]}"
            )
        if not ask.mask.any() and not closed(self.data):
            self.omitted.bare[ask.group or ask.label or ""] += 1
            return False
        return True

    def _read(self, ask: Ask) -> tuple[Query | None, int, tuple[str, ...]]:
        """What the task is asked, the place of the word, and the classes it may be; None where it lacks the word."""
        if ask.label is not None:
            if answers := self.classes.of(ask):
                return Query(answer=answers[0]), 0, answers if len(answers) > 1 else ()
            self.omitted.unknown[ask.label] += 1
            return None, 0, ()
        if not self.free or ask.query.caption is None:
            return ask.query, ask.position, ()
        words = ask.query.caption.split()
        kept = [place for place, word in enumerate(words) if self.knows(word)]
        if ask.position not in kept and not (ask.whole and kept):
            return None, 0, ()
        place = 0 if ask.whole else kept.index(ask.position)
        return Query(caption=" ".join(words[place] for place in kept)), place, ()

    @contextmanager
    def uncounted(self) -> Iterator["Reading"]:
        """The same, for what is read a second time: what cannot be asked then is not counted."""
        counted, self.omitted = self.omitted, Omitted()
        try:
            yield self
        finally:
            self.omitted = counted

    def taken(self) -> Omitted:
        """What was omitted since this was last asked."""
        omitted, self.omitted = self.omitted, Omitted()
        return omitted


def _known(task: Task) -> set[str] | None:
    vocabulary = powers_of(task).vocabulary
    return None if vocabulary is None else {word.lower() for word in vocabulary}


def cases_of(
    reading: Reading,
    features: Features,
    examples: Sequence[Example],
    numbers: Sequence[int] = (),
    *,
    pointed: bool = True,
    absent: bool = False,
) -> list[Case]:
    """The words, answers or classes of the examples whose features these are, the true ones forced upon the task.

    ``numbers`` are the examples' places in the data, from 0 where they are left out; those that should point
    somewhere, or all; what is known to be ``absent``, too. Raises InputError for a task that knows other words than
    data whose vocabulary is closed.
    """
    asked = [
        _settled(reading.task, features, row, reading.asked(example, pointed=pointed, absent=absent))
        for row, example in enumerate(examples)
    ]
    if not any(asked):
        return []
    try:
        rounds = said_in_rounds(reading.task, features, asked)
    except InputError as error:
        called = closed(reading.data)
        if called:
            other = f"{reading.task.name}, which has other words ({shortened(str(error), WHY)})"
            raise InputError(f"{called} cannot judge {other}; {INSTEAD}") from error
        asked = [_askable(reading, features, row, own) for row, own in enumerate(asked)]
        if not any(asked):
            return []
        rounds = said_in_rounds(reading.task, features, asked)
    said = [[rounds[n][row] for n in range(len(turns))] for row, turns in enumerate(asked)]
    return [
        case
        for row, turns in enumerate(asked)
        for number, turn in enumerate(turns)
        for case in _cases(reading, examples[row], turn, said[row], number, row, numbers[row] if numbers else row)
    ]


def _settled(task: Task, features: Features, row: int, turns: Sequence[Turn]) -> list[Turn]:
    """The queries about one picture; of several classes that a name means the likeliest on it is asked for."""
    if not any(turn.answers for turn in turns):
        return [*turns]
    seen = Site(features).row(row).features
    return [
        replace(turn, query=Query(answer=likeliest(task, seen, turn.answers))) if turn.answers else turn
        for turn in turns
    ]


def said_in_rounds(task: Task, features: Features, asked: Sequence[Sequence[Turn]]) -> list[list[Prediction]]:
    """What the task says to the n-th query of every picture, at once: it predicts one text a picture.

    Pictures with fewer queries begin again; those with none are asked what another one is.
    """
    spare = next((turns for turns in asked if turns), [])
    queries = [[turn.query for turn in turns or spare] for turns in asked]
    return [task.predict(features, [own[n % len(own)] for own in queries]) for n in range(max(map(len, asked)))]


def _askable(reading: Reading, features: Features, row: int, turns: Sequence[Turn]) -> list[Turn]:
    """The queries that the task can be asked about one picture; the others are counted."""
    seen, kept = Site(features).row(row).features, []
    for turn in turns:
        try:
            reading.task.predict(seen, [turn.query])
        except InputError:
            query = turn.query
            reading.omitted.unknown[query.answer or query.question or query.caption or ""] += len(turn.asks)
        else:
            kept.append(turn)
    return kept


def _cases(
    reading: Reading, example: Example, turn: Turn, said: Sequence[Prediction], number: int, row: int, picture: int
) -> Iterator[Case]:
    """The cases of one query, the n-th about its picture."""
    further = said[(number + len(said) // 2) % len(said)]  # half of the list further on
    for ask, place in turn.asks:
        if turn.query.caption is None:
            other = word_target(further, 0, row, "logit")
        else:
            other = sentence_target(further if ask.whole else said[number], row)
        known = ask.whole or bool(closed(reading.data))
        position = place if known else _position(said[number], turn.query, place)
        if position is None:
            reading.omitted.unplaced += 1
        else:
            yield Case(ask.group, row, _mask(example, ask), said[number], position, other, ask, picture)


def _mask(example: Example, ask: Ask) -> NDArray[np.bool_]:
    """The pixels of what is asked, those of its boxes where only they are known."""
    if ask.mask is not None or ask.truth is None or not ask.truth.boxes:
        return NOWHERE if ask.mask is None else ask.mask
    return mask_of_boxes(ask.truth.boxes, (example.image.height, example.image.width))


def _position(prediction: Prediction, query: Query, place: int) -> int | None:
    """Which word of a prediction is the word at a place of a forced caption; None where the model has other words."""
    if query.caption is None:
        return place
    labels, spoken = [word.label.lower().strip() for word in prediction.words], query.caption.split()
    if labels == spoken:
        return place
    if labels.count(spoken[place]) != spoken.count(spoken[place]):
        return None
    nth = spoken[:place].count(spoken[place])
    return [n for n, label in enumerate(labels) if label == spoken[place]][nth]
