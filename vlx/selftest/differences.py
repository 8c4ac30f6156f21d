"""Checks gradients by finite differences: where A is moved a little, scores move as their gradient says.

Central differences along each word's own gradient, along A and towards another picture's A, and along random
directions, in which a part of the gradient that is lost shows whatever its direction. Of logits, which do not saturate.
A direction in which the score has a corner or rounding drowns the step is not counted. In half precision rounding
drowns all: then steps are those of a copy in float32 at the same A, and the gradient is the model's own.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from vlx.methods import engine
from vlx.protocol.nested import nested
from vlx.protocol.powers import meet
from vlx.protocol.targets import Target
from vlx.selftest.checks import MOST, SILENT, Subject
from vlx.selftest.result import Row, unproven
from vlx.tasks.shared.devices import placed

STEPS = (0.02, 0.01, 0.004, 0.0015, 0.0005)  # lengths of steps relative to A's, until their slopes agree
RANDOM = 4
AGREE = 0.02  # of a slope
REACH = 0.3  # how far a step should move a score at most, by its gradient,
RELATIVE = 0.01  # or so much of it
ROUNDING = 4  # times the last place of a score is what may be lost
SURE = 0.25  # of a slope may be doubted for its direction to count
LIMIT = 0.1
HALVES = (torch.float16, torch.bfloat16)
COPIED = 2**28  # weights of a model that is copied to be tried in float32
Found = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Slopes:
    """Slopes of N scores along D directions [D, N]: by the ``gradient``, by ``steps``, and the ``doubt`` in these."""

    gradient: Tensor
    steps: Tensor
    doubt: Tensor

    def judged(self, rows: slice) -> tuple[float, float]:
        """Over some directions: part of the slope that the gradient lacks or adds, beyond doubt; and part in doubt."""
        gradient, steps, doubt = (value[rows] for value in (self.gradient, self.steps, self.doubt))
        size = torch.maximum(gradient.norm(dim=0), steps.norm(dim=0)).clamp(min=torch.finfo(torch.double).tiny)
        apart = ((steps - gradient).abs() - doubt).clamp(min=0).norm(dim=0) / size
        return float(apart.max()), float((doubt.norm(dim=0) / size).min())


def slopes(case: Subject, targets: tuple[Target, ...], directions: Tensor, moved: Subject | None = None) -> Slopes:
    """Slopes of targets at A [1, K, h, w] along ``directions`` [D, K, h, w], at most as long as A.

    Steps are those of ``moved``, by default of the case itself. They are shortened so that no step should move a score
    far: two long steps may agree by chance. Of each slope by steps the surest is taken: the longer ones bend, the
    shorter ones drown in rounding.
    """
    _, gradient = engine.gradients(case.task, case.features.A, targets, case.features.rest)
    case = moved or case
    A = case.features.A
    flat, at = gradient.double().flatten(1), _ask(case, A, targets)
    size = torch.maximum(at.abs(), (flat @ A.double().flatten()).abs())
    far = STEPS[0] * (directions.flatten(1) @ flat.T).abs().amax(1)
    near = max(REACH, RELATIVE * float(at.abs().max()))
    directions = directions * (near / far.clamp(min=near))[:, None, None, None]
    best, before = None, None
    for step in STEPS:
        ahead, behind = (A + way * step * directions.to(A) for way in (1, -1))
        up, down = _ask(case, torch.cat([ahead, behind]), targets).chunk(2)
        slope, corner = (up - down) / (2 * step), (up - 2 * at + down).abs() / (2 * step)
        if before is not None:
            predicted = (ahead.double() - behind.double()).flatten(1) @ flat.T / (2 * step)
            bend = (step / before[2] * before[1]).clamp(max=corner)
            rounding = ROUNDING * torch.finfo(A.dtype).eps * size / step
            tried = (predicted, slope, (before[0] - slope).abs() + corner - bend + rounding)
            best = tried if best is None else _surer(best, tried)
            if bool((best[2] <= AGREE * best[1].abs()).all()):
                break
        before = slope, corner, step
    assert best is not None
    return Slopes(*(value.cpu() for value in best))


def _ask(case: Subject, rows: Tensor, targets: tuple[Target, ...]) -> Tensor:
    """Scores [M, N] of all targets at each row; one row at a time where the model takes no more."""
    count, rest = len(rows), case.features.rest
    asked = tuple(replace(target, row=row) for row in range(count) for target in targets)
    try:
        whole = nested(lambda tensor: tensor.expand(count, *tensor.shape[1:]), rest)
        return engine.scores(case.task, rows, asked, whole).double().view(count, len(targets))
    except Exception:  # whatever a model of one row says
        if count == 1:
            raise
        return torch.cat([_ask(case, row[None], targets) for row in rows])


def _surer(earlier: Found, later: Found) -> Found:
    better = later[2] < earlier[2]
    predicted, slope, doubt = (torch.where(better, b, a) for a, b in zip(earlier, later, strict=True))
    return predicted, slope, doubt


def _directions(case: Subject, targets: tuple[Target, ...]) -> tuple[Tensor, list[slice]]:
    """Directions [D, K, h, w] as long as A: own gradients, A and another picture's A, random ones; and the groups."""
    A = case.features.A.double()
    _, gradient = engine.gradients(case.task, case.features.A, targets, case.features.rest)
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(RANDOM, *A.shape[1:], generator=generator, dtype=torch.double).to(A.device)
    other, _ = meet(case.task, case.guests[1].features, case.targets[:1])
    groups = [gradient.double(), torch.cat([A, other.A.double() - A]), random]
    groups = [group[group.flatten(1).any(1)] for group in groups]
    ends = [0, *accumulate(map(len, groups))]
    whole = torch.cat(groups)
    long = whole.flatten(1).norm(dim=1)[:, None, None, None]
    return whole * (A.norm() / long), [slice(a, b) for a, b in pairwise(ends) if b > a]


