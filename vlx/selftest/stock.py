"""Checks an adapter against the model called as its makers call it: the same words, the same outputs.

The adapter offers the call (`vlx.protocol.stocked.Stocked`), with none of its own ways in it: no split, no twin, no
kept features. A wrong prompt, token types that were dropped, another preparation, weights that were copied before they
changed: all of them make the adapter say something else.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from vlx.pictures.edits import sideways, unlike
from vlx.protocol.powers import powers_of
from vlx.protocol.stocked import Said
from vlx.protocol.targets import Prediction, Word
from vlx.protocol.task import predict
from vlx.selftest.checks import SILENT, Subject
from vlx.selftest.result import Row, idle, row, unproven

ONE = 1e-3  # how near to 1 the outputs of a row must add up to be probabilities
UNLIKE = "another prompt, preparation or token types than its makers', or weights that were copied before they changed"


def _same(case: Subject) -> Row:
    """T6, T22: words and their log-probabilities are those of the stock model, whatever the picture's shape."""
    name = "stock model"
    if (stocked := powers_of(case.task).stocked) is None:
        return _without(case)
    guest = case.guests[0]
    if not guest.prediction.words:
        return unproven(name, SILENT)
    picture = sideways(case.picture)
    seen = case.task.features(case.task.place(case.task.prepare(picture)[None]))
    turned = predict(case.task, seen, [guest.query])[0]
    rows = [
        _compared(stocked.stock(shown, guest.query), prediction, case.limits[0])
        for shown, prediction in ((case.picture, guest.prediction), (picture, turned))
    ]
    if not rows[0].passed or rows[1].passed:
        return max(rows, key=lambda one: (not one.passed, one.value or 0.0))
    return replace(rows[1], remark=f"of a picture of another shape: {rows[1].remark}")


def _without(case: Subject) -> Row:
    """The row of a task without a `stock` call; one that puts a picture's tokens into its text has need of it."""
    parts = getattr(case.task, "__dict__", {}).values()
    if not any(hasattr(getattr(part, "base_model", None), "get_image_features") for part in parts):
        return idle("stock model", "the task has no `stock` call; compare what it says with the model's own code once")
    return unproven(
        "stock model",
        "a prompt or token types of one's own are wrong in silence: give the task `stock(image, query)`, what the "
        "model's own `generate` says of what its processor makes",
    )


def _compared(said: Said, prediction: Prediction, limit: float) -> Row:
    """What a task says beside what the model says by itself."""
    name = "stock model"
    shared, other = _shared(prediction, said, limit)
    if other is not None:
        return Row(name, None, None, False, f"{other!r} is not what the model says by itself: {UNLIKE}")
    if shared == len(prediction.words) and len(said.tokens) != _length(prediction):
        return Row(name, None, None, False, f"the task's text ends where the model's own does not: {UNLIKE}")
    gaps = [abs(word.standing - _logprob(word, prediction.start, said)) for word in prediction.words[:shared]]
    worst = prediction.words[max(range(shared), key=lambda n: gaps[n])].label if gaps else ""
    return row(
        name,
        max(gaps, default=0.0),
        limit,
        "largest difference in log p of a word from the model called by itself, in nats",
        f"{worst!r} has another log p than the model gives it by itself: {UNLIKE}",
    )


def _shared(prediction: Prediction, said: Said, limit: float) -> tuple[int, str | None]:
    """How many words the model says by itself, too, up to a tie of two tokens; and the first that it does not say."""
    for number, word in enumerate(prediction.words):
        for term in word.terms:
            place = term.step - prediction.start
            if place >= len(said.tokens):
                return number, word.label
            logprobs = said.logprobs[place]
            if said.tokens[place] != term.token:
                likelier = float(logprobs.max() - logprobs[term.token]) > limit
                return number, word.label if likelier else None
    return len(prediction.words), None


def _length(prediction: Prediction) -> int:
    return (
        len(prediction.tokens) - prediction.start
        if prediction.whole
        else sum(len(word.terms) for word in prediction.words)
    )


def _logprob(word: Word, start: int, said: Said) -> float:
    return sum(float(said.logprobs[term.step - start, term.token]) for term in word.terms)


def _outputs(case: Subject) -> Row:
    """T23: what is put through a softmax is not already probabilities."""
    name = "outputs"
    if (stocked := powers_of(case.task).stocked) is None:
        return idle(name, "the task has no `stock` call, which shows what the model gives")
    pictures = (case.picture, *unlike(case.picture))
    said = [stocked.stock(picture, case.guests[0].query) for picture in pictures[:3]]
    rows = [one.outputs for one in said if one.outputs is not None]
    if not rows:
        return idle(name, "the model's outputs are not put through a softmax")
    outputs = torch.cat(rows).double()
    outside = float(torch.maximum(-outputs, outputs - 1).clamp(min=0).max())
    gap = max(outside, float((outputs.sum(-1) - 1).abs().max()))
    if gap > ONE:
        return Row(name, gap, ONE, True, "how far the outputs are from being probabilities already", at_least=True)
    return Row(
        name,
        gap,
        ONE,
        False,
        "the outputs are probabilities already (each row adds up to 1) and are put through a softmax once more; say "
        "outputs='probabilities', or take the softmax out of the model",
        at_least=True,
    )


CHECKS: dict[str, Callable[[Subject], Row]] = {"stock model": _same, "outputs": _outputs}
