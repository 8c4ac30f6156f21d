"""Answers from a fixed list of labels: the likeliest, the one asked for, and contrasts."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from vlx.protocol.outputs import Outputs
from vlx.protocol.targets import Prediction, Query
from vlx.tasks.shared import answers


def predicted(
    scores: Tensor,
    query: Query,
    labels: Sequence[str],
    tokens: tuple[int, ...],
    name: str,
    outputs: Outputs = answers.SOFTMAX,
) -> Prediction:
    """The likeliest of the labels by ``scores`` [labels], or the query's answer; ``instead_of`` makes a contrast.

    Raises InputError for an answer that is not among the labels, and for one that is compared to itself.
    """
    find = partial(answers.found, labels=labels, name=name)
    return answers.predicted(scores, query, labels.__getitem__, find, outputs=outputs, tokens=tokens)
