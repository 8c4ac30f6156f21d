"""The checks of the self-test at one picture: what the model says, its gradients, what its adapter offers.

T5, T6 and so on are the traps of docs/traps.md, here and in the modules beside.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from vlx.methods import engine
from vlx.methods.dependence import verdicts
from vlx.protocol.no_grad import nothing_comes_through
from vlx.protocol.powers import meet, powers_of
from vlx.protocol.targets import GradientWay, Prediction, Query, Target, sentence_target
from vlx.protocol.task import Features, Task
from vlx.selftest.guests import Guest, guests
from vlx.selftest.result import Row, idle, row, unproven

MOST = 6  # words whose gradients are compared
WAYS: tuple[GradientWay, ...] = ("rows", "batched", "loop")

# Largest differences that rounding makes, of log-probabilities in nats and of maps relative to their largest value.
LIMITS = {
    torch.float64: (1e-5, 1e-8),
    torch.float32: (1e-3, 1e-4),
    torch.float16: (0.03, 0.03),
    torch.bfloat16: (0.25, 0.25),
}


@dataclass(frozen=True, eq=False)
class Subject:
    """One picture, what the task made of it, and the log-probability of each word it said as a target."""

    task: Task
    picture: Image.Image
    inputs: Tensor
    query: Query
    seen: Features
    prediction: Prediction
    features: Features
    targets: tuple[Target, ...]

    @cached_property
    def guests(self) -> tuple[Guest, ...]:
        """The picture and four others of its size, each run by itself."""
        query = replace(self.query, caption=None) if self.prediction.whole else self.query
        return guests(self.task, self.picture, query)

    @property
    def numbers(self) -> bool:
        """Whether what it says are numbers, which have no probability."""
        return any(word.outputs == "value" for word in self.prediction.words)

    @property
    def limits(self) -> tuple[float, float]:
        """Largest differences by rounding: of log-probabilities in nats, of maps relative to their largest value.

        Where a model gives numbers, the first is in their unit, as large as they are.
        """
        nats, maps = max(LIMITS.get(tensor.dtype, LIMITS[torch.float32]) for tensor in (self.inputs, self.features.A))
        if self.numbers:
            nats *= max(float(guest.scores.abs().max()) for guest in self.guests)
        return nats, maps

    def scores(self, targets: tuple[Target, ...]) -> Tensor:
        """Scores [N] at the features that are explained."""
        return engine.scores(self.task, self.features.A, targets, self.features.rest)

    def gradients(self, way: GradientWay | None = None) -> Tensor:
        """Gradients of the first words, [N, K, h, w]."""
        targets = self.targets[:MOST]
        return engine.gradients(self.task, self.features.A, targets, self.features.rest, way=way)[1]


def looked(task: Task, inputs: Tensor) -> Tensor:
    """A map of pictures whose cells have not mixed, where the task can show one; else A. [B, K, h, w]."""
    shallow = powers_of(task).shallow
    with torch.no_grad():
        return task.features(inputs).A if shallow is None else shallow.shallow(inputs)


SILENT = "the model said nothing of this picture; give another one or a caption"


# What the model says


def _forced(case: Subject) -> Row:
    """T5, T6, T14, T17: log p under teacher forcing is what it was in generation."""
    name = "forced = generated"
    if not case.targets:
        return unproven(name, SILENT)
    if not _in_steps(case):
        return idle(name, "the answer is read off in one step; see split")
    generated = torch.tensor([word.standing for word in case.prediction.words]).double()
    scores, targets = case.scores(case.targets).double().cpu(), case.targets
    if case.prediction.forced and case.guests[0].targets:  # then what it generates by itself was not yet asked
        guest = case.guests[0]
        generated = torch.cat([generated, torch.tensor([word.standing for word in guest.prediction.words]).double()])
        scores, targets = torch.cat([scores, guest.scores]), (*targets, *guest.targets)
    gaps = (scores - generated).abs()
    worst = targets[int(gaps.argmax())].label
    return row(
        name,
        float(gaps.max()),
        case.limits[0],
        "largest difference in log p of a word, in nats",
        f"{worst!r} has another log p when the text is given than when it is generated: `scores` feeds the model "
        "another text, mask, token types or step than `predict`",
    )


def _in_steps(case: Subject) -> bool:
    steps = {term.step for target in case.targets for term in target.terms}
    return bool(case.prediction.whole) or steps != {0}


def _split(case: Subject) -> Row:
    """T20: what `scores` makes of A is what `predict` says: the answer and those beside it."""
    name = "split"
    if case.prediction.whole:
        return idle(name, "of captions: see forced = generated")
    if not case.targets:
        return unproven(name, SILENT)
    word, tokens = case.prediction.words[0], case.prediction.tokens
    others = [other for other in word.alternatives if other.asked != word.terms]
    asked = [Target(0, o.label, o.asked, "logprob", tokens if o.tokens is None else o.tokens) for o in others]
    scores = [*case.scores(case.targets[:1]).tolist()]
    scores += engine.ask(case.task, case.seen, asked).tolist() if asked else []
    predicted = [word.standing, *(other.logprob for other in others)]
    gaps = torch.tensor(scores).double().sub(torch.tensor(predicted).double()).abs()
    worst = (word.label, *(other.label for other in others))[int(gaps.argmax())]
    return row(
        name,
        float(gaps.max()),
        case.limits[0],
        "largest difference in log p of an answer, in nats",
        f"{worst!r} has another log p from A than the model gives it: `scores` does not run what comes after A as "
        "`predict` does, or asks for another entry",
    )


def _leak(case: Subject) -> Row:
    """T5: a word's score does not know the words after it."""
    name = "no leak"
    terms = [(target, term) for target in case.targets for term in target.terms]
    last = max((term.step for _, term in terms), default=0)
    early = [replace(target, terms=(term,)) for target, term in terms if term.step < last]
    other = _another(case.prediction)
    if not case.targets:
        return unproven(name, SILENT)
    if not _in_steps(case):
        return idle(name, "the answer is read off in one step")
    if not early or other is None:
        return unproven(name, "there is no word before the last one; give a caption of several words")
    changed = (*case.prediction.tokens[:-1], other)
    before = engine.ask(case.task, case.seen, early)
    after = engine.ask(case.task, case.seen, [replace(target, tokens=changed) for target in early])
    return row(
        name,
        float((before - after).abs().max()),
        case.limits[0],
        "largest change of an earlier log p when the last token changes, in nats",
        "changing the last token changes earlier words: the mask lets them see what comes after; check the attention "
        "mask and token types of the appended text",
    )


