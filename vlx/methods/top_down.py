"""Passing a probability down through a network, operation by operation, by the rule of excitation backprop.

A unit's winning probability p goes to the units that excite it, in the shares of what they excite it with:
p_in = x ∘ W₊ᵀ (p_out / W₊ x), where x are the activations below, taken as 0 where they are negative, and W₊ the weights
above 0 (Zhang et al. 2018, arXiv 1608.00507, eq. 6 to 8). Biases take no part.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from vlx.errors import ModelError
from vlx.methods.tape import Ref, Step, Tape

HALVES = (torch.float16, torch.bfloat16)
WEIGHTED = {"convolution": (0, 1), "addmm": (1, 2), "mm": (0, 1), "bmm": (0, 1)}  # places of the factors
NORMS = ("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "_native_batch_norm_legit_no_training")
MEANS = "mean sum avg_pool1d avg_pool2d _adaptive_avg_pool2d upsample_nearest2d upsample_bilinear2d".split()
MOVED = (  # each entry is one entry from below: shapes, selections, and what wins a maximum
    "view _unsafe_view _reshape_alias reshape permute transpose t squeeze unsqueeze expand slice select index gather "
    "index_select index_add cat stack split split_with_sizes unbind clone detach alias _to_copy flip roll "
    "constant_pad_nd pixel_shuffle channel_shuffle max_pool2d_with_indices adaptive_max_pool2d amax max"
).split()
SQUASHED = "_softmax _log_softmax sigmoid log log1p log_sigmoid_forward clamp clamp_min".split()
SIGNED = ("add", "sub", "rsub", "neg", "mul", "div")
KNOWN = "convolution, linear layers, pooling, batch norm, ReLU and sums"

Held = dict[int, Tensor]
Passed = Iterator[tuple[int, Tensor]]


def descended(tape: Tape, at: int, p: Tensor) -> Tensor:
    """A probability ``p`` on value number ``at`` of a tape, passed down to its leaf, of the leaf's shape.

    Linear in p, which may be the difference of two probabilities. Raises ModelError, naming it, for an operation on the
    way that the rule does not know.
    """
    held = {at: p}
    for step in reversed(tape.steps):
        _pass(tape, step, held, _below)
    return _at_leaf(tape, held)


def excited(tape: Tape, at: int, seed: Tensor) -> tuple[Tensor, Tensor]:
    """What excites a score, and what excites its dual: each a probability on the leaf of a tape, of its shape.

    ``seed``, of the shape of value number ``at``, is 1 at the score and 0 elsewhere. The dual is the score by its last
    layer with weights, these negated. Squashing functions behind that layer (softmax, sigmoid, log) are passed as if
    they were not there. A score that counts some units of that layer negatively (a difference of two classes) is taken
    as one unit whose weights are the weighted sums.

    Raises ModelError as `descended`, and where no layer has weights.
    """
    last, above = _last_weighted(tape, at), {at: seed}
    tops: list[tuple[Step, Tensor]] = []
    for step in reversed(tape.steps):
        if step not in last:
            _pass(tape, step, above, _above)
        elif step.made[0] in above:
            tops.append((step, above.pop(step.made[0])))
    total = sum(float(p.abs().sum()) for _, p in tops)
    if not total:
        raise ModelError("excitation backprop begins at a layer with weights: there is none between A and the score")
    shares = {step: p / total for step, p in tops}
    return _from_top(tape, shares, dual=False), _from_top(tape, shares, dual=True)


def _from_top(tape: Tape, shares: dict[Step, Tensor], *, dual: bool) -> Tensor:
    held: Held = {}
    for step in reversed(tape.steps):
        if step in shares:
            p = shares[step]
            _collect(tape, held, (_merged if bool((p < 0).any()) else _weighted)(tape, step, p, dual))
        _pass(tape, step, held, _below)
    return _at_leaf(tape, held)


def _at_leaf(tape: Tape, held: Held) -> Tensor:
    leaf = _exact(tape.values[0])
    return held[0] if 0 in held else torch.zeros_like(leaf)


def _pass(tape: Tape, step: Step, held: Held, rule: "Callable[[Tape, Step, list[Tensor | None]], Passed]") -> None:
    """What a step's outputs hold goes on to what it read."""
    parts = [None if number is None else held.pop(number, None) for number in step.made]
    if any(part is not None and bool(part.any()) for part in parts):
        _collect(tape, held, rule(tape, step, parts))


def _collect(tape: Tape, held: Held, passed: Passed) -> None:
    for number, p in passed:
        more = p.to(_exact(tape.values[number]).dtype)
        held[number] = held[number] + more if number in held else more


