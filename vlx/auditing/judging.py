"""Is what a model said right, by what the data tell: of classes, of answers to questions, of words of captions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vlx.data.example import Ask, Data, Example, Mask, example_of
from vlx.data.vqa_answers import spelled, vqa_accuracy
from vlx.evaluation.cases import Case, answers, mask_of_boxes, tells
from vlx.evaluation.class_asks import ClassAsks, labels_of, likeliest
from vlx.evaluation.said_words import wording_of
from vlx.evaluation.shown import Setting
from vlx.protocol.task import Features, Task

AGREED = 0.5  # of VQA's accuracy: two people of ten or more said the same


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is known of something that a model said: what it ``said``, in the data's spelling.

    ``true``: what would have been right, in the model's words where it has any; empty where nobody knows. ``right`` is
    None where it cannot be told. ``group`` is what it counts under. ``mask``: the pixels bool [H, W] of what was said,
    None where they are not known. ``classes``: label → the class of the data that it is one of several labels of.
    """

    said: str
    true: str
    right: bool | None
    group: str = ""
    mask: Mask | None = None
    classes: Mapping[str, str] = field(default_factory=dict)

    def counted(self, label: str) -> str:
        """What a label counts as: see `vlx.auditing.answered.Answered.counted`."""
        return self.classes.get(label, label)


Judge = Callable[[Case, Example, Features], Judgement]


def judge_of(setting: Setting) -> Judge:
    """What judges the cases of a setting: what its task says of pictures, nothing forced upon it.

    ``judge(case, example, features)`` takes the features of the case's picture alone.
    """
    if tells(setting.task):
        return _Words(setting)
    return _Answers() if answers(setting.task) else _Classes(setting)


class _Classes:
    """Right is any class that the picture is labelled with; one that means several labels counts as one class."""

    def __init__(self, setting: Setting) -> None:
        self.task: Task = setting.task
        self.asks, self.named = ClassAsks(setting.task, setting.data, setting.classes), bool(labels_of(setting.task))
        names = getattr(setting.data, "classes", None)
        asked = ((name, self.asks.answers(name, "")) for name in (_names(setting.data) if names is None else names))
        self.classes = _of_several(asked) if self.named else {}

    def __call__(self, case: Case, example: Example, features: Features) -> Judgement:
        said = case.prediction.words[case.position].label
        known = [(ask, label) for ask in example.asks if ask.label is not None for label in self.asks.of(ask)]
        labels = list(dict.fromkeys(label for _, label in known))
        right = said in labels if labels else None
        true = said if right else self._likeliest(features, labels)
        here = _of_several((ask.label, self.asks.of(ask)) for ask in example.asks if ask.label is not None)
        mask = _union([ask for ask, label in known if label == said], example)
        return Judgement(said, true, right, "", mask, {**self.classes, **here})

    def _likeliest(self, features: Features, labels: Sequence[str]) -> str:
        """Of the classes of a picture the one that the model holds likeliest; the data's own where it has no names."""
        if not self.named:
            return labels[0] if labels else ""
        return likeliest(self.task, features, labels) if labels else ""


def _of_several(asked: Iterable[tuple[str, Sequence[str]]]) -> dict[str, str]:
    """Label → the first of some classes that means it among several."""
    classes: dict[str, str] = {}
    for name, labels in asked:
        for label in labels if len(labels) > 1 else ():
            classes.setdefault(label, name)
    return classes


def _names(data: Data) -> list[str]:
    """The classes that data ask for, of data that do not tell them."""
    asks = (ask for number in range(len(data)) for ask in example_of(data, number).asks)
    return list(dict.fromkeys(ask.label for ask in asks if ask.label is not None))


class _Answers:
    """Right is what people answered; several people's answers count as VQA counts them."""

    def __call__(self, case: Case, example: Example, features: Features) -> Judgement:
        said, question = case.prediction.words[case.position].label, case.ask.query.question
        asks = [ask for ask in example.asks if ask.query.question == question]
        told = next((ask for ask in asks if ask.query.answer is not None or ask.answers), None)
        if told is None:
            return Judgement(said, "", None, asks[0].group if asks else "")
        true = told.query.answer or max(told.answers, key=told.answers.count)
        right = vqa_accuracy(said, told.answers) >= AGREED if told.answers else spelled(said) == spelled(true)
        return Judgement(said, said if right else true, right, told.group, _union([told], example))


class _Words:
    """Right is a word for what is in the picture, where the data tell all that is (`vlx.evaluation.said_words`)."""

    def __init__(self, setting: Setting) -> None:
        self.wording = wording_of(setting.data)

    def __call__(self, case: Case, example: Example, features: Features) -> Judgement:
        labels = [word.label.lower().strip(" .,;:!?") for word in case.prediction.words]
        said = labels[case.position]
        judged = {} if self.wording is None else self.wording.judged(labels, example)
        if case.position not in judged:
            return Judgement(said, "", None, "")
        group, right = judged[case.position]
        return Judgement(said, said if right else "", right, group, _union(self._about(said, example), example))

    def _about(self, said: str, example: Example) -> list[Ask]:
        """The asks of what a word names: those of the same word, and of classes that it is a name of."""
        named = getattr(getattr(self.wording, "words", None), "named", None)
        names = set(named([said]).get(0, ())) if named is not None else set[str]()
        return [
            ask
            for ask in example.asks
            if ask.label in names
            or (ask.query.caption is not None and not ask.whole and _word(ask.query.caption, ask.position) == said)
        ]


def _word(caption: str, position: int) -> str:
    words = caption.lower().split()
    return words[position] if position < len(words) else ""


def _union(asks: Sequence[Ask], example: Example) -> Mask | None:
    """All pixels that some asks are about; None where nobody knows any."""
    size = (example.image.height, example.image.width)
    masks = []
    for ask in asks:
        if ask.truth is None or ask.truth.absent:
            continue
        if ask.truth.told_mask and ask.truth.mask is not None:
            masks.append(ask.truth.mask)
        elif ask.truth.boxes:
            masks.append(mask_of_boxes(ask.truth.boxes, size))
    return np.asarray(np.logical_or.reduce(masks)) if masks else None
