"""What a map is judged by: words and answers of drawn scenes, and the pixels that each should point at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlx.scenes import Scene
from vlx.task import Features, Prediction, Query, Target, TargetKind, Task, sentence_target, word_target

WORDS = ("object", "color", "texture", "scene")


@dataclass(frozen=True, eq=False)
class Case:
    """One word or answer of the scene in row ``row`` of A, and the pixels it should point at, bool [H, W].

    ``other`` asks for something else about the same picture: the whole caption, or another question.
    """

    group: str
    row: int
    mask: NDArray[np.bool_]
    prediction: Prediction
    position: int
    other: Target

    def target(self, kind: TargetKind) -> Target:
        """The target that asks for it."""
        return word_target(self.prediction, self.position, self.row, kind)


def cases_of(task: Task, features: Features, scenes: Sequence[Scene]) -> list[Case]:
    """The words of the scenes' true captions, or the scenes' questions with their true answers, by the task's kind."""
    found = _questions if task.kind == "vqa" else _words
    return list(found(task, features, scenes))


def _words(task: Task, features: Features, scenes: Sequence[Scene]) -> Iterator[Case]:
    predictions = task.predict(features, [Query(caption=scene.caption) for scene in scenes])
    for row, (scene, prediction) in enumerate(zip(scenes, predictions, strict=True)):
        whole = sentence_target(prediction, row)
        for position, word in enumerate(scene.words):
            if word.category in WORDS and word.mask is not None:
                yield Case(str(word.category), row, word.mask, prediction, position, whole)


def _questions(task: Task, features: Features, scenes: Sequence[Scene]) -> Iterator[Case]:
    """Questions of one place at a time, for all scenes: a task predicts one answer a picture."""
    asked = [[question for question in scene.questions if question.mask is not None] for scene in scenes]
    most = max(map(len, asked))
    by_place = []
    for place in range(most):
        chosen = [about[place % len(about)] for about in asked]
        by_place.append(task.predict(features, [Query(question=one.text, answer=one.answer) for one in chosen]))
    for row, about in enumerate(asked):
        for place, question in enumerate(about):
            assert question.mask is not None
            other = word_target(by_place[(place + len(about) // 2) % len(about)][row], 0, row, "logit")
            yield Case(question.kind, row, question.mask, by_place[place][row], 0, other)
