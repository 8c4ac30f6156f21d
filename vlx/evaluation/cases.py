"""What a map is judged by: words and answers of drawn scenes, and the pixels that each should point at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlx.errors import InputError
from vlx.language import shortened
from vlx.protocol.targets import Prediction, Query, Target, TargetKind, sentence_target, word_target
from vlx.protocol.task import Features, Task
from vlx.scenes import Scene

INSTEAD = "give photographs (flickr8k:DIR, coco:DIR), or compare methods on yours with vlx.recommend(task, pictures)"
WHY = 110  # characters of an adapter's own message
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


def check_scenes(task: Task) -> None:
    """Raises InputError for a task of a kind that drawn scenes hold no truth about, with what can be done instead."""
    if task.kind not in ("captioning", "vqa"):
        raise InputError(
            f"{task.name} does {task.kind}, and drawn scenes have true captions and answers but none of its classes: "
            f"they cannot judge its maps; {INSTEAD}"
        )


def cases_of(task: Task, features: Features, scenes: Sequence[Scene]) -> list[Case]:
    """The words of the scenes' true captions, or the scenes' questions with their true answers, by the task's kind.

    Raises InputError for a task that knows other words.
    """
    found = _questions if task.kind == "vqa" else _words
    try:
        return list(found(task, features, scenes))
    except InputError as error:
        why = shortened(str(error), WHY)
        raise InputError(f"drawn scenes cannot judge {task.name}, which has other words ({why}); {INSTEAD}") from error


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
