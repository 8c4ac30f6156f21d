"""Checks that what a model makes of a picture depends neither on the pictures beside it nor on chance."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from vlx.methods import engine
from vlx.protocol.targets import Prediction, Target, Term, Word
from vlx.protocol.task import Features, Task
from vlx.selftest.checks import SILENT, Subject, apart
from vlx.selftest.guests import Guest
from vlx.selftest.result import Row, row, unproven

BATCHES = ((1, 0), (0, 2, 1), (3, 1, 4, 0, 2))  # which of the five pictures are together, in this order
TIMES = 8  # a picture is prepared


def _steady(case: Subject) -> Row:
    """T28: a picture is prepared the same way every time, whatever was drawn at random before."""
    prepared = []
    for seed in range(TIMES):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        prepared.append(case.task.prepare(case.picture).clone())
    shapes = {tuple(one.shape) for one in prepared}
    gap = float("inf") if len(shapes) > 1 else max(float((one - prepared[0]).abs().max()) for one in prepared)
    return row(
        "prepare is steady",
        gap,
        0,
        f"largest difference between {TIMES} times the same picture, under other random states",
        "`prepare` gives another tensor each time: a crop, a flip or a jitter for training is left on; give the "
        "preparation that is used for testing",
    )


def _features(case: Subject) -> Row:
    """T29: A of a picture is the same in batches of 2, 3 and 5 as alone, and not that of another picture."""
    name, alone = "A in company", case.guests
    if all(torch.equal(alone[0].features.A, guest.features.A) for guest in alone[1:]):
        fault = "every picture has the same A: `features` hands on what it kept of an earlier one, or reads no pixels"
        return Row(name, None, None, False, fault)
    gaps = []
    for batch in BATCHES:
        A = _together(case, batch).A
        if len(A) != len(batch):
            return Row(name, None, None, False, f"A has {len(A)} rows for {len(batch)} pictures")
        gaps += [apart(alone[n].features.A, A[r : r + 1]) for r, n in enumerate(batch)]
    return row(
        name,
        max(gaps),
        case.limits[1],
        "largest relative difference of A alone and in batches of 2, 3 and 5 other pictures",
        "A of a picture depends on the pictures beside it, or on its place among them: a norm or attention over the "
        "batch, or rows in another order; explain pictures one at a time, or mend the vision part",
    )


def _scores(case: Subject) -> Row:
    """T30: a picture's words and their scores are the same beside other pictures and texts."""
    name, alone = "scores in company", case.guests
    if not any(guest.targets for guest in alone):
        return unproven(name, SILENT)
    gaps = []
    for batch in BATCHES:
        seen = _together(case, batch)
        asked = [pair for r, n in enumerate(batch) for pair in _asked(alone[n], r)]
        scores = engine.ask(case.task, seen, [target for target, _ in asked]).double().cpu()
        gaps.append(float((scores - torch.tensor([score for _, score in asked]).double()).abs().max()))
        said = case.task.predict(seen, [alone[n].query for n in batch])
        gaps += [unlike(case.task, alone[n], one) for n, one in zip(batch, said, strict=True)]
    return row(
        name,
        max(gaps),
        case.limits[0],
        "largest difference in log p of words alone and in batches of 2, 3 and 5, in nats",
        "what is said of a picture depends on the pictures or texts beside it: a norm over the batch, rows that are "
        "sorted and not put back, another picture's row of `rest`, or padding that is seen",
    )


def _together(case: Subject, batch: Sequence[int]) -> Features:
    return case.task.features(case.task.place(torch.stack([case.guests[n].inputs for n in batch])))


def _asked(guest: Guest, row: int) -> list[tuple[Target, float]]:
    """The guest's words at its row and their scores alone; the first word also with what comes behind it cut off."""
    wanted = guest.scores.tolist()
    asked = [(replace(target, row=row), score) for target, score in zip(guest.targets, wanted, strict=True)]
    if guest.prediction.whole and len(asked) > 1:
        first, score = asked[0]
        asked.append((replace(first, tokens=first.tokens[: first.last_step + 1]), score))
    return asked


def unlike(task: Task, guest: Guest, other: Prediction) -> float:
    """The largest difference in log p of the words that a guest's own prediction and another one of it share, in nats.

    Where they part, how much likelier the guest's own token is to it than the other one: two may be equally likely.
    """
    gap, whole = 0.0, guest.prediction.whole
    for a, b in zip(guest.prediction.words, other.words, strict=False):
        if a.label != b.label:
            parting = _parting(a, b) if whole else None
            apart = abs(a.standing - b.standing) if parting is None else _passed_over(task, guest, other, *parting)
            return max(gap, apart)
        gap = max(gap, abs(a.standing - b.standing))
    return gap if len(guest.prediction.words) == len(other.words) else float("inf")


def _parting(a: Word, b: Word) -> tuple[Term, Term] | None:
    """The first two tokens of one step in which two words differ."""
    pairs = zip(a.terms, b.terms, strict=False)
    return next(((x, y) for x, y in pairs if x.token != y.token and x.step == y.step), None)


def _passed_over(task: Task, guest: Guest, other: Prediction, mine: Term, theirs: Term) -> float:
    texts = ((mine, guest.prediction.tokens), (theirs, other.tokens))
    asked = [Target(0, "", (term,), "logprob", tokens) for term, tokens in texts]
    ours, another = engine.ask(task, guest.features, asked).tolist()
    return abs(float(ours - another))


CHECKS: dict[str, Callable[[Subject], Row]] = {
    "prepare is steady": _steady,
    "A in company": _features,
    "scores in company": _scores,
}
