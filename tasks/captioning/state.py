"""What a decoder's state must be: nested tensors with the picture's number first, found out by trying."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from vlx.errors import ModelError, VlxError
from vlx.language import shortened
from vlx.protocol.outputs import are_probabilities
from vlx.tasks.captioning.decoding import Decoder, device_of, given_logits

COUNTS = (2, 3)  # an axis that is as long as both of them is the pictures'; one as long as one may be layers
PLAIN = (bool, int, float, str, type(None))


def check_state(decoder: Decoder, begun: Callable[[int], Any], start: int, name: str) -> None:
    """Try the decoder's first step with 2 and with 3 pictures; ``begun`` gives its state before START for so many.

    Rows of a state are taken and repeated by their first axis. Raises ModelError for a state that has it elsewhere or
    not at all, for values that change with the number of pictures and are no tensors, for objects that nothing can be
    taken from, for a step that fails or reads what start kept in the decoder, and for probabilities in the place of
    logits, each with what to write instead.
    """
    _compare([begun(count) for count in COUNTS], "start", name)

    def step(count: int, state: Any) -> Any:
        return decoder.step(torch.full((count,), start, device=device_of(state)), state)

    with _told(name, "step fails on its own start's state", "mend it: step(tokens [B], state) → (logits, state)"):
        after = [step(count, begun(count))[1] for count in COUNTS]  # each at once: what is kept in itself is its own
    _compare(after, "step", name)
    state = begun(COUNTS[0])
    begun(COUNTS[1])
    with _told(
        name,
        "step fails where start was called for other pictures since: it keeps something of them in itself",
        "give it back in the state, one row a picture, [B, …]",
    ):
        step(COUNTS[0], state)
    first, state = step(COUNTS[0], begun(COUNTS[0]))
    _check_logits(decoder, (first, step(COUNTS[0], state)[0]), name)


def _check_logits(decoder: Decoder, hidden: Sequence[Any], name: str) -> None:
    """Refuse logits that are probabilities already: a second softmax would make other p of them."""
    logits = [given_logits(decoder, one) for one in hidden]
    if all(isinstance(rows, Tensor) and rows.ndim == 2 and are_probabilities(rows) for rows in logits):
        raise ModelError(
            f"{shortened(name, 30)}: the decoder's logits are probabilities already, rows that sum to 1 (a softmax "
            "inside), of which a second softmax would make other p; let its logits, or its step, return what comes "
            "before the softmax, or the .log() of it"
        )


@contextmanager
def _told(name: str, trouble: str, mend: str) -> Iterator[None]:
    """Whatever a decoder raises as a ModelError that says what the trouble is and what to write instead."""
    try:
        yield
    except (VlxError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # a decoder is anybody's code
        cause = shortened(" ".join(f"{type(error).__name__}: {error}".split()), 70)
        raise ModelError(f"{shortened(name, 30)}: the decoder's {trouble} ({cause}); {mend}") from error


def _compare(states: list[Any], part: str, name: str) -> None:
    leaves, nests = zip(*(tree_flatten(state) for state in states), strict=True)
    if nests[0] != nests[1]:
        raise ModelError(
            f"{name}: the state that the decoder's {part} gives has {len(leaves[0])} parts for {COUNTS[0]} pictures "
            f"and {len(leaves[1])} for {COUNTS[1]}; needed are tensors with the picture's number first, [B, …]"
        )
    if not any(isinstance(leaf, Tensor) for leaf in leaves[0]):
        raise ModelError(
            f"{name}: the state that the decoder's {part} gives holds no tensor; what a decoder keeps in itself cannot "
            "be repeated for several words: give it back in the state, one row a picture, [B, …]"
        )
    for one, other in zip(*leaves, strict=True):
        _check_part(one, other, part, name)


def _check_part(one: Any, other: Any, part: str, name: str) -> None:
    where = f"{name}: the state that the decoder's {part} gives"
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        shapes = [tuple(tensor.shape) for tensor in (one, other)]
        if all(shape[:1] == (count,) for shape, count in zip(shapes, COUNTS, strict=True)):
            return
        raise ModelError(f"{where} is {list(shapes[0])} for {COUNTS[0]} pictures; {_mend(shapes)}")
    if not isinstance(one, PLAIN):
        raise ModelError(
            f"{where} holds a {type(one).__name__}, whose rows cannot be taken; put its tensors into a tuple, list or "
            "dict, each with the picture's number first, [B, …]"
        )
    if type(one) is not type(other) or one != other:
        raise ModelError(
            f"{where} holds {one!r} for {COUNTS[0]} pictures and {other!r} for {COUNTS[1]}; make it a tensor with one "
            "row a picture, [B, …]"
        )


def _mend(shapes: list[tuple[int, ...]]) -> str:
    """What to write instead, by where the axis of the pictures is."""
    axes = [
        axis
        for axis, sizes in enumerate(zip(*shapes, strict=False))
        if len(shapes[0]) == len(shapes[1]) and sizes == COUNTS
    ]
    if axes == [1] and len(shapes[0]) == 3:
        return (
            "needed is the picture's number first, [B, …]; for an nn.LSTM use vlx.tasks.captioning.lstm_step, for an "
            "nn.GRU gru_step, for an nn.RNN rnn_step"
        )
    if axes:
        return f"needed is the picture's number first, [B, …]: turn it by .transpose(0, {axes[0]}), and back in step"
    return (
        "it has no axis for the pictures: needed is one row a picture, [B, …]. Keep what is the same for all in the "
        "decoder itself, or repeat it by .expand(len(A), …)"
    )