def _another(prediction: Prediction) -> int | None:
    """A token to put in place of the last one: likely there, or of another word."""
    if not prediction.words or not prediction.tokens:
        return None
    likely = [other.token for other in prediction.words[-1].alternatives]
    likely += [term.token for word in prediction.words for term in word.terms]
    return next((token for token in likely if token != prediction.tokens[-1]), None)


# Gradients and maps


def _gradient(case: Subject) -> Row:
    """T1, T2, T9, T13: the words depend on the cells."""
    if not case.targets:
        return unproven("gradient", SILENT)
    gradient = case.gradients()
    reached = gradient != 0
    share = float(reached.any(1).any(0).double().mean())
    deaf = [target.label for target, one in zip(case.targets, reached, strict=False) if not one.any()]
    outcomes = verdicts(case.task, case.features, case.targets[:MOST], gradient)
    cut = [target.label for target, verdict in zip(case.targets, outcomes, strict=False) if verdict == "cut"]
    if cut:
        return Row("gradient", share, None, False, str(nothing_comes_through(case.task.name, cut)))
    if share == 0 and "flat" in outcomes:
        return unproven(
            "gradient", "every word's score is flat around this A, though it rests on it; try a picture more"
        )
    if share == 0:
        cause = (
            "no word depends on any cell: the model reads another layer, or only a class token; explain an earlier one"
        )
        return Row("gradient", share, None, False, cause)
    but = f"; none for {', '.join(map(repr, deaf))}" if deaf else ""
    return Row("gradient", share, None, True, f"share of cells with a gradient{but}")


def _agreeing(case: Subject) -> Row:
    """T19: the ways to take gradients give the same."""
    name = "gradients agree"
    if not case.targets:
        return unproven(name, SILENT)
    usual = case.task.defaults.gradients
    reference, gaps, unable = case.gradients(usual), {usual: 0.0}, []
    for way in WAYS:
        try:
            gaps[way] = apart(reference, case.gradients(way))
        except Exception as error:  # vmap lacks a rule for this or that; other ways will do
            unable.append(f"{way} raises {type(error).__name__}")
    if len(gaps) == 1:
        return unproven(name, f"{', '.join(unable)}: only {usual} was tried; give the model to be run on one row")
    worst = max(gaps, key=lambda way: gaps[way])
    but = f"; {', '.join(unable)}" if unable else ""
    return row(
        name,
        gaps[worst],
        case.limits[1],
        f"largest relative difference between {', '.join(gaps)}{but}",
        f"gradients={worst!r} is not what {usual!r} gives: the model mixes the rows of a batch, or an operation has a "
        f"wrong rule for batched gradients; take the way that agrees with 'loop'{but}",
    )


