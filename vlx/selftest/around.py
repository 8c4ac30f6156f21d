"""Checks that nothing goes round A: with another picture's A in its place, a model scores as it does of that picture.

What a score reads beside A (a token that is no cell, a skip connection round the layer, a picture that the head kept)
is in no map. An adapter whose model does so by design names it in ``besides``; then it is measured how much.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from vlx.methods import engine
from vlx.pictures.edits import sideways
from vlx.protocol.powers import meet, powers_of
from vlx.protocol.targets import Prediction, word_target
from vlx.protocol.task import Features, predict
from vlx.selftest.checks import SILENT, Subject
from vlx.selftest.company import unlike
from vlx.selftest.guests import Guest
from vlx.selftest.result import Row, row, unproven

MOST = 0.8  # of what tells two pictures apart may go round A by design
FOLLOWING = "gradrollout"  # the method that follows attention from the picture on, whatever it goes through


def _around(case: Subject) -> Row:
    """T25, T26: a score rests on A and on nothing that went round it, nor on a picture seen before."""
    name = "nothing goes round A"
    guest, targets = case.guests[0], case.guests[0].targets
    if not targets:
        return unproven(name, SILENT)
    if not (gap := _sideways(case)) <= case.limits[0]:
        fault = (
            "a picture of another shape is scored otherwise than it was told of: what was kept of another one is used"
        )
        return Row(name, gap, case.limits[0], False, fault)
    again = engine.ask(case.task, guest.features, targets).double().cpu()
    kept = max(float((again - guest.scores).abs().max()), _said_otherwise(case, guest))
    if not kept <= case.limits[0]:
        fault = "a score changed when the model had seen other pictures: what comes after A keeps the picture seen last"
        return Row(name, kept, case.limits[0], False, fault)
    besides = _besides(case)
    placed = [what for key, what in besides.items() if _has_places(case.features.rest[key], case.features.A)]
    if placed:
        fault = f"{placed[0]}: it has a value for every cell of A and goes round it; lay it behind A's own along K"
        return Row(name, None, None, False, fault)
    gaps, shares = [], []
    for other in case.guests[1:4]:
        gap, share = _exchanged(case, guest, other, besides)
        gaps.append(gap)
        shares.append(share)
    verdict = row(
        name,
        max(gaps),
        case.limits[0],
        "largest difference between a picture's scores and those of its A beside another's `rest`, in nats",
        "with a picture's A and another picture's `rest` the score is not the picture's: a skip connection or a token "
        "goes round A; explain a layer that all of it comes through, behind the addition",
    )
    if not besides:
        return verdict
    share, method = sum(shares) / len(shares), case.task.defaults.method
    return _by_design(verdict, share, ", ".join(besides.values()), method)


def _sideways(case: Subject) -> float:
    """How much further scores of a picture of another shape are from what is said of it than this one's, in nats."""
    task, guest = case.task, case.guests[0]
    seen = task.features(task.place(task.prepare(sideways(case.picture))[None]))
    words = predict(task, seen, [guest.query])[0]
    targets = [word_target(words, number, 0, "logprob") for number in range(len(words.words))]
    if not targets:
        return 0.0
    scores = engine.ask(task, seen, targets).double().cpu()
    return max(_apart(words, scores) - _apart(guest.prediction, guest.scores), 0.0)


def _apart(said: Prediction, scores: Tensor) -> float:
    """The largest difference of scores [N] from the log-probabilities of what was said, in nats."""
    return float((scores - torch.tensor([word.standing for word in said.words]).double()).abs().max())


def _said_otherwise(case: Subject, guest: Guest) -> float:
    """How far what is said of a picture differs from what was said of it before others were seen."""
    return unlike(case.task, guest, predict(case.task, guest.features, [guest.query])[0])


def _besides(case: Subject) -> dict[str, str]:
    """What passes A by design and is there, by its key in `rest`."""
    declared, rest = powers_of(case.task).besides, case.features.rest
    held = rest if isinstance(rest, dict) else {}
    return {key: what for key, what in declared.items() if key in held}


def _has_places(beside: Any, A: Tensor) -> bool:
    """Whether what passes A by design is a map, or a list of tokens, with as many places as A."""
    h, w = A.shape[-2:]
    if not isinstance(beside, Tensor) or h * w == 1:
        return False
    return (beside.ndim >= 4 and beside.shape[-2:] == A.shape[-2:]) or (beside.ndim == 3 and beside.shape[1] == h * w)


def _exchanged(case: Subject, guest: Guest, other: Guest, besides: Mapping[str, str]) -> tuple[float, float]:
    """What another picture's `rest` changes without what passes by design, in nats; and the share of what does."""

    def ask(A: Features, rest: Any) -> Tensor:
        return engine.scores(case.task, A.A, targets, rest).double()

    mine, targets = meet(case.task, guest.features, guest.targets)
    theirs, _ = meet(case.task, other.features, guest.targets)
    whole = ask(theirs, theirs.rest)
    gap = float((ask(theirs, _kept(mine.rest, theirs.rest, besides)) - whole).abs().max())
    if not besides:
        return gap, 0.0
    round_it = float((ask(theirs, mine.rest) - whole).abs().mean())
    through = float((ask(mine, theirs.rest) - whole).abs().mean())
    return gap, round_it / max(round_it + through, torch.finfo(torch.double).tiny)


def _kept(rest: Any, theirs: Any, besides: Mapping[str, str]) -> Any:
    """A `rest` with what passes by design from another one."""
    return {**rest, **{key: theirs[key] for key in besides}} if besides else rest


def _by_design(verdict: Row, share: float, what: str, method: str) -> Row:
    """The row of a model whose text reads more than A; a method that follows attention from the picture on shows it."""
    if not verdict.passed:
        return verdict
    meaning = f"share of what tells pictures apart that goes round A in {what}, by design"
    if method == FOLLOWING:
        return Row(verdict.name, share, None, True, f"{meaning}; maps of A alone lack it, {method} follows it")
    if share <= MOST:
        return Row(verdict.name, share, MOST, True, f"{meaning}: no map shows it")
    return Row(
        verdict.name, share, MOST, False, f"{meaning}: no map shows what nearly all rests on; explain another layer"
    )


CHECKS: dict[str, Callable[[Subject], Row]] = {"nothing goes round A": _around}