def _against_replay(case: Subject) -> Row:
    """T24: scores move with A as their gradient says."""
    name = "gradient = replay"
    if not case.targets:
        return unproven(name, SILENT)
    targets = tuple(replace(target, kind="logit") for target in case.targets[:MOST])
    directions, groups = _directions(case, targets)
    compared = slopes(case, targets, directions)
    counted = _counted(compared, groups)
    if not counted and (precise := _in_float32(case)) is not None:
        return _by_copy(case, precise, targets, directions, groups)
    if not counted:
        return unproven(
            name,
            "steps of A move the score by less than rounding, or in jumps; test the model once in float32 or float64",
        )
    value = max(counted)
    if value <= LIMIT:
        meaning = f"part of the score's slope that the gradient misses, along {len(directions)} directions of A"
        return Row(name, value, LIMIT, True, meaning)
    return Row(name, value, LIMIT, False, _missing(compared))


def _by_copy(
    case: Subject, precise: Subject, targets: tuple[Target, ...], directions: Tensor, groups: list[slice]
) -> Row:
    """The row of a model in half precision beside its copy in float32, whose own gradient must be that of its steps.

    The model's own is tried along itself.
    """
    name, limit = "gradient = replay", max(LIMIT, case.limits[1])
    exact = slopes(precise, targets, directions)
    if any(gap > LIMIT for gap in _counted(exact, groups)):
        return Row(name, max(_counted(exact, groups)), LIMIT, False, _missing(exact))
    along = groups[0]  # the words' own gradients: across them slopes are as small as rounding
    counted = _counted(slopes(case, targets, directions[along], precise), [along])
    if not counted:
        return unproven(name, "steps of A move the score of a copy in float32 in jumps; try a picture more")
    if max(counted) > limit:
        return unproven(name, f"rounding moves the gradient by {max(counted):.2g} of the slope; explain it in float32")
    meaning = "part of the slope of a copy in float32 that the gradient in half precision misses"
    return Row(name, max(counted), limit, True, meaning)


def _counted(compared: Slopes, groups: list[slice]) -> list[float]:
    return [gap for gap, doubt in (compared.judged(group) for group in groups) if doubt <= SURE]


def _in_float32(case: Subject) -> Subject | None:
    """The same task in float32 at the same A, of a model in half precision; None of others, and of large ones."""
    features = case.features
    if features.A.dtype not in HALVES:
        return None
    networks = [part for part in vars(case.task).values() if isinstance(part, nn.Module)]
    if sum(weights.numel() for network in networks for weights in network.parameters()) > COPIED:
        return None

    def exact(tensor: Tensor) -> Tensor:
        return tensor.float() if tensor.is_floating_point() else tensor

    task = placed(deepcopy(case.task), {"dtype": torch.float32})
    maps = {layer: exact(A) for layer, A in features.maps.items()}
    return replace(case, task=task, features=replace(features, maps=maps, rest=nested(exact, features.rest)))


def _missing(compared: Slopes) -> str:
    if not compared.gradient.any():
        return (
            "the score moves with A, but no gradient comes through: something behind A is under no_grad, detached, "
            "quantised, or leaves torch; free it, or explain by method='occlusion'"
        )
    return (
        "the score moves otherwise than its gradient says: a part behind A is detached, works in place, or has a "
        "gradient of its own (straight-through, clipped); free it, or explain by method='occlusion'"
    )


CHECKS: dict[str, Callable[[Subject], Row]] = {"gradient = replay": _against_replay}