def _repeatable(case: Subject) -> Row:
    """T3, T7, T27: the same map again, and after the model has spoken."""

    def run() -> tuple[Tensor, Tensor]:
        features, _ = meet(case.task, case.task.features(case.inputs), [sentence_target(case.prediction, 0)])
        if not case.targets:
            return features.A, features.A
        _, gradient = engine.gradients(case.task, features.A, case.targets[:MOST], features.rest)
        return features.A, (features.A * gradient).sum(1)

    runs = [(case.features.A, case.features.A), run()]
    case.task.predict(case.seen, [case.query])
    runs.append(run())
    gap = max(apart(runs[0][0], runs[1][0]), *(apart(one, two) for one, two in zip(runs[1], runs[2], strict=True)))
    if not case.targets and gap <= case.limits[1]:
        return unproven("repeatable", SILENT)
    return row(
        "repeatable",
        gap,
        case.limits[1],
        "largest relative difference of feature maps and heat maps between runs",
        "the same picture gives another map each time: dropout or random patches are left on, the cells come in a "
        "random order, or a hook works only the first time",
    )


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference of two tensors [N, …], row by row relative to the row's largest value; at least 0."""
    gap, size = (values.double().flatten(1).abs().amax(1) for values in (one - other, one))
    return float(torch.where(size > 0, gap / size.clamp(min=torch.finfo(torch.double).tiny), gap).max())


# The powers a task may have


def _attention(case: Subject) -> Row:
    """T15: attention is a map of probabilities in one graph with the scores."""
    name = "attention"
    if (attends := powers_of(case.task).attends) is None:
        return idle(name, "the task shows no attention")
    if not case.targets:
        return unproven(name, SILENT)
    targets, A = case.targets[:MOST], case.features.A
    with engine.differentiable():
        seen = attends.attend(A.detach().clone().requires_grad_(), targets, case.features.rest)
    if tuple(seen.cells.shape) != case.features.grid.tokens:
        return Row(name, None, None, False, f"its cells are {list(seen.cells.shape)}, A's {case.features.grid.tokens}")
    gaps = [float((seen.scores.detach() - case.scores(targets)).abs().max())]
    for number, layer in enumerate(seen.layers):
        wrong = _wrong(layer, seen.queries, int(seen.cells.max()))
        if wrong:
            return Row(name, None, None, False, f"layer {number} {wrong}")
        read = (seen.queries > 0).to(layer.device)
        sums = (
            layer.detach()[list(seen.runs)].double().sum(-1).amax(1),
            layer.detach()[list(seen.runs)].double().sum(-1),
        )
        gaps.append(float((sums[1] - 1).abs().amax(1)[read].max()))
    return row(
        name,
        max(gaps),
        case.limits[0],
        "largest difference of its scores from `scores`, and of its rows' sums from 1",
        "attention is not that of the scores that are explained, or its rows are not probabilities",
    )


def _wrong(layer: Tensor, queries: Tensor, last: int) -> str:
    """What is wrong with a layer's probabilities; empty when nothing is."""
    if layer.ndim != 4 or layer.shape[2] != queries.shape[1] or layer.shape[3] <= last:
        return f"is {list(layer.shape)}; needed is [R, heads, {queries.shape[1]}, more than {last}]"
    if not layer.requires_grad:
        return "has no gradient: ask for eager attention when the model is loaded, attn_implementation='eager'"
    return ""


def _meeting(case: Subject) -> Row:
    """T21: scores at features that have met the text are what the engine gets by itself, also beside another text."""
    name = "mixed"
    if powers_of(case.task).meets is None:
        return idle(name, "pictures do not meet the text before A")
    if not case.targets:
        return unproven(name, SILENT)
    other = _another(case.prediction)
    changed = (
        case.targets
        if other is None
        else tuple(replace(target, tokens=(*case.prediction.tokens[:-1], other)) for target in case.targets)
    )
    scores = engine.ask(case.task, case.seen, [*changed, *case.targets])[len(changed) :]
    return row(
        name,
        float((scores - case.scores(case.targets)).abs().max()),
        case.limits[0],
        "largest difference of scores by `meet` with one text and with two",
        "scores depend on the other texts of a batch: `meet` confuses rows, or padding is seen",
    )


CHECKS: dict[str, Callable[[Subject], Row]] = {
    "forced = generated": _forced,
    "split": _split,
    "no leak": _leak,
    "gradient": _gradient,
    "gradients agree": _agreeing,
    "repeatable": _repeatable,
    "attention": _attention,
    "mixed": _meeting,
}
