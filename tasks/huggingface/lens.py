"""What a chat model would say at the picture's own positions: its head read out there; see `vlx.protocol.readout`.

The model's own ``forward`` makes the logits of those positions, too, when it is asked to keep them, with whatever norm,
soft cap or scale it has behind its layers: no weights are looked for, and nothing is multiplied by hand.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from torch import Tensor

from vlx.protocol.readout import ReadOut
from vlx.protocol.targets import Target, Term
from vlx.tasks.huggingface.texts import exact


class LensText(Protocol):
    """One text about one row of A, as ids: what is asked, with the picture's marks in it, and the answer."""

    @property
    def row(self) -> int:
        """Which row of A."""

    @property
    def asked(self) -> tuple[int, ...]:
        """The ids of the question."""

    @property
    def answer(self) -> tuple[int, ...]:
        """The ids of the answer."""


T = TypeVar("T", bound=LensText)


def read_out(
    targets: Sequence[Target],
    shape: tuple[int, int],
    mark: int,
    placed: Callable[[Target, int], tuple[T, int]],
    logits: Callable[[T, int], Tensor],
) -> list[list[ReadOut]]:
    """For every term of every target what its token reads at the ``mark``s of its text, laid on cells of ``shape``.

    ``placed``: the text that a target's step lies in, and its place in the answer. ``logits``: those [L, V] of a text
    from a place on. A text that several terms share is run once, whole.
    """
    terms = [(n, term, *placed(target, term.step)) for n, target in enumerate(targets) for term in target.terms]
    made: list[dict[Term, ReadOut]] = [{} for _ in targets]
    for text in dict.fromkeys(text for _, _, text, _ in terms):
        ids = (*text.asked, *text.answer)
        marks = [place for place, token in enumerate(ids) if token == mark]
        table = logits(text, marks[0])
        cells = table[[place - marks[0] for place in marks]]
        for n, term, own, place in terms:
            if own == text:
                there = len(text.asked) + place  # where its token stands, or would
                behind = [at for at in range(marks[-1] + 1, there) if ids[at] != term.token]
                context = cells[:, [ids[at] for at in behind]].T.reshape(-1, *shape)
                relevance = table[[at - 1 - marks[0] for at in behind], term.token]
                plain = cells[:, term.token].reshape(shape)
                made[n][term] = ReadOut(*(exact(values).detach() for values in (plain, context, relevance)))
    return [[own[term] for term in target.terms] for own, target in zip(made, targets, strict=True)]
