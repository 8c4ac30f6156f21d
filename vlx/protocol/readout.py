"""What a model would say at each place of the picture: a power of models that read a picture as tokens of their text.

Its head turns the hidden state of every position into the logits of the next word, those of the picture's positions,
too, where nobody asks for a word. What they say there is a readout: it tells what the positions hold, and nothing of
what a word that is said elsewhere rests on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from vlx.protocol.targets import Target


@dataclass(frozen=True, eq=False)
class ReadOut:
    """The logits of one term's token where it is not said: ``cells`` [h, w], at each cell of A.

    C other tokens stand between the picture and the place at which the term is read. ``context`` [C, h, w] are their
    logits at the cells, ``relevance`` [C] the logit that the term's own token has where each of them is said. All are
    as the model's ``forward`` gives them (soft caps and scales included), detached and at least float32.
    """

    cells: Tensor
    context: Tensor
    relevance: Tensor


class ReadsOut(Protocol):
    """Optional: a model whose head can be read at the picture's own positions, for the methods `lens`.

    >>> def read_out(self, A, targets, rest=None):
    ...     logits = self.logits(A)  # [M, h, w, V], of a model that hears no text before the picture
    ...     none = logits.new_zeros(0, *A.shape[2:]), logits.new_zeros(0)
    ...     return [[ReadOut(logits[one.row, :, :, term.token], *none) for term in one.terms] for one in targets]
    """

    def read_out(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Sequence[Sequence[ReadOut]]:
        """A [M, K, h, w] and N targets → for each of them a `ReadOut` of each of its terms, in order."""
        ...
