"""The self-test of a model's adapter: it runs all checks, each for a mistake that nothing else would show.

Log-probabilities are compared with what the model said by itself, maps with a second run of them, cells with a patch
painted on the picture. In half precision only gross faults can be told from rounding: test a model in float32 once.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from PIL import Image

from vlx.errors import InputError, UnknownWords
from vlx.pictures.opening import open_image
from vlx.process import random_state_kept
from vlx.protocol.powers import meet, powers_of
from vlx.protocol.targets import Prediction, Query, sentence_target, usual, word_target
from vlx.protocol.task import Features, Task, predict
from vlx.selftest import around, axes, company, differences, places, sides, stock, trusting
from vlx.selftest.checks import CHECKS, Subject
from vlx.selftest.result import Row, SelfTest

__all__ = ["Row", "SelfTest", "self_test"]

QUESTION = "what is in the picture?"
ALL = {
    **CHECKS,
    **differences.CHECKS,
    **around.CHECKS,
    **company.CHECKS,
    **stock.CHECKS,
    **axes.CHECKS,
    **sides.CHECKS,
    **trusting.CHECKS,
}


def self_test(
    task: Task,
    image: Any,
    *,
    question: str | None = None,
    caption: str | None = None,
    cells: int = 64,
    seed: int = 0,
) -> SelfTest:
    """Try on one picture whatever would make this task's explanations wrong without a word.

    ``image``: as for `vlx.explain`. ``question``: for models that are asked, by default what is in the picture.
    ``caption``: a text to test with instead of the model's own. ``cells``: the patch probe tries at most so many, drawn
    by ``seed``, on each of two sizes of picture, and where there are several crops on a third; it takes most of the
    time, one run of the vision part a cell.

    An error inside a check is a failed row with its message. Raises ImageError for what is no picture, InputError for
    a question or caption that the task refuses, or fewer than one cell.

    >>> print(self_test(vlx.load("scenes/captioner"), "picture.png"))
    """
    if cells < 1:
        raise InputError(f"cells={cells}: the patch probe needs at least one")
    picture = open_image(image).image
    try:
        case = _case(task, picture, Query(caption=caption, question=question))
    except InputError:
        raise
    except Exception as error:  # a model's code raises anything
        return SelfTest(task.name, (Row("answers", None, None, False, _told(error)),))
    with random_state_kept():
        rows = [_guarded(name, partial(check, case)) for name, check in ALL.items()]
    rows += [_guarded(name, check) for name, check in places.probes(case, cells, seed).items()]
    return SelfTest(task.name, tuple(map(_of_numbers, rows) if case.numbers else rows))


def _case(task: Task, picture: Image.Image, query: Query) -> Subject:
    inputs = task.place(task.prepare(picture)[None])
    seen = task.features(inputs)
    query, prediction = _asked(task, seen, query)
    targets = tuple(word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words)))
    site, _ = meet(task, seen, [sentence_target(prediction, 0)])
    return Subject(task, picture, inputs, query, seen, prediction, site, targets)


def _asked(task: Task, seen: Features, query: Query) -> tuple[Query, Prediction]:
    """The question to test with, and what the task says."""
    if not usual(task.kind, "question") or query.text is not None:
        return query, predict(task, seen, [query])[0]
    powers = powers_of(task)
    samples = (QUESTION,) if powers.sample_question is None else (powers.sample_question, QUESTION)
    for text in (*samples, *(word for word in powers.vocabulary or () if word.isalpha())):
        query = replace(query, question=text)
        try:
            return query, predict(task, seen, [query])[0]
        except UnknownWords:
            continue
    raise InputError(f"{task.name} refuses {QUESTION!r}; give a question in its own words")


def _of_numbers(verdict: Row) -> Row:
    """A row as it is told of numbers: they have no log p, and no nats."""
    remark = verdict.remark
    for words, instead in (
        (", in nats", ", in its unit"),
        ("log-probabilities", "values"),
        ("another log p", "another value"),
        ("earlier log p", "earlier value"),
        ("log p", "the value"),
    ):
        remark = remark.replace(words, instead)
    return replace(verdict, remark=remark)


def _guarded(name: str, check: Callable[[], Row]) -> Row:
    try:
        return check()
    except Exception as error:  # a model's code raises anything
        return Row(name, None, None, False, _told(error))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