def _last_weighted(tape: Tape, at: int) -> set[Step]:
    """The layers with weights that a value is made of, with no other one behind them."""
    makers = {number: step for step in tape.steps for number in step.made if number is not None}
    last, seen, ahead = set[Step](), set[int](), [at]
    while ahead:
        number = ahead.pop()
        step = makers.get(number)
        if step is None or number in seen:
            continue
        seen.add(number)
        if _root(tape, step) is not None:
            last.add(step)
        else:
            ahead += step.read
    return last


def _root(tape: Tape, step: Step) -> Step | None:
    """The layer whose weights a step multiplies with: itself, or the one that a batch norm is folded into."""
    if step.name in NORMS:
        made = {number: one for one in tape.steps for number in one.made}
        before = made.get(step.read[0])
        return before if before is not None and before.name in WEIGHTED else None
    return step if step.name in WEIGHTED else None


# Rules: what a step's outputs hold → what goes to the values that it read


def _above(tape: Tape, step: Step, parts: list[Tensor | None]) -> Passed:
    """Behind the last layer with weights, where a score is a weighted sum: p is signed."""
    if step.name in SQUASHED:
        return _same(step, parts)
    return _moved(tape, step, parts) if step.name in SIGNED else _below(tape, step, parts)


def _below(tape: Tape, step: Step, parts: list[Tensor | None]) -> Passed:
    if _root(tape, step) is not None:
        return _weighted(tape, step, _only(parts), False)
    if step.name in NORMS or _rectifies(step):
        return _same(step, parts)
    if step.name in MEANS:
        return _averaged(tape, step, _only(parts))
    if step.name in MOVED:
        return _moved(tape, step, parts)
    if step.name == "add" and step.kwargs.get("alpha", 1) == 1:
        return _added(tape, step, _only(parts))
    if step.name in ("mul", "div", "sub") and isinstance(step.args[0], Ref) and len(step.read) == 1:
        return _scaled(step, _only(parts))
    raise _unknown(step)


def _rectifies(step: Step) -> bool:
    """Whether it is max(x, 0), with a ceiling or without."""
    floor = {"hardtanh": 1, "threshold": 1, "clamp": 1, "clamp_min": 1}.get(step.name)
    return step.name == "relu" or (floor is not None and len(step.args) > floor and step.args[floor] == 0)


def _same(step: Step, parts: list[Tensor | None]) -> Passed:
    yield step.read[0], _only(parts)


def _scaled(step: Step, p: Tensor) -> Passed:
    """A factor above 0, or a number taken away: p as it is."""
    other = step.args[1]
    if step.name != "sub" and bool((torch.as_tensor(other) < 0).any()):
        raise _unknown(step, "by a factor below 0")
    yield step.read[0], p


def _added(tape: Tape, step: Step, p: Tensor) -> Passed:
    """A sum splits p in the ratio of what is added, as far as that is above 0; what is no activation takes no part."""
    given = [_value(tape, one) for one in step.args[:2]]
    adds = [value for value in given if not _is_bias(value, p)]
    total = sum(value.clamp_min(0) for value in adds)
    for one, value in zip(step.args[:2], given, strict=True):
        if isinstance(one, Ref):
            share = p if len(adds) == 1 else _divided(p * value.clamp_min(0), total)
            yield one.number, share.sum_to_size(value.shape)


def _is_bias(value: Any, p: Tensor) -> bool:
    return not isinstance(value, Tensor) or isinstance(value, nn.Parameter) or value.numel() < p.numel()


def _averaged(tape: Tape, step: Step, p: Tensor) -> Passed:
    """Means and sums: a linear layer with equal weights."""

    def made() -> tuple[Tensor, Tensor]:
        x = _exact(tape.values[step.read[0]]).clamp_min(0).requires_grad_()
        return x, step.function(x, *step.args[1:], **step.kwargs)

    x, z = _once(tape, step, made)
    yield step.read[0], x.detach() * _pulled(z, x, _divided(p, z.detach()))


def _moved(tape: Tape, step: Step, parts: Sequence[Tensor | None]) -> Passed:
    """By the derivative: p goes where the value came from."""
    leaves = {number: _exact(tape.values[number]).clone() for number in step.read}
    with torch.enable_grad():
        for leaf in leaves.values():
            leaf.requires_grad_()
        args, kwargs = _filled((step.args, step.kwargs), leaves)
        output = step.function(*args, **kwargs)
    outputs = output if isinstance(output, tuple | list) else (output,)
    pairs = [(made, part.to(made.dtype)) for made, part in zip(outputs, parts, strict=True) if part is not None]
    made, above = zip(*pairs, strict=True)
    pulled = torch.autograd.grad(made, list(leaves.values()), above, allow_unused=True)
    yield from ((number, p) for number, p in zip(leaves, pulled, strict=True) if p is not None)


def _weighted(tape: Tape, step: Step, p: Tensor, dual: bool) -> Passed:
    """p_in = x ∘ W₊ᵀ (p / W₊ x); a batch norm that turns a unit's sign turns that of its weights, as the dual does."""
    root, negative = _root(tape, step), _turned(step, p) ^ dual
    assert root is not None

    def made() -> tuple[Tensor, Tensor]:
        number, weights, multiply = _factors(root)
        x = _exact(tape.values[number]).clamp_min(0).requires_grad_()
        z = multiply(x, (-weights if negative.all() else weights).clamp_min(0))
        if negative.any() and not negative.all():
            z = torch.where(negative, multiply(x, (-weights).clamp_min(0)), z)
        return x, z

    x, z = _once(tape, (step, dual), made)
    yield _factors(root)[0], x.detach() * _pulled(z, x, _divided(p, z.detach()))


def _merged(tape: Tape, step: Step, p: Tensor, dual: bool) -> Passed:
    """Units that count p, some of it negative, as one unit: the shares of x ∘ (Wᵀ p)₊, which add up to those of p."""
    root = _root(tape, step)
    assert root is not None
    number, weights, multiply = _factors(root)
    x = _exact(tape.values[number]).clamp_min(0)
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        z = multiply(leaf, weights)
    said = x * _pulled(z, leaf, (-p if dual else p) * (_scales(step, p) if step is not root else 1))
    said = said.clamp_min(0)
    yield number, _divided(said * p.abs().sum(), said.sum())


def _factors(root: Step) -> tuple[int, Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """Of a layer with weights: the number of its x, its weights, and x and weights → what it makes, without a bias."""
    places = WEIGHTED[root.name]
    there = [place for place in places if isinstance(root.args[place], Ref)]
    if len(there) != 1 or len(root.read) != 1:
        raise _unknown(root, "whose weights are made from the picture")
    first = there[0] == places[0]
    weights = _exact(root.args[places[1] if first else places[0]])

    def multiply(x: Tensor, weights: Tensor) -> Tensor:
        pair = (x, weights) if first else (weights, x)
        if root.name == "convolution":
            made: Tensor = torch.ops.aten.convolution(*pair, None, *root.args[3:])
            return made
        product: Tensor = pair[0] @ pair[1]
        return product

    return root.args[there[0]].number, weights, multiply


def _turned(step: Step, p: Tensor) -> Tensor:
    """Which units a batch norm turns the sign of, to be broadcast over what it makes; of anything else none."""
    return _scales(step, p) < 0 if step.name in NORMS else torch.zeros((), dtype=torch.bool, device=p.device)


def _scales(step: Step, p: Tensor) -> Tensor:
    """What a batch norm multiplies its units with, over its deviations."""
    if step.name == "_native_batch_norm_legit_no_training":
        weight, variance, eps = step.args[1], step.args[4], step.args[6]
    else:
        weight, variance, eps = step.args[1], step.args[4], step.args[7]
    scale = (_exact(variance) + eps).rsqrt() * (1 if weight is None else _exact(weight))
    scales: Tensor = scale.view(1, -1, *[1] * (p.ndim - 2))
    return scales


def _once(tape: Tape, key: Any, make: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """What was made of a step for the first target serves all."""
    if key not in tape.kept:
        with torch.enable_grad():
            tape.kept[key] = make()
    made: tuple[Tensor, Tensor] = tape.kept[key]
    return made


def _pulled(z: Tensor, x: Tensor, above: Tensor) -> Tensor:
    return torch.autograd.grad(z, x, above.to(z.dtype), retain_graph=True)[0]


def _divided(p: Tensor, z: Any) -> Tensor:
    """p / z, and 0 where nothing excites."""
    return torch.where(z > 0, p / z, 0)


def _only(parts: Sequence[Tensor | None]) -> Tensor:
    """What the first output holds, the only one that is a value of the network."""
    assert parts[0] is not None
    return parts[0]


def _filled(tree: Any, leaves: dict[int, Tensor]) -> Any:
    return tree_map(
        lambda one: leaves[one.number] if isinstance(one, Ref) else one, tree, is_leaf=lambda one: isinstance(one, Ref)
    )


def _value(tape: Tape, given: Any) -> Any:
    value = tape.values[given.number] if isinstance(given, Ref) else given
    return value if isinstance(value, nn.Parameter) or not isinstance(value, Tensor) else _exact(value)


def _exact(values: Tensor) -> Tensor:
    detached = values.detach()
    return detached.float() if detached.dtype in HALVES else detached


def _unknown(step: Step, how: str = "") -> ModelError:
    where = f" ({step.inside})" if step.inside else ""
    return ModelError(
        f"excitation backprop has no rule for {step.name}{where}{' ' * bool(how)}{how}: it passes {KNOWN} only; take "
        "a method that weighs A (gradcam, hirescam), or a layer behind it (name@layer)"
    )
